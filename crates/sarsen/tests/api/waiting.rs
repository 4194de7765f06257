//! Asynchronous calls that wait in a shared memory, and epochs that pass meanwhile.

use super::asynchronous::{Alive, block_on};
use sarsen::{
    Config, Engine, Instance, Module, SharedMemory, Store, StoreContextMut, Trap, TypedFunc,
    UpdateDeadline,
};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

const WAIT: &str = r#"(module
    (import "" "memory" (memory 1 1 shared))
    (func (export "wait") (param i64) (result i32)
      (memory.atomic.wait32 (i32.const 8) (i32.const 0) (local.get 0))))"#;

/// A store with `WAIT`, whose deadline is the next epoch.
struct Waiting {
    engine: Engine,
    memory: SharedMemory,
    store: Store<()>,
    wait: TypedFunc<i64, i32>,
}

fn waiting() -> Waiting {
    let engine = Engine::new(Config::new().epoch_interruption(true)).unwrap();
    let module = Module::new(&engine, WAIT).unwrap();
    let ty = *module.imports().next().unwrap().ty().memory().unwrap();
    let memory = SharedMemory::new(&engine, ty).unwrap();
    let mut store = Store::new(&engine, ());
    store.set_epoch_deadline(1);
    let instance = Instance::new(&mut store, &module, &[memory.clone().into()]).unwrap();
    let wait = instance.get_typed_func(&mut store, "wait").unwrap();
    Waiting {
        engine,
        memory,
        store,
        wait,
    }
}

impl Waiting {
    /// Asserts that nobody waits any more, and nothing is left of any call.
    fn assert_nobody_waits(&self) {
        assert_eq!(self.engine.async_stacks().in_use, 0);
        assert_eq!(self.memory.atomic_notify(8, u32::MAX), Ok(0));
    }
}

/// Sends a message for each time that it wakes.
struct Bell(Mutex<Sender<()>>);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.lock().unwrap().send(()).unwrap();
    }
}

fn bell() -> (Waker, Receiver<()>) {
    let (ring, rung) = channel();
    (Waker::from(Arc::new(Bell(Mutex::new(ring)))), rung)
}

fn poll<F: Future>(future: Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(waker))
}

#[test]
fn a_wait_is_woken_by_each_deadline_and_goes_on_waiting_when_it_yields() {
    let mut it = waiting();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    it.store.epoch_deadline_callback(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        Ok(UpdateDeadline::Yield(2))
    });
    let (waker, rung) = bell();
    {
        let mut call = pin!(it.wait.call_async(&mut it.store, -1));
        assert!(poll(call.as_mut(), &waker).is_pending());
        for round in 0..3 {
            assert_eq!(asked.load(Ordering::SeqCst), round);
            it.engine.increment_epoch();
            if round > 0 {
                assert!(poll(call.as_mut(), &waker).is_pending());
                assert_eq!(asked.load(Ordering::SeqCst), round, "one tick is left");
                it.engine.increment_epoch();
            }
            rung.recv().unwrap();
            assert!(poll(call.as_mut(), &waker).is_pending());
        }
        assert_eq!(it.memory.atomic_notify(8, 1), Ok(1));
        rung.recv().unwrap();
        let Poll::Ready(result) = poll(call.as_mut(), &waker) else {
            panic!("notified, but it waits");
        };
        assert_eq!(result.unwrap(), 0);
    }
    it.assert_nobody_waits();
}

#[test]
fn a_deadline_that_traps_ends_a_wait_whether_it_comes_before_or_during_it() {
    let mut it = waiting();
    it.store.epoch_deadline_trap();
    let engine = it.engine.clone();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| block_on(it.wait.call_async(&mut it.store, -1)));
        while !waits.is_finished() {
            engine.increment_epoch();
            std::thread::yield_now();
        }
        let error = waits.join().unwrap().unwrap_err();
        assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::Interrupt));
    });
    it.assert_nobody_waits();
    // The function's own check is passed by a deadline that is over when the wait begins.
    let mut passes = 1;
    it.store.set_epoch_deadline(0);
    it.store.epoch_deadline_callback(move |_| {
        passes -= 1;
        Ok(match passes {
            0.. => UpdateDeadline::Continue(0),
            _ => UpdateDeadline::Interrupt,
        })
    });
    let error = block_on(it.wait.call_async(&mut it.store, -1)).unwrap_err();
    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::Interrupt));
    it.assert_nobody_waits();
}

#[test]
fn what_the_callback_of_a_wait_fails_with_reaches_the_caller() {
    let mut it = waiting();
    it.store
        .epoch_deadline_callback(|_: StoreContextMut<'_, ()>| sarsen::bail!("enough"));
    let (waker, rung) = bell();
    {
        let mut call = pin!(it.wait.call_async(&mut it.store, -1));
        assert!(poll(call.as_mut(), &waker).is_pending());
        it.engine.increment_epoch();
        rung.recv().unwrap();
        let Poll::Ready(Err(error)) = poll(call.as_mut(), &waker) else {
            panic!("the wait goes on")
        };
        assert_eq!(error.root_cause().to_string(), "enough");
    }
    it.store.set_epoch_deadline(1);
    it.store
        .epoch_deadline_callback(|_: StoreContextMut<'_, ()>| panic!("at the deadline"));
    {
        let mut call = pin!(it.wait.call_async(&mut it.store, -1));
        assert!(poll(call.as_mut(), &waker).is_pending());
        it.engine.increment_epoch();
        rung.recv().unwrap();
        let polled = std::panic::AssertUnwindSafe(|| poll(call.as_mut(), &waker).is_ready());
        let payload = std::panic::catch_unwind(polled).unwrap_err();
        assert_eq!(payload.downcast_ref(), Some(&"at the deadline"));
    }
    it.assert_nobody_waits();
}

#[test]
fn a_waker_that_panics_keeps_nobody_else_waiting() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("woken");
        }
    }
    let mut first = waiting();
    let memory = first.memory.clone();
    let engine = first.engine.clone();
    let wait = Module::new(&engine, WAIT).unwrap();
    let notify = r#"(module
        (import "" "memory" (memory 1 1 shared))
        (func (export "notify") (result i32)
          (memory.atomic.notify (i32.const 8) (i32.const -1))))"#;
    let notify = Module::new(&engine, notify).unwrap();
    let mut stores = [(); 2].map(|()| {
        let mut store = Store::new(&engine, ());
        store.set_epoch_deadline(1);
        store
    });
    let [second, other] = &mut stores;
    let instance = Instance::new(&mut *second, &wait, &[memory.clone().into()]).unwrap();
    let second_wait = instance
        .get_typed_func::<i64, i32>(&mut *second, "wait")
        .unwrap();
    let instance = Instance::new(&mut *other, &notify, &[memory.clone().into()]).unwrap();
    let notify = instance
        .get_typed_func::<(), i32>(&mut *other, "notify")
        .unwrap();
    let panics = Waker::from(Arc::new(Panics));
    let (waker, rung) = bell();
    for by_guest in [false, true] {
        let mut one = pin!(first.wait.call_async(&mut first.store, -1));
        assert!(poll(one.as_mut(), &panics).is_pending());
        let mut two = pin!(second_wait.call_async(&mut *second, -1));
        assert!(poll(two.as_mut(), &waker).is_pending());
        let notified = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            if by_guest {
                let _ = notify.call(&mut *other, ());
            } else {
                let _ = memory.atomic_notify(8, u32::MAX);
            }
        }));
        assert_eq!(notified.unwrap_err().downcast_ref(), Some(&"woken"));
        rung.recv().unwrap();
        for call in [one.as_mut(), two.as_mut()] {
            let Poll::Ready(result) = poll(call, &waker) else {
                panic!("notified, but it waits");
            };
            assert_eq!(result.unwrap(), 0);
        }
    }
    assert_eq!(notify.call(&mut *other, ()).unwrap(), 0);
    first.assert_nobody_waits();
}

#[test]
fn a_wait_that_is_dropped_is_woken_by_nobody() {
    struct Counting(
        #[expect(dead_code, reason = "counts while it lives")] super::asynchronous::Counted,
    );
    impl Wake for Counting {
        fn wake(self: Arc<Self>) {
            panic!("nobody waits");
        }
    }
    let mut it = waiting();
    it.store.epoch_deadline_async_yield_and_update(1);
    let alive = Alive::default();
    let waker = Waker::from(Arc::new(Counting(alive.one())));
    {
        // Ten seconds: there is a timer, too.
        let mut call = pin!(it.wait.call_async(&mut it.store, 10_000_000_000));
        assert!(poll(call.as_mut(), &waker).is_pending());
    }
    it.assert_nobody_waits();
    drop(waker);
    assert_eq!(alive.count(), 0, "the waker is still somewhere");
    it.engine.increment_epoch();
}

#[test]
fn a_waker_that_notifies_as_it_is_dropped_wakes_the_wait_that_had_it() {
    struct Notifies(SharedMemory);
    impl Wake for Notifies {
        fn wake(self: Arc<Self>) {}
    }
    impl Drop for Notifies {
        fn drop(&mut self) {
            assert_eq!(self.0.atomic_notify(8, 1), Ok(1));
        }
    }
    let mut it = waiting();
    let first = Waker::from(Arc::new(Notifies(it.memory.clone())));
    let (waker, rung) = bell();
    {
        let mut call = pin!(it.wait.call_async(&mut it.store, -1));
        assert!(poll(call.as_mut(), &first).is_pending());
        drop(first);
        let Poll::Ready(result) = poll(call.as_mut(), &waker) else {
            panic!("notified, but it waits");
        };
        assert_eq!(result.unwrap(), 0);
    }
    rung.recv().unwrap();
    it.assert_nobody_waits();
}
