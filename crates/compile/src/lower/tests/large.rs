//! Sizes at the limits: what is quadratic or recursive shows here, as a test that does not end or
//! overflows the stack.

use super::{isa, lower_all};
use cranelift_codegen::verify_function;
use sarsen_abi::Settings;

fn lower_and_verify(wat: &str) {
    let settings = Settings::default();
    let wasm = wat::parse_str(wat).expect("a test's module is well-formed");
    let functions = lower_all(&wasm, &settings).expect("a test's module is supported");
    for function in &functions {
        verify_function(&function.clif, &*isa(&settings)).expect("lowering makes valid CLIF");
    }
}

#[test]
fn fifty_thousand_locals() {
    let locals = "(local i32 i64 f32 f64 funcref)".repeat(9_990);
    lower_and_verify(&format!(
        "(module (func (result i32) {locals} (local.get 49900)))"
    ));
}

/// Without care, Cranelift's frontend takes a gigabyte for these.
#[test]
fn many_locals_times_many_blocks() {
    let locals = "(local i32 i64 f32 f64 funcref)".repeat(4_000);
    let blocks = "(if (local.get 0) (then (local.set 0 (i32.const 1))))".repeat(10_000);
    let uses: String = (0..20_000)
        .map(|n| format!("(drop (local.get {n}))"))
        .collect();
    lower_and_verify(&format!(
        "(module (func (result i32) {locals} {blocks} {uses} (local.get 0)))"
    ));
}

#[test]
fn branches_that_pass_too_many_values_are_refused() {
    let types = "i32 ".repeat(1000);
    let targets = "0 ".repeat(17_000);
    let wat = format!(
        "(module
           (import \"\" \"\" (func $many (result {types})))
           (func (block (result {types}) (call $many) (i32.const 0) (br_table {targets} 0))
             unreachable))"
    );
    let wasm = wat::parse_str(wat).expect("well-formed");
    let error = lower_all(&wasm, &Settings::default()).err();
    let error = error.expect("seventeen million values are too many");
    assert!(error.message().contains("too large"), "{error}");
}

/// That a module is refused because a function would be too large, and is not if it has `fewer` of something.
fn is_refused(module: impl Fn(usize) -> String, fewer: usize, many: usize) {
    let lower = |count| {
        let wasm = wat::parse_str(module(count)).expect("well-formed");
        lower_all(&wasm, &Settings::default()).map(drop)
    };
    lower(fewer).expect("it is not too large");
    let error = lower(many).expect_err("it is too large");
    assert!(error.message().contains("too large"), "{error}");
}

#[test]
fn calls_that_pass_very_many_values_are_refused() {
    let types = "i32 ".repeat(1000);
    let zeros = "(i32.const 0)".repeat(1000);
    let module = |calls| {
        let calls = "(call $many)".repeat(calls);
        format!(
            "(module
               (import \"\" \"\" (func $many (param {types}) (result {types})))
               (func (result {types}) {zeros} {calls}))"
        )
    };
    is_refused(module, 20, 300);
}

#[test]
fn very_many_parts_of_objects_are_refused() {
    let types = "i32 ".repeat(1000);
    let fields = format!("(field {})", "i32 ".repeat(10_000));
    let calls = "(call $thousand)".repeat(10);
    for make in ["struct.new $struct", "array.new_fixed $array 10000"] {
        let module = |objects| {
            let objects = format!("{calls} (drop ({make}))").repeat(objects);
            format!(
                "(module
                   (type $struct (struct {fields})) (type $array (array i32))
                   (import \"\" \"\" (func $thousand (result {types})))
                   (func {objects}))"
            )
        };
        is_refused(module, 1, 20);
    }
}

#[test]
fn very_many_references_that_wait_for_calls_are_refused() {
    let module = |count| {
        let [objects, calls, uses] = [
            "(struct.new_default $s)",
            "(call $f)",
            "(drop (struct.get $s 0))",
        ]
        .map(|code| code.repeat(count));
        format!(
            "(module
               (type $s (struct (field i32)))
               (import \"\" \"\" (func $f))
               (func {objects} {calls} {uses}))"
        )
    };
    is_refused(module, 500, 9_000);
}

#[test]
fn very_many_blocks_of_a_few_bytes_with_many_locals_are_refused() {
    let types = "funcref ".repeat(1000);
    let locals = "i32 ".repeat(1000);
    let sets: String = (0..1000)
        .map(|n| format!("(local.set {n} (i32.const 1))"))
        .collect();
    let module = |throws| {
        let throws = "(if (i32.const 0) (then (call $many) (throw $tag)))".repeat(throws);
        format!(
            "(module
               (import \"\" \"\" (func $many (result {types})))
               (tag $tag (param {types}))
               (func (local {locals}) {throws} {sets}))"
        )
    };
    is_refused(module, 1, 40);
}

#[test]
fn a_long_chain_of_globals() {
    let count = 60_000;
    let globals: String = (1..count)
        .map(|n| format!("(global i32 (global.get {}))", n - 1))
        .collect();
    let uses = format!("(drop (global.get {}))", count - 1).repeat(count);
    let module = format!("(module (global i32 (i32.const 1)) {globals} (func {uses}))");
    let wasm = wat::parse_str(module).expect("well-formed");
    lower_all(&wasm, &Settings::default()).expect("it is not too large");
}

#[test]
fn blocks_nested_as_deep_as_a_body_allows() {
    // Binary, because text this deep overflows the text parser's stack.
    let depth = 100_000;
    let mut body = vec![0];
    for opcode in [0x02u8, 0x03] {
        body.extend([opcode, 0x40].repeat(depth));
        body.extend([0x0b].repeat(depth));
    }
    body.push(0x0b);
    let mut wasm = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0".to_vec();
    let mut section = vec![1];
    leb128(&mut section, body.len());
    section.extend(&body);
    wasm.push(10);
    leb128(&mut wasm, section.len());
    wasm.extend(section);
    lower_all(&wasm, &Settings::default()).expect("it is valid");
}

fn leb128(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[test]
fn a_branch_table_with_many_targets_and_operands() {
    let targets = "0 1 ".repeat(20_000);
    lower_and_verify(&format!(
        "(module (func (param i32) (result i32)
           (block (result i32)
             (block (result i32)
               (i32.const 1) (local.get 0) (br_table {targets} 0)))))"
    ));
}

#[test]
fn code_after_a_branch_is_skipped() {
    lower_and_verify(
        "(module (func (result i32)
           (block (result i32)
             (return (i32.const 1))
             (loop (if (i32.const 1) (then (br 0)) (else (unreachable))))
             (block (result i64) (unreachable))
             (drop)
             (i32.const 2))))",
    );
}
