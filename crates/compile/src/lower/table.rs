//! Tables: reading and writing elements, sizes, and the instructions that call the runtime.
//!
//! An access past the end traps without a branch: the element's address is replaced by null, also
//! under misspeculation, and the access faults there with the trap code that it carries.

use super::bound::upper_bound;
use super::function::{Lowering, trap_code};
use super::memory::Place;
use super::piecewise::{LongOperation, PIECE_ELEMENTS};
use super::region::Region;
use super::signature::{POINTER, Repr};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Type, Value};
use sarsen_abi::types::{IndexType, TableType};
use sarsen_abi::vmctx::offset;
use sarsen_abi::{Builtin, TableIndex, TrapCode};

impl Lowering<'_, '_> {
    /// `table.get`
    pub(super) fn table_get(&mut self, table: u32) {
        let index = self.pop();
        let element = self.load_element(TableIndex::new(table), index, TrapCode::TableOutOfBounds);
        self.push(element);
    }

    /// `table.set`
    pub(super) fn table_set(&mut self, table: u32) {
        let (index, element) = self.pop2();
        let table = TableIndex::new(table);
        let ty = self.table_type(table).element;
        let (address, flags) = self.element_place(table, index, TrapCode::TableOutOfBounds);
        let place = Place {
            address,
            offset: 0,
            flags,
        };
        if ty.is_collected() {
            self.store_reference(place, None, ty.heap, element);
        } else {
            self.builder.ins().store(flags, element, address, 0);
        }
    }

    /// Loads an element of a table; an index past the end traps with `code`.
    pub(super) fn load_element(
        &mut self,
        table: TableIndex,
        index: Value,
        code: TrapCode,
    ) -> Value {
        let repr = Repr::of_ref(&self.table_type(table).element);
        let (address, flags) = self.element_place(table, index, code);
        let element = self.builder.ins().load(repr.ty, flags, address, 0);
        self.note_repr(element, repr);
        element
    }

    /// `table.size`
    pub(super) fn table_size(&mut self, table: u32) {
        let table = TableIndex::new(table);
        let length = self.table_length(table);
        let ty = index_type(self.table_type(table).index);
        let length = self.narrow(length, ty);
        self.push(length);
    }

    /// `table.grow`
    pub(super) fn table_grow(&mut self, table: u32) {
        let ty = self.table_type(TableIndex::new(table)).index;
        let (element, delta) = self.pop2();
        let table = self.index_argument(table);
        let element = self.extend_index(element);
        let delta = self.extend_index(delta);
        let old = self.call_builtin(Builtin::TableGrow, &[table, delta, element]);
        let old = self.narrow(old.expect("it has a result"), index_type(ty));
        self.push(old);
    }

    /// `table.fill`
    pub(super) fn table_fill(&mut self, table: u32) {
        let (to, element, length) = self.pop3();
        let [to, length] = [to, length].map(|v| self.extend_index(v));
        let fill = self.long_table_operation(length, TableIndex::new(table), None);
        if self.is_long(&fill) {
            self.table_range(TableIndex::new(table), to, length);
        }
        self.in_pieces(&fill, |this, start, length| {
            let to = this.builder.ins().iadd(to, start);
            let table = this.index_argument(table);
            // Not before: a reference that has been extended is none that a collector would find.
            let element = this.extend_index(element);
            this.call_builtin(Builtin::TableFill, &[table, to, element, length]);
        });
    }

    /// `table.copy`
    pub(super) fn table_copy(&mut self, to_table: u32, from_table: u32) {
        let (to, from, length) = self.pop3();
        let [to, from, length] = [to, from, length].map(|v| self.extend_index(v));
        let is_backward = self.is_copied_backward(to, from);
        let copy = self.long_table_operation(length, TableIndex::new(to_table), Some(is_backward));
        if self.is_long(&copy) {
            self.table_range(TableIndex::new(to_table), to, length);
            self.table_range(TableIndex::new(from_table), from, length);
        }
        self.in_pieces(&copy, |this, start, length| {
            let [to, from] = [to, from].map(|index| this.builder.ins().iadd(index, start));
            let to_table = this.index_argument(to_table);
            let from_table = this.index_argument(from_table);
            let arguments = [to_table, to, from_table, from, length];
            this.call_builtin(Builtin::TableCopy, &arguments);
        });
    }

    /// `table.init`
    pub(super) fn table_init(&mut self, elem: u32, table: u32) {
        let (to, from, length) = self.pop3();
        let [to, length] = [to, length].map(|v| self.extend_index(v));
        let most = self.cx.module.elements[elem as usize].items.len() as u64;
        let init = LongOperation {
            most,
            ..self.long_table_operation(length, TableIndex::new(table), None)
        };
        if self.is_long(&init) {
            self.segment_range(from, length, most, TrapCode::TableOutOfBounds);
            self.table_range(TableIndex::new(table), to, length);
        }
        self.in_pieces(&init, |this, start, length| {
            let to = this.builder.ins().iadd(to, start);
            let [from, length] = this.piece_of(from, start, length);
            let table = this.index_argument(table);
            let elem = this.index_argument(elem);
            this.call_builtin(Builtin::TableInit, &[table, elem, to, from, length]);
        });
    }

    /// An operation on `length` elements of a table.
    fn long_table_operation(
        &mut self,
        length: Value,
        table: TableIndex,
        is_backward: Option<Value>,
    ) -> LongOperation {
        LongOperation {
            length,
            most: self.table_type(table).maximum.unwrap_or(u64::MAX),
            piece: PIECE_ELEMENTS,
            is_backward,
            is_counted: false,
        }
    }

    /// Traps unless `length` elements from `start`, both in 64 bits, are in a table. The runtime checks
    /// what it is called for, which may be a piece only.
    fn table_range(&mut self, table: TableIndex, start: Value, length: Value) {
        self.mark();
        let table_length = self.table_length(table);
        let ty = self.table_type(table).index;
        let is_out = self.is_sum_above(ty, start, length, table_length);
        let code = trap_code(TrapCode::TableOutOfBounds);
        self.builder.ins().trapnz(is_out, code);
    }

    /// `elem.drop`
    pub(super) fn elem_drop(&mut self, elem: u32) {
        let elem = self.index_argument(elem);
        self.call_builtin(Builtin::ElemDrop, &[elem]);
    }

    /// An index of the module, as an argument of a builtin.
    pub(super) fn index_argument(&mut self, index: u32) -> Value {
        self.iconst(I32, i64::from(index))
    }

    /// A 64-bit number as type `ty`, which may be narrower.
    pub(super) fn narrow(&mut self, value: Value, ty: Type) -> Value {
        if ty == I64 {
            value
        } else {
            self.builder.ins().ireduce(ty, value)
        }
    }

    fn table_type(&self, table: TableIndex) -> &TableType {
        &self.cx.module.tables[table.index()]
    }

    /// Where the table's `VmTable` is: an address, and an offset from it.
    fn table_definition(&mut self, table: TableIndex) -> (Value, i32) {
        let layout = &self.cx.layout;
        if self.cx.module.is_imported_table(table) {
            let offset = layout.imported_table(table) as i32;
            (self.load_once(POINTER, self.vmctx, offset), 0)
        } else {
            (self.vmctx, layout.defined_table(table) as i32)
        }
    }

    /// The address of the first element, which never changes if the table cannot grow.
    fn table_base(&mut self, table: TableIndex) -> Value {
        let (definition, at) = self.table_definition(table);
        let at = at + offset::TABLE_BASE;
        if fixed_length(self.table_type(table)).is_some() {
            return self.load_once(POINTER, definition, at);
        }
        let flags = self.flags(Region::TableDefinitions);
        self.builder.ins().load(POINTER, flags, definition, at)
    }

    /// The number of elements, in 64 bits.
    fn table_length(&mut self, table: TableIndex) -> Value {
        if let Some(length) = fixed_length(self.table_type(table)) {
            return self.iconst(I64, length as i64);
        }
        let (definition, at) = self.table_definition(table);
        let flags = self.flags(Region::TableDefinitions);
        let at = at + offset::TABLE_LENGTH;
        self.builder.ins().load(I64, flags, definition, at)
    }

    /// The address of an element, and the flags for an access to it, which traps with `code` if there
    /// is no such element.
    fn element_place(
        &mut self,
        table: TableIndex,
        index: Value,
        code: TrapCode,
    ) -> (Value, MemFlagsData) {
        self.mark();
        let ty = self.table_type(table);
        let size_log2 = ty.element.size_bytes().ilog2();
        // Tables do not shrink.
        let exists = upper_bound(&self.builder.func.dfg, index) < ty.minimum;
        let flags = self.flags(if self.cx.module.is_imported_table(table) {
            Region::ImportedTables
        } else {
            Region::Table(table)
        });
        let base = self.table_base(table);
        let index = self.extend_index(index);
        let distance = self.builder.ins().ishl_imm_u(index, i64::from(size_log2));
        let address = self.builder.ins().iadd(base, distance);
        if exists {
            return (address, flags);
        }
        let length = self.table_length(table);
        let is_past_end = self
            .builder
            .ins()
            .icmp(IntCC::UnsignedGreaterThanOrEqual, index, length);
        let null = self.iconst(POINTER, 0);
        let address = self
            .builder
            .ins()
            .select_spectre_guard(is_past_end, null, address);
        (address, flags.with_trap_code(Some(trap_code(code))))
    }
}

/// The number of elements, if it never changes.
fn fixed_length(ty: &TableType) -> Option<u64> {
    (ty.maximum == Some(ty.minimum)).then_some(ty.minimum)
}

/// The CLIF type of an index into a memory or table.
pub(super) fn index_type(ty: IndexType) -> Type {
    match ty {
        IndexType::I32 => I32,
        IndexType::I64 => I64,
    }
}
