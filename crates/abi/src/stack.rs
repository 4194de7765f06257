//! Stacks: the control block of each, which compiled code, the switching routine and the runtime share.
//!
//! WebAssembly runs on a thread's native stack, or on a *pool stack*: a continuation's. A pool stack has
//! its control block at its high end:
//!
//! ```text
//!   high addresses
//!   +---------------------------+
//!   | color, 0 to 2688 bytes    |  unused: so that the blocks of many stacks share no cache set
//!   +---------------------------+ <- *mut VmStack
//!   | VmStack                   |
//!   +---------------------------+ <- buffer
//!   | arguments of the function |  one ValRaw each; its results afterwards
//!   +---------------------------+ <- where a new stack's `sp` begins
//!   | two words                 |  what its beginning needs again at its end
//!   | frame of an entry stub    |  <- entry_fp
//!   | WebAssembly frames        |
//!   | ...                       |  <- fp, sp while it is suspended, or a parent
//!   |                           |
//!   | 4 KiB                     |  for what checks no limit: frameless leaves, stubs of builtins
//!   +---------------------------+ <- low
//!   | guard, 4 KiB              |
//!   +---------------------------+
//!   low addresses
//! ```
//!
//! A native stack's block is in its [`Activation`](crate::vmctx::Activation), and begins it. What runs
//! in an activation is a chain, by `parent`:
//!
//! ```text
//!   store.current_stack ─► running ─parent─► parent ─parent─► native ─parent─► null
//!                            resumed by a frame of ^ resumed by ^ a frame of this one
//! ```
//!
//! `resume` puts a stack (or a suspended chain of them) before the current one; `suspend` cuts the chain
//! where a handler is: what was before it belongs to a new continuation, which refers to the innermost
//! stack, the *head*; the outermost of them is the head's `chain_end`.
//!
//! # Who owns what
//!
//! | state | told by | fields in use | written by |
//! |---|---|---|---|
//! | free | on the store's free list (`next_free`), or the pool's | `low`, `id`, `buffer` | the runtime; whoever finishes on it |
//! | fresh: taken for a function that has not begun | only between two instructions | `func`, `values`, `pc`, `sp` | the runtime |
//! | running | `store.current_stack` | `entry_fp`, the resumer's fields | itself, as it leaves this state |
//! | parent | reachable by `parent` from the running one | `sp`, `fp`, `pc` | what runs before it: by returning to it, at most once |
//! | suspended, head | `owner` is not zero | `sp`, `fp`, `pc`, `chain_end`, `values`, `func_type`, `bound`, `host` | who has the continuation, once; the collector (`owner`, references in frames) |
//! | suspended, not head | reachable by `parent` from a head, up to its `chain_end` | `sp`, `fp`, `pc` | with the head |
//!
//! The *resumer's fields* (`parent`, `first_tag`, `handlers`, `counts`) are those of the stack whose
//! parent resumed it, so of a `chain_end`. They are written when it is resumed, and mean nothing while it is
//! suspended.
//!
//! A continuation that is not fresh is *consumed* when it is not the `owner` of the stack with its number:
//! nothing is written to the object, and what it says alone gives nobody a stack. Nor does the type that code takes
//! a reference for say what the stack is resumed with and gives: that is compared with the head's `func_type`.
//!
//! A host function suspends by ending, and its exit stub's frame is then the innermost: the head's `host` leads to
//! a record of what the host does when it is resumed, which goes with the stack until then. `pc` is a
//! routine of the runtime's; the frame that has called the host function is in the record.
//!
//! While the current stack has a parent, and so is no native one, host code must run on the native stack of
//! the activation, below the `sp` that was saved when it was left.

use crate::TypeId;
use crate::vmctx::{ValRaw, VmFuncRef};
use core::mem::offset_of;

/// The control block of a stack. See the module's page. What a collection looks at is together in its first 64
/// bytes, a line of a cache.
#[derive(Debug)]
#[repr(C)]
pub struct VmStack {
    /// The frame pointer of the entry stub at its beginning. First, because that stub writes it.
    pub entry_fp: usize,
    /// Where to continue: the frame pointer.
    pub fp: usize,
    /// Where to continue: the program counter.
    pub pc: usize,
    /// The stack that has resumed this one; null for a native stack.
    pub parent: *mut VmStack,
    /// Of a head: the outermost stack of its chain.
    pub chain_end: *mut VmStack,
    /// The reference of the continuation that owns it as a head; zero when none does. With
    /// [`OWNER_CLEAN`] when the stack has not run since the last collection.
    pub owner: u32,
    /// Its number in [`crate::vmctx::VmStoreCtx::stack_table`].
    pub id: u32,
    /// Its place among the store's stacks that have run since the last collection, plus one; or zero.
    pub ran_place: u32,
    /// Of a head: how many arguments are bound to the continuation that owns it. The runtime's.
    pub bound: u32,
    /// Of a head on which a host function has suspended: the runtime's record of it. Null otherwise.
    pub host: *mut u8,
    /// Where to continue: the stack pointer.
    pub sp: usize,
    /// The lowest stack pointer that a prologue on it accepts.
    pub stack_limit: usize,
    /// The tag ([`crate::vmctx::VmTag`]) of the first clause that handles suspensions; or null.
    pub first_tag: *const u8,
    /// The tags of the other clauses, in the resumer's frame: `handler_count - 1` for suspensions, then
    /// `switch_count` for switches.
    pub handlers: *const *const u8,
    /// How many clauses handle suspensions, the first included.
    pub handler_count: u32,
    /// How many clauses handle switches.
    pub switch_count: u32,
    /// Of a suspended stack: where the values go that it is resumed with.
    pub values: *mut ValRaw,
    /// Of a head: the function type of the continuation that owns it, before arguments are bound. Written when it
    /// was suspended, by who learns of the continuation first.
    pub func_type: TypeId,
    /// Zero.
    pub reserved: u32,
    /// Where the values of its function are.
    pub buffer: *mut ValRaw,
    /// The function that runs on it.
    pub func: *const VmFuncRef,
    /// The next stack on the store's list of free ones.
    pub next_free: *mut VmStack,
    /// The lowest usable address.
    pub low: usize,
}

/// Where the compiled code of an asynchronous call waits.
///
/// Such a call stands on a pool stack, its *base*, whose parent is the native stack of whoever polls: a
/// base has the number ([`VmStack::id`]) zero, handles nothing, and belongs to the call alone. A host function
/// or builtin that cannot go on sets `waits` and returns; then
/// [`crate::builtin::BuiltinTable::native_call`] leaves the code where it is, and the poll ends.
///
/// ```text
///   polling, code runs:   continuations ─parent─► base ─parent─► native (the poll's frames)
///   between two polls:    continuations ─parent─► base           sp: in a frame of `native_call`
/// ```
#[derive(Debug)]
#[repr(C)]
pub struct VmSuspension {
    /// Not zero: what the code has called has no answer yet.
    pub waits: u64,
    /// While it waits: the stack pointer where it goes on.
    pub sp: usize,
    /// The base.
    pub base: *mut VmStack,
}

/// In [`VmStack::owner`]: nothing young is in its frames.
pub const OWNER_CLEAN: u32 = 1;

/// In the low 32 bits of what a resumed stack gives its resumer first: its function has returned. The
/// second word is where its results are. Otherwise, the low bits are the number of the clause that handles
/// a suspension, the high ones the reference of the new continuation, and the second word is where the
/// tag's values are.
pub const RETURNED: u32 = u32::MAX;

/// The offset of [`VmStack::handler_count`] and, above it, [`VmStack::switch_count`], as one number.
pub const STACK_COUNTS: i32 = offset_of!(VmStack, handler_count) as i32;

const _: () = assert!(offset_of!(VmStack, host) < 64);
const _: () = assert!(STACK_COUNTS + 4 == offset_of!(VmStack, switch_count) as i32);
