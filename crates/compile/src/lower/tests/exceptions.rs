//! Properties of the code that exceptions become, and what it takes at the limits.

use super::{clif, count, isa, lower_all, lower_with};
use cranelift_codegen::verify_function;
use sarsen_abi::{Feature, Features, Settings};

fn function(code: &str) -> String {
    clif(&format!("(module {IMPORTS} {code})"))
}

const IMPORTS: &str = r#"
    (func $f (import "" "f"))
    (tag $a (param i32))
    (tag $b (param i32 externref))
    (tag $c)"#;

#[test]
fn a_throw_whose_handler_is_known_makes_no_exception() {
    let code = function(
        "(func (param i32) (result i32)
           (block $other
             (block $h (result i32)
               (try_table (catch $c $other) (catch $a $h) (throw $a (local.get 0)))
               (unreachable))
             (return))
           (unreachable))",
    );
    assert_eq!(count(&code, "call fn"), 0, "{code}");
    assert_eq!(count(&code, "store."), 0, "{code}");
}

#[test]
fn an_inlined_callee_throws_to_its_callers_handler_by_a_branch() {
    let code = clif(
        "(module
           (tag $a (param i32))
           (func $throw (param i32) (throw $a (local.get 0)))
           (func (export \"f\") (param i32) (result i32)
             (block $h (result i32)
               (try_table (catch $a $h) (call $throw (local.get 0)))
               (unreachable))))",
    );
    assert_eq!(count(&code, "call fn"), 0, "{code}");
}

#[test]
fn a_reference_to_what_was_thrown_is_made_only_if_asked_for() {
    let code = function(
        "(func (param i32) (result exnref)
           (block $h (result exnref)
             (try_table (catch_all_ref $h) (throw $a (local.get 0)))
             (unreachable)))",
    );
    assert_eq!(count(&code, "try_call"), 0, "{code}");
    assert_eq!(count(&code, "call fn"), 1, "only to make room: {code}");
}

#[test]
fn a_call_has_the_handlers_around_it_up_to_one_that_takes_all() {
    let code = function(
        "(func
           (block $h (block $all
             (try_table (catch_all $h)
               (block $x (result i32)
                 (try_table (catch_all $all)
                   (block $y (result i32)
                     (try_table (catch $a $x) (catch $a $y) (call $f))
                     (unreachable))
                   (drop))
                 (unreachable))
               (drop)))))",
    );
    let calls: Vec<&str> = code.lines().filter(|l| l.contains("try_call")).collect();
    let [call] = calls[..] else {
        panic!("one call: {code}");
    };
    assert_eq!(call.matches("tag1:").count(), 0, "{call}");
    assert_eq!(call.matches("tag0:").count(), 1, "{call}");
    assert_eq!(call.matches("default:").count(), 1, "{call}");
    assert_eq!(call.matches("context").count(), 1, "{call}");
}

#[test]
fn calls_outside_of_handlers_stay_what_they_were() {
    let code = function("(func (call $f) (block (try_table (catch_all 0))) (call $f))");
    assert_eq!(count(&code, "try_call"), 0, "{code}");
}

/// Whether a call of `$f` inside of a handler keeps the handler; `functions` define `$f`.
fn keeps_handler(functions: &str) -> bool {
    let mut features = Features::default();
    features.set(Feature::StackSwitching, true);
    let settings = Settings {
        inlining: false,
        ..Settings::default()
    };
    let module = format!(
        "(module
           (func $host (import \"\" \"\"))
           (type $t (func)) (type $c (cont $t))
           (tag $a) (table funcref (elem $host)) (elem declare func $host $f)
           {functions}
           (func (block $h (try_table (catch_all $h) (call $f)))))"
    );
    let wasm = wat::parse_str(module).expect("a test's module is well-formed");
    let functions = lower_with(&wasm, &settings, features).expect("it is supported");
    let code = functions.last().expect("it has one").clif.to_string();
    assert_eq!(count(&code, "call fn"), 1, "{code}");
    count(&code, "try_call") == 1
}

#[test]
fn a_call_of_what_cannot_throw_has_no_handler() {
    for quiet in [
        "(func $f (call $f) (call $f))",
        "(func $f (call $g) (call $f)) (func $g (call $f) (call $g))",
        "(func $f (call $f) (call $f) (drop (i32.div_s (i32.const 1) (i32.const 0))) (unreachable))",
        "(func $f (call $f) (call $f) (drop (cont.new $c (ref.func $host))))",
    ] {
        assert!(!keeps_handler(quiet), "{quiet}");
    }
}

#[test]
fn a_call_of_what_may_throw_has_its_handler() {
    let again = "(call $f) (call $f)";
    for throwing in [
        "(throw $a)",
        "(throw_ref (ref.null exn))",
        "(call $host)",
        "(return_call $host)",
        "(call_indirect (type $t) (i32.const 0))",
        "(return_call_indirect (type $t) (i32.const 0))",
        "(call_ref $t (ref.func $host))",
        "(return_call_ref $t (ref.null $t))",
        "(resume $c (ref.null $c))",
        "(resume_throw $c $a (ref.null $c))",
        "(suspend $a)",
        "(return_call $g)",
        "(call $g)",
    ] {
        let g = "(func $g (call $g) (call $k)) (func $k (call $k) (call $k) (throw $a))";
        let functions = format!("(func $f {again} {throwing}) {g}");
        assert!(keeps_handler(&functions), "{throwing}");
        // It is found through functions before and after.
        let functions = format!(
            "(func $f {again} (call $m)) (func $m (call $m) (call $n)) (func $n (call $n) {throwing}) {g}"
        );
        assert!(keeps_handler(&functions), "{throwing}");
    }
}

fn lower(wat: &str) -> Result<(), String> {
    let settings = Settings::default();
    let wasm = wat::parse_str(wat).expect("a test's module is well-formed");
    let functions = lower_all(&wasm, &settings).map_err(|error| error.to_string())?;
    for function in &functions {
        verify_function(&function.clif, &*isa(&settings)).expect("lowering makes valid CLIF");
    }
    Ok(())
}

#[test]
fn many_nested_handlers_of_one_tag_take_no_square_of_their_number() {
    // Flat text: nested text overflows the parser's stack.
    let open = "try_table (catch $a 0) ".repeat(20_000);
    let close = "end ".repeat(20_000);
    lower(&format!(
        "(module (func $f (import \"\" \"\")) (tag $a) (func {open} call $f {close}))"
    ))
    .unwrap();
}

#[test]
fn more_handlers_than_a_function_may_have_are_refused() {
    let tags: String = (0..5_000).map(|n| format!("(tag $t{n})")).collect();
    let open: String = (0..5_000)
        .map(|n| format!("try_table (catch $t{n} 0) call $g "))
        .collect();
    let close = "end ".repeat(5_000);
    let error = lower(&format!(
        "(module (func $g (import \"\" \"\")) {tags} (func {open} {close}))"
    ));
    assert!(error.unwrap_err().contains("too large"));

    let many = "i64 ".repeat(1_000);
    let tags: String = (0..1_100)
        .map(|n| format!("(tag $t{n} (param {many}))"))
        .collect();
    let clauses: String = (0..1_100).map(|n| format!("(catch $t{n} 0) ")).collect();
    let error = lower(&format!(
        "(module (func $g (import \"\" \"\")) {tags}
           (func (block (result {many}) (try_table {clauses} (call $g)) unreachable) unreachable))"
    ));
    assert!(error.unwrap_err().contains("too large"));
}
