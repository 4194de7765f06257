//! The last line of defence: compiled code that touches what it never may ends the process, instead of
//! giving the guest a trap and another try.
//!
//! It does so in a process of its own: this binary again.

use sarsen_abi::vmctx::ValRaw;
use sarsen_abi::{Features, MemoryIndex, Settings};
use sarsen_compile::Compiler;
use sarsen_vm::code::{EngineCode, Expected};
use sarsen_vm::exec;
use sarsen_vm::instance::{CompiledModule, Engine, Extern, InstanceMemory, Store, StoreConfig};
use sarsen_vm::stack::StackConfig;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

const CASE: &str = "SARSEN_ABORT_CASE";

#[test]
fn in_a_process_of_its_own() {
    if std::env::var(CASE).is_ok() {
        access_foreign_memory();
    }
}

#[test]
fn a_fault_outside_of_the_stores_memory_ends_the_process() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["in_a_process_of_its_own", "--exact", "--nocapture"])
        .env(CASE, "1")
        .output()
        .unwrap();
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{output:?}");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(
        message.contains("outside of its store's memory"),
        "{message}"
    );
}

fn access_foreign_memory() {
    let wat =
        r#"(module (memory 1) (func (export "load") (param i32) (drop (i32.load (local.get 0)))))"#;
    let (settings, features) = (Settings::default(), Features::default());
    let compiler = Compiler::new(settings.clone(), features).unwrap();
    let image = compiler.compile(&wat::parse_str(wat).unwrap()).unwrap();
    let expected = Expected {
        settings: &settings,
        features,
    };
    // SAFETY: just compiled.
    let code = unsafe { EngineCode::from_bytes(&image, &expected).unwrap() };
    let engine = Engine::new(
        settings.clone(),
        exec::builtin_table(),
        exec::frame_roots,
        &StackConfig::default(),
    )
    .unwrap();
    let module = CompiledModule::new(&engine, code).unwrap();
    let mut store = Store::new(&engine, StoreConfig::default());
    // SAFETY: no imports. The memory's base is then replaced by the address of pages that nobody can
    // access, as broken compiled code might compute it.
    unsafe {
        let instance = store.instantiate(&module, &[]).unwrap().instance.as_ref();
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let foreign = libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_NONE, flags, -1, 0);
        let InstanceMemory::Own(memory) = instance.memory(MemoryIndex::new(0)) else {
            panic!("it is not shared");
        };
        (*memory.as_ref().vm().as_ptr()).base = foreign.cast();
        let Some(Extern::Func(load)) = instance.export("load") else {
            panic!("exported above");
        };
        let mut values = [ValRaw::i32(0)];
        let result = exec::enter(store.as_non_null(), load.as_ptr(), values.as_mut_ptr());
        println!("went on with {result:?}");
        std::process::exit(1);
    }
}
