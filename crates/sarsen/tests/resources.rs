//! What a process has of mappings and files does not grow with what has come and gone.
//!
//! A test program of its own with one test: what is counted belongs to the whole process.

use sarsen::{Engine, Instance, Linker, MemoryType, Module, SharedMemory, Store, WasmBacktrace};

const TEXT: &str = r#"(module
  (import "host" "twice" (func $twice (param i32) (result i32)))
  (memory (export "memory") 2) (data (i32.const 0) "initial")
  (table 10 funcref) (elem (i32.const 0) $f)
  (func $f (export "f") (result i32) (call $twice (i32.const 21)))
  (func (export "trap") (drop (call $f)) unreachable))"#;

/// Mappings and open files of this process.
fn counts() -> (usize, usize) {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let files = std::fs::read_dir("/proc/self/fd").unwrap();
    (maps.lines().count(), files.count())
}

/// Uses a module in every way that keeps something of it for a while.
fn live(engine: &Engine, module: &Module) {
    let mut linker = Linker::new(engine);
    linker.func_wrap("host", "twice", |x: i32| x * 2).unwrap();
    let mut store = Store::new(engine, ());
    let instance = linker.instantiate(&mut store, module).unwrap();
    let f = instance.get_typed_func::<(), i32>(&mut store, "f").unwrap();
    assert_eq!(f.call(&mut store, ()).unwrap(), 42);
    let memory = instance.get_memory(&mut store, "memory").unwrap();
    memory.grow(&mut store, 3).unwrap();
    let trap = instance
        .get_typed_func::<(), ()>(&mut store, "trap")
        .unwrap();
    let error = trap.call(&mut store, ()).unwrap_err();
    drop((store, linker));
    let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
    assert_eq!(backtrace.frames().len(), 1);
    live_shared(engine);
    // An instantiation that fails half-way.
    let mut store = Store::new(engine, ());
    Instance::new(&mut store, module, &[]).unwrap_err();
}

/// Makes shared memories, of modules and of the host, on several threads.
fn live_shared(engine: &Engine) {
    let text = r#"(module (memory (export "m") 1 9 shared))"#;
    let defines = Module::new(engine, text).unwrap();
    let mut store = Store::new(engine, ());
    let instance = Instance::new(&mut store, &defines, &[]).unwrap();
    let memory = instance.get_shared_memory(&mut store, "m").unwrap();
    drop(store);
    let text = r#"(module (import "" "m" (memory 1 9 shared)) (memory i64 1 70000 shared))"#;
    let imports = Module::new(engine, text).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut store = Store::new(engine, ());
                Instance::new(&mut store, &imports, &[memory.clone().into()]).unwrap();
                memory.grow(1).unwrap();
                memory.atomic_wait32(0, 1, None).unwrap();
            });
        }
    });
    assert_eq!(memory.size(), 3);
    SharedMemory::new(engine, MemoryType::shared(1, 100)).unwrap();
}

#[test]
fn modules_images_stores_and_engines_leave_nothing_behind() {
    let shared = Engine::default();
    let binary = wat::parse_str(TEXT).unwrap();
    let image = shared.precompile_module(&binary).unwrap();
    let round = || {
        live(&shared, &Module::new(&shared, &binary).unwrap());
        // SAFETY: this library has just made the image.
        live(&shared, &unsafe {
            Module::deserialize(&shared, &image).unwrap()
        });
        let own = Engine::default();
        live(&own, &Module::new(&own, &binary).unwrap());
    };
    // What is made once and kept: pools, this thread's signal stack, the compiler's threads.
    (0..10).for_each(|_| round());
    let (maps, files) = counts();
    (0..100).for_each(|_| round());
    let (maps_after, files_after) = counts();
    assert_eq!(files_after, files, "files are left open");
    // The system's allocator may have mapped a little.
    assert!(
        maps_after <= maps + 10,
        "{maps_after} mappings, {maps} before"
    );
}
