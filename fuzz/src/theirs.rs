//! A module in `wasmi`.

#[path = "driver.rs"]
mod driver;

use crate as fuzz;
use crate::host;
use crate::observe::{Failure, Outcome, State, Trap, Type, Value};
use crate::peer::{Abilities, Peer};
use driver::{Data, Guest};
use wasmi::errors::{ErrorKind, InstantiationError, MemoryError, TableError};
use wasmi::{
    AsContext, AsContextMut, Caller, CompilationMode, Config, Engine, Error, Extern, ExternRef,
    Func, FuncType, Global, Instance, Linker, Memory, MemoryType, Module, Mutability, Ref, Store,
    StoreLimits, StoreLimitsBuilder, Table, TableType, TrapCode, Val, ValType,
};

/// `wasmi`, an interpreter.
pub struct Wasmi(Engine);

impl Default for Wasmi {
    /// An engine with every proposal that is generated.
    fn default() -> Wasmi {
        let mut config = Config::default();
        config
            .wasm_custom_page_sizes(true)
            .wasm_wide_arithmetic(true)
            .wasm_simd(true)
            .wasm_relaxed_simd(true)
            // So that whether a module is refused does not depend on what is called.
            .compilation_mode(CompilationMode::Eager)
            .set_max_recursion_depth(10_000)
            .set_max_stack_height(16 << 20);
        Wasmi(Engine::new(&config))
    }
}

/// An instance in a store of its own.
pub struct Theirs(Guest);

impl Peer for Wasmi {
    type Module = Module;
    type Instance = Theirs;

    const ABILITIES: Abilities = Abilities {
        canonical_nans: false,
        function_references: false,
        threads: false,
        gc: false,
        exceptions: false,
    };

    fn load(&self, module: &[u8]) -> Result<Module, String> {
        Module::new(&self.0, module).map_err(|error| error.to_string())
    }

    fn start(&self, module: &Module) -> (Theirs, Outcome) {
        let (guest, outcome) = Guest::start(driver::new_store(&self.0), module);
        (Theirs(guest), outcome)
    }

    fn call(instance: &mut Theirs, name: &str, arguments: &[Value]) -> Outcome {
        instance.0.call(name, arguments)
    }

    fn state(instance: &mut Theirs) -> State {
        instance.0.state()
    }
}

fn func_type(
    _: &Engine,
    params: impl ExactSizeIterator<Item = ValType>,
    results: impl ExactSizeIterator<Item = ValType>,
) -> FuncType {
    FuncType::new(params, results)
}

/// Where results go.
fn placeholders(ty: &FuncType) -> Vec<Val> {
    ty.results().iter().map(|ty| Val::default(*ty)).collect()
}

fn host_error(failed: host::Failed) -> Error {
    Error::host(failed)
}

fn instantiate(
    linker: &Linker<Data>,
    store: &mut Store<Data>,
    module: &Module,
) -> Result<Instance, Error> {
    linker.instantiate_and_start(store, module)
}

fn define(linker: &mut Linker<Data>, _: &Store<Data>, name: &str, item: Extern) {
    let defined = linker.define(host::MODULE, name, item);
    defined.expect("names differ");
}

fn new_table(store: &mut Store<Data>, (minimum, maximum): (u32, Option<u32>)) -> Table {
    let ty = TableType::new(ValType::FuncRef, minimum, maximum);
    Table::new(store, ty, Val::FuncRef(Ref::Null)).expect("it fits")
}

fn new_global(store: &mut Store<Data>, mutable: bool, value: Value) -> Global {
    let value = value_into(&mut *store, value, None);
    let mutability = if mutable {
        Mutability::Var
    } else {
        Mutability::Const
    };
    Global::new(store, value, mutability)
}

fn element(store: &mut Store<Data>, table: Table, index: u64) -> Value {
    let element = table.get(&*store, index).expect("within its size");
    value_from(store, &element)
}

/// It has no shared memories.
fn shared_bytes(_: &Extern) -> Option<Vec<u8>> {
    None
}

fn type_into(ty: Type) -> ValType {
    match ty {
        Type::I32 => ValType::I32,
        Type::I64 => ValType::I64,
        Type::F32 => ValType::F32,
        Type::F64 => ValType::F64,
        Type::V128 => ValType::V128,
        Type::Func => ValType::FuncRef,
        Type::Extern => ValType::ExternRef,
        Type::I31 { .. } | Type::Null(_) => unreachable!("it has none"),
    }
}

fn value_into(store: impl AsContextMut<Data = Data>, value: Value, func: Option<Func>) -> Val {
    match value {
        Value::I32(n) => Val::I32(n),
        Value::I64(n) => Val::I64(n),
        Value::F32(n) => Val::F32(wasmi::F32::from_bits(n)),
        Value::F64(n) => Val::F64(wasmi::F64::from_bits(n)),
        Value::V128(n) => Val::V128(wasmi::V128::from(n)),
        Value::Func(some) => Val::FuncRef(match func {
            Some(func) if some => Ref::Val(func),
            _ => Ref::Null,
        }),
        Value::Extern(number) => Val::ExternRef(match number {
            Some(number) => Ref::Val(ExternRef::new(store, number)),
            None => Ref::Null,
        }),
        Value::Any(_) | Value::Exn(_) => unreachable!("it has none"),
    }
}

fn value_from(store: impl AsContext<Data = Data>, value: &Val) -> Value {
    match value {
        Val::I32(n) => Value::I32(*n),
        Val::I64(n) => Value::I64(*n),
        Val::F32(n) => Value::F32(n.to_bits()),
        Val::F64(n) => Value::F64(n.to_bits()),
        Val::V128(n) => Value::V128(n.as_u128()),
        Val::FuncRef(func) => Value::Func(!func.is_null()),
        Val::ExternRef(reference) => Value::Extern(reference.val().map(|reference| {
            let number = reference.data(store.as_context()).downcast_ref::<u32>();
            *number.expect("all are numbers")
        })),
    }
}

fn failure(_: &mut Store<Data>, error: &Error) -> Failure {
    match error.kind() {
        ErrorKind::Host(_) => return Failure::Host,
        ErrorKind::Instantiation(InstantiationError::ElementSegmentDoesNotFit { .. })
        | ErrorKind::Table(TableError::CopyOutOfBounds) => return Failure::Trap(Trap::Table),
        ErrorKind::Memory(MemoryError::ResourceLimiterDeniedAllocation)
        | ErrorKind::Table(TableError::ResourceLimiterDeniedAllocation)
        | ErrorKind::Instantiation(
            InstantiationError::FailedToInstantiateMemory(
                MemoryError::ResourceLimiterDeniedAllocation,
            )
            | InstantiationError::FailedToInstantiateTable(
                TableError::ResourceLimiterDeniedAllocation,
            ),
        ) => return Failure::Limit,
        _ => {}
    }
    let Some(code) = error.as_trap_code() else {
        return Failure::Other(error.to_string());
    };
    match code {
        TrapCode::UnreachableCodeReached => Failure::Trap(Trap::Unreachable),
        TrapCode::MemoryOutOfBounds => Failure::Trap(Trap::Memory),
        TrapCode::TableOutOfBounds => Failure::Trap(Trap::Table),
        TrapCode::IndirectCallToNull => Failure::Trap(Trap::IndirectCallToNull),
        TrapCode::BadSignature => Failure::Trap(Trap::BadSignature),
        TrapCode::IntegerOverflow => Failure::Trap(Trap::IntegerOverflow),
        TrapCode::IntegerDivisionByZero => Failure::Trap(Trap::DivisionByZero),
        TrapCode::BadConversionToInteger => Failure::Trap(Trap::BadConversion),
        TrapCode::StackOverflow => Failure::Exhausted("their stack".to_owned()),
        TrapCode::OutOfFuel | TrapCode::GrowthOperationLimited => {
            Failure::Other(format!("{code:?}"))
        }
    }
}
