//! Gives a module functions of the host: one changes the store's data, one reads the module's memory.

use anyhow::Context;
use sarsen::{Caller, Engine, Extern, Linker, Module, Result, Store};

const GUEST: &str = r#"
(module
  (import "shop" "sell" (func $sell (param i32)))
  (import "shop" "print" (func $print (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "Three apples, please.")
  (func (export "visit")
    (call $print (i32.const 16) (i32.const 21))
    (call $sell (i32.const 3))))"#;

/// What each store holds: any type of the host's.
struct Shop {
    apples: i32,
}

pub(crate) fn main() -> Result<()> {
    let engine = Engine::default();
    let mut linker: Linker<Shop> = Linker::new(&engine);
    linker.func_wrap(
        "shop",
        "sell",
        |mut caller: Caller<'_, Shop>, count: i32| {
            caller.data_mut().apples -= count;
        },
    )?;
    linker.func_wrap("shop", "print", print)?;

    let module = Module::new(&engine, GUEST)?;
    let mut store = Store::new(&engine, Shop { apples: 10 });
    let instance = linker.instantiate(&mut store, &module)?;
    let visit = instance.get_typed_func::<(), ()>(&mut store, "visit")?;
    visit.call(&mut store, ())?;
    println!("{} apples are left", store.data().apples);
    assert_eq!(store.data().apples, 7);
    Ok(())
}

/// Prints `len` bytes of the guest's memory. An error goes through the guest to whoever called it.
fn print(mut caller: Caller<'_, Shop>, at: u32, len: u32) -> Result<()> {
    let memory = caller.get_export("memory").and_then(Extern::into_memory);
    let memory = memory.context("the guest exports no memory")?;
    let start = at as usize;
    let text = memory
        .data(&caller)
        .get(start..)
        .and_then(|rest| rest.get(..len as usize));
    let text = text.context("the guest's text lies outside of its memory")?;
    println!("the guest says: {}", String::from_utf8_lossy(text));
    Ok(())
}
