//! Ranges of arrays, and arrays from segments: the runtime's work, for one piece after the other if code can
//! be interrupted (`piecewise`).
//!
//! A long array is made with zeroes first. Nobody else sees it before all of it is written: that elements
//! are null meanwhile which cannot be does not matter, as the collector takes any null.

use super::super::function::{Lowering, trap_code};
use super::super::piecewise::{LongOperation, PIECE_BYTES, PIECE_ELEMENTS};
use cranelift_codegen::ir::types::I32;
use cranelift_codegen::ir::{InstBuilder, Value};
use sarsen_abi::heap::{HEADER_SIZE, MAX_ARRAY, Slot};
use sarsen_abi::types::IndexType;
use sarsen_abi::{Builtin, DataIndex, TrapCode, TypeIndex};

/// A segment that elements of arrays come from.
struct Source {
    /// What makes an array of it.
    new: Builtin,
    /// What initializes a range of an array.
    init: Builtin,
    index: u32,
    /// Its size, in bytes or elements.
    size: u64,
    /// How much of it an element takes: 2 to this power.
    step_log2: u32,
    /// How many elements are initialized at once.
    piece: u64,
    /// The code with which what reaches beyond it traps.
    code: TrapCode,
}

impl Lowering<'_, '_> {
    /// `array.fill`
    pub(super) fn array_fill(&mut self, ty: TypeIndex) {
        let length = self.pop();
        let (array, index, value) = self.pop3();
        let stored = self.stored_form(value, &self.array_element(ty).storage);
        let fill = self.long_array_operation(ty, length);
        self.before_pieces(&fill, |this| this.array_range(array, index, fill.length));
        self.fill_elements(&fill, array, index, stored);
        self.learn_non_null(array);
    }

    /// Fills elements of an array from `index` with a value that is in the form for it.
    pub(super) fn fill_elements(
        &mut self,
        fill: &LongOperation,
        array: Value,
        index: Value,
        stored: Value,
    ) {
        self.in_pieces(fill, |this, start, length| {
            let [index, length] = this.piece_of(index, start, length);
            // Not before: a reference that has been extended is none that a collector would find.
            let (low, high) = this.raw_bits(stored);
            this.call_builtin(Builtin::ArrayFill, &[array, index, low, high, length]);
        });
    }

    /// `array.copy`
    pub(super) fn array_copy(&mut self, ty: TypeIndex) {
        let (from, from_index, length) = self.pop3();
        let (to, to_index) = self.pop2();
        let is_backward = self.is_copied_backward(to_index, from_index);
        let copy = LongOperation {
            is_backward: Some(is_backward),
            ..self.long_array_operation(ty, length)
        };
        self.before_pieces(&copy, |this| {
            this.array_range(to, to_index, copy.length);
            this.array_range(from, from_index, copy.length);
        });
        self.in_pieces(&copy, |this, start, length| {
            let [to_index, _] = this.piece_of(to_index, start, length);
            let [from_index, length] = this.piece_of(from_index, start, length);
            let arguments = [to, to_index, from, from_index, length];
            this.call_builtin(Builtin::ArrayCopy, &arguments);
        });
        self.learn_non_null(to);
        self.learn_non_null(from);
    }

    /// An operation on `length` elements of an array of a type.
    pub(super) fn long_array_operation(&mut self, ty: TypeIndex, length: Value) -> LongOperation {
        let size = u64::from(self.element_size(ty));
        LongOperation {
            length: self.extend_index(length),
            most: (MAX_ARRAY - u64::from(HEADER_SIZE)) / size,
            piece: PIECE_BYTES / size,
            is_backward: None,
            is_counted: false,
        }
    }

    fn element_size(&self, ty: TypeIndex) -> u32 {
        Slot::of(&self.array_element(ty).storage).size()
    }

    /// Lowers the check of the bounds of an operation that is done by pieces; one that is done at once is
    /// left to the runtime, which checks what it is called for.
    fn before_pieces(&mut self, long: &LongOperation, check: impl FnOnce(&mut Self)) {
        if self.is_long(long) {
            let is_long = self.is_longer_than_a_piece(long);
            self.if_rarely(is_long, check);
        }
    }

    /// Traps unless `length` elements (in 64 bits) from `index` (in 32) are in an array.
    fn array_range(&mut self, array: Value, index: Value, length: Value) {
        let array_length = self.array_length(array);
        self.mark();
        let [index, limit] = [index, array_length].map(|v| self.extend_index(v));
        let is_out = self.is_sum_above(IndexType::I32, index, length, limit);
        let code = trap_code(TrapCode::ArrayOutOfBounds);
        self.builder.ins().trapnz(is_out, code);
    }

    /// `array.new_data`
    pub(super) fn array_new_data(&mut self, ty: TypeIndex, data: u32) {
        let source = self.data_source(ty, data);
        self.new_from(ty, &source);
    }

    /// `array.new_elem`
    pub(super) fn array_new_elem(&mut self, ty: TypeIndex, elem: u32) {
        let source = self.elem_source(elem);
        self.new_from(ty, &source);
    }

    /// `array.init_data`
    pub(super) fn array_init_data(&mut self, ty: TypeIndex, data: u32) {
        let source = self.data_source(ty, data);
        self.init_from(&source);
    }

    /// `array.init_elem`
    pub(super) fn array_init_elem(&mut self, elem: u32) {
        let source = self.elem_source(elem);
        self.init_from(&source);
    }

    fn data_source(&self, ty: TypeIndex, data: u32) -> Source {
        let segment = self.cx.module.data_segment(DataIndex::new(data));
        let size = self.element_size(ty);
        Source {
            new: Builtin::ArrayNewData,
            init: Builtin::ArrayInitData,
            index: data,
            size: segment.map_or(0, |segment| segment.bytes.end - segment.bytes.start),
            step_log2: size.ilog2(),
            piece: PIECE_BYTES / u64::from(size),
            code: TrapCode::MemoryOutOfBounds,
        }
    }

    fn elem_source(&self, elem: u32) -> Source {
        Source {
            new: Builtin::ArrayNewElem,
            init: Builtin::ArrayInitElem,
            index: elem,
            size: self.cx.module.elements[elem as usize].items.len() as u64,
            step_log2: 0,
            piece: PIECE_ELEMENTS,
            code: TrapCode::TableOutOfBounds,
        }
    }

    /// A new array of elements of a segment.
    fn new_from(&mut self, ty: TypeIndex, source: &Source) {
        let (from, length) = self.pop2();
        self.before_bulk(length);
        let init = LongOperation {
            is_counted: true,
            ..self.long_init(source, length)
        };
        let array = if self.is_long(&init) {
            self.source_range(source, from, init.length);
            let array = self.new_zeroed(ty, length);
            let index = self.iconst(I32, 0);
            self.init_elements(&init, array, index, source, from);
            array
        } else {
            let ty_index = self.index_argument(ty.as_u32());
            let segment = self.index_argument(source.index);
            let array = self.call_builtin(source.new, &[ty_index, segment, from, length]);
            self.note_made(array, ty)
        };
        self.facts.learn_length(array, length);
        self.push(array);
    }

    /// Initializes elements of an array from a segment.
    fn init_from(&mut self, source: &Source) {
        let (index, from, length) = self.pop3();
        let array = self.pop();
        let init = self.long_init(source, length);
        self.before_pieces(&init, |this| {
            this.array_range(array, index, init.length);
            this.source_range(source, from, init.length);
        });
        self.init_elements(&init, array, index, source, from);
        self.learn_non_null(array);
    }

    fn init_elements(
        &mut self,
        init: &LongOperation,
        array: Value,
        index: Value,
        source: &Source,
        from: Value,
    ) {
        self.in_pieces(init, |this, start, length| {
            let [index, count] = this.piece_of(index, start, length);
            let start = this.in_source(source, start);
            let [from, _] = this.piece_of(from, start, length);
            let segment = this.index_argument(source.index);
            this.call_builtin(source.init, &[segment, array, index, from, count]);
        });
    }

    /// The initialization of `length` elements from a segment.
    fn long_init(&mut self, source: &Source, length: Value) -> LongOperation {
        LongOperation {
            length: self.extend_index(length),
            most: source.size >> source.step_log2,
            piece: source.piece,
            is_backward: None,
            is_counted: false,
        }
    }

    /// How much of a segment so many elements take, in 64 bits.
    fn in_source(&mut self, source: &Source, elements: Value) -> Value {
        let step = i64::from(source.step_log2);
        self.builder.ins().ishl_imm_u(elements, step)
    }

    /// Traps unless a segment has so many elements of an array from `from`.
    fn source_range(&mut self, source: &Source, from: Value, length: Value) {
        let length = self.in_source(source, length);
        self.segment_range(from, length, source.size, source.code);
    }
}
