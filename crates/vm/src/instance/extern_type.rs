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
use sarsen_abi::types::{GlobalType, MemoryType, TableType};

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
        let func = |id: TypeId| match types.func_type(id) {
            Some(ty) => ty.to_string(),
            None => format!("(type {id})"),
        };
        match self {
            ExternType::Func(id) => func(*id),
            ExternType::Table(ty) => ty.to_string(),
            ExternType::Memory(ty) => ty.to_string(),
            ExternType::Global(ty) => ty.to_string(),
            ExternType::Tag(id) => format!("(tag {})", func(*id)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sarsen_abi::types::{
        CompositeType, FuncType, HeapType, IndexType, RefType, SubType, ValType,
    };
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
    fn functions_and_tags_are_described_by_what_they_are_not_by_number() {
        let (registry, types) = types();
        let id = types.ids()[0];
        assert_eq!(ExternType::Func(id).describe(&registry), "(func)");
        assert_eq!(ExternType::Tag(id).describe(&registry), "(tag (func))");
        let unknown = ExternType::Func(TypeId::RESERVED);
        assert_eq!(unknown.describe(&registry), "(type 4294967295)");
    }
}
