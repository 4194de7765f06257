//! Bounds of memories, whatever code is made to check them: reservations, guards, sizes of pages and types
//! of indices differ, what a program sees does not.

use sarsen::{Config, Engine, Instance, Module, Store, Trap};

/// The type of a memory's indices, the memory, and how many bytes it has. In functions, `$I` and `I.` stand
/// for the type.
const MEMORIES: &[(&str, &str, u64)] = &[
    ("i32", "(memory (export \"memory\") 1)", 65_536),
    ("i32", "(memory (export \"memory\") 1 2)", 65_536),
    ("i32", "(memory (export \"memory\") 1 1)", 65_536),
    ("i64", "(memory (export \"memory\") i64 1)", 65_536),
    ("i64", "(memory (export \"memory\") i64 1 2)", 65_536),
    (
        "i32",
        "(memory (export \"memory\") 65537 (pagesize 1))",
        65_537,
    ),
    (
        "i64",
        "(memory (export \"memory\") i64 100 (pagesize 1))",
        100,
    ),
];

/// Runs `test` with a module of these functions, under many settings.
fn in_every_memory(functions: &str, test: impl Fn(&mut Store<()>, &Instance, Call, u64)) {
    in_memories(MEMORIES.iter(), functions, test);
}

fn in_memories<'a>(
    memories: impl Iterator<Item = &'a (&'a str, &'a str, u64)> + Clone,
    functions: &str,
    test: impl Fn(&mut Store<()>, &Instance, Call, u64),
) {
    for (reservation, guard) in [(4 << 30, 32 << 20), (1 << 20, 1 << 16), (1 << 17, 0)] {
        for inlining in [false, true] {
            let mut config = Config::new();
            config
                .memory_reservation(reservation)
                .memory_guard_size(guard)
                .wasm_custom_page_sizes(true)
                .compiler_inlining(inlining);
            let engine = Engine::new(&config).unwrap();
            for &(index, memory, size) in memories.clone() {
                let functions = functions.replace("I.", &format!("{index}."));
                let functions = functions.replace("$I", index);
                let text = format!("(module {memory} {functions})");
                let module =
                    Module::new(&engine, &text).unwrap_or_else(|e| panic!("{text}: {e:?}"));
                let mut store = Store::new(&engine, ());
                let instance = Instance::new(&mut store, &module, &[]).unwrap();
                test(&mut store, &instance, Call(index == "i64"), size);
            }
        }
    }
}

/// How to call a function of one index: whether it has 64 bits.
#[derive(Clone, Copy)]
struct Call(bool);

impl Call {
    fn call(self, store: &mut Store<()>, instance: &Instance, index: u64) -> Result<i32, Trap> {
        let result = if self.0 {
            let f = instance
                .get_typed_func::<u64, i32>(&mut *store, "f")
                .unwrap();
            f.call(store, index)
        } else {
            let f = instance
                .get_typed_func::<u32, i32>(&mut *store, "f")
                .unwrap();
            f.call(store, u32::try_from(index).unwrap_or(u32::MAX))
        };
        result.map_err(|error| *error.downcast_ref::<Trap>().unwrap())
    }
}

#[test]
fn a_covered_access_still_traps_where_it_is_out_of_bounds() {
    // Each access is covered by the one before, in one setting or the other. What was stored before the
    // one that traps is there.
    let functions = r#"(func (export "f") (param $i $I) (result i32)
        (i32.store8 (local.get $i) (i32.const 1))
        (i32.store8 offset=8 (local.get $i) (i32.const 2))
        (i32.store8 (I.add (local.get $i) (I.const 12)) (i32.const 3))
        (i32.store8 offset=4 (I.add (I.const 4) (I.add (local.get $i) (I.const 12))) (i32.const 4))
        (i32.load offset=17 (local.get $i)))"#;
    in_every_memory(functions, |store, instance, f, size| {
        let memory = instance.get_memory(&mut *store, "memory").unwrap();
        let written = |store: &mut Store<()>, start: u64| {
            let places = [0, 8, 12, 20].map(|place| start + place);
            let bytes = memory.data_mut(store);
            places.map(|place| {
                let byte = bytes.get_mut(place as usize);
                byte.map_or(0, std::mem::take)
            })
        };
        assert_eq!(f.call(store, instance, 0), Ok(4 << 24));
        assert_eq!(written(store, 0), [1, 2, 3, 4]);
        for (from_end, count) in [(21, 4), (20, 3), (13, 3), (12, 2), (9, 2), (8, 1), (1, 1)] {
            let start = size - from_end;
            let expected = if from_end == 21 {
                Ok(4 << 24)
            } else {
                Err(Trap::MemoryOutOfBounds)
            };
            assert_eq!(
                f.call(store, instance, start),
                expected,
                "{size} {from_end}"
            );
            let mut all = [1, 2, 3, 4];
            all[count..].fill(0);
            assert_eq!(written(store, start), all, "{size} {from_end}");
        }
        for far in [
            size,
            size + 4096,
            u32::MAX.into(),
            u32::MAX as u64 - 3,
            u64::MAX,
            1 << 63,
        ] {
            assert_eq!(f.call(store, instance, far), Err(Trap::MemoryOutOfBounds));
        }
        assert!(memory.data(&store).iter().all(|&byte| byte == 0));
    });
}

#[test]
fn a_check_that_passed_holds_while_the_memory_grows() {
    let functions = r#"
        (func $grow (result i32) (I.eq (I.const -1) (memory.grow (I.const 1))))
        (func (export "f") (param $i $I) (result i32)
          (local $sum i32)
          (local.set $sum (i32.load8_u (local.get $i)))
          (if (i32.eqz (call $grow)) (then
            (i32.store8 offset=16 (local.get $i) (i32.const 9))
            (local.set $sum (i32.add (local.get $sum) (i32.load8_u offset=16 (local.get $i))))))
          (loop $again
            (local.set $sum (i32.add (local.get $sum) (i32.load8_u offset=1 (local.get $i))))
            (br_if $again (i32.lt_u (local.get $sum) (i32.const 50))))
          (i32.add (local.get $sum) (i32.load8_u (I.add (local.get $i) (I.const 1)))))"#;
    in_every_memory(functions, |store, instance, f, _| {
        let memory = instance.get_memory(&mut *store, "memory").unwrap();
        memory.write(&mut *store, 40, &[7, 5]).unwrap();
        for _ in 0..4 {
            let before = memory.size(&store);
            let result = f.call(store, instance, 40).unwrap();
            let start = if memory.size(&store) > before {
                7 + 9
            } else {
                7
            };
            let rounds = (50 - start + 4) / 5;
            assert_eq!(result, start + 5 * rounds + 5);
        }
    });
}

#[test]
fn offsets_that_overflow_are_out_of_bounds() {
    let offsets = [1, 65_535, 65_536, 33_554_432, 0x8000_0000, 0xffff_ffff];
    let offsets64 = [1 << 32, 1 << 63, u64::MAX - 1, u64::MAX];
    let cases = offsets
        .map(|offset| (offset, false))
        .into_iter()
        .chain(offsets64.map(|offset| (offset, true)));
    for (offset, only_64_bits) in cases {
        let functions = format!(
            r#"(func (export "f") (param $i $I) (result i32)
                 (i32.load8_u offset={offset} (local.get $i)))"#
        );
        let memories = MEMORIES
            .iter()
            .filter(|(index, ..)| *index == "i64" || !only_64_bits);
        in_memories(memories, &functions, |store, instance, f, size| {
            for index in [
                0,
                1,
                2,
                0x7fff_ffff,
                0x8000_0000,
                0xffff_ffff,
                1 << 63,
                u64::MAX,
            ] {
                let largest = if f.0 { u64::MAX } else { u32::MAX.into() };
                let exists = u128::from(index.min(largest)) + u128::from(offset) < size.into();
                let expected = if exists {
                    Ok(0)
                } else {
                    Err(Trap::MemoryOutOfBounds)
                };
                let result = f.call(store, instance, index);
                assert_eq!(result, expected, "{index:#x} {offset:#x}");
            }
        });
    }
}

#[test]
fn what_a_memory_instruction_cannot_have_is_refused_with_its_place() {
    let mut config = Config::new();
    config.wasm_custom_page_sizes(true);
    let engine = Engine::new(&config).unwrap();
    // Each module has one thing that is not allowed; `bad` is where it is in the binary.
    let vector = "(drop (i8x16.extract_lane_s 3 (v128.const i64x2 0 0)))";
    let lane = "(drop (v128.load8_lane 3 (i32.const 0) (v128.const i64x2 0 0)))";
    let shuffle = "(drop (i8x16.shuffle 31 31 31 31 31 31 31 31 31 31 31 31 31 31 31 31
                     (v128.const i64x2 0 0) (v128.const i64x2 0 0)))";
    let cases: &[(&str, &[u8], &[u8], &str)] = &[
        (vector, &[0xfd, 0x15, 3], &[0xfd, 0x15, 16], "out of bounds"),
        (
            lane,
            &[0xfd, 0x54, 0, 0, 3],
            &[0xfd, 0x54, 0, 0, 16],
            "out of bounds",
        ),
        (
            shuffle,
            &[0xfd, 0x0d, 31],
            &[0xfd, 0x0d, 32],
            "out of bounds",
        ),
        // Offsets of more than 32 bits for a memory of 32, and of more than 64.
        (
            "(drop (i32.load offset=4294967295 (i32.const 0)))",
            &[0x28, 2, 0xff, 0xff, 0xff, 0xff, 0x0f],
            &[0x28, 2, 0xff, 0xff, 0xff, 0xff, 0x1f],
            "offset out of range",
        ),
        (
            "(drop (i32.load offset=4294967295 (i32.const 0))) (nop) (nop) (nop) (nop) (nop) (nop)",
            &[
                0x28, 2, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x1a, 1, 1, 1, 1, 1, 1,
            ],
            &[
                0x28, 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0x1a,
            ],
            "u64",
        ),
        // An access that is aligned more than it is wide.
        (
            "(drop (i32.load (i32.const 0)))",
            &[0x28, 2, 0],
            &[0x28, 3, 0],
            "alignment",
        ),
    ];
    for &(body, good, bad, message) in cases {
        let text = format!("(module (memory 1) (func {body}))");
        refuses(&engine, &text, good, bad, message);
    }
    let memory = "(module (memory 3 7 (pagesize 1)))";
    for log2 in [1, 12, 15, 17, 63, 64] {
        refuses(
            &engine,
            memory,
            &[9, 3, 7, 0],
            &[9, 3, 7, log2],
            "page size",
        );
    }
}

/// Asserts that a module is valid, and refused after `good` has been replaced by `bad`; that the message
/// says so, and where.
fn refuses(engine: &Engine, text: &str, good: &[u8], bad: &[u8], message: &str) {
    let mut wasm = wat::parse_str(text).unwrap();
    Module::new(engine, &wasm).unwrap();
    let at = wasm.windows(good.len()).position(|bytes| bytes == good);
    let at = at.unwrap_or_else(|| panic!("{good:x?} is not in {text}: {wasm:x?}"));
    wasm[at..][..bad.len()].copy_from_slice(bad);
    let error = Module::new(engine, &wasm).unwrap_err();
    let told = format!("{error:#}");
    assert!(told.contains(message), "{text}: {told}");
    let place = told.split("offset 0x").nth(1).expect(&told);
    let place = place.trim_end_matches(')');
    let place = usize::from_str_radix(place, 16).expect(&told);
    assert!(
        (at..=at + bad.len()).contains(&place),
        "{told}, not {at:#x}"
    );
}

#[test]
fn growing_beyond_the_maximum_or_the_machine_fails_and_changes_nothing() {
    // The delta is one more than is allowed, or more than there is anywhere.
    let memories = [
        ("i32", "(memory (export \"memory\") 1 3)", 2, 3),
        ("i32", "(memory (export \"memory\") 1)", 65_535, 65_536),
        ("i64", "(memory (export \"memory\") i64 1 3)", 2, 3),
        (
            "i64",
            "(memory (export \"memory\") i64 1 281474976710656)",
            1,
            1 << 47,
        ),
        (
            "i64",
            "(memory (export \"memory\") i64 1)",
            1,
            (1 << 48) - 1,
        ),
        ("i64", "(memory (export \"memory\") i64 1)", 1, 1 << 48),
        ("i64", "(memory (export \"memory\") i64 1)", 1, u64::MAX),
        (
            "i64",
            "(memory (export \"memory\") i64 1 (pagesize 1))",
            7,
            u64::MAX - 1,
        ),
        ("i32", "(memory (export \"memory\") 1 9 (pagesize 1))", 8, 9),
    ];
    for reservation in [1 << 20, 4 << 30] {
        let mut config = Config::new();
        config
            .memory_reservation(reservation)
            .wasm_custom_page_sizes(true);
        let engine = Engine::new(&config).unwrap();
        for (index, memory, allowed, refused) in memories {
            let text = format!(
                r#"(module {memory} (func (export "f") (param $delta {index}) (result i32)
                     ({index}.eq (memory.grow (local.get $delta)) ({index}.const -1))))"#
            );
            let (mut store, instance) = crate::instance_in(&engine, &text);
            let f = Call(index == "i64");
            let exported = instance.get_memory(&mut store, "memory").unwrap();
            assert_eq!(f.call(&mut store, &instance, refused), Ok(1), "{memory}");
            assert_eq!(exported.size(&store), 1, "{memory}");
            assert!(exported.grow(&mut store, refused).is_err(), "{memory}");
            if allowed < 65_535 {
                assert_eq!(f.call(&mut store, &instance, allowed), Ok(0), "{memory}");
                assert_eq!(exported.size(&store), 1 + allowed, "{memory}");
            }
        }
    }
}
