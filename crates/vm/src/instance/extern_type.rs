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

#[cfg(test)]
mod tests {
    use super::*;
    use sarsen_abi::types::{CompositeType, SubType};
    use sarsen_abi::{Module, TypeIndex};
    use std::sync::Arc;

    /// Registers `(type $0 (sub (func)))`, `(type $1 (sub $0 (func)))`, `(type $2 (func))`.
    fn types() -> (Arc<Registry>, crate::types::ModuleTypes) {
        let func = |is_final, supertype: Option<u32>| SubType {
            is_final,
            supertype: supertype.map(TypeIndex::new),
            composite: CompositeType::Func(FuncType {
                params: Box::default(),
                results: Box::default(),
            }),
        };
        let module = Module {
            types: vec![func(false, None), func(false, Some(0)), func(true, None)],
            rec_groups: vec![0..1, 1..2, 2..3],
            ..Module::default()
        };
        let registry = Arc::new(Registry::new().unwrap());
        let types = registry.register_module(&module).unwrap();
        (registry, types)
    }

    fn memory() -> MemoryType {
        MemoryType {
            index: IndexType::I32,
            shared: false,
            minimum: 1,
            maximum: Some(2),
            page_size_log2: 16,
        }
    }

    #[test]
    fn functions_match_their_declared_supertypes_and_tags_only_themselves() {
        let (registry, types) = types();
        let [top, sub, plain] = *types.ids() else {
            unreachable!()
        };
        let matches = |a: ExternType, w: ExternType| a.matches(&w, &registry);
        for (actual, wanted, func) in [
            (top, top, true),
            (sub, top, true),
            (top, sub, false),
            (plain, top, false),
        ] {
            let funcs = matches(ExternType::Func(actual), ExternType::Func(wanted));
            assert_eq!(funcs, func);
            let tags = matches(ExternType::Tag(actual), ExternType::Tag(wanted));
            assert_eq!(tags, actual == wanted);
            assert!(!matches(ExternType::Func(actual), ExternType::Tag(wanted)));
        }
    }

    #[test]
    fn mutable_globals_and_tables_match_no_supertypes() {
        let (registry, types) = types();
        let reference = |id| RefType {
            nullable: true,
            heap: HeapType::ConcreteFunc(id),
        };
        let global = |id, mutable| {
            let content = ValType::Ref(reference(id));
            ExternType::Global(GlobalType { content, mutable })
        };
        let table = |id| {
            ExternType::Table(TableType {
                element: reference(id),
                index: IndexType::I32,
                minimum: 0,
                maximum: None,
            })
        };
        let (top, sub) = (types.ids()[0], types.ids()[1]);
        let matches = |a: ExternType, w: ExternType| a.matches(&w, &registry);
        assert!(matches(global(sub, false), global(top, false)));
        assert!(!matches(global(top, false), global(sub, false)));
        assert!(!matches(global(sub, true), global(top, true)));
        assert!(matches(global(sub, true), global(sub, true)));
        assert!(!matches(global(sub, true), global(sub, false)));
        assert!(matches(table(sub), table(sub)));
        assert!(!matches(table(sub), table(top)));
    }

    #[test]
    fn memories_match_in_every_respect_but_limits_which_may_be_tighter() {
        let (registry, _types) = types();
        let wanted = ExternType::Memory(memory());
        let matches = |ty: MemoryType| ExternType::Memory(ty).matches(&wanted, &registry);
        let base = memory();
        assert!(matches(base));
        assert!(matches(MemoryType { minimum: 2, ..base }));
        assert!(!matches(MemoryType { minimum: 0, ..base }));
        let unlimited = MemoryType {
            maximum: None,
            ..base
        };
        assert!(!matches(unlimited));
        assert!(wanted.matches(&ExternType::Memory(unlimited), &registry));
        assert!(!matches(MemoryType {
            shared: true,
            ..base
        }));
        let index = IndexType::I64;
        assert!(!matches(MemoryType { index, ..base }));
        assert!(!matches(MemoryType {
            page_size_log2: 0,
            ..base
        }));
    }

    #[test]
    fn types_are_described_as_in_the_text_format() {
        let (registry, types) = types();
        let describe = |ty: ExternType| ty.describe(&registry);
        assert_eq!(describe(ExternType::Memory(memory())), "(memory 1 2)");
        let odd = MemoryType {
            index: IndexType::I64,
            shared: true,
            page_size_log2: 0,
            ..memory()
        };
        assert_eq!(
            describe(ExternType::Memory(odd)),
            "(memory i64 1 2 shared (pagesize 1))"
        );
        let content = ValType::Ref(RefType {
            nullable: false,
            heap: HeapType::Abstract(AbstractHeapType::Any),
        });
        let global = GlobalType {
            content,
            mutable: true,
        };
        assert_eq!(
            describe(ExternType::Global(global)),
            "(global (mut (ref any)))"
        );
        assert_eq!(describe(ExternType::Tag(types.ids()[0])), "(tag (func))");
        let table = TableType {
            element: RefType::EXTERNREF,
            index: IndexType::I32,
            minimum: 5,
            maximum: None,
        };
        assert_eq!(
            describe(ExternType::Table(table)),
            "(table 5 (ref null extern))"
        );
    }
}
