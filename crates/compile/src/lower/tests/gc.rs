//! Properties of the code that objects, casts and barriers become: how many loads, comparisons and calls.

use super::{clif, count};

/// Types that the tests use: a class, a subclass of it, a final class, arrays.
const TYPES: &str = "
    (type $a (sub (struct (field $x i32) (field $m (mut i32)))))
    (type $b (sub $a (struct (field i32) (field (mut i32)) (field $r (mut (ref null $a))))))
    (type $f (sub final $a (struct (field i32) (field (mut i32)) (field i64))))
    (type $pair (struct (field (ref null $a)) (field (ref null $a))))
    (type $bytes (array (mut i8)))
    (type $ints (array (mut i32)))
    (type $refs (array (mut (ref null $a))))
    (type $anys (array (mut anyref)))
    (type $t (func))
    (type $holder (struct (field $f (ref $t)) (field $any (mut funcref))))";

/// The CLIF of a function.
fn function(code: &str) -> String {
    clif(&format!("(module {TYPES} {code})"))
}

/// The instructions of a function whose line has `pattern`.
fn lines<'c>(code: &'c str, pattern: &str) -> Vec<&'c str> {
    code.lines().filter(|line| line.contains(pattern)).collect()
}

#[test]
fn a_field_is_one_load_that_faults_for_null() {
    let code =
        function("(func (param (ref null $a)) (result i32) (struct.get $a $x (local.get 0)))");
    assert_eq!(lines(&code, "user11").len(), 1, "{code}");
    assert_eq!(count(&code, "icmp"), 0, "{code}");
    assert_eq!(count(&code, "trapz"), 0, "{code}");
    assert_eq!(count(&code, "block"), 1, "{code}");
}

#[test]
fn a_field_beyond_what_is_unmapped_is_checked_for_null_first() {
    let fields = "(field v128)".repeat(4096) + "(field $last i32)";
    let large = format!("(type $large (struct {fields}))");
    let get = |ty: &str| {
        clif(&format!(
            "(module {large} (func (param {ty}) (result i32) (struct.get $large $last (local.get 0))))"
        ))
    };
    assert_eq!(count(&get("(ref null $large)"), "trapz"), 1);
    assert_eq!(count(&get("(ref $large)"), "trapz"), 0);
}

#[test]
fn a_small_structure_is_made_inline_with_its_header_in_one_store() {
    let code = function(
        "(func (param (ref null $a)) (result (ref $pair))
           (struct.new $pair (local.get 0) (ref.null $a)))",
    );
    assert_eq!(
        count(&code, "call fn"),
        1,
        "only where there is no room: {code}"
    );
    assert_eq!(count(&code, "cold"), 1, "{code}");
    let stores: Vec<_> = lines(&code, "store");
    let stores: Vec<_> = stores.iter().filter(|s| s.contains("user22")).collect();
    assert_eq!(stores.len(), 3, "a header and two fields: {code}");
    assert_eq!(count(&code, "icmp"), 1, "{code}");
}

#[test]
fn a_large_structure_is_made_by_the_runtime_and_its_references_are_told() {
    let fields = "(field i64)".repeat(600) + "(field (ref null $s))";
    let code = clif(&format!(
        "(module (type $s (struct {fields}))
           (func (param i64 (ref null $s)) (result (ref $s)) {} (local.get 1) (struct.new $s)))",
        "(local.get 0)".repeat(600)
    ));
    assert_eq!(count(&code, "remembered slots"), 1, "{code}");
    assert_eq!(count(&code, "call fn"), 2, "{code}");
}

#[test]
fn an_element_is_checked_by_one_comparison() {
    for (get, ty) in [
        ("array.get_u $bytes", "$bytes"),
        ("array.get $ints", "$ints"),
        ("array.get $refs", "$refs"),
    ] {
        let code = function(&format!(
            "(func (param (ref null {ty}) i32) ({get} (local.get 0) (local.get 1)) drop)"
        ));
        assert_eq!(count(&code, " uge "), 1, "{code}");
        assert_eq!(count(&code, "trapnz"), 1, "{code}");
        assert_eq!(lines(&code, "user11").len(), 1, "the length: {code}");
        assert_eq!(lines(&code, "user16").len(), 1, "the element: {code}");
        assert_eq!(count(&code, "block"), 1, "{code}");
    }
}

#[test]
fn a_length_is_loaded_once_even_across_a_call() {
    let code = function(
        "(func $call (import \"\" \"\"))
         (func (param (ref $ints) i32) (result i32)
           (drop (array.get $ints (local.get 0) (local.get 1)))
           (call $call)
           (i32.add (array.get $ints (local.get 0) (i32.const 7)) (array.len (local.get 0))))",
    );
    assert_eq!(count(&code, " uge "), 2, "{code}");
    let lengths = lines(&code, "+4").len();
    assert_eq!(lengths, 1, "{code}");
}

#[test]
fn what_is_plainly_in_bounds_of_a_new_array_is_not_checked() {
    let code = function(
        "(func (param i32) (result i32) (local $a (ref null $ints))
           (local.set $a (array.new_default $ints (i32.const 8)))
           (array.get $ints (local.get $a) (i32.and (local.get 0) (i32.const 7))))",
    );
    assert_eq!(count(&code, "trapnz"), 0, "{code}");
}

#[test]
fn what_is_learned_in_a_block_is_forgotten_where_branches_meet() {
    let code = function(
        "(func (param (ref null $a) i32) (result i32)
           (if (local.get 1) (then (drop (ref.as_non_null (local.get 0)))))
           (ref.is_null (local.get 0)))",
    );
    assert_eq!(count(&code, " eq "), 1, "{code}");
    let code = function(
        "(func (param (ref null $a) i32) (result i32)
           (drop (ref.as_non_null (local.get 0)))
           (if (local.get 1) (then (nop)))
           (ref.is_null (local.get 0)))",
    );
    assert_eq!(count(&code, " eq "), 0, "{code}");
}

#[test]
fn a_number_is_stored_without_a_barrier_and_a_reference_with_one() {
    let code = function("(func (param (ref $a)) (struct.set $a $m (local.get 0) (i32.const 1)))");
    assert_eq!(count(&code, "block"), 1, "{code}");
    let code =
        function("(func (param (ref $b) (ref $a)) (struct.set $b $r (local.get 0) (local.get 1)))");
    assert_eq!(
        count(&code, " uge "),
        3,
        "object, new value, old value: {code}"
    );
    assert_eq!(count(&code, "call fn"), 1, "a full buffer: {code}");
    assert_eq!(count(&code, "rotr"), 0, "{code}");
}

#[test]
fn null_and_unboxed_integers_are_stored_without_a_barrier() {
    let code = function(
        "(func (param (ref $anys))
           (array.set $anys (local.get 0) (i32.const 0) (ref.null any))
           (array.set $anys (local.get 0) (i32.const 1) (ref.i31 (i32.const 5))))",
    );
    assert_eq!(count(&code, "block"), 1, "{code}");
}

#[test]
fn what_may_be_an_unboxed_integer_is_told_from_a_young_object_by_one_comparison() {
    let code = function(
        "(func (param (ref $anys) anyref)
           (array.set $anys (local.get 0) (i32.const 0) (local.get 1)))",
    );
    assert_eq!(count(&code, "rotr"), 2, "the new value and the old: {code}");
}

#[test]
fn a_table_of_objects_has_the_barrier_without_the_question_for_the_object() {
    let code = function(
        "(table 8 8 (ref null $a))
         (func (param (ref $a)) (table.set (i32.const 3) (local.get 0)))",
    );
    assert_eq!(count(&code, " uge "), 2, "{code}");
    let code = function(
        "(table 8 8 funcref)
         (func (param funcref) (table.set (i32.const 3) (local.get 0)))",
    );
    assert_eq!(count(&code, "block"), 1, "{code}");
}

#[test]
fn a_cast_is_one_comparison_of_an_ancestor() {
    let code =
        function("(func (param (ref $a)) (result (ref $b)) (ref.cast (ref $b) (local.get 0)))");
    assert_eq!(count(&code, "icmp"), 1, "{code}");
    assert_eq!(
        lines(&code, "load.i32 user22").len(),
        2,
        "id and ancestor: {code}"
    );
    assert_eq!(count(&code, "cold"), 1, "{code}");
}

#[test]
fn a_cast_to_a_final_type_compares_the_id_alone() {
    let code =
        function("(func (param (ref $a)) (result (ref $f)) (ref.cast (ref $f) (local.get 0)))");
    assert_eq!(count(&code, "icmp"), 1, "{code}");
    assert_eq!(lines(&code, "load.i32 user22").len(), 1, "{code}");
}

#[test]
fn a_cast_that_the_static_type_decides_is_no_code() {
    let code = function(
        "(func (param (ref $b)) (result (ref null $a)) (ref.cast (ref null $a) (local.get 0)))",
    );
    assert_eq!(count(&code, "block"), 1, "{code}");
    let code =
        function("(func (param (ref $b)) (result i32) (ref.test (ref array) (local.get 0)))");
    assert!(code.contains("iconst.i32 0"), "{code}");
    assert_eq!(count(&code, "block"), 1, "{code}");
}

#[test]
fn a_cast_after_a_test_is_not_checked_again() {
    let code = function(
        "(func (param (ref null $a)) (result i32)
           (if (result i32) (ref.test (ref $b) (local.get 0))
             (then (struct.get $b 0 (ref.cast (ref $b) (local.get 0))))
             (else (i32.const 0))))",
    );
    assert_eq!(count(&code, "icmp"), 1, "{code}");
    assert_eq!(count(&code, "brif"), 2, "null and the type: {code}");
    assert_eq!(count(&code, "call"), 0, "{code}");
    let code = function(
        "(func (param (ref null $a)) (result i32)
           (block $no (br_if $no (i32.eqz (ref.test (ref $b) (local.get 0))))
             (return (struct.get $b 0 (ref.cast (ref $b) (local.get 0)))))
           (i32.const 0))",
    );
    assert_eq!(count(&code, "icmp"), 1, "{code}");
}

#[test]
fn a_test_of_any_looks_for_null_and_unboxed_integers_first() {
    let code = function("(func (param anyref) (result i32) (ref.test (ref $a) (local.get 0)))");
    assert_eq!(count(&code, "brif"), 3, "{code}");
    assert_eq!(count(&code, "band"), 1, "{code}");
    let code =
        function("(func (param anyref) (result i32) (ref.test (ref null struct) (local.get 0)))");
    assert_eq!(count(&code, "brif"), 3, "{code}");
    let code = function("(func (param anyref) (result i32) (ref.test (ref i31) (local.get 0)))");
    assert_eq!(count(&code, "brif"), 1, "the bit alone: {code}");
    let code = function("(func (param anyref) (result i32) (ref.test (ref any) (local.get 0)))");
    assert_eq!(count(&code, "brif"), 1, "null alone: {code}");
}

#[test]
fn deep_types_are_found_in_the_second_table() {
    let mut types = "(type $t0 (sub (struct)))".to_owned();
    for depth in 1..=20 {
        types += &format!("(type $t{depth} (sub $t{} (struct)))", depth - 1);
    }
    let cast = |depth: u32| {
        clif(&format!(
            "(module {types} (func (param (ref $t0)) (result (ref $t{depth}))
               (ref.cast (ref $t{depth}) (local.get 0))))"
        ))
    };
    assert_eq!(count(&cast(11), "uload16"), 0);
    let code = cast(12);
    assert_eq!(count(&code, "uload16"), 1, "the depth: {code}");
}

#[test]
fn a_function_in_a_field_is_checked_as_far_as_its_type_says() {
    let code = function(
        "(func (param (ref $holder)) (call_ref $t (struct.get $holder $f (local.get 0))))",
    );
    assert_eq!(count(&code, "band"), 1, "the number is masked: {code}");
    assert_eq!(count(&code, "trapz"), 1, "the function's type: {code}");
    let code = function(
        "(func (param (ref $holder)) (result funcref) (struct.get $holder $any (local.get 0)))",
    );
    assert_eq!(count(&code, "trapz"), 0, "{code}");
}

#[test]
fn a_function_is_given_its_number_out_of_line() {
    let code = function(
        "(elem declare func $g) (func $g (type $t))
         (func (result (ref $holder)) (struct.new $holder (ref.func $g) (ref.null func)))",
    );
    assert_eq!(count(&code, "call fn"), 2, "the number, and room: {code}");
    assert_eq!(count(&code, "cold"), 2, "{code}");
}

#[test]
fn a_call_of_a_known_function_is_direct() {
    let body = "(global.set 0 (i32.add (global.get 0) (i32.const 1)))".repeat(40);
    let code = function(&format!(
        "(global (mut i32) (i32.const 0)) (elem declare func $g) (func $g (type $t) {body})
         (func (call_ref $t (ref.func $g)))"
    ));
    assert_eq!(count(&code, "call_indirect"), 0, "{code}");
    assert_eq!(count(&code, "call fn"), 1, "{code}");
}

#[test]
fn a_known_function_is_not_what_a_call_of_another_type_calls() {
    // The cast fails, so no call is ever made; but there is one, which has a result.
    let code = function(
        "(type $one (func (result i32)))
         (type $none (func (param i64 i64)))
         (func $other (type $none))
         (func (export \"f\") (result i32)
           (call_ref $one (ref.cast (ref $one) (ref.func $other))))
         (elem declare func $other)",
    );
    assert_ne!(count(&code, "call_indirect"), 0, "{code}");
}

#[test]
fn unboxed_integers_are_in_no_stack_map() {
    let code = function(
        "(func $call (import \"\" \"\"))
         (func (param (ref i31)) (result i32) (local anyref)
           (local.set 1 (ref.i31 (i32.const 3)))
           (call $call)
           (i31.get_s (local.get 0)))",
    );
    assert_eq!(count(&code, "stack_map"), 0, "{code}");
}

#[test]
fn casting_to_an_unboxed_integer_leaves_the_stack_maps() {
    let code = function(
        "(func $call (import \"\" \"\"))
         (func (param anyref) (result i32)
           (block $is (result (ref i31))
             (br_on_cast $is anyref (ref i31) (local.get 0))
             (drop) (return (i32.const 0)))
           (call $call)
           (i31.get_s))",
    );
    assert_eq!(count(&code, "stack_map"), 0, "{code}");
}

#[test]
fn what_is_unboxed_stays_out_of_stack_maps_where_a_local_of_any_type_holds_it_too() {
    for (ty, other) in [
        ("nullref", "(ref.null none)"),
        ("i31ref", "(ref.i31 (i32.const 4))"),
    ] {
        // The parameter is live across the calls under both names; the checker looks at the one in the loop.
        let code = function(&format!(
            "(func $call (import \"\" \"\"))
             (global $any (mut anyref) (ref.null any))
             (func (param i32 {ty}) (result i32) (local $small {ty}) (local $any anyref)
               (local.set $any (local.get 1))
               (call $call)
               (local.set $small (local.get 1))
               (loop $again
                 (call $call)
                 (if (i32.eq (local.get 0) (i32.const 3)) (then (local.set $small {other})))
                 (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
               (global.set $any (local.get $any))
               (ref.is_null (local.get $small)))"
        ));
        assert_ne!(count(&code, "stack_map"), 0, "{code}");
    }
}

#[test]
fn a_small_array_of_any_length_is_filled_inline() {
    let code =
        function("(func (param i32) (result (ref $ints)) (array.new_default $ints (local.get 0)))");
    assert_eq!(count(&code, "call fn"), 1, "{code}");
    assert_eq!(count(&code, "cold"), 1, "{code}");
    let code = function(
        "(func (param i32 i32) (result (ref $bytes)) (array.new $bytes (local.get 0) (local.get 1)))",
    );
    assert_eq!(count(&code, "imul"), 1, "{code}");
}

#[test]
fn a_loop_that_does_not_write_an_array_loads_its_length_before() {
    let sum = |array: &str| {
        function(&format!(
            "(func (param {array} i32) (result i32) (local $i i32) (local $s i32)
               (loop $l
                 (local.set $s
                   (i32.add (local.get $s) (array.get $ints (local.get 0) (local.get $i))))
                 (local.set $i (i32.add (local.get $i) (i32.const 1)))
                 (br_if $l (i32.lt_u (local.get $i) (local.get 1))))
               (local.get $s))"
        ))
    };
    let code = sum("(ref $ints)");
    let header = code.find("block1(").expect("a loop");
    let length = code.find("+4").expect("a load of the length");
    assert!(length < header, "{code}");
    // It may be null, and the loop may do something else first.
    let code = sum("(ref null $ints)");
    let length = code.find("+4").expect("a load of the length");
    assert!(length > code.find("block1(").expect("a loop"), "{code}");
}

#[test]
fn a_loop_that_writes_a_local_knows_nothing_of_it() {
    let code = function(
        "(func (param (ref null $a) (ref $refs) i32) (result i32)
           (drop (ref.as_non_null (local.get 0)))
           (loop $l
             (drop (ref.is_null (local.get 0)))
             (local.set 0 (array.get $refs (local.get 1) (i32.const 0)))
             (br_if $l (local.get 2)))
           (ref.is_null (local.get 0)))",
    );
    assert_eq!(count(&code, " eq "), 2, "{code}");
}

#[test]
fn the_number_of_no_function_is_no_function_where_null_is_not_allowed() {
    let code = |ty: &str| {
        clif(&format!(
            "(module (type $s (struct (field (ref {ty} func))))
               (func (param (ref $s)) (result (ref {ty} func)) (struct.get $s 0 (local.get 0))))"
        ))
    };
    assert_eq!(count(&code(""), "trapz"), 1, "{}", code(""));
    assert_eq!(count(&code("null"), "trapz"), 0, "{}", code("null"));
}
