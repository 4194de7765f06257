//! What is wrong in the heap, or in what compiled code says of it, is reported by the collector: it
//! neither panics nor goes where nothing is.

use super::*;
use sarsen_abi::heap::HEADER_SIZE;

/// Whether a collection finds damage.
fn is_found(stage: &mut Stage, full: bool) -> bool {
    let collected = stage.heap.collect(full, &mut stage.outside);
    matches!(collected, Err(HeapError::Corrupt))
}

#[test]
fn an_object_that_lies_over_the_header_of_a_large_array_is_damage() {
    let mut stage = Stage::new(&config(), 2, usize::MAX);
    let bytes = stage.array(BYTES, 8192).unwrap();
    let array = stage.array(ARRAY, 3000).unwrap();
    assert_eq!(array, bytes + HEADER_SIZE + 8192);
    // At the end of the bytes: an array whose third and fourth element are the header of the next one.
    let forged = array - 16;
    let header = [stage.ty(ARRAY).0, 4];
    // SAFETY: within the bytes, aligned.
    unsafe {
        let at = stage.heap.base().add(forged as usize);
        at.cast::<[u32; 2]>().write(header);
    }
    // The array is scanned first, which is left for later as it is large.
    stage.outside.slots = vec![forged, array];
    assert!(is_found(&mut stage, true));
    assert!(matches!(stage.array(BYTES, 1), Err(HeapError::Corrupt)));
}

#[test]
fn a_remembered_slot_that_is_none_is_damage() {
    let wrong = |at: fn(u32) -> usize| {
        let mut stage = Stage::new(&config(), 1, usize::MAX);
        let array = stage.array(ARRAY, 3000).unwrap();
        let young = stage.node(1, 0, 0);
        let slot = stage.heap.base().wrapping_add(at(array)).cast();
        stage.heap.before_table_write(slot, 0, young);
        is_found(&mut stage, false)
    };
    assert!(!wrong(|array| array as usize + 8));
    assert!(wrong(|array| array as usize + 10), "not aligned");
    assert!(wrong(|_| 0x8000), "before the first object");
    assert!(wrong(|_| 0x8000_0000), "where nothing is");
    assert!(wrong(|_| (4 << 30) + 8), "in the guard");
}
