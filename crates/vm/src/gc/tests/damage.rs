//! What is wrong in the heap, or in what compiled code says of it, is reported by the collector: it
//! neither panics nor goes where nothing is.

use super::*;
use sarsen_abi::TrapCode;
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

/// Writes the header of an object.
fn forge(stage: &mut Stage, at: u32, header: [u32; 2]) {
    // SAFETY: an object, aligned.
    unsafe {
        let object = stage.heap.base().add(at as usize);
        object.cast::<[u32; 2]>().write(header);
    }
}

#[test]
fn the_host_accesses_no_object_that_is_damaged() {
    let mut stage = Stage::new(&config(), 0, usize::MAX);
    let (node, bytes) = (stage.node(1, 0, 0), stage.array(BYTES, 8).unwrap());
    let (node_id, bytes_id) = (stage.ty(NODE).0, stage.ty(BYTES).0);
    let size = 24;
    let node_found = |stage: &mut Stage| Ok(()) == stage.heap.struct_access(node, 2).map(drop);
    let bytes_found = |stage: &mut Stage| Ok(()) == stage.heap.array_access(bytes, 7).map(drop);
    let wrong = [
        [0, 0],
        [0, u32::MAX],
        [u32::MAX, u32::MAX],
        [node_id, size - 8],
        [node_id, u32::MAX],
        [node_id + 1, size],
        [bytes_id, 0],
        [bytes_id, u32::MAX],
    ];
    // Before anything was accessed, and after.
    for _ in 0..2 {
        for header in wrong {
            forge(&mut stage, node, header);
            assert!(!node_found(&mut stage), "{header:x?}");
        }
        forge(&mut stage, node, [node_id, size]);
        assert!(node_found(&mut stage));
    }
    for header in [
        [0, 8],
        [u32::MAX, 8],
        [node_id, size],
        [bytes_id, 7],
        [bytes_id + 1, 8],
    ] {
        forge(&mut stage, bytes, header);
        assert!(!bytes_found(&mut stage), "{header:x?}");
    }
    forge(&mut stage, bytes, [bytes_id, u32::MAX]);
    assert!(bytes_found(&mut stage));
    let beyond = stage.heap.array_access(bytes, 8).map(drop);
    assert_eq!(beyond, Err(TrapCode::HeapCorruption), "the heap ends there");
    forge(&mut stage, bytes, [bytes_id, 8]);
    assert!(bytes_found(&mut stage));
    // The end of the young objects, of the old ones, and where none are.
    for reference in [bytes + 16, bytes + 8, node + 4, 0x8000, 0x2_0000, !7] {
        let found = stage.heap.struct_access(reference, 0).map(drop);
        assert_eq!(found, Err(TrapCode::HeapCorruption), "{reference:x}");
    }
}
