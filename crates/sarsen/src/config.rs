//! [`Config`]: everything that is chosen once per engine.
//!
//! Settings that change machine code are kept in [`Settings`] and [`Features`], which the compiler
//! reads and an image records; the others only the runtime reads. Nothing here is checked until
//! [`Engine::new`](crate::Engine::new).

use crate::error::Result;
use anyhow::ensure;
use core::num::NonZeroU32;
use core::time::Duration;
use sarsen_abi::Settings;
use sarsen_abi::settings::OptLevel as AbiOptLevel;
use sarsen_vm::gc::{CollectorKind, GcConfig};
use sarsen_vm::instance::{BacktraceLimits, StoreConfig};
use sarsen_vm::stack::StackConfig;

pub use sarsen_abi::{Feature, Features};

/// How much the compiler optimizes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum OptLevel {
    /// Nothing that costs compile time.
    None,
    /// Optimize for speed.
    Speed,
}

/// What collects the garbage of a store.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum Collector {
    /// The best one: [`Collector::Generational`].
    #[default]
    Auto,
    /// Two generations: new objects are in a nursery, of which the survivors are moved out; old ones
    /// are collected, and compacted in place, when there are twice as many as there were.
    Generational,
    /// Nothing: what is allocated stays until the store is dropped. For guests that end before they
    /// have allocated much.
    Null,
}

/// What an [`Engine`](crate::Engine) is configured with.
///
/// ```
/// use sarsen::{Config, Engine};
///
/// let mut config = Config::new();
/// config.consume_fuel(true).max_wasm_stack(256 << 10);
/// let engine = Engine::new(&config)?;
/// # Ok::<(), sarsen::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    settings: Settings,
    features: Features,
    max_wasm_stack: usize,
    host_stack_reserve: usize,
    backtrace_frames: usize,
    memory_init_cow: bool,
    gc: GcConfig,
    stacks: StackConfig,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            settings: Settings::default(),
            features: Features::default(),
            max_wasm_stack: 512 << 10,
            host_stack_reserve: 256 << 10,
            backtrace_frames: 60,
            memory_init_cow: true,
            gc: GcConfig::default(),
            stacks: StackConfig::default(),
        }
    }
}

macro_rules! proposals {
    ($($(#[$doc:meta])* $method:ident = $feature:ident;)*) => {
        /// WebAssembly proposals. Each method switches one; the same can be done by name with
        /// [`Config::wasm_feature`].
        impl Config {
            $(
                $(#[$doc])*
                pub fn $method(&mut self, enable: bool) -> &mut Self {
                    self.wasm_feature(Feature::$feature, enable)
                }
            )*
        }
    };
}

proposals! {
    /// Functions and blocks with many results. On by default.
    wasm_multi_value = MultiValue;
    /// Bulk operations on memories and tables. On by default.
    wasm_bulk_memory = BulkMemory;
    /// `externref` and table instructions. On by default.
    wasm_reference_types = ReferenceTypes;
    /// Arithmetic in constant expressions. On by default.
    wasm_extended_const = ExtendedConst;
    /// `return_call` and its relatives. On by default.
    wasm_tail_call = TailCall;
    /// Typed function references. On by default.
    wasm_function_references = FunctionReferences;
    /// More than one linear memory. On by default.
    wasm_multi_memory = MultiMemory;
    /// 64-bit memories and tables. On by default.
    wasm_memory64 = Memory64;
    /// Fixed-width vectors. On by default.
    wasm_simd = Simd;
    /// Vector instructions whose results may differ between machines; see
    /// [`Config::relaxed_simd_deterministic`]. On by default.
    wasm_relaxed_simd = RelaxedSimd;
    /// Shared memories and atomics; see [`SharedMemory`](crate::SharedMemory). On by default.
    wasm_threads = Threads;
    /// Garbage-collected structures and arrays. On by default.
    wasm_gc = Gc;
    /// Exceptions. On by default.
    wasm_exceptions = Exceptions;
    /// Continuations. Off by default.
    wasm_stack_switching = StackSwitching;
    /// 128-bit arithmetic. Off by default.
    wasm_wide_arithmetic = WideArithmetic;
    /// Memories with pages of one byte. Off by default.
    wasm_custom_page_sizes = CustomPageSizes;
    /// Hints of which branches are seldom taken, a custom section: without, they are ignored. On by
    /// default.
    wasm_branch_hinting = BranchHinting;
}

impl Config {
    /// The default configuration.
    pub fn new() -> Self {
        Config::default()
    }

    /// Switches a WebAssembly proposal. Modules that use a proposal that is off are rejected.
    pub fn wasm_feature(&mut self, feature: Feature, enable: bool) -> &mut Self {
        self.features.set(feature, enable);
        self
    }

    /// Sets all proposals at once.
    pub fn wasm_features(&mut self, features: Features) -> &mut Self {
        self.features = features;
        self
    }

    /// Whether compiled code counts fuel; see [`Store::set_fuel`](crate::Store::set_fuel). Off by
    /// default.
    pub fn consume_fuel(&mut self, enable: bool) -> &mut Self {
        self.settings.consume_fuel = enable;
        self
    }

    /// Whether compiled code checks the engine's epoch at function entries and loop heads, and in bulk
    /// operations on memories, tables and arrays every 8 MiB or 65,536 elements; see
    /// [`Store::set_epoch_deadline`](crate::Store::set_epoch_deadline). Off by default.
    pub fn epoch_interruption(&mut self, enable: bool) -> &mut Self {
        self.settings.epoch_interruption = enable;
        self
    }

    /// How much the compiler optimizes. [`OptLevel::Speed`] by default.
    pub fn opt_level(&mut self, level: OptLevel) -> &mut Self {
        self.settings.opt_level = match level {
            OptLevel::None => AbiOptLevel::None,
            OptLevel::Speed => AbiOptLevel::Speed,
        };
        self
    }

    /// The same as [`Config::opt_level`].
    pub fn cranelift_opt_level(&mut self, level: OptLevel) -> &mut Self {
        self.opt_level(level)
    }

    /// Whether small functions are inlined. On by default. An inlined function still has its frame
    /// in backtraces.
    pub fn compiler_inlining(&mut self, enable: bool) -> &mut Self {
        self.settings.inlining = enable;
        self
    }

    /// Whether relaxed vector instructions have the same results on every machine, at the price of
    /// speed: those of the specification's deterministic profile. Off by default, and then they are
    /// what the machine's own instructions compute.
    pub fn relaxed_simd_deterministic(&mut self, enable: bool) -> &mut Self {
        self.settings.relaxed_simd_deterministic = enable;
        self
    }

    /// Whether arithmetic on floats gives no NaN but the canonical one, positive and with an empty
    /// payload, so that results are the same on every machine. Off by default.
    pub fn nan_canonicalization(&mut self, enable: bool) -> &mut Self {
        self.settings.nan_canonicalization = enable;
        self
    }

    /// The same as [`Config::nan_canonicalization`].
    pub fn cranelift_nan_canonicalization(&mut self, enable: bool) -> &mut Self {
        self.nan_canonicalization(enable)
    }

    /// How much stack WebAssembly may use below the host frame that calls it, in bytes; 512 KiB by
    /// default. What exceeds it is a [`Trap::StackOverflow`](crate::Trap::StackOverflow). Where the
    /// thread's stack ends earlier, that counts.
    pub fn max_wasm_stack(&mut self, bytes: usize) -> &mut Self {
        self.max_wasm_stack = bytes;
        self
    }

    /// How much of the thread's stack must be left for a host function that WebAssembly calls, in
    /// bytes; 256 KiB by default. With less, the call is a
    /// [`Trap::StackOverflow`](crate::Trap::StackOverflow).
    pub fn host_stack_reserve(&mut self, bytes: usize) -> &mut Self {
        self.host_stack_reserve = bytes;
        self
    }

    /// Changes nothing: asynchronous calls are always possible, and cost nothing where none is made. It is here for
    /// programs that were written where one had to ask for them.
    pub fn async_support(&mut self, _enable: bool) -> &mut Self {
        self
    }

    /// The size of the stack that each continuation runs on, in bytes; 64 KiB by default, at least
    /// 32 KiB. It is address space: memory is committed as it is touched. WebAssembly that needs more on a
    /// continuation is a [`Trap::StackOverflow`](crate::Trap::StackOverflow); host functions that it calls
    /// run on the thread's own stack.
    pub fn continuation_stack_size(&mut self, bytes: usize) -> &mut Self {
        self.stacks.continuation_size = bytes;
        self
    }

    /// The size of the stack that each asynchronous call runs on, in bytes; 2 MiB by default, at least
    /// 32 KiB. As [`Config::continuation_stack_size`] otherwise.
    pub fn async_stack_size(&mut self, bytes: usize) -> &mut Self {
        self.stacks.async_size = bytes;
        self
    }

    /// How many continuations may have a stack at once in all stores of the engine; about four million by
    /// default. One has a stack from its first resume until it has finished, or was found to be
    /// unreachable. What needs one more is a [`Trap::OutOfStacks`](crate::Trap::OutOfStacks).
    ///
    /// There may be as many asynchronous calls at once that have not ended, beside these. What a single store
    /// may have is its limiter's to say ([`ResourceLimiter::stacks_growing`](crate::ResourceLimiter::stacks_growing)).
    pub fn max_continuation_stacks(&mut self, stacks: usize) -> &mut Self {
        self.stacks.max_stacks = stacks;
        self
    }

    /// How many frames a captured backtrace keeps; 60 by default. The first and last are kept, those
    /// between them counted. Zero captures none.
    pub fn wasm_backtrace_max_frames(&mut self, frames: usize) -> &mut Self {
        self.backtrace_frames = frames;
        self
    }

    /// Address space reserved for a 32-bit memory, in bytes, rounded up to a multiple of 64 KiB;
    /// 4 GiB by default, which lets compiled code omit bounds checks. 64-bit memories start with
    /// this much and move when they outgrow it.
    pub fn memory_reservation(&mut self, bytes: u64) -> &mut Self {
        self.settings.memory_reservation = round_up(bytes);
        self
    }

    /// Inaccessible address space after every memory, in bytes, rounded up to a multiple of 64 KiB;
    /// 32 MiB by default.
    pub fn memory_guard_size(&mut self, bytes: u64) -> &mut Self {
        self.settings.memory_guard = round_up(bytes);
        self
    }

    /// Whether a memory's initial contents are mapped copy-on-write from the module's image instead
    /// of being copied. On by default.
    pub fn memory_init_cow(&mut self, enable: bool) -> &mut Self {
        self.memory_init_cow = enable;
        self
    }

    /// What collects the garbage of each store. [`Collector::Auto`] by default.
    pub fn collector(&mut self, collector: Collector) -> &mut Self {
        self.gc.collector = match collector {
            Collector::Auto | Collector::Generational => CollectorKind::Generational,
            Collector::Null => CollectorKind::Null,
        };
        self
    }

    /// The largest size of a store's heap of collected objects, in bytes, the nursery included. No
    /// limit by default, but for the 4 GiB that references can reach. An allocation that finds no room
    /// after a collection is a [`Trap::AllocationTooLarge`](crate::Trap::AllocationTooLarge). See
    /// [`ResourceLimiter::heap_growing`](crate::ResourceLimiter::heap_growing) for limits that differ
    /// from store to store.
    pub fn gc_heap_limit(&mut self, bytes: usize) -> &mut Self {
        self.gc.heap_limit = bytes;
        self
    }

    /// The size of the nursery, in bytes: at first, and at most. Between them it is chosen by how long
    /// collections take and how much survives them. 1 and 16 MiB by default; numbers out of bounds
    /// (16 KiB, 255 MiB) are moved inside.
    pub fn gc_nursery_size(&mut self, initial: usize, max: usize) -> &mut Self {
        self.gc.nursery_initial = initial;
        self.gc.nursery_max = max;
        self
    }

    /// How long a collection of the nursery should take at most; the nursery is made smaller when it
    /// takes longer. `None` keeps the nursery's size. 1.5 ms by default.
    pub fn gc_pause_target(&mut self, pause: Option<Duration>) -> &mut Self {
        self.gc.pause_target = pause;
        self
    }

    /// For tests: collects at every so many allocations, overwrites what is freed, and checks the whole
    /// heap before and after. Finds references that somebody forgot to tell the collector of. Slow.
    pub fn gc_zeal(&mut self, every: Option<NonZeroU32>) -> &mut Self {
        self.gc.zeal = every;
        self
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn features(&self) -> Features {
        self.features
    }

    pub(crate) fn stacks(&self) -> &StackConfig {
        &self.stacks
    }

    /// What a store is told: two thirds of a backtrace's frames are its innermost.
    pub(crate) fn store_config(&self) -> StoreConfig {
        let outermost = self.backtrace_frames / 3;
        StoreConfig {
            max_wasm_stack: self.max_wasm_stack,
            // So much is left nowhere.
            host_stack_reserve: self.host_stack_reserve.min(isize::MAX as usize),
            backtrace: BacktraceLimits {
                innermost: self.backtrace_frames - outermost,
                outermost,
            },
            gc: self.gc.clone(),
        }
    }

    pub(crate) fn validate(&self) -> Result<()> {
        ensure!(
            self.max_wasm_stack >= 16 << 10,
            "max_wasm_stack is {} bytes; at least 16 KiB are needed",
            self.max_wasm_stack
        );
        ensure!(
            self.host_stack_reserve >= 16 << 10,
            "host_stack_reserve is {} bytes; at least 16 KiB are needed",
            self.host_stack_reserve
        );
        ensure!(
            self.settings.memory_reservation <= 1 << 40,
            "memory_reservation is {} bytes; at most 1 TiB is possible",
            self.settings.memory_reservation
        );
        ensure!(
            self.settings.memory_guard <= 4 << 30,
            "memory_guard_size is {} bytes; at most 4 GiB are possible",
            self.settings.memory_guard
        );
        Ok(())
    }
}

/// Rounds up to a multiple of 64 KiB; what would overflow is rejected by [`Config::validate`].
fn round_up(bytes: u64) -> u64 {
    bytes.checked_next_multiple_of(64 << 10).unwrap_or(u64::MAX)
}
