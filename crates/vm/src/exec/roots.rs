//! References to collected objects in the frames of running activations.
//!
//! The collector will trace and update them. Each is a 32-bit slot in a frame; the image's stack maps
//! say where, by the return address of the call that the frame is in.

use super::walk::{Frame, Step, Walk};
use crate::instance::Store;

/// A slot of 4 bytes on the stack that holds a reference, or null.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RootSlot(*mut u32);

impl RootSlot {
    /// Where it is. Valid as long as its frame stands.
    pub fn as_ptr(self) -> *mut u32 {
        self.0
    }
}

/// Calls `visit` with every slot in the store's frames that holds a collected reference.
pub fn frame_roots(store: &Store, mut visit: impl FnMut(RootSlot)) {
    for step in Walk::new(store) {
        if let Step::Wasm(frame) = step {
            slots_of(&frame, &mut visit);
        }
    }
}

fn slots_of(frame: &Frame<'_>, visit: &mut impl FnMut(RootSlot)) {
    let at = frame.code();
    // A call without a map has no references to keep.
    let Some(map) = at.code.image().stack_map_at(at.offset) else {
        return;
    };
    let sp = frame.fp() - map.frame_size() as usize;
    for offset in map {
        visit(RootSlot((sp + offset as usize) as *mut u32));
    }
}
