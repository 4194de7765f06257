//! What compiled code leaves to the runtime of allocation, of bulk operations on arrays, and of casts.
//!
//! Specification: core, §4.6.6 "Reference Instructions" and §4.6.7 "Aggregate Reference Instructions".
//! What a guest passes is checked here: references, indices and lengths; types and segments come from
//! validated code.
//!
//! Called by `exec`'s builtins, each of which is a safepoint: compiled code has its references on
//! the stack, and nobody else has a reference to the store.

use super::instance::Instance;
use super::reason::Reason;
use super::store::Store;
use crate::gc::{ArrayView, HeapError, RefKind, is_young};
use sarsen_abi::heap::Slot;
use sarsen_abi::types::{AbstractHeapType, HeapType};
use sarsen_abi::vmctx::{ValRaw, VmFuncRef};
use sarsen_abi::{DataIndex, ElemIndex, TrapCode, TypeId, TypeIndex};
use std::ops::Range;

/// In the number of a cast's target: it is an abstract type.
const ABSTRACT: u32 = 1 << 31;

impl Instance {
    /// The store, for a builtin: to be used until the next call of this only.
    #[expect(
        clippy::mut_from_ref,
        reason = "the store is no part of the instance, which it owns and never refers to mutably"
    )]
    pub(super) fn store_mut(&self) -> &mut Store {
        // SAFETY: an instance lives in its store; compiled code has just called out of it, so that
        // nobody else has a reference to it.
        unsafe { &mut *self.store().as_ptr() }
    }

    fn type_id(&self, ty: u32) -> TypeId {
        self.module().type_id(TypeIndex::new(ty))
    }

    /// Room for a small object.
    pub(crate) fn gc_alloc(&self, size: u32) -> Result<u32, Reason> {
        Ok(self
            .store_mut()
            .with_heap(|heap, world| heap.allocate_unwritten(size, world))?)
    }

    /// An object filled with zeroes.
    pub(crate) fn gc_alloc_zeroed(&self, ty: u32, length: u32) -> Result<u32, Reason> {
        let ty = self.type_id(ty);
        let made = |store: &mut Store| {
            store.with_heap(|heap, world| heap.allocate_object(ty, length, world))
        };
        Ok(made(self.store_mut())?)
    }

    /// `array.new`
    pub(crate) fn array_new(
        &self,
        ty: u32,
        length: u32,
        low: u64,
        high: u64,
    ) -> Result<u32, Reason> {
        let (ty, value) = (self.type_id(ty), stored(low, high));
        let store = self.store_mut();
        let at = store.with_heap(|heap, world| {
            let slot = heap.element_slot(ty)?;
            if slot != Slot::Function {
                // SAFETY: validated code.
                return unsafe { heap.allocate_array(ty, length, value, world) };
            }
            let at = heap.allocate_object(ty, length, world)?;
            let view = numbers(ArrayView { at, length, slot });
            // SAFETY: validated code: the number of a function.
            unsafe { heap.fill_elements(view, 0, length, value) };
            Ok(at)
        })?;
        Ok(at)
    }

    /// `array.fill`
    pub(crate) fn array_fill(
        &self,
        array: u32,
        index: u32,
        value: (u64, u64),
        length: u32,
    ) -> Result<(), Reason> {
        let store = self.store_mut();
        let mut view = numbers(store.heap_mut().array(array)?);
        view.check_range(index, length)?;
        let mut value = stored(value.0, value.1);
        if view.slot == Slot::Reference && is_young(value.0 as u32) {
            let mut held = [value.0 as u32];
            store.with_heap(|heap, world| {
                heap.prepare_references(view.slot, &mut view.at, length, &mut held, world)
            })?;
            value = stored(u64::from(held[0]), 0);
        }
        // SAFETY: validated code, and nothing was collected since.
        unsafe { store.heap_mut().fill_elements(view, index, length, value) };
        Ok(())
    }

    /// `array.copy`
    pub(crate) fn array_copy(
        &self,
        to: (u32, u32),
        from: (u32, u32),
        length: u32,
    ) -> Result<(), Reason> {
        let store = self.store_mut();
        let heap = store.heap_mut();
        let (to_view, from_view) = (heap.array(to.0)?, heap.array(from.0)?);
        to_view.check_range(to.1, length)?;
        from_view.check_range(from.1, length)?;
        if to_view.slot != from_view.slot {
            return Err(TrapCode::HeapCorruption.into());
        }
        let (mut at, mut others) = (to.0, [from.0]);
        if to_view.slot == Slot::Reference {
            store.with_heap(|heap, world| {
                heap.prepare_references(to_view.slot, &mut at, length, &mut others, world)
            })?;
        }
        let to_view = ArrayView { at, ..to_view };
        let from_view = ArrayView {
            at: others[0],
            ..from_view
        };
        // SAFETY: validated code, and nothing was collected since.
        unsafe {
            store
                .heap_mut()
                .copy_elements(to_view, to.1, from_view, from.1, length);
        }
        Ok(())
    }

    /// The bytes of a data segment that `length` elements of `slot` take from `offset`.
    fn segment_bytes(
        &self,
        data: u32,
        offset: u32,
        length: u32,
        slot: Slot,
    ) -> Result<&[u8], Reason> {
        let bytes = self.passive_data(DataIndex::new(data));
        let start = offset as usize;
        let end = start + length as usize * slot.size() as usize;
        Ok(bytes.get(start..end).ok_or(TrapCode::MemoryOutOfBounds)?)
    }

    /// `array.new_data`
    pub(crate) fn array_new_data(
        &self,
        ty: u32,
        data: u32,
        offset: u32,
        length: u32,
    ) -> Result<u32, Reason> {
        let ty = self.type_id(ty);
        let slot = self.store_mut().heap_mut().element_slot(ty)?;
        let bytes = self.segment_bytes(data, offset, length, slot)?;
        let at = self.store_mut().with_heap(|heap, world| {
            let at = heap.allocate_object(ty, length, world)?;
            heap.write_elements(ArrayView { at, length, slot }, 0, bytes);
            Ok::<_, HeapError>(at)
        })?;
        Ok(at)
    }

    /// `array.init_data`
    pub(crate) fn array_init_data(
        &self,
        data: u32,
        (array, index): (u32, u32),
        from: u32,
        length: u32,
    ) -> Result<(), Reason> {
        let view = self.store_mut().heap_mut().array(array)?;
        view.check_range(index, length)?;
        if !matches!(view.slot, Slot::Number(_)) {
            return Err(TrapCode::HeapCorruption.into());
        }
        let bytes = self.segment_bytes(data, from, length, view.slot)?;
        self.store_mut()
            .heap_mut()
            .write_elements(view, index, bytes);
        Ok(())
    }

    /// The values of `length` elements of a segment.
    fn segment_values(&self, elem: u32, from: u32, length: u32) -> Result<Vec<u64>, Reason> {
        let start = from as usize;
        let range: Range<usize> = start..start + length as usize;
        self.passive_elements(ElemIndex::new(elem), range)
    }

    /// `array.new_elem`
    pub(crate) fn array_new_elem(
        &self,
        ty: u32,
        elem: u32,
        offset: u32,
        length: u32,
    ) -> Result<u32, Reason> {
        let ty = self.type_id(ty);
        let values = self.segment_values(elem, offset, length)?;
        let values: Vec<ValRaw> = values.into_iter().map(ValRaw::u64).collect();
        // SAFETY: validated code: the elements are of the array's type. They are held while the array is
        // allocated.
        let at = self
            .store_mut()
            .with_heap(|heap, world| unsafe { heap.allocate_array_of(ty, &values, world) })?;
        Ok(at)
    }

    /// `array.init_elem`
    pub(crate) fn array_init_elem(
        &self,
        elem: u32,
        (array, index): (u32, u32),
        from: u32,
        length: u32,
    ) -> Result<(), Reason> {
        let store = self.store_mut();
        let view = store.heap_mut().array(array)?;
        view.check_range(index, length)?;
        // Evaluating the segment for the first time may collect.
        let held = store.heap_mut().hold([array]);
        let values = self.segment_values(elem, from, length);
        let heap = self.store_mut().heap_mut();
        let at = heap.release(held).next().expect("one is held");
        let view = ArrayView { at, ..view };
        for (index, value) in (index..).zip(values?) {
            // SAFETY: validated code: the elements are of the array's type, and nothing was collected
            // since.
            unsafe { heap.array_set(view, index, ValRaw::u64(value))? };
        }
        Ok(())
    }

    /// The number by which objects refer to a function.
    ///
    /// # Safety
    ///
    /// `func` must be null or a function of the instance's store that compiled code can call.
    pub(crate) unsafe fn func_id(&self, func: *const VmFuncRef) -> u32 {
        // SAFETY: the caller's promise.
        unsafe { self.store_mut().heap_mut().func_id(func) }
    }

    /// The buffer of remembered slots is full.
    pub(crate) fn gc_remembered_full(&self) {
        self.store_mut().heap_mut().remembered_full();
    }

    /// Why a cast fails. `target` is the module's type, or an abstract one; see
    /// [`sarsen_abi::Builtin::CastFailed`].
    pub(crate) fn cast_failure(&self, reference: u32, target: u32, nullable: bool) -> Reason {
        let kind = match self.store_mut().ref_kind(reference) {
            Ok(kind) => kind,
            Err(code) => return code.into(),
        };
        let target = match target & ABSTRACT {
            0 => target.to_string(),
            _ => AbstractHeapType::from_code(target & !ABSTRACT).map_or_else(String::new, |ty| {
                HeapType::<TypeIndex>::Abstract(ty).to_string()
            }),
        };
        let null = if nullable { "null " } else { "" };
        let concrete = |id: TypeId, otherwise: &str| {
            let known = self.module().type_index(id);
            known.map_or_else(|| otherwise.to_owned(), |index| index.as_u32().to_string())
        };
        let found = match kind {
            RefKind::Null => "null".to_owned(),
            RefKind::I31(_) => "i31".to_owned(),
            RefKind::Struct(id) => concrete(id, "struct"),
            RefKind::Array(id) => concrete(id, "array"),
            RefKind::Extern => "extern".to_owned(),
            RefKind::Exn => "exn".to_owned(),
            RefKind::Cont => "cont".to_owned(),
        };
        let found = match kind {
            RefKind::Null => found,
            _ => format!("(ref {found})"),
        };
        Reason::Cast(format!("expected (ref {null}{target}), found {found}").into())
    }
}

/// The same array, with numbers of functions as numbers.
fn numbers(view: ArrayView) -> ArrayView {
    let slot = match view.slot {
        Slot::Function => Slot::Number(view.slot.size()),
        slot => slot,
    };
    ArrayView { slot, ..view }
}

/// A value as compiled code passes it to be stored in elements.
fn stored(low: u64, high: u64) -> ValRaw {
    ValRaw(u128::from(low) | u128::from(high) << 64)
}
