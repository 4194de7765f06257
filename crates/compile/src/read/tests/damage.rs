//! Damaged modules are errors: reading any bytes must not panic.

use super::{all_features, read, wasm};
use sarsen_abi::Features;

/// A module with something in every section.
fn module_with_everything() -> Vec<u8> {
    wasm(
        r#"(module $everything
            (rec (type $s (sub (struct (field (mut i32))))) (type $a (array (ref null $s))))
            (type $f (func (param i32 externref) (result i64 f64)))
            (type $c (cont $f))
            (import "env" "f" (func (type $f)))
            (import "env" "t" (table 1 10 funcref))
            (import "env" "m" (memory 1))
            (import "env" "g" (global i32))
            (import "env" "e" (tag (param i32)))
            (func $one (export "one") (param i32) (result i32)
                (local i64 f32 f32)
                (block (loop (br_if 0 (local.get 0)) (br 1)))
                (br_table 0 0 (i32.const 1) (local.get 0)))
            (func $two (call_indirect (param i32) (result i32) (i32.const 1) (i32.const 2)) drop
                (memory.init 1 (i32.const 0) (i32.const 0) (i32.const 1)))
            (table 3 funcref (ref.func $one))
            (memory 1 2)
            (tag (param i64))
            (global (mut i64) (i64.add (i64.const 1) (i64.const 2)))
            (global funcref (ref.func $two))
            (start $two)
            (elem (i32.const 0) $one $two)
            (elem funcref (ref.null func) (ref.func $one))
            (data (memory 1) (i32.const 8) "hello")
            (data "world")
            (@custom ".debug_line" "xyz"))"#,
    )
}

#[test]
fn every_prefix_of_a_module_is_refused() {
    let bytes = module_with_everything();
    read(&bytes, all_features()).unwrap_or_else(|e| panic!("{e}"));
    let sections = section_ends(&bytes);
    for end in 0..bytes.len() {
        if let Ok(translation) = read(&bytes[..end], all_features()) {
            // What ends with a section is a module of its own, as long as nothing is missing.
            assert!(sections.contains(&end), "{end}");
            assert_eq!(translation.module.check(), Ok(()));
        }
    }
}

/// The offsets at which sections end, and that at which the first begins.
fn section_ends(bytes: &[u8]) -> Vec<usize> {
    let mut at = 8;
    let mut ends = vec![at];
    while at < bytes.len() {
        let (mut size, mut shift) = (0, 0);
        loop {
            at += 1;
            size |= usize::from(bytes[at] & 0x7f) << shift;
            shift += 7;
            if bytes[at] & 0x80 == 0 {
                break;
            }
        }
        at += 1 + size;
        ends.push(at);
    }
    ends
}

#[test]
fn a_flipped_byte_is_an_error_or_another_valid_module() {
    let bytes = module_with_everything();
    for position in 0..bytes.len() {
        for flip in [0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[position] ^= flip;
            for features in [all_features(), Features::default()] {
                if let Ok(translation) = read(&damaged, features) {
                    let checked = translation.module.check();
                    assert_eq!(checked, Ok(()), "byte {position} ^ {flip:#x}");
                    assert_eq!(
                        translation.bodies.len(),
                        translation.module.num_defined_funcs()
                    );
                }
            }
        }
    }
}

#[test]
fn bytes_that_are_no_module_are_refused() {
    for bytes in [
        &b""[..],
        b"\0",
        b"\0asm",
        b"\x7fELF\x02\x01\x01\0",
        b"(module)",
        b"\0asm\x02\0\0\0",
    ] {
        assert!(read(bytes, all_features()).is_err(), "{bytes:?}");
    }
}
