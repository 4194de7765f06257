//! Particular graphs: lists, cycles, much that is remembered, the host's data.

use super::*;
use sarsen_abi::heap::{Slot, YOUNG};
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn what_nothing_refers_to_is_freed_cycles_included() {
    let mut stage = Stage::new(&config(), 1, usize::MAX);
    for old in [false, true] {
        for _ in 0..1000 {
            let a = stage.node(1, 0, 0);
            stage.outside.slots[0] = a;
            let b = stage.node(2, a, 0);
            let a = stage.outside.slots[0];
            stage.set(a, 1, b);
            if old {
                stage.collect(false);
            }
        }
        stage.outside.slots[0] = 0;
        stage.collect(true);
        assert_eq!(stage.heap.old_used(), 0);
    }
}

#[test]
fn a_list_of_millions_is_collected_without_recursion() {
    let length = if cfg!(debug_assertions) {
        1_000_000
    } else {
        10_000_000
    };
    let mut stage = Stage::new(&config(), 1, usize::MAX);
    for n in 0..length {
        let next = stage.outside.slots[0];
        stage.outside.slots[0] = stage.node(n, next, 0);
    }
    stage.collect(true);
    let mut at = stage.outside.slots[0];
    for n in (0..length).rev() {
        assert_eq!(stage.get(at, 0), n);
        at = stage.get(at, 1);
    }
    assert_eq!(at, 0);
    stage.outside.slots[0] = 0;
    stage.collect(true);
    assert_eq!(stage.heap.old_used(), 0);
}

#[test]
fn a_graph_that_overflows_the_mark_stack_is_marked() {
    let mut stage = Stage::new(&config(), 2, usize::MAX);
    // A list of wide nodes: each puts its leaves on the stack, then the rest of the list, which is
    // looked at first.
    let nodes = super::super::mark::MIN_STACK as u32 / 99 * 3;
    for n in 0..nodes {
        let wide = stage.structure(WIDE, &[0; 200]).unwrap();
        stage.outside.slots[1] = wide;
        for leaf in 0..99 {
            let leaf_at = stage.structure(LEAF, &[n + leaf]).unwrap();
            let wide = stage.outside.slots[1];
            stage.set(wide, 2 * leaf as usize, leaf_at);
        }
        let (wide, next) = (stage.outside.slots[1], stage.outside.slots[0]);
        stage.set(wide, 198, next);
        stage.outside.slots[0] = wide;
    }
    stage.outside.slots[1] = 0;
    stage.collect(true);
    stage.verify();
    let mut wide = stage.outside.slots[0];
    for n in (0..nodes).rev() {
        for leaf in 0..99 {
            let at = stage.get(wide, 2 * leaf as usize);
            assert_eq!(stage.get(at, 0), n + leaf);
        }
        wide = stage.get(wide, 198);
    }
    assert_eq!(wide, 0);
}

static DROPPED: AtomicUsize = AtomicUsize::new(0);

struct Counted(bool);

impl Drop for Counted {
    fn drop(&mut self) {
        DROPPED.fetch_add(1, Ordering::Relaxed);
        assert!(!self.0, "as told");
    }
}

#[test]
fn host_data_is_dropped_when_unreachable_after_the_collection_and_panics_come_last() {
    let mut stage = Stage::new(&config(), 3, usize::MAX);
    for full in [false, true] {
        DROPPED.store(0, Ordering::Relaxed);
        for n in 0..30 {
            let data = Box::new(Counted(n % 3 == 1));
            let object = stage.heap.new_extern(data, &mut stage.outside).unwrap();
            // One is kept by a root, one by an array; most are garbage in a cycle.
            stage.outside.slots[1] = object.get();
            let cycle = stage.node(0, stage.outside.slots[1], 0);
            stage.set(cycle, 2, cycle);
            stage.outside.slots[0] = if n == 0 {
                stage.get(cycle, 1)
            } else {
                stage.outside.slots[0]
            };
            if full {
                stage.collect(false);
            }
        }
        stage.outside.slots[1] = 0;
        stage.collect(full);
        assert_eq!(
            DROPPED.load(Ordering::Relaxed),
            0,
            "dropped during a collection"
        );
        assert!(stage.heap.take_dead().drop_all().is_err());
        assert_eq!(DROPPED.load(Ordering::Relaxed), 29);
        let kept = stage.outside.slots[0];
        assert!(stage.heap.extern_data(kept).unwrap().is::<Counted>());
        assert_eq!(stage.heap.extern_count(), 1);
        stage.outside.slots[0] = 0;
        stage.collect(true);
        stage.heap.take_dead().drop_all().unwrap();
        assert_eq!(stage.heap.extern_count(), 0);
    }
}

#[test]
fn many_references_to_young_objects_are_remembered_or_looked_for() {
    let mut stage = Stage::new(&config(), 2, usize::MAX);
    let length = 1 << 20;
    stage.outside.slots[0] = stage.array(ARRAY, length).unwrap();
    stage.outside.slots[1] = stage.node(77, 0, 0);
    let (array, young) = (stage.outside.slots[0], stage.outside.slots[1]);
    assert!(array < YOUNG && young >= YOUNG);
    for index in 0..length {
        stage.set_element(array, index, young);
    }
    assert!(stage.heap.remembered_slots().len() < length as usize);
    stage.collect(false);
    let (array, now) = (stage.outside.slots[0], stage.outside.slots[1]);
    assert!(now < YOUNG);
    assert!((0..length).all(|index| stage.element(array, index) == now));
    stage.verify();
}

#[test]
fn a_large_fill_or_copy_of_young_references_remembers_nothing() {
    let mut stage = Stage::new(&config(), 2, usize::MAX);
    for copy in [false, true] {
        let length = 1 << 16;
        stage.outside.slots[0] = stage.array(ARRAY, length).unwrap();
        stage.outside.slots[1] = stage.node(77, 0, 0);
        let mut array = stage.outside.slots[0];
        let mut other = [stage.outside.slots[1]];
        if copy {
            let small = stage.array(ARRAY, 1000).unwrap();
            let young = stage.outside.slots[1];
            for index in 0..1000 {
                stage.set_element(small, index, young);
            }
            other = [small];
        }
        let heap = &mut stage.heap;
        heap.prepare_references(
            Slot::Reference,
            &mut array,
            length,
            &mut other,
            &mut stage.outside,
        )
        .unwrap();
        assert_eq!(array, stage.outside.slots[0]);
        let to = heap.array(array).unwrap();
        // SAFETY: just made.
        unsafe {
            if copy {
                let from = heap.array(other[0]).unwrap();
                heap.copy_elements(to, 500, from, 0, 1000);
            } else {
                heap.fill_elements(to, 0, length, ValRaw::u32(other[0]));
            }
        }
        assert!(stage.heap.remembered_slots().is_empty());
        stage.verify();
        let expected = stage.outside.slots[1];
        assert_eq!(stage.element(array, 777), expected);
    }
}

#[test]
fn a_table_that_moves_takes_its_remembered_elements_along() {
    let mut stage = Stage::new(&config(), 4, usize::MAX);
    let node = stage.node(5, 0, 0);
    stage.set_table(2, node);
    let mut moved = vec![0; 64];
    moved[..4].copy_from_slice(&stage.outside.table);
    let (from, to): (*const u32, *const u32) = (stage.outside.table.as_ptr(), moved.as_ptr());
    stage.heap.table_moved(from.cast(), to.cast(), 16);
    stage.outside.table = moved;
    stage.collect(false);
    let now = stage.outside.table[2];
    assert!(now < YOUNG);
    assert_eq!(stage.get(now, 0), 5);
}

#[test]
fn a_heaps_range_is_used_again_and_host_data_goes_with_the_heap() {
    let mut stage = Stage::new(&config(), 1, usize::MAX);
    struct Flag(Arc<AtomicUsize>);
    impl Drop for Flag {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let dropped = Arc::new(AtomicUsize::new(0));
    for _ in 0..5 {
        let data = Box::new(Flag(Arc::clone(&dropped)));
        stage.heap.new_extern(data, &mut stage.outside).unwrap();
    }
    let pool = Arc::clone(&stage.pool);
    assert_eq!(pool.idle_ranges(), 0);
    drop(stage);
    assert_eq!(
        (pool.idle_ranges(), dropped.load(Ordering::Relaxed)),
        (1, 5)
    );
}
