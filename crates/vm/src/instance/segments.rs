//! Element and data segments: applying active ones when a module is instantiated, and what
//! `table.init` and `memory.init` read of passive ones.
//!
//! Elements are evaluated when they are used: an expression can name nothing that changes. (An
//! expression that allocates will have to be evaluated once, at instantiation.)
//!
//! Callers: `instantiate`, `bulk`.

use super::const_expr::{ConstContext, evaluate};
use super::instance::Instance;
use crate::mem;
use sarsen_abi::const_expr::ConstExpr;
use sarsen_abi::module::{DataMode, ElementItems, ElementMode};
use sarsen_abi::vmctx::{ValRaw, VmFuncRef};
use sarsen_abi::{DataIndex, ElemIndex, FuncIndex, GlobalIndex, MemoryIndex, TableIndex, TrapCode};
use std::ops::Range;
use std::ptr::NonNull;

impl ConstContext for Instance {
    fn global(&self, global: GlobalIndex) -> ValRaw {
        // SAFETY: a global of this store, which nobody writes meanwhile.
        unsafe { Instance::global(self, global).read() }.0
    }

    fn func(&self, func: FuncIndex) -> ValRaw {
        ValRaw(u128::from(self.func_bits(func)))
    }
}

impl Instance {
    /// The reference to a function as it is stored.
    fn func_bits(&self, func: FuncIndex) -> u64 {
        let func: NonNull<VmFuncRef> =
            Instance::func(self, func).expect("a function that is named has a reference");
        func.as_ptr().expose_provenance() as u64
    }

    /// The value of a constant expression.
    pub(super) fn evaluate(&self, expr: &ConstExpr) -> ValRaw {
        evaluate(expr, self)
    }

    /// The offset of an active segment: an `i32` is zero-extended.
    fn offset(&self, expr: &ConstExpr) -> u64 {
        self.evaluate(expr).0 as u64
    }

    /// Applies the active element segments, then the active data segments, in order (core
    /// specification, §4.7.4 "Instantiation").
    ///
    /// # Errors
    ///
    /// The trap of the first segment that does not fit; those before it stay applied.
    pub(super) fn apply_active_segments(&self) -> Result<(), TrapCode> {
        let module = self.module.module();
        for segment in &module.elements {
            if let ElementMode::Active { table, offset } = &segment.mode {
                let at = self.offset(offset);
                self.write_elements(*table, at, &segment.items, 0..segment.items.len())?;
            }
        }
        for segment in &module.data {
            if let DataMode::Active { memory, offset } = &segment.mode {
                let bytes = self.module.data(&segment.bytes);
                self.write_bytes(*memory, self.offset(offset), bytes, 0, bytes.len() as u64)?;
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
    ) -> Result<(), TrapCode> {
        const NONE: &ElementItems = &ElementItems::Funcs(Vec::new());
        let declared = &self.module.module().elements[segment.index()];
        let passive = matches!(declared.mode, ElementMode::Passive);
        let items = if passive && !self.dropped_elements.contains(segment.index()) {
            &declared.items
        } else {
            NONE
        };
        let start = src as usize;
        let end = start
            .checked_add(len as usize)
            .filter(|&end| end <= items.len());
        let end = end.ok_or(TrapCode::TableOutOfBounds)?;
        self.write_elements(table, dst, items, start..end)
    }

    /// Writes `items[range]` to a table from `at`.
    fn write_elements(
        &self,
        table: TableIndex,
        at: u64,
        items: &ElementItems,
        range: Range<usize>,
    ) -> Result<(), TrapCode> {
        let mut table = self.table(table);
        // SAFETY: a table of this store; nobody else has a reference to it, and what is evaluated
        // below does not touch tables.
        let table = unsafe { table.as_mut() };
        match items {
            ElementItems::Funcs(funcs) => {
                table.init(at, funcs[range].iter().map(|&func| self.func_bits(func)))
            }
            ElementItems::Exprs(exprs) => table.init(
                at,
                exprs[range].iter().map(|expr| self.evaluate(expr).0 as u64),
            ),
        }
        .map_err(|_| TrapCode::TableOutOfBounds)
    }

    /// `elem.drop`
    pub(crate) fn elem_drop(&self, segment: ElemIndex) {
        self.dropped_elements.insert(segment.index());
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
        let declared = &self.module.module().data[segment.index()];
        let passive = matches!(declared.mode, DataMode::Passive);
        let bytes = if passive && !self.dropped_data.contains(segment.index()) {
            self.module.data(&declared.bytes)
        } else {
            &[]
        };
        self.write_bytes(memory, dst, bytes, u64::from(src), u64::from(len))
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
