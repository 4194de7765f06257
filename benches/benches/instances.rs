//! The price of a store: make it, instantiate a small module in it, call one function, drop it.

use divan::{Bencher, black_box};
use sarsen::{Engine, InstancePre, Linker, Module, Store};

const SMALL: &str = r#"(module
  (memory (export "memory") 1)
  (data (i32.const 1024) "Hello, world")
  (func (export "run") (result i32)
    (i32.store8 (i32.const 1030) (i32.const 33))
    (i32.load (i32.const 1024))))"#;

fn image_of_1_mib() -> String {
    let text = "0123456789abcdef".repeat(1 << 16);
    format!(
        r#"(module
             (memory (export "memory") 17)
             (data (i32.const 0) "{text}")
             (func (export "run") (result i32)
               (i32.store8 (i32.const 1030) (i32.const 33))
               (i32.load (i32.const 1024))))"#
    )
}

fn prepare(text: &str) -> (Engine, InstancePre<()>) {
    let engine = Engine::default();
    let module = Module::new(&engine, text).unwrap();
    let pre = Linker::new(&engine).instantiate_pre(&module).unwrap();
    (engine, pre)
}

fn once(engine: &Engine, pre: &InstancePre<()>) -> i32 {
    let mut store = Store::new(engine, ());
    let instance = pre.instantiate(&mut store).unwrap();
    let run = instance
        .get_typed_func::<(), i32>(&mut store, "run")
        .unwrap();
    run.call(&mut store, ()).unwrap()
}

#[divan::bench(sample_size = 100)]
fn small_warm(bencher: Bencher<'_, '_>) {
    let (engine, pre) = prepare(SMALL);
    bencher.bench_local(|| once(black_box(&engine), &pre));
}

#[divan::bench(sample_size = 100)]
fn one_mib_of_data_warm(bencher: Bencher<'_, '_>) {
    let (engine, pre) = prepare(&image_of_1_mib());
    bencher.bench_local(|| once(black_box(&engine), &pre));
}

#[divan::bench(sample_count = 200, sample_size = 1)]
fn small_cold(bencher: Bencher<'_, '_>) {
    bencher
        .with_inputs(|| prepare(SMALL))
        .bench_local_values(|(engine, pre)| (once(&engine, &pre), engine, pre));
}

fn main() {
    divan::main();
}
