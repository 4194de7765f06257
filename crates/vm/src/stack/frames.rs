//! [`FrameMaps`]: where collected references are in frames, and finding those of suspended stacks.
//!
//! The image's stack maps say it, by the return address of the call that a frame is in. Stacks consist of
//! few different frames, so that what was looked up is kept.

use super::host_frame::innermost;
use super::stacks::chain;
use crate::code;
use sarsen_abi::stack::VmStack;
use smallvec::SmallVec;

/// How many return addresses are remembered; a power of two.
const KNOWN: usize = 64;

/// Where the references are in frames with one return address.
#[derive(Debug, Default)]
struct Known {
    /// The return address; zero when nothing is known.
    pc: usize,
    /// The offsets of the references from the frame pointer, downwards.
    offsets: SmallVec<[u32; 12]>,
}

/// What was looked up of frames. Valid for as long as no code is unmapped: for one collection.
#[derive(Debug)]
pub struct FrameMaps(Vec<Known>);

impl Default for FrameMaps {
    fn default() -> Self {
        FrameMaps::new()
    }
}

impl FrameMaps {
    /// Nothing is known.
    pub fn new() -> FrameMaps {
        FrameMaps(Vec::new())
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The offsets of the references in a frame that is in a call which returns to `pc`, from its frame
    /// pointer downwards.
    ///
    /// # Safety
    ///
    /// `pc` must be in compiled code that is alive.
    ///
    /// # Panics
    ///
    /// Panics when it is in none.
    #[inline]
    pub unsafe fn offsets(&mut self, pc: usize) -> &[u32] {
        if self.0.is_empty() {
            self.0.resize_with(KNOWN, Known::default);
        }
        let known = &mut self.0[(pc ^ pc >> 6) % KNOWN];
        if known.pc != pc {
            // SAFETY: the caller's promise.
            unsafe { known.look_up(pc) };
        }
        &known.offsets
    }

    /// Calls `visit` with every slot that holds a collected reference in the frames of a suspended chain.
    ///
    /// # Safety
    ///
    /// `head` must be the head of a suspended chain, whose code is alive and which nobody else uses.
    pub unsafe fn suspended(&mut self, head: *mut VmStack, visit: &mut dyn FnMut(*mut u32)) {
        // SAFETY: the caller's promise. A pc is the return address of a call in a frame that stands.
        unsafe {
            suspended_frames(head, |pc, fp| {
                for &offset in self.offsets(pc) {
                    visit(std::ptr::with_exposed_provenance_mut(fp - offset as usize));
                }
            });
        }
    }
}

/// Calls `each` with the return address and the frame pointer of each frame of a suspended chain,
/// innermost first.
///
/// # Safety
///
/// `head` must be the head of a suspended chain, which nobody else uses.
unsafe fn suspended_frames(head: *mut VmStack, mut each: impl FnMut(usize, usize)) {
    // SAFETY: the caller's promise; the frames of a suspended stack stand.
    for stack in unsafe { chain(head) } {
        // SAFETY: as above.
        let ((mut pc, mut fp), end) = unsafe { (innermost(stack), (*stack).entry_fp) };
        while fp != end {
            assert!(
                fp < end && fp.is_multiple_of(8),
                "a frame pointer points out of its stack"
            );
            each(pc, fp);
            // SAFETY: a frame pointer points to the next outer one, and the return address.
            let (next, return_to) = unsafe {
                let pair: *const usize = std::ptr::with_exposed_provenance(fp);
                (pair.read(), pair.add(1).read())
            };
            assert!(next > fp, "frame pointers do not grow");
            (fp, pc) = (next, return_to);
        }
    }
}

/// Calls `each` with the return addresses of all frames of a suspended chain, innermost first.
///
/// # Safety
///
/// `head` must be the head of a suspended chain, which nobody else uses.
pub(crate) unsafe fn suspended_pcs(head: *mut VmStack, mut each: impl FnMut(usize)) {
    // SAFETY: the caller's promise.
    unsafe { suspended_frames(head, |pc, _| each(pc)) }
}

impl Known {
    /// # Safety
    ///
    /// As [`FrameMaps::offsets`].
    #[cold]
    unsafe fn look_up(&mut self, pc: usize) {
        self.pc = pc;
        self.offsets.clear();
        // SAFETY: the caller's promise.
        let at = unsafe { code::lookup(pc) }.expect("a frame of compiled code belongs to an image");
        // A call without a map has no references to keep.
        if let Some(map) = at.code.image().stack_map_at(at.offset) {
            let size = map.frame_size();
            self.offsets.extend(map.map(|offset| size - offset));
        }
    }
}
