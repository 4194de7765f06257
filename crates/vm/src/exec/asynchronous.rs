//! Asynchronous calls: compiled code on a stack of its own, which a poll enters and leaves as often as what
//! the code calls has to wait.
//!
//! ```text
//!   poll ── enter_base ──► base: entry stub ──► wasm ──► exit stub ── native_call ──┐
//!    ▲                                                                             ▼
//!    │◄────────────── waits: leaves the code as it stands ─────────── host's function, on the poll's stack
//!    │
//!   poll ── polls the job, on its own stack ── answered: enter_base ──► native_call returns to the stub
//! ```
//!
//! A host function or builtin that cannot go on leaves a [`Job`] with the call ([`wait_for`]) and returns.
//! The next polls poll the job alone; compiled code does not run before it has an answer.
//!
//! # Invariants
//!
//! - The activation is linked while a poll runs, and only then. So no code of the store, nor the thread,
//!   refers to it between two polls, and the next may come from another thread.
//! - A job is dropped before the stacks are recycled. Of the code, nothing needs to be dropped.
//! - Only the innermost activation can wait. One that is not an asynchronous call's never does.
//! - A call that is forgotten is one that is never polled nor dropped. Its stacks are the store's
//!   ([`Store::begin_base`]). Its job is nobody's: it may refer to what the host had borrowed of the store meanwhile,
//!   so that nothing of it may run again, not even to drop it.

use super::Unwound;
use super::enter::{Stay, leave_to_previous, stack_limit, unwound};
use super::resume::{Prepared, Resumed, failed, link};
use super::thread;
use crate::arch::{self, ResumeArguments};
use crate::instance::Store;
use crate::stack::{Base, recycle, recycle_abandoned};
use sarsen_abi::builtin::STATUS_OK;
use sarsen_abi::stack::{VmStack, VmSuspension};
use sarsen_abi::vmctx::{Activation, ValRaw, VmFuncRef, VmStoreCtx, VmTag};
use smallvec::SmallVec;
use std::mem::{self, MaybeUninit};
use std::ptr::{self, NonNull};
use std::task::{Context, Poll};

/// What a host function or builtin returns: two machine words, of which the second may mean nothing.
pub type Answer = [u64; 2];

/// What compiled code waits for.
pub trait Job: Send {
    /// Whether there is an answer. A failure is recorded in the store, and told by a status.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Answer>;
}

/// What a call is about to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Begins,
    Waits,
    /// Nothing: it has ended, or a poll has panicked.
    Over,
}

/// What stays in one place while the call lasts.
#[repr(C)]
struct State {
    /// First, because the activation points to it.
    suspension: VmSuspension,
    stay: MaybeUninit<Stay>,
    job: Option<Box<dyn Job>>,
    /// The context of the poll that runs; null between polls.
    context: *mut Context<'static>,
    phase: Phase,
    store: NonNull<Store>,
    values: SmallVec<[ValRaw; 4]>,
    /// What the call resumes, if it does not call a function.
    resumption: Option<Resumption>,
    /// The stack on which the code began; null when the call has ended. It is one of the store's
    /// [`Bases`](crate::stack::Bases), which know on what stack the code goes on.
    base: *mut VmStack,
}

/// A continuation that is resumed.
struct Resumption {
    /// Its head, until it begins.
    head: Option<NonNull<VmStack>>,
    /// Its clauses.
    _tags: SmallVec<[NonNull<VmTag>; 4]>,
    arguments: ResumeArguments,
    /// With what it has switched back.
    words: [u64; 2],
}

/// A call of a function of a store that is made by polling. Dropping it recycles its stacks; nothing is
/// unwound.
pub struct AsyncCall(NonNull<State>);

// SAFETY: what it points to is its own, the store's, and jobs; all go to another thread together.
unsafe impl Send for AsyncCall {}

impl std::fmt::Debug for AsyncCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("AsyncCall").field(&self.0).finish()
    }
}

impl AsyncCall {
    /// A call of `callee`, with room for so many values: arguments or results, whichever is more.
    ///
    /// # Errors
    ///
    /// When there is no stack for it.
    ///
    /// # Safety
    ///
    /// `callee` must be a function of the store that is ready to be called. The result must be dropped
    /// before the store is, or never. Other calls of the store that are between two polls must never be polled or
    /// dropped again: their stacks are recycled.
    pub unsafe fn new(
        store: &mut Store,
        callee: *const VmFuncRef,
        value_count: usize,
    ) -> Result<AsyncCall, Box<Unwound>> {
        let base = store.begin_base(|pool| Base::new(pool, callee, value_count));
        let base = base.map_err(failed)?;
        // SAFETY: the caller's promise.
        Ok(unsafe { AsyncCall::on_base(store, base, value_count) })
    }

    /// A call that will resume a continuation: [`AsyncCall::resume`].
    ///
    /// # Errors
    ///
    /// When there is no stack for it.
    ///
    /// # Safety
    ///
    /// As [`AsyncCall::new`].
    pub unsafe fn to_resume(store: &mut Store) -> Result<AsyncCall, Box<Unwound>> {
        let base = store.begin_base(Base::for_resumption).map_err(failed)?;
        // SAFETY: the caller's promise.
        Ok(unsafe { AsyncCall::on_base(store, base, 0) })
    }

    /// Says what it resumes, and with what clauses, as [`super::resume()`] is told.
    ///
    /// # Panics
    ///
    /// Panics when it was said before.
    ///
    /// # Safety
    ///
    /// As [`super::resume()`]; the call must have been made to resume, and be polled at once.
    pub unsafe fn resume(&mut self, prepared: &Prepared, tags: &[NonNull<VmTag>], switches: usize) {
        let state = self.0.as_ptr();
        let head = prepared.head;
        // SAFETY: the state is ours, and stays where it is. The chain is the caller's, and the base its parent as
        // long as the state is there.
        unsafe {
            assert!((*state).resumption.is_none(), "a call resumes once");
            let base = (*state).base;
            let resumption = (*state).resumption.insert(Resumption {
                head: Some(head),
                _tags: tags.into(),
                arguments: ResumeArguments {
                    stack: head.as_ptr(),
                    store: (*state).store.as_ref().ctx(),
                    first: prepared.first,
                    out: ptr::null_mut(),
                    native: base,
                },
                words: [0; 2],
            });
            resumption.arguments.out = &raw mut resumption.words;
            link(head.as_ptr(), base, &resumption._tags, switches);
        }
    }

    /// What the continuation has done, when the call is ready.
    ///
    /// # Panics
    ///
    /// Panics when it has resumed none.
    pub fn resumed(&mut self) -> Resumed {
        // SAFETY: ours.
        let resumption = unsafe { (*self.0.as_ptr()).resumption.as_ref() };
        Resumed::from_words(resumption.expect("the call was made to resume").words)
    }

    /// # Safety
    ///
    /// As [`AsyncCall::new`].
    unsafe fn on_base(store: &mut Store, base: *mut VmStack, value_count: usize) -> AsyncCall {
        let mut state = Box::new(State {
            suspension: VmSuspension {
                waits: 0,
                sp: 0,
                base,
            },
            stay: MaybeUninit::uninit(),
            job: None,
            context: ptr::null_mut(),
            phase: Phase::Begins,
            store: store.as_non_null(),
            values: SmallVec::from_elem(ValRaw::default(), value_count),
            resumption: None,
            base,
        });
        let activation = state.stay.as_mut_ptr().cast::<Activation>();
        // SAFETY: both are ours, and stay where they are.
        unsafe {
            (*activation).native.parent = ptr::null_mut();
            (*activation).native.first_tag = ptr::null();
            (*activation).native.id = 0;
            (*activation).suspension = &raw mut state.suspension;
            (*base).parent = activation.cast();
            (*base).buffer = state.values.as_mut_ptr();
        }
        AsyncCall(NonNull::from(Box::leak(state)))
    }

    /// Where the arguments go before the first poll, and the results are after the last.
    pub fn values(&mut self) -> *mut ValRaw {
        // SAFETY: ours.
        unsafe { (*self.0.as_ptr()).values.as_mut_ptr() }
    }

    /// Goes on with the call: as [`super::enter()`], once it is ready.
    ///
    /// # Errors
    ///
    /// As [`super::enter()`].
    ///
    /// # Panics
    ///
    /// As [`super::enter()`], and when it is polled again after it was ready.
    ///
    /// # Safety
    ///
    /// As [`super::enter()`], for the store that the call was made for.
    pub unsafe fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Box<Unwound>>> {
        let state = self.0.as_ptr();
        // SAFETY: the state is ours, and reached by pointers only while code or jobs run, which may use
        // it, too. The rest is the caller's promise.
        unsafe {
            let mut store = (*state).store;
            let limit = match stack_limit(store) {
                Ok(limit) => limit,
                Err(error) => {
                    self.cancel();
                    return Poll::Ready(Err(error));
                }
            };
            let phase = mem::replace(&mut (*state).phase, Phase::Over);
            assert_ne!(phase, Phase::Over, "a call was polled after it was ready");
            let current = store.as_mut().bases.go_on((*state).base);
            let linked = Linked::new(state, current, limit, context);
            let activation = linked.activation();
            let status = if phase == Phase::Begins {
                let sp = mem::take(&mut (*current).sp);
                let what = match &mut (*state).resumption {
                    Some(resumption) => {
                        resumption.head = None;
                        (&raw mut resumption.arguments).expose_provenance()
                    }
                    None => current.expose_provenance(),
                };
                arch::enter_base(activation, sp, (*current).pc, what as u64, 0)
            } else {
                let job = (*state).job.as_mut().expect("what waits has a job");
                let Poll::Ready([first, second]) = job.poll(context) else {
                    (*state).phase = Phase::Waits;
                    return Poll::Pending;
                };
                (*state).job = None;
                (*state).suspension.waits = 0;
                let pc = arch::answer as *const () as usize;
                arch::enter_base(activation, (*state).suspension.sp, pc, first, second)
            };
            if (*state).suspension.waits != 0 {
                (*state).phase = Phase::Waits;
                return Poll::Pending;
            }
            drop(linked);
            let base = mem::replace(&mut (*state).base, ptr::null_mut());
            drop(store.as_mut().bases.remove(base));
            let resumption = (*state).resumption.as_ref();
            let was_left = resumption.is_some_and(|it| it.words[0] == arch::LEFT);
            if status == STATUS_OK && !was_left {
                return Poll::Ready(Ok(()));
            }
            // The stub returned another status, so `landing` has written it.
            let backtrace = (*(*state).stay.as_mut_ptr()).backtrace.assume_init_read();
            Poll::Ready(Err(unwound(store, backtrace)))
        }
    }

    /// Drops what the call waits for, and recycles its stacks.
    fn cancel(&mut self) {
        let state = self.0.as_ptr();
        // SAFETY: no poll runs. The job may use the store as it is dropped, but not this call.
        unsafe {
            (*state).phase = Phase::Over;
            let recycle = Recycle::new(state);
            let job = (*state).job.take();
            drop(job);
            drop(recycle);
        }
    }
}

/// Recycles the stacks of a call that will not go on, also when a job panics as it is dropped.
struct Recycle {
    state: *mut State,
    /// Where the code stands.
    current: *mut VmStack,
}

impl Recycle {
    /// # Safety
    ///
    /// The call's state, and its store unless the call has ended, must be alive as long as the result.
    unsafe fn new(state: *mut State) -> Recycle {
        // SAFETY: the caller's promise.
        unsafe {
            let base = (*state).base;
            let current = match base.is_null() {
                true => base,
                false => (*state).store.as_mut().bases.go_on(base),
            };
            Recycle { state, current }
        }
    }
}

impl Drop for Recycle {
    fn drop(&mut self) {
        let Recycle { state, current } = *self;
        // SAFETY: the call's state, and its store, are alive; nobody runs on its stacks.
        unsafe {
            let base = mem::replace(&mut (*state).base, ptr::null_mut());
            if base.is_null() {
                return;
            }
            let _given_back_last = (*state).store.as_mut().bases.remove(base);
            let ctx = (*state).store.as_ref().ctx();
            let resumption = (*state).resumption.as_mut();
            if let Some(not_begun) = resumption.and_then(|resumption| resumption.head.take()) {
                // Still suspended: a host function may have left something there.
                return recycle(ctx, not_begun.as_ptr());
            }
            recycle_abandoned(ctx, current, base);
        }
    }
}

impl Drop for AsyncCall {
    fn drop(&mut self) {
        struct Free(NonNull<State>);
        impl Drop for Free {
            fn drop(&mut self) {
                // SAFETY: leaked in `AsyncCall::new`, and freed once.
                drop(unsafe { Box::from_raw(self.0.as_ptr()) });
            }
        }
        let _free = Free(self.0);
        self.cancel();
    }
}

/// While it lives, the activation of a call is the store's and the thread's innermost.
struct Linked {
    state: *mut State,
    ctx: *mut VmStoreCtx,
    outer: *mut VmStoreCtx,
}

impl Linked {
    /// # Safety
    ///
    /// As [`AsyncCall::poll`]; `limit` must be the native stack's, `current` where the code goes on. The result must
    /// be dropped before `context` is, in the order of other activations.
    unsafe fn new(
        state: *mut State,
        current: *mut VmStack,
        limit: usize,
        context: &mut Context<'_>,
    ) -> Linked {
        // SAFETY: the caller's promise.
        unsafe {
            let ctx = (*state).store.as_ref().ctx();
            let activation = (*state).stay.as_mut_ptr().cast::<Activation>();
            (*activation).native.stack_limit = limit;
            (*activation).previous = (*ctx).activation;
            (*activation).previous_stack = (*ctx).current_stack;
            (*state).context = ptr::from_mut(context).cast();
            (*ctx).activation = activation;
            (*ctx).current_stack = current;
            (*ctx).stack_limit = (*current).stack_limit;
            let outer = (*thread::this()).store.replace(ctx);
            Linked { state, ctx, outer }
        }
    }

    fn activation(&self) -> *mut Activation {
        // SAFETY: the state is alive.
        unsafe { (*self.state).stay.as_mut_ptr().cast() }
    }
}

impl Drop for Linked {
    fn drop(&mut self) {
        // SAFETY: the state and its store are alive, on the thread that linked it.
        unsafe {
            let activation = self.activation();
            if (*self.state).suspension.waits != 0 {
                let current = (*self.ctx).current_stack;
                let mut store = (*self.state).store;
                store.as_mut().bases.wait((*self.state).base, current);
            }
            (*self.state).context = ptr::null_mut();
            leave_to_previous(self.ctx, activation);
            (*thread::this()).store.set(self.outer);
        }
    }
}

/// The call that the innermost activation of a store is, if it is an asynchronous one.
///
/// # Safety
///
/// The store must be alive, and used by this thread alone.
#[inline]
unsafe fn innermost(store: NonNull<Store>) -> Option<*mut State> {
    // SAFETY: linked activations are alive, and a suspension begins the state of its call.
    let suspension = unsafe { (*store.as_ref().ctx()).activation.as_ref()?.suspension };
    (!suspension.is_null()).then(|| suspension.cast())
}

/// Whether what a store's compiled code calls now may wait: it was called asynchronously.
///
/// # Safety
///
/// The store must be alive, and used by this thread alone.
#[inline]
pub unsafe fn can_wait(store: NonNull<Store>) -> bool {
    // SAFETY: the caller's promise.
    unsafe { innermost(store) }.is_some()
}

/// Passes the context of the poll that runs a store's compiled code to `poll`. `None` when that was not called
/// asynchronously.
///
/// # Safety
///
/// As [`can_wait`]; called by a host function or builtin, for what its caller's activation is.
#[inline]
pub unsafe fn with_context<R>(
    store: NonNull<Store>,
    poll: impl FnOnce(&mut Context<'_>) -> R,
) -> Option<R> {
    // SAFETY: while code runs, so does the poll that has lent its context, which it does not use itself.
    unsafe {
        let state = innermost(store)?;
        let context: *mut Context<'_> = (*state).context.cast();
        Some(poll(&mut *context))
    }
}

/// Leaves `job` with the innermost activation: its code goes on with the job's answer.
///
/// # Panics
///
/// Panics when that is not an asynchronous call's ([`can_wait`]).
///
/// # Safety
///
/// Called by a host function or builtin, which must return to the code at once; what it returns is
/// ignored. The answer must be what it would have returned, and the job must be valid as long as the code's
/// frames stand.
pub unsafe fn wait_for(store: NonNull<Store>, job: Box<dyn Job>) {
    // SAFETY: alive, and used by this thread alone.
    unsafe {
        let state = innermost(store).expect("only an asynchronous call waits");
        (*state).job = Some(job);
        (*state).suspension.waits = 1;
    }
}
