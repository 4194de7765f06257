//! A module in Sarsen.

use crate::generate::{Loading, Settings};
use crate::host;
use crate::observe::{Failure, HostCall, Item, Outcome, State, TABLE_ELEMENTS, Trap, Type, Value};
use sarsen::{
    Caller, Config, Engine, Error, Extern, ExternRef, ExternType, Func, FuncType, Global,
    GlobalType, HeapType, Instance, LimitError, Linker, Memory, MemoryType, Module, Mutability,
    OptLevel, Ref, RefType, Store, StoreLimits, StoreLimitsBuilder, Table, TableType, Val, ValType,
};

/// An engine of these settings.
pub(crate) fn engine(settings: &Settings) -> Engine {
    let mut config = Config::new();
    config
        .opt_level(if settings.optimize {
            OptLevel::Speed
        } else {
            OptLevel::None
        })
        .compiler_inlining(settings.inlining)
        .memory_reservation(settings.reservation)
        .memory_guard_size(settings.guard)
        .consume_fuel(settings.fuel)
        .epoch_interruption(settings.epochs)
        .memory_init_cow(settings.copy_on_write)
        .nan_canonicalization(settings.canonical_nans)
        .relaxed_simd_deterministic(settings.deterministic)
        .wasm_custom_page_sizes(true)
        .wasm_wide_arithmetic(true)
        .max_wasm_stack(2 << 20);
    Engine::new(&config).expect("the settings are possible")
}

/// Compiles a module, and loads it in the way that is asked for.
pub(crate) fn load(engine: &Engine, binary: &[u8], loading: Loading) -> Result<Module, Error> {
    let module = Module::from_binary(engine, binary)?;
    match loading {
        Loading::Direct => Ok(module),
        Loading::Image => {
            let image = module.serialize()?;
            drop(module);
            // SAFETY: the image was made by this library just now.
            unsafe { Module::deserialize(engine, image) }
        }
        Loading::Twice => {
            let again = engine.precompile_module(binary)?;
            sarsen::ensure!(
                again == module.image_bytes(),
                "two compilations make different images"
            );
            Ok(module)
        }
    }
}

/// The functions that a module exports, with their parameters.
pub(crate) fn functions(module: &Module) -> Vec<(String, Vec<Type>)> {
    let exports = module.exports().filter_map(|export| match export.ty() {
        ExternType::Func(ty) => {
            let params = ty.params().map(|ty| type_from(&ty)).collect();
            Some((export.name().to_owned(), params))
        }
        _ => None,
    });
    exports.collect()
}

struct Data {
    limits: StoreLimits,
    calls: Vec<HostCall>,
}

/// An instance in a store of its own.
pub(crate) struct Ours {
    store: Store<Data>,
    imported: Vec<(String, Extern)>,
    instance: Option<Instance>,
}

impl Ours {
    /// Instantiates a module. What it imported can be observed even when that fails.
    pub(crate) fn start(engine: &Engine, module: &Module, settings: &Settings) -> (Ours, Outcome) {
        let limits = StoreLimitsBuilder::new()
            .memory_size(host::MEMORY_LIMIT)
            .table_elements(host::TABLE_LIMIT)
            .build();
        let data = Data {
            limits,
            calls: Vec::new(),
        };
        let mut store = Store::new(engine, data);
        store.limiter(|data| &mut data.limits);
        if settings.fuel {
            store.set_fuel(u64::MAX >> 2).expect("fuel is counted");
        }
        if settings.epochs {
            store.set_epoch_deadline(1 << 40);
        }
        let mut linker = Linker::new(engine);
        let imported = define(&mut store, &mut linker);
        let (instance, outcome) = match linker.instantiate(&mut store, module) {
            Ok(instance) => (Some(instance), Ok(Vec::new())),
            Err(error) => (None, Err(failure(&error))),
        };
        let ours = Ours {
            store,
            imported,
            instance,
        };
        (ours, outcome)
    }

    /// Calls a function that is exported.
    pub(crate) fn call(&mut self, name: &str, arguments: &[Value]) -> Outcome {
        let instance = self.instance.expect("it was instantiated");
        let func = instance
            .get_func(&mut self.store, name)
            .expect("it is exported");
        let arguments: Vec<Val> = arguments
            .iter()
            .map(|value| value_into(&mut self.store, *value, Some(func)))
            .collect();
        let mut results = vec![Val::I32(0); func.ty(&self.store).results().len()];
        func.call(&mut self.store, &arguments, &mut results)
            .map_err(|error| failure(&error))?;
        Ok(results
            .into_iter()
            .map(|value| value_from(&self.store, value))
            .collect())
    }

    /// All that can be read of it.
    pub(crate) fn state(&mut self) -> State {
        let mut items = self.imported.clone();
        if let Some(instance) = self.instance {
            let exports = instance.exports(&mut self.store);
            items.extend(exports.map(|export| (export.name().to_owned(), export.into_extern())));
        }
        let mut state = State {
            calls: self.store.data().calls.clone(),
            ..State::default()
        };
        for (name, item) in items {
            let item = match item {
                Extern::Memory(memory) => Item::Memory(memory.data(&self.store).to_vec()),
                Extern::SharedMemory(memory) => {
                    let mut bytes = vec![0; memory.data_size()];
                    memory.read(0, &mut bytes).expect("within its size");
                    Item::Memory(bytes)
                }
                Extern::Table(table) => self.table(table),
                Extern::Global(global) => {
                    let value = global.get(&mut self.store);
                    Item::Global(value_from(&self.store, value))
                }
                _ => continue,
            };
            state.items.push((name, item));
        }
        state.sort();
        state
    }

    fn table(&mut self, table: Table) -> Item {
        let size = table.size(&self.store);
        let elements = (0..size.min(TABLE_ELEMENTS)).map(|index| {
            match table.get(&mut self.store, index).expect("within its size") {
                Ref::Func(func) => Value::Func(func.is_some()),
                Ref::Extern(reference) => value_from(&self.store, Val::ExternRef(reference)),
                other => panic!("a table of {other:?}"),
            }
        });
        Item::Table(elements.collect(), size)
    }
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
                .map(|value| value_from(&caller, *value))
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
        let ty = GlobalType::new(value.ty(&*store).expect("ours"), mutability);
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

fn type_from(ty: &ValType) -> Type {
    match ty {
        ValType::I32 => Type::I32,
        ValType::I64 => Type::I64,
        ValType::F32 => Type::F32,
        ValType::F64 => Type::F64,
        ValType::V128 => Type::V128,
        ValType::Ref(ty) if matches!(ty.heap_type(), HeapType::Extern) => Type::Extern,
        ValType::Ref(ty) if matches!(ty.heap_type(), HeapType::Func) => Type::Func,
        other => panic!("the generator makes no {other:?}"),
    }
}

fn value_into(
    mut store: impl sarsen::AsContextMut<Data = Data>,
    value: Value,
    func: Option<Func>,
) -> Val {
    match value {
        Value::I32(n) => Val::I32(n),
        Value::I64(n) => Val::I64(n),
        Value::F32(n) => Val::F32(n),
        Value::F64(n) => Val::F64(n),
        Value::V128(n) => Val::V128(n.into()),
        Value::Func(some) => Val::FuncRef(func.filter(|_| some)),
        Value::Extern(number) => {
            Val::ExternRef(number.map(|number| {
                ExternRef::new(&mut store, number).expect("the heap is large enough")
            }))
        }
    }
}

fn value_from(store: impl sarsen::AsContext<Data = Data>, value: Val) -> Value {
    match value {
        Val::I32(n) => Value::I32(n),
        Val::I64(n) => Value::I64(n),
        Val::F32(n) => Value::F32(n),
        Val::F64(n) => Value::F64(n),
        Val::V128(n) => Value::V128(n.into()),
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
    use sarsen::Trap as Code;
    if let Some(code) = error.downcast_ref::<Code>() {
        return match *code {
            Code::Unreachable => Failure::Trap(Trap::Unreachable),
            Code::MemoryOutOfBounds => Failure::Trap(Trap::Memory),
            Code::TableOutOfBounds | Code::UndefinedElement => Failure::Trap(Trap::Table),
            Code::IndirectCallToNull => Failure::Trap(Trap::IndirectCallToNull),
            Code::BadSignature => Failure::Trap(Trap::BadSignature),
            Code::IntegerOverflow => Failure::Trap(Trap::IntegerOverflow),
            Code::IntegerDivisionByZero => Failure::Trap(Trap::DivisionByZero),
            Code::BadConversionToInteger => Failure::Trap(Trap::BadConversion),
            Code::NullReference => Failure::Trap(Trap::NullReference),
            Code::HeapMisaligned => Failure::Trap(Trap::Unaligned),
            Code::AtomicWaitNonShared => Failure::Trap(Trap::WaitUnshared),
            Code::StackOverflow => Failure::Exhausted("our stack".to_owned()),
            other => Failure::Other(format!("{other:?}")),
        };
    }
    if error.downcast_ref::<host::Failed>().is_some() {
        Failure::Host
    } else if error.downcast_ref::<LimitError>().is_some() {
        Failure::Limit
    } else {
        Failure::Other(format!("{error:#}"))
    }
}

/// Calls everything that an unknown module exports, with zeros and little fuel.
pub(crate) fn run_briefly(engine: &Engine, module: &Module) {
    let limits = StoreLimitsBuilder::new()
        .memory_size(host::MEMORY_LIMIT)
        .table_elements(host::TABLE_LIMIT)
        .build();
    let data = Data {
        limits,
        calls: Vec::new(),
    };
    let mut store = Store::new(engine, data);
    store.limiter(|data| &mut data.limits);
    store.set_epoch_deadline(1 << 40);
    let mut linker = Linker::new(engine);
    define(&mut store, &mut linker);
    store.set_fuel(1000).expect("fuel is counted");
    let Ok(instance) = linker.instantiate(&mut store, module) else {
        return;
    };
    let exports: Vec<Extern> = instance
        .exports(&mut store)
        .map(|export| export.into_extern())
        .collect();
    for func in exports.into_iter().filter_map(Extern::into_func) {
        let ty = func.ty(&store);
        let arguments: Option<Vec<Val>> = ty.params().map(|ty| ty.default_value()).collect();
        let Some(arguments) = arguments else {
            continue;
        };
        let mut results = vec![Val::I32(0); ty.results().len()];
        store.set_fuel(1000).expect("fuel is counted");
        // Whatever it does is right.
        let _ = func.call(&mut store, &arguments, &mut results);
    }
}
