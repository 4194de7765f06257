//! Bounds of memories whose address space another memory had before.

use anyhow::Result;
use sarsen::{Config, Engine, Instance, Module, Store, Trap};

/// Runs a module with a large memory, then one whose memory has `pages` pages, of which it reads what
/// lies just past the end.
fn read_past_the_end(config: &Config, index: &str, pages: u32) -> Result<i32> {
    let engine = Engine::new(config)?;
    let large = format!(
        r#"(module (memory {index} 4 16) (func (export "f") (drop (memory.grow ({index}.const 4)))))"#
    );
    let small = format!(
        r#"(module (memory {index} {pages} 16)
             (func (export "f") (result i32)
               (i32.load offset=3 ({index}.mul (memory.size) ({index}.const 65536)))))"#
    );
    let large = Module::new(&engine, large)?;
    let small = Module::new(&engine, small)?;
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &large, &[])?;
    let grow = instance.get_typed_func::<(), ()>(&mut store, "f")?;
    grow.call(&mut store, ())?;
    drop(store);
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &small, &[])?;
    let read = instance.get_typed_func::<(), i32>(&mut store, "f")?;
    read.call(&mut store, ())
}

#[test]
fn a_small_memory_ends_where_it_says_although_a_large_one_was_there() {
    for reservation in [4 << 30, 1 << 20, 64 << 10] {
        for index in ["i32", "i64"] {
            for pages in [0, 1] {
                let mut config = Config::new();
                config.memory_reservation(reservation);
                let error = read_past_the_end(&config, index, pages)
                    .expect_err("the access is out of bounds");
                let what = format!("{index}, {pages} pages, {reservation:#x} reserved");
                let trap = error.downcast_ref::<Trap>();
                assert_eq!(trap, Some(&Trap::MemoryOutOfBounds), "{what}");
            }
        }
    }
}
