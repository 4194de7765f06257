//! Element and data segments: applying active ones when a module is instantiated, and what
//! `table.init`, `memory.init` and instructions on arrays read of passive ones.
//!
//! Elements are evaluated when they are used, because an expression can name nothing that changes;
//! but references to objects only once, because expressions may make them ([`EvaluatedSegments`]).
//!
//! Callers: `instantiate`, `bulk`, `arrays`.

use super::const_expr::{ConstContext, Contents, evaluate};
use super::instance::Instance;
use super::module::is_collected;
use super::reason::Reason;
use super::store::Store;
use crate::gc::HeapError;
use crate::mem;
use sarsen_abi::const_expr::ConstExpr;
use sarsen_abi::module::{DataMode, ElementItems, ElementMode, ElementSegment};
use sarsen_abi::types::{CompositeType, ValType};
use sarsen_abi::vmctx::{ValRaw, VmFuncRef};
use sarsen_abi::{
    DataIndex, ElemIndex, FuncIndex, GlobalIndex, MemoryIndex, TableIndex, TrapCode, TypeIndex,
};
use std::cell::RefCell;
use std::ops::Range;
use std::ptr::NonNull;

/// The elements of passive segments that are references to objects, once they have been evaluated.
#[derive(Debug, Default)]
pub(super) struct EvaluatedSegments(RefCell<Vec<(ElemIndex, Box<[u32]>)>>);

impl EvaluatedSegments {
    /// Calls `visit` with every slot. Nothing else may be done with the segments until the slots
    /// are no longer used.
    pub(super) fn slots(&self, mut visit: impl FnMut(*mut u32)) {
        for (_, elements) in self.0.borrow_mut().iter_mut() {
            elements.iter_mut().for_each(|slot| visit(slot));
        }
    }

    fn get(&self, segment: ElemIndex, range: Range<usize>) -> Option<Vec<u64>> {
        let segments = self.0.borrow();
        let (_, elements) = segments.iter().find(|(at, _)| *at == segment)?;
        Some(elements[range].iter().map(|&r| u64::from(r)).collect())
    }

    fn insert(&self, segment: ElemIndex, elements: Box<[u32]>) {
        self.0.borrow_mut().push((segment, elements));
    }

    fn remove(&self, segment: ElemIndex) {
        self.0.borrow_mut().retain(|(at, _)| *at != segment);
    }
}

/// An instance in its store, for constant expressions.
struct Evaluation<'a> {
    instance: &'a Instance,
    store: &'a mut Store,
}

impl ConstContext for Evaluation<'_> {
    fn global(&self, global: GlobalIndex) -> (ValRaw, bool) {
        // SAFETY: a global of this store, which nobody writes meanwhile.
        let value = unsafe { self.instance.global(global).read() }.0;
        let ty = &self.instance.module.module().globals[global.index()].content;
        (value, is_collected(ty))
    }

    fn func(&self, func: FuncIndex) -> ValRaw {
        ValRaw(u128::from(self.instance.func_bits(func)))
    }

    fn field_count(&self, ty: TypeIndex) -> usize {
        match &self.instance.module.module().types[ty.index()].composite {
            CompositeType::Struct(fields) => fields.len(),
            _ => unreachable!("validated to be a structure type"),
        }
    }

    fn make(
        &mut self,
        ty: TypeIndex,
        contents: Contents<'_>,
        held: &mut [u32],
    ) -> Result<u32, HeapError> {
        let ty = self.instance.module.type_id(ty);
        let hold = self.store.heap_mut().hold(held.iter().copied());
        // SAFETY: validated: the values are of the types that the object's type asks for.
        let made = self.store.with_heap(|heap, world| unsafe {
            match contents {
                Contents::Fields(fields) => heap.allocate_struct(ty, fields, world),
                Contents::Default(length) => heap.allocate_object(ty, length, world),
                Contents::Repeated(value, length) => heap.allocate_array(ty, length, value, world),
                Contents::Elements(elements) => heap.allocate_array_of(ty, elements, world),
            }
        });
        for (reference, now) in held.iter_mut().zip(self.store.heap_mut().release(hold)) {
            *reference = now;
        }
        made
    }
}

impl Instance {
    /// The reference to a function as it is stored.
    fn func_bits(&self, func: FuncIndex) -> u64 {
        let func: NonNull<VmFuncRef> =
            Instance::func(self, func).expect("a function that is named has a reference");
        func.as_ptr().expose_provenance() as u64
    }

    /// The value of a constant expression. References are raw, and objects may have moved.
    ///
    /// # Errors
    ///
    /// When there is no room for an object.
    pub(super) fn evaluate(
        &self,
        store: &mut Store,
        expr: &ConstExpr,
    ) -> Result<ValRaw, HeapError> {
        let mut context = Evaluation {
            instance: self,
            store,
        };
        evaluate(expr, &mut context)
    }

    /// The offset of an active segment: an `i32` is zero-extended.
    fn offset(&self, store: &mut Store, expr: &ConstExpr) -> u64 {
        let value = self.evaluate(store, expr);
        value.expect("a number needs no room").0 as u64
    }

    /// Applies the active element segments, then the active data segments, in order (core
    /// specification, §4.7.4 "Instantiation").
    ///
    /// # Errors
    ///
    /// The trap of the first segment that does not fit; those before it stay applied.
    pub(super) fn apply_active_segments(&self, store: &mut Store) -> Result<(), Reason> {
        let module = self.module.module();
        for segment in &module.elements {
            if let ElementMode::Active { table, offset } = &segment.mode {
                let at = self.offset(store, offset);
                self.check_room(*table, at, segment.items.len())?;
                let values = self.elements(store, segment, 0..segment.items.len())?;
                self.write_elements(store, *table, at, &values)?;
            }
        }
        for segment in &module.data {
            if let DataMode::Active { memory, offset } = &segment.mode {
                let bytes = self.module.data(&segment.bytes);
                let at = self.offset(store, offset);
                self.write_bytes(*memory, at, bytes, 0, bytes.len() as u64)?;
            }
        }
        Ok(())
    }

    /// `table.init`
    ///
    /// # Errors
    ///
    /// [`TrapCode::TableOutOfBounds`] when a range does not fit; then nothing is written.
    pub(crate) fn table_init(
        &self,
        table: TableIndex,
        segment: ElemIndex,
        dst: u64,
        src: u32,
        len: u32,
    ) -> Result<(), Reason> {
        let start = src as usize;
        let range = start..start + len as usize;
        self.check_room(table, dst, len as usize)?;
        let values = self.passive_elements(segment, range)?;
        Ok(self.write_elements(self.store_mut(), table, dst, &values)?)
    }

    /// The elements of a passive segment, as they are stored in tables. A dropped one is empty.
    ///
    /// # Errors
    ///
    /// [`TrapCode::TableOutOfBounds`] when the range does not lie in it, or there is no room for an
    /// object.
    pub(super) fn passive_elements(
        &self,
        segment: ElemIndex,
        range: Range<usize>,
    ) -> Result<Vec<u64>, Reason> {
        let declared = &self.module.module().elements[segment.index()];
        let passive = matches!(declared.mode, ElementMode::Passive);
        let length = if passive && !self.dropped_elements.contains(segment.index()) {
            declared.items.len()
        } else {
            0
        };
        if range.end > length {
            return Err(TrapCode::TableOutOfBounds.into());
        }
        let store = self.store_mut();
        if !is_collected(&ValType::Ref(declared.ty)) {
            return Ok(self.elements(store, declared, range)?);
        }
        if let Some(elements) = self.evaluated.get(segment, range.clone()) {
            return Ok(elements);
        }
        let all = self.elements(store, declared, 0..length)?;
        self.evaluated
            .insert(segment, all.iter().map(|&value| value as u32).collect());
        Ok(all[range].to_vec())
    }

    /// Evaluates elements of a segment. References are raw.
    fn elements(
        &self,
        store: &mut Store,
        segment: &ElementSegment,
        range: Range<usize>,
    ) -> Result<Vec<u64>, HeapError> {
        let exprs = match &segment.items {
            ElementItems::Funcs(funcs) => {
                return Ok(funcs[range]
                    .iter()
                    .map(|&func| self.func_bits(func))
                    .collect());
            }
            ElementItems::Exprs(exprs) => &exprs[range],
        };
        if !is_collected(&ValType::Ref(segment.ty)) {
            let value = |expr| Ok(self.evaluate(store, expr)?.0 as u64);
            return exprs.iter().map(value).collect();
        }
        // What has been evaluated is held while the rest is.
        let held = store.heap_mut().hold([]);
        let result = exprs.iter().try_for_each(|expr| {
            let value = self.evaluate(store, expr)?;
            let _released_with_the_first = store.heap_mut().hold([value.get_u32()]);
            Ok(())
        });
        let values = store.heap_mut().release(held).map(u64::from).collect();
        result.map(|()| values)
    }

    fn check_room(&self, table: TableIndex, at: u64, len: usize) -> Result<(), TrapCode> {
        let end = at.checked_add(len as u64);
        match end {
            Some(end) if end <= self.vm_table(table).length => Ok(()),
            _ => Err(TrapCode::TableOutOfBounds),
        }
    }

    /// Writes `values` to a table from `at`.
    fn write_elements(
        &self,
        store: &mut Store,
        table: TableIndex,
        at: u64,
        values: &[u64],
    ) -> Result<(), TrapCode> {
        // SAFETY: a table of this store; nobody else has a reference to it. Validated: the values are of
        // its element type.
        unsafe { store.init_table(self.table(table), at, values) }
            .map_err(|_| TrapCode::TableOutOfBounds)
    }

    /// `elem.drop`
    pub(crate) fn elem_drop(&self, segment: ElemIndex) {
        self.dropped_elements.insert(segment.index());
        self.evaluated.remove(segment);
    }

    /// `memory.init`
    ///
    /// # Errors
    ///
    /// [`TrapCode::MemoryOutOfBounds`] when a range does not fit; then nothing is written.
    pub(crate) fn memory_init(
        &self,
        memory: MemoryIndex,
        segment: DataIndex,
        dst: u64,
        src: u32,
        len: u32,
    ) -> Result<(), TrapCode> {
        let bytes = self.passive_data(segment);
        self.write_bytes(memory, dst, bytes, u64::from(src), u64::from(len))
    }

    /// The bytes of a passive segment. A dropped one is empty, as is one that was applied.
    pub(super) fn passive_data(&self, segment: DataIndex) -> &[u8] {
        match self.module.module().data_segment(segment) {
            Some(declared)
                if declared.mode == DataMode::Passive
                    && !self.dropped_data.contains(segment.index()) =>
            {
                self.module.data(&declared.bytes)
            }
            _ => &[],
        }
    }

    fn write_bytes(
        &self,
        memory: MemoryIndex,
        at: u64,
        bytes: &[u8],
        src: u64,
        len: u64,
    ) -> Result<(), TrapCode> {
        // SAFETY: a memory of this store, which nobody else uses meanwhile; segments lie in the
        // image.
        unsafe { mem::init_memory(self.vm_memory(memory), at, bytes, src, len) }
            .map_err(|_| TrapCode::MemoryOutOfBounds)
    }

    /// `data.drop`
    pub(crate) fn data_drop(&self, segment: DataIndex) {
        self.dropped_data.insert(segment.index());
    }
}
