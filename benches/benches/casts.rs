//! What a cast costs that succeeds, and one that misses, beside a loop without: one round each.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use sarsen::{Engine, Instance, Module, Store};

const PROGRAM: &str = include_str!("../objects/casts.wat");
const ROUNDS: i32 = 100_000;

/// What the objects are.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Left,
    Right,
    Leaf,
    End,
}

/// Runs `name`, which must count `hits` of its rounds, on objects of one kind.
fn rounds(bencher: Bencher<'_, '_>, name: &str, kind: Kind, hits: i32) {
    let engine = Engine::default();
    let module = Module::new(&engine, PROGRAM).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let fill = instance.get_typed_func::<i32, ()>(&mut store, "fill");
    fill.unwrap().call(&mut store, kind as i32).unwrap();
    store.gc(None).unwrap();
    let run = instance.get_typed_func::<i32, i32>(&mut store, name);
    let run = run.unwrap();
    bencher
        .counter(ItemsCount::new(ROUNDS as usize))
        .bench_local(move || {
            assert_eq!(run.call(&mut store, black_box(ROUNDS)).unwrap(), hits);
        });
}

/// No cast: how often one of the 1,024 objects comes up.
#[divan::bench]
fn a_nothing(bencher: Bencher<'_, '_>) {
    let hits = ROUNDS / 1024 + i32::from(ROUNDS % 1024 >= 5);
    rounds(bencher, "look", Kind::Right, hits);
}

#[divan::bench]
fn hit_of_the_type_itself(bencher: Bencher<'_, '_>) {
    rounds(bencher, "test", Kind::Left, ROUNDS);
}

#[divan::bench]
fn hit_of_a_type_below(bencher: Bencher<'_, '_>) {
    rounds(bencher, "test", Kind::Leaf, ROUNDS);
}

#[divan::bench]
fn miss(bencher: Bencher<'_, '_>) {
    rounds(bencher, "test", Kind::Right, 0);
}

#[divan::bench]
fn miss_of_a_deeper_type(bencher: Bencher<'_, '_>) {
    rounds(bencher, "test", Kind::End, 0);
}

#[divan::bench]
fn miss_of_a_final_type(bencher: Bencher<'_, '_>) {
    rounds(bencher, "test final", Kind::End, 0);
}

#[divan::bench]
fn miss_that_branches(bencher: Bencher<'_, '_>) {
    rounds(bencher, "branch", Kind::Right, 0);
}

fn main() {
    divan::main();
}
