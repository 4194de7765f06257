//! Modules at the limits of what engines accept are read without recursion, and in a time that
//! does not grow with the square of their size.

use super::{read, read_error, read_ok, wasm};
use sarsen_abi::Features;

#[test]
fn a_hundred_thousand_functions_are_read() {
    const COUNT: usize = 100_000;
    let functions = "(func $f".to_owned();
    let text: String = (0..COUNT).map(|i| format!("{functions}{i})")).collect();
    let bytes = wasm(&format!("(module {text})"));
    let translation = read_ok(&bytes);
    assert_eq!(translation.bodies.len(), COUNT);
    assert_eq!(translation.names.funcs.len(), COUNT);
}

#[test]
fn fifty_thousand_locals_are_read_and_no_more() {
    let with_locals = |count: usize| {
        let locals = "i32 ".repeat(count);
        wasm(&format!("(module (func (local {locals})))"))
    };
    read_ok(&with_locals(50_000));
    let error = read_error(&with_locals(50_001), Features::default());
    assert!(error.message().contains("locals"), "{error}");
}

#[test]
fn blocks_nested_a_hundred_thousand_deep_are_read() {
    const DEPTH: usize = 100_000;
    // (func (block ... end)), by hand: the text format's parser has a limit of its own.
    let mut body = vec![0];
    body.extend([0x02, 0x40].repeat(DEPTH));
    body.extend([0x0b].repeat(DEPTH + 1));
    let mut bytes = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0".to_vec();
    let mut contents = vec![1];
    contents.extend(leb128(body.len()));
    contents.extend(body);
    bytes.push(10);
    bytes.extend(leb128(contents.len()));
    bytes.extend(contents);
    read_ok(&bytes);
    let cut = &bytes[..bytes.len() - 1];
    assert!(read(cut, Features::default()).is_err());
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
