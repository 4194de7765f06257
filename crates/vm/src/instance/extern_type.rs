//! [`ExternType`]: the engine-wide type of something imported or exported, and when one matches
//! another.
//!
//! Which types of values match is said in [`crate::types::matching`]; here is the rest of the
//! specification's "Matching" (core, §3.3): of functions, tables, memories, globals, tags. The types of things that exist have their current sizes as
//! minimum, so that an import that has grown matches what it now is.
//!
//! Callers: `imports`; the API, for errors.

use crate::types::Registry;
use crate::types::matching::{global_type_matches, limits_match};
use sarsen_abi::TypeId;
use sarsen_abi::types::{
    AbstractHeapType, FuncType, GlobalType, HeapType, IndexType, MemoryType, RefType, TableType,
    ValType,
};
use std::fmt::{self, Write as _};

/// The engine-wide type of something imported or exported.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExternType {
    /// A function.
    Func(TypeId),
    /// A table.
    Table(TableType<TypeId>),
    /// A linear memory.
    Memory(MemoryType),
    /// A global.
    Global(GlobalType<TypeId>),
    /// A tag, by its function type.
    Tag(TypeId),
}

impl ExternType {
    /// Whether something of this type can be imported as `wanted`.
    pub fn matches(&self, wanted: &ExternType, types: &Registry) -> bool {
        match (self, wanted) {
            (ExternType::Func(a), ExternType::Func(w)) => types.is_subtype(*a, *w),
            (ExternType::Table(a), ExternType::Table(w)) => {
                a.element == w.element
                    && a.index == w.index
                    && limits_match((a.minimum, a.maximum), (w.minimum, w.maximum))
            }
            (ExternType::Memory(a), ExternType::Memory(w)) => {
                a.index == w.index
                    && a.shared == w.shared
                    && a.page_size_log2 == w.page_size_log2
                    && limits_match((a.minimum, a.maximum), (w.minimum, w.maximum))
            }
            (ExternType::Global(a), ExternType::Global(w)) => global_type_matches(types, a, w),
            (ExternType::Tag(a), ExternType::Tag(w)) => a == w,
            _ => false,
        }
    }

    /// The type in the text format, for people.
    pub fn describe(&self, types: &Registry) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ok = Describe {
            types,
            out: &mut text,
        }
        .extern_type(self);
        text
    }
}

/// Writes types in the text format.
struct Describe<'a> {
    types: &'a Registry,
    out: &'a mut String,
}

impl Describe<'_> {
    fn extern_type(&mut self, ty: &ExternType) -> fmt::Result {
        match ty {
            ExternType::Func(id) => self.func(*id),
            ExternType::Table(ty) => self.table(ty),
            ExternType::Memory(ty) => self.memory(ty),
            ExternType::Global(ty) => self.global(ty),
            ExternType::Tag(id) => {
                self.out.write_str("(tag ")?;
                self.func(*id)?;
                self.out.write_char(')')
            }
        }
    }

    fn func(&mut self, id: TypeId) -> fmt::Result {
        match self.types.func_type(id) {
            Some(ty) => self.signature(&ty),
            None => write!(self.out, "(type {})", id.0),
        }
    }

    fn signature(&mut self, ty: &FuncType<TypeId>) -> fmt::Result {
        self.out.write_str("(func")?;
        for (keyword, types) in [("param", &ty.params), ("result", &ty.results)] {
            if !types.is_empty() {
                write!(self.out, " ({keyword}")?;
                for ty in types {
                    self.out.write_char(' ')?;
                    self.val_type(ty)?;
                }
                self.out.write_char(')')?;
            }
        }
        self.out.write_char(')')
    }

    fn table(&mut self, ty: &TableType<TypeId>) -> fmt::Result {
        self.out.write_str("(table")?;
        self.limits(ty.index, ty.minimum, ty.maximum)?;
        self.out.write_char(' ')?;
        self.ref_type(&ty.element)?;
        self.out.write_char(')')
    }

    fn memory(&mut self, ty: &MemoryType) -> fmt::Result {
        self.out.write_str("(memory")?;
        self.limits(ty.index, ty.minimum, ty.maximum)?;
        if ty.shared {
            self.out.write_str(" shared")?;
        }
        if ty.page_size_log2 != 16 {
            write!(self.out, " (pagesize {})", ty.page_size())?;
        }
        self.out.write_char(')')
    }

    fn limits(&mut self, index: IndexType, minimum: u64, maximum: Option<u64>) -> fmt::Result {
        if index == IndexType::I64 {
            self.out.write_str(" i64")?;
        }
        write!(self.out, " {minimum}")?;
        match maximum {
            Some(maximum) => write!(self.out, " {maximum}"),
            None => Ok(()),
        }
    }

    fn global(&mut self, ty: &GlobalType<TypeId>) -> fmt::Result {
        self.out.write_str(if ty.mutable {
            "(global (mut "
        } else {
            "(global "
        })?;
        self.val_type(&ty.content)?;
        self.out.write_str(if ty.mutable { "))" } else { ")" })
    }

    fn val_type(&mut self, ty: &ValType<TypeId>) -> fmt::Result {
        match ty {
            ValType::I32 => self.out.write_str("i32"),
            ValType::I64 => self.out.write_str("i64"),
            ValType::F32 => self.out.write_str("f32"),
            ValType::F64 => self.out.write_str("f64"),
            ValType::V128 => self.out.write_str("v128"),
            ValType::Ref(ty) => self.ref_type(ty),
        }
    }

    fn ref_type(&mut self, ty: &RefType<TypeId>) -> fmt::Result {
        self.out
            .write_str(if ty.nullable { "(ref null " } else { "(ref " })?;
        match ty.heap {
            HeapType::Abstract(ty) => self.out.write_str(keyword(ty))?,
            concrete => write!(
                self.out,
                "type {}",
                concrete.concrete().map_or(0, |id| id.0)
            )?,
        }
        self.out.write_char(')')
    }
}

fn keyword(ty: AbstractHeapType) -> &'static str {
    use AbstractHeapType as A;
    match ty {
        A::Func => "func",
        A::NoFunc => "nofunc",
        A::Extern => "extern",
        A::NoExtern => "noextern",
        A::Any => "any",
        A::Eq => "eq",
        A::I31 => "i31",
        A::Struct => "struct",
        A::Array => "array",
        A::None => "none",
        A::Exn => "exn",
        A::NoExn => "noexn",
        A::Cont => "cont",
        A::NoCont => "nocont",
    }
}
