//! Ranges of arrays, and arrays from segments: the runtime's work.

use super::super::function::Lowering;
use cranelift_codegen::ir::Value;
use sarsen_abi::types::HeapType;
use sarsen_abi::{Builtin, TypeIndex};

impl Lowering<'_, '_> {
    /// `array.new_data`
    pub(super) fn array_new_data(&mut self, ty: TypeIndex, data: u32) {
        self.new_from_segment(Builtin::ArrayNewData, ty, data);
    }

    /// `array.new_elem`
    pub(super) fn array_new_elem(&mut self, ty: TypeIndex, elem: u32) {
        self.new_from_segment(Builtin::ArrayNewElem, ty, elem);
    }

    fn new_from_segment(&mut self, builtin: Builtin, ty: TypeIndex, segment: u32) {
        let (offset, length) = self.pop2();
        self.before_bulk(length);
        let index = self.index_argument(ty.as_u32());
        let segment = self.index_argument(segment);
        let array = self.call_builtin(builtin, &[index, segment, offset, length]);
        let array = array.expect("it has a result");
        self.note_new(array, HeapType::ConcreteArray(ty));
        self.facts.learn_length(array, length);
        self.push(array);
    }

    /// `array.fill`
    pub(super) fn array_fill(&mut self, ty: TypeIndex) {
        let length = self.pop();
        let (array, index, value) = self.pop3();
        self.before_bulk(length);
        let stored = self.stored_form(value, &self.array_element(ty).storage);
        let (low, high) = self.raw_bits(stored);
        self.call_builtin(Builtin::ArrayFill, &[array, index, low, high, length]);
        self.learn_non_null(array);
    }

    /// `array.copy`
    pub(super) fn array_copy(&mut self) {
        let (from, from_index, length) = self.pop3();
        let (to, to_index) = self.pop2();
        self.before_bulk(length);
        self.call_builtin(
            Builtin::ArrayCopy,
            &[to, to_index, from, from_index, length],
        );
        self.learn_non_null(to);
        self.learn_non_null(from);
    }

    /// `array.init_data`
    pub(super) fn array_init_data(&mut self, data: u32) {
        self.init_from_segment(Builtin::ArrayInitData, data);
    }

    /// `array.init_elem`
    pub(super) fn array_init_elem(&mut self, elem: u32) {
        self.init_from_segment(Builtin::ArrayInitElem, elem);
    }

    fn init_from_segment(&mut self, builtin: Builtin, segment: u32) {
        let (index, from, length) = self.pop3();
        let array: Value = self.pop();
        self.before_bulk(length);
        let segment = self.index_argument(segment);
        self.call_builtin(builtin, &[segment, array, index, from, length]);
        self.learn_non_null(array);
    }
}
