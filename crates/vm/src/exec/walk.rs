//! [`Walk`]: the one iterator over a store's frames, innermost first.
//!
//! It follows frame pointers from where the innermost activation was left to its entry stub, by way of the
//! stacks of the continuations that run in it, and goes on with the activation below, until there is none:
//!
//! ```text
//!   store ─► activation ──────────────────────────────► activation ─► null
//!              │ exit_pc, exit_fp                          │
//!              ▼                                           ▼
//!            wasm, wasm  ─parent─►  wasm, wasm, Entry,   wasm, wasm, Entry
//!            continuation's stack   native stack     └─ host frames stand here
//! ```
//!
//! A continuation's first frame is called by an entry stub, too, which is not reported; the next step is
//! the frame in its parent that has resumed it.
//!
//! In memory, each frame pointer points to a pair:
//!
//! ```text
//!            |                       |
//!   fp + 8   | return address        |  into the next outer frame
//!   fp       | next outer frame's fp |
//!            | this frame            |
//! ```
//!
//! Frames that belong to other stores lie among the host frames.
//!
//! # Invariants
//!
//! Compiled code keeps frame pointers always, leaf functions included. Frame pointers grow strictly
//! from frame to frame of a stack, up to the entry stub's: an iterator asserts that before it reads, so it never
//! reads outside of the stack.
//!
//! Callers: `backtrace`, `landing`, `roots`, `throw`.

use crate::code::{self, CodeAt};
use crate::instance::Store;
use sarsen_abi::stack::VmStack;
use sarsen_abi::vmctx::{Activation, VmStoreCtx};
use std::marker::PhantomData;

/// What a walk passes.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// A frame of compiled code: a WebAssembly function's, or a stub's that trapped.
    Wasm(Frame<'a>),
    /// The frame of an entry stub, the last of its activation. Host frames follow.
    Entry {
        /// The return address in the stub.
        pc: usize,
        /// Its frame pointer.
        fp: usize,
    },
}

/// A frame of compiled code that stands on a stack.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    pc: usize,
    fp: usize,
    is_call: bool,
    _code: PhantomData<&'a Store>,
}

impl<'a> Frame<'a> {
    /// The instruction that faulted, or the address that the call in this frame returns to.
    pub fn pc(&self) -> usize {
        self.pc
    }

    /// The frame pointer.
    pub fn fp(&self) -> usize {
        self.fp
    }

    /// Whether [`Frame::pc`] is a return address: false only for the innermost frame after a fault.
    pub fn is_call(&self) -> bool {
        self.is_call
    }

    /// The code and the text offset of [`Frame::pc`].
    ///
    /// # Panics
    ///
    /// Panics when it is not in compiled code, which breaks an invariant of ours.
    pub fn code(&self) -> CodeAt<'a> {
        // SAFETY: a store keeps the code of its frames alive for as long as they stand.
        unsafe { code::lookup(self.pc) }.expect("a frame of compiled code belongs to an image")
    }
}

/// Where a walk begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    /// The innermost frame's program counter.
    pub(super) pc: usize,
    /// Its frame pointer.
    pub(super) fp: usize,
    /// Whether `pc` is a return address.
    pub(super) is_call: bool,
}

/// An iterator over a store's frames. See the module's page.
#[derive(Debug)]
pub struct Walk<'a> {
    at: Start,
    /// The stack that `at` is on; null when there is none.
    stack: *const VmStack,
    activation: *const Activation,
    _frames: PhantomData<&'a Store>,
}

impl<'a> Walk<'a> {
    /// The frames of a store. None, when compiled code of it does not run.
    pub fn new(store: &'a Store) -> Walk<'a> {
        // SAFETY: that the store is borrowed means that its compiled code has called the host and waits
        // (`instance`'s page): the innermost activation has recorded that exit, and the frames stand.
        unsafe { Walk::of_activation((*store.ctx()).activation, (*store.ctx()).current_stack) }
    }

    /// The frames of a store from this one.
    ///
    /// # Safety
    ///
    /// `ctx` must be the running store and `start` its innermost frame. The frames must stand for `'a`.
    pub(super) unsafe fn from_start(ctx: *mut VmStoreCtx, start: Start) -> Walk<'a> {
        // SAFETY: the store is alive.
        let (activation, stack) = unsafe { ((*ctx).activation, (*ctx).current_stack) };
        Walk {
            at: start,
            stack,
            activation,
            _frames: PhantomData,
        }
    }

    /// The stack of the frame that was passed last.
    pub(super) fn stack(&self) -> *mut VmStack {
        self.stack.cast_mut()
    }

    /// The frames of this activation, from its stack `stack` on, and those below.
    ///
    /// # Safety
    ///
    /// `activation` must be null or linked, and must have recorded its exit on `stack`; its frames must stand
    /// for `'a`.
    unsafe fn of_activation(activation: *const Activation, stack: *const VmStack) -> Walk<'a> {
        // SAFETY: the caller's promise.
        let at = match unsafe { activation.as_ref() } {
            Some(a) => Start {
                pc: a.exit_pc,
                fp: a.exit_fp,
                is_call: true,
            },
            None => Start {
                pc: 0,
                fp: 0,
                is_call: true,
            },
        };
        Walk {
            at,
            stack,
            activation,
            _frames: PhantomData,
        }
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Step<'a>;

    #[inline]
    fn next(&mut self) -> Option<Step<'a>> {
        if self.activation.is_null() {
            return None;
        }
        // SAFETY: linked activations and their stacks are alive while the frames of the walk stand.
        let mut entry_fp = unsafe { (*self.stack).entry_fp };
        while self.at.fp == entry_fp {
            // SAFETY: as above; a parent has recorded where it goes on.
            unsafe {
                // The base of an asynchronous call has no number, and no frames of its activation below.
                let parent = (*self.stack).parent.as_ref();
                let Some(parent) = parent.filter(|_| (*self.stack).id != 0) else {
                    let Start { pc, fp, .. } = self.at;
                    let activation = &*self.activation;
                    *self = Walk::of_activation(activation.previous, activation.previous_stack);
                    return Some(Step::Entry { pc, fp });
                };
                self.at = Start {
                    pc: parent.pc,
                    fp: parent.fp,
                    is_call: true,
                };
                self.stack = parent;
                entry_fp = parent.entry_fp;
            }
        }
        let Start { pc, fp, is_call } = self.at;
        assert!(
            fp < entry_fp && fp.is_multiple_of(8),
            "a frame pointer points out of its stack"
        );
        // SAFETY: a frame pointer between the exit and the entry of an activation points to the pair
        // that is drawn above.
        let (next_fp, next_pc) = unsafe {
            let pair = fp as *const usize;
            (pair.read(), pair.add(1).read())
        };
        assert!(next_fp > fp, "frame pointers do not grow");
        self.at = Start {
            pc: next_pc,
            fp: next_fp,
            is_call: true,
        };
        Some(Step::Wasm(Frame {
            pc,
            fp,
            is_call,
            _code: PhantomData,
        }))
    }
}
