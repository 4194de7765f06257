//! Programs for vectors, and what the same plain loops take as native code: see
//! [`sarsen_benches::kernels`]. A figure is that of [`ROUNDS`] rounds.

use divan::Bencher;
use sarsen::{Engine, Instance, Module, Store, TypedFunc};
use sarsen_benches::kernels::{KERNELS, Kernel};

const ROUNDS: i32 = 20;

#[divan::bench(args = KERNELS, sample_count = 20)]
fn vectors(bencher: Bencher<'_, '_>, kernel: Kernel) {
    let engine = Engine::default();
    let module = Module::new(&engine, kernel.source).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let run: TypedFunc<i32, i32> = instance.get_typed_func(&mut store, "run").unwrap();
    bencher.bench_local(move || run.call(&mut store, ROUNDS).unwrap());
}

#[divan::bench(args = KERNELS, sample_count = 20)]
fn plain_loops_in_native_code(bencher: Bencher<'_, '_>, kernel: Kernel) {
    bencher.bench_local(move || (kernel.expected)(ROUNDS.cast_unsigned()));
}

fn main() {
    divan::main();
}
