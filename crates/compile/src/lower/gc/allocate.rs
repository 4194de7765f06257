//! Room for new objects.
//!
//! A small object goes where the last one ended:
//!
//! ```text
//!   alloc_next        end = alloc_next + size       alloc_end
//!   | the new object  |                             |
//! ```
//!
//! If the end is past `alloc_end`, because the room is used up or because something asks for a collection,
//! the runtime makes room, in a block out of the way. What is written into the new object afterwards is
//! its first content, and needs no barrier: the object is young (or nothing ever is). Larger objects come
//! from the runtime with a header and zeroes, and may be old.

use super::super::function::Lowering;
use super::super::memory::Place;
use super::super::region::Region;
use super::super::signature::Repr;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{Block, InstBuilder, MemFlagsData, Value};
use sarsen_abi::heap::{HEADER_SIZE, HEADER_TYPE, MAX_SMALL};
use sarsen_abi::types::{HeapType, RefType};
use sarsen_abi::vmctx::offset;
use sarsen_abi::{Builtin, TypeIndex};

const _: () = assert!(HEADER_TYPE == 0 && HEADER_SIZE == 8);

impl Lowering<'_, '_> {
    /// Room for a small object of `size` bytes of the type `heap`, without a header yet.
    pub(super) fn allocate_small(&mut self, size: u32, heap: HeapType) -> Value {
        let store = self.store_context();
        self.allocate_small_in(store, size, heap)
    }

    /// The same, where the store is in a value at hand.
    pub(in crate::lower) fn allocate_small_in(
        &mut self,
        store: Value,
        size: u32,
        heap: HeapType,
    ) -> Value {
        debug_assert!(size <= MAX_SMALL && size.is_multiple_of(8));
        self.mark();
        let size = self.iconst(I32, i64::from(size));
        let slow = self.builder.create_block();
        let done = self.builder.create_block();
        let object = self.new_object(done, heap);
        let next = self.bump_in(store, size, slow);
        self.builder.ins().jump(done, &[next.into()]);
        self.continue_in(slow);
        let room = self.call_builtin(Builtin::GcAlloc, &[size]);
        let room = room.expect("it has a result");
        self.builder.ins().jump(done, &[room.into()]);
        self.continue_in(done);
        object
    }

    /// A parameter of `block` that is a reference to a new object.
    pub(super) fn new_object(&mut self, block: Block, heap: HeapType) -> Value {
        let object = self.builder.append_block_param(block, I32);
        self.note_new(object, heap);
        object
    }

    /// Notes that `object` is a reference to a new object of the type `heap`.
    pub(super) fn note_new(&mut self, object: Value, heap: HeapType) {
        let nullable = false;
        self.note_repr(object, Repr::of_ref(&RefType { nullable, heap }));
    }

    /// Takes `size` bytes of the room for small objects, and returns where they begin; where there is not
    /// as much, goes to `slow`, which is made cold.
    pub(super) fn bump(&mut self, size: Value, slow: Block) -> Value {
        let store = self.store_context();
        self.bump_in(store, size, slow)
    }

    fn bump_in(&mut self, store: Value, size: Value, slow: Block) -> Value {
        let flags = self.flags(Region::Allocation);
        let next = self
            .builder
            .ins()
            .load(I32, flags, store, offset::STORE_ALLOC_NEXT);
        let limit = self
            .builder
            .ins()
            .load(I32, flags, store, offset::STORE_ALLOC_END);
        // Room for small objects ends far enough below 4 GiB that this does not wrap.
        let end = self.builder.ins().iadd(next, size);
        let is_past_end = self
            .builder
            .ins()
            .icmp(IntCC::UnsignedGreaterThan, end, limit);
        let fits = self.builder.create_block();
        self.builder.set_cold_block(slow);
        self.builder.ins().brif(is_past_end, slow, &[], fits, &[]);
        self.continue_in(fits);
        self.builder
            .ins()
            .store(flags, end, store, offset::STORE_ALLOC_NEXT);
        next
    }

    /// Writes the header of a new object: its type, and its size or length.
    pub(super) fn store_header(&mut self, object: Value, ty: TypeIndex, second: Value) {
        let place = self.initial_place(object, HEADER_TYPE as u32, HEADER_SIZE);
        let header = self.header(ty, second);
        self.builder
            .ins()
            .store(place.flags, header, place.address, place.offset);
    }

    /// The header of an object of a type with a size or length.
    pub(super) fn header(&mut self, ty: TypeIndex, second: Value) -> Value {
        let id = self.type_id(ty);
        let id = self.builder.ins().uextend(I64, id);
        let second = self.builder.ins().uextend(I64, second);
        let second = self.builder.ins().ishl_imm_u(second, 32);
        self.builder.ins().bor(second, id)
    }

    /// A large object of a type: from the runtime, with a header and zeroes.
    pub(super) fn allocate_large(&mut self, ty: TypeIndex, heap: HeapType, length: u32) -> Value {
        let ty = self.index_argument(ty.as_u32());
        let length = self.iconst(I32, i64::from(length));
        let object = self.call_builtin(Builtin::GcAllocZeroed, &[ty, length]);
        let object = object.expect("it has a result");
        self.note_new(object, heap);
        object
    }

    /// Fills the words of a new object from `from` to `to` bytes after its beginning, both multiples of 8.
    pub(super) fn fill_words(&mut self, object: Value, from: u32, to: u32, word: Value) {
        for at in (from..to).step_by(8) {
            let Place {
                address,
                offset,
                flags,
            } = self.initial_place(object, at, 8);
            self.builder.ins().store(flags, word, address, offset);
        }
    }

    /// Fills `size` bytes at `start`, an address in a new object, with the words `word`; `size` is a
    /// multiple of 8. Leaves the builder behind the loop.
    ///
    /// The first word is stored before the loop, so that it is computed there, and once.
    pub(super) fn fill_loop(&mut self, start: Value, size: Value, word: Value) {
        let flags = self.heap_flags(Region::Initial, sarsen_abi::TrapCode::HeapCorruption, 8);
        let size = self.builder.ins().uextend(I64, size);
        let end = self.builder.ins().iadd(start, size);
        let first = self.builder.create_block();
        let body = self.builder.create_block();
        let done = self.builder.create_block();
        let at = self.builder.append_block_param(body, I64);
        self.builder.ins().brif(size, first, &[], done, &[]);
        self.continue_in(first);
        self.store_word(flags, word, start, end, (body, done));
        self.builder.switch_to_block(body);
        self.store_word(flags, word, at, end, (body, done));
        self.builder.seal_block(body);
        self.continue_in(done);
    }

    /// Stores a word at an address, and goes on in `body` with the next unless that is the end.
    fn store_word(
        &mut self,
        flags: MemFlagsData,
        word: Value,
        at: Value,
        end: Value,
        (body, done): (Block, Block),
    ) {
        self.builder.ins().store(flags, word, at, 0);
        let next = self.builder.ins().iadd_imm_u(at, 8);
        let goes_on = self.builder.ins().icmp(IntCC::UnsignedLessThan, next, end);
        self.builder
            .ins()
            .brif(goes_on, body, &[next.into()], done, &[]);
    }
}
