//! Which checks tell whether a reference is of a type, and the check of a concrete type.
//!
//! Every type has a row with its ancestors by depth, itself last. So whether an object's type is a type or
//! a subtype of it is one comparison with the ancestor at that type's depth. What the static type of a
//! reference says already is not checked again.

use super::super::facts::{class_of, depth, is_heap_subtype};
use super::super::function::Lowering;
use super::super::region::Region;
use super::super::signature::POINTER;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8, I32, I64};
use cranelift_codegen::ir::{InstBuilder, Value};
use sarsen_abi::heap::{DEEP_SCALE, Kind, ROW_DEPTH, ROW_DISPLAY, ROW_KIND, SHALLOW};
use sarsen_abi::types::{AbstractHeapType, HeapType, RefType};
use sarsen_abi::vmctx::offset;
use sarsen_abi::{Module, TypeIndex};

/// Which references pass a test of a type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TypeTest {
    /// Whether null does; `None` if the reference cannot be null.
    pub(super) null: Option<bool>,
    /// Whether unboxed integers do; `None` if the reference cannot be one.
    pub(super) i31: Option<bool>,
    /// Which of the others do.
    pub(super) objects: Objects,
}

/// Which objects or functions pass a test of a type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Objects {
    /// All of those that the reference can be to.
    All,
    /// None of them.
    None,
    /// Those of this type or a subtype.
    Type(TypeIndex),
    /// Those whose type is of one of these kinds.
    Kinds(Kind, Kind),
}

impl TypeTest {
    /// The test of a reference that is known to be of the type `known`. Both types belong to one
    /// hierarchy.
    pub(super) fn new(module: &Module, known: RefType, target: RefType) -> Self {
        use AbstractHeapType as A;
        let is_subtype = is_heap_subtype(module, known.heap, target.heap);
        let null = known.nullable.then_some(target.nullable);
        let may_be_i31 = matches!(known.heap, HeapType::Abstract(A::Any | A::Eq | A::I31));
        let i31_passes = matches!(target.heap, HeapType::Abstract(A::Any | A::Eq | A::I31));
        let objects = if is_subtype {
            Objects::All
        } else {
            objects(known.heap, target.heap)
        };
        TypeTest {
            null,
            i31: may_be_i31.then_some(i31_passes),
            objects,
        }
    }

    /// The outcome, if it is always the same.
    pub(super) fn outcome(&self) -> Option<bool> {
        let passes = match self.objects {
            Objects::All => true,
            Objects::None => false,
            Objects::Type(_) | Objects::Kinds(..) => return None,
        };
        let is_same = |other: Option<bool>| other.is_none_or(|other| other == passes);
        (is_same(self.null) && is_same(self.i31)).then_some(passes)
    }
}

/// Which objects that a reference to `known`, no subtype of `target`, can be to are of type `target`.
fn objects(known: HeapType, target: HeapType) -> Objects {
    use AbstractHeapType as A;
    let class = class_of(known);
    match target {
        HeapType::Abstract(A::Eq) => Objects::Kinds(Kind::Struct, Kind::Array),
        HeapType::Abstract(A::Struct) if matches!(class, A::Any | A::Eq) => {
            Objects::Kinds(Kind::Struct, Kind::Struct)
        }
        HeapType::Abstract(A::Array) if matches!(class, A::Any | A::Eq) => {
            Objects::Kinds(Kind::Array, Kind::Array)
        }
        // The top of a hierarchy, which is a supertype of all others, does not come here.
        HeapType::Abstract(_) => Objects::None,
        _ => {
            let may_be =
                class == class_of(target) || is_heap_subtype_of_class(class_of(target), class);
            match target.concrete().filter(|_| may_be) {
                Some(ty) => Objects::Type(ty),
                None => Objects::None,
            }
        }
    }
}

/// Whether `class` is below `above`, an abstract type of the same hierarchy.
fn is_heap_subtype_of_class(class: AbstractHeapType, above: AbstractHeapType) -> bool {
    use AbstractHeapType as A;
    matches!(
        (class, above),
        (A::Struct | A::Array, A::Any | A::Eq) | (A::Func, A::Func)
    )
}

impl Lowering<'_, '_> {
    /// Whether the engine's type `id` is type `ty` of the module, or a subtype.
    pub(in crate::lower) fn is_type(&mut self, id: Value, ty: TypeIndex) -> Value {
        let module = self.cx.module;
        if module.types[ty.index()].is_final {
            let expected = self.type_id(ty);
            return self.builder.ins().icmp(IntCC::Equal, id, expected);
        }
        let depth = depth(module, ty);
        if depth >= SHALLOW {
            return self.is_deep_type(id, ty, depth);
        }
        let (row, flags) = self.type_row(id);
        let at = ROW_DISPLAY + depth as i32 * 4;
        let ancestor = self.builder.ins().load(I32, flags, row, at);
        let expected = self.type_id(ty);
        self.builder.ins().icmp(IntCC::Equal, ancestor, expected)
    }

    /// The same, of a type that is too deep for the rows. Only types that are as deep have a row in the
    /// second table.
    fn is_deep_type(&mut self, id: Value, ty: TypeIndex, depth: usize) -> Value {
        let (row, flags) = self.type_row(id);
        let actual_depth = self.builder.ins().uload16(I32, flags, row, ROW_DEPTH);
        let is_deep = self.builder.ins().icmp_imm_u(
            IntCC::UnsignedGreaterThanOrEqual,
            actual_depth,
            depth as i64,
        );
        let deep = self.builder.create_block();
        let done = self.builder.create_block();
        let fits = self.builder.append_block_param(done, I8);
        let no = self.builder.ins().iconst(I8, 0);
        self.builder
            .ins()
            .brif(is_deep, deep, &[], done, &[no.into()]);
        self.continue_in(deep);
        let rows = self.load_once(POINTER, self.vmctx, offset::VMCTX_DEEP_ROWS);
        let id = self.builder.ins().uextend(I64, id);
        let distance = self.builder.ins().imul_imm_u(id, i64::from(DEEP_SCALE));
        let row = self.builder.ins().iadd(rows, distance);
        let ancestor = self.builder.ins().load(I32, flags, row, depth as i32 * 4);
        let expected = self.type_id(ty);
        let is_same = self.builder.ins().icmp(IntCC::Equal, ancestor, expected);
        self.builder.ins().jump(done, &[is_same.into()]);
        self.continue_in(done);
        fits
    }

    /// Whether an object or function passes the test.
    pub(super) fn passes(&mut self, reference: Value, objects: Objects) -> Value {
        let id = if self.type_of(reference) == POINTER {
            self.mark();
            let flags = self.flags(Region::FuncRefs);
            self.builder
                .ins()
                .load(I32, flags, reference, offset::FUNCREF_TYPE_ID)
        } else {
            self.load_type_id(reference)
        };
        match objects {
            Objects::All => self.builder.ins().iconst(I8, 1),
            Objects::None => self.builder.ins().iconst(I8, 0),
            Objects::Type(ty) => self.is_type(id, ty),
            Objects::Kinds(first, last) => {
                let (row, flags) = self.type_row(id);
                let kind = self.builder.ins().uload16(I32, flags, row, ROW_KIND);
                let number = self.builder.ins().iadd_imm_s(kind, -(first as i64));
                let most = last as i64 - first as i64;
                self.builder
                    .ins()
                    .icmp_imm_u(IntCC::UnsignedLessThanOrEqual, number, most)
            }
        }
    }

    /// What the runtime knows a heap type by.
    pub(super) fn heap_type_argument(&mut self, heap: HeapType) -> Value {
        let code = match heap {
            HeapType::Abstract(ty) => ty.code() | 1 << 31,
            HeapType::ConcreteFunc(ty)
            | HeapType::ConcreteStruct(ty)
            | HeapType::ConcreteArray(ty)
            | HeapType::ConcreteCont(ty) => ty.as_u32(),
        };
        self.iconst(I32, i64::from(code))
    }
}
