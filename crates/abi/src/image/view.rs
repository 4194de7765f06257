//! Reading an image: [`ImageLayout`] knows where the sections are, [`ImageView`] looks things up.
//!
//! A view allocates nothing when it looks up by text offset, so that signal handlers and stack walks
//! may use it. "Text offset" is the distance from the first byte of text, in every address space.

use super::error::ImageError;
use crate::builtin::Builtin;
use crate::index::{DefinedFuncIndex, FuncIndex, TypeIndex};
use crate::module::Module;
use crate::trap::TrapCode;
use core::ops::Range;

/// What a piece of machine code is. The order is the order in an image's text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum CodeKind {
    /// A function that the module defines.
    Wasm(DefinedFuncIndex),
    /// The entry stub of a function type ([`crate::vmctx::EntryStub`]).
    Entry(TypeIndex),
    /// The exit stub of a function type: what a host function's `code` is.
    Exit(TypeIndex),
    /// The stub of a runtime builtin.
    Builtin(Builtin),
}

/// A piece of machine code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FuncEntry {
    /// What it is.
    pub kind: CodeKind,
    /// The text offset of its first byte.
    pub start: u32,
    /// The text offset past its last byte.
    pub end: u32,
}

/// The stubs of a function type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StubOffsets {
    /// The text offset of the entry stub.
    pub entry: u32,
    /// The text offset of the exit stub.
    pub exit: u32,
}

/// A frame of the source program. Several belong to one machine frame where functions were inlined.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SourceFrame {
    /// The function.
    pub func: FuncIndex,
    /// The instruction, in bytes from the beginning of the module; `None` where the code belongs to
    /// no instruction (prologues).
    pub wasm_offset: Option<u32>,
}

/// Where a trap or an exception continues.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Landing {
    /// The text offset to continue at.
    pub offset: u32,
    /// The frame pointer less the stack pointer to continue with, in bytes.
    pub frame_offset: u32,
}

/// Where collected references are in a frame: an iterator over their offsets from the stack pointer
/// at the call, ascending, in bytes.
#[derive(Clone, Debug)]
pub struct StackMap<'a> {
    frame_size: u32,
    bytes: &'a [u8],
}

impl StackMap<'_> {
    /// The frame pointer less the stack pointer at the call, in bytes.
    pub fn frame_size(&self) -> u32 {
        self.frame_size
    }
}

impl Iterator for StackMap<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let _ = self.bytes;
        None
    }
}

/// The source frames at a text offset, innermost first.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    view: ImageView<'a>,
}

impl Iterator for Frames<'_> {
    type Item = SourceFrame;

    fn next(&mut self) -> Option<SourceFrame> {
        let _ = self.view;
        None
    }
}

/// Where the sections of one image are.
#[derive(Clone, Debug)]
pub struct ImageLayout {
    text: Range<usize>,
}

impl ImageLayout {
    /// Finds the sections, and verifies the checksums of all but the debugging sections, whose
    /// checksums are verified when they are asked for.
    ///
    /// # Errors
    ///
    /// When `bytes` is no image of this version, or a damaged one.
    pub fn parse(bytes: &[u8]) -> Result<ImageLayout, ImageError> {
        let _ = bytes;
        Err(ImageError::NotAnImage)
    }

    /// The same image's contents. `bytes` must be those that were parsed; others give wrong answers.
    pub fn view<'a>(&self, bytes: &'a [u8]) -> ImageView<'a> {
        ImageView {
            text: bytes.get(self.text.clone()).unwrap_or_default(),
        }
    }

    /// Where text is in the image, in bytes. Begins at a multiple of
    /// [`IMAGE_PAGE_SIZE`](crate::module::IMAGE_PAGE_SIZE).
    pub fn text_range(&self) -> Range<usize> {
        self.text.clone()
    }

    /// Where the data section is in the image, in bytes. Begins at a multiple of
    /// [`IMAGE_PAGE_SIZE`](crate::module::IMAGE_PAGE_SIZE).
    pub fn data_range(&self) -> Range<usize> {
        self.text.clone()
    }
}

/// An image's contents, searched where they lie.
#[derive(Clone, Copy, Debug)]
pub struct ImageView<'a> {
    text: &'a [u8],
}

impl<'a> ImageView<'a> {
    /// The function or stub whose code contains this text offset.
    pub fn func_at(&self, offset: u32) -> Option<FuncEntry> {
        let _ = offset;
        None
    }

    /// The code of a function that the module defines.
    pub fn wasm_func(&self, func: DefinedFuncIndex) -> Option<FuncEntry> {
        let _ = func;
        None
    }

    /// The stubs of a function type.
    pub fn stubs(&self, ty: TypeIndex) -> Option<StubOffsets> {
        let _ = ty;
        None
    }

    /// Every function and stub, in the order of text.
    pub fn funcs(&self) -> impl Iterator<Item = FuncEntry> + 'a {
        core::iter::empty()
    }

    /// Why the instruction at this text offset traps, if it may.
    pub fn trap_at(&self, offset: u32) -> Option<TrapCode> {
        let _ = offset;
        None
    }

    /// The traps of a range of text, in order.
    pub fn traps_in(&self, range: Range<u32>) -> impl Iterator<Item = (u32, TrapCode)> + 'a {
        let _ = range;
        core::iter::empty()
    }

    /// The source frames of the instruction that *contains* this text offset, innermost first; none
    /// in a stub. For a return address, ask for the byte before it.
    pub fn frames_at(&self, offset: u32) -> Frames<'a> {
        let _ = offset;
        Frames { view: *self }
    }

    /// Where source points begin in a range of text, in order.
    pub fn points_in(&self, range: Range<u32>) -> impl Iterator<Item = u32> + 'a {
        let _ = range;
        core::iter::empty()
    }

    /// Where references are in a frame, by the text offset of the return address.
    pub fn stack_map_at(&self, return_offset: u32) -> Option<StackMap<'a>> {
        let _ = return_offset;
        None
    }

    /// Where a trap or an exception in a call continues, by the text offset of the return address.
    pub fn handler_at(&self, return_offset: u32) -> Option<Landing> {
        let _ = return_offset;
        None
    }

    /// A function's name.
    pub fn func_name(&self, func: FuncIndex) -> Option<&'a str> {
        let _ = func;
        None
    }

    /// Decodes and checks what the module declares.
    ///
    /// # Errors
    ///
    /// When it cannot be what the compiler wrote.
    pub fn module(&self) -> Result<Module, ImageError> {
        Err(ImageError::SectionMissing(".sarsen.module"))
    }

    /// The machine code.
    pub fn text(&self) -> &'a [u8] {
        self.text
    }

    /// Memory images and data segments.
    pub fn data(&self) -> &'a [u8] {
        self.text
    }

    /// The module's custom section of this name (`.debug_info`). Only DWARF's are kept.
    pub fn custom(&self, name: &str) -> Option<&'a [u8]> {
        let _ = name;
        None
    }
}
