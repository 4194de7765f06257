//! References to collected objects in the frames of running activations.
//!
//! The collector traces and updates them. Each is a 32-bit slot in a frame; the image's stack maps say
//! where, by the return address of the call that the frame is in. A deep stack consists of few different
//! frames, so that what was looked up is kept for the rest of the walk.

use super::walk::{Frame, Step, Walk};
use crate::instance::Store;
use smallvec::SmallVec;

/// How many return addresses are remembered during a walk; a power of two.
const KNOWN: usize = 64;

/// Where the references are in frames with one return address.
#[derive(Default)]
struct Known {
    /// The return address; zero when nothing is known.
    pc: usize,
    /// The offsets of the references from the frame pointer, downwards.
    offsets: SmallVec<[u32; 12]>,
}

impl Known {
    fn look_up(&mut self, frame: &Frame<'_>) {
        self.pc = frame.pc();
        self.offsets.clear();
        let at = frame.code();
        // A call without a map has no references to keep.
        if let Some(map) = at.code.image().stack_map_at(at.offset) {
            let size = map.frame_size();
            self.offsets.extend(map.map(|offset| size - offset));
        }
    }
}

/// Calls `visit` with every slot in the store's frames that holds a collected reference: 4 bytes each,
/// valid as long as the frame stands.
pub fn frame_roots(store: &Store, visit: &mut dyn FnMut(*mut u32)) {
    let mut walk = Walk::new(store).peekable();
    if walk.peek().is_none() {
        return;
    }
    let mut known: Vec<Known> = Vec::new();
    known.resize_with(KNOWN, Known::default);
    for step in walk {
        if let Step::Wasm(frame) = step {
            let pc = frame.pc();
            let known = &mut known[(pc ^ pc >> 6) % KNOWN];
            if known.pc != pc {
                known.look_up(&frame);
            }
            for &offset in &known.offsets {
                visit((frame.fp() - offset as usize) as *mut u32);
            }
        }
    }
}
