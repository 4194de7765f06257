//! Where data segments go, and which memories start from an image.

use super::{read_ok, wasm};
use sarsen_abi::DataIndex;
use sarsen_abi::module::{DataMode, IMAGE_PAGE_SIZE, MemoryImage, Module};

/// Reads a module, and gives what it declares and its data section.
fn lay_out(text: &str) -> (Module, Vec<u8>) {
    let bytes = wasm(&format!("(module {text})"));
    let translation = read_ok(&bytes);
    assert_eq!(translation.module.check(), Ok(()));
    (translation.module, translation.data)
}

/// The contents of the image of the first defined memory, from address 0.
fn contents(module: &Module, data: &[u8]) -> Vec<u8> {
    let image = module.memory_images[0].as_ref().expect("there is an image");
    let mut contents = vec![0; image.address as usize];
    contents.extend_from_slice(&data[image.bytes.start as usize..image.bytes.end as usize]);
    contents
}

#[test]
fn later_segments_overwrite_earlier_ones_in_an_image() {
    let (module, data) = lay_out(
        r#"(memory 1)
           (data (i32.const 10) "aaaa") (data (i32.const 12) "bbbb") (data (i32.const 11) "c")"#,
    );
    assert_eq!(&contents(&module, &data)[8..20], b"\0\0acbbbb\0\0\0\0");
    assert_eq!(module.data, []);
}

#[test]
fn images_begin_and_end_at_pages() {
    let (module, data) = lay_out(r#"(memory 2) (data (i32.const 0x5ffe) "abcd")"#);
    assert_eq!(
        module.memory_images,
        [Some(MemoryImage {
            address: 0x5000,
            bytes: 0..2 * IMAGE_PAGE_SIZE,
        })]
    );
    assert_eq!(&data[0xffe..0x1002], b"abcd");
}

#[test]
fn passive_segments_follow_the_images() {
    let (module, data) =
        lay_out(r#"(memory 1) (data "passive") (data (i32.const 0) "active") (data "too")"#);
    assert_eq!(module.data[0].mode, DataMode::Passive);
    let bytes = |i: u32| {
        let range = &module.data_segment(DataIndex::new(i))?.bytes;
        Some(&data[range.start as usize..range.end as usize])
    };
    assert_eq!(bytes(0), Some(&b"passive"[..]));
    assert_eq!(bytes(1), None);
    assert_eq!(bytes(2), Some(&b"too"[..]));
    assert_eq!(module.data[0].bytes.start, IMAGE_PAGE_SIZE);
    assert_eq!(&contents(&module, &data)[..6], b"active");
}

#[test]
fn each_memory_has_its_own_image() {
    let (module, data) = lay_out(
        r#"(memory $a 1) (memory $b 1) (memory $none 1)
           (data (memory $b) (i32.const 0) "b") (data (memory $a) (i32.const 0) "a")"#,
    );
    let images: Vec<_> = module.memory_images.iter().flatten().collect();
    assert_eq!(images.len(), 2);
    assert_eq!(data[images[0].bytes.start as usize], b'a');
    assert_eq!(data[images[1].bytes.start as usize], b'b');
    assert_eq!(module.memory_images[2], None);
}

/// That no segment of the module became part of an image.
fn assert_no_image(text: &str) {
    let (module, _) = lay_out(text);
    assert!(module.memory_images.iter().all(Option::is_none), "{text}");
    assert_eq!(module.data.len(), text.matches("(data").count(), "{text}");
}

#[test]
fn a_memory_whose_contents_depend_on_instantiation_has_no_image() {
    assert_no_image(r#"(import "" "" (memory 1)) (data (i32.const 0) "imported")"#);
    assert_no_image(
        r#"(import "" "" (global i32)) (memory 1)
           (data (i32.const 0) "known") (data (global.get 0) "unknown")"#,
    );
}

#[test]
fn a_segment_that_does_not_fit_is_left_to_fail_at_instantiation() {
    assert_no_image(r#"(memory 1) (data (i32.const 0) "x") (data (i32.const 65536) "y")"#);
    assert_no_image(r#"(memory 1) (data (i32.const 0) "x") (data (i32.const -1) "y")"#);
    assert_no_image(r#"(memory 1) (data (i32.const 65537) "")"#);
    assert_no_image(r#"(memory i64 1) (data (i64.const -1) "xy")"#);
    assert_no_image(r#"(memory 0) (data (i32.const 0) "x")"#);
}

#[test]
fn data_in_the_last_page_of_64_bits_is_left_to_fail_at_instantiation() {
    assert_no_image(r#"(memory i64 0x1000000000000) (data (i64.const -16) "too far")"#);
}

#[test]
fn an_empty_segment_that_fits_needs_no_image() {
    let (module, data) = lay_out(r#"(memory 1) (data (i32.const 65536) "")"#);
    assert_eq!(module.memory_images, [None]);
    assert_eq!(module.data, []);
    assert!(data.is_empty());
}

#[test]
fn scattered_segments_are_copied_instead() {
    assert_no_image(r#"(memory 1000) (data (i32.const 0) "x") (data (i32.const 60000000) "y")"#);
    let (module, _) = lay_out(r#"(memory 1000) (data (i32.const 60000000) "y")"#);
    assert_eq!(
        module.memory_images[0].as_ref().map(|i| i.address % 4096),
        Some(0)
    );
}

#[test]
fn contents_wait_for_segments_that_may_fail_after_a_function_has_leaked() {
    let leak = r#"(import "" "t" (table 1 funcref)) (func $f) (memory 1) (data (i32.const 0) "x")"#;
    // The table's element is in place when the second segment fails, and $f can read the memory.
    assert_no_image(&format!(
        "{leak} (elem (i32.const 0) $f) (elem (i32.const 9) $f)"
    ));
    assert_no_image(&format!(
        r#"{leak} (elem (i32.const 0) $f) (memory $other 1)
           (data (memory $other) (i32.const 65536) "y")"#
    ));
    // Nothing can fail; nothing has leaked.
    for text in [
        format!("{leak} (elem (i32.const 0) $f)"),
        r#"(table 1 funcref) (func $f) (elem (i32.const 9) $f) (memory 1) (data (i32.const 0) "x")"#
            .to_owned(),
    ] {
        let (module, _) = lay_out(&text);
        assert!(module.memory_images[0].is_some(), "{text}");
    }
}
