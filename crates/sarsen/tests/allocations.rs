//! What the host's memory is used for, and that it is given back.
//!
//! A test program of its own with one test: what is counted belongs to the whole process.

use sarsen::{Engine, Func, FuncType, Store, Val, ValType};
use std::alloc::{GlobalAlloc, Layout, System};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicIsize, Ordering};
use std::task::{Context, Waker};

/// How many bytes there are that were allocated and not freed.
static IN_USE: AtomicIsize = AtomicIsize::new(0);

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: the system's allocator does it all.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }
}

#[test]
fn the_values_of_an_async_host_function_that_panics_are_freed() {
    const RESULTS: usize = 500;
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let ty = FuncType::new(&engine, [], vec![ValType::I64; RESULTS]);
    let f = Func::new_async(&mut store, ty, |_, _, _| panic!("before there is a future"));
    let mut call = || {
        let mut results = [Val::I64(0); RESULTS];
        let mut call = pin!(f.call_async(&mut store, &[], &mut results));
        let mut context = Context::from_waker(Waker::noop());
        let poll = AssertUnwindSafe(|| call.as_mut().poll(&mut context));
        catch_unwind(poll).unwrap_err();
    };
    std::panic::set_hook(Box::new(|_| {}));
    // What is made once and kept.
    (0..10).for_each(|_| call());
    let before = IN_USE.load(Ordering::Relaxed);
    (0..10).for_each(|_| call());
    let after = IN_USE.load(Ordering::Relaxed);
    let _ = std::panic::take_hook();
    let of_one = (RESULTS * size_of::<Val>()) as isize;
    assert!(after - before < of_one, "{} bytes are left", after - before);
}
