//! What is known of references while a function is lowered: their types, and the lengths of arrays.
//!
//! A value's *declared* type holds wherever the value is. What a cast, a branch or an access teaches
//! holds in the code that it dominates: from there to the end of the innermost block, where control may
//! come from elsewhere. So these facts are in a log, and what was learned inside a block is forgotten
//! where its `else` begins or branches to its end meet. An array's length never changes: as a number, it
//! is known across calls that move the array.

use super::function::Lowering;
use super::signature::Repr;
use cranelift_codegen::entity::SecondaryMap;
use cranelift_codegen::ir::Value;
use sarsen_abi::types::{AbstractHeapType, HeapType, Hierarchy, RefType};
use sarsen_abi::{FuncIndex, Module, TypeIndex};
use std::collections::HashMap;

/// What is known of a function's references.
#[derive(Default)]
pub(super) struct Facts {
    /// Types by value.
    declared: SecondaryMap<Value, Option<RefType>>,
    /// Values that refer to a function that is known.
    funcs: HashMap<Value, FuncIndex>,
    learned: Scoped<RefType>,
    lengths: Scoped<Value>,
}

/// How much was known at some time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Mark {
    learned: usize,
    lengths: usize,
}

/// Facts about values, which are forgotten in reverse order.
struct Scoped<F> {
    known: HashMap<Value, F>,
    /// For each fact, the one that it replaced.
    log: Vec<(Value, Option<F>)>,
}

impl<F> Default for Scoped<F> {
    fn default() -> Self {
        Scoped {
            known: HashMap::new(),
            log: Vec::new(),
        }
    }
}

impl<F: Copy> Scoped<F> {
    fn insert(&mut self, value: Value, fact: F) {
        let before = self.known.insert(value, fact);
        self.log.push((value, before));
    }

    fn forget_to(&mut self, mark: usize) {
        for (value, before) in self.log.drain(mark..).rev() {
            match before {
                Some(fact) => self.known.insert(value, fact),
                None => self.known.remove(&value),
            };
        }
    }
}

impl Facts {
    /// The type of a value, wherever it is.
    pub(super) fn declare(&mut self, value: Value, ty: RefType) {
        self.declared[value] = Some(ty);
    }

    /// The type of a value of which nothing is known, because the making of SSA form made it.
    pub(super) fn declare_if_new(&mut self, value: Value, ty: RefType) {
        self.declared[value].get_or_insert(ty);
    }

    /// A null, if `repr` is of references.
    pub(super) fn declare_null(&mut self, value: Value, repr: &Repr) {
        if let Some(ty) = repr.reference {
            let heap = HeapType::Abstract(bottom(ty.heap.hierarchy()));
            self.declare(
                value,
                RefType {
                    nullable: true,
                    heap,
                },
            );
        }
    }

    /// That a value is a reference to this function.
    pub(super) fn declare_func(&mut self, value: Value, func: FuncIndex, ty: TypeIndex) {
        self.funcs.insert(value, func);
        let heap = HeapType::ConcreteFunc(ty);
        self.declare(
            value,
            RefType {
                nullable: false,
                heap,
            },
        );
    }

    /// Which function a value refers to, if that is known.
    pub(super) fn func(&self, value: Value) -> Option<FuncIndex> {
        self.funcs.get(&value).copied()
    }

    /// The length of an array that was learned.
    pub(super) fn length(&self, array: Value) -> Option<Value> {
        self.lengths.known.get(&array).copied()
    }

    /// That an array has this length, from here on.
    pub(super) fn learn_length(&mut self, array: Value, length: Value) {
        self.lengths.insert(array, length);
    }

    /// How much is known now.
    pub(super) fn mark(&self) -> Mark {
        Mark {
            learned: self.learned.log.len(),
            lengths: self.lengths.log.len(),
        }
    }

    /// Forgets what was learned since `mark`.
    pub(super) fn forget_to(&mut self, mark: Mark) {
        self.learned.forget_to(mark.learned);
        self.lengths.forget_to(mark.lengths);
    }
}

impl Lowering<'_, '_> {
    /// The type of a reference in this place, as one of `hierarchy`: conversions between `any` and
    /// `extern` leave the value as it is.
    pub(super) fn known_type(&self, value: Value, hierarchy: Hierarchy) -> RefType {
        let learned = self.facts.learned.known.get(&value);
        let known = learned.copied().or(self.facts.declared[value]);
        match known {
            Some(ty) if ty.heap.hierarchy() == hierarchy => ty,
            other => RefType {
                nullable: other.is_none_or(|ty| ty.nullable),
                heap: HeapType::Abstract(hierarchy.top()),
            },
        }
    }

    /// From here on, `value` has type `ty`, besides what is known.
    pub(super) fn learn(&mut self, value: Value, ty: RefType) {
        let known = self.known_type(value, ty.heap.hierarchy());
        let heap = if is_heap_subtype(self.cx.module, known.heap, ty.heap) {
            known.heap
        } else {
            ty.heap
        };
        let nullable = known.nullable && ty.nullable;
        let narrower = RefType { nullable, heap };
        if narrower != known {
            self.facts.learned.insert(value, narrower);
        }
    }

    /// From here on, `value` is not null.
    pub(super) fn learn_non_null(&mut self, value: Value) {
        let learned = self.facts.learned.known.get(&value);
        if let Some(known) = learned.copied().or(self.facts.declared[value])
            && known.nullable
        {
            let nullable = false;
            self.facts
                .learned
                .insert(value, RefType { nullable, ..known });
        }
    }

    /// Whether a reference may be null here.
    pub(super) fn may_be_null(&self, value: Value) -> bool {
        let learned = self.facts.learned.known.get(&value);
        let known = learned.copied().or(self.facts.declared[value]);
        known.is_none_or(|ty| ty.nullable)
    }

    /// Whether a collected reference may be an unboxed integer here.
    pub(super) fn may_be_i31(&self, value: Value) -> bool {
        let learned = self.facts.learned.known.get(&value);
        let known = learned.copied().or(self.facts.declared[value]);
        known.is_none_or(|ty| may_hold_i31(ty.heap))
    }

    /// Whether a collected reference may be to an object, neither null nor an unboxed integer.
    pub(super) fn may_be_object(&self, value: Value) -> bool {
        let learned = self.facts.learned.known.get(&value);
        let known = learned.copied().or(self.facts.declared[value]);
        known.is_none_or(|ty| Repr::of_ref(&ty).collected())
    }
}

/// Whether a reference to `heap` may be an unboxed integer.
pub(super) fn may_hold_i31(heap: HeapType) -> bool {
    use AbstractHeapType as A;
    matches!(
        heap,
        HeapType::Abstract(A::Any | A::Eq | A::I31 | A::Extern)
    )
}

/// Whether every reference to `actual` that is not null is one to `expected`. Concrete types are
/// compared by index, so the answer may be no for equal types.
pub(super) fn is_heap_subtype(module: &Module, actual: HeapType, expected: HeapType) -> bool {
    if actual == expected {
        return true;
    }
    match (actual, expected) {
        (HeapType::Abstract(actual), HeapType::Abstract(expected)) => {
            is_abstract_subtype(actual, expected)
        }
        (HeapType::Abstract(actual), _) => actual == bottom(expected.hierarchy()),
        (_, HeapType::Abstract(expected)) => is_abstract_subtype(class_of(actual), expected),
        _ => match (actual.concrete(), expected.concrete()) {
            (Some(actual), Some(expected)) => is_declared_subtype(module, actual, expected),
            _ => false,
        },
    }
}

/// Whether `actual` is `expected`, or declares it as its supertype at some remove.
pub(super) fn is_declared_subtype(module: &Module, actual: TypeIndex, expected: TypeIndex) -> bool {
    let mut next = Some(actual);
    while let Some(declared) = next {
        if declared == expected {
            return true;
        }
        next = module.types[declared.index()].supertype;
    }
    false
}

/// How many ancestors a type has, itself not included.
pub(super) fn depth(module: &Module, ty: TypeIndex) -> usize {
    let supertype = |ty: &TypeIndex| module.types[ty.index()].supertype;
    std::iter::successors(supertype(&ty), supertype).count()
}

/// The abstract type directly above a concrete one, or the abstract type itself.
pub(super) fn class_of(ty: HeapType) -> AbstractHeapType {
    match ty {
        HeapType::Abstract(ty) => ty,
        HeapType::ConcreteFunc(_) => AbstractHeapType::Func,
        HeapType::ConcreteStruct(_) => AbstractHeapType::Struct,
        HeapType::ConcreteArray(_) => AbstractHeapType::Array,
        HeapType::ConcreteCont(_) => AbstractHeapType::Cont,
    }
}

/// The smallest type of a hierarchy.
pub(super) fn bottom(hierarchy: Hierarchy) -> AbstractHeapType {
    match hierarchy {
        Hierarchy::Func => AbstractHeapType::NoFunc,
        Hierarchy::Extern => AbstractHeapType::NoExtern,
        Hierarchy::Any => AbstractHeapType::None,
        Hierarchy::Exn => AbstractHeapType::NoExn,
        Hierarchy::Cont => AbstractHeapType::NoCont,
    }
}

fn is_abstract_subtype(actual: AbstractHeapType, expected: AbstractHeapType) -> bool {
    use AbstractHeapType as A;
    let hierarchy = |ty| HeapType::<TypeIndex>::Abstract(ty).hierarchy();
    if hierarchy(actual) != hierarchy(expected) {
        return false;
    }
    actual == expected
        || actual == bottom(hierarchy(expected))
        || match expected {
            A::Any => true,
            A::Eq => matches!(actual, A::I31 | A::Struct | A::Array),
            _ => false,
        }
}
