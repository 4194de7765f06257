//! [`EngineCode`]: one image, mapped for execution.

use super::image_file::ImageFile;
use super::pc::EnginePc;
use super::space::TextMapping;
use crate::arch;
use sarsen_abi::image::{Host, ImageError, ImageLayout, ImageView};
use sarsen_abi::{DefinedFuncIndex, Features, Module, Settings, TypeIndex};
use std::any::Any;
use std::fmt;
use std::fs::File;
use std::io::{Read, Seek};
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

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

impl From<std::io::Error> for LoadError {
    fn from(error: std::io::Error) -> Self {
        LoadError::System(error)
    }
}

impl From<rustix::io::Errno> for LoadError {
    fn from(error: rustix::io::Errno) -> Self {
        LoadError::System(error.into())
    }
}

/// How many [`EngineCode`]s are alive in this process.
static LIVE: AtomicUsize = AtomicUsize::new(0);

/// One image of one engine: shared, immutable, executable. Unmapped when dropped.
#[derive(Debug)]
pub struct EngineCode {
    /// Borrows from `layout` and `image`, which are never replaced.
    view: ImageView<'static>,
    module: Arc<Module>,
    text: TextMapping,
    /// What has registered its types: a [`crate::instance::CompiledModule`].
    owner: OnceLock<Weak<dyn Any + Send + Sync>>,
    /// In an [`Arc`] because, unlike a box, it may be moved while it is borrowed.
    layout: Arc<ImageLayout>,
    image: ImageFile,
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
        // Before the copy, which costs more than the checks.
        let layout = check(bytes, expected)?;
        EngineCode::new(ImageFile::copy_of(bytes)?, layout)
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
        mut file: File,
        expected: &Expected<'_>,
    ) -> Result<Arc<EngineCode>, LoadError> {
        // SAFETY: the caller vouches for the owner.
        if let Some(image) = unsafe { ImageFile::open(file.try_clone()?)? } {
            let layout = check(image.bytes(), expected)?;
            match EngineCode::new(image, layout) {
                // Nothing may be executed from that file system.
                Err(LoadError::System(e)) if e.kind() == std::io::ErrorKind::PermissionDenied => {}
                result => return result,
            }
        }
        if file.metadata()?.is_file() {
            file.rewind()?;
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        // SAFETY: the caller's promise.
        unsafe { EngineCode::from_bytes(&bytes, expected) }
    }

    /// Of an image whose checksums are right.
    fn new(mut image: ImageFile, layout: ImageLayout) -> Result<Arc<EngineCode>, LoadError> {
        let layout = Arc::new(layout);
        // SAFETY: the mapping and the layout stay where they are, unchanged, until `EngineCode` drops
        // them, and the view is not given out for longer.
        let (bytes, borrowed): (&'static [u8], &'static ImageLayout) = unsafe {
            let bytes = image.bytes();
            (
                std::slice::from_raw_parts(bytes.as_ptr(), bytes.len()),
                &*Arc::as_ptr(&layout),
            )
        };
        let view = borrowed.view(bytes)?;
        let module = Arc::new(view.module()?);
        let text = TextMapping::new(&image, layout.text_range())?;
        if module.memory_images.iter().all(Option::is_none) {
            image.close();
        }
        LIVE.fetch_add(1, Ordering::Relaxed);
        let code = Arc::new_cyclic(|this| EngineCode {
            view,
            module,
            text: text.owned_by(this.as_ptr()),
            owner: OnceLock::new(),
            layout,
            image,
        });
        // SAFETY: it is finished, and an `Arc`'s contents do not move.
        unsafe { code.text.publish() };
        Ok(code)
    }

    /// Says what owns this code, from now on.
    ///
    /// # Panics
    ///
    /// Panics when something does already.
    pub(crate) fn set_owner(&self, owner: Weak<dyn Any + Send + Sync>) {
        let is_first = self.owner.set(owner).is_ok();
        assert!(is_first, "code has one owner");
    }

    /// What owns this code, as long as it is alive: while the code runs or stands on a stack, it is.
    pub(crate) fn owner(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        self.owner.get()?.upgrade()
    }

    /// The whole image, as it was loaded.
    pub fn bytes(&self) -> &[u8] {
        self.image.bytes()
    }

    /// What the module declares.
    pub fn module(&self) -> &Arc<Module> {
        &self.module
    }

    /// The image's tables.
    pub fn image(&self) -> ImageView<'_> {
        self.view
    }

    /// The machine code in memory, as addresses.
    pub fn text(&self) -> Range<usize> {
        self.text.addresses()
    }

    /// The place of a text offset in this mapping.
    pub fn pc_at(&self, offset: u32) -> EnginePc {
        EnginePc(self.text().start + offset as usize)
    }

    /// The address of the code at a text offset.
    ///
    /// # Panics
    ///
    /// Panics when the offset lies outside of text.
    pub fn ptr_at(&self, offset: u32) -> *const u8 {
        let text = self.text();
        assert!((offset as usize) < text.len());
        ptr::with_exposed_provenance(text.start + offset as usize)
    }

    /// The code of a function that the module defines.
    ///
    /// # Panics
    ///
    /// Panics when the module defines no such function.
    pub fn code_ptr(&self, func: DefinedFuncIndex) -> *const u8 {
        let func = self
            .view
            .wasm_func(func)
            .expect("all functions are in the image");
        self.ptr_at(func.start)
    }

    /// The entry stub of a function type that the module names.
    pub fn entry_ptr(&self, ty: TypeIndex) -> Option<*const u8> {
        Some(self.ptr_at(self.view.stubs(ty)?.entry))
    }

    /// The exit stub of a function type that the module names.
    pub fn exit_ptr(&self, ty: TypeIndex) -> Option<*const u8> {
        Some(self.ptr_at(self.view.stubs(ty)?.exit))
    }

    /// The data section.
    pub fn data(&self) -> &[u8] {
        self.view.data()
    }

    /// Where the data section can be mapped from: a file, and the offset of the section in it, a
    /// multiple of the page size. Nobody changes that file while this code lives. `None` for a module none of
    /// whose memories has an image.
    pub fn data_file(&self) -> Option<(BorrowedFd<'_>, u64)> {
        let file = self.image.as_fd()?;
        Some((file, self.layout.data_range().start as u64))
    }

    /// How many are alive in this process: a test can see that none is leaked.
    pub fn live_count() -> usize {
        LIVE.load(Ordering::Relaxed)
    }
}

impl Drop for EngineCode {
    fn drop(&mut self) {
        LIVE.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Finds the sections of an image that fits here and is not damaged.
fn check(bytes: &[u8], expected: &Expected<'_>) -> Result<ImageLayout, ImageError> {
    let layout = ImageLayout::parse(bytes)?;
    layout.header().check(&Host {
        arch: std::env::consts::ARCH,
        os: std::env::consts::OS,
        has_cpu_feature: &arch::has_cpu_feature,
        settings: expected.settings,
        features: expected.features,
    })?;
    layout.verify(bytes)?;
    Ok(layout)
}
