//! A module in Wasmtime.

#[path = "../../src/driver.rs"]
mod driver;
#[path = "../../src/values.rs"]
mod values;

use driver::{Data, Guest};
use sarsen_fuzz as fuzz;
use sarsen_fuzz::host;
use sarsen_fuzz::observe::{Failure, Outcome, State, Trap, Value};
use sarsen_fuzz::{Abilities, Peer};
use values::{
    define, element, func_type, host_error, instantiate, new_global, new_table, placeholders,
    type_into, value_from, value_into,
};
use wasmtime::{
    AnyRef, AsContext, AsContextMut, Caller, Config, Engine, Error, Extern, ExternRef, Func,
    FuncType, GcHeapOutOfMemory, Global, GlobalType, I31, Instance, Linker, Memory, MemoryType,
    Module, Mutability, OptLevel, Ref, RefType, Store, StoreLimits, StoreLimitsBuilder, Table,
    TableType, ThrownException, Val, ValType,
};

/// Wasmtime: its optimizing compiler, and its interpreter, which compiles by the same compiler, but
/// through rules that nothing on x86-64 uses.
pub(crate) struct Wasmtime {
    compiler: Engine,
    interpreter: Engine,
}

impl Default for Wasmtime {
    fn default() -> Wasmtime {
        Wasmtime {
            compiler: engine(None),
            interpreter: engine(Some("pulley64")),
        }
    }
}

/// An engine with every proposal that is generated; for the interpreter, which has none, without threads.
///
/// To name this machine's target would be to do without what its processor has beyond the least, and
/// then NaNs that multiplying and adding makes are not canonical: a library's function makes them.
fn engine(interpreter: Option<&str>) -> Engine {
    let threads = interpreter.is_none();
    let mut config = Config::new();
    config
        .wasm_custom_page_sizes(true)
        .wasm_wide_arithmetic(true)
        .wasm_memory64(true)
        .wasm_multi_memory(true)
        .wasm_tail_call(true)
        .wasm_function_references(true)
        .wasm_gc(true)
        .wasm_exceptions(true)
        .wasm_threads(threads)
        .shared_memory(threads)
        .relaxed_simd_deterministic(true)
        .cranelift_nan_canonicalization(true)
        .cranelift_opt_level(OptLevel::None)
        .wasm_backtrace_max_frames(None)
        .max_wasm_stack(2 << 20);
    if let Some(target) = interpreter {
        config.target(target).expect("it is a target");
    }
    Engine::new(&config).expect("the settings are possible")
}

/// An instance in a store of its own.
pub(crate) struct Theirs(Guest);

impl Peer for Wasmtime {
    type Module = Module;
    type Instance = Theirs;

    const ABILITIES: Abilities = Abilities {
        canonical_nans: true,
        function_references: true,
        threads: true,
        gc: true,
        exceptions: true,
    };

    fn load(&self, module: &[u8]) -> Result<Module, String> {
        // One or the other, by something that is as good as chance and the same each time.
        let sum = module
            .iter()
            .fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        if sum.is_multiple_of(4)
            && let Ok(module) = Module::from_binary(&self.interpreter, module)
        {
            return Ok(module);
        }
        Module::from_binary(&self.compiler, module).map_err(|error| format!("{error:#}"))
    }

    fn start(&self, module: &Module) -> (Theirs, Outcome) {
        let (guest, outcome) = Guest::start(driver::new_store(module.engine()), module);
        (Theirs(guest), outcome)
    }

    fn call(instance: &mut Theirs, name: &str, arguments: &[Value]) -> Outcome {
        instance.0.call(name, arguments)
    }

    fn state(instance: &mut Theirs) -> State {
        instance.0.state()
    }
}

/// The bytes of a shared memory.
fn shared_bytes(item: &Extern) -> Option<Vec<u8>> {
    let Extern::SharedMemory(memory) = item else {
        return None;
    };
    // SAFETY: no other thread runs the store's code, and none of it runs now.
    let bytes = memory.data().iter().map(|byte| unsafe { *byte.get() });
    Some(bytes.collect())
}

fn failure(store: &mut Store<Data>, error: &Error) -> Failure {
    use wasmtime::Trap as Code;
    if let Some(code) = error.downcast_ref::<Code>() {
        return match *code {
            Code::UnreachableCodeReached => Failure::Trap(Trap::Unreachable),
            Code::MemoryOutOfBounds => Failure::Trap(Trap::Memory),
            Code::TableOutOfBounds => Failure::Trap(Trap::Table),
            Code::IndirectCallToNull => Failure::Trap(Trap::IndirectCallToNull),
            Code::BadSignature => Failure::Trap(Trap::BadSignature),
            Code::IntegerOverflow => Failure::Trap(Trap::IntegerOverflow),
            Code::IntegerDivisionByZero => Failure::Trap(Trap::DivisionByZero),
            Code::BadConversionToInteger => Failure::Trap(Trap::BadConversion),
            Code::NullReference => Failure::Trap(Trap::NullReference),
            Code::HeapMisaligned => Failure::Trap(Trap::Unaligned),
            Code::AtomicWaitNonSharedMemory => Failure::Trap(Trap::WaitUnshared),
            Code::CastFailure => Failure::Trap(Trap::Cast),
            Code::ArrayOutOfBounds => Failure::Trap(Trap::Array),
            Code::AllocationTooLarge => Failure::Exhausted("their heap".to_owned()),
            Code::StackOverflow => Failure::Exhausted("their stack".to_owned()),
            other => Failure::Other(format!("{other:?}")),
        };
    }
    if error.is::<ThrownException>() {
        let exception = store.take_pending_exception().expect("it was thrown");
        let fields: Vec<Val> = exception.fields(&mut *store).expect("of it").collect();
        let values = fields.iter().map(|value| value_from(&mut *store, value));
        return Failure::Exception(values.collect());
    }
    if error.is::<GcHeapOutOfMemory<()>>() {
        return Failure::Exhausted("their heap".to_owned());
    }
    if error.is::<host::Failed>() {
        return Failure::Host;
    }
    let message = format!("{error:#}");
    // They have no type for it.
    if message.contains("exceeds memory limits") || message.contains("exceeds table limits") {
        Failure::Limit
    } else {
        Failure::Other(message)
    }
}
