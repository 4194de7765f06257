//! Properties of the code that the optimizer is given, or makes of it.

use super::{assembly, clif, clif_under, clif_with_gc_types, count, lower};
use sarsen_abi::Settings;

fn checked() -> Settings {
    Settings {
        memory_reservation: 1 << 20,
        ..Settings::default()
    }
}

#[test]
fn accesses_to_a_reserved_memory_are_not_checked() {
    let code = clif(
        "(module (memory 1)
           (func (param i32) (result i32)
             (i32.store offset=65536 (local.get 0) (i32.load (local.get 0)))
             (i32.load8_u offset=33554431 (local.get 0))))",
    );
    assert_eq!(count(&code, "icmp"), 0, "{code}");
    assert_eq!(count(&code, "select"), 0, "{code}");
    assert_eq!(
        count(&code, "load.i64"),
        3,
        "store, stack limit, one base: {code}"
    );
}

#[test]
fn an_offset_past_the_guard_is_checked() {
    for (load, checks) in [
        ("i32.load offset=33554428", 0),
        ("i32.load offset=33554429", 1),
        ("i64.load offset=33554424", 0),
        ("i64.load offset=33554425", 1),
        ("i32.load8_u offset=4294967295", 1),
    ] {
        let code = clif(&format!(
            "(module (memory 1) (func (param i32) ({load} (local.get 0)) drop))"
        ));
        assert_eq!(
            count(&code, "select_spectre_guard"),
            checks,
            "{load}: {code}"
        );
        assert_eq!(
            count(&code, "user2"),
            1,
            "the access carries the trap code: {code}"
        );
    }
}

#[test]
fn checked_accesses_are_guarded_against_misspeculation() {
    let settings = checked();
    for memory in [
        "(memory 1)",
        "(memory i64 1)",
        "(memory i64 1 1)",
        "(memory i64 1 1000000)",
    ] {
        let index = if memory.contains("i64") { "i64" } else { "i32" };
        let code = clif_under(
            &format!(
                "(module {memory}
                   (func (param {index}) (result i64) (i64.load offset=16 (local.get 0))))"
            ),
            &settings,
        );
        assert_eq!(count(&code, "select_spectre_guard"), 1, "{code}");
        assert_eq!(count(&code, "trapnz"), 0, "{code}");
    }
}

#[test]
fn an_offset_that_overflows_is_out_of_bounds() {
    let code = clif(
        "(module (memory i64 1)
           (func (param i64) (result i64)
             (i64.load offset=0xffffffffffffffff (local.get 0))))",
    );
    assert_eq!(count(&code, "iconst.i8 1"), 1, "{code}");
    let code = clif(
        "(module (memory i64 1)
           (func (param i64) (result i64)
             (i64.load offset=0xfffffffffffffff0 (local.get 0))))",
    );
    assert_eq!(count(&code, "uadd_overflow"), 1, "{code}");
}

#[test]
fn what_is_plainly_in_bounds_is_not_checked() {
    let code = clif_under(
        "(module (memory 1)
           (func (param i32) (result i32)
             (i32.add
               (i32.load (i32.and (local.get 0) (i32.const 0xfffc)))
               (i32.load (i32.const 65532)))))",
        &checked(),
    );
    assert_eq!(count(&code, "select_spectre_guard"), 0, "{code}");
    let code = clif_under(
        "(module (memory 1) (func (result i32) (i32.load (i32.const 65533))))",
        &checked(),
    );
    assert_eq!(count(&code, "select_spectre_guard"), 1, "{code}");
}

#[test]
fn loads_merge_across_stores_to_other_memory() {
    let code = assembly(
        "(module (memory 1) (memory 1) (global $g (mut i32) (i32.const 0))
           (func (param i32) (result i32)
             (local $x i32)
             (local.set $x (i32.load (local.get 0)))
             (global.set $g (local.get $x))
             (i32.store 1 (local.get 0) (i32.const 1))
             (i32.add (local.get $x) (i32.load (local.get 0)))))",
        &Settings::default(),
    );
    assert_eq!(
        count(&code, "movl"),
        4,
        "one load, three stores or moves: {code}"
    );
}

#[test]
fn immutable_globals_are_constants() {
    let code = clif_with_gc_types(
        "(module
           (global $a i32 (i32.const 42)) (global $b i32 (global.get $a))
           (func (result i32) (global.get $b)))",
    );
    assert!(code.contains("iconst.i32 42"), "{code}");
    assert_eq!(count(&code, "load.i32"), 0, "{code}");
}

#[test]
fn an_indirect_call_checks_only_what_it_must() {
    let table_of_anything = "(module (type $f (func)) (table 4 funcref)
         (func (param i32) (call_indirect (type $f) (local.get 0))))";
    let code = clif(table_of_anything);
    assert_eq!(count(&code, "select_spectre_guard"), 1, "{code}");
    assert_eq!(count(&code, "trapz"), 1, "the type: {code}");
    assert_eq!(count(&code, "user5"), 1, "null: {code}");
    assert_eq!(count(&code, "user14"), 1, "past the end: {code}");

    let table_of_type = "(module (type $f (func)) (table 4 4 (ref null $f))
         (func (param i32) (call_indirect (type $f) (i32.and (local.get 0) (i32.const 3)))))";
    let code = clif(table_of_type);
    assert_eq!(count(&code, "select_spectre_guard"), 0, "{code}");
    assert_eq!(count(&code, "trapz"), 0, "{code}");
    assert_eq!(count(&code, "user5"), 1, "null: {code}");
}

#[test]
fn a_call_of_a_type_that_has_subtypes_compares_one_ancestor() {
    let code = clif_with_gc_types(
        "(module (type $f (sub (func))) (table 4 funcref)
           (func (param i32) (call_indirect (type $f) (local.get 0))))",
    );
    assert_eq!(count(&code, "block"), 1, "{code}");
    assert_eq!(count(&code, "icmp eq"), 1, "{code}");
    assert_eq!(count(&code, "call fn"), 0, "{code}");
}

#[test]
fn references_are_in_stack_maps_across_calls() {
    let functions = lower(
        "(module (import \"\" \"f\" (func $f)) (table 1 externref)
           (func (param externref i32) (result externref externref)
             (local $kept externref)
             (local.set $kept (table.get (i32.const 0)))
             (call $f)
             (select (result externref) (local.get 0) (local.get $kept) (local.get 1))
             (local.get $kept)))",
        &Settings::default(),
    );
    let code = functions[0].clif.to_string();
    assert_eq!(count(&code, "stack_map=[i32 @ ss"), 1, "{code}");
    assert_eq!(
        count(&code, "explicit_slot 4"),
        2,
        "two references are live: {code}"
    );
}

#[test]
fn interruption_is_looked_at_on_entry_and_in_loops_only() {
    let wat = "(module (func (param i32)
        (loop $l (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
        (block $b (br_if $b (local.get 0)))))";
    let plain = clif(wat);
    assert_eq!(count(&plain, "cold"), 0, "{plain}");
    for settings in [
        Settings {
            consume_fuel: true,
            ..Settings::default()
        },
        Settings {
            epoch_interruption: true,
            ..Settings::default()
        },
    ] {
        let code = clif_under(wat, &settings);
        assert_eq!(count(&code, "cold"), 2, "{code}");
    }
}

#[test]
fn the_epoch_is_loaded_in_every_round_of_a_loop() {
    let settings = Settings {
        epoch_interruption: true,
        ..Settings::default()
    };
    let code = assembly("(module (func (loop $l (br $l))))", &settings);
    let compares = count(&code, "cmpq");
    assert_eq!(
        compares,
        2 + 1,
        "on entry, in the loop, the stack limit: {code}"
    );
}

#[test]
fn a_leaf_function_does_not_look_at_the_stack_limit() {
    let code = assembly(
        "(module (func (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1))))",
        &Settings::default(),
    );
    assert_eq!(count(&code, "cmp"), 0, "{code}");
}

#[test]
fn small_copies_and_fills_do_not_call_the_runtime() {
    for length in [1, 7, 16, 23, 128] {
        let code = clif(&format!(
            "(module (memory 1)
               (func (param i32 i32)
                 (memory.copy (local.get 0) (local.get 1) (i32.const {length}))
                 (memory.fill (local.get 0) (local.get 1) (i32.const {length}))))"
        ));
        assert_eq!(count(&code, "call"), 0, "{code}");
    }
    for length in [0, 129] {
        let code = clif(&format!(
            "(module (memory 1)
               (func (param i32 i32)
                 (memory.copy (local.get 0) (local.get 1) (i32.const {length}))))"
        ));
        assert_eq!(count(&code, "call fn"), 1, "{code}");
    }
}

#[test]
fn a_small_copy_loads_everything_before_it_stores_its_end() {
    let code = clif(
        "(module (memory 1)
           (func (param i32 i32)
             (memory.copy (local.get 0) (local.get 1) (i32.const 23))))",
    );
    let accesses: Vec<&str> = code
        .lines()
        .filter(|line| line.contains("user2"))
        .map(|line| {
            if line.contains("store") {
                "store"
            } else {
                "load"
            }
        })
        .collect();
    assert_eq!(accesses, ["load", "load", "store", "store"], "{code}");
    let first_store = code.lines().find(|line| line.contains("store user2"));
    assert!(
        first_store.is_some_and(|line| line.ends_with("+7")),
        "{code}"
    );
}
