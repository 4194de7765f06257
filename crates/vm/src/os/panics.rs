//! Panics of the host's code that is run where they cannot go on, or not yet.
//!
//! What a panic carries is the host's, too, and may panic as it is dropped. Who lets go of it does so here.

use std::any::Any;
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::thread;

/// What a panic carries.
pub(crate) type Payload = Box<dyn Any + Send>;

/// Runs the host's code where nobody is to be told that it panics.
pub(crate) fn contain(body: impl FnOnce()) {
    if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(body)) {
        discard(payload);
    }
}

/// Drops what a panic carries of which nobody is told. If that panics, what this panic carries stays.
pub(crate) fn discard(payload: Payload) {
    if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        mem::forget(payload);
    }
}

/// Drops all of the host's things. Returns the first panic, after all was dropped.
pub(crate) fn drop_each<T>(things: impl IntoIterator<Item = T>) -> Result<(), Payload> {
    let dropped = things
        .into_iter()
        .map(|thing| panic::catch_unwind(AssertUnwindSafe(|| drop(thing))));
    dropped.fold(Ok(()), first)
}

/// The first of two panics.
pub(crate) fn first(a: Result<(), Payload>, b: Result<(), Payload>) -> Result<(), Payload> {
    match (a, b) {
        (Err(first), Err(other)) => {
            discard(other);
            Err(first)
        }
        (a, b) => a.and(b),
    }
}

/// Lets a panic go on out of a destructor, unless that runs because of another one.
pub(crate) fn resume_from_destructor(dropped: Result<(), Payload>) {
    match dropped {
        Ok(()) => {}
        Err(payload) if thread::panicking() => discard(payload),
        Err(payload) => panic::resume_unwind(payload),
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use std::panic;
    use std::sync::Arc;
    use std::task::{Wake, Waker};
    use std::thread;

    /// A waker that panics, with what panics as it is dropped.
    pub(crate) struct PanicsWhenWoken;

    struct PanicsWhenDropped;

    impl Drop for PanicsWhenDropped {
        fn drop(&mut self) {
            assert!(thread::panicking(), "dropped");
        }
    }

    impl Wake for PanicsWhenWoken {
        fn wake(self: Arc<Self>) {
            panic::panic_any(PanicsWhenDropped);
        }
    }

    impl PanicsWhenWoken {
        pub(crate) fn waker() -> Waker {
            Waker::from(Arc::new(PanicsWhenWoken))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// Panics as it is dropped, with another one of these until there were so many.
    struct Chain<'a>(u32, &'a Cell<u32>);

    impl Drop for Chain<'_> {
        fn drop(&mut self) {
            self.1.set(self.1.get() + 1);
            let counter: *const Cell<u32> = self.1;
            // SAFETY: the counter outlives all of these, which are dropped or left in the test.
            let counter: &'static Cell<u32> = unsafe { &*counter };
            if self.0 > 0 {
                panic::panic_any(Sent(Chain(self.0 - 1, counter)));
            }
        }
    }

    struct Sent(Chain<'static>);

    // SAFETY: it stays on its thread.
    unsafe impl Send for Sent {}

    #[test]
    fn what_a_panic_carries_may_panic_as_it_is_dropped() {
        let dropped = Cell::new(0);
        contain(|| drop(Chain(5, &dropped)));
        // The thing, what its panic carried, and no more.
        assert_eq!(dropped.get(), 2);
    }

    #[test]
    fn all_is_dropped_and_the_first_panic_is_told() {
        let dropped = Cell::new(0);
        let things = [0, 3, 2, 0].map(|length| Chain(length, &dropped));
        let told = drop_each(things).unwrap_err();
        // Four things, and what the second panic carried.
        assert_eq!(dropped.get(), 5);
        let told: Box<Sent> = told.downcast().unwrap();
        assert_eq!(told.0.0, 2);
        mem::forget(told);
    }
}
