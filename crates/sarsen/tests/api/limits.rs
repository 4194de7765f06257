//! Limits on what a store may take.

use sarsen::{
    Config, Engine, ExternRef, GcHeapOutOfMemory, Instance, LimitError, Memory, MemoryType, Module,
    Ref, RefType, ResourceLimiter, Result, Store, StoreLimits, StoreLimitsBuilder, Table,
    TableType, Trap,
};

const GROWS: &str = r#"(module
  (memory (export "memory") 1 100)
  (table (export "table") 1 100 funcref)
  (func (export "memory-grow") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "table-grow") (param i32) (result i32)
    (table.grow (ref.null func) (local.get 0))))"#;

fn limited(limits: StoreLimits) -> Store<StoreLimits> {
    let mut store = Store::new(&Engine::default(), limits);
    store.limiter(|limits| limits);
    store
}

#[test]
fn growth_stops_at_the_limit() {
    let mut store = limited(
        StoreLimitsBuilder::new()
            .memory_size(3 * 65536)
            .table_elements(4)
            .build(),
    );
    let module = Module::new(store.engine(), GROWS).unwrap();
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    for (name, small) in [("memory-grow", 2), ("table-grow", 3)] {
        let grow = instance
            .get_typed_func::<i32, i32>(&mut store, name)
            .unwrap();
        assert_eq!(grow.call(&mut store, small + 1).unwrap(), -1, "{name}");
        assert_eq!(grow.call(&mut store, small).unwrap(), 1, "{name}");
        assert_eq!(grow.call(&mut store, 1).unwrap(), -1, "{name}");
        assert_eq!(grow.call(&mut store, 0).unwrap(), small + 1, "{name}");
    }
    let memory = instance.get_memory(&mut store, "memory").unwrap();
    assert!(memory.grow(&mut store, 1).is_err());
    let table = instance.get_table(&mut store, "table").unwrap();
    assert!(table.grow(&mut store, 1, Ref::Func(None)).is_err());
}

#[test]
fn what_is_created_counts_too() {
    let limits = StoreLimitsBuilder::new()
        .memory_size(65536)
        .table_elements(9);
    let mut store = limited(limits.build());
    let engine = store.engine().clone();
    for text in ["(module (memory 2))", "(module (table 10 funcref))"] {
        let module = Module::new(&engine, text).unwrap();
        let error = Instance::new(&mut store, &module, &[]).unwrap_err();
        assert!(error.downcast_ref::<LimitError>().is_some(), "{error:?}");
    }
    assert!(Memory::new(&mut store, MemoryType::new(2, None)).is_err());
    Memory::new(&mut store, MemoryType::new(1, None)).unwrap();
    let table = |n| TableType::new(RefType::EXTERNREF, n, None);
    assert!(Table::new(&mut store, table(10), Ref::Extern(None)).is_err());
    Table::new(&mut store, table(9), Ref::Extern(None)).unwrap();
}

#[test]
fn numbers_of_things_are_limited() {
    let engine = Engine::default();
    let memory = Module::new(&engine, "(module (memory 1))").unwrap();
    let empty = Module::new(&engine, "(module)").unwrap();
    let limits = StoreLimitsBuilder::new().instances(3).memories(2).tables(0);
    let mut store = Store::new(&engine, limits.build());
    store.limiter(|limits| limits);
    Instance::new(&mut store, &memory, &[]).unwrap();
    Instance::new(&mut store, &memory, &[]).unwrap();
    let error = Instance::new(&mut store, &memory, &[]).unwrap_err();
    assert!(error.to_string().contains("memories"), "{error}");
    Instance::new(&mut store, &empty, &[]).unwrap();
    let error = Instance::new(&mut store, &empty, &[]).unwrap_err();
    assert!(error.to_string().contains("instances"), "{error}");
    let table = TableType::new(RefType::FUNCREF, 0, None);
    assert!(Table::new(&mut store, table, Ref::Func(None)).is_err());
}

#[test]
fn a_limiters_error_stops_wasm_with_that_error() {
    struct Refuses(Vec<String>);
    impl ResourceLimiter for Refuses {
        fn memory_growing(
            &mut self,
            now: usize,
            wanted: usize,
            max: Option<usize>,
        ) -> Result<bool> {
            self.0.push(format!("memory {now} {wanted} {max:?}"));
            if now > 0 {
                sarsen::bail!("no more");
            }
            Ok(true)
        }
        fn table_growing(&mut self, now: usize, wanted: usize, max: Option<usize>) -> Result<bool> {
            self.0.push(format!("table {now} {wanted} {max:?}"));
            Ok(true)
        }
        fn table_grow_failed(&mut self, error: sarsen::Error) -> Result<()> {
            self.0.push("table failed".to_owned());
            Err(error)
        }
    }
    let engine = Engine::default();
    let module = Module::new(&engine, GROWS).unwrap();
    let mut store = Store::new(&engine, Refuses(Vec::new()));
    store.limiter(|state| state);
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let grow = instance
        .get_typed_func::<i32, i32>(&mut store, "memory-grow")
        .unwrap();
    let error = grow.call(&mut store, 2).unwrap_err();
    assert_eq!(error.root_cause().to_string(), "no more");
    let grow = instance
        .get_typed_func::<i32, i32>(&mut store, "table-grow")
        .unwrap();
    assert!(grow.call(&mut store, 1000).is_err(), "past its own maximum");
    assert_eq!(
        store.data().0,
        [
            "memory 0 65536 Some(6553600)",
            "table 0 1 Some(100)",
            "memory 65536 196608 Some(6553600)",
            "table 1 1001 Some(100)",
            "table failed",
        ]
    );
}

#[test]
fn growth_failures_can_be_made_errors() {
    let limits = StoreLimitsBuilder::new()
        .memory_size(65536)
        .trap_on_grow_failure(true);
    let mut store = limited(limits.build());
    let module = Module::new(store.engine(), GROWS).unwrap();
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let grow = instance
        .get_typed_func::<i32, i32>(&mut store, "memory-grow")
        .unwrap();
    let error = grow.call(&mut store, 1).unwrap_err();
    assert!(
        error.root_cause().to_string().contains("forcing a trap"),
        "{error:?}"
    );
}

#[test]
fn host_objects_are_limited() {
    let mut store = limited(StoreLimitsBuilder::new().heap_size(1 << 20).build());
    let mut made = 0u64;
    let error = loop {
        match ExternRef::new(&mut store, made) {
            Ok(_) => made += 1,
            Err(error) => break error,
        }
    };
    assert!(
        error.downcast_ref::<GcHeapOutOfMemory<()>>().is_some(),
        "{error:?}"
    );
    assert!((1000..=1 << 17).contains(&made), "{made}");
}

#[test]
fn stack_overflow_is_a_trap_within_the_configured_size() {
    let text = r#"(module
      (global $depth (export "depth") (mut i32) (i32.const 0))
      (func $down (export "down")
        (global.set $depth (i32.add (global.get $depth) (i32.const 1)))
        (call $down)
        (global.set $depth (i32.sub (global.get $depth) (i32.const 1)))))"#;
    let mut depths = Vec::new();
    for size in [64 << 10, 512 << 10] {
        let mut config = Config::new();
        config.max_wasm_stack(size);
        let (mut store, instance) = crate::instance_in(&Engine::new(&config).unwrap(), text);
        let down = instance
            .get_typed_func::<(), ()>(&mut store, "down")
            .unwrap();
        let error = down.call(&mut store, ()).unwrap_err();
        assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::StackOverflow));
        let depth = instance.get_global(&mut store, "depth").unwrap();
        let depth = depth.get(&mut store).unwrap_i32() as usize;
        assert!(depth * 16 <= size, "{depth} frames in {size} bytes");
        depths.push(depth);
    }
    assert!(depths[1] > 6 * depths[0], "{depths:?}");
}

#[test]
fn configurations_that_cannot_be_are_refused() {
    let refused = |change: &dyn Fn(&mut Config)| {
        let mut config = Config::new();
        change(&mut config);
        assert!(Engine::new(&config).is_err());
    };
    refused(&|c| _ = c.max_wasm_stack(0));
    refused(&|c| _ = c.host_stack_reserve(0));
    refused(&|c| _ = c.memory_reservation(u64::MAX));
    refused(&|c| _ = c.memory_guard_size(u64::MAX));
}

#[test]
fn a_memory_that_no_address_space_holds_is_one_error() {
    let mut store = Store::new(&Engine::default(), ());
    // 2 PiB.
    let error = Memory::new(&mut store, MemoryType::new64(1 << 35, None)).unwrap_err();
    assert!(error.to_string().contains("no room for a linear memory"));
    assert_eq!(
        error.chain().count(),
        1,
        "the cause is told twice: {error:?}"
    );
}

#[test]
fn a_reserve_that_no_stack_has_traps_at_once() {
    for reserve in [1 << 40, usize::MAX] {
        let mut config = Config::new();
        config.host_stack_reserve(reserve);
        let engine = Engine::new(&config).unwrap();
        let (mut store, instance) = crate::instance_in(&engine, r#"(module (func (export "f")))"#);
        let f = instance.get_typed_func::<(), ()>(&mut store, "f").unwrap();
        let error = f.call(&mut store, ()).unwrap_err();
        assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::StackOverflow));
    }
}

#[test]
fn more_stack_than_addresses_is_all_that_the_thread_has() {
    let text = r#"(module (func $down (export "down") (call $down)) (func (export "f")))"#;
    for size in [1 << 47, usize::MAX / 2, usize::MAX] {
        let mut config = Config::new();
        config.max_wasm_stack(size);
        let (mut store, instance) = crate::instance_in(&Engine::new(&config).unwrap(), text);
        for (name, trap) in [
            ("f", None),
            ("down", Some(&Trap::StackOverflow)),
            ("f", None),
        ] {
            let func = instance.get_typed_func::<(), ()>(&mut store, name).unwrap();
            let error = func.call(&mut store, ()).err();
            assert_eq!(error.as_ref().and_then(|error| error.downcast_ref()), trap);
            assert_eq!(error.is_some(), trap.is_some());
        }
    }
}

#[test]
fn a_limiters_panic_comes_out_and_the_store_stays_usable() {
    struct Panics(bool);
    impl ResourceLimiter for Panics {
        fn memory_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool> {
            assert!(!self.0, "no memory today");
            Ok(true)
        }
        fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool> {
            Ok(true)
        }
    }
    let engine = Engine::default();
    let module = Module::new(&engine, GROWS).unwrap();
    let mut store = Store::new(&engine, Panics(false));
    store.limiter(|state| state);
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let grow = instance
        .get_typed_func::<i32, i32>(&mut store, "memory-grow")
        .unwrap();
    for expected in [1, 2] {
        store.data_mut().0 = true;
        let call = std::panic::AssertUnwindSafe(|| grow.call(&mut store, 1));
        let panic = std::panic::catch_unwind(call).unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"no memory today"));
        store.data_mut().0 = false;
        assert_eq!(grow.call(&mut store, 1).unwrap(), expected);
    }
}

#[test]
fn an_instance_that_a_limiters_panic_prevents_is_not_counted() {
    struct Panics(bool);
    impl ResourceLimiter for Panics {
        fn memory_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool> {
            Ok(true)
        }
        fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool> {
            assert!(!self.0, "no table today");
            Ok(true)
        }
        fn instances(&self) -> usize {
            1
        }
        fn memories(&self) -> usize {
            1
        }
        fn tables(&self) -> usize {
            1
        }
    }
    let engine = Engine::default();
    let text = "(module (memory 1) (table 1 funcref) (tag) (func (throw 0)))";
    let module = Module::new(&engine, text).unwrap();
    let mut store = Store::new(&engine, Panics(true));
    store.limiter(|state| state);
    for _ in 0..3 {
        let instantiate = std::panic::AssertUnwindSafe(|| Instance::new(&mut store, &module, &[]));
        std::panic::catch_unwind(instantiate).unwrap_err();
    }
    store.data_mut().0 = false;
    Instance::new(&mut store, &module, &[]).unwrap();
    Instance::new(&mut store, &module, &[]).unwrap_err();
}
