//! Futures of host functions that use the store as they are dropped, when their results are known already.

use super::*;
use sarsen::AnyRef;
use std::pin::Pin;
use std::task::{Context, Poll};

const CALLING: &str = r#"(module
    (type $obj (struct (field i32)))
    (import "" "f" (func $f (param anyref) (result anyref)))
    (import "" "failed" (tag $failed (param i32)))
    (func $field (param anyref) (result i32)
        (struct.get $obj 0 (ref.cast (ref $obj) (local.get 0))))
    (func (export "run") (param $n i32) (result i32)
        (block $h (result i32)
            (try_table (result i32) (catch $failed $h)
                (call $field (call $f (struct.new $obj (local.get $n)))))))
    (func (export "field") (param anyref) (result i32) (call $field (local.get 0)))
    (func (export "trap") unreachable))"#;

#[derive(Clone, Copy, Debug)]
enum Ends {
    Returns,
    Throws,
    Suspends,
    Panics,
}

/// Ends after it was pending so many times. As it is dropped, everything moves and a guest traps.
struct Busy<'a> {
    caller: Caller<'a, Option<Func>>,
    pending: u32,
    result: Option<Result<Option<Rooted<AnyRef>>>>,
}

impl Future for Busy<'_> {
    type Output = Result<Option<Rooted<AnyRef>>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.pending > 0 {
            self.pending -= 1;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Some(result) = self.result.take() else {
            panic!("it panics");
        };
        Poll::Ready(result)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.caller.gc(None).unwrap();
        let trap = self.caller.data().unwrap();
        let error = trap.call(&mut self.caller, &[], &mut []).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Trap::Unreachable));
    }
}

fn run(engine: &Engine, pending: u32, ends: Ends) -> i32 {
    let mut store = Store::new(engine, None);
    let mut tag = |params: &[ValType], results: &[ValType]| {
        let ty = FuncType::new(engine, params.to_vec(), results.to_vec());
        Tag::new(&mut store, &TagType::new(ty)).unwrap()
    };
    let failed = tag(&[ValType::I32], &[]);
    let swap = tag(&[ValType::ANYREF], &[ValType::ANYREF]);
    let f = Func::wrap_async(
        &mut store,
        move |mut caller: Caller<'_, Option<Func>>, (object,): (Option<Rooted<AnyRef>>,)| {
            let result = Some(match ends {
                Ends::Returns => Ok(object),
                Ends::Throws => {
                    let ty = ExnType::from_tag_type(failed.ty(&caller)).unwrap();
                    let allocator = ExnRefPre::new(&mut caller, ty);
                    let exception =
                        ExnRef::new(&mut caller, &allocator, &failed, &[Val::I32(7)]).unwrap();
                    caller.as_context_mut().throw(exception)
                }
                Ends::Suspends => Err(Suspend::new(swap, [Val::AnyRef(object)]).into()),
                Ends::Panics => Ok(None),
            });
            Box::new(Busy {
                caller,
                pending,
                result: result.filter(|_| !matches!(ends, Ends::Panics)),
            })
        },
    );
    let module = Module::new(engine, CALLING).unwrap();
    let instance = Instance::new(&mut store, &module, &[f.into(), failed.into()]).unwrap();
    *store.data_mut() = instance.get_func(&mut store, "trap");
    let run = instance.get_func(&mut store, "run").unwrap();
    let field = instance.get_typed_func::<Option<Rooted<AnyRef>>, i32>(&mut store, "field");
    let field = field.unwrap();
    let cont = TypedCont::<i32, i32>::new(&mut store, &run).unwrap();
    match block_on(cont.resume_async(&mut store, 7, &[swap])).unwrap() {
        Resumed::Returned(result) => result,
        Resumed::Suspended(it) => {
            let object = it.payload(&mut store).unwrap();
            field.call(&mut store, object).unwrap()
        }
    }
}

#[test]
fn what_a_future_ends_with_outlives_what_the_future_does_as_it_is_dropped() {
    for engine in engines() {
        for ends in [Ends::Returns, Ends::Throws, Ends::Suspends] {
            for pending in [0, 1] {
                assert_eq!(run(&engine, pending, ends), 7, "{ends:?}, {pending}");
            }
        }
    }
}

#[test]
fn a_future_that_panics_is_gone_when_the_call_is_left() {
    for engine in engines() {
        for pending in [0, 1] {
            let run = || run(&engine, pending, Ends::Panics);
            let payload = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_err();
            assert_eq!(*payload.downcast::<&str>().unwrap(), "it panics");
        }
    }
}
