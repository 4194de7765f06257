//! The files that the command reads and writes: what they are told apart by, and how they are
//! replaced.

use crate::{FAILED, Scratch};
use std::fs;
use std::process::Output;

fn shown(output: &Output) -> String {
    String::from_utf8([&*output.stdout, &output.stderr].concat()).unwrap()
}

const SEVEN: &str = r#"(module (func (export "f") (result i32) (i32.const 7)))"#;

#[test]
fn a_program_of_this_machine_is_not_taken_for_an_image() {
    let scratch = Scratch::new();
    let program = env!("CARGO_BIN_EXE_sarsen");
    for arguments in [&["run", program][..], &["inspect", program]] {
        let output = scratch.run(arguments);
        assert_eq!(output.status.code(), Some(FAILED));
        let shown = shown(&output);
        assert!(shown.contains("neither WebAssembly"), "{shown}");
        assert!(!shown.contains("--allow-precompiled"), "{shown}");
    }
}

#[test]
fn compiling_replaces_an_image_that_may_be_in_use() {
    use std::os::unix::fs::MetadataExt;
    let scratch = Scratch::new();
    scratch.write("m.wat", SEVEN);
    assert!(scratch.run(&["compile", "m.wat"]).status.success());
    let image = scratch.path("m.image");
    // As a program does that has mapped the image.
    let in_use = fs::File::open(&image).unwrap();
    let before = in_use.metadata().unwrap();
    std::os::unix::fs::symlink("m.image", scratch.path("link")).unwrap();
    let arguments = ["compile", "m.wat", "-o", "link"];
    assert!(scratch.run(&arguments).status.success());
    let after = in_use.metadata().unwrap();
    assert_eq!((after.ino(), after.len()), (before.ino(), before.len()));
    assert_eq!(after.nlink(), 0, "it was overwritten");
    assert!(scratch.path("link").is_symlink());
    let arguments = ["run", "--allow-precompiled", "--invoke", "f", "m.image"];
    let output = scratch.run(&arguments);
    assert_eq!(shown(&output), "7\n");
    let count = fs::read_dir(scratch.folder()).unwrap().count();
    assert_eq!(count, 3, "something was left behind");
}

#[test]
fn an_image_can_be_written_to_a_device_and_read_from_a_pipe() {
    let scratch = Scratch::new();
    scratch.write("m.wat", SEVEN);
    let arguments = ["compile", "m.wat", "-o", "/dev/stdout"];
    let output = scratch.run(&arguments);
    assert!(output.stdout.starts_with(b"\x7fELF"));
    let arguments = ["compile", "m.wat", "-o", "/dev/full"];
    let output = scratch.run(&arguments);
    assert_eq!(output.status.code(), Some(FAILED));
    assert!(shown(&output).contains("/dev/full"), "{}", shown(&output));
}

#[test]
fn a_script_that_cannot_be_read_does_not_stop_the_others() {
    let scratch = Scratch::new();
    scratch.write("good.wast", SEVEN);
    scratch.write("bad.wast", "(module (func");
    let arguments = ["wast", "missing.wast", "bad.wast", "good.wast"];
    let output = scratch.run(&arguments);
    assert_eq!(output.status.code(), Some(FAILED));
    let shown = shown(&output);
    for part in [
        "missing.wast",
        "bad.wast:1:",
        "good.wast: 1 directive passed",
    ] {
        assert!(shown.contains(part), "`{part}` is not in:\n{shown}");
    }
}

#[test]
fn objdump_finds_functions_by_every_name_and_says_what_there_is() {
    let scratch = Scratch::new();
    let text = r#"(module (func) (func $inner (export "outer") (result i32) (i32.const 7)))"#;
    scratch.write("m.wat", text);
    for name in ["inner", "outer", "1"] {
        let output = scratch.run(&["objdump", "--function", name, "m.wat"]);
        assert!(shown(&output).contains("<inner> (;1;)"), "{name}");
    }
    let output = scratch.run(&["objdump", "--function", "x", "m.wat"]);
    assert_eq!(output.status.code(), Some(FAILED));
    let shown = shown(&output);
    assert!(shown.contains("`x`") && shown.contains("0 to 1"), "{shown}");
}
