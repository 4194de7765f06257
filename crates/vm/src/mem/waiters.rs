//! [`Waiters`]: who waits at which address of a shared memory (threads proposal, "wait" and "notify").
//!
//! ```text
//!   Waiters ──► address ──► queue: node, node, node      first come, first served
//!                                   │
//!                Registration ──────┘  is_notified; unlinks the node when dropped
//! ```
//!
//! A waiter is registered with a [`Waker`], and then sleeps as it likes: a thread parks, a task of an
//! executor returns. Nothing here blocks but for the moment that a queue takes to change.
//!
//! # No wake-up is lost
//!
//! A waiter takes the lock, counts itself, and then compares the value in memory; who notifies has
//! changed the value before, and looks at the count first. In the one order of these four operations,
//! either the waiter sees the new value, or the notifier sees the count, takes the lock, and finds the
//! waiter.
//!
//! Callers: [`super::SharedMemory`].

use crate::os::panics;
use hashbrown::HashMap;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// Who waits at which address of one memory.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    queues: Mutex<HashMap<u64, VecDeque<Arc<Node>>>>,
    /// How many nodes there are in all queues, changed under the lock.
    count: AtomicUsize,
}

#[derive(Debug)]
struct Node {
    /// Set once, under the lock, together with the removal from its queue.
    notified: AtomicBool,
    waker: Waker,
}

/// A place in the queue of an address, given up when it is dropped.
#[derive(Debug)]
pub(crate) struct Registration<'a> {
    waiters: &'a Waiters,
    address: u64,
    node: Arc<Node>,
}

impl Waiters {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, VecDeque<Arc<Node>>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues at `address` if `is_expected`, which reads the value in memory (sequentially
    /// consistent).
    pub(super) fn register(
        &self,
        address: u64,
        waker: Waker,
        is_expected: impl FnOnce() -> bool,
    ) -> Option<Registration<'_>> {
        let node = Arc::new(Node {
            notified: AtomicBool::new(false),
            waker,
        });
        let mut queues = self.lock();
        self.count.fetch_add(1, Ordering::SeqCst);
        if !is_expected() {
            self.count.fetch_sub(1, Ordering::SeqCst);
            return None;
        }
        queues
            .entry(address)
            .or_default()
            .push_back(Arc::clone(&node));
        Some(Registration {
            waiters: self,
            address,
            node,
        })
    }

    /// Wakes at most `count` of those who have waited longest at `address`; returns how many.
    ///
    /// # Panics
    ///
    /// Resumes the first panic of a waker, after all were woken.
    pub(super) fn notify(&self, address: u64, count: u32) -> u32 {
        // The guest may have changed the value by a store that is not atomic.
        fence(Ordering::SeqCst);
        if count == 0 || self.count.load(Ordering::SeqCst) == 0 {
            return 0;
        }
        let woken = self.dequeue(address, count);
        let number = woken.len() as u32;
        let wake = |node: &Arc<Node>| catch_unwind(AssertUnwindSafe(|| node.waker.wake_by_ref()));
        let all = woken.iter().map(wake).fold(Ok(()), panics::first);
        // Who waited may be gone, so that its waker goes here.
        match panics::first(all, panics::drop_each(woken)) {
            Ok(()) => number,
            Err(payload) => resume_unwind(payload),
        }
    }

    fn dequeue(&self, address: u64, count: u32) -> VecDeque<Arc<Node>> {
        let mut queues = self.lock();
        let Some(queue) = queues.get_mut(&address) else {
            return VecDeque::new();
        };
        let rest = queue.split_off(queue.len().min(count as usize));
        let woken = std::mem::replace(queue, rest);
        if queue.is_empty() {
            queues.remove(&address);
        }
        for node in &woken {
            node.notified.store(true, Ordering::Release);
        }
        self.count.fetch_sub(woken.len(), Ordering::SeqCst);
        woken
    }
}

impl Registration<'_> {
    /// Whether it has been woken by a notification.
    pub(crate) fn is_notified(&self) -> bool {
        self.node.notified.load(Ordering::Acquire)
    }

    /// Gives the place up. Returns whether a notification came before that.
    pub(crate) fn cancel(self) -> bool {
        self.unlink();
        self.is_notified()
    }

    fn unlink(&self) {
        if self.is_notified() {
            return;
        }
        let mut queues = self.waiters.lock();
        let Some(queue) = queues.get_mut(&self.address) else {
            return;
        };
        let Some(position) = queue.iter().position(|node| Arc::ptr_eq(node, &self.node)) else {
            return;
        };
        queue.remove(position);
        if queue.is_empty() {
            queues.remove(&self.address);
        }
        self.waiters.count.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        self.unlink();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Wake;

    /// Notes the order in which wakers are woken.
    struct Noted(u32, Arc<Mutex<Vec<u32>>>);

    impl Wake for Noted {
        fn wake(self: Arc<Self>) {
            self.1.lock().unwrap().push(self.0);
        }
    }

    #[test]
    fn who_waits_longest_is_woken_first_and_nobody_at_another_address() {
        let waiters = Waiters::default();
        let order = Arc::new(Mutex::new(Vec::new()));
        let register = |number, address| {
            let waker = Waker::from(Arc::new(Noted(number, order.clone())));
            waiters.register(address, waker, || true).unwrap()
        };
        let first = register(1, 8);
        let gone = register(2, 8);
        let third = register(3, 8);
        let elsewhere = register(4, 16);
        assert!(
            waiters
                .register(8, Waker::noop().clone(), || false)
                .is_none()
        );
        drop(gone);
        assert_eq!(waiters.notify(8, 0), 0);
        assert_eq!(waiters.notify(8, 1), 1);
        assert!(first.is_notified() && !third.is_notified());
        assert_eq!(waiters.notify(8, u32::MAX), 1);
        assert_eq!(waiters.notify(8, u32::MAX), 0);
        assert_eq!(*order.lock().unwrap(), [1, 3]);
        assert!(third.cancel());
        assert!(!elsewhere.cancel());
        assert_eq!(waiters.count.load(Ordering::SeqCst), 0);
        assert!(waiters.lock().is_empty(), "queues are not kept");
    }

    /// Panics as it is woken.
    struct Panics(u32);

    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            std::panic::panic_any(self.0);
        }
    }

    #[test]
    fn wakers_that_panic_keep_nobody_else_asleep() {
        let waiters = Waiters::default();
        let order = Arc::new(Mutex::new(Vec::new()));
        let wakers = [
            Waker::from(Arc::new(Noted(1, order.clone()))),
            Waker::from(Arc::new(Panics(2))),
            Waker::from(Arc::new(Noted(3, order.clone()))),
            Waker::from(Arc::new(Panics(4))),
            Waker::from(Arc::new(Noted(5, order.clone()))),
        ];
        let registered = wakers.map(|waker| waiters.register(8, waker, || true).unwrap());
        let notified = catch_unwind(AssertUnwindSafe(|| waiters.notify(8, u32::MAX)));
        let payload = notified.unwrap_err();
        assert_eq!(
            payload.downcast_ref(),
            Some(&2_u32),
            "the first panic is told"
        );
        assert_eq!(*order.lock().unwrap(), [1, 3, 5]);
        assert!(registered.iter().all(Registration::is_notified));
        assert_eq!(waiters.notify(8, u32::MAX), 0, "as good as ever");
    }
}
