//! Exceptions in the heap: found, followed and moved by every kind of collection, and damage in them.

use super::*;
use sarsen_abi::TrapCode;
use sarsen_abi::heap::{EXN_TAG, EXN_TYPE};
use sarsen_abi::vmctx::VmTag;

impl Stage {
    /// A tag with a number and two references as parameters.
    fn tag(&mut self) -> (Box<VmTag>, u32) {
        let type_id = self.ty(FUNC);
        let mut tag = Box::new(VmTag { type_id, id: 0 });
        let id = self.heap.add_tag(NonNull::from(&mut *tag), type_id);
        tag.id = id;
        (tag, id)
    }

    fn exception(&mut self, tag: u32, arguments: [u32; 3]) -> u32 {
        let arguments = arguments.map(ValRaw::u32);
        // SAFETY: numbers and references of this heap.
        let made = unsafe {
            self.heap
                .allocate_exn_of(tag, &arguments, &mut self.outside)
        };
        made.unwrap()
    }

    fn argument(&mut self, exception: u32, index: usize) -> u32 {
        let place = self.heap.exn_place(exception, index).unwrap().unwrap();
        // SAFETY: just found.
        unsafe { self.heap.read_place(&place) }.unwrap().get_u32()
    }
}

#[test]
fn exceptions_and_what_they_refer_to_survive_minor_and_full_collections() {
    let mut stage = Stage::new(&config(), 2, usize::MAX);
    let (first, id) = stage.tag();
    let (second, other) = stage.tag();
    assert_eq!((id, other), (1, 2));
    for round in 0..200 {
        // Garbage between what lives, so that everything moves.
        for _ in 0..50 {
            stage.node(0, 0, 0);
        }
        let node = stage.node(round, 0, 0);
        let before = stage.outside.slots[0];
        let tag = if round % 2 == 0 { id } else { other };
        stage.outside.slots[0] = stage.exception(tag, [round, before, node]);
        stage.outside.slots[1] = 0;
        match round % 10 {
            3 | 7 => stage.collect(false),
            9 => stage.collect(true),
            _ => {}
        }
        stage.verify();
    }
    let mut at = stage.outside.slots[0];
    for round in (0..200).rev() {
        assert_eq!(stage.argument(at, 0), round);
        let node = stage.argument(at, 2);
        assert_eq!(stage.get(node, 0), round);
        let expected = if round % 2 == 0 { &first } else { &second };
        assert_eq!(
            stage.heap.exn_tag(at).unwrap().as_ptr().cast_const(),
            std::ptr::from_ref(&**expected)
        );
        assert_eq!(stage.heap.kind_of(at).unwrap(), RefKind::Exn);
        at = stage.argument(at, 1);
    }
    assert_eq!(at, 0);
    assert!(
        stage
            .heap
            .exn_place(stage.outside.slots[0], 3)
            .unwrap()
            .is_none()
    );
}

#[test]
fn an_exception_whose_tag_or_size_is_wrong_is_damage() {
    for full in [false, true] {
        for (at, value) in [
            (EXN_TAG, 7),
            (EXN_TAG, 0),
            (4, 64),
            (4, 4),
            (0, EXN_TYPE.0 + 4),
        ] {
            let mut stage = Stage::new(&config(), 1, usize::MAX);
            let (_tag, id) = stage.tag();
            let node = stage.node(1, 0, 0);
            stage.outside.slots[0] = stage.exception(id, [1, node, 0]);
            if full {
                stage.collect(false);
            }
            let exception = stage.outside.slots[0];
            let word = stage.heap.check(exception, 24).unwrap();
            // SAFETY: within the object.
            unsafe { word.add(at as usize).cast::<u32>().write(value) };
            assert_eq!(
                stage.heap.exn_tag(exception).unwrap_err(),
                TrapCode::HeapCorruption
            );
            let collected = stage.heap.collect(full, &mut stage.outside);
            let allocated = stage.structure(LEAF, &[1]);
            let is_found = matches!(collected, Err(HeapError::Corrupt))
                || matches!(allocated, Err(HeapError::Corrupt));
            assert!(is_found, "{at} {value} {full}");
        }
    }
}
