//! [`Backtrace`]: where compiled code was, as addresses.
//!
//! Capturing is cheap, because most backtraces are never looked at: it copies program counters, and
//! keeps the modules alive whose code they point to. `symbolize` finds out what they mean.
//!
//! Of a deep stack the innermost and the outermost frames are kept, and those in between are counted.

use super::walk::{Frame, Step, Walk};
use crate::code;
use crate::instance::{BacktraceLimits, CompiledModule, Store};
use crate::stack::suspended_pcs;
use sarsen_abi::TrapCode;
use smallvec::SmallVec;
use std::fmt;
use std::sync::Arc;

/// Where compiled code of a store was, innermost frame first.
#[derive(Clone)]
pub struct Backtrace {
    frames: Box<[Captured]>,
    /// The position in `frames` where frames were left out, and how many.
    omitted: Option<(usize, u64)>,
    /// The modules whose code frames point to, each once.
    modules: SmallVec<[Arc<CompiledModule>; 1]>,
}

/// A captured frame.
#[derive(Clone, Copy)]
struct Captured {
    /// The position in [`Backtrace::modules`].
    module: u32,
    /// The text offset of a byte of the instruction.
    offset: u32,
}

/// A machine frame of a captured backtrace.
#[derive(Clone, Copy, Debug)]
pub struct RawFrame<'a> {
    /// The module whose code it is.
    pub module: &'a Arc<CompiledModule>,
    /// The text offset of a byte of the instruction that was executing.
    pub offset: u32,
}

impl Backtrace {
    /// The frames that were kept, innermost first.
    pub fn frames(&self) -> impl ExactSizeIterator<Item = RawFrame<'_>> {
        self.frames.iter().map(|frame| RawFrame {
            module: &self.modules[frame.module as usize],
            offset: frame.offset,
        })
    }

    /// How many frames were left out, and how many of [`Backtrace::frames`] come before them.
    pub fn omitted(&self) -> Option<(usize, u64)> {
        self.omitted
    }
}

impl fmt::Debug for Backtrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let offsets = self.frames.iter().map(|frame| frame.offset);
        f.debug_struct("Backtrace")
            .field("offsets", &offsets.collect::<Vec<_>>())
            .field("omitted", &self.omitted)
            .finish()
    }
}

/// Where compiled code of a store is now: it has called the host function that asks. `None` when the limits are that
/// nothing is kept.
pub fn capture(store: &Store, limits: BacktraceLimits) -> Option<Box<Backtrace>> {
    let mut capture = Capture::new(limits)?;
    for step in Walk::new(store) {
        if let Step::Wasm(frame) = step {
            capture.push(&frame);
        }
    }
    Some(capture.finish())
}

/// Where a suspended continuation is, and those that it has resumed and in which it was suspended. `None`
/// when the store's configuration asks for no backtraces. One that has not begun has no frames.
///
/// # Errors
///
/// When it is null or consumed.
pub fn capture_suspended(store: &mut Store, cont: u32) -> Result<Option<Box<Backtrace>>, TrapCode> {
    let head = store.suspended_stack(cont)?;
    let Some(mut capture) = Capture::new(store.config().backtrace) else {
        return Ok(None);
    };
    if let Some(head) = head {
        // SAFETY: the head of a suspended chain, which stays so while the store is borrowed.
        unsafe { suspended_pcs(head.as_ptr(), |pc| capture.push_pc(pc - 1)) };
    }
    Ok(Some(capture.finish()))
}

/// A backtrace in the making.
pub(super) struct Capture {
    limits: BacktraceLimits,
    /// The frames' program counters, made to lie within the instruction: `limits.innermost` of them,
    /// then up to `limits.outermost` in a ring.
    pcs: Vec<usize>,
    /// How many frames have been pushed.
    count: u64,
}

impl Capture {
    /// Begins, unless the limits say that nothing is captured.
    pub(super) fn new(limits: BacktraceLimits) -> Option<Capture> {
        let total = limits.innermost.saturating_add(limits.outermost);
        // Most stacks are shallow.
        (total > 0).then(|| Capture {
            limits,
            pcs: Vec::with_capacity(total.min(32)),
            count: 0,
        })
    }

    /// Adds the next outer frame.
    #[inline]
    pub(super) fn push(&mut self, frame: &Frame<'_>) {
        // A return address may belong to the next instruction already.
        self.push_pc(frame.pc() - usize::from(frame.is_call()));
    }

    fn push_pc(&mut self, pc: usize) {
        let BacktraceLimits {
            innermost,
            outermost,
        } = self.limits;
        if self.pcs.len() < innermost + outermost {
            self.pcs.push(pc);
        } else if outermost > 0 {
            let past = self.count - innermost as u64;
            self.pcs[innermost + (past % outermost as u64) as usize] = pc;
        }
        self.count += 1;
    }

    /// The kept program counters in order, and what was left out.
    fn into_pcs(mut self) -> (Vec<usize>, Option<(usize, u64)>) {
        let omitted = self.count - self.pcs.len() as u64;
        if omitted == 0 {
            return (self.pcs, None);
        }
        let BacktraceLimits {
            innermost,
            outermost,
        } = self.limits;
        if outermost > 0 {
            let oldest = (self.count - innermost as u64) % outermost as u64;
            self.pcs[innermost..].rotate_left(oldest as usize);
        }
        (self.pcs, Some((innermost, omitted)))
    }

    /// The backtrace.
    pub(super) fn finish(self) -> Box<Backtrace> {
        let (pcs, omitted) = self.into_pcs();
        let mut modules: SmallVec<[Arc<CompiledModule>; 1]> = SmallVec::new();
        let mut frames = Vec::with_capacity(pcs.len());
        for pc in pcs {
            // SAFETY: the frames still stand, so the store keeps their module alive; the reference
            // is turned into a count of our own at once.
            let at = unsafe { code::lookup(pc) }.expect("a frame belongs to an image");
            let known = modules
                .iter()
                .rposition(|module| std::ptr::eq(&raw const **module.code(), at.code));
            let module = known.unwrap_or_else(|| {
                modules.push(CompiledModule::of_code(at.code));
                modules.len() - 1
            });
            frames.push(Captured {
                module: module as u32,
                offset: at.offset,
            });
        }
        Box::new(Backtrace {
            frames: frames.into(),
            omitted,
            modules,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capture(
        innermost: usize,
        outermost: usize,
        depth: usize,
    ) -> (Vec<usize>, Option<(usize, u64)>) {
        let mut capture = Capture::new(BacktraceLimits {
            innermost,
            outermost,
        })
        .unwrap();
        (0..depth).for_each(|pc| capture.push_pc(pc));
        capture.into_pcs()
    }

    #[test]
    fn the_innermost_and_outermost_frames_are_kept_in_order() {
        for innermost in 0..4 {
            for outermost in 0..4 {
                if innermost + outermost == 0 {
                    continue;
                }
                for depth in 0..30 {
                    let (pcs, omitted) = capture(innermost, outermost, depth);
                    let kept = innermost + outermost;
                    if depth <= kept {
                        assert_eq!(pcs, (0..depth).collect::<Vec<_>>());
                        assert_eq!(omitted, None);
                    } else {
                        let expected = (0..innermost).chain(depth - outermost..depth);
                        assert_eq!(pcs, expected.collect::<Vec<_>>());
                        assert_eq!(omitted, Some((innermost, (depth - kept) as u64)));
                    }
                }
            }
        }
    }

    #[test]
    fn nothing_is_captured_when_nothing_is_wanted() {
        assert!(Capture::new(BacktraceLimits::NONE).is_none());
    }
}
