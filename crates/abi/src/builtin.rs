//! The table of runtime builtins: what compiled code calls in the runtime.
//!
//! One row a builtin: its name, signature, whether it may collect, and whether it may trap. The
//! compiler makes a stub for each from this table; the runtime fills a [`BuiltinTable`] from it,
//! and a mismatch of signatures does not compile there.
//!
//! # Convention
//!
//! Compiled code calls a builtin's *stub* in the `tail` convention with the vmctx first. The stub
//! records the exit (see [`crate::vmctx::Activation`]) and calls the function in the table in the
//! platform's C convention, with the same arguments. What that function returns:
//!
//! | `result` | `traps` | C function returns | stub returns |
//! |---|---|---|---|
//! | no | no | nothing | nothing |
//! | yes | no | the value | the value |
//! | no | yes | status `u64` | nothing |
//! | yes | yes | [`BuiltinReturn`]: value and status | the value |
//!
//! A status other than [`STATUS_OK`] means that the reason has been recorded in the store; the stub
//! then jumps to [`BuiltinTable::raise`] and never returns.

use core::mem::offset_of;

/// The status of a builtin or host function that completed.
pub const STATUS_OK: u64 = 0;
/// The status of a builtin or host function that failed; the store holds the reason.
pub const STATUS_RAISE: u64 = 1;

/// What a builtin with a result that may trap returns, in two registers.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct BuiltinReturn {
    /// The result; meaningless when `status` is not [`STATUS_OK`].
    pub value: u64,
    /// [`STATUS_OK`] or [`STATUS_RAISE`].
    pub status: u64,
}

/// The machine type of a builtin's argument or result.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MachineType {
    /// 32 bits.
    I32,
    /// 64 bits, pointers among them.
    I64,
}

/// What the compiler must know of a builtin.
#[derive(Clone, Copy, Debug)]
pub struct BuiltinSignature {
    /// Its name, for symbols and disassembly.
    pub name: &'static str,
    /// The parameters after the vmctx.
    pub params: &'static [MachineType],
    /// The result, if any. Results are always returned as 64 bits by the C function when it may
    /// trap, and narrowed by the stub.
    pub result: Option<MachineType>,
    /// Whether it may run the collector, so that a call is a safepoint.
    pub collects: bool,
    /// Whether it may fail.
    pub traps: bool,
}

macro_rules! builtins {
    ($(
        $(#[$doc:meta])*
        $variant:ident $name:ident ( $($param:ident : $pty:ident),* ) $(-> $result:ident)?
            [collects: $collects:literal, traps: $traps:tt];
    )*) => {
        /// A runtime builtin.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u32)]
        pub enum Builtin {
            $($(#[$doc])* $variant,)*
        }

        impl Builtin {
            /// Every builtin, in the order of the table.
            pub const ALL: &'static [Builtin] = &[$(Builtin::$variant),*];

            /// The builtin's row.
            pub const fn signature(self) -> BuiltinSignature {
                match self {
                    $(Builtin::$variant => BuiltinSignature {
                        name: stringify!($name),
                        params: &[$(MachineType::$pty),*],
                        result: builtins!(@result $($result)?),
                        collects: $collects,
                        traps: $traps,
                    },)*
                }
            }
        }

        /// Expands `$callback! { (variant name (params) result traps) ... }` for every builtin, so
        /// that the runtime's table is made from the same rows.
        #[macro_export]
        macro_rules! for_each_builtin {
            ($callback:ident) => {
                $callback! {
                    $( $variant $name ( $($param: $pty),* ) ($($result)?) $traps; )*
                }
            };
        }
    };
    (@result) => { None };
    (@result $ty:ident) => { Some(MachineType::$ty) };
}

builtins! {
    /// Grows a memory by `delta` pages; returns the old size in pages, or -1.
    MemoryGrow memory_grow(memory: I32, delta: I64) -> I64 [collects: false, traps: true];
    /// Copies bytes from address to address. The caller has checked both ranges; they may overlap.
    MoveBytes move_bytes(to: I64, from: I64, len: I64) [collects: false, traps: false];
    /// Sets bytes at an address to the lowest byte of `value`. The caller has checked the range.
    FillBytes fill_bytes(to: I64, value: I32, len: I64) [collects: false, traps: false];
    /// Copies from a data segment into a memory.
    MemoryInit memory_init(memory: I32, data: I32, dst: I64, src: I32, len: I32)
        [collects: false, traps: true];
    /// `memory.atomic.wait32` at `index` plus `offset`; `timeout` is in nanoseconds, or negative.
    AtomicWait32 atomic_wait32(memory: I32, index: I64, offset: I64, expected: I32, timeout: I64) -> I32
        [collects: true, traps: true];
    /// As the one before, for 64 bits.
    AtomicWait64 atomic_wait64(memory: I32, index: I64, offset: I64, expected: I64, timeout: I64) -> I32
        [collects: true, traps: true];
    /// `memory.atomic.notify` at `index` plus `offset`; returns how many were woken.
    AtomicNotify atomic_notify(memory: I32, index: I64, offset: I64, count: I32) -> I32
        [collects: false, traps: true];
    /// Drops a data segment.
    DataDrop data_drop(data: I32) [collects: false, traps: false];
    /// Grows a table by `delta` elements of value `init` (zero-extended to 64 bits); returns the old
    /// size, or -1.
    TableGrow table_grow(table: I32, delta: I64, init: I64) -> I64 [collects: false, traps: true];
    /// Fills a range of a table with `value` (zero-extended to 64 bits).
    TableFill table_fill(table: I32, dst: I64, value: I64, len: I64)
        [collects: false, traps: true];
    /// Copies between tables.
    TableCopy table_copy(dst_table: I32, dst: I64, src_table: I32, src: I64, len: I64)
        [collects: false, traps: true];
    /// Copies from an element segment into a table.
    TableInit table_init(table: I32, elem: I32, dst: I64, src: I32, len: I32)
        [collects: true, traps: true];
    /// Drops an element segment.
    ElemDrop elem_drop(elem: I32) [collects: false, traps: false];
    /// Room for a small object of `size` bytes (a multiple of 8, at most [`crate::heap::MAX_SMALL`]) in
    /// the nursery, after a collection if need be. What is there is undefined: the caller writes
    /// the whole object, before the next safepoint.
    GcAlloc gc_alloc(size: I32) -> I32 [collects: true, traps: true];
    /// An object of the module's type `ty`, a structure or an array of `length` elements, of any
    /// size: with its header, and zeroes. It may be old: stores into it need the barrier.
    GcAllocZeroed gc_alloc_zeroed(ty: I32, length: I32) -> I32 [collects: true, traps: true];
    /// An array of the module's type `ty` with `length` elements of the value in `low` and `high`
    /// (zero-extended; a reference or a function's id is 32 bits).
    ArrayNew array_new(ty: I32, length: I32, low: I64, high: I64) -> I32
        [collects: true, traps: true];
    /// An array of the module's type `ty` with bytes of a data segment.
    ArrayNewData array_new_data(ty: I32, data: I32, offset: I32, length: I32) -> I32
        [collects: true, traps: true];
    /// An array of the module's type `ty` with elements of an element segment.
    ArrayNewElem array_new_elem(ty: I32, elem: I32, offset: I32, length: I32) -> I32
        [collects: true, traps: true];
    /// Fills elements of an array with the value in `low` and `high`.
    ArrayFill array_fill(array: I32, index: I32, low: I64, high: I64, length: I32)
        [collects: true, traps: true];
    /// Copies elements between arrays.
    ArrayCopy array_copy(to: I32, to_index: I32, from: I32, from_index: I32, length: I32)
        [collects: true, traps: true];
    /// Copies from a data segment into an array.
    ArrayInitData array_init_data(data: I32, array: I32, index: I32, from: I32, length: I32)
        [collects: true, traps: true];
    /// Copies from an element segment into an array.
    ArrayInitElem array_init_elem(elem: I32, array: I32, index: I32, from: I32, length: I32)
        [collects: true, traps: true];
    /// The id of a function (not null) for objects to refer to it by.
    FuncId func_id(func: I64) -> I32 [collects: false, traps: true];
    /// The buffer of remembered slots is full.
    GcRememberedFull gc_remembered_full() [collects: false, traps: false];
    /// A reference was not of the type that a cast asks for: always traps. `target` is the module's
    /// type, or an abstract heap type ([`crate::types::AbstractHeapType::code`]) with the high bit
    /// set; `nullable` is 1 when null would have done.
    CastFailed cast_failed(reference: I32, target: I32, nullable: I32) [collects: false, traps: true];
    /// Throws an exception (not null): goes on in the handler, or leaves. Always fails.
    Throw throw(exception: I32) [collects: false, traps: true];
    /// An exception with the module's tag `tag`, of any size: with its header and tag, and zeroes. It
    /// may be old: stores into it need the barrier.
    ExnAlloc exn_alloc(tag: I32) -> I32 [collects: true, traps: true];
    /// The epoch's deadline has passed: the host decides. Returns the new deadline.
    NewEpoch new_epoch() -> I64 [collects: true, traps: true];
    /// Fuel is used up ([`crate::vmctx::VmStoreCtx::fuel`] is not negative): the host decides.
    OutOfFuel out_of_fuel() [collects: true, traps: true];
    /// The stack to resume a continuation on that is not the plain owner of one with just this function type (a
    /// [`crate::TypeId`]): a stack for a fresh one, its bound arguments in place; notes that a stack has run. Traps
    /// for null and for a consumed one, and when what there is to resume is not of that type. Nothing may fail
    /// between this and the switch to that stack.
    ContPrepare cont_prepare(cont: I32, func_type: I32) -> I64 [collects: true, traps: true];
    /// As `ContPrepare`, for resuming a continuation by an exception, which is the first word that the
    /// stack is given: it is thrown where the continuation was suspended. Consumes a fresh one, and
    /// returns zero: nothing of it can catch anything.
    ContPrepareThrow cont_prepare_throw(cont: I32, func_type: I32) -> I64 [collects: false, traps: true];
    /// Makes a continuation of type `to` of a continuation of type `from` (indices of the module's) and
    /// `count` arguments at `values`. Traps as `ContPrepare`.
    ContBind cont_bind(cont: I32, from: I32, to: I32, values: I64, count: I32) -> I32
        [collects: true, traps: true];
    /// The stack whose parent has a clause for a tag (the address of its `VmTag`) that handles
    /// suspensions if `target` is 0, or switches to the continuation `target`. The clause's number goes to
    /// [`crate::vmctx::VmStoreCtx::found_clause`]. Traps when there is none, or when `target` is consumed.
    FindHandler find_handler(tag: I64, target: I32) -> I64 [collects: false, traps: true];
    /// Raises the trap with this code ([`crate::TrapCode::byte`]). Always fails.
    Trap trap(code: I32) [collects: false, traps: true];
}

/// A function of the runtime, of a signature that its position in the table tells.
pub type RawFunction = *const u8;

/// The number of builtins.
pub const BUILTIN_COUNT: usize = Builtin::ALL.len();

/// What [`crate::vmctx::ContextHeader::builtins`] points to: one static of the runtime.
#[derive(Debug)]
#[repr(C)]
pub struct BuiltinTable {
    /// Leaves compiled code for the reason that the store holds. A stub calls this with its context (no
    /// particular stack alignment) after a builtin returned [`STATUS_RAISE`].
    pub raise: RawFunction,
    /// The same after a host function returned [`STATUS_RAISE`], with its context and its values. But if the
    /// reason is that it suspends, this suspends in its place, and returns when it was resumed and the
    /// results are in its values.
    pub host_failed: RawFunction,
    /// Calls [`crate::vmctx::Activation::native_callee`], a C function, on the native stack, with the
    /// arguments it is called with itself, which are in registers: a context and at most [`MAX_PARAMS`] others;
    /// returns what that function returns. To be used while a pool stack runs.
    pub native_call: RawFunction,
    /// Switches stacks: `(to: *mut VmStack, store: *mut VmStoreCtx, first: u64, second: u64)`, in the
    /// `tail` convention, from a `try_call`. Returns when something switches back, and then gives the two
    /// words that it was passed there, and the stack and the store that the caller has anyway: so they are
    /// in registers where nothing else is.
    pub switch_stack: RawFunction,
    /// The same, for resuming.
    pub resume_stack: RawFunction,
    /// The builtins, indexed by [`Builtin`].
    pub functions: [RawFunction; BUILTIN_COUNT],
}

/// How many parameters a builtin may have after the vmctx: all arguments are passed in registers.
pub const MAX_PARAMS: usize = 5;

const _: () = {
    let mut at = 0;
    while at < BUILTIN_COUNT {
        assert!(Builtin::ALL[at].signature().params.len() <= MAX_PARAMS);
        at += 1;
    }
};

impl BuiltinTable {
    /// The offset of [`BuiltinTable::raise`], in bytes.
    pub const RAISE_OFFSET: u32 = offset_of!(BuiltinTable, raise) as u32;

    /// The offset of [`BuiltinTable::host_failed`], in bytes.
    pub const HOST_FAILED_OFFSET: u32 = offset_of!(BuiltinTable, host_failed) as u32;

    /// The offset of [`BuiltinTable::native_call`], in bytes.
    pub const NATIVE_CALL_OFFSET: u32 = offset_of!(BuiltinTable, native_call) as u32;

    /// The offset of [`BuiltinTable::switch_stack`], in bytes.
    pub const SWITCH_STACK_OFFSET: u32 = offset_of!(BuiltinTable, switch_stack) as u32;

    /// The offset of [`BuiltinTable::resume_stack`], in bytes.
    pub const RESUME_STACK_OFFSET: u32 = offset_of!(BuiltinTable, resume_stack) as u32;

    /// The offset of a builtin's function, in bytes.
    pub const fn offset(builtin: Builtin) -> u32 {
        offset_of!(BuiltinTable, functions) as u32
            + builtin as u32 * size_of::<RawFunction>() as u32
    }
}
