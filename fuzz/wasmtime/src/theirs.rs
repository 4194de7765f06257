//! A module in Wasmtime.

use sarsen_fuzz::host;
use sarsen_fuzz::observe::{
    Failure, HostCall, Item, Outcome, State, TABLE_ELEMENTS, Trap, Type, Value,
};
use sarsen_fuzz::{Abilities, Peer};
use wasmtime::{
    AsContext, AsContextMut, Caller, Config, Engine, Error, Extern, ExternRef, Func, FuncType,
    Global, GlobalType, Instance, Linker, Memory, MemoryType, Module, Mutability, OptLevel, Ref,
    RefType, Store, StoreLimits, StoreLimitsBuilder, Table, TableType, V128, Val, ValType,
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

struct Data {
    limits: StoreLimits,
    calls: Vec<HostCall>,
}

/// An instance in a store of its own.
pub(crate) struct Theirs {
    store: Store<Data>,
    imported: Vec<(String, Extern)>,
    instance: Option<Instance>,
}

impl Peer for Wasmtime {
    type Module = Module;
    type Instance = Theirs;

    const ABILITIES: Abilities = Abilities {
        canonical_nans: true,
        function_references: true,
        threads: true,
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
        let limits = StoreLimitsBuilder::new()
            .memory_size(host::MEMORY_LIMIT)
            .table_elements(host::TABLE_LIMIT)
            .build();
        let data = Data {
            limits,
            calls: Vec::new(),
        };
        let mut store = Store::new(module.engine(), data);
        store.limiter(|data| &mut data.limits);
        let mut linker = Linker::new(module.engine());
        let imported = define(&mut store, &mut linker);
        let (instance, outcome) = match linker.instantiate(&mut store, module) {
            Ok(instance) => (Some(instance), Ok(Vec::new())),
            Err(error) => (None, Err(failure(&error))),
        };
        let theirs = Theirs {
            store,
            imported,
            instance,
        };
        (theirs, outcome)
    }

    fn call(instance: &mut Theirs, name: &str, arguments: &[Value]) -> Outcome {
        let store = &mut instance.store;
        let instance = instance.instance.expect("it was instantiated");
        let func = instance
            .get_func(&mut *store, name)
            .expect("it is exported");
        let arguments: Vec<Val> = arguments
            .iter()
            .map(|value| value_into(&mut *store, *value, Some(func)))
            .collect();
        let mut results = vec![Val::I32(0); func.ty(&*store).results().len()];
        func.call(&mut *store, &arguments, &mut results)
            .map_err(|error| failure(&error))?;
        Ok(results
            .iter()
            .map(|value| value_from(&*store, value))
            .collect())
    }

    fn state(theirs: &mut Theirs, _module: &Module) -> State {
        let mut items = theirs.imported.clone();
        if let Some(instance) = theirs.instance {
            let exports = instance.exports(&mut theirs.store);
            items.extend(exports.map(|export| (export.name().to_owned(), export.into_extern())));
        }
        let mut state = State {
            calls: theirs.store.data().calls.clone(),
            ..State::default()
        };
        for (name, item) in items {
            let item = match item {
                Extern::Memory(memory) => Item::Memory(memory.data(&theirs.store).to_vec()),
                Extern::SharedMemory(memory) => {
                    // SAFETY: no other thread runs this store's code, and none of it runs now.
                    let bytes = memory.data().iter().map(|byte| unsafe { *byte.get() });
                    Item::Memory(bytes.collect())
                }
                Extern::Table(table) => elements(&mut theirs.store, table),
                Extern::Global(global) => {
                    let value = global.get(&mut theirs.store);
                    Item::Global(value_from(&theirs.store, &value))
                }
                _ => continue,
            };
            state.items.push((name, item));
        }
        state.sort();
        state
    }
}

fn elements(store: &mut Store<Data>, table: Table) -> Item {
    let size = table.size(&*store);
    let elements = (0..size.min(TABLE_ELEMENTS)).map(|index| {
        let element = table.get(&mut *store, index).expect("within its size");
        value_from(&*store, &element.into())
    });
    Item::Table(elements.collect(), size)
}

/// Defines everything that a module may import, and returns what has a state.
fn define(store: &mut Store<Data>, linker: &mut Linker<Data>) -> Vec<(String, Extern)> {
    for (index, function) in host::FUNCTIONS.iter().enumerate() {
        let params = function.params.iter().map(|ty| type_into(*ty));
        let results = function.results.iter().map(|ty| type_into(*ty));
        let ty = FuncType::new(store.engine(), params, results);
        let call = move |mut caller: Caller<'_, Data>, arguments: &[Val], results: &mut [Val]| {
            let arguments: Vec<Value> = arguments
                .iter()
                .map(|value| value_from(&caller, value))
                .collect();
            let values = host::call(&mut caller.data_mut().calls, index, arguments)?;
            for (result, value) in results.iter_mut().zip(values) {
                *result = value_into(&mut caller, value, None);
            }
            Ok(())
        };
        linker
            .func_new(host::MODULE, function.name, ty, call)
            .expect("names differ");
    }
    let (minimum, maximum) = host::MEMORY;
    let memory = Memory::new(&mut *store, MemoryType::new(minimum, maximum));
    let (minimum, maximum) = host::TABLE;
    let ty = TableType::new(RefType::FUNCREF, minimum, maximum);
    let table = Table::new(&mut *store, ty, Ref::Func(None));
    let mut items: Vec<(String, Extern)> = vec![
        ("memory".to_owned(), memory.expect("it fits").into()),
        ("table".to_owned(), table.expect("it fits").into()),
    ];
    for (name, mutable, value) in host::GLOBALS {
        let value = value_into(&mut *store, *value, None);
        let mutability = if *mutable {
            Mutability::Var
        } else {
            Mutability::Const
        };
        let ty = GlobalType::new(value.ty(&*store).expect("of this store"), mutability);
        let global = Global::new(&mut *store, ty, value).expect("of its type");
        items.push(((*name).to_owned(), global.into()));
    }
    for (name, item) in &items {
        linker
            .define(&*store, host::MODULE, name, item.clone())
            .expect("names differ");
    }
    items
}

fn type_into(ty: Type) -> ValType {
    match ty {
        Type::I32 => ValType::I32,
        Type::I64 => ValType::I64,
        Type::F32 => ValType::F32,
        Type::F64 => ValType::F64,
        Type::V128 => ValType::V128,
        Type::Func => ValType::FUNCREF,
        Type::Extern => ValType::EXTERNREF,
    }
}

fn value_into(store: impl AsContextMut<Data = Data>, value: Value, func: Option<Func>) -> Val {
    match value {
        Value::I32(n) => Val::I32(n),
        Value::I64(n) => Val::I64(n),
        Value::F32(n) => Val::F32(n),
        Value::F64(n) => Val::F64(n),
        Value::V128(n) => Val::V128(V128::from(n)),
        Value::Func(some) => Val::FuncRef(func.filter(|_| some)),
        Value::Extern(number) => Val::ExternRef(
            number.map(|number| ExternRef::new(store, number).expect("the heap is large enough")),
        ),
    }
}

fn value_from(store: impl AsContext<Data = Data>, value: &Val) -> Value {
    match value {
        Val::I32(n) => Value::I32(*n),
        Val::I64(n) => Value::I64(*n),
        Val::F32(n) => Value::F32(*n),
        Val::F64(n) => Value::F64(*n),
        Val::V128(n) => Value::V128(n.as_u128()),
        Val::FuncRef(func) => Value::Func(func.is_some()),
        Val::ExternRef(reference) => Value::Extern(reference.map(|reference| {
            let data = reference.data(store.as_context()).expect("of this store");
            let number = data.and_then(|data| data.downcast_ref::<u32>());
            *number.expect("all are numbers")
        })),
        other => panic!("the generator makes no {other:?}"),
    }
}

fn failure(error: &Error) -> Failure {
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
            Code::StackOverflow => Failure::Exhausted("their stack".to_owned()),
            other => Failure::Other(format!("{other:?}")),
        };
    }
    if error.downcast_ref::<host::Failed>().is_some() {
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
