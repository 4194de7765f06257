//! Properties of the code for shared memories.

use super::{assembly, clif, clif_under, count};
use sarsen_abi::Settings;

fn checked() -> Settings {
    Settings {
        memory_reservation: 1 << 20,
        ..Settings::default()
    }
}

#[test]
fn atomics_are_checked_for_alignment_and_bytes_are_not() {
    for (access, checks) in [
        ("i32.atomic.load8_u", 0),
        ("i32.atomic.load16_u", 1),
        ("i32.atomic.load", 1),
        ("i64.atomic.load offset=8", 1),
    ] {
        let code = clif(&format!(
            "(module (memory 1 1 shared) (func (param i32) (drop ({access} (local.get 0)))))"
        ));
        assert_eq!(count(&code, "trapnz"), checks, "{access}: {code}");
        assert_eq!(count(&code, "user3"), checks, "{access}: {code}");
        assert_eq!(count(&code, "atomic_load"), 1, "{access}: {code}");
    }
}

#[test]
fn a_constant_address_is_checked_once_and_for_all() {
    let code = assembly(
        "(module (memory 1 1 shared) (func (result i32) (i32.atomic.load (i32.const 64))))",
        &Settings::default(),
    );
    assert_eq!(count(&code, "ud2") + count(&code, "hlt"), 0, "{code}");
}

#[test]
fn the_definition_of_a_shared_memory_is_behind_a_pointer() {
    let own = clif("(module (memory 1 2) (func (result i32) (i32.load (i32.const 70000))))");
    let shared =
        clif("(module (memory 1 2 shared) (func (result i32) (i32.load (i32.const 70000))))");
    assert_eq!(
        count(&shared, "load.i64"),
        count(&own, "load.i64") + 1,
        "{shared}"
    );
}

#[test]
fn plain_loads_merge_but_never_across_an_atomic() {
    let loads = |between: &str| {
        let code = assembly(
            &format!(
                "(module (memory i64 1 2 shared)
                   (func (param i64) (result i32)
                     (i32.load (local.get 0))
                     {between}
                     (i32.load (local.get 0))
                     i32.add))"
            ),
            &Settings::default(),
        );
        // Accesses to a base plus the index.
        (code.matches(", %rsi)").count(), code)
    };
    assert_eq!(loads("").0, 1);
    for between in [
        "(drop (i32.atomic.load (i64.const 0)))",
        "(i32.atomic.store (i64.const 0) (i32.const 0))",
        "(drop (i32.atomic.rmw.add (i64.const 0) (i32.const 1)))",
        "(drop (i64.atomic.rmw.cmpxchg (i64.const 0) (i64.const 1) (i64.const 2)))",
        "atomic.fence",
        "(drop (memory.atomic.notify (i64.const 0) (i32.const 1)))",
    ] {
        let (separate, code) = loads(between);
        assert_eq!(separate, 2, "{between}: {code}");
    }
}

#[test]
fn the_length_is_loaded_again_after_an_atomic() {
    let code = |between: &str| {
        assembly(
            &format!(
                "(module (memory 1 9 shared)
                   (func (param i32) (param i32) (result i32)
                     (i32.load (local.get 0))
                     {between}
                     (i32.load (local.get 1))
                     i32.add))"
            ),
            &checked(),
        )
    };
    let length = |code: &str| count(code, "8(%r");
    let (merged, separate) = (code(""), code("atomic.fence"));
    assert!(
        length(&separate) > length(&merged),
        "{merged}\n---\n{separate}"
    );
}

#[test]
fn the_size_of_a_shared_memory_is_never_an_old_one() {
    let code = clif(
        "(module (memory 1 9 shared)
           (func (result i32) (i32.add (memory.size) (memory.size))))",
    );
    assert_eq!(count(&code, "atomic_load"), 2, "{code}");
    let code = clif("(module (memory 1 9) (func (result i32) (memory.size)))");
    assert_eq!(count(&code, "atomic_load"), 0, "{code}");
}

#[test]
fn an_atomic_store_is_one_instruction_and_no_fence() {
    let code = assembly(
        "(module (memory 1 1 shared)
           (func (param i32 i32) (i32.atomic.store (local.get 0) (local.get 1))))",
        &Settings::default(),
    );
    assert_eq!(count(&code, "xchgl"), 1, "{code}");
    assert_eq!(count(&code, "mfence"), 0, "{code}");
}

#[test]
fn what_is_out_of_bounds_of_a_checked_shared_memory_lies_behind_its_room() {
    // The length may have grown before the access is made.
    let code = clif_under(
        "(module (memory 1 9 shared)
           (func (param i32) (result i32) (i32.load (local.get 0))))",
        &checked(),
    );
    assert_eq!(count(&code, "select_spectre_guard"), 1, "{code}");
    assert_eq!(count(&code, "iconst.i64 0x0009_0000"), 1, "{code}");
}
