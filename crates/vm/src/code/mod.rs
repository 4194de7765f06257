//! Images in memory, and which code a program counter belongs to.
//!
//! | file | owns |
//! |---|---|
//! | `image_file` | an image's bytes where nobody can change them: a sealed memory file, or a file of ours |
//! | `engine_code` | [`EngineCode`]: one image of one engine, with its text mapped for execution |
//! | `space` | the address range of all text in the process, and the lookup in it |
//! | `granules` | which parts of that range are free |
//! | `pc` | program counters: of an engine's code, and of what a store executes |
//! | `store_code` | [`StoreCode`]: what one store executes |
//!
//! # From a program counter to its code
//!
//! Every text of the process is mapped in one reserved range of addresses, at multiples of 64 KiB. An
//! array of atomic pointers, one for each 64 KiB, says what is mapped there:
//!
//! ```text
//!   pc ──── - base, >> 16 ────> [ null | &TextMapping | &TextMapping | null | ... ]
//!                                              │
//!                                              └─> start of the text, its EngineCode
//! ```
//!
//! [`lookup`] is a range check and one load: lock-free, without allocation, and so usable in signal
//! handlers and for every frame of a stack walk.
//!
//! ## Why it is safe
//!
//! The pointers are to [`EngineCode`]s, which are dropped when their last owner drops them, while other
//! threads look up other program counters. Removal stores null, then unmaps the text, then gives the
//! range back for reuse, then frees the `EngineCode`. Could a thread load the pointer before the removal
//! and use it after? Only for a program counter in *that* text, and `lookup`'s contract forbids it: its
//! caller vouches that the code of this program counter is alive. Who looks up what:
//!
//! 1. *A stack walk, or a backtrace being captured.* The program counters are return addresses of frames
//!    of the thread's own store. A store owns the code of its instances until it is dropped, which cannot
//!    happen while it has frames.
//! 2. *A signal handler* gets any program counter of this thread. If it lies in a text, this thread was
//!    executing that text, in a frame as in 1. If it does not, nobody's pointer is loaded: a granule that
//!    is reused by another text meanwhile does not matter, because the program counter is not in the
//!    range at all.
//! 3. *A symbolizer* holds the `Arc`s of what it looks up and does not need to search.
//!
//! A program counter made up by a guest (a damaged stack) could name any text, freed or not. Compiled
//! code cannot write return addresses; whoever could has no need of us.
//!
//! The contents that the pointer leads to are written before the release store that publishes it, and
//! loaded with acquire.
//!
//! # Writable or executable, never both
//!
//! Text is written to a memory file before it is mapped anywhere, the file is sealed against any further
//! writing, and then it is mapped readable and executable. An image file that nobody else can write is
//! mapped so directly.

mod engine_code;
mod granules;
mod image_file;
mod pc;
mod space;
mod store_code;
#[cfg(test)]
mod tests;

pub use engine_code::{EngineCode, Expected, LoadError};
pub use pc::{EnginePc, StorePc};
pub use space::{CodeAt, lookup};
pub use store_code::StoreCode;
