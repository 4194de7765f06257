//! Where this thread's native stack ends.
//!
//! `exec::enter` keeps compiled code away from there: it asks once per thread and remembers.

use std::mem::MaybeUninit;
use std::ops::Range;

/// The usable addresses of this thread's native stack: from just above its guard to its top.
///
/// For a process's first thread, whose stack grows on demand, the low end is where the resource
/// limit (`ulimit -s`) lets it grow at the time of the call. `None` when the system cannot tell.
///
/// Reads `/proc/self/maps` on the first thread, so it takes up to some hundred microseconds.
pub(crate) fn native_stack() -> Option<Range<usize>> {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: initializes the attributes when it returns zero.
    if unsafe { libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) } != 0 {
        return None;
    }
    let mut low = std::ptr::null_mut();
    let (mut len, mut guard_len) = (0, 0);
    // SAFETY: the attributes are initialized above, read here, and destroyed once.
    let (stack, guard) = unsafe {
        let attributes = attributes.as_mut_ptr();
        let stack = libc::pthread_attr_getstack(attributes, &mut low, &mut len);
        let guard = libc::pthread_attr_getguardsize(attributes, &mut guard_len);
        libc::pthread_attr_destroy(attributes);
        (stack, guard)
    };
    if stack != 0 || guard != 0 {
        return None;
    }
    // C libraries differ in whether the guard is part of what they report, so it is left out twice
    // at worst.
    let low = low as usize;
    Some(low + guard_len.min(len)..low + len)
}

#[cfg(test)]
mod tests {
    use super::native_stack;

    fn assert_inside() {
        let local = 0u8;
        let stack = native_stack().unwrap();
        assert!(stack.contains(&(&raw const local as usize)));
    }

    #[test]
    fn a_local_variable_lies_within_the_bounds_on_any_thread() {
        assert_inside();
        for stack_size in [64 << 10, 1 << 20, 64 << 20] {
            let builder = std::thread::Builder::new().stack_size(stack_size);
            let thread = builder.spawn(move || {
                assert_inside();
                // A C library may give a thread a larger stack that it has at hand.
                assert!(native_stack().unwrap().len() + (64 << 10) >= stack_size);
            });
            thread.unwrap().join().unwrap();
        }
    }
}
