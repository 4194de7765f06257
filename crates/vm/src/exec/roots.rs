//! References to collected objects in the frames of running activations, and of the continuations that
//! run in them.
//!
//! The collector traces and updates them. Each is a 32-bit slot in a frame; stack maps say where
//! ([`FrameMaps`]). Suspended continuations are no roots.

use super::walk::{Step, Walk};
use crate::instance::Store;
use crate::stack::FrameMaps;

/// Calls `visit` with every slot in the store's frames that holds a collected reference: 4 bytes each,
/// valid as long as the frame stands.
pub fn frame_roots(store: &Store, visit: &mut dyn FnMut(*mut u32)) {
    let mut walk = Walk::new(store).peekable();
    if walk.peek().is_none() {
        return;
    }
    let mut maps = FrameMaps::new();
    for step in walk {
        if let Step::Wasm(frame) = step {
            // SAFETY: a store keeps the code of its frames alive for as long as they stand.
            for &offset in unsafe { maps.offsets(frame.pc()) } {
                visit((frame.fp() - offset as usize) as *mut u32);
            }
        }
    }
}
