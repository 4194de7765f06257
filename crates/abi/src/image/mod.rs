//! The image format: what a compiled module is in a file and in memory.
//!
//! An image is an ELF file, so that `objdump -d`, `nm` and `perf` read it. The bytes on disk are the
//! bytes in memory: every table is searched where it lies, and nothing is decoded when an image is
//! loaded but the header and the [`Module`](crate::Module).
//!
//! ```text
//!   ELF header, program headers
//!   .sarsen.header      who made it and for what machine; checksums of the sections below
//!   .sarsen.module      what the module declares (postcard)
//!   .sarsen.funcs       ranges of text: which function or stub is where
//!   .sarsen.stubs       function type -> entry and exit stub
//!   .sarsen.traps       text offset -> trap code
//!   .sarsen.points      text offset -> WebAssembly offset, in which inlined function
//!   .sarsen.contexts    the inlined functions
//!   .sarsen.stack_maps  return address -> where references are in the frame
//!   .sarsen.handlers    return address -> where a trap or exception continues
//!   .sarsen.names       function names, as ranges of .strtab
//!   .text               page-aligned: position-independent code, no relocations
//!   .sarsen.data        page-aligned: memory images, data segments
//!   .sarsen.debug_*     the module's DWARF, if it has any
//!   .symtab .strtab     a symbol for every function and stub
//!   .shstrtab, section headers
//! ```
//!
//! An image is trusted as a shared library is: who loads one runs its code. Checksums detect damage,
//! not malice. Still, no decoder here indexes by an unchecked value, so a damaged image that happens to
//! pass is an error or a wrong answer, and never a panic.
//!
//! [`ImageLayout::parse`] is how reading begins; `sarsen-compile`'s `image` folder, which is what writes,
//! uses [`ImageEncoder`].

mod blocks;
mod container;
mod encode;
mod error;
mod funcs;
mod handlers;
mod header;
mod names;
mod points;
#[cfg(test)]
mod random;
mod section;
mod stack_maps;
mod stubs;
mod traps;
mod varint;
mod view;

pub use container::begins_as_image;
pub use encode::{ImageContents, ImageEncoder};
pub use error::ImageError;
pub use funcs::{CodeKind, FuncEntry};
pub use handlers::{Handler, HandlerFrame, Handlers};
pub use header::{FORMAT_VERSION, Header, Host, TargetDescription};
pub use points::{ContextRow, NO_INSTRUCTION, Point};
pub use stack_maps::StackMap;
pub use stubs::StubOffsets;
pub use view::{Frames, ImageLayout, ImageView, SourceFrame};
