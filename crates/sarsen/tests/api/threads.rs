//! Shared memories: many stores on many threads, with one memory in common.

use sarsen::{
    Config, Engine, Extern, IncompatibleImportError, Instance, LimitError, Linker, Memory,
    MemoryType, Module, OwnershipError, SharedMemory, Store, StoreLimitsBuilder, Trap,
    UpdateDeadline, WaitResult, WasmParams, WasmResults,
};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

/// Engines whose shared memories have their bounds checked by faults, in code with a guard, and in code
/// alone.
fn engines() -> Vec<Engine> {
    [(4 << 30, 32 << 20), (1 << 20, 64 << 10), (0, 0)]
        .map(|(reservation, guard)| {
            let mut config = Config::new();
            config
                .memory_reservation(reservation)
                .memory_guard_size(guard)
                .wasm_custom_page_sizes(true);
            Engine::new(&config).unwrap()
        })
        .into()
}

fn with_epochs() -> Engine {
    let mut config = Config::new();
    config.epoch_interruption(true);
    Engine::new(&config).unwrap()
}

fn shared(engine: &Engine, min: u32, max: u32) -> SharedMemory {
    SharedMemory::new(engine, MemoryType::shared(min, max)).unwrap()
}

/// An instance that imports `memory`, in a store of its own.
fn instance(module: &Module, memory: &SharedMemory) -> (Store<()>, Instance) {
    let mut store = Store::new(module.engine(), ());
    let instance = Instance::new(&mut store, module, &[memory.clone().into()]).unwrap();
    (store, instance)
}

fn call<P: WasmParams, R: WasmResults>(
    (store, instance): &mut (Store<()>, Instance),
    name: &str,
    params: P,
) -> sarsen::Result<R> {
    let func = instance.get_typed_func::<P, R>(&mut *store, name).unwrap();
    func.call(store, params)
}

fn trap_of<T: std::fmt::Debug>(result: sarsen::Result<T>) -> Trap {
    *result.unwrap_err().downcast_ref::<Trap>().unwrap()
}

#[test]
fn no_increment_is_lost_between_stores_and_the_host() {
    const EACH: u32 = 20_000;
    for engine in engines() {
        let module = Module::new(
            &engine,
            r#"(module
              (import "" "memory" (memory 1 4 shared))
              (func (export "count") (param $n i32)
                (loop $again
                  (drop (i32.atomic.rmw.add (i32.const 64) (i32.const 1)))
                  (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))))"#,
        )
        .unwrap();
        let memory = shared(&engine, 1, 4);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    call::<_, ()>(&mut instance(&module, &memory), "count", EACH as i32).unwrap();
                });
            }
            let cell = memory.data()[64].get().cast();
            for _ in 0..EACH {
                // SAFETY: aligned, alive, and accessed by atomics only.
                unsafe { AtomicU32::from_ptr(cell) }.fetch_add(1, Ordering::SeqCst);
            }
        });
        let mut sum = [0; 4];
        memory.read(64, &mut sum).unwrap();
        assert_eq!(u32::from_le_bytes(sum), 4 * EACH);
    }
}

/// A memory's type, the type of its indices, and the size of its page.
const KINDS: [(&str, &str, u64); 3] = [
    ("1 8 shared", "i32", 65536),
    ("i64 1 8 shared", "i64", 65536),
    ("5 40000 shared (pagesize 1)", "i32", 1),
];

fn of_kind(engine: &Engine, (text, index, _): (&str, &str, u64)) -> (Module, SharedMemory) {
    let text = format!(
        r#"(module
          (import "" "memory" (memory {text}))
          (func (export "load") (param {index}) (result i32) (i32.load8_u (local.get 0)))
          (func (export "add") (param {index}) (result i32)
            (i32.atomic.rmw8.add_u offset=3 (local.get 0) (i32.const 1)))
          (func (export "size") (result {index}) (memory.size))
          (func (export "grow") (param {index}) (result {index}) (memory.grow (local.get 0)))
          (func (export "until") (param {index})
            (loop $again (br_if $again ({index}.ne (memory.size) (local.get 0))))))"#
    );
    let module = Module::new(engine, text).unwrap();
    let ty = module.imports().next().unwrap().ty();
    let memory = SharedMemory::new(engine, *ty.unwrap_memory()).unwrap();
    (module, memory)
}

/// Calls a function on an index of 32 or 64 bits.
fn call_index(it: &mut (Store<()>, Instance), name: &str, index: u64) -> sarsen::Result<u64> {
    use sarsen::Val;
    let func = it.1.get_func(&mut it.0, name).unwrap();
    let ty = func.ty(&it.0);
    let params = ty.params().map(|ty| match ty {
        sarsen::ValType::I32 => Val::I32(index as i32),
        _ => Val::I64(index as i64),
    });
    let params: Vec<Val> = params.collect();
    let mut results = vec![Val::I32(0); ty.results().len()];
    func.call(&mut it.0, &params, &mut results)?;
    Ok(match results.first() {
        Some(Val::I32(value)) => *value as u32 as u64,
        Some(Val::I64(value)) => *value as u64,
        _ => 0,
    })
}

#[test]
fn all_stores_see_a_memory_grow() {
    for engine in engines() {
        for kind in KINDS {
            let (module, memory) = of_kind(&engine, kind);
            let (page, start) = (kind.2, memory.size());
            let mut here = instance(&module, &memory);
            let end = memory.data_size() as u64;
            assert_eq!(
                trap_of(call_index(&mut here, "load", end)),
                Trap::MemoryOutOfBounds
            );
            thread::scope(|scope| {
                let there = scope.spawn(|| {
                    let mut there = instance(&module, &memory);
                    call_index(&mut there, "until", start + 2).unwrap();
                    call_index(&mut there, "load", end).unwrap()
                });
                assert_eq!(call_index(&mut here, "grow", 1).unwrap(), start);
                assert_eq!(memory.grow(1).unwrap(), start + 1);
                assert_eq!(there.join().unwrap(), 0);
            });
            assert_eq!(call_index(&mut here, "size", 0).unwrap(), start + 2);
            assert_eq!(memory.data_size() as u64, end + 2 * page);
            assert_eq!(
                call_index(&mut here, "load", end + 2 * page - 1).unwrap(),
                0
            );
            assert_eq!(
                trap_of(call_index(&mut here, "load", end + 2 * page)),
                Trap::MemoryOutOfBounds
            );
        }
    }
}

#[test]
fn accesses_that_race_with_growth_succeed_or_trap() {
    for engine in engines() {
        for kind in KINDS {
            let (module, memory) = of_kind(&engine, kind);
            let last = memory.data_size() as u64 + 7 * kind.2 - 1;
            thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        let mut store = instance(&module, &memory);
                        let mut trapped = 0;
                        // The last byte that it grows to: plain, atomic, and with an offset.
                        for (name, at) in [("load", last), ("add", last - 3)] {
                            loop {
                                match call_index(&mut store, name, at) {
                                    Ok(_) => break,
                                    error => assert_eq!(trap_of(error), Trap::MemoryOutOfBounds),
                                }
                                trapped += 1;
                            }
                        }
                        trapped
                    });
                }
                let mut store = instance(&module, &memory);
                for _ in 0..7 {
                    thread::yield_now();
                    call_index(&mut store, "grow", 1).unwrap();
                }
            });
            let mut byte = [0];
            memory.read(last, &mut byte).unwrap();
            assert_eq!(byte, [2], "each thread has added one");
        }
    }
}

const PING_PONG: &str = r#"(module
  (import "" "memory" (memory 1 1 shared))
  ;; Waits until the cell holds $mine, and gives it to the other, $n times.
  (func (export "play") (param $mine i32) (param $n i32)
    (loop $round
      (block $got
        (loop $wait
          (br_if $got (i32.eq (i32.atomic.load (i32.const 0)) (local.get $mine)))
          (drop (memory.atomic.wait32 (i32.const 0)
            (i32.sub (i32.const 1) (local.get $mine)) (i64.const -1)))
          (br $wait)))
      (i32.atomic.store (i32.const 0) (i32.sub (i32.const 1) (local.get $mine)))
      (drop (memory.atomic.notify (i32.const 0) (i32.const 1)))
      (br_if $round (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
  (func (export "wait32") (param i32 i32 i64) (result i32)
    (memory.atomic.wait32 (local.get 0) (local.get 1) (local.get 2)))
  (func (export "wait64") (param i32 i64 i64) (result i32)
    (memory.atomic.wait64 offset=8 (local.get 0) (local.get 1) (local.get 2)))
  (func (export "notify") (param i32 i32) (result i32)
    (memory.atomic.notify offset=4294967292 (local.get 0) (local.get 1))))"#;

#[test]
fn no_hand_over_is_lost() {
    const ROUNDS: i32 = 5_000;
    for engine in [Engine::default(), with_epochs()] {
        let module = Module::new(&engine, PING_PONG).unwrap();
        let memory = shared(&engine, 1, 1);
        thread::scope(|scope| {
            for player in 0..2 {
                let (module, memory) = (&module, &memory);
                scope.spawn(move || {
                    let mut store = instance(module, memory);
                    store.0.set_epoch_deadline(u64::MAX);
                    call::<_, ()>(&mut store, "play", (player, ROUNDS)).unwrap();
                });
            }
        });
        let mut cell = [1];
        memory.read(0, &mut cell).unwrap();
        assert_eq!(cell, [0]);
    }
}

#[test]
fn waiting_ends_by_mismatch_timeout_or_notification() {
    let engine = Engine::default();
    let module = Module::new(&engine, PING_PONG).unwrap();
    let memory = shared(&engine, 1, 1);
    let mut here = instance(&module, &memory);
    assert_eq!(
        call::<_, i32>(&mut here, "wait32", (0, 1, -1_i64)).unwrap(),
        1
    );
    assert_eq!(
        call::<_, i32>(&mut here, "wait64", (0, 1_i64, -1_i64)).unwrap(),
        1
    );
    assert_eq!(
        call::<_, i32>(&mut here, "wait32", (0, 0, 0_i64)).unwrap(),
        2
    );
    assert_eq!(
        call::<_, i32>(&mut here, "wait64", (0, 0_i64, 100_000_i64)).unwrap(),
        2
    );
    thread::scope(|scope| {
        let there = scope.spawn(|| {
            let mut there = instance(&module, &memory);
            call::<_, i32>(&mut there, "wait64", (0, 0_i64, i64::MAX)).unwrap()
        });
        while memory.atomic_notify(8, u32::MAX).unwrap() == 0 {
            thread::yield_now();
        }
        assert_eq!(there.join().unwrap(), 0);
        // The host waits, and a guest notifies.
        let there = scope.spawn(|| memory.atomic_wait64(65528, 0, None).unwrap());
        let text = r#"(module
          (import "" "memory" (memory 1 1 shared))
          (func (export "notify") (result i32)
            (memory.atomic.notify offset=65528 (i32.const 0) (i32.const -1))))"#;
        let notifies = Module::new(&engine, text).unwrap();
        let mut notifies = instance(&notifies, &memory);
        while call::<_, i32>(&mut notifies, "notify", ()).unwrap() == 0 {
            thread::yield_now();
        }
        assert_eq!(there.join().unwrap(), WaitResult::Ok);
    });
    let short = Some(Duration::from_micros(10));
    assert_eq!(memory.atomic_wait32(0, 0, short), Ok(WaitResult::TimedOut));
    assert_eq!(memory.atomic_wait32(0, 1, None), Ok(WaitResult::Mismatch));
    assert_eq!(memory.atomic_wait32(2, 0, None), Err(Trap::HeapMisaligned));
    let end = memory.data_size() as u64;
    assert_eq!(
        memory.atomic_wait64(end, 0, None),
        Err(Trap::MemoryOutOfBounds)
    );
    assert_eq!(memory.atomic_notify(end, 1), Err(Trap::MemoryOutOfBounds));
    assert_eq!(memory.atomic_notify(1, 1), Err(Trap::HeapMisaligned));
}

#[test]
fn addresses_to_wait_at_are_checked() {
    let engine = Engine::default();
    let module = Module::new(&engine, PING_PONG).unwrap();
    let mut here = instance(&module, &shared(&engine, 1, 1));
    let wait32 = |here: &mut _, at: i32| trap_of(call::<_, i32>(here, "wait32", (at, 0, 0_i64)));
    let wait64 =
        |here: &mut _, at: i32| trap_of(call::<_, i32>(here, "wait64", (at, 0_i64, 0_i64)));
    assert_eq!(wait32(&mut here, 2), Trap::HeapMisaligned);
    assert_eq!(wait64(&mut here, 4), Trap::HeapMisaligned);
    assert_eq!(wait32(&mut here, 65536), Trap::MemoryOutOfBounds);
    assert_eq!(wait32(&mut here, -4), Trap::MemoryOutOfBounds);
    assert_eq!(wait64(&mut here, 65528), Trap::MemoryOutOfBounds);
    assert_eq!(wait64(&mut here, -8), Trap::MemoryOutOfBounds);
    // Index and offset together leave 32 bits.
    let notify = trap_of(call::<_, i32>(&mut here, "notify", (4, 1)));
    assert_eq!(notify, Trap::MemoryOutOfBounds);

    let text = r#"(module
      (memory i64 1 1 shared)
      (func (export "wait") (param i64) (result i32)
        (memory.atomic.wait32 offset=0xfffffffffffffff8
          (local.get 0) (i32.const 0) (i64.const 0)))
      (func (export "notify") (param i64) (result i32)
        (memory.atomic.notify offset=0xfffffffffffffff8 (local.get 0) (i32.const 0))))"#;
    let mut here = super::instance_in(&engine, text);
    for name in ["wait", "notify"] {
        for index in [0_i64, 8, 16, -8] {
            let trap = trap_of(call::<_, i32>(&mut here, name, index));
            assert_eq!(trap, Trap::MemoryOutOfBounds, "{name} {index}");
        }
        let trap = trap_of(call::<_, i32>(&mut here, name, 9_i64));
        assert_eq!(trap, Trap::HeapMisaligned);
    }
}

#[test]
fn nobody_waits_in_an_unshared_memory() {
    let text = r#"(module
      (memory 1)
      (func (export "wait") (param i32) (result i32)
        (memory.atomic.wait32 (local.get 0) (i32.const 0) (i64.const -1)))
      (func (export "notify") (param i32) (result i32)
        (memory.atomic.notify (local.get 0) (i32.const 1))))"#;
    let mut here = super::instance_in(&Engine::default(), text);
    let trap = trap_of(call::<_, i32>(&mut here, "wait", 0));
    assert_eq!(trap, Trap::AtomicWaitNonShared);
    assert_eq!(trap.to_string(), "wasm trap: expected shared memory");
    assert_eq!(call::<_, i32>(&mut here, "notify", 0).unwrap(), 0);
    let trap = trap_of(call::<_, i32>(&mut here, "notify", 65536));
    assert_eq!(trap, Trap::MemoryOutOfBounds);
    let trap = trap_of(call::<_, i32>(&mut here, "notify", 2));
    assert_eq!(trap, Trap::HeapMisaligned);
}

#[test]
fn an_epoch_ends_a_wait_or_lets_it_go_on() {
    let engine = with_epochs();
    let module = Module::new(&engine, PING_PONG).unwrap();
    let memory = shared(&engine, 1, 1);
    thread::scope(|scope| {
        // One traps at once, the other is asked twice before.
        let traps = scope.spawn(|| {
            let mut store = instance(&module, &memory);
            store.0.set_epoch_deadline(1);
            let trap = trap_of(call::<_, i32>(&mut store, "wait32", (0, 0, -1_i64)));
            // The store is as usable as before.
            store.0.set_epoch_deadline(u64::MAX);
            assert_eq!(
                call::<_, i32>(&mut store, "wait32", (0, 0, 0_i64)).unwrap(),
                2
            );
            trap
        });
        let asked = scope.spawn(|| {
            let mut store = Store::new(&engine, 0);
            store.epoch_deadline_callback(|mut store| {
                *store.data_mut() += 1;
                Ok(match *store.data() {
                    3 => UpdateDeadline::Interrupt,
                    _ => UpdateDeadline::Continue(2),
                })
            });
            store.set_epoch_deadline(1);
            let instance = Instance::new(&mut store, &module, &[memory.clone().into()]).unwrap();
            let wait = instance.get_typed_func::<(i32, i32, i64), i32>(&mut store, "wait32");
            let trap = trap_of(wait.unwrap().call(&mut store, (0, 0, -1)));
            assert_eq!(*store.data(), 3);
            trap
        });
        while !(traps.is_finished() && asked.is_finished()) {
            engine.increment_epoch();
            thread::yield_now();
        }
        assert_eq!(traps.join().unwrap(), Trap::Interrupt);
        assert_eq!(asked.join().unwrap(), Trap::Interrupt);
    });
    assert_eq!(memory.atomic_notify(0, u32::MAX), Ok(0), "nobody is left");
}

#[test]
fn a_callback_that_waits_itself_does_not_lose_the_outer_notification() {
    let engine = with_epochs();
    let module = Module::new(&engine, PING_PONG).unwrap();
    let memory = shared(&engine, 1, 1);
    thread::scope(|scope| {
        let waits = scope.spawn(|| {
            let mut store = Store::new(&engine, ());
            let inner = memory.clone();
            store.epoch_deadline_callback(move |_| {
                // Notified at the address of the wait that is interrupted, while this one goes on.
                while inner.atomic_notify(0, 1)? == 0 {
                    thread::yield_now();
                }
                let short = Some(Duration::from_millis(1));
                assert_eq!(inner.atomic_wait32(4, 0, short)?, WaitResult::TimedOut);
                Ok(UpdateDeadline::Continue(1 << 40))
            });
            store.set_epoch_deadline(1);
            let instance = Instance::new(&mut store, &module, &[memory.clone().into()]).unwrap();
            let wait = instance.get_typed_func::<(i32, i32, i64), i32>(&mut store, "wait32");
            wait.unwrap().call(&mut store, (0, 0, -1)).unwrap()
        });
        while !waits.is_finished() {
            engine.increment_epoch();
            thread::yield_now();
        }
        assert_eq!(waits.join().unwrap(), 0);
    });
}

#[test]
fn the_store_that_grows_or_defines_a_memory_is_asked() {
    let engine = Engine::default();
    let text = r#"(module
      (import "" "memory" (memory 1 10 shared))
      (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))"#;
    let module = Module::new(&engine, text).unwrap();
    let memory = shared(&engine, 1, 4);
    let two_pages = StoreLimitsBuilder::new().memory_size(2 << 16).build();
    let mut limited = Store::new(&engine, two_pages);
    limited.limiter(|limits| limits);
    let import = [Extern::from(memory.clone())];
    let of_limited = Instance::new(&mut limited, &module, &import).unwrap();
    let mut free = instance(&module, &memory);
    let grow = of_limited.get_typed_func::<i32, i32>(&mut limited, "grow");
    let grow = grow.unwrap();
    assert_eq!(grow.call(&mut limited, 2).unwrap(), -1);
    assert_eq!(grow.call(&mut limited, 1).unwrap(), 1);
    assert_eq!(grow.call(&mut limited, 1).unwrap(), -1);
    assert_eq!(call::<_, i32>(&mut free, "grow", 1).unwrap(), 2);
    assert_eq!(
        grow.call(&mut limited, 0).unwrap(),
        -1,
        "3 pages are too many"
    );
    assert_eq!(call::<_, i32>(&mut free, "grow", 2).unwrap(), -1);
    assert_eq!(call::<_, i32>(&mut free, "grow", -1).unwrap(), -1);
    assert!(memory.grow(2).is_err() && memory.grow(u64::MAX).is_err());
    assert_eq!((memory.grow(1).unwrap(), memory.size()), (3, 4));

    let defines = Module::new(&engine, "(module (memory 3 4 shared))").unwrap();
    let error = Instance::new(&mut limited, &defines, &[]).unwrap_err();
    assert!(error.downcast_ref::<LimitError>().is_some(), "{error:?}");
}

#[test]
fn memories_that_cannot_be_are_errors() {
    let engine = Engine::default();
    let error = Module::new(&engine, "(module (memory 1 shared))").unwrap_err();
    let text = format!("{error:#}");
    assert!(text.contains("maximum"), "{text}");
    let binary = b"\0asm\x01\0\0\0\x05\x03\x01\x02\x01";
    let error = Module::from_binary(&engine, binary).unwrap_err();
    let text = format!("{error:#}");
    assert!(
        text.contains("shared memory must have maximum") && text.contains("0xb"),
        "{text}"
    );
    assert!(SharedMemory::new(&engine, MemoryType::new(1, Some(2))).is_err());
    assert!(SharedMemory::new(&engine, MemoryType::shared(2, 1)).is_err());
    assert!(SharedMemory::new(&engine, MemoryType::shared(1, 65537)).is_err());
    assert!(Memory::new(Store::new(&engine, ()), MemoryType::shared(1, 2)).is_err());
    let mut config = Config::new();
    config.wasm_threads(false);
    let without = Engine::new(&config).unwrap();
    assert!(SharedMemory::new(&without, MemoryType::shared(1, 2)).is_err());
    assert!(Module::new(&without, "(module (memory 1 1 shared))").is_err());
    let ty = MemoryType::builder()
        .memory64(true)
        .shared(true)
        .max(Some(1 << 48))
        .build()
        .unwrap();
    let memory = SharedMemory::new(&engine, ty).unwrap();
    assert!(memory.grow(1 << 40).is_err());
    assert_eq!(memory.grow(1).unwrap(), 0);
}

#[test]
fn linking_tells_shared_from_unshared_and_engine_from_engine() {
    let engine = Engine::default();
    let wants = |ty: &str| {
        Module::new(
            &engine,
            format!(r#"(module (import "" "m" (memory {ty})))"#),
        )
        .unwrap()
    };
    let mut store = Store::new(&engine, ());
    let memory = shared(&engine, 1, 2);
    let unshared = Memory::new(&mut store, MemoryType::new(1, Some(2))).unwrap();
    let mut refused = |module: &Module, item: Extern| {
        let error = Instance::new(&mut store, module, &[item]).unwrap_err();
        error
            .downcast::<IncompatibleImportError>()
            .unwrap()
            .to_string()
    };
    let text = refused(&wants("1 2"), memory.clone().into());
    assert!(text.contains("(memory 1 2 shared)"), "{text}");
    refused(&wants("1 2 shared"), unshared.into());
    refused(&wants("2 2 shared"), memory.clone().into());
    refused(&wants("1 1 shared"), memory.clone().into());
    refused(&wants("i64 1 2 shared"), memory.clone().into());
    memory.grow(1).unwrap();
    let module = wants("2 2 shared");
    Instance::new(&mut store, &module, &[memory.clone().into()]).unwrap();

    let foreign: Extern = shared(&Engine::default(), 2, 2).into();
    let error = Instance::new(&mut store, &module, std::slice::from_ref(&foreign)).unwrap_err();
    assert!(matches!(
        error.downcast_ref(),
        Some(OwnershipError::WrongEngine)
    ));
    let mut linker = Linker::<()>::new(&engine);
    assert!(linker.define(&store, "", "m", foreign).is_err());

    // One linker for all stores, checked once.
    linker.define(&store, "", "m", memory.clone()).unwrap();
    assert!(linker.instantiate_pre(&wants("1 1 shared")).is_err());
    let pre = linker.instantiate_pre(&module).unwrap();
    drop((linker, store));
    for _ in 0..2 {
        pre.instantiate(Store::new(&engine, ())).unwrap();
    }
}

#[test]
fn a_memory_that_a_module_defines_outlives_its_store() {
    for engine in engines() {
        let text = r#"(module
          (memory (export "m") 2 3 shared) (data (i32.const 65530) "outlives")
          (func (export "load") (param i32) (result i64) (i64.load (local.get 0))))"#;
        let module = Module::new(&engine, text).unwrap();
        let mut first = Store::new(&engine, ());
        let defines = Instance::new(&mut first, &module, &[]).unwrap();
        assert!(defines.get_memory(&mut first, "m").is_none());
        let memory = defines.get_shared_memory(&mut first, "m").unwrap();
        assert_eq!(memory.ty().to_string(), "(memory 2 3 shared)");
        drop(first);
        let text = r#"(module
          (import "" "m" (memory 1 3 shared)) (export "m" (memory 0))
          (data (i32.const 0) "more")
          (data $late "late")
          (memory $own 1)
          (func (export "load") (param i32) (result i64) (i64.load (local.get 0)))
          (func (export "init") (memory.init $late (i32.const 4) (i32.const 0) (i32.const 4)))
          (func (export "copy") (param i32)
            (memory.copy $own 0 (i32.const 100) (i32.const 65530) (local.get 0))
            (memory.copy 0 $own (i32.const 8) (i32.const 100) (local.get 0)))
          (func (export "fill") (param i32)
            (memory.fill 0 (i32.const 20) (i32.const 0x5a) (local.get 0))))"#;
        let module = Module::new(&engine, text).unwrap();
        let mut here = instance(&module, &memory);
        drop(memory);
        let word =
            |it: &mut _, at: i32| call::<_, i64>(it, "load", at).map(|value| value.to_le_bytes());
        assert_eq!(word(&mut here, 65530).unwrap(), *b"outlives");
        let trap = trap_of(word(&mut here, 131_070));
        assert_eq!(trap, Trap::MemoryOutOfBounds);
        call::<_, ()>(&mut here, "init", ()).unwrap();
        assert_eq!(word(&mut here, 0).unwrap(), *b"morelate");
        for (length, bytes) in [(3, b"out\0\0\0\0\0"), (8, b"outlives")] {
            call::<_, ()>(&mut here, "copy", length).unwrap();
            assert_eq!(word(&mut here, 8).unwrap(), *bytes);
        }
        call::<_, ()>(&mut here, "fill", 7).unwrap();
        assert_eq!(word(&mut here, 20).unwrap(), *b"ZZZZZZZ\0");
        for name in ["copy", "fill"] {
            let trap = trap_of(call::<_, ()>(&mut here, name, 131_073));
            assert_eq!(trap, Trap::MemoryOutOfBounds, "{name}");
        }
    }
}
