//! Runs guests that wait, many on one thread: a call is a future, and so is a function of the host.

use sarsen::{Caller, Engine, Linker, Module, Store};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};

/// A clock that the host advances; in a real program, the executor's timer.
static NOW: AtomicU32 = AtomicU32::new(0);

struct Sleep(u32);

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        match NOW.load(Ordering::Relaxed) >= self.0 {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

pub(crate) fn main() -> sarsen::Result<()> {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module
             (import "host" "sleep" (func $sleep (param i32)))
             (func (export "run") (param $ticks i32) (result i32)
               (call $sleep (local.get $ticks))
               (call $sleep (local.get $ticks))
               (i32.mul (local.get $ticks) (i32.const 2))))"#,
    )?;
    let mut linker = Linker::<&str>::new(&engine);
    linker.func_wrap_async("host", "sleep", |caller: Caller<'_, &str>, ticks: i32| {
        Box::new(async move {
            Sleep(NOW.load(Ordering::Relaxed) + ticks as u32).await;
            println!("{} has slept for {ticks}", caller.data());
        })
    })?;

    // A guest, from its instantiation to its result. Nothing in it blocks the thread.
    let guest = async |name: &'static str, ticks: i32| {
        let mut store = Store::new(&engine, name);
        let instance = linker.instantiate_async(&mut store, &module).await?;
        let run = instance.get_typed_func::<i32, i32>(&mut store, "run")?;
        run.call_async(&mut store, ticks).await
    };

    // Any executor will do. This one polls both until they are ready.
    let (mut quick, mut slow) = (pin!(guest("quick", 1)), pin!(guest("slow", 3)));
    let mut context = Context::from_waker(Waker::noop());
    let mut results = (None, None);
    while results.0.is_none() || results.1.is_none() {
        if results.0.is_none()
            && let Poll::Ready(result) = quick.as_mut().poll(&mut context)
        {
            results.0 = Some((result?, NOW.load(Ordering::Relaxed)));
        }
        if results.1.is_none()
            && let Poll::Ready(result) = slow.as_mut().poll(&mut context)
        {
            results.1 = Some((result?, NOW.load(Ordering::Relaxed)));
        }
        NOW.fetch_add(1, Ordering::Relaxed);
    }
    assert_eq!(results, (Some((2, 2)), Some((6, 6))));

    // Dropping a call ends it wherever it waits.
    let mut dropped = Box::pin(guest("dropped", 5));
    assert!(dropped.as_mut().poll(&mut context).is_pending());
    assert_eq!(engine.async_stacks().in_use, 1);
    drop(dropped);
    assert_eq!(engine.async_stacks().in_use, 0);
    Ok(())
}
