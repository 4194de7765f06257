//! Entering, walking and leaving compiled code.
//!
//! # Ways in and out
//!
//! ```text
//!   host ── enter ──► entry stub ──► wasm ──► wasm ─┬─► returns ──────────► entry stub ──► enter ──► host
//!                        ▲                          │
//!                        │                          ├─► exit stub ──► host_call ──► host's function
//!                        │                          ├─► builtin stub ──► builtins
//!                        │                          │        └─ failed: STATUS_RAISE ─► raise ─┐
//!                        │                          └─► faults ─► signal handler ─► landing ───┤
//!                        └── exceptional edge ◄───────────────────────────────────── land ◄────┘
//! ```
//!
//! [`enter()`] links an activation and calls the entry stub. Compiled code that cannot go on, after a
//! builtin or host function failed or after a fault, is *abandoned*: `landing` captures a backtrace
//! while the frames still stand, then sets pc, sp and fp to the entry stub's exceptional edge. No
//! Rust frame is ever jumped over: host frames between two activations have returned before, because
//! failing is a status that they return.
//!
//! # What is where
//!
//! | file | owns |
//! |---|---|
//! | `thread` | what a thread knows: the store that runs on it, the end of its stack |
//! | `enter` | the way in, stack limits, and what the way out becomes for the host |
//! | `asynchronous` | the way in by polling, on a stack of the pool |
//! | `resume` | continuations that the host resumes |
//! | `host_call` | host functions: panics and errors become reasons |
//! | `suspend` | host functions that suspend |
//! | `landing` | the way out of abandoned code |
//! | `throw` | finding who catches an exception |
//! | `walk` | the one iterator over frames |
//! | `backtrace` | capturing: addresses only |
//! | `symbolize` | resolving them: names, files, lines |
//! | `roots` | references in frames |
//! | `yielding` | builtins that wait in asynchronous calls |
//! | `builtins` | what compiled code calls |

mod asynchronous;
mod backtrace;
mod builtins;
mod enter;
mod host_call;
mod landing;
mod resume;
mod roots;
mod suspend;
mod symbolize;
mod thread;
mod throw;
mod walk;
mod yielding;

pub use asynchronous::{Answer, AsyncCall, Job, can_wait, wait_for, with_context};
pub use backtrace::{Backtrace, RawFrame, capture, capture_suspended};
pub use builtins::builtin_table;
pub use enter::{Unwound, enter};
pub use host_call::host_call;
pub use resume::{Prepared, Resumed, prepare, prepare_throw, resume};
pub use roots::frame_roots;
pub use symbolize::{FrameInfo, Symbol, demangle};
pub use walk::{Frame, Step, Walk};
