//! Program counters, of two kinds that must not be mixed up.

/// A program counter in an [`EngineCode`](super::EngineCode)'s own mapping.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct EnginePc(pub usize);

/// A program counter in what a store executes: what return addresses and faults hold. Only
/// [`StoreCode`](super::StoreCode) converts it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct StorePc(pub usize);
