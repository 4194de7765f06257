//! What is refused, and what the error says.

use super::{all_but, all_features, read, read_error, wasm};
use sarsen_abi::{Feature, Features, FuncIndex, TagIndex};

#[test]
fn a_component_is_told_from_a_module() {
    let error = read_error(&wasm("(component)"), all_features());
    assert!(error.message().contains("component"), "{error}");
}

#[test]
fn the_first_of_several_errors_is_reported() {
    let bytes = wasm(
        "(module
            (func)
            (func $second (result i32) i64.const 1)
            (func $third (result i32) f32.const 1))",
    );
    let error = read_error(&bytes, Features::default());
    assert_eq!(error.function(), Some(FuncIndex::new(1)));
    assert_eq!(error.function_name(), Some("second"));
    assert!(error.to_string().contains("<second>"), "{error}");
    let offset = error.offset().expect("errors in bodies have offsets");
    assert_eq!(bytes[offset as usize], 0x0b, "the `end` that finds no i32");
}

#[test]
fn an_invalid_body_is_reported_before_a_later_invalid_section() {
    // A data segment for a memory that does not exist.
    let mut bytes = wasm("(module (func i32.add))");
    bytes.extend_from_slice(&[11, 6, 1, 0, 0x41, 0, 0x0b, 0]);
    let error = read_error(&bytes, Features::default());
    assert_eq!(error.function(), Some(FuncIndex::new(0)));

    let mut bytes = wasm("(module (func))");
    bytes.extend_from_slice(&[11, 6, 1, 0, 0x41, 0, 0x0b, 0]);
    let error = read_error(&bytes, Features::default());
    assert!(error.message().contains("memory"), "{error}");
    assert_eq!(error.function(), None);
}

#[test]
fn what_a_feature_brings_is_refused_without_it() {
    for (feature, text) in [
        (
            Feature::MutableGlobal,
            "(global (export \"\") (mut i32) (i32.const 0))",
        ),
        (
            Feature::SaturatingFloatToInt,
            "(func f32.const 0 i32.trunc_sat_f32_s drop)",
        ),
        (
            Feature::SignExtension,
            "(func i32.const 0 i32.extend8_s drop)",
        ),
        (Feature::MultiValue, "(func (result i32 i32) unreachable)"),
        (
            Feature::BulkMemory,
            "(memory 1) (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 0)))",
        ),
        (Feature::ReferenceTypes, "(func (param externref))"),
        (
            Feature::ExtendedConst,
            "(global i32 (i32.add (i32.const 0) (i32.const 0)))",
        ),
        (Feature::TailCall, "(func $f return_call $f)"),
        (
            Feature::FunctionReferences,
            "(type $t (func)) (func (param (ref null $t)))",
        ),
        (Feature::MultiMemory, "(memory 1) (memory 1)"),
        (Feature::Memory64, "(memory i64 1)"),
        (Feature::Simd, "(func (param v128))"),
        (
            Feature::RelaxedSimd,
            "(func (param v128 v128) (drop (i8x16.relaxed_swizzle (local.get 0) (local.get 1))))",
        ),
        (Feature::Threads, "(memory 1 1 shared)"),
        (Feature::Gc, "(type (struct))"),
        (Feature::Exceptions, "(tag)"),
        (Feature::LegacyExceptions, "(func try end)"),
        (Feature::StackSwitching, "(type $t (func)) (type (cont $t))"),
        (
            Feature::WideArithmetic,
            "(func i64.const 0 i64.const 0 i64.mul_wide_s drop drop)",
        ),
        (Feature::CustomPageSizes, "(memory 1 (pagesize 1))"),
    ] {
        let bytes = wasm(&format!("(module {text})"));
        let accepted = read(&bytes, all_features());
        assert!(accepted.is_ok(), "{}: {:?}", feature.name(), accepted.err());
        read_error(&bytes, all_but(feature));
    }
}

#[test]
fn unsound_names_do_not_make_a_module_invalid() {
    let mut bytes = wasm("(module (func))");
    // Names of function 7, which does not exist, and a subsection that is cut off.
    bytes.extend_from_slice(&[0, 13, 4, b'n', b'a', b'm', b'e', 1, 4, 1, 7, 1, b'x', 2, 9]);
    let translation = read(&bytes, Features::default()).expect("custom sections cannot be invalid");
    assert!(translation.names.funcs.is_empty());

    // Of several names the first counts; tag 9 does not exist.
    let mut bytes = wasm("(module (tag) (tag))");
    let names = [3, 1, 1, b'x', 1, 1, b'y', 9, 1, b'z'];
    bytes.extend_from_slice(&[0, 17, 4, b'n', b'a', b'm', b'e', 11, names.len() as u8]);
    bytes.extend_from_slice(&names);
    let translation = read(&bytes, Features::default()).expect("custom sections cannot be invalid");
    let named = (TagIndex::new(1), "x".to_owned());
    assert_eq!(translation.module.tag_names, [named]);
}
