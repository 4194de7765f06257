//! Host functions that fail: errors arrive unchanged, panics as panics, across any nesting of host and
//! WebAssembly, and the store stays usable.

use sarsen::{Caller, Engine, Instance, Linker, Module, Result, Store, Trap, WasmBacktrace};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
struct Refusal(u32);

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "refused with {}", self.0)
    }
}

impl std::error::Error for Refusal {}

/// What the host function does at each depth of nesting.
#[derive(Clone, Copy, PartialEq, Debug)]
enum End {
    Return,
    Refuse(u32),
    Panic,
    Trap(Trap),
    Unreachable,
}

struct Plan {
    depth: u32,
    end: End,
    /// Whether each host function on the way swallows what comes from inside.
    swallow: bool,
    /// How many host frames have been left properly.
    dropped: usize,
}

const NESTED: &str = r#"
    (module $nested
        (import "host" "descend" (func $descend (param i32) (result i32)))
        (func $run (export "run") (param i32) (result i32)
            (i32.add (call $descend (local.get 0)) (i32.const 1)))
        (func $fail (export "fail") unreachable))
"#;

thread_local! {
    static DROPS: Cell<usize> = const { Cell::new(0) };
}

struct CountsDrops;

impl Drop for CountsDrops {
    fn drop(&mut self) {
        DROPS.set(DROPS.get() + 1);
    }
}

fn descend(mut caller: Caller<'_, Plan>, depth: i32) -> Result<i32> {
    let _counts = CountsDrops;
    let plan = caller.data_mut();
    let (end, swallow) = (plan.end, plan.swallow);
    if depth as u32 == plan.depth {
        return match end {
            End::Return => Ok(0),
            End::Refuse(n) => Err(Refusal(n).into()),
            End::Panic => panic!("the plan says so"),
            End::Trap(trap) => Err(trap.into()),
            End::Unreachable => {
                let fail = caller.get_export("fail").unwrap().into_func().unwrap();
                fail.typed::<(), ()>(&caller)?.call(&mut caller, ())?;
                unreachable!("it traps")
            }
        };
    }
    let run = caller.get_export("run").unwrap().into_func().unwrap();
    let result = run.typed::<i32, i32>(&caller)?.call(&mut caller, depth + 1);
    caller.data_mut().dropped += 1;
    if swallow {
        Ok(result.unwrap_or(-1000))
    } else {
        result
    }
}

fn nested() -> (Store<Plan>, Instance) {
    let engine = Engine::default();
    let module = Module::new(&engine, NESTED).unwrap();
    let mut linker = Linker::new(&engine);
    linker.func_wrap("host", "descend", descend).unwrap();
    let plan = Plan {
        depth: 0,
        end: End::Return,
        swallow: false,
        dropped: 0,
    };
    let mut store = Store::new(&engine, plan);
    let instance = linker.instantiate(&mut store, &module).unwrap();
    (store, instance)
}

#[test]
fn failures_pass_through_any_depth_of_nesting() {
    let (mut store, instance) = nested();
    let run = instance
        .get_typed_func::<i32, i32>(&mut store, "run")
        .unwrap();
    for depth in [0, 1, 2, 7] {
        let ends = [
            End::Return,
            End::Refuse(depth),
            End::Panic,
            End::Return,
            End::Trap(Trap::HeapMisaligned),
            End::Unreachable,
        ];
        for end in ends {
            *store.data_mut() = Plan {
                depth,
                end,
                swallow: false,
                dropped: 0,
            };
            DROPS.set(0);
            let result = catch_unwind(AssertUnwindSafe(|| run.call(&mut store, 0)));
            match (end, result) {
                (End::Return, Ok(Ok(value))) => assert_eq!(value, depth as i32 + 1),
                (End::Refuse(n), Ok(Err(error))) => {
                    assert_eq!(error.downcast_ref::<Refusal>(), Some(&Refusal(n)));
                    assert!(format!("{error:?}").contains("refused with"));
                }
                (End::Panic, Err(payload)) => {
                    assert_eq!(payload.downcast_ref(), Some(&"the plan says so"));
                }
                (End::Trap(trap), Ok(Err(error))) => {
                    assert_eq!(error.downcast_ref::<Trap>(), Some(&trap));
                }
                (End::Unreachable, Ok(Err(error))) => {
                    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::Unreachable));
                    let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
                    let names: Vec<_> = backtrace.frames().iter().map(|f| f.func_name()).collect();
                    let mut expected = vec![Some("run"); depth as usize + 2];
                    expected[0] = Some("fail");
                    assert_eq!(names, expected, "one frame for each activation");
                }
                (end, result) => panic!("{end:?} gave {result:?}"),
            }
            // Nothing was jumped over.
            assert_eq!(DROPS.get(), depth as usize + 1);
            if end != End::Panic {
                assert_eq!(store.data().dropped, depth as usize);
            }
        }
    }
}

#[test]
fn a_failure_that_the_host_swallows_is_over() {
    let (mut store, instance) = nested();
    let run = instance
        .get_typed_func::<i32, i32>(&mut store, "run")
        .unwrap();
    for end in [
        End::Refuse(3),
        End::Trap(Trap::CastFailure),
        End::Unreachable,
    ] {
        *store.data_mut() = Plan {
            depth: 3,
            end,
            swallow: true,
            dropped: 0,
        };
        // The innermost `run` fails; the three around it add one each.
        assert_eq!(run.call(&mut store, 0).unwrap(), -1000 + 3);
    }
}

#[test]
fn a_panic_in_one_store_leaves_another_alone() {
    let (mut outer, outer_instance) = nested();
    let run = outer_instance
        .get_typed_func::<i32, i32>(&mut outer, "run")
        .unwrap();
    let (mut inner, inner_instance) = nested();
    let inner_run = inner_instance
        .get_typed_func::<i32, i32>(&mut inner, "run")
        .unwrap();
    inner.data_mut().end = End::Panic;

    let engine = outer.engine().clone();
    let wat = r#"(module
        (import "host" "other" (func $other))
        (func (export "f") (call $other)))"#;
    let module = Module::new(&engine, wat).unwrap();
    let mut linker: Linker<Plan> = Linker::new(&engine);
    let inner = std::sync::Mutex::new(inner);
    linker
        .func_wrap("host", "other", move || {
            let mut inner = inner.lock().unwrap_or_else(|e| e.into_inner());
            let panicked = catch_unwind(AssertUnwindSafe(|| inner_run.call(&mut *inner, 0)));
            assert!(panicked.is_err());
            inner.data_mut().end = End::Unreachable;
            let error = inner_run.call(&mut *inner, 0).unwrap_err();
            inner.data_mut().end = End::Panic;
            assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::Unreachable));
            let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
            assert_eq!(backtrace.frames().len(), 2, "only frames of its own store");
        })
        .unwrap();
    let instance = linker.instantiate(&mut outer, &module).unwrap();
    let f = instance.get_typed_func::<(), ()>(&mut outer, "f").unwrap();
    for _ in 0..3 {
        f.call(&mut outer, ()).unwrap();
        assert_eq!(run.call(&mut outer, 0).unwrap(), 1);
    }
}

#[test]
fn a_host_function_called_by_the_host_fails_like_any_other() {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let f = sarsen::Func::wrap(&mut store, |n: i32| -> Result<i32> {
        if n < 0 {
            Err(Refusal(1).into())
        } else {
            Ok(n + 1)
        }
    });
    let f = f.typed::<i32, i32>(&store).unwrap();
    assert_eq!(f.call(&mut store, 1).unwrap(), 2);
    let error = f.call(&mut store, -1).unwrap_err();
    assert_eq!(error.downcast_ref::<Refusal>(), Some(&Refusal(1)));
    let g = sarsen::Func::wrap(&mut store, || -> () { panic!("for nothing") });
    let g = g.typed::<(), ()>(&store).unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| g.call(&mut store, ()))).is_err());
    assert_eq!(f.call(&mut store, 1).unwrap(), 2);
}
