//! Types with engine-wide ids as text, for messages. A defined type inside another is written as
//! its number: written out, a recursive type would have no end.

use super::value::ValType;
use core::fmt;
use sarsen_abi::TypeId;
use sarsen_abi::types as abi;

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
