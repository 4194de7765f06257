//! The runtime's side of the builtins: what compiled code calls.
//!
//! [`sarsen_abi::builtin`] has the table of rows; this file makes a C function of each, in the shape
//! that the row asks for, and the static table of their addresses. A row without a function here, or
//! with one of another signature, does not compile.
//!
//! The functions themselves only turn what compiled code passes into what `instance` understands.
//! Those that may trap may also call the embedder (limits, epochs), whose panics are caught here:
//! nothing unwinds into compiled code.

use super::host_call::caught;
use super::{landing, suspend, yielding};
use crate::arch;
use crate::instance::{Deadline, HostError, Instance, Reason};
use crate::mem::Expected;
use crate::stack::{native_call, resume_stack, switch_stack};
use sarsen_abi::builtin::{BuiltinReturn, BuiltinTable, STATUS_OK};
use sarsen_abi::vmctx::VmCtxHeader;
use sarsen_abi::{
    DataIndex, ElemIndex, MemoryIndex, TableIndex, TrapCode, TypeId, for_each_builtin,
};
use std::ptr;

/// What contexts point to: [`sarsen_abi::vmctx::ContextHeader::builtins`].
pub fn builtin_table() -> &'static BuiltinTable {
    &TABLE.0
}

struct Table(BuiltinTable);

// SAFETY: addresses of code, which never change.
unsafe impl Sync for Table {}

/// The Rust type of a machine type.
macro_rules! machine {
    (I32) => {
        u32
    };
    (I64) => {
        u64
    };
}

/// A C function around a function of [`calls`], by whether there is a result and whether it may trap.
macro_rules! c_function {
    ($name:ident ($($param:ident: $pty:ident),*) () false) => {
        unsafe extern "C" fn $name(vmctx: *mut VmCtxHeader, $($param: machine!($pty)),*) {
            // SAFETY: compiled code passes its own vmctx, and its store is alive while it runs.
            let instance = unsafe { Instance::from_vmctx(vmctx) };
            calls::$name(instance, $($param),*)
        }
    };
    ($name:ident ($($param:ident: $pty:ident),*) ($result:ident) false) => {
        unsafe extern "C" fn $name(
            vmctx: *mut VmCtxHeader,
            $($param: machine!($pty)),*
        ) -> machine!($result) {
            // SAFETY: compiled code passes its own vmctx, and its store is alive while it runs.
            let instance = unsafe { Instance::from_vmctx(vmctx) };
            calls::$name(instance, $($param),*)
        }
    };
    ($name:ident ($($param:ident: $pty:ident),*) () true) => {
        unsafe extern "C" fn $name(vmctx: *mut VmCtxHeader, $($param: machine!($pty)),*) -> u64 {
            // SAFETY: compiled code passes its own vmctx, and its store is alive while it runs.
            let instance = unsafe { Instance::from_vmctx(vmctx) };
            match run(instance, || calls::$name(instance, $($param),*)) {
                Ok(()) => STATUS_OK,
                Err(status) => status,
            }
        }
    };
    ($name:ident ($($param:ident: $pty:ident),*) ($result:ident) true) => {
        unsafe extern "C" fn $name(
            vmctx: *mut VmCtxHeader,
            $($param: machine!($pty)),*
        ) -> BuiltinReturn {
            // SAFETY: compiled code passes its own vmctx, and its store is alive while it runs.
            let instance = unsafe { Instance::from_vmctx(vmctx) };
            let result: Result<machine!($result), u64> =
                run(instance, || calls::$name(instance, $($param),*));
            match result {
                Ok(value) => BuiltinReturn { value: u64::from(value), status: STATUS_OK },
                Err(status) => BuiltinReturn { value: 0, status },
            }
        }
    };
}

macro_rules! table {
    ($(
        $variant:ident $name:ident ($($param:ident: $pty:ident),*) ($($result:ident)?) $traps:tt;
    )*) => {
        $( c_function! { $name ($($param: $pty),*) ($($result)?) $traps } )*

        static TABLE: Table = Table(BuiltinTable {
            raise: landing::raise as *const u8,
            host_failed: suspend::host_failed as *const u8,
            native_call: native_call as *const u8,
            switch_stack: switch_stack as *const u8,
            resume_stack: resume_stack as *const u8,
            functions: [$( $name as *const u8 ),*],
        });
    };
}

for_each_builtin!(table);

/// Runs a builtin that may fail.
fn run<R>(instance: &Instance, call: impl FnOnce() -> Result<R, Reason>) -> Result<R, u64> {
    // SAFETY: the store of an instance whose compiled code is running is alive, and whatever `call`
    // borrowed of it has ended.
    unsafe { caught(instance.store(), call) }
}

/// The builtins, as Rust functions.
mod calls {
    use super::*;

    /// The machine type of what a builtin passes on.
    macro_rules! passed {
        (u64) => {
            u64
        };
        ($index_or_number:ident) => {
            u32
        };
    }

    /// An argument, as the instance understands it.
    macro_rules! understood {
        (u32 $value:expr) => {
            $value
        };
        (u64 $value:expr) => {
            $value
        };
        ($index:ident $value:expr) => {
            $index::new($value)
        };
    }

    /// Builtins that an instance has a method for, with the same arguments.
    macro_rules! methods {
        ($($name:ident($($param:ident: $ty:ident),*) -> $result:ty;)*) => {$(
            pub(super) fn $name(
                i: &Instance,
                $($param: passed!($ty)),*
            ) -> Result<$result, Reason> {
                i.$name($(understood!($ty $param)),*).map_err(Reason::from)
            }
        )*};
    }

    methods! {
        memory_init(memory: MemoryIndex, data: DataIndex, dst: u64, src: u32, len: u32) -> ();
        atomic_notify(memory: MemoryIndex, index: u64, offset: u64, count: u32) -> u32;
        table_fill(table: TableIndex, dst: u64, value: u64, len: u64) -> ();
        table_copy(to: TableIndex, dst: u64, from: TableIndex, src: u64, len: u64) -> ();
        table_init(table: TableIndex, elem: ElemIndex, dst: u64, src: u32, len: u32) -> ();
        gc_alloc(size: u32) -> u32;
        gc_alloc_zeroed(ty: u32, length: u32) -> u32;
        array_new(ty: u32, length: u32, low: u64, high: u64) -> u32;
        array_new_data(ty: u32, data: u32, offset: u32, length: u32) -> u32;
        array_new_elem(ty: u32, elem: u32, offset: u32, length: u32) -> u32;
        exn_alloc(tag: u32) -> u32;
        cont_prepare(cont: u32, func_type: u32) -> u64;
        find_handler(tag: u64, target: u32) -> u64;
    }

    /// What `memory.grow` and `table.grow` return when nothing has grown.
    const NOT_GROWN: u64 = u64::MAX;

    fn grown(old: Result<Option<u64>, HostError>) -> Result<u64, Reason> {
        Ok(old.map_err(Reason::Error)?.unwrap_or(NOT_GROWN))
    }

    pub(super) fn memory_grow(i: &Instance, memory: u32, delta: u64) -> Result<u64, Reason> {
        grown(i.memory_grow(MemoryIndex::new(memory), delta))
    }

    pub(super) fn table_grow(
        i: &Instance,
        table: u32,
        delta: u64,
        init: u64,
    ) -> Result<u64, Reason> {
        grown(i.table_grow(TableIndex::new(table), delta, init))
    }

    pub(super) fn atomic_wait32(
        i: &Instance,
        memory: u32,
        index: u64,
        offset: u64,
        expected: u32,
        timeout: u64,
    ) -> Result<u32, Reason> {
        let place = (MemoryIndex::new(memory), index, offset);
        // SAFETY: the answer is a value and a status, as here.
        unsafe { yielding::atomic_wait(i, place, Expected::I32(expected), timeout as i64) }
    }

    pub(super) fn atomic_wait64(
        i: &Instance,
        memory: u32,
        index: u64,
        offset: u64,
        expected: u64,
        timeout: u64,
    ) -> Result<u32, Reason> {
        let place = (MemoryIndex::new(memory), index, offset);
        // SAFETY: the answer is a value and a status, as here.
        unsafe { yielding::atomic_wait(i, place, Expected::I64(expected), timeout as i64) }
    }

    pub(super) fn move_bytes(_: &Instance, to: u64, from: u64, len: u64) {
        // SAFETY: compiled code has checked that both ranges lie in memories of its store.
        unsafe { arch::copy_bytes(to as *mut u8, from as *const u8, len as usize) };
    }

    pub(super) fn fill_bytes(_: &Instance, to: u64, value: u32, len: u64) {
        // SAFETY: compiled code has checked that the range lies in a memory of its store.
        unsafe { arch::fill_bytes(to as *mut u8, value as u8, len as usize) };
    }

    pub(super) fn data_drop(i: &Instance, data: u32) {
        i.data_drop(DataIndex::new(data));
    }

    pub(super) fn elem_drop(i: &Instance, elem: u32) {
        i.elem_drop(ElemIndex::new(elem));
    }

    pub(super) fn array_fill(
        i: &Instance,
        array: u32,
        index: u32,
        low: u64,
        high: u64,
        length: u32,
    ) -> Result<(), Reason> {
        i.array_fill(array, index, (low, high), length)
    }

    pub(super) fn array_copy(
        i: &Instance,
        to: u32,
        to_index: u32,
        from: u32,
        from_index: u32,
        length: u32,
    ) -> Result<(), Reason> {
        i.array_copy((to, to_index), (from, from_index), length)
    }

    pub(super) fn array_init_data(
        i: &Instance,
        data: u32,
        array: u32,
        index: u32,
        from: u32,
        length: u32,
    ) -> Result<(), Reason> {
        i.array_init_data(data, (array, index), from, length)
    }

    pub(super) fn array_init_elem(
        i: &Instance,
        elem: u32,
        array: u32,
        index: u32,
        from: u32,
        length: u32,
    ) -> Result<(), Reason> {
        i.array_init_elem(elem, (array, index), from, length)
    }

    pub(super) fn func_id(i: &Instance, func: u64) -> Result<u32, Reason> {
        let func = ptr::with_exposed_provenance(func as usize);
        // SAFETY: compiled code passes references to functions of its store, which it can call.
        Ok(unsafe { i.func_id(func) })
    }

    pub(super) fn cast_failed(
        i: &Instance,
        reference: u32,
        target: u32,
        nullable: u32,
    ) -> Result<(), Reason> {
        Err(i.cast_failure(reference, target, nullable != 0))
    }

    pub(super) fn throw(i: &Instance, exception: u32) -> Result<(), Reason> {
        Err(i.throw(exception))
    }

    pub(super) fn gc_remembered_full(i: &Instance) {
        i.gc_remembered_full();
    }

    pub(super) fn new_epoch(i: &Instance) -> Result<u64, Reason> {
        // SAFETY: the store is alive, and compiled code is waiting: nobody else refers to it.
        let deadline = unsafe { i.store().as_mut() }.new_epoch()?;
        Ok(match deadline {
            Deadline::At(epoch) => epoch,
            // SAFETY: the answer is a deadline, as here.
            Deadline::YieldThenTicks(ticks) => unsafe { yielding::until_next_epoch(i, ticks) },
        })
    }

    pub(super) fn out_of_fuel(i: &Instance) -> Result<(), Reason> {
        // SAFETY: the store is alive, and compiled code is waiting: nobody else refers to it.
        if unsafe { i.store().as_mut() }.refuel()? {
            // SAFETY: the answer is a status, as here.
            unsafe { yielding::after_fuel(i) };
        }
        Ok(())
    }

    pub(super) fn cont_prepare_throw(
        i: &Instance,
        cont: u32,
        func_type: u32,
    ) -> Result<u64, Reason> {
        let Some(head) = i.cont_prepare_throw(cont, TypeId(func_type))? else {
            return Ok(0);
        };
        // SAFETY: a suspended stack, which compiled code switches to now.
        unsafe { landing::throw_when_resumed(head) };
        Ok(head.as_ptr().expose_provenance() as u64)
    }

    pub(super) fn cont_bind(
        i: &Instance,
        cont: u32,
        from: u32,
        to: u32,
        values: u64,
        count: u32,
    ) -> Result<u32, Reason> {
        let values = ptr::with_exposed_provenance(values as usize);
        // SAFETY: compiled code passes so many values of the types it says.
        unsafe { i.cont_bind(cont, from, to, values, count) }
    }

    pub(super) fn trap(_: &Instance, code: u32) -> Result<(), Reason> {
        let code = u8::try_from(code).ok().and_then(TrapCode::from_byte);
        Err(Reason::Trap(code.expect("compiled code names a trap code")))
    }
}
