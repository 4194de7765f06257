//! Every subcommand does what its help says, in a process of its own.

use crate::{FAILED, Scratch, TRAP, assert_contains};
use std::fs;
use std::path::Path;

const SAMPLE: &str = r#"(module $sample
  (import "wasi_snapshot_preview1" "fd_write"
    (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\10\00\00\00\03\00\00\00")
  (data (i32.const 16) "hi\n")
  (func $add (param i32 i32) (result i32)
    (i32.store (i32.const 32) (local.get 0))
    (i32.add (local.get 0) (local.get 1)))
  (func (export "_start")
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func $div (export "divide") (param i32 i32) (result i32 i32)
    (i32.div_u (local.get 0) (local.get 1))
    (call $add (i32.rem_u (local.get 0) (local.get 1)) (i32.const 1)))
  (func (export "half") (param f64) (result f64)
    (f64.div (local.get 0) (f64.const 2))))"#;

fn sample() -> Scratch {
    Scratch::with("sample.wat", SAMPLE)
}

#[test]
fn a_program_runs_with_and_without_the_word_run() {
    let scratch = sample();
    assert_eq!(scratch.prints(&["sample.wat"]), "hi\n");
    assert_eq!(scratch.prints(&["run", "sample.wat", "--flag"]), "hi\n");
    assert_eq!(scratch.prints(&["--wasm", "all", "sample.wat"]), "hi\n");
}

#[test]
fn results_are_printed_one_a_line() {
    let scratch = sample();
    let divide = ["run", "--invoke", "divide", "sample.wat"];
    assert_eq!(
        scratch.prints(&[&divide[..], &["17", "5"]].concat()),
        "3\n3\n"
    );
    assert_eq!(
        scratch.prints(&[&divide[..], &["-1", "1"]].concat()),
        "-1\n1\n"
    );
    let half = scratch.prints(&["run", "--invoke", "half", "sample.wat", "-5"]);
    assert_eq!(half, "-2.5\n");
    scratch.fails(
        TRAP,
        &[&divide[..], &["1", "0"]].concat(),
        &["integer divide by zero", "div"],
    );
}

#[test]
fn a_compiled_program_runs_as_before() {
    let scratch = sample();
    assert_eq!(scratch.prints(&["compile", "sample.wat"]), "");
    let image = ["run", "--allow-precompiled", "sample.image"];
    assert_eq!(scratch.prints(&image), "hi\n");
    scratch.prints(&["compile", "--fuel", "sample.wat", "-o", "fuel.image"]);
    let with_fuel = [
        "run",
        "--allow-precompiled",
        "--fuel",
        "10000",
        "fuel.image",
    ];
    assert_eq!(scratch.prints(&with_fuel), "hi\n");
    // An image fits the settings that it was made with, and no others.
    scratch.fails(
        FAILED,
        &["run", "--allow-precompiled", "fuel.image"],
        &["fuel.image", "fuel"],
    );
}

#[test]
fn text_becomes_binary() {
    let scratch = sample();
    scratch.prints(&["wat2wasm", "sample.wat"]);
    let binary = scratch.read("sample.wasm");
    assert_eq!(binary, wat::parse_str(SAMPLE).unwrap());
    let output = scratch.run(&["wat2wasm", "sample.wat", "-o", "-"]);
    assert_eq!(output.stdout, binary);
    scratch.fails(
        FAILED,
        &["wat2wasm", "sample.wasm"],
        &["sample.wasm", "not in text form"],
    );
    scratch.write("bad.wat", "(module\n  (func (param i33)))");
    scratch.fails(
        FAILED,
        &["wat2wasm", "bad.wat"],
        &["bad.wat:2:16", "(func (param i33)))", "^"],
    );
}

#[test]
fn a_listing_names_functions_offsets_and_traps() {
    let scratch = sample();
    let all = scratch.prints(&["objdump", "sample.wat"]);
    assert_contains(
        &all,
        &["<add> (;1;):", "<div> (;3;):", "<func[4]>", "ret", ";; 0x"],
    );
    let one = scratch.prints(&["objdump", "--function", "div", "sample.wat"]);
    assert_contains(&one, &["<div>", "div ", "; trap: integer divide by zero"]);
    assert!(!one.contains("func[4]"), "{one}");
    // `$add` is small enough to be inlined.
    assert_contains(&one, &["in add, called at 0x"]);
    assert_eq!(
        scratch.prints(&["objdump", "--function", "3", "sample.wat"]),
        one
    );
    scratch.fails(
        FAILED,
        &["objdump", "--function", "none", "sample.wat"],
        &["`none`"],
    );
    scratch.prints(&["compile", "sample.wat"]);
    assert_eq!(
        scratch.prints(&["objdump", "--function", "div", "sample.image"]),
        one
    );
    let stubs = scratch.prints(&["objdump", "--stubs", "sample.wat"]);
    assert_contains(&stubs, &["entry stub of type"]);
}

#[test]
fn inspecting_tells_imports_exports_and_features() {
    let scratch = sample();
    let text = scratch.prints(&["inspect", "sample.wat"]);
    assert_contains(
        &text,
        &[
            "module sample",
            "functions                 5   (1 imported)",
        ],
    );
    assert_contains(
        &text,
        &[
            "\"wasi_snapshot_preview1\" \"fd_write\"",
            "(param i32 i32 i32 i32)",
        ],
    );
    assert_contains(&text, &["exports 4", "\"divide\"", "multi-value"]);
    scratch.prints(&["compile", "sample.wat"]);
    assert_eq!(scratch.prints(&["inspect", "sample.image"]), text);
}

#[test]
fn a_program_sees_the_environment_and_directories_that_it_is_given() {
    let scratch = sample();
    // Lists the environment's size, and opens /in/file.
    let guest = r#"(module
      (import "wasi_snapshot_preview1" "environ_sizes_get"
        (func $environ (param i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "path_open"
        (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
      (memory (export "memory") 1)
      (data (i32.const 64) "file")
      (func (export "_start")
        (drop (call $environ (i32.const 0) (i32.const 4)))
        (if (i32.ne (i32.load (i32.const 0)) (i32.const 2)) (then (call $exit (i32.const 7))))
        (call $exit (call $open (i32.const 3) (i32.const 0) (i32.const 64) (i32.const 4)
          (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 8)))))"#;
    scratch.write("guest.wat", guest);
    fs::create_dir(scratch.path("data")).unwrap();
    scratch.write("data/file", "contents");
    let env = ["run", "--env", "A=1", "--env", "B=2"];
    let run = |more: &[&str]| {
        let arguments = [&env[..], more, &["guest.wat"]].concat();
        scratch.run(&arguments).status.code()
    };
    assert_eq!(run(&["--dir", "data::/in"]), Some(0));
    // Without the directory there is no descriptor 3; the guest exits with that error.
    assert_eq!(run(&[]), Some(8));
    assert_eq!(scratch.run(&["guest.wat"]).status.code(), Some(7));
}

#[test]
fn a_script_that_fails_says_where() {
    let scratch = sample();
    let good = r#"(module (func (export "f") (result i32) (i32.const 1)))
(assert_return (invoke "f") (i32.const 1))"#;
    scratch.write("good.wast", good);
    fs::write(
        scratch.path("bad.wast"),
        format!("{good}\n{}", BAD_DIRECTIVES),
    )
    .unwrap();
    let passed = scratch.prints(&["wast", "good.wast"]);
    assert_eq!(passed, "good.wast: 2 directives passed\n");
    let output = scratch.run(&["wast", "good.wast", "bad.wast"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_contains(&text, &["bad.wast: 6 of 8 directives failed"]);
    for line in 3..=8 {
        assert_contains(&text, &[&format!("bad.wast:{line}:2: ")]);
    }
}

/// What must not pass unnoticed, a line each.
const BAD_DIRECTIVES: &str = r#"(assert_return (invoke "f") (i32.const 2))
(assert_trap (invoke "f") "unreachable")
(assert_invalid (module (func)) "type mismatch")
(assert_exhaustion (invoke "f") "call stack exhausted")
(assert_unlinkable (module) "unknown import")
(assert_return (invoke "no such function"))"#;

#[test]
fn help_has_examples() {
    let scratch = sample();
    assert_contains(
        &scratch.prints(&["--help"]),
        &["Examples:", "sarsen hello.wasm", "134"],
    );
    for command in ["run", "compile", "wast", "objdump", "inspect", "wat2wasm"] {
        let help = scratch.prints(&["help", command]);
        assert_contains(&help, &["Examples:", &format!("sarsen {command}")]);
    }
}

#[test]
fn the_examples_of_the_readme_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let words = readme.split_whitespace();
    let named: Vec<&str> = words.filter(|word| word.starts_with("examples/")).collect();
    assert!(!named.is_empty());
    for path in named {
        assert!(root.join(path).exists(), "{path}");
    }
}
