//! What a store is configured with besides the settings of compiled code.

use crate::gc::GcConfig;

/// A store's configuration. The API crate fills it from `Config`.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// The native stack that compiled code may use from each outermost entry, in bytes.
    pub max_wasm_stack: usize,
    /// The native stack that is left at least when a host function is entered, in bytes; at most
    /// `isize::MAX`.
    pub host_stack_reserve: usize,
    /// Whether errors carry backtraces, and of how many frames.
    pub backtrace: BacktraceLimits,
    /// The collected heap.
    pub gc: GcConfig,
}

/// How many frames of a backtrace are kept; those in between are counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BacktraceLimits {
    /// The innermost frames kept. With both numbers 0, none is captured at all.
    pub innermost: usize,
    /// The outermost frames kept.
    pub outermost: usize,
}

impl BacktraceLimits {
    /// No backtraces.
    pub const NONE: BacktraceLimits = BacktraceLimits {
        innermost: 0,
        outermost: 0,
    };
}

impl Default for BacktraceLimits {
    fn default() -> Self {
        BacktraceLimits {
            innermost: 40,
            outermost: 20,
        }
    }
}

impl Default for StoreConfig {
    fn default() -> Self {
        StoreConfig {
            max_wasm_stack: 512 << 10,
            host_stack_reserve: 256 << 10,
            backtrace: BacktraceLimits::default(),
            gc: GcConfig::default(),
        }
    }
}
