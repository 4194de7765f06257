//! Whole programs on the engine: what a guest gets through the linker, and how it ends.

use sarsen::{Engine, Linker, Module, Store};
use sarsen_wasi::{
    CapturedOutput, DirPerms, FilePerms, I32Exit, Input, Output, SeededRandom, WasiCtx,
    WasiCtxBuilder, add_to_linker,
};
use std::time::Duration;

/// Instantiates a module and calls its `_start`.
fn run(wat: impl AsRef<[u8]>, builder: &mut WasiCtxBuilder) -> sarsen::Result<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, wat)?;
    let mut linker = Linker::new(&engine);
    add_to_linker(&mut linker, |ctx: &mut WasiCtx| ctx)?;
    let mut store = Store::new(&engine, builder.build());
    let instance = linker.instantiate(&mut store, &module)?;
    instance
        .get_typed_func::<(), ()>(&mut store, "_start")?
        .call(&mut store, ())
}

/// Runs a program; returns its standard output and exit status.
fn output(wat: impl AsRef<[u8]>, builder: &mut WasiCtxBuilder) -> (String, i32) {
    let capture = CapturedOutput::new(1 << 20);
    let status = match run(wat, builder.stdout(Output::captured(&capture))) {
        Ok(()) => 0,
        Err(error) => {
            error
                .downcast_ref::<I32Exit>()
                .unwrap_or_else(|| panic!("{error:?}"))
                .0
        }
    };
    (String::from_utf8(capture.take()).unwrap(), status)
}

fn example(name: &str) -> Vec<u8> {
    let path = format!("{}/../../examples/wasi/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).unwrap()
}

#[test]
fn every_function_of_both_snapshots_has_its_type() {
    let preview1 = include_str!("all_imports.wat");
    let unstable: String = preview1
        .replace("wasi_snapshot_preview1\" \"sock_accept", "kept")
        .replace("\"wasi_snapshot_preview1\"", "\"wasi_unstable\"")
        .replace("kept", "wasi_snapshot_preview1\" \"sock_accept");
    for wat in [preview1, &unstable] {
        let engine = Engine::default();
        let module = Module::new(&engine, wat).unwrap();
        let mut linker = Linker::new(&engine);
        add_to_linker(&mut linker, |ctx: &mut WasiCtx| ctx).unwrap();
        linker.instantiate_pre(&module).unwrap();
    }
}

#[test]
fn the_functions_are_as_many_as_the_specification_has() {
    let engine = Engine::default();
    let mut linker = Linker::new(&engine);
    add_to_linker(&mut linker, |ctx: &mut WasiCtx| ctx).unwrap();
    let mut store = Store::new(&engine, WasiCtx::builder().build());
    let count = |module: &str, store: &mut Store<WasiCtx>| {
        linker
            .iter(store)
            .filter(|(name, ..)| *name == module)
            .count()
    };
    assert_eq!(count("wasi_snapshot_preview1", &mut store), 46);
    assert_eq!(count("wasi_unstable", &mut store), 45);
}

#[test]
fn exiting_ends_the_guest_with_its_code() {
    for code in [0, 3, 200, -1] {
        let wat = format!(
            r#"(module
                 (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
                 (func (export "_start") (call $exit (i32.const {code})) unreachable))"#
        );
        let error = run(wat, &mut WasiCtx::builder()).unwrap_err();
        assert_eq!(error.downcast_ref::<I32Exit>(), Some(&I32Exit(code)));
    }
}

#[test]
fn a_module_without_the_memory_is_told_so() {
    for memory in ["", "(memory 1)", r#"(func (export "memory"))"#] {
        let wat = format!(
            r#"(module
                 (import "wasi_snapshot_preview1" "random_get"
                   (func $random (param i32 i32) (result i32)))
                 {memory}
                 (func (export "_start") (drop (call $random (i32.const 0) (i32.const 8)))))"#
        );
        let error = run(wat, &mut WasiCtx::builder()).unwrap_err();
        assert!(format!("{error:#}").contains("'memory'"), "{error:#}");
    }
}

#[test]
fn pointers_outside_the_memory_are_an_errno() {
    const EFAULT: i32 = 21;
    let wat = r#"(module
        (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1)
        (func (export "_start") (call $exit (call $random (i32.const 65529) (i32.const 8)))))"#;
    assert_eq!(output(wat, &mut WasiCtx::builder()).1, EFAULT);
}

#[test]
fn the_memory_is_seen_as_grown() {
    let wat = r#"(module
        (import "wasi_unstable" "random_get" (func $random (param i32 i32) (result i32)))
        (import "wasi_unstable" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1)
        (func (export "_start")
          (drop (memory.grow (i32.const 3)))
          (drop (call $random (i32.const 200000) (i32.const 4)))
          (call $exit (i32.eqz (i32.load (i32.const 200000))))))"#;
    let mut builder = WasiCtx::builder();
    assert_eq!(output(wat, builder.random(SeededRandom::new(1))).1, 0);
}

#[test]
fn a_sleeping_guest_ends_with_its_hosts_error() {
    let wat = r#"(module
        (import "wasi_snapshot_preview1" "poll_oneoff"
          (func $poll (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "_start")
          (i32.store (i32.const 16) (i32.const 1))
          (i64.store (i32.const 24) (i64.const -1))
          (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 96)))))"#;
    let start = std::time::Instant::now();
    let mut builder = WasiCtx::builder();
    builder.interrupt_check(move || {
        sarsen::ensure!(
            start.elapsed() < Duration::from_millis(100),
            sarsen::Trap::Interrupt
        );
        Ok(())
    });
    let error = run(wat, &mut builder).unwrap_err();
    assert_eq!(
        error.downcast_ref::<sarsen::Trap>(),
        Some(&sarsen::Trap::Interrupt)
    );
}

#[test]
fn words_are_counted_in_files_of_the_directory_and_nowhere_else() {
    let scratch = tempfile::tempdir().unwrap();
    std::fs::create_dir(scratch.path().join("in")).unwrap();
    std::fs::write(scratch.path().join("in/poem"), "one two\n three\n").unwrap();
    std::fs::write(scratch.path().join("in/empty"), "").unwrap();
    std::fs::write(scratch.path().join("secret"), "secret").unwrap();
    let count = |args: &[&str]| {
        let mut builder = WasiCtx::builder();
        builder
            .args(&[&["wc"], args].concat())
            .stdin(Input::bytes("a b\n"))
            .preopened_dir(
                scratch.path().join("in"),
                "/in",
                DirPerms::READ,
                FilePerms::READ,
            )
            .unwrap();
        output(example("wc.wat"), &mut builder)
    };
    assert_eq!(count(&[]), ("       1       2       4\n".into(), 0));
    assert_eq!(
        count(&["/in/poem"]),
        ("       2       3      15 /in/poem\n".into(), 0)
    );
    let both = "       2       3      15 /in/poem\n       0       0       0 /in/empty\n";
    let total = "       2       3      15 total\n";
    assert_eq!(
        count(&["/in/poem", "/in/empty"]),
        (format!("{both}{total}"), 0)
    );
    for path in ["/in/../secret", "/secret", "secret", "/in/none"] {
        assert_eq!(count(&[path]), (String::new(), 1), "{path}");
    }
}

#[test]
fn the_interpreter_reads_and_writes() {
    let interpret = |args: &[&str], input: &str| {
        let mut builder = WasiCtx::builder();
        builder.arg("brainf").args(args).stdin(Input::bytes(input));
        output(example("brainf.wat"), &mut builder)
    };
    assert_eq!(interpret(&[",[.,]"], "hello"), ("hello".into(), 0));
    assert_eq!(interpret(&["[[]"], ""), (String::new(), 1));
    let (pyramid, status) = interpret(&[], "");
    assert_eq!((pyramid.lines().count(), status), (15, 0));
    assert_eq!(
        pyramid.lines().last(),
        Some(format!(" {}", "*".repeat(29)).as_str())
    );
}

/// A program with its memory made a shared one.
fn with_shared_memory(name: &str) -> String {
    let text = String::from_utf8(example(name)).unwrap();
    let line = text
        .lines()
        .find(|line| line.contains("(export \"memory\")"));
    let line = line.unwrap();
    let shared = line
        .replace(')', " 100 shared)")
        .replacen(" 100 shared)", ")", 1);
    text.replace(line, &shared)
}

#[test]
fn programs_with_a_shared_memory_do_the_same() {
    let inputs: [(&str, &[&str], &str); 4] = [
        ("wc.wat", &[], "one two\nthree\n"),
        ("brainf.wat", &[",[.,]"], "hello"),
        ("mandelbrot.wat", &[], ""),
        ("life.wat", &[], ""),
    ];
    for (name, args, input) in inputs {
        let builder = || {
            let mut builder = WasiCtx::builder();
            builder.arg(name).args(args).stdin(Input::bytes(input));
            builder
        };
        let expected = output(example(name), &mut builder());
        let found = output(with_shared_memory(name), &mut builder());
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn the_pictures_have_their_size() {
    let (mandelbrot, status) = output(example("mandelbrot.wat"), &mut WasiCtx::builder());
    assert_eq!(status, 0);
    assert!(mandelbrot.lines().all(|line| line.chars().count() == 78));
    assert_eq!(mandelbrot.lines().count(), 24);
    let (life, status) = output(example("life.wat"), &mut WasiCtx::builder());
    assert_eq!(status, 0);
    assert_eq!(life.lines().count(), 22);
    assert!(life.contains('▀'));
}

#[test]
fn a_guest_that_writes_into_a_closed_pipe_ends() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let writer = std::fs::File::from(std::os::fd::OwnedFd::from(writer));
    let mut builder = WasiCtx::builder();
    builder.stdout(Output::file(writer));
    let error = run(example("mandelbrot.wat"), &mut builder).unwrap_err();
    assert_eq!(error.downcast_ref::<I32Exit>(), Some(&I32Exit(1)));
}
