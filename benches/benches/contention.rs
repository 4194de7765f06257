//! Two threads, each with a store of its own, on one shared memory: a counter, a mutex made of
//! compare-and-exchange and waiting, and a queue. Each run is checked: nothing may be lost.
//!
//! The queue makes a million hand-overs, with room for many items (the threads run side by side), and
//! with room for one (each waits for the other every time).

use divan::Bencher;
use sarsen::{Engine, Instance, MemoryType, Module, SharedMemory, Store};
use std::thread;

const PROGRAM: &str = include_str!("../threads/contention.wat");
const COUNTS: u32 = 1_000_000;
const HAND_OVERS: u32 = 1_000_000;

struct Contention {
    module: Module,
    memory: SharedMemory,
}

impl Contention {
    fn new() -> Self {
        let engine = Engine::default();
        Contention {
            module: Module::new(&engine, PROGRAM).unwrap(),
            memory: SharedMemory::new(&engine, MemoryType::shared(1, 1)).unwrap(),
        }
    }

    /// Sets the memory to zero.
    fn begin(&self) {
        self.memory.write(0, &[0; 4096]).unwrap();
    }

    fn instance(&self) -> (Store<()>, Instance) {
        let mut store = Store::new(self.module.engine(), ());
        let imports = [self.memory.clone().into()];
        let instance = Instance::new(&mut store, &self.module, &imports).unwrap();
        (store, instance)
    }

    fn number_at(&self, address: u64) -> u32 {
        let mut bytes = [0; 4];
        self.memory.read(address, &mut bytes).unwrap();
        u32::from_le_bytes(bytes)
    }

    /// Runs `name` on two threads; the number at `address` must be as often as both together.
    fn both(&self, name: &str, address: u64) {
        self.begin();
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let (mut store, instance) = self.instance();
                    let run = instance
                        .get_typed_func::<u32, ()>(&mut store, name)
                        .unwrap();
                    run.call(&mut store, COUNTS).unwrap();
                });
            }
        });
        assert_eq!(self.number_at(address), 2 * COUNTS);
    }

    fn queue(&self, room: u32) {
        self.begin();
        thread::scope(|scope| {
            scope.spawn(|| {
                let (mut store, instance) = self.instance();
                let put = instance.get_typed_func::<(u32, u32), ()>(&mut store, "put");
                put.unwrap().call(&mut store, (HAND_OVERS, room)).unwrap();
            });
            let (mut store, instance) = self.instance();
            let take = instance.get_typed_func::<(u32, u32), u32>(&mut store, "take");
            let lost = take.unwrap().call(&mut store, (HAND_OVERS, room)).unwrap();
            assert_eq!(lost, 0);
        });
        assert_eq!(self.number_at(256), HAND_OVERS);
    }
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn counter(bencher: Bencher<'_, '_>) {
    let contention = Contention::new();
    bencher.bench_local(|| contention.both("count", 0));
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn mutex(bencher: Bencher<'_, '_>) {
    let contention = Contention::new();
    bencher.bench_local(|| contention.both("mutex", 128));
}

#[divan::bench(sample_count = 5, sample_size = 1, args = [256, 1])]
fn queue_of_a_million(bencher: Bencher<'_, '_>, room: u32) {
    let contention = Contention::new();
    bencher.bench_local(|| contention.queue(room));
}

fn main() {
    divan::main();
}
