//! What frames of backtraces tell, wherever those come from, and what a backtrace keeps alive.

use sarsen::{
    Caller, Config, ContRef, ContType, Engine, Func, Instance, Module, Resumed, Store,
    ThrownException, Trap, WasmBacktrace,
};
use std::sync::{Arc, Mutex};

/// Each function traps, throws, calls the host or suspends, with something before that.
const INNER: &str = r#"(module $inner
    (import "" "look" (func $look))
    (tag $e (export "e")) (tag $yield (export "yield"))
    (func $trap (param i32) (local i64 i64 f32) (local $x i32)
        nop nop unreachable)
    (func $throw (throw $e))
    (func $look_around nop (call $look))
    (func $suspend nop (suspend $yield))
    (func (export "trap") (call $trap (i32.const 1000)))
    (func (export "throw") nop (call $throw))
    (func (export "look") nop nop (call $look_around))
    (func (export "suspend") (local i32) (call $suspend)))"#;

const OUTER: &str = r#"(module $outer
    (import "" "f" (func $f))
    (func (export "run") (local i32 f32) nop (call $f)))"#;

const NOP: u8 = 0x01;
const CALL: u8 = 0x10;
const UNREACHABLE: u8 = 0x00;
const THROW: u8 = 0x08;
const SUSPEND: u8 = 0xe2;

struct Guests {
    store: Store<Arc<()>>,
    modules: [Module; 2],
    inner: Instance,
    /// What the host has captured.
    captured: Arc<Mutex<Option<WasmBacktrace>>>,
}

fn engines() -> [Engine; 2] {
    [false, true].map(|inlining| {
        let mut config = Config::new();
        config
            .wasm_stack_switching(true)
            .compiler_inlining(inlining);
        Engine::new(&config).unwrap()
    })
}

fn binary(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

impl Guests {
    fn new(engine: &Engine, data: &Arc<()>) -> Guests {
        let modules = [INNER, OUTER].map(|text| Module::new(engine, text).unwrap());
        let mut store = Store::new(engine, Arc::clone(data));
        let captured = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&captured);
        let look = Func::wrap(&mut store, move |caller: Caller<'_, Arc<()>>| {
            *slot.lock().unwrap() = Some(WasmBacktrace::capture(&caller));
        });
        let inner = Instance::new(&mut store, &modules[0], &[look.into()]).unwrap();
        Guests {
            store,
            modules,
            inner,
            captured,
        }
    }

    /// The outer module's function that calls the inner one's function `name`.
    fn run(&mut self, name: &str) -> Func {
        let f = self.inner.get_func(&mut self.store, name).unwrap();
        let outer = Instance::new(&mut self.store, &self.modules[1], &[f.into()]).unwrap();
        outer.get_func(&mut self.store, "run").unwrap()
    }

    /// Where a call was that ends, or not, by itself.
    fn backtrace(&mut self, name: &str) -> WasmBacktrace {
        let run = self.run(name);
        if name == "suspend" {
            let ty = ContType::new(&run.ty(&self.store)).unwrap();
            let start = ContRef::new(&mut self.store, &ty, &run).unwrap();
            let tag = self.inner.get_tag(&mut self.store, "yield").unwrap();
            let Resumed::Suspended(it) = start.resume(&mut self.store, &[], &[tag]).unwrap() else {
                panic!("it yields");
            };
            return it.continuation.backtrace(&mut self.store).unwrap();
        }
        match run.call(&mut self.store, &[], &mut []) {
            Ok(()) => self.captured.lock().unwrap().take().unwrap(),
            Err(error) => {
                let is_right = match name {
                    "trap" => error.downcast_ref() == Some(&Trap::Unreachable),
                    _ => error.is::<ThrownException>(),
                };
                assert!(is_right, "{error:?}");
                error.downcast::<WasmBacktrace>().unwrap()
            }
        }
    }
}

/// Of each function that is tried: where the innermost three frames are in their functions, and the first
/// instruction.
const CASES: [(&str, [usize; 3], u8); 4] = [
    // Four groups of locals, the first two of one type.
    ("trap", [9, 4, 6], UNREACHABLE),
    ("throw", [1, 2, 6], THROW),
    ("look", [2, 3, 6], CALL),
    ("suspend", [2, 3, 6], SUSPEND),
];

#[test]
fn a_frame_tells_its_module_and_where_it_is_in_it_and_in_its_function() {
    for engine in engines() {
        let mut guests = Guests::new(&engine, &Arc::new(()));
        let binaries = [INNER, OUTER].map(binary);
        for (name, offsets, first) in CASES {
            let backtrace = guests.backtrace(name);
            let frames = backtrace.frames();
            assert_eq!(frames.len(), 3, "{name}: {backtrace:?}");
            for (number, frame) in frames.iter().enumerate() {
                let place = usize::from(number == 2);
                assert!(
                    Module::same(frame.module(), &guests.modules[place]),
                    "{name}"
                );
                assert!(Engine::same(frame.module().engine(), &engine));
                assert_eq!(frame.module().name(), frame.module_name());
                assert_eq!(
                    frame.func_offset(),
                    Some(offsets[number]),
                    "{name} {number}"
                );
                let opcode = binaries[place][frame.module_offset().unwrap()];
                assert_eq!(opcode, if number == 0 { first } else { CALL }, "{name}");
            }
            let start = frames[2].module_offset().unwrap() - frames[2].func_offset().unwrap();
            // The size is before it; then there are two groups of locals.
            assert_eq!(binaries[1][start - 1], 9);
            assert_eq!(binaries[1][start..][..7], [2, 1, 0x7f, 1, 0x7d, NOP, CALL]);
        }
    }
}

#[test]
fn a_backtrace_keeps_no_store_alive_but_modules_and_their_engine() {
    for [name, other] in [["trap", "throw"], ["look", "suspend"]] {
        let data = Arc::new(());
        let engine = engines().into_iter().next_back().unwrap();
        let weak = engine.weak();
        let mut guests = Guests::new(&engine, &data);
        let kept = [guests.backtrace(name), guests.backtrace(other)];
        let captured = Arc::clone(&guests.captured);
        assert_eq!(Arc::strong_count(&data), 2);
        drop((guests, engine));
        assert_eq!(Arc::strong_count(&data), 1, "the store is gone");
        assert_eq!(Arc::strong_count(&captured), 1, "and its functions");

        // Nobody has looked so far.
        let [first, second] = kept;
        assert_eq!(first.frames().len(), 3);
        drop(first);
        let module = second.frames()[2].module().clone();
        drop(second);
        // As good as ever.
        let engine = module.engine().clone();
        let mut store = Store::new(&engine, ());
        let f = Func::wrap(&mut store, || ());
        let instance = Instance::new(&mut store, &module, &[f.into()]).unwrap();
        let run = instance
            .get_typed_func::<(), ()>(&mut store, "run")
            .unwrap();
        run.call(&mut store, ()).unwrap();
        assert!(weak.upgrade().is_some());
        drop((module, engine, store));
        assert!(weak.upgrade().is_none());
    }
}

#[test]
fn modules_of_several_threads_that_trap_at_once_are_told_apart() {
    let engine = &engines()[1];
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let mut guests = Guests::new(engine, &Arc::new(()));
                    let backtrace = guests.backtrace("trap");
                    let [inner, outer] = &guests.modules;
                    let modules = backtrace.frames().iter().map(|frame| frame.module());
                    let wanted = [inner, inner, outer];
                    assert!(modules.zip(wanted).all(|(a, b)| Module::same(a, b)));
                    drop(guests);
                    assert_eq!(backtrace.frames()[2].module_name(), Some("outer"));
                }
            });
        }
    });
}

#[test]
fn a_backtrace_can_be_forced_where_none_is_kept() {
    for frames in [0, 1, 100] {
        let mut config = Config::new();
        config
            .wasm_backtrace_max_frames(frames)
            .compiler_inlining(false);
        let engine = Engine::new(&config).unwrap();
        let mut store = Store::new(&engine, ());
        let look = Func::wrap(&mut store, move |caller: Caller<'_, ()>| {
            let [kept, forced] = [
                WasmBacktrace::capture(&caller),
                WasmBacktrace::force_capture(&caller),
            ]
            .map(|backtrace| backtrace.frames().len());
            assert_eq!(kept, frames.min(3));
            assert_eq!(forced, if frames == 1 { 1 } else { 3 });
        });
        let module = r#"(module
            (import "" "look" (func $look))
            (func $inner (call $look))
            (func $middle (call $inner))
            (func (export "run") (call $middle)))"#;
        let module = Module::new(&engine, module).unwrap();
        let instance = Instance::new(&mut store, &module, &[look.into()]).unwrap();
        let run = instance
            .get_typed_func::<(), ()>(&mut store, "run")
            .unwrap();
        run.call(&mut store, ()).unwrap();
        assert!(WasmBacktrace::force_capture(&store).frames().is_empty());
    }
}
