//! Where an object's references are: the walk that evacuating, marking and sliding share.

use super::shapes::{Content, Shape, Shapes};
use sarsen_abi::heap::HEADER_SIZE;
use std::ops::Range;

/// What visits references.
pub(super) trait Tracer {
    /// What is known of types.
    fn shapes(&self) -> &Shapes;

    /// Visits the reference in `slot`, which may be null. More types may be learned meanwhile.
    ///
    /// # Safety
    ///
    /// `slot` must be valid.
    unsafe fn visit(&mut self, slot: *mut u32);
}

/// Visits every reference of an object, to whose header `word` is the second word. Returns false when it is an
/// exception that has no tag.
///
/// # Safety
///
/// There must be an object of this shape, and of the size that `word` tells.
#[inline(always)]
pub(super) unsafe fn trace<T: Tracer>(
    tracer: &mut T,
    object: *mut u8,
    shape: Shape,
    word: u32,
) -> bool {
    match shape.content {
        Content::Small => {
            let fields = object.wrapping_add(HEADER_SIZE as usize).cast::<u32>();
            let mut left = shape.references;
            while left != 0 {
                // SAFETY: a field of the object.
                unsafe { tracer.visit(fields.add(left.trailing_zeros() as usize)) };
                left &= left - 1;
            }
            true
        }
        // SAFETY: the caller's promise.
        Content::References => unsafe {
            trace_elements(tracer, object, 0..word);
            true
        },
        Content::Numbers | Content::Extern | Content::Unknown => true,
        // SAFETY: the caller's promise.
        Content::Large | Content::Cont | Content::Exn => unsafe {
            trace_listed(tracer, object, shape, word)
        },
    }
}

/// Visits elements of an array of references.
///
/// # Safety
///
/// The array must have them.
#[inline(always)]
pub(super) unsafe fn trace_elements<T: Tracer>(
    tracer: &mut T,
    object: *mut u8,
    elements: Range<u32>,
) {
    let first = object.wrapping_add(HEADER_SIZE as usize).cast::<u32>();
    for element in elements {
        // SAFETY: an element of the array.
        unsafe { tracer.visit(first.add(element as usize)) };
    }
}

/// As [`trace`], of an object with a list of where its references are.
///
/// # Safety
///
/// As [`trace`].
#[inline(never)]
unsafe fn trace_listed<T: Tracer>(
    tracer: &mut T,
    object: *mut u8,
    shape: Shape,
    word: u32,
) -> bool {
    // SAFETY: the caller's promise.
    let listed = unsafe { tracer.shapes().listed(object, shape, word) };
    let Some(offsets) = listed.map(std::ptr::from_ref) else {
        return false;
    };
    // SAFETY: lists stay where they are when more types are learned, and tags are not added during a
    // collection; these are fields of the object.
    unsafe {
        for &offset in &*offsets {
            tracer.visit(object.add(offset as usize).cast());
        }
    }
    true
}
