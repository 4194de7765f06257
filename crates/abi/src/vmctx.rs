//! The structs that compiled code reads and writes, and the layout of an instance's vmctx.
//!
//! Every offset that compiled code uses comes from `offset_of!` here; none is typed by hand.
//!
//! # Who is called with what
//!
//! A WebAssembly-callable function, compiled or host, takes its own *context* as first parameter in
//! the `tail` convention, then the WebAssembly parameters; it returns the WebAssembly results. Both
//! kinds of context begin with a [`ContextHeader`]:
//!
//! ```text
//!   VmCtx (an instance)                        VmHostCtx (a host function, one per import)
//!   +--------------------------------+         +---------------------------+
//!   | VmCtxHeader                    |         | ContextHeader             |
//!   |   ContextHeader                |         | call, caller, data        |
//!   |   type_ids, epoch, instance    |         +---------------------------+
//!   +--------------------------------+  <- size_of::<VmCtxHeader>()
//!   | imported functions: VmFuncRef  |  x imported functions
//!   | defined functions:  VmFuncRef  |  x escaping functions (those with a reference)
//!   | imported tables:   *mut VmTable   |
//!   | imported memories: *mut VmMemory  |  *VmSharedMemory, if it is shared
//!   | imported globals:  *mut VmGlobal  |
//!   | imported tags:     *const VmTag   |
//!   | defined tables:    VmTable     |
//!   | defined memories:  VmMemory    |  *VmSharedMemory and nothing, if it is shared
//!   | defined tags:      VmTag       |
//!   | defined globals:   VmGlobal    |  16-byte aligned
//!   +--------------------------------+
//! ```
//!
//! A host function that is imported gets a [`VmHostCtx`] of its own for each importing instance; that
//! is how it knows its caller without every call passing it.

use crate::builtin::BuiltinTable;
use crate::index::{FuncIndex, GlobalIndex, MemoryIndex, TableIndex, TagIndex};
use crate::module::Module;
use crate::stack::{VmStack, VmSuspension};
use crate::types::TypeId;
use core::mem::{offset_of, size_of};
use core::sync::atomic::AtomicUsize;

/// [`ContextHeader::magic`] of an instance.
pub const VMCTX_MAGIC: u32 = u32::from_le_bytes(*b"srsi");
/// [`ContextHeader::magic`] of a host function.
pub const HOSTCTX_MAGIC: u32 = u32::from_le_bytes(*b"srsh");

/// What every context begins with.
#[derive(Debug)]
#[repr(C)]
pub struct ContextHeader {
    /// [`VMCTX_MAGIC`] or [`HOSTCTX_MAGIC`].
    pub magic: u32,
    /// Zero.
    pub reserved: u32,
    /// The store. Never changes.
    pub store: *mut VmStoreCtx,
    /// The runtime's builtins. Never changes.
    pub builtins: *const BuiltinTable,
}

/// The fixed part of an instance's vmctx.
#[derive(Debug)]
#[repr(C)]
pub struct VmCtxHeader {
    /// The common part.
    pub context: ContextHeader,
    /// Engine-wide type ids, indexed by the module's [`crate::TypeIndex`]. Never changes.
    pub type_ids: *const TypeId,
    /// The engine's epoch counter (an `AtomicU64`). Never changes.
    pub epoch: *const u64,
    /// The runtime's own instance, opaque to compiled code.
    pub instance: *mut u8,
    /// What can be read of types by their ids ([`crate::heap::TypeRow`]). Never changes.
    pub type_rows: *const u8,
    /// The ancestors of types at depth [`crate::heap::SHALLOW`] and more. Never changes.
    pub deep_rows: *const u8,
    /// Keeps what follows 16-byte aligned.
    pub reserved: u64,
}

/// The context of a host function.
#[derive(Debug)]
#[repr(C)]
pub struct VmHostCtx {
    /// The common part.
    pub context: ContextHeader,
    /// The host's function: arguments are read from `values`, results written there from its start;
    /// `values` has room for the larger of the two numbers. Returns [`crate::builtin::STATUS_OK`] or
    /// [`crate::builtin::STATUS_RAISE`]: then it is [`crate::builtin::BuiltinTable::host_failed`] that goes on.
    pub call: unsafe extern "C" fn(host: *mut VmHostCtx, values: *mut ValRaw) -> u64,
    /// The instance that imported this function, or null when the host made it callable otherwise.
    pub caller: *mut VmCtxHeader,
    /// The host's data, opaque here.
    pub data: *const u8,
    /// The type of the host's function.
    pub type_id: TypeId,
}

/// A value between host and compiled code: a number in the low bytes, little-endian, or a reference
/// (32-bit collected reference, or 64-bit [`VmFuncRef`] pointer), zero-extended.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(C, align(16))]
pub struct ValRaw(pub u128);

macro_rules! val_raw_numbers {
    ($($make:ident $get:ident $ty:ty, $bits:ty, $what:literal;)*) => {
        impl ValRaw {
            $(
                #[doc = concat!("From ", $what, ".")]
                #[inline(always)]
                pub const fn $make(value: $ty) -> ValRaw {
                    ValRaw(value as $bits as u128)
                }

                #[doc = concat!("To ", $what, ".")]
                #[inline(always)]
                pub const fn $get(self) -> $ty {
                    self.0 as $ty
                }
            )*
        }
    };
}

val_raw_numbers! {
    i32 get_i32 i32, u32, "an `i32`";
    u32 get_u32 u32, u32, "an `i32`, unsigned";
    i64 get_i64 i64, u64, "an `i64`";
    u64 get_u64 u64, u64, "an `i64`, unsigned";
    f32 get_f32 u32, u32, "the bits of an `f32`";
    f64 get_f64 u64, u64, "the bits of an `f64`";
    v128 get_v128 u128, u128, "a `v128`";
    externref get_externref u32, u32, "a collected reference, 0 for null";
}

impl ValRaw {
    /// From a function reference.
    #[inline(always)]
    pub fn funcref(func: *const VmFuncRef) -> ValRaw {
        ValRaw(func.expose_provenance() as u128)
    }

    /// To a function reference.
    #[inline(always)]
    pub fn get_funcref(self) -> *const VmFuncRef {
        core::ptr::with_exposed_provenance(self.0 as u64 as usize)
    }
}

/// The size of a [`ValRaw`], in bytes.
pub const VAL_RAW_SIZE: u32 = size_of::<ValRaw>() as u32;

/// What compiled code knows of its store.
#[derive(Debug)]
#[repr(C)]
pub struct VmStoreCtx {
    /// The lowest stack pointer that a prologue accepts: that of `current_stack`, and as meaningful.
    pub stack_limit: usize,
    /// The innermost activation, or null.
    pub activation: *mut Activation,
    /// Fuel used, counted up from a negative number; not negative means used up.
    pub fuel: i64,
    /// The epoch at which compiled code must call [`crate::Builtin::NewEpoch`].
    pub epoch_deadline: u64,
    /// The base of the store's collected heap ([`crate::heap`]). Never changes once the heap is
    /// reserved, which it is before any code of a module that uses the heap runs.
    pub heap_base: *mut u8,
    /// Where the next small object goes, as a reference.
    pub alloc_next: u32,
    /// Where the room for small objects ends. An allocation that does not fit, because the room is
    /// used up or because something asks for a collection by setting this to zero, calls
    /// [`crate::Builtin::GcAlloc`].
    pub alloc_end: u32,
    /// Where the address of the next remembered slot goes, a `u64`.
    pub remembered_next: *mut u64,
    /// The end of the buffer of remembered slots. It is never full: whoever fills it calls
    /// [`crate::Builtin::GcRememberedFull`].
    pub remembered_end: *mut u64,
    /// The functions that objects refer to, by id; the first entry (id 0) is null.
    pub func_table: *const *const VmFuncRef,
    /// One less than the number of entries in `func_table`, which is a power of two; those that nobody has
    /// the id of are null.
    pub func_table_mask: u32,
    /// The stack that compiled code runs on ([`crate::stack`]); meaningless without an activation.
    pub current_stack: *mut VmStack,
    /// The store's stacks by their numbers; the first entry (number 0) is one that nobody owns.
    pub stack_table: *const *mut VmStack,
    /// The number of entries in `stack_table`.
    pub stack_table_length: u64,
    /// The stack that was suspended last, which is likely to be resumed next; or any other block.
    pub last_suspended: *mut VmStack,
    /// The first of the free stacks, or null.
    pub free_stacks: *mut VmStack,
    /// How many stacks are free.
    pub free_count: u64,
    /// When more are free, some go back to the engine's pool.
    pub free_limit: u64,
    /// The number of the clause that [`crate::Builtin::FindHandler`] has found.
    pub found_clause: u64,
    /// The runtime's own account of the stacks, opaque to compiled code; or null.
    pub stacks: *mut u8,
}

impl VmStoreCtx {
    /// Of a store that has nothing yet.
    pub const fn new() -> VmStoreCtx {
        VmStoreCtx {
            stack_limit: usize::MAX,
            activation: core::ptr::null_mut(),
            fuel: 0,
            epoch_deadline: 0,
            heap_base: core::ptr::null_mut(),
            alloc_next: 0,
            alloc_end: 0,
            remembered_next: core::ptr::null_mut(),
            remembered_end: core::ptr::null_mut(),
            func_table: core::ptr::null(),
            func_table_mask: 0,
            current_stack: core::ptr::null_mut(),
            stack_table: core::ptr::null(),
            stack_table_length: 0,
            last_suspended: core::ptr::null_mut(),
            free_stacks: core::ptr::null_mut(),
            free_count: 0,
            free_limit: 0,
            found_clause: 0,
            stacks: core::ptr::null_mut(),
        }
    }
}

impl Default for VmStoreCtx {
    fn default() -> Self {
        VmStoreCtx::new()
    }
}

/// A stay in compiled code: from an entry stub until its return.
///
/// The host makes it on its own stack, links it ([`VmStoreCtx::activation`]) and passes it to the
/// entry stub, which fills in `native.entry_fp`. Exit and builtin stubs fill in the exit.
///
/// ```text
///   host frames            higher addresses
///   entry stub's frame     <- native.entry_fp: [fp] = host's fp, [fp+8] = return address into the host
///   wasm frames
///   innermost wasm frame   <- exit_fp
///   exit or builtin stub     (its return address is exit_pc)
///   host frames            lower addresses
/// ```
#[derive(Debug)]
#[repr(C)]
pub struct Activation {
    /// The native stack. First: an entry stub finds [`VmStack::entry_fp`] there, or in the block of a pool
    /// stack. Here, only `entry_fp`, `sp`, `fp`, `pc`, `stack_limit`, `parent` (null) and `first_tag` (null)
    /// are ever used.
    pub native: VmStack,
    /// The activation below this one, or null.
    pub previous: *mut Activation,
    /// The frame pointer of the innermost WebAssembly frame when it last called out.
    pub exit_fp: usize,
    /// The return address in that frame.
    pub exit_pc: usize,
    /// The current stack to restore when this activation ends, with its limit: where the one below it was
    /// left. Means nothing when there is none.
    pub previous_stack: *mut VmStack,
    /// The C function that [`BuiltinTable::native_call`] is to call.
    pub native_callee: *const u8,
    /// Of an asynchronous call, whose base is a pool stack: where it waits. Null for others.
    pub suspension: *mut VmSuspension,
}

// A stub compares addresses to know whether a native stack runs.
const _: () = assert!(offset_of!(Activation, native) == 0);

/// A function as compiled code and the host see it. References to functions are pointers to this.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct VmFuncRef {
    /// The code in the `tail` convention.
    pub code: *const u8,
    /// The context to pass.
    pub context: *mut ContextHeader,
    /// The entry stub for the function's type: `(activation: *mut Activation, callee: *const VmFuncRef,
    /// values: *mut ValRaw) -> u64`, as in the platform's C convention, but no register is kept except for the
    /// stack and frame pointers.
    ///
    /// It calls `callee` with arguments from `values` and writes the results there from its start.
    /// Returns [`crate::builtin::STATUS_OK`], or [`crate::builtin::STATUS_RAISE`] when compiled code was
    /// left by a trap or an exception: then the reason is in the store.
    pub entry: *const u8,
    /// The function's type.
    pub type_id: TypeId,
    /// The function's id in [`VmStoreCtx::func_table`], or [`NO_FUNC_ID`] when it has none yet.
    pub id: u32,
}

/// [`VmFuncRef::id`] of a function that has none yet. It is never given, and not that of null, so no object
/// has it but a damaged one.
pub const NO_FUNC_ID: u32 = u32::MAX;

/// A linear memory as compiled code sees it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct VmMemory {
    /// The first byte. Never changes for a memory whose style is not
    /// [`crate::module::MemoryStyle::Movable`].
    pub base: *mut u8,
    /// The accessible length, in bytes.
    pub length: usize,
}

/// A shared linear memory as compiled code sees it: in the memory itself, of which every vmctx has a
/// pointer. Its fields lie where those of a [`VmMemory`] do.
#[derive(Debug)]
#[repr(C)]
pub struct VmSharedMemory {
    /// The first byte. Never changes.
    pub base: *mut u8,
    /// The accessible length, in bytes. Only grows, on any thread at any time.
    pub length: AtomicUsize,
}

const _: () = assert!(
    offset_of!(VmSharedMemory, base) == offset_of!(VmMemory, base)
        && offset_of!(VmSharedMemory, length) == offset_of!(VmMemory, length)
);

/// A table as compiled code sees it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct VmTable {
    /// The first element: `*const VmFuncRef` (8 bytes) for function references, else a collected
    /// reference (4 bytes).
    pub base: *mut u8,
    /// The number of elements.
    pub length: u64,
}

/// A global's storage.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(16))]
pub struct VmGlobal(pub ValRaw);

/// A tag as compiled code sees it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct VmTag {
    /// The tag's function type.
    pub type_id: TypeId,
    /// The tag's identity: unique in its store, and never zero. Exceptions hold it.
    pub id: u32,
}

macro_rules! offsets {
    ($($(#[$doc:meta])* $name:ident = $ty:ty, $($field:tt).+;)*) => {
        /// Offsets of fields in bytes, as compiled code uses them.
        pub mod offset {
            use super::*;
            $($(#[$doc])* pub const $name: i32 = offset_of!($ty, $($field).+) as i32;)*
        }
    };
}

offsets! {
    /// In any context: the store.
    CONTEXT_STORE = ContextHeader, store;
    /// In any context: the builtins.
    CONTEXT_BUILTINS = ContextHeader, builtins;
    /// In a vmctx: the type ids.
    VMCTX_TYPE_IDS = VmCtxHeader, type_ids;
    /// In a vmctx: the types' rows.
    VMCTX_TYPE_ROWS = VmCtxHeader, type_rows;
    /// In a vmctx: the ancestors of deep types.
    VMCTX_DEEP_ROWS = VmCtxHeader, deep_rows;
    /// In a vmctx: the epoch counter's address.
    VMCTX_EPOCH = VmCtxHeader, epoch;
    /// In a host function's context: the host's function.
    HOSTCTX_CALL = VmHostCtx, call;
    /// In a store: the stack limit.
    STORE_STACK_LIMIT = VmStoreCtx, stack_limit;
    /// In a store: the innermost activation.
    STORE_ACTIVATION = VmStoreCtx, activation;
    /// In a store: the fuel counter.
    STORE_FUEL = VmStoreCtx, fuel;
    /// In a store: the epoch deadline.
    STORE_EPOCH_DEADLINE = VmStoreCtx, epoch_deadline;
    /// In a store: the heap's base.
    STORE_HEAP_BASE = VmStoreCtx, heap_base;
    /// In a store: where the next small object goes.
    STORE_ALLOC_NEXT = VmStoreCtx, alloc_next;
    /// In a store: the end of the room for small objects.
    STORE_ALLOC_END = VmStoreCtx, alloc_end;
    /// In a store: where the next remembered slot's address goes.
    STORE_REMEMBERED_NEXT = VmStoreCtx, remembered_next;
    /// In a store: the end of the buffer of remembered slots.
    STORE_REMEMBERED_END = VmStoreCtx, remembered_end;
    /// In a store: the functions that objects refer to.
    STORE_FUNC_TABLE = VmStoreCtx, func_table;
    /// In a store: the mask that makes any number one of an entry there.
    STORE_FUNC_TABLE_MASK = VmStoreCtx, func_table_mask;
    /// In a store: the stack that compiled code runs on.
    STORE_CURRENT_STACK = VmStoreCtx, current_stack;
    /// In a store: its stacks by number.
    STORE_STACK_TABLE = VmStoreCtx, stack_table;
    /// In a store: how many these are.
    STORE_STACK_TABLE_LENGTH = VmStoreCtx, stack_table_length;
    /// In a store: the stack that was suspended last.
    STORE_LAST_SUSPENDED = VmStoreCtx, last_suspended;
    /// In a store: the free stacks.
    STORE_FREE_STACKS = VmStoreCtx, free_stacks;
    /// In a store: how many stacks are free.
    STORE_FREE_COUNT = VmStoreCtx, free_count;
    /// In a store: how many stacks may be free.
    STORE_FREE_LIMIT = VmStoreCtx, free_limit;
    /// In a store: the clause that was found.
    STORE_FOUND_CLAUSE = VmStoreCtx, found_clause;
    /// In an activation: the entry stub's frame pointer.
    ACTIVATION_ENTRY_FP = Activation, native.entry_fp;
    /// In an activation: the native stack's pointer, as it was left for a pool stack.
    ACTIVATION_NATIVE_SP = Activation, native.sp;
    /// In an activation: what to call on the native stack.
    ACTIVATION_NATIVE_CALLEE = Activation, native_callee;
    /// In an activation: where an asynchronous call waits.
    ACTIVATION_SUSPENSION = Activation, suspension;
    /// In an activation: where the native stack goes on.
    ACTIVATION_NATIVE_PC = Activation, native.pc;
    /// In an activation: the frame pointer of the native stack where it goes on.
    ACTIVATION_NATIVE_FP = Activation, native.fp;
    /// In a suspension: whether it waits.
    SUSPENSION_WAITS = VmSuspension, waits;
    /// In a suspension: the stack pointer where it was left.
    SUSPENSION_SP = VmSuspension, sp;
    /// In a stack: where to continue, the stack pointer.
    STACK_SP = VmStack, sp;
    /// In a stack: where to continue, the frame pointer.
    STACK_FP = VmStack, fp;
    /// In a stack: where to continue, the program counter.
    STACK_PC = VmStack, pc;
    /// In a stack: its limit.
    STACK_LIMIT = VmStack, stack_limit;
    /// In a stack: the stack that has resumed it.
    STACK_PARENT = VmStack, parent;
    /// In a stack: the first clause's tag.
    STACK_FIRST_TAG = VmStack, first_tag;
    /// In a stack: the other clauses' tags.
    STACK_HANDLERS = VmStack, handlers;
    /// In a stack: the continuation that owns it.
    STACK_OWNER = VmStack, owner;
    /// In a stack: its number.
    STACK_ID = VmStack, id;
    /// In a stack: the outermost stack of its chain.
    STACK_CHAIN_END = VmStack, chain_end;
    /// In a stack: where the values go that it is resumed with.
    STACK_VALUES = VmStack, values;
    /// In a stack: the function type of the continuation that owns it.
    STACK_FUNC_TYPE = VmStack, func_type;
    /// In a stack: where its function's values are.
    STACK_BUFFER = VmStack, buffer;
    /// In a stack: its function.
    STACK_FUNC = VmStack, func;
    /// In a stack: the next free one.
    STACK_NEXT_FREE = VmStack, next_free;
    /// In an activation: the exit's frame pointer.
    ACTIVATION_EXIT_FP = Activation, exit_fp;
    /// In an activation: the exit's program counter.
    ACTIVATION_EXIT_PC = Activation, exit_pc;
    /// In a function reference: the code.
    FUNCREF_CODE = VmFuncRef, code;
    /// In a function reference: the context.
    FUNCREF_CONTEXT = VmFuncRef, context;
    /// In a function reference: the entry stub.
    FUNCREF_ENTRY = VmFuncRef, entry;
    /// In a function reference: the type.
    FUNCREF_TYPE_ID = VmFuncRef, type_id;
    /// In a tag: its identity.
    TAG_ID = VmTag, id;
    /// In a function reference: the id for objects.
    FUNCREF_ID = VmFuncRef, id;
    /// In a memory: the base.
    MEMORY_BASE = VmMemory, base;
    /// In a memory: the length.
    MEMORY_LENGTH = VmMemory, length;
    /// In a table: the base.
    TABLE_BASE = VmTable, base;
    /// In a table: the length.
    TABLE_LENGTH = VmTable, length;
}

/// Where everything of one module's instances lies in their vmctx.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VmCtxLayout {
    imported_funcs: u32,
    funcrefs: u32,
    imported_tables: u32,
    imported_memories: u32,
    imported_globals: u32,
    imported_tags: u32,
    tables: u32,
    memories: u32,
    tags: u32,
    globals: u32,
    size: u32,
    num_imported_tables: u32,
    num_imported_memories: u32,
    num_imported_globals: u32,
    num_imported_tags: u32,
}

const POINTER: u32 = size_of::<*mut u8>() as u32;

impl VmCtxLayout {
    /// Lays out a vmctx for `module`.
    pub fn new(module: &Module) -> Self {
        let mut at = size_of::<VmCtxHeader>() as u32;
        let mut place = |count: usize, size: u32| {
            let start = at;
            at += count as u32 * size;
            start
        };
        let imports = module.num_imports;
        let imported_funcs = place(imports.funcs as usize, size_of::<VmFuncRef>() as u32);
        let funcrefs = place(module.escaping_funcs.len(), size_of::<VmFuncRef>() as u32);
        let imported_tables = place(imports.tables as usize, POINTER);
        let imported_memories = place(imports.memories as usize, POINTER);
        let imported_globals = place(imports.globals as usize, POINTER);
        let imported_tags = place(imports.tags as usize, POINTER);
        let tables = place(
            module.tables.len() - imports.tables as usize,
            size_of::<VmTable>() as u32,
        );
        let memories = place(
            module.memories.len() - imports.memories as usize,
            size_of::<VmMemory>() as u32,
        );
        let tags = place(
            module.tags.len() - imports.tags as usize,
            size_of::<VmTag>() as u32,
        );
        at = at.next_multiple_of(16);
        let globals = at;
        let size =
            at + (module.globals.len() as u32 - imports.globals) * size_of::<VmGlobal>() as u32;
        VmCtxLayout {
            imported_funcs,
            funcrefs,
            imported_tables,
            imported_memories,
            imported_globals,
            imported_tags,
            tables,
            memories,
            tags,
            globals,
            size,
            num_imported_tables: imports.tables,
            num_imported_memories: imports.memories,
            num_imported_globals: imports.globals,
            num_imported_tags: imports.tags,
        }
    }

    /// The size of the whole vmctx, in bytes.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// The [`VmFuncRef`] of an imported function.
    pub fn imported_func(&self, func: FuncIndex) -> u32 {
        self.imported_funcs + func.as_u32() * size_of::<VmFuncRef>() as u32
    }

    /// The [`VmFuncRef`] at this position of [`Module::escaping_funcs`].
    pub fn escaping_func(&self, position: u32) -> u32 {
        self.funcrefs + position * size_of::<VmFuncRef>() as u32
    }

    /// The pointer to an imported [`VmTable`].
    pub fn imported_table(&self, table: TableIndex) -> u32 {
        debug_assert!(table.as_u32() < self.num_imported_tables);
        self.imported_tables + table.as_u32() * POINTER
    }

    /// The [`VmTable`] of a table that the module defines.
    pub fn defined_table(&self, table: TableIndex) -> u32 {
        self.tables + (table.as_u32() - self.num_imported_tables) * size_of::<VmTable>() as u32
    }

    /// The pointer to an imported [`VmMemory`] or [`VmSharedMemory`].
    pub fn imported_memory(&self, memory: MemoryIndex) -> u32 {
        debug_assert!(memory.as_u32() < self.num_imported_memories);
        self.imported_memories + memory.as_u32() * POINTER
    }

    /// The [`VmMemory`] of a memory that the module defines, or the pointer to its [`VmSharedMemory`].
    pub fn defined_memory(&self, memory: MemoryIndex) -> u32 {
        self.memories
            + (memory.as_u32() - self.num_imported_memories) * size_of::<VmMemory>() as u32
    }

    /// The pointer to an imported [`VmGlobal`].
    pub fn imported_global(&self, global: GlobalIndex) -> u32 {
        debug_assert!(global.as_u32() < self.num_imported_globals);
        self.imported_globals + global.as_u32() * POINTER
    }

    /// The [`VmGlobal`] of a global that the module defines.
    pub fn defined_global(&self, global: GlobalIndex) -> u32 {
        self.globals + (global.as_u32() - self.num_imported_globals) * size_of::<VmGlobal>() as u32
    }

    /// The pointer to an imported [`VmTag`].
    pub fn imported_tag(&self, tag: TagIndex) -> u32 {
        debug_assert!(tag.as_u32() < self.num_imported_tags);
        self.imported_tags + tag.as_u32() * POINTER
    }

    /// The [`VmTag`] of a tag that the module defines.
    pub fn defined_tag(&self, tag: TagIndex) -> u32 {
        self.tags + (tag.as_u32() - self.num_imported_tags) * size_of::<VmTag>() as u32
    }
}
