//! Compiles a module and calls a function of it.

use sarsen::{Engine, Instance, Module, Store};

pub(crate) fn main() -> sarsen::Result<()> {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module (func (export "add") (param i32 i32) (result i32)
             (i32.add (local.get 0) (local.get 1))))"#,
    )?;
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[])?;
    let add = instance.get_typed_func::<(i32, i32), i32>(&mut store, "add")?;
    println!("2 + 3 = {}", add.call(&mut store, (2, 3))?);
    Ok(())
}
