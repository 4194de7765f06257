//! What is given as a module, and is none or a damaged one.

use crate::{FAILED, SAMPLE, Scratch, USAGE, sample};
use sarsen::{Engine, Module};

#[test]
fn a_file_that_is_not_wasm_is_refused() {
    let scratch = Scratch::with("not.wasm", [0x7f, b'E', b'L', b'F', 0, 1, 2, 3, 4]);
    scratch.fails(FAILED, &["run", "not.wasm"], &["not.wasm"]);
    scratch.fails(FAILED, &["run", "missing.wasm"], &["missing.wasm"]);
    scratch.write("empty.wasm", []);
    scratch.fails(FAILED, &["run", "empty.wasm"], &["empty.wasm"]);
    scratch.fails(FAILED, &["run", "."], &["`.`", "directory"]);
}

#[test]
fn a_word_that_is_neither_a_file_nor_a_command_is_told_so() {
    let scratch = Scratch::new();
    scratch.fails(FAILED, &["inspct"], &["`inspct`", "command", "--help"]);
    let message = scratch.fails(FAILED, &["inspct.wasm"], &["`inspct.wasm`"]);
    assert!(!message.contains("command"), "{message}");
    scratch.fails(USAGE, &["run"], &["FILE"]);
}

#[test]
fn an_error_in_a_binary_says_where() {
    let module = wat::parse_str("(module (func $f (result i32) i64.const 0))").unwrap();
    let scratch = Scratch::with("invalid.wasm", module);
    let parts = ["invalid.wasm", "offset 0x"];
    scratch.fails(FAILED, &["run", "invalid.wasm"], &parts);
}

#[test]
fn a_truncated_module_is_refused_at_every_length() {
    let module = sample();
    let engine = Engine::default();
    for length in 0..module.len() {
        // A prefix that ends between sections may be a module by itself, but not this one.
        let _ = Module::from_binary(&engine, &module[..length]);
    }
    let scratch = Scratch::with("short.wasm", &module[..module.len() - 3]);
    let parts = ["short.wasm", "offset 0x"];
    scratch.fails(FAILED, &["run", "short.wasm"], &parts);
}

#[test]
fn a_module_with_any_byte_flipped_compiles_or_is_refused() {
    let module = sample();
    let engine = Engine::default();
    for position in 0..module.len() {
        for mask in [0x01, 0x80, 0xff] {
            let mut damaged = module.clone();
            damaged[position] ^= mask;
            let _ = Module::from_binary(&engine, &damaged);
        }
    }
}

#[test]
fn a_module_may_be_text_whatever_its_name() {
    let scratch = Scratch::with("sample.wasm", SAMPLE);
    assert_eq!(scratch.prints(&["sample.wasm"]), "");
    scratch.write("sample.wat", sample());
    assert_eq!(scratch.prints(&["sample.wat"]), "");
}

/// Needs two proposals that are off: custom page sizes, and wide arithmetic.
const UNUSUAL: &str = r#"(module
  (memory 1 (pagesize 1))
  (func (export "wide") (param i64 i64 i64 i64) (result i64 i64)
    (i64.add128 (local.get 0) (local.get 1) (local.get 2) (local.get 3))))"#;

#[test]
fn proposals_that_are_off_are_named_and_do_not_hinder_looking() {
    let scratch = Scratch::with("unusual.wat", UNUSUAL);
    for command in ["run", "compile"] {
        let parts = ["--wasm wide-arithmetic,custom-page-sizes", "offset 0x"];
        scratch.fails(FAILED, &[command, "unusual.wat"], &parts);
        let one = [command, "--wasm", "wide-arithmetic", "unusual.wat"];
        scratch.fails(FAILED, &one, &["--wasm custom-page-sizes"]);
    }
    // What is wrong anyway is not made right by that.
    scratch.write(
        "wrong.wat",
        "(module (memory 1 (pagesize 1)) (func (drop)))",
    );
    let message = scratch.fails(FAILED, &["run", "wrong.wat"], &["offset 0x"]);
    assert!(!message.contains("--wasm"), "{message}");

    let text = scratch.prints(&["inspect", "unusual.wat"]);
    assert!(
        text.contains("wide-arithmetic, custom-page-sizes"),
        "{text}"
    );
    let text = scratch.prints(&["objdump", "unusual.wat"]);
    assert!(
        text.contains("<func[0]>") || text.contains("<wide>"),
        "{text}"
    );
    let off = ["inspect", "--wasm", "wide-arithmetic=n", "unusual.wat"];
    scratch.fails(FAILED, &off, &["unusual.wat"]);
}
