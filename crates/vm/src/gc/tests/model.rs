//! The heap against a model: random graphs, mutated and collected, and what remains compared. And what
//! happens when the heap is damaged on purpose.

use super::*;
use sarsen_abi::heap::{FIRST, YOUNG};
use std::num::NonZeroU32;

/// A simple generator of numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end
    }
}

/// An object of the model: what it is, a number that identifies it, and what it refers to.
struct Model {
    id: u32,
    references: Vec<Option<usize>>,
}

const ROOTS: usize = 24;

/// Objects in the model and on the stage, changed alike.
struct Pair {
    stage: Stage,
    model: Vec<Model>,
    /// What roots, then table elements, refer to.
    roots: Vec<Option<usize>>,
    random: Random,
}

impl Pair {
    fn new(seed: u64, config: &GcConfig) -> Pair {
        Pair {
            stage: Stage::new(config, ROOTS, 256 << 20),
            model: Vec::new(),
            roots: vec![None; 2 * ROOTS],
            random: Random(seed),
        }
    }

    fn root(&self, at: usize) -> u32 {
        let outside = &self.stage.outside;
        if at < ROOTS {
            outside.slots[at]
        } else {
            outside.table[at - ROOTS]
        }
    }

    fn set_root(&mut self, at: usize, object: Option<usize>, reference: u32) {
        self.roots[at] = object;
        if at < ROOTS {
            self.stage.outside.slots[at] = reference;
        } else {
            self.stage.set_table(at - ROOTS, reference);
        }
    }

    /// A reachable object and the reference to it, found by a walk from a root.
    fn pick(&mut self) -> Option<(usize, u32)> {
        let at = self.random.below(2 * ROOTS);
        let mut object = self.roots[at]?;
        let mut reference = self.root(at);
        for _ in 0..self.random.below(8) {
            let count = self.model[object].references.len();
            if count == 0 {
                break;
            }
            let field = self.random.below(count);
            let Some(next) = self.model[object].references[field] else {
                break;
            };
            reference = self.reference(object, reference, field);
            object = next;
        }
        Some((object, reference))
    }

    /// What an object refers to by the field or element of this number among references.
    fn reference(&mut self, object: usize, at: u32, field: usize) -> u32 {
        match self.model[object].references.len() {
            2 => self.stage.get(at, 1 + field),
            100 => self.stage.get(at, 2 * field),
            _ => self.stage.element(at, field as u32 + 1),
        }
    }

    fn set_reference(&mut self, object: usize, at: u32, field: usize, value: u32) {
        match self.model[object].references.len() {
            2 => self.stage.set(at, 1 + field, value),
            100 => self.stage.set(at, 2 * field, value),
            _ => self.stage.set_element(at, field as u32 + 1, value),
        }
    }

    /// The number that identifies an object. An array has it as an unboxed integer.
    fn id(&mut self, object: usize, at: u32) -> u32 {
        match self.model[object].references.len() {
            0 | 2 => self.stage.get(at, 0),
            100 => self.stage.get(at, 1),
            _ => self.stage.element(at, 0) >> 1,
        }
    }

    fn allocate(&mut self) {
        let id = self.model.len() as u32;
        let left = self.pick();
        let left_reference = left.map_or(0, |(_, reference)| reference);
        let (at, mut references) = match self.random.below(40) {
            0..20 => {
                let at = self.stage.node(id, left_reference, 7);
                // The other field holds an unboxed integer.
                (at, vec![left.map(|(object, _)| object), None])
            }
            20..30 => (self.stage.structure(LEAF, &[id]).unwrap(), vec![]),
            30..36 => (self.stage.array(BYTES, 300).unwrap(), vec![]),
            36..38 => {
                let mut fields = vec![0; 200];
                fields[1] = id;
                (
                    self.stage.structure(WIDE, &fields).unwrap(),
                    vec![None; 100],
                )
            }
            _ => {
                let length = 3 + 2 * self.random.below(1500) as u32;
                let length = if length == 101 { 103 } else { length };
                let at = self.stage.array(ARRAY, length).unwrap();
                self.stage.set_element(at, 0, id << 1 | 1);
                (at, vec![None; length as usize - 1])
            }
        };
        if references.is_empty() && self.stage.heap.array(at).is_ok() {
            // Bytes are garbage, to be had between objects.
            return;
        }
        self.model.push(Model {
            id,
            references: std::mem::take(&mut references),
        });
        let root = self.random.below(2 * ROOTS);
        self.set_root(root, Some(id as usize), at);
    }

    fn step(&mut self) {
        match self.random.below(16) {
            0..8 => self.allocate(),
            8..14 => {
                let (Some((from, at)), Some((to, value))) = (self.pick(), self.pick()) else {
                    return;
                };
                let count = self.model[from].references.len();
                if count > 0 {
                    let field = self.random.below(count);
                    self.set_reference(from, at, field, value);
                    self.model[from].references[field] = Some(to);
                }
            }
            14 => {
                let root = self.random.below(2 * ROOTS);
                self.set_root(root, None, 0);
            }
            _ => {
                if let Some((from, at)) = self.pick()
                    && !self.model[from].references.is_empty()
                {
                    let field = self.random.below(self.model[from].references.len());
                    self.set_reference(from, at, field, 7);
                    self.model[from].references[field] = None;
                }
            }
        }
    }

    /// Walks both from every root, and compares.
    fn compare(&mut self) {
        let mut places = vec![0; self.model.len()];
        let mut left = Vec::new();
        for at in 0..2 * ROOTS {
            match self.roots[at] {
                Some(object) => left.push((object, self.root(at))),
                None => assert_eq!(self.root(at), 0),
            }
        }
        while let Some((object, at)) = left.pop() {
            if places[object] != 0 {
                assert_eq!(places[object], at, "one object has become two");
                continue;
            }
            places[object] = at;
            assert_eq!(self.id(object, at), self.model[object].id);
            for field in 0..self.model[object].references.len() {
                let value = self.reference(object, at, field);
                match self.model[object].references[field] {
                    Some(next) => left.push((next, value)),
                    None => assert!(value == 0 || value == 7, "{value:#x}"),
                }
            }
        }
    }
}

#[test]
fn random_graphs_survive_mutation_and_every_kind_of_collection() {
    for seed in 1..5u64 {
        let zeal = (seed % 2 == 0).then(|| NonZeroU32::new(50).unwrap());
        let mut pair = Pair::new(
            seed.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            &GcConfig { zeal, ..config() },
        );
        for round in 0..60 {
            for _ in 0..200 {
                pair.step();
            }
            match pair.random.below(3) {
                0 => pair.stage.collect(false),
                1 => pair.stage.collect(true),
                _ => {}
            }
            if round % 4 == 0 {
                pair.stage.verify();
                pair.compare();
            }
        }
        pair.compare();
        let stats = pair.stage.heap.stats();
        assert!(stats.minor > 10 && stats.full > 5, "{stats}");
    }
}

#[test]
fn a_damaged_heap_is_reported_and_nothing_outside_is_touched() {
    for seed in 1..40u64 {
        let mut pair = Pair::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15), &config());
        for _ in 0..600 {
            pair.step();
        }
        // Overwrite words of objects, headers too, with numbers that look like references.
        let mut reported = false;
        for _ in 0..20 {
            let heap = &mut pair.stage.heap;
            let (old, young) = (heap.old_used(), (heap.young_end() - YOUNG) as usize);
            let at = pair.random.below(old + young).next_multiple_of(4);
            let at = if at < old {
                FIRST as usize + at
            } else {
                YOUNG as usize + at - old
            };
            let value = match pair.random.below(4) {
                0 => pair.random.below(1 << 32) as u32,
                1 => YOUNG + pair.random.below(1 << 17) as u32,
                2 => FIRST + pair.random.below(1 << 17) as u32 * 8,
                _ => pair.random.below(8) as u32 * 64,
            };
            // SAFETY: within what is accessible: objects end at multiples of 8.
            unsafe { heap.base().add(at).cast::<u32>().write(value) };
            let full = pair.random.below(2) == 0;
            let outside = &mut pair.stage.outside;
            reported |= pair.stage.heap.collect(full, outside).is_err();
            // Looking at anything is an error or a value.
            for root in 0..ROOTS {
                let reference = pair.stage.outside.slots[root];
                let _ = pair.stage.heap.kind_of(reference);
                if let Ok(Some(place)) = pair.stage.heap.struct_place(reference, 1) {
                    // SAFETY: just found.
                    let _ = unsafe { pair.stage.heap.read_place(&place) };
                }
            }
        }
        if reported {
            let result = pair.stage.structure(LEAF, &[1]);
            assert!(matches!(result, Err(HeapError::Corrupt)));
        }
    }
}
