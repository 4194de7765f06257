//! The embedding API, end to end: from modules in text to what the host gets back.
//!
//! One file a concept; what they share is here.

mod asynchronous;
mod backtraces;
mod bounds;
mod bulk;
mod bulk_arrays;
mod calls;
mod continuations;
mod exceptions;
mod forgotten;
mod gc;
mod gc_externs;
mod gc_functions;
mod gc_guests;
mod gc_handles;
mod gc_limits;
mod gc_types;
mod host_continuations;
mod host_functions;
mod host_suspensions;
mod images;
mod interruption;
mod lifetime;
mod likely_calls;
mod limits;
mod linking;
mod objects;
mod porting;
mod registers;
mod threads;
mod traps;
mod types;
mod vectors;
mod waiting;

use sarsen::{Engine, Instance, Module, Store};

/// An instance, in a store of its own, of a module that imports nothing.
fn instance(text: &str) -> (Store<()>, Instance) {
    instance_in(&Engine::default(), text)
}

fn instance_in(engine: &Engine, text: &str) -> (Store<()>, Instance) {
    let module = Module::new(engine, text).unwrap();
    let mut store = Store::new(engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    (store, instance)
}
