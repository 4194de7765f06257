//! Bad input of every kind gets a clear error and a proper exit code: never a panic, hang or crash.
//!
//! Each test runs the real command in a process of its own, so that a crash is seen as one.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// The exit code of a trap.
const TRAP: i32 = 134;
/// The exit code of anything else that is wrong with what the command was given to run.
const FAILED: i32 = 1;
/// The exit code of a command line that makes no sense.
const USAGE: i32 = 2;

struct Scratch(TempDir);

impl Scratch {
    fn new() -> Scratch {
        Scratch(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sarsen"));
    command.stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    command().args(arguments).output().unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Asserts the exit code, and that the message contains every part.
#[track_caller]
fn fails(output: &Output, code: i32, parts: &[&str]) {
    let message = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{message}");
    assert!(!message.contains("panicked"), "{message}");
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in:\n{message}");
    }
}

/// A small module with a bit of everything that this version supports.
fn sample() -> Vec<u8> {
    wat::parse_str(
        r#"(module $sample
          (type $unary (func (param i32) (result i32)))
          (memory (export "memory") 1 2)
          (table 2 funcref)
          (global $g (mut i32) (i32.const 3))
          (data (i32.const 8) "data")
          (data "passive")
          (elem (i32.const 0) $twice)
          (func $twice (export "twice") (type $unary) (i32.mul (local.get 0) (i32.const 2)))
          (func (export "_start")
            (global.set $g (call_indirect (type $unary) (i32.const 4) (i32.const 0)))
            (memory.init 1 (i32.const 0) (i32.const 0) (i32.const 3))
            (block (loop (br_if 1 (i32.load8_u (i32.const 8))) (br 0)))))"#,
    )
    .unwrap()
}

#[test]
fn a_file_that_is_not_wasm_is_refused() {
    let scratch = Scratch::new();
    let file = scratch.write("not.wasm", [0x7f, b'E', b'L', b'F', 0, 1, 2, 3, 4]);
    let output = run(&["run", text(&file)]);
    fails(&output, FAILED, &["not.wasm"]);
    let missing = scratch.path("missing.wasm");
    fails(&run(&["run", text(&missing)]), FAILED, &["missing.wasm"]);
    let empty = scratch.write("empty.wasm", []);
    fails(&run(&["run", text(&empty)]), FAILED, &["empty.wasm"]);
}

#[test]
fn an_error_in_a_binary_says_where() {
    let scratch = Scratch::new();
    // (func (result i32)) with an empty body.
    let module = wat::parse_str("(module (func $f (result i32) i64.const 0))").unwrap();
    let file = scratch.write("invalid.wasm", module);
    fails(
        &run(&["run", text(&file)]),
        FAILED,
        &["invalid.wasm", "offset 0x"],
    );
}

#[test]
fn a_truncated_module_is_refused_at_every_length() {
    let module = sample();
    let engine = sarsen::Engine::default();
    for length in 0..module.len() {
        // A prefix that ends between sections may be a module by itself, but not this one.
        let _ = sarsen::Module::from_binary(&engine, &module[..length]);
    }
    let scratch = Scratch::new();
    let file = scratch.write("short.wasm", &module[..module.len() - 3]);
    fails(
        &run(&["run", text(&file)]),
        FAILED,
        &["short.wasm", "offset 0x"],
    );
}

#[test]
fn a_module_with_any_byte_flipped_compiles_or_is_refused() {
    let module = sample();
    let engine = sarsen::Engine::default();
    for position in 0..module.len() {
        for mask in [0x01, 0x80, 0xff] {
            let mut damaged = module.clone();
            damaged[position] ^= mask;
            let _ = sarsen::Module::from_binary(&engine, &damaged);
        }
    }
}

#[test]
fn a_missing_import_is_named_with_its_type() {
    let scratch = Scratch::new();
    let file = scratch.write(
        "import.wat",
        r#"(module (import "env" "log" (func (param i32 i64))) (func (export "_start")))"#,
    );
    fails(
        &run(&["run", text(&file)]),
        FAILED,
        &["env", "log", "i32", "i64"],
    );
    let output = run(&["run", "--unknown-imports=trap", text(&file)]);
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn an_import_of_another_type_says_what_was_wanted_and_found() {
    let scratch = Scratch::new();
    let file = scratch.write(
        "import.wat",
        r#"(module
             (import "wasi_snapshot_preview1" "fd_write" (func (param i64) (result f32)))
             (memory (export "memory") 1)
             (func (export "_start")))"#,
    );
    fails(
        &run(&["run", text(&file)]),
        FAILED,
        &["fd_write", "i64", "f32", "i32"],
    );
}

#[test]
fn an_unknown_import_that_traps_does_so_only_when_called() {
    let scratch = Scratch::new();
    let file = scratch.write(
        "import.wat",
        r#"(module (import "env" "log" (func $log)) (func (export "_start") (call $log)))"#,
    );
    let output = run(&["run", "--unknown-imports=trap", text(&file)]);
    fails(&output, TRAP, &["env", "log"]);
    let output = run(&["run", "--unknown-imports=default", text(&file)]);
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn an_unknown_export_says_what_there_is() {
    let scratch = Scratch::new();
    let file = scratch.write("sample.wasm", sample());
    let output = run(&["run", "--invoke", "thrice", text(&file)]);
    fails(&output, FAILED, &["thrice", "twice"]);
}

#[test]
fn arguments_of_an_invoked_function_are_checked() {
    let scratch = Scratch::new();
    let file = scratch.write("sample.wasm", sample());
    let output = run(&["run", "--invoke", "twice", text(&file)]);
    fails(&output, FAILED, &["twice", "1"]);
    let output = run(&["run", "--invoke", "twice", text(&file), "1", "2"]);
    fails(&output, FAILED, &["twice", "1", "2"]);
    let output = run(&["run", "--invoke", "twice", text(&file), "many"]);
    fails(&output, FAILED, &["many", "i32"]);
    let output = run(&["run", "--invoke", "twice", text(&file), "21"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "42\n");
}

#[test]
fn a_directory_that_does_not_exist_is_named() {
    let scratch = Scratch::new();
    let file = scratch.write("sample.wasm", sample());
    let nowhere = scratch.path("nowhere");
    let output = run(&["run", "--dir", text(&nowhere), text(&file)]);
    fails(&output, FAILED, &["nowhere"]);
}

#[test]
fn an_unknown_option_or_feature_is_a_usage_error() {
    let scratch = Scratch::new();
    let file = scratch.write("sample.wasm", sample());
    fails(
        &run(&["run", "--no-such-option", text(&file)]),
        USAGE,
        &["no-such-option"],
    );
    fails(
        &run(&["run", "--wasm", "sind", text(&file)]),
        USAGE,
        &["sind", "simd"],
    );
}

#[test]
fn a_memory_or_table_over_its_limit_is_refused() {
    let scratch = Scratch::new();
    let large = scratch.write(
        "large.wat",
        r#"(module (memory 100) (func (export "_start")))"#,
    );
    let output = run(&["run", "--max-memory", "1000000", text(&large)]);
    fails(&output, FAILED, &["memory"]);
    let grows = scratch.write(
        "grows.wat",
        r#"(module (memory 1) (func (export "grow") (result i32) (memory.grow (i32.const 100))))"#,
    );
    let output = run(&[
        "run",
        "--max-memory",
        "1000000",
        "--invoke",
        "grow",
        text(&grows),
    ]);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "-1\n",
        "{}",
        stderr(&output)
    );
    let table = scratch.write(
        "table.wat",
        r#"(module (table 4294967295 funcref) (func (export "_start")))"#,
    );
    fails(&run(&["run", text(&table)]), FAILED, &["table"]);
    // What no memory takes may not be taken by many, nor by tables.
    let many = scratch.write(
        "many.wat",
        r#"(module (memory 10) (memory 10) (func (export "_start")))"#,
    );
    let output = run(&["run", "--max-memory", "1000000", text(&many)]);
    fails(&output, FAILED, &["memory"]);
    let table = scratch.write(
        "wide.wat",
        r#"(module (table 200000 funcref) (func (export "_start")))"#,
    );
    let output = run(&["run", "--max-memory", "1000000", text(&table)]);
    fails(&output, FAILED, &["table"]);
}

#[test]
fn a_module_with_100000_functions_runs() {
    let mut module = String::from("(module");
    for _ in 0..100_000 {
        module.push_str("(func)");
    }
    module.push_str(r#"(func (export "last") (result i32) (i32.const 7)))"#);
    let scratch = Scratch::new();
    let file = scratch.write("many.wat", module);
    let output = run(&["run", "--invoke", "last", text(&file)]);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "7\n",
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_function_with_50000_locals_runs() {
    let locals = "i64 ".repeat(49_999);
    let scratch = Scratch::new();
    let file = scratch.write(
        "locals.wat",
        format!(
            r#"(module (func (export "f") (param i64) (result i64) (local {locals})
                 (local.set 49999 (i64.add (local.get 0) (local.get 40000)))
                 (local.get 49999)))"#
        ),
    );
    let output = run(&["run", "--invoke", "f", text(&file), "5"]);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "5\n",
        "{}",
        stderr(&output)
    );
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
    let scratch = Scratch::new();
    let file = scratch.write("deep.wasm", module);
    let output = run(&["run", "--invoke", "f", text(&file)]);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "9\n",
        "{}",
        stderr(&output)
    );
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

#[test]
fn infinite_recursion_is_a_trap() {
    let scratch = Scratch::new();
    let file = scratch.write(
        "deep.wat",
        r#"(module (func $deep (param i64) (result i64)
             (i64.add (call $deep (i64.add (local.get 0) (i64.const 1))) (local.get 0)))
           (func (export "_start") (drop (call $deep (i64.const 0)))))"#,
    );
    fails(
        &run(&["run", text(&file)]),
        TRAP,
        &["call stack exhausted", "deep"],
    );
}

#[test]
fn an_infinite_loop_ends_with_its_time_or_its_fuel() {
    let scratch = Scratch::new();
    let file = scratch.write(
        "spin.wat",
        r#"(module (func (export "_start") (loop (br 0))))"#,
    );
    fails(
        &run(&["run", "--timeout", "200ms", text(&file)]),
        TRAP,
        &["interrupt"],
    );
    fails(
        &run(&["run", "--fuel", "100000", text(&file)]),
        TRAP,
        &["fuel"],
    );
}

#[test]
fn a_guest_that_waits_for_nobody_ends_with_its_time() {
    let scratch = Scratch::new();
    let file = scratch.write(
        "wait.wat",
        r#"(module
             (memory 1 1 shared)
             (func (export "_start")
               (drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1)))))"#,
    );
    fails(
        &run(&["run", "--timeout", "200ms", text(&file)]),
        TRAP,
        &["interrupt"],
    );
}

#[test]
fn a_sleeping_guest_ends_with_its_time() {
    let scratch = Scratch::new();
    let file = scratch.write(
        "sleep.wat",
        r#"(module
             (import "wasi_snapshot_preview1" "poll_oneoff"
               (func $poll (param i32 i32 i32 i32) (result i32)))
             (memory (export "memory") 1)
             (func (export "_start")
               (i32.store (i32.const 16) (i32.const 1))
               (i64.store (i32.const 24) (i64.const 3600000000000))
               (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))))"#,
    );
    fails(
        &run(&["run", "--timeout", "200ms", text(&file)]),
        TRAP,
        &["interrupt"],
    );
}

#[test]
fn gigabytes_into_a_closed_pipe_end() {
    let scratch = Scratch::new();
    let file = scratch.write(
        "flood.wat",
        r#"(module
             (import "wasi_snapshot_preview1" "fd_write"
               (func $write (param i32 i32 i32 i32) (result i32)))
             (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
             (memory (export "memory") 16)
             (func (export "_start") (local $left i32)
               (i32.store (i32.const 0) (i32.const 65536))
               (i32.store (i32.const 4) (i32.const 524288))
               (local.set $left (i32.const 8192))
               (loop $again
                 (if (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))
                   (then (call $exit (i32.const 3))))
                 (br_if $again
                   (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))))"#,
    );
    let mut child = command()
        .args(["run", text(&file)])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut first = [0; 4096];
    stdout.read_exact(&mut first).unwrap();
    drop(stdout);
    // The guest is told, and leaves with a code of its own.
    let output = child.wait_with_output().unwrap();
    fails(&output, 3, &[]);
}

#[test]
fn results_into_a_closed_pipe_are_no_panic() {
    let scratch = Scratch::new();
    let file = scratch.write("sample.wasm", sample());
    let mut child = command()
        .args(["run", "--invoke", "twice", text(&file), "21"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(!stderr(&output).contains("panicked"), "{}", stderr(&output));
    assert_ne!(output.status.code(), Some(101));
}

#[test]
fn a_module_from_standard_input_runs() {
    let mut child = command()
        .args(["run", "--invoke", "twice", "-", "4"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&sample()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "8\n");
}

fn image(scratch: &Scratch) -> PathBuf {
    let wasm = scratch.write("sample.wasm", sample());
    let image = scratch.path("sample.image");
    let output = run(&["compile", text(&wasm), "-o", text(&image)]);
    assert!(output.status.success(), "{}", stderr(&output));
    image
}

#[test]
fn an_image_runs_only_when_allowed() {
    let scratch = Scratch::new();
    let image = image(&scratch);
    fails(
        &run(&["run", text(&image)]),
        FAILED,
        &["--allow-precompiled"],
    );
    let output = run(&[
        "run",
        "--allow-precompiled",
        "--invoke",
        "twice",
        text(&image),
        "21",
    ]);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "42\n",
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_truncated_image_is_refused() {
    let scratch = Scratch::new();
    let image = fs::read(image(&scratch)).unwrap();
    for length in [0, 3, 16, 63, 64, 200, image.len() / 2, image.len() - 1] {
        let file = scratch.write("short.image", &image[..length]);
        let output = run(&["run", "--allow-precompiled", text(&file)]);
        fails(&output, FAILED, &["short.image"]);
    }
}

#[test]
fn an_image_with_a_flipped_byte_runs_or_is_refused_but_never_crashes() {
    let scratch = Scratch::new();
    let image = fs::read(image(&scratch)).unwrap();
    let engine = sarsen::Engine::default();
    let step = (image.len() / 3000).max(1);
    for position in (0..image.len()).step_by(step) {
        let mut damaged = image.clone();
        damaged[position] ^= 0xff;
        // SAFETY: the bytes differ from those of a genuine image in one byte, which either does not
        // matter or fails a checksum; nothing of it is executed here.
        let _ = unsafe { sarsen::Module::deserialize(&engine, &damaged) };
    }
    let mut damaged = image.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0xff;
    damaged[middle + 1] ^= 0xff;
    let file = scratch.write("flipped.image", &damaged);
    let output = run(&["run", "--allow-precompiled", text(&file)]);
    assert!(
        matches!(output.status.code(), Some(0 | 1)),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_trap_prints_its_backtrace() {
    let scratch = Scratch::new();
    let file = scratch.write(
        "trap.wat",
        r#"(module $m
             (func $inner (param i32) (drop (i32.div_s (i32.const 1) (local.get 0))))
             (func $outer (call $inner (i32.const 0)))
             (func (export "_start") (call $outer)))"#,
    );
    let output = run(&["run", text(&file)]);
    fails(
        &output,
        TRAP,
        &["integer divide by zero", "inner", "outer", "_start"],
    );
}

#[test]
fn the_guest_s_exit_code_passes_through() {
    let scratch = Scratch::new();
    let file = scratch.write(
        "exit.wat",
        r#"(module
             (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
             (memory (export "memory") 1)
             (func (export "_start") (call $exit (i32.const 42))))"#,
    );
    assert_eq!(run(&["run", text(&file)]).status.code(), Some(42));
    assert_eq!(run(&[text(&file)]).status.code(), Some(42));
}
