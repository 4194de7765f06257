//! Types in WebAssembly's text format, for messages.
//!
//! A defined type inside another is written as its number: written out, a recursive type would have
//! no end. `funcref` and `externref` are abbreviated, as everybody writes them.

use crate::index::TypeIndex;
use crate::types::{
    AbstractHeapType, FuncType, GlobalType, HeapType, IndexType, MemoryType, RefType, TableType,
    TypeId, ValType,
};
use core::fmt;

impl fmt::Display for TypeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for TypeIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_u32().fmt(f)
    }
}

impl<R: fmt::Display> fmt::Display for ValType<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValType::I32 => f.write_str("i32"),
            ValType::I64 => f.write_str("i64"),
            ValType::F32 => f.write_str("f32"),
            ValType::F64 => f.write_str("f64"),
            ValType::V128 => f.write_str("v128"),
            ValType::Ref(ty) => ty.fmt(f),
        }
    }
}

impl<R: fmt::Display> fmt::Display for RefType<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.nullable, &self.heap) {
            (true, HeapType::Abstract(AbstractHeapType::Func)) => f.write_str("funcref"),
            (true, HeapType::Abstract(AbstractHeapType::Extern)) => f.write_str("externref"),
            (true, heap) => write!(f, "(ref null {heap})"),
            (false, heap) => write!(f, "(ref {heap})"),
        }
    }
}

impl<R: fmt::Display> fmt::Display for HeapType<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeapType::Abstract(ty) => ty.fmt(f),
            HeapType::ConcreteFunc(ty)
            | HeapType::ConcreteStruct(ty)
            | HeapType::ConcreteArray(ty)
            | HeapType::ConcreteCont(ty) => ty.fmt(f),
        }
    }
}

impl fmt::Display for AbstractHeapType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AbstractHeapType::Func => "func",
            AbstractHeapType::NoFunc => "nofunc",
            AbstractHeapType::Extern => "extern",
            AbstractHeapType::NoExtern => "noextern",
            AbstractHeapType::Any => "any",
            AbstractHeapType::Eq => "eq",
            AbstractHeapType::I31 => "i31",
            AbstractHeapType::Struct => "struct",
            AbstractHeapType::Array => "array",
            AbstractHeapType::None => "none",
            AbstractHeapType::Exn => "exn",
            AbstractHeapType::NoExn => "noexn",
            AbstractHeapType::Cont => "cont",
            AbstractHeapType::NoCont => "nocont",
        })
    }
}

impl<R: fmt::Display> fmt::Display for FuncType<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(func")?;
        for (keyword, types) in [("param", &self.params), ("result", &self.results)] {
            if types.is_empty() {
                continue;
            }
            write!(f, " ({keyword}")?;
            for ty in types {
                write!(f, " {ty}")?;
            }
            f.write_str(")")?;
        }
        f.write_str(")")
    }
}

impl<R: fmt::Display> fmt::Display for TableType<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(table")?;
        write_limits(f, self.index, self.minimum, self.maximum)?;
        write!(f, " {})", self.element)
    }
}

impl fmt::Display for MemoryType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(memory")?;
        write_limits(f, self.index, self.minimum, self.maximum)?;
        if self.shared {
            f.write_str(" shared")?;
        }
        if self.page_size_log2 != 16 {
            write!(f, " (pagesize {})", self.page_size())?;
        }
        f.write_str(")")
    }
}

/// Writes the limits of a table or memory, each with a space before it: ` i64 1 2`.
///
/// # Errors
///
/// Those of the formatter.
pub fn write_limits(
    f: &mut fmt::Formatter<'_>,
    index: IndexType,
    minimum: u64,
    maximum: Option<u64>,
) -> fmt::Result {
    if index == IndexType::I64 {
        f.write_str(" i64")?;
    }
    write!(f, " {minimum}")?;
    match maximum {
        Some(maximum) => write!(f, " {maximum}"),
        None => Ok(()),
    }
}

impl<R: fmt::Display> fmt::Display for GlobalType<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mutable {
            true => write!(f, "(global (mut {}))", self.content),
            false => write!(f, "(global {})", self.content),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEXED: RefType = RefType {
        nullable: true,
        heap: HeapType::ConcreteFunc(TypeIndex::new(7)),
    };

    #[test]
    fn functions_tables_and_globals_are_written_as_in_the_text_format() {
        let func = FuncType {
            params: Box::new([ValType::I32, ValType::FUNCREF, ValType::Ref(INDEXED)]),
            results: Box::new([ValType::V128]),
        };
        let text = "(func (param i32 funcref (ref null 7)) (result v128))";
        assert_eq!(func.to_string(), text);
        let table = TableType::<TypeId> {
            element: RefType::EXTERNREF,
            index: IndexType::I64,
            minimum: 5,
            maximum: None,
        };
        assert_eq!(table.to_string(), "(table i64 5 externref)");
        let content = ValType::<TypeId>::Ref(RefType {
            nullable: false,
            heap: HeapType::Abstract(AbstractHeapType::Any),
        });
        let mut global = GlobalType {
            content,
            mutable: true,
        };
        assert_eq!(global.to_string(), "(global (mut (ref any)))");
        global.mutable = false;
        assert_eq!(global.to_string(), "(global (ref any))");
    }

    #[test]
    fn memories_are_written_with_all_that_is_unusual_about_them() {
        let mut memory = MemoryType {
            index: IndexType::I32,
            shared: false,
            minimum: 1,
            maximum: Some(2),
            page_size_log2: 16,
        };
        assert_eq!(memory.to_string(), "(memory 1 2)");
        memory.shared = true;
        memory.page_size_log2 = 0;
        memory.index = IndexType::I64;
        assert_eq!(memory.to_string(), "(memory i64 1 2 shared (pagesize 1))");
    }
}
