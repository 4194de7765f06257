//! The address range of all text in the process, and the lookup of what is where in it.
//!
//! See the folder's page for why looking up is safe without a lock.

use super::engine_code::EngineCode;
use super::granules::Granules;
use super::image_file::ImageFile;
use crate::os::pages::{PAGE_SIZE, Protection, Reservation};
use std::ops::Range;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// What text is allocated in, in bytes.
const GRANULE: usize = 1 << GRANULE_LOG2;
const GRANULE_LOG2: u32 = 16;

/// The size of the range, in bytes: room for 64 texts of the largest size.
const SPACE: usize = 128 << 30;
const COUNT: usize = SPACE >> GRANULE_LOG2;

/// The range of all text. Reserved when first needed, and never given back.
struct CodeSpace {
    range: Reservation,
    /// One [`AtomicPtr<TextMapping>`] for each granule; all null at first. Memory is committed as it is
    /// touched.
    table: Reservation,
    free: Mutex<Granules>,
}

static CODE_SPACE: OnceLock<CodeSpace> = OnceLock::new();

/// Where the range should be: a little above the runtime's own code, because processors predict calls between
/// the two better when the high bits of both are the same (on a Zen 4, from compiled code to a host function
/// and back in 3.4 ns instead of 4.2). But as far above it as chance wants, which `random`, the address of some
/// mapping, stands for; and with room for the heap between them, which may be there.
fn wish(random: *mut u8) -> usize {
    const GAP: usize = 4 << 30;
    let own = CodeSpace::get as *const () as usize;
    let chance = (random.addr() / PAGE_SIZE * GRANULE) % GAP;
    own.saturating_add(GAP + chance) / PAGE_SIZE * PAGE_SIZE
}

impl CodeSpace {
    fn get() -> rustix::io::Result<&'static CodeSpace> {
        if let Some(space) = CODE_SPACE.get() {
            return Ok(space);
        }
        // Two threads may both reserve here; then one reservation is dropped again.
        let table = Reservation::new_zeroed(COUNT * size_of::<AtomicPtr<TextMapping>>())?;
        let space = CodeSpace {
            range: Reservation::new_aligned(wish(table.base()), SPACE, GRANULE)?,
            table,
            free: Mutex::new(Granules::new(COUNT as u32)),
        };
        Ok(CODE_SPACE.get_or_init(|| space))
    }

    fn table(&self) -> &[AtomicPtr<TextMapping>] {
        // SAFETY: the reservation is as large as this, page-aligned, readable and writable, lives as
        // long as `self`, and is used for nothing else. Zeroes are null pointers.
        unsafe { std::slice::from_raw_parts(self.table.base().cast(), COUNT) }
    }

    fn free(&self) -> MutexGuard<'_, Granules> {
        // A panic in there is an assertion of ours that failed before anything was changed.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A text that is mapped in the range, and removed from there when dropped.
#[derive(Debug)]
pub(super) struct TextMapping {
    start: usize,
    len: usize,
    granules: Range<u32>,
    /// Whose text it is; null until [`TextMapping::owned_by`].
    code: *const EngineCode,
}

// SAFETY: `code` is only followed by `lookup`, whose contract says when that may be done; everything
// else is numbers.
unsafe impl Send for TextMapping {}
// SAFETY: as above.
unsafe impl Sync for TextMapping {}

impl TextMapping {
    /// Maps the text at `range` of an image for execution. An empty text takes no room. It cannot be
    /// looked up before it is published.
    ///
    /// # Errors
    ///
    /// When the system refuses, or the range is full.
    pub(super) fn new(image: &ImageFile, range: Range<usize>) -> rustix::io::Result<TextMapping> {
        let len = range.len();
        if len == 0 {
            return Ok(TextMapping {
                start: 0,
                len: 0,
                granules: 0..0,
                code: ptr::null(),
            });
        }
        let space = CodeSpace::get()?;
        // One more than the length, because the end belongs to the text.
        let count = (len + 1).div_ceil(GRANULE);
        let count = u32::try_from(count).map_err(|_| rustix::io::Errno::NOMEM)?;
        let granules = space
            .free()
            .allocate(count)
            .ok_or(rustix::io::Errno::NOMEM)?;
        // From here on, dropping gives the granules back.
        let mapping = TextMapping {
            start: space.range.start() + ((granules.start as usize) << GRANULE_LOG2),
            len,
            granules,
            code: ptr::null(),
        };
        let pages = len.next_multiple_of(PAGE_SIZE);
        let file = image.as_fd().expect("open until its text is mapped");
        // SAFETY: these granules are ours alone, nothing is mapped there, and nobody changes the file
        // (see `ImageFile`).
        unsafe {
            space.range.map_file(
                mapping.start - space.range.start(),
                pages,
                Protection::ReadExecute,
                file,
                range.start as u64,
            )?;
        }
        Ok(mapping)
    }

    /// The same, as a field of what will be at `code`.
    pub(super) fn owned_by(mut self, code: *const EngineCode) -> Self {
        self.code = code;
        self
    }

    /// Lets [`lookup`] find this text. From now on it must not move.
    ///
    /// # Safety
    ///
    /// `self.code` must be the [`EngineCode`] that this mapping is a field of, finished, and neither may
    /// move until this mapping is dropped.
    pub(super) unsafe fn publish(&self) {
        self.set_entries(ptr::from_ref(self).cast_mut());
    }

    fn set_entries(&self, pointer: *mut TextMapping) {
        let Some(space) = CODE_SPACE.get() else {
            return;
        };
        for granule in self.granules.clone() {
            space.table()[granule as usize].store(pointer, Ordering::Release);
        }
    }

    /// The addresses of the text.
    pub(super) fn addresses(&self) -> Range<usize> {
        self.start..self.start + self.len
    }
}

impl Drop for TextMapping {
    fn drop(&mut self) {
        if self.granules.is_empty() {
            return;
        }
        self.set_entries(ptr::null_mut());
        let space = CODE_SPACE.get().expect("reserved when this was mapped");
        let offset = self.start - space.range.start();
        let pages = self.len.next_multiple_of(PAGE_SIZE);
        // SAFETY: these granules are ours alone, and nobody executes them: their owner is gone.
        let unmapped = unsafe { space.range.map_zeroes(offset, pages, Protection::None) };
        // When the system has no room even for this, the addresses are lost, and nothing else.
        if unmapped.is_ok() {
            space.free().release(self.granules.clone());
        }
    }
}

/// The code that a program counter belongs to.
#[derive(Clone, Copy, Debug)]
pub struct CodeAt<'a> {
    /// The code.
    pub code: &'a EngineCode,
    /// The text offset, by which the image's tables are searched. May lie past the end of the last
    /// function, but not past the end of text.
    pub offset: u32,
}

/// The code that `pc` belongs to: lock-free, allocation-free, async-signal-safe. The end of a text
/// belongs to it, because a call can be its last instruction.
///
/// # Safety
///
/// The code, if there is any at `pc`, must stay alive for `'a`: see the folder's page.
#[inline]
pub unsafe fn lookup<'a>(pc: usize) -> Option<CodeAt<'a>> {
    let space = CODE_SPACE.get()?;
    let granule = pc.wrapping_sub(space.range.start()) >> GRANULE_LOG2;
    let pointer = space.table().get(granule)?.load(Ordering::Acquire);
    // SAFETY: what is published stays where it is until it is dropped, and is removed from the table
    // first. The caller vouches that it is not dropped during 'a.
    let mapping: &'a TextMapping = unsafe { pointer.as_ref()? };
    let offset = pc - mapping.start;
    if offset > mapping.len {
        return None;
    }
    Some(CodeAt {
        // SAFETY: `publish` was promised that this is the mapping's owner, alive as long as it is.
        code: unsafe { &*mapping.code },
        offset: offset as u32,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_outside_of_the_range_belong_to_no_code() {
        let space = CodeSpace::get().unwrap();
        let start = space.range.start();
        for pc in [
            0,
            1,
            start - 1,
            start + SPACE,
            start + SPACE - 1,
            usize::MAX,
        ] {
            // SAFETY: nothing is mapped there.
            assert!(unsafe { lookup(pc) }.is_none(), "{pc:#x}");
        }
        assert!(start.is_multiple_of(GRANULE));
    }
}
