//! Compiling whole modules through the public door.

use rayon::ThreadPoolBuilder;
use sarsen_abi::image::ImageLayout;
use sarsen_abi::types::{FuncType, ValType};
use sarsen_abi::{DefinedFuncIndex, Features, FuncIndex, Settings, TrapCode, TypeId, TypeIndex};
use sarsen_compile::{CompileError, Compiler};

fn compiler(features: Features) -> Compiler {
    Compiler::new(Default::default(), features).expect("the tests run on a supported machine")
}

fn wasm(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|e| panic!("{e}"))
}

/// Compiles on a pool of its own with this many threads.
fn compile_on(threads: usize, wasm: &[u8], features: Features) -> Result<Vec<u8>, CompileError> {
    let pool = ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.expect("threads can be made");
    pool.install(|| compiler(features).compile(wasm))
}

/// Functions of many sizes that call each other, and builtins.
fn large_module() -> Vec<u8> {
    let mut text = String::from("(module (memory 1 10) (table 10 funcref)");
    for i in 0..300 {
        text.push_str("(func (param i32 i64) (result i32) (local i32)");
        for j in 0..i % 37 {
            let callee = (i * 7 + j) % 300;
            text.push_str(&format!(
                "(local.set 2 (i32.add (local.get 2)
                    (call {callee} (local.get 0) (i64.const {j}))))"
            ));
        }
        if i % 5 == 0 {
            text.push_str("(local.set 2 (memory.grow (local.get 2)))");
        }
        text.push_str("(i32.load offset=4 (local.get 2)))");
    }
    text.push(')');
    wasm(&text)
}

#[test]
fn the_image_does_not_depend_on_the_number_of_threads() {
    let wasm = large_module();
    let one = compile_on(1, &wasm, Features::default()).expect("it is valid");
    for threads in [2, 5] {
        let image = compile_on(threads, &wasm, Features::default()).expect("it is valid");
        assert!(one == image, "{threads} threads make another image");
    }
}

#[test]
fn the_error_does_not_depend_on_the_number_of_threads() {
    // What is wrong is last in its function, behind work that takes time.
    let slow = "(drop (i32.popcnt (i32.const 1)))".repeat(200);
    let bad = format!("(func {slow} (drop (i32.popcnt (i64.const 1))))");
    let good = format!("(func {slow})");
    let text = format!("(module {} {})", good.repeat(5), bad.repeat(40));
    let wasm = wasm(&text);
    for threads in [1, 2, 5] {
        let error = compile_on(threads, &wasm, Features::default()).expect_err("not valid");
        assert_eq!(error.function(), Some(FuncIndex::new(5)), "{error}");
        assert!(error.offset().is_some(), "{error}");
    }
}

#[test]
fn an_image_of_stubs_has_those_of_every_type_and_nothing_else() {
    let types: Vec<FuncType<TypeId>> = [&[][..], &[ValType::I32], &[ValType::EXTERNREF]]
        .map(|params| FuncType {
            params: params.into(),
            results: params.into(),
        })
        .into();
    let image = compiler(Features::default()).compile_stubs(&types);
    let image = image.expect("stubs compile");
    let layout = ImageLayout::parse(&image).unwrap_or_else(|e| panic!("{e}"));
    let view = layout.view(&image).unwrap_or_else(|e| panic!("{e}"));
    for index in 0..3 {
        let stubs = view.stubs(TypeIndex::new(index)).expect("there are stubs");
        assert_ne!(stubs.entry, stubs.exit);
    }
    assert!(view.stubs(TypeIndex::new(3)).is_none());
    assert_eq!(view.wasm_func(sarsen_abi::DefinedFuncIndex::new(0)), None);
}

#[test]
fn invalid_modules_are_told_from_valid_ones_without_compiling() {
    let compiler = compiler(Features::default());
    assert_eq!(compiler.validate(&large_module()), Ok(()));
    let error = compiler.validate(&wasm("(module (func $f i32.add))"));
    let error = error.expect_err("operands are missing");
    assert_eq!(error.function_name(), Some("f"));
}

#[test]
fn intermediate_code_is_shown_of_defined_functions_only() {
    let compiler = compiler(Features::default());
    let wasm = wasm(r#"(module (import "" "" (func)) (func (result i32) i32.const 42))"#);
    assert_eq!(compiler.clif(&wasm, FuncIndex::new(0)), Ok(None));
    assert_eq!(compiler.clif(&wasm, FuncIndex::new(2)), Ok(None));
    let text = compiler.clif(&wasm, FuncIndex::new(1));
    let text = text.expect("it is valid").expect("it is defined");
    assert!(text.contains("iconst.i32 42"), "{text}");
}

#[test]
fn a_number_that_begins_as_zero_is_not_taken_for_a_null_reference() {
    // Builds with debug assertions check what the collector will be told.
    let wasm = wasm(
        "(module (func $f (param externref) (local $count i32) (local $last externref)
            (call $f (local.get $last))
            (loop $again
                (call $f (local.get $last))
                (local.set $last (local.get 0))
                (local.set $count (i32.add (local.get $count) (i32.const 1)))
                (br_if $again (i32.lt_u (local.get $count) (i32.const 9))))))",
    );
    assert!(compiler(Features::default()).compile(&wasm).is_ok());
}

/// Compiles a module with one function of no parameters, whose body this is, on a thread with little
/// stack.
fn compile_body(locals: &[u8], code: &[u8]) {
    let mut body = locals.to_vec();
    body.extend_from_slice(code);
    body.push(0x0b);
    let mut section = vec![1];
    section.extend(leb128(body.len()));
    section.extend(body);
    let mut wasm = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x0a".to_vec();
    wasm.extend(leb128(section.len()));
    wasm.extend(section);
    let pool = ThreadPoolBuilder::new()
        .num_threads(1)
        .stack_size(512 << 10)
        .build();
    let pool = pool.expect("threads can be made");
    let image = pool.install(|| compiler(Features::default()).compile(&wasm));
    assert!(image.is_ok(), "{:?}", image.err());
}

fn leb128(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

#[test]
fn deep_nesting_needs_no_deep_stack() {
    const DEPTH: usize = 5_000;
    let ends = [0x0b].repeat(DEPTH);
    // block, loop, i32.const 1 if
    for opening in [&[0x02, 0x40][..], &[0x03, 0x40], &[0x41, 1, 0x04, 0x40]] {
        compile_body(&[0], &[&opening.repeat(DEPTH)[..], &ends].concat());
    }
    // i32.const 7 ... i32.add ... drop
    let sum = [0x6a].repeat(DEPTH - 1);
    compile_body(
        &[0],
        &[&[0x41, 7].repeat(DEPTH)[..], &sum, &[0x1a]].concat(),
    );
}

#[test]
fn fifty_thousand_locals_are_compiled() {
    const COUNT: usize = 50_000;
    let locals = [&[1][..], &leb128(COUNT), &[0x7e]].concat();
    let set = |i| [&[0x42, 1, 0x21][..], &leb128(i)].concat();
    let code: Vec<u8> = (0..COUNT).flat_map(set).collect();
    compile_body(&locals, &code);
}

/// A debug build checks the rules for references in every function that it compiles.
#[test]
fn references_are_kept_as_such_while_the_host_may_interrupt_table_instructions() {
    let settings = Settings {
        consume_fuel: true,
        epoch_interruption: true,
        ..Settings::default()
    };
    let wasm = wasm(
        "(module (table $t 10 externref)
           (func (param externref i32)
             (table.fill $t (local.get 1) (local.get 0) (local.get 1))
             (drop (table.grow $t (local.get 0) (local.get 1)))
             (table.set $t (local.get 1) (local.get 0))
             (table.copy $t $t (local.get 1) (local.get 1) (local.get 1))))",
    );
    let compiler = Compiler::new(settings, Features::default());
    let compiler = compiler.expect("the tests run on a supported machine");
    compiler.compile(&wasm).expect("it is valid");
}

#[test]
fn code_that_a_hint_calls_unlikely_lies_behind_the_rest_in_the_image() {
    // Each side of the `if` can trap in a way that tells which it is.
    let traps = |hint: &str| {
        let wasm = wasm(&format!(
            r#"(module (memory 1) (func (param i32) (result i32)
                 (local.get 0)
                 {hint} if (result i32)
                   (i32.div_u (i32.const 1) (local.get 0))
                 else
                   (i32.load (local.get 0))
                 end))"#
        ));
        let image = compile_on(1, &wasm, Features::default()).expect("it is valid");
        let layout = ImageLayout::parse(&image).expect("it is an image");
        let view = layout.view(&image).expect("its tables can be read");
        let func = view
            .wasm_func(DefinedFuncIndex::new(0))
            .expect("it is there");
        let traps = view.traps_in(func.start..func.end).map(|(_, code)| code);
        traps
            .filter(|code| *code != TrapCode::StackOverflow)
            .collect::<Vec<_>>()
    };
    let then = TrapCode::IntegerDivisionByZero;
    let otherwise = TrapCode::MemoryOutOfBounds;
    let hint = |likely| format!(r#"(@metadata.code.branch_hint "\{likely}")"#);
    assert_eq!(traps(&hint("00")), [otherwise, then]);
    assert_eq!(traps(&hint("01")), [then, otherwise]);
}
