//! [`EngineCode`]: one image, mapped for execution.

use sarsen_abi::image::{ImageError, ImageLayout, ImageView};
use sarsen_abi::{DefinedFuncIndex, Features, Module, Settings, TypeIndex};
use std::fmt;
use std::fs::File;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

/// What an image must fit.
#[derive(Clone, Debug)]
pub struct Expected<'a> {
    /// The engine's settings.
    pub settings: &'a Settings,
    /// The proposals that are on.
    pub features: Features,
}

/// Why an image could not be loaded.
#[derive(Debug)]
pub enum LoadError {
    /// The image is damaged, or does not fit.
    Image(ImageError),
    /// The system refuses.
    System(std::io::Error),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Image(error) => error.fmt(f),
            LoadError::System(error) => write!(f, "cannot map the image: {error}"),
        }
    }
}

impl std::error::Error for LoadError {}

impl From<ImageError> for LoadError {
    fn from(error: ImageError) -> Self {
        LoadError::Image(error)
    }
}

/// One image of one engine: shared, immutable, executable. Unmapped when dropped.
#[derive(Debug)]
pub struct EngineCode {
    layout: ImageLayout,
    module: Arc<Module>,
    file: File,
}

impl EngineCode {
    /// Loads an image. The bytes are copied to memory that nobody can change.
    ///
    /// # Errors
    ///
    /// When it is damaged or does not fit, or the system refuses.
    ///
    /// # Safety
    ///
    /// The image is native code that runs with all rights of this process: it must come from
    /// `sarsen-compile`, over a way that nobody else can change.
    pub unsafe fn from_bytes(
        bytes: &[u8],
        expected: &Expected<'_>,
    ) -> Result<Arc<EngineCode>, LoadError> {
        let _ = expected;
        ImageLayout::parse(bytes)?;
        Err(ImageError::NotAnImage.into())
    }

    /// Loads an image from a file: mapped, when the file is ours and nobody else can write it; else
    /// copied, as [`EngineCode::from_bytes`] does.
    ///
    /// # Errors
    ///
    /// As for [`EngineCode::from_bytes`].
    ///
    /// # Safety
    ///
    /// As for [`EngineCode::from_bytes`]. Also the file's owner must not change or truncate it while
    /// it is loaded.
    pub unsafe fn from_file(
        file: File,
        expected: &Expected<'_>,
    ) -> Result<Arc<EngineCode>, LoadError> {
        let _ = (file, expected);
        Err(ImageError::NotAnImage.into())
    }

    /// Another handle to this code.
    pub fn to_arc(&self) -> Arc<EngineCode> {
        unreachable!("nothing makes one yet")
    }

    /// What the module declares.
    pub fn module(&self) -> &Arc<Module> {
        &self.module
    }

    /// The image's tables.
    pub fn image(&self) -> ImageView<'_> {
        self.layout.view(&[]).expect("checked when it was loaded")
    }

    /// The machine code in memory, as addresses.
    pub fn text(&self) -> std::ops::Range<usize> {
        0..0
    }

    /// The address of the code at a text offset.
    ///
    /// # Panics
    ///
    /// Panics when the offset lies outside of text.
    pub fn ptr_at(&self, offset: u32) -> *const u8 {
        let _ = offset;
        std::ptr::null()
    }

    /// The code of a function that the module defines.
    ///
    /// # Panics
    ///
    /// Panics when the module defines no such function.
    pub fn code_ptr(&self, func: DefinedFuncIndex) -> *const u8 {
        let _ = func;
        std::ptr::null()
    }

    /// The entry stub of a function type that the module names.
    pub fn entry_ptr(&self, ty: TypeIndex) -> Option<*const u8> {
        let _ = ty;
        None
    }

    /// The exit stub of a function type that the module names.
    pub fn exit_ptr(&self, ty: TypeIndex) -> Option<*const u8> {
        let _ = ty;
        None
    }

    /// The data section.
    pub fn data(&self) -> &[u8] {
        self.image().data()
    }

    /// Where the data section can be mapped from: a file, and the offset of the section in it, a
    /// multiple of the page size. Nobody changes that file while this code lives.
    pub fn data_file(&self) -> (BorrowedFd<'_>, u64) {
        use std::os::fd::AsFd;
        (self.file.as_fd(), 0)
    }

    /// How many are alive in this process.
    pub fn live_count() -> usize {
        0
    }
}
