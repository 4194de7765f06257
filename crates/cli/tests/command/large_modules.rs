//! Modules at the edge of what the standard's limits allow.

use crate::Scratch;

#[test]
fn a_module_with_100000_functions_runs() {
    let mut module = String::from("(module");
    for _ in 0..100_000 {
        module.push_str("(func)");
    }
    module.push_str(r#"(func (export "last") (result i32) (i32.const 7)))"#);
    let scratch = Scratch::with("many.wat", module);
    let printed = scratch.prints(&["run", "--invoke", "last", "many.wat"]);
    assert_eq!(printed, "7\n");
}

#[test]
fn a_function_with_50000_locals_runs() {
    let locals = "i64 ".repeat(49_999);
    let text = format!(
        r#"(module (func (export "f") (param i64) (result i64) (local {locals})
             (local.set 49999 (i64.add (local.get 0) (local.get 40000)))
             (local.get 49999)))"#
    );
    let scratch = Scratch::with("locals.wat", text);
    let printed = scratch.prints(&["run", "--invoke", "f", "locals.wat", "5"]);
    assert_eq!(printed, "5\n");
}

#[test]
fn deep_nesting_runs() {
    const DEPTH: usize = 20_000;
    // Written as bytes: the text format's own parser limits nesting.
    let mut body = vec![0x00];
    body.extend([0x02, 0x40].repeat(DEPTH));
    body.extend([0x0b].repeat(DEPTH));
    body.extend([0x41, 0x09, 0x0b]);
    let mut module =
        b"\0asm\x01\0\0\0\x01\x05\x01\x60\0\x01\x7f\x03\x02\x01\0\x07\x05\x01\x01f\0\0".to_vec();
    let mut section = vec![0x01];
    section.extend(leb128(body.len()));
    section.extend(body);
    module.push(0x0a);
    module.extend(leb128(section.len()));
    module.extend(section);
    let scratch = Scratch::with("deep.wasm", module);
    let printed = scratch.prints(&["run", "--invoke", "f", "deep.wasm"]);
    assert_eq!(printed, "9\n");
}

fn leb128(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}
