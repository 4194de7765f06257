//! Types with engine-wide ids as text, for messages. A defined type inside another is written as
//! its number: written out, a recursive type would have no end.

use super::value::ValType;
use core::fmt;
use sarsen_abi::TypeId;
use sarsen_abi::types as abi;
use sarsen_vm::types::{Defined, Shape};

/// A value type, to be displayed.
pub(crate) struct ValTypeText(pub(crate) abi::ValType<TypeId>);

impl fmt::Display for ValTypeText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let abi::ValType::Ref(r) = self.0
            && let Some(id) = r.heap.concrete()
        {
            let null = if r.nullable { "null " } else { "" };
            return write!(f, "(ref {null}{})", id.0);
        }
        ValType::from_abstract(self.0).fmt(f)
    }
}

/// A function type, to be displayed.
pub(crate) struct FuncTypeText<'a>(pub(crate) &'a abi::FuncType<TypeId>);

impl fmt::Display for FuncTypeText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(func")?;
        for (keyword, types) in [("param", &self.0.params), ("result", &self.0.results)] {
            if types.is_empty() {
                continue;
            }
            write!(f, " ({keyword}")?;
            for ty in types {
                write!(f, " {}", ValTypeText(*ty))?;
            }
            f.write_str(")")?;
        }
        f.write_str(")")
    }
}

/// A registered type, to be displayed.
pub(crate) struct DefinedText<'a>(pub(crate) &'a Defined);

impl fmt::Display for DefinedText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.shape {
            Shape::Func(func) => FuncTypeText(func).fmt(f),
            Shape::Struct(shape) => {
                f.write_str("(struct")?;
                for field in &shape.fields {
                    write!(f, " (field {})", FieldTypeText(field))?;
                }
                f.write_str(")")
            }
            Shape::Array(shape) => write!(f, "(array {})", FieldTypeText(&shape.element)),
            Shape::Cont(func) => write!(f, "(cont {func})"),
        }
    }
}

/// The type of a field or element, to be displayed.
struct FieldTypeText<'a>(&'a abi::FieldType<TypeId>);

impl fmt::Display for FieldTypeText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (start, end) = match self.0.mutable {
            true => ("(mut ", ")"),
            false => ("", ""),
        };
        match &self.0.storage {
            abi::StorageType::I8 => write!(f, "{start}i8{end}"),
            abi::StorageType::I16 => write!(f, "{start}i16{end}"),
            abi::StorageType::Val(ty) => write!(f, "{start}{}{end}", ValTypeText(*ty)),
        }
    }
}
