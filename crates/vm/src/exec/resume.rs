//! Continuations that the host resumes.
//!
//! The host's frame is the resumer: an activation whose native stack is the parent of the continuation's,
//! and on which no compiled code stands. Its clauses are the tags that it names. Whatever the continuation
//! does, [`resume`] returns: with a function's results, with what a suspension gives, or with the reason why
//! the continuation was left for good.
//!
//! Like any host frame it is a barrier: nothing that is suspended inside can reach a handler below it.

use super::enter::{Unwound, activate, stack_limit};
use super::landing;
use crate::arch;
use crate::instance::{Reason, Store};
use crate::stack::{chain_end, resume_from_host};
use sarsen_abi::TypeId;
use sarsen_abi::builtin::STATUS_OK;
use sarsen_abi::stack::{RETURNED, VmStack};
use sarsen_abi::vmctx::{ValRaw, VmTag};
use std::num::NonZeroU32;
use std::ptr::NonNull;

/// A continuation that was taken to be resumed, at once: it is consumed.
#[derive(Debug)]
pub struct Prepared {
    pub(super) head: NonNull<VmStack>,
    /// What it is resumed with first: an exception, or zero.
    pub(super) first: u64,
    /// The stack limit of the activation.
    limit: usize,
}

impl Prepared {
    /// Where its arguments go, those that are not bound.
    pub fn values(&self) -> *mut ValRaw {
        // SAFETY: the head of a chain, which the store owns.
        unsafe { (*self.head.as_ptr()).values }
    }
}

/// What a continuation has done. The values are to be read at once: before anything is done with the store.
#[derive(Debug)]
pub enum Resumed {
    /// Its function has returned these results.
    Returned(*const ValRaw),
    /// It is suspended.
    Suspended {
        /// With the tag at this position of those that were given.
        clause: usize,
        /// A reference to the new continuation, whose type is still to be set.
        cont: NonZeroU32,
        /// The values that come with the tag.
        values: *const ValRaw,
    },
}

#[cold]
pub(super) fn failed(reason: impl Into<Reason>) -> Box<Unwound> {
    Box::new(Unwound {
        reason: reason.into(),
        backtrace: None,
    })
}

/// Takes a continuation to resume it as one of this type, which may collect garbage first. The caller writes the
/// arguments, and calls [`resume`].
///
/// # Errors
///
/// When it is null or consumed, when there is no stack for it, or the thread's own stack has no room. Then it
/// is not consumed.
///
/// # Safety
///
/// As [`super::enter()`]; `ty` must be a continuation type that somebody holds.
pub unsafe fn prepare(
    mut store: NonNull<Store>,
    cont: u32,
    ty: TypeId,
) -> Result<Prepared, Box<Unwound>> {
    // SAFETY: the caller's promise.
    let (limit, head) = unsafe {
        let limit = stack_limit(store)?;
        let store = store.as_mut();
        let func_type = store.func_type_of_cont(ty);
        (limit, store.prepare_cont(cont, func_type).map_err(failed)?)
    };
    Ok(Prepared {
        head,
        first: 0,
        limit,
    })
}

/// Takes a suspended continuation to throw an exception where it was suspended; `None` when it was fresh: then
/// it is consumed, and the exception is its resumer's.
///
/// # Errors
///
/// As [`prepare`].
///
/// # Safety
///
/// As [`prepare`]; `exception` must be one of the store.
pub unsafe fn prepare_throw(
    mut store: NonNull<Store>,
    cont: u32,
    ty: TypeId,
    exception: NonZeroU32,
) -> Result<Option<Prepared>, Box<Unwound>> {
    // SAFETY: the caller's promise.
    unsafe {
        let limit = stack_limit(store)?;
        let store = store.as_mut();
        let func_type = store.func_type_of_cont(ty);
        let head = store.prepare_throw(cont, func_type).map_err(failed)?;
        Ok(head.map(|head| {
            landing::throw_when_resumed(head);
            Prepared {
                head,
                first: u64::from(exception.get()),
                limit,
            }
        }))
    }
}

/// Resumes a continuation, with a clause for each of `tags`: the last `switches` of them are for switches, all
/// others for suspensions.
///
/// # Errors
///
/// When it was left: by a trap, an exception or a host function's error.
///
/// # Panics
///
/// As [`super::enter()`].
///
/// # Safety
///
/// As [`super::enter()`]. The continuation must just have been prepared, by the caller itself, and the
/// arguments written; the tags must be of this store.
pub unsafe fn resume(
    store: NonNull<Store>,
    prepared: &Prepared,
    tags: &[NonNull<VmTag>],
    switches: usize,
) -> Result<Resumed, Box<Unwound>> {
    let head = prepared.head.as_ptr();
    let mut words = [0u64; 2];
    // SAFETY: the caller's promise. The chain is the current stack's only as long as this frame, with
    // the tags, stands: when it returns, the chain is cut, recycled or finished.
    unsafe {
        let ctx = store.as_ref().ctx();
        activate(store, prepared.limit, |activation| {
            let native = &raw mut (*activation).native;
            link(head, native, tags, switches);
            resume_from_host(head, ctx, prepared.first, &raw mut words, native);
            if words[0] == arch::LEFT {
                !STATUS_OK
            } else {
                STATUS_OK
            }
        })?;
    }
    Ok(Resumed::from_words(words))
}

/// Puts a chain before a stack of the host's, with clauses for these tags. They must be there for as long as
/// the chain is.
///
/// # Safety
///
/// `head` must be the head of a suspended chain that is the caller's, to resume it at once.
pub(super) unsafe fn link(
    head: *mut VmStack,
    parent: *mut VmStack,
    tags: &[NonNull<VmTag>],
    switches: usize,
) {
    let suspends = tags.len() - switches;
    let first = tags.first().filter(|_| suspends > 0);
    // What is first is not in the array.
    let others = tags.as_ptr().wrapping_add(suspends.min(1));
    // SAFETY: the caller's promise.
    unsafe {
        let end = chain_end(head);
        (*end).parent = parent;
        (*end).first_tag = first.map_or(std::ptr::null(), |tag| tag.as_ptr().cast());
        (*end).handlers = others.cast();
        (*end).handler_count = suspends as u32;
        (*end).switch_count = switches as u32;
        (*head).owner = 0;
    }
}

impl Resumed {
    /// What the words mean with which a continuation's stack has switched back.
    pub(super) fn from_words([status, values]: [u64; 2]) -> Resumed {
        let values: *const ValRaw = std::ptr::with_exposed_provenance(values as usize);
        match status as u32 {
            RETURNED => Resumed::Returned(values),
            clause => Resumed::Suspended {
                clause: clause as usize,
                cont: NonZeroU32::new((status >> 32) as u32)
                    .expect("a suspension makes a continuation"),
                values,
            },
        }
    }
}
