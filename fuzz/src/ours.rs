//! A module in Sarsen.

#[path = "driver.rs"]
mod driver;
#[path = "values.rs"]
mod values;

use crate as fuzz;
use crate::generate::{Loading, Settings};
use crate::host;
use crate::observe::{Any, Failure, Outcome, State, Trap, Type, Value};
use driver::{Data, Guest};
use sarsen::{
    AnyRef, AsContext, AsContextMut, Caller, Config, Engine, Error, Extern, ExternRef, ExternType,
    Func, FuncType, Global, GlobalType, HeapType, I31, Instance, LimitError, Linker, Memory,
    MemoryType, Module, Mutability, OptLevel, Ref, RefType, Store, StoreLimits, StoreLimitsBuilder,
    Table, TableType, ThrownException, Val, ValType,
};
use values::{
    define, element, func_type, host_error, instantiate, new_global, new_table, placeholders,
    type_into, value_from, value_into,
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
        .gc_heap_limit(host::HEAP_LIMIT)
        .gc_zeal(settings.zeal)
        .max_wasm_stack(2 << 20);
    if settings.nursery > 0 {
        config.gc_nursery_size(settings.nursery, settings.nursery);
    }
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

/// The functions that a module exports and the host can call, with their parameters.
pub(crate) fn functions(module: &Module) -> Vec<(String, Vec<Type>)> {
    let exports = module.exports().filter_map(|export| match export.ty() {
        ExternType::Func(ty) => {
            let params: Option<Vec<Type>> = ty.params().map(|ty| type_from(&ty)).collect();
            Some((export.name().to_owned(), params?))
        }
        _ => None,
    });
    exports.collect()
}

/// An instance in a store of its own.
pub(crate) struct Ours(Guest);

impl Ours {
    /// Instantiates a module. What it imported can be observed even when that fails.
    pub(crate) fn start(engine: &Engine, module: &Module, settings: &Settings) -> (Ours, Outcome) {
        let mut store = driver::new_store(engine);
        if settings.fuel {
            store.set_fuel(u64::MAX >> 2).expect("fuel is counted");
        }
        if settings.epochs {
            store.set_epoch_deadline(1 << 40);
        }
        let (guest, outcome) = Guest::start(store, module);
        (Ours(guest), outcome)
    }

    /// Calls a function that is exported.
    pub(crate) fn call(&mut self, name: &str, arguments: &[Value]) -> Outcome {
        self.0.call(name, arguments)
    }

    /// How often its nursery was collected, and all of its heap.
    pub(crate) fn collections(&self) -> (u64, u64) {
        let stats = self.0.store.gc_stats();
        (stats.minor, stats.full)
    }

    /// All that can be read of it.
    pub(crate) fn state(&mut self) -> State {
        self.0.state()
    }
}

/// The bytes of a shared memory.
fn shared_bytes(item: &Extern) -> Option<Vec<u8>> {
    let Extern::SharedMemory(memory) = item else {
        return None;
    };
    let mut bytes = vec![0; memory.data_size()];
    memory.read(0, &mut bytes).expect("within its size");
    Some(bytes)
}

/// The type, if the host has values of it.
fn type_from(ty: &ValType) -> Option<Type> {
    let ty = match ty {
        ValType::I32 => return Some(Type::I32),
        ValType::I64 => return Some(Type::I64),
        ValType::F32 => return Some(Type::F32),
        ValType::F64 => return Some(Type::F64),
        ValType::V128 => return Some(Type::V128),
        ValType::Ref(ty) => ty,
    };
    let nullable = ty.is_nullable();
    let null = match ty.heap_type() {
        HeapType::Any | HeapType::Eq | HeapType::I31 => return Some(Type::I31 { nullable }),
        HeapType::Func if nullable => return Some(Type::Func),
        HeapType::Extern if nullable => return Some(Type::Extern),
        HeapType::Func | HeapType::ConcreteFunc(_) | HeapType::NoFunc => Value::Func(false),
        HeapType::Extern | HeapType::NoExtern => Value::Extern(None),
        HeapType::Exn | HeapType::NoExn => Value::Exn(false),
        HeapType::Struct
        | HeapType::ConcreteStruct(_)
        | HeapType::Array
        | HeapType::ConcreteArray(_)
        | HeapType::None => Value::Any(Any::Null),
        other => panic!("the generator makes no {other:?}"),
    };
    nullable.then_some(Type::Null(null))
}

fn failure(store: &mut Store<Data>, error: &Error) -> Failure {
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
            Code::CastFailure => Failure::Trap(Trap::Cast),
            Code::ArrayOutOfBounds => Failure::Trap(Trap::Array),
            Code::AllocationTooLarge => Failure::Exhausted("our heap".to_owned()),
            Code::StackOverflow => Failure::Exhausted("our stack".to_owned()),
            other => Failure::Other(format!("{other:?}")),
        };
    }
    if error.is::<ThrownException>() {
        let exception = store.take_pending_exception().expect("it was thrown");
        let fields: Vec<Val> = exception.fields(&mut *store).expect("ours").collect();
        let values = fields.iter().map(|value| value_from(&mut *store, value));
        return Failure::Exception(values.collect());
    }
    if error.is::<host::Failed>() {
        Failure::Host
    } else if error.downcast_ref::<LimitError>().is_some() {
        Failure::Limit
    } else {
        Failure::Other(format!("{error:#}"))
    }
}

/// Calls everything that an unknown module exports, with zeros and little fuel.
pub(crate) fn run_briefly(engine: &Engine, module: &Module) {
    let mut store = driver::new_store(engine);
    store.set_epoch_deadline(1 << 40);
    let mut linker = Linker::new(engine);
    driver::define_all(&mut store, &mut linker);
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
