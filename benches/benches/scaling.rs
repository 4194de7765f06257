//! What two threads of one engine cost each other, each with a store of its own: nothing, if they share
//! nothing that is written.
//!
//! What is shown is the processor time of a thread for one round, alone and beside another thread that
//! does the same, and how much more is done in that time by two: 2.00 when nothing is shared. Processor
//! time, because a machine that does other work, too, has no wall clock to go by. Divan measures no such
//! thing, so this bench measures for itself; of several attempts the one in the middle counts. Where
//! there is other work the threads may not run at the same time, and then it says little: give them the
//! processors (`chrt --fifo 1`).

use sarsen::{Engine, Instance, Module, Store, TypedFunc};
use std::sync::Barrier;
use std::thread;

const PROGRAM: &str = include_str!("../objects/casts.wat");
const ROUNDS: i32 = 50_000_000;
const ATTEMPTS: usize = 7;

/// What each thread does: the name for people, the exported function.
const WORK: &[(&str, &str)] = &[
    ("call_indirect", "call"),
    ("cast", "test"),
    ("cast to a final type", "test final"),
];

/// The processor time that this thread has had, in nanoseconds. It is counted up to a moment ago: the
/// system does so when it looks at the thread, which giving way makes it do.
fn processor_time() -> f64 {
    thread::yield_now();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat");
    let text = text.expect("the system counts what its threads use");
    let first = text.split_whitespace().next().unwrap();
    first.parse().expect("nanoseconds")
}

/// An instance with objects to cast, of which the casts miss, and its function.
fn prepare(module: &Module, function: &str) -> (Store<()>, TypedFunc<i32, i32>) {
    let mut store = Store::new(module.engine(), ());
    let instance = Instance::new(&mut store, module, &[]).unwrap();
    let fill = instance.get_typed_func::<i32, ()>(&mut store, "fill");
    fill.unwrap().call(&mut store, 3).unwrap();
    let run = instance.get_typed_func::<i32, i32>(&mut store, function);
    (store, run.unwrap())
}

/// Nanoseconds for each round, of the slowest thread, when so many threads work at once.
fn nanoseconds(module: &Module, function: &str, threads: usize) -> f64 {
    let ready = Barrier::new(threads);
    thread::scope(|scope| {
        let work = || {
            let (mut store, run) = prepare(module, function);
            run.call(&mut store, 1000).unwrap();
            ready.wait();
            let before = processor_time();
            run.call(&mut store, ROUNDS).unwrap();
            let taken = processor_time() - before;
            // Who is done first leaves nobody without company.
            run.call(&mut store, ROUNDS / 4).unwrap();
            taken / f64::from(ROUNDS)
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let times = workers.into_iter().map(|worker| worker.join().unwrap());
        times.fold(0.0, f64::max)
    })
}

fn median(module: &Module, function: &str, threads: usize) -> f64 {
    let times = (0..ATTEMPTS).map(|_| nanoseconds(module, function, threads));
    let mut times: Vec<f64> = times.collect();
    times.sort_by(f64::total_cmp);
    times[ATTEMPTS / 2]
}

fn main() {
    // As a test it runs nothing, and `cargo bench NAME` names what is elsewhere.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let engine = Engine::default();
    let module = Module::new(&engine, PROGRAM).unwrap();
    println!(
        "{:24} {:>10} {:>10} {:>8}",
        "a round, ns of processor", "1 thread", "2 threads", "scales"
    );
    for (name, function) in WORK {
        let (one, two) = (median(&module, function, 1), median(&module, function, 2));
        println!("{name:24} {one:10.3} {two:10.3} {:7.2}x", 2.0 * one / two);
    }
}
