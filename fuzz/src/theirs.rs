//! A module in `wasmi`.

use crate::host;
use crate::observe::{Failure, HostCall, Item, Outcome, State, TABLE_ELEMENTS, Trap, Type, Value};
use crate::peer::{Abilities, Peer};
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

struct Data {
    limits: StoreLimits,
    calls: Vec<HostCall>,
}

/// An instance in a store of its own.
pub struct Theirs {
    store: Store<Data>,
    imported: Vec<(String, Extern)>,
    instance: Option<Instance>,
}

impl Peer for Wasmi {
    type Module = Module;
    type Instance = Theirs;

    const ABILITIES: Abilities = Abilities {
        canonical_nans: false,
        function_references: false,
        threads: false,
    };

    fn load(&self, module: &[u8]) -> Result<Module, String> {
        Module::new(&self.0, module).map_err(|error| error.to_string())
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
        let mut store = Store::new(&self.0, data);
        store.limiter(|data| &mut data.limits);
        let mut linker = Linker::new(&self.0);
        let imported = define(&mut store, &mut linker);
        let (instance, outcome) = match linker.instantiate_and_start(&mut store, module) {
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
        instance.call(name, arguments)
    }

    fn state(instance: &mut Theirs, module: &Module) -> State {
        instance.state(module)
    }
}

impl Theirs {
    /// Calls a function that is exported.
    fn call(&mut self, name: &str, arguments: &[Value]) -> Outcome {
        let instance = self.instance.expect("it was instantiated");
        let func = instance
            .get_func(&self.store, name)
            .expect("it is exported");
        let arguments: Vec<Val> = arguments
            .iter()
            .map(|value| value_into(&mut self.store, *value, Some(func)))
            .collect();
        let ty = func.ty(&self.store);
        let mut results: Vec<Val> = ty.results().iter().map(|ty| Val::default(*ty)).collect();
        func.call(&mut self.store, &arguments, &mut results)
            .map_err(|error| failure(&error))?;
        Ok(results
            .iter()
            .map(|value| value_from(&self.store, value))
            .collect())
    }

    /// All that can be read of it.
    fn state(&mut self, module: &Module) -> State {
        let mut items = self.imported.clone();
        if let Some(instance) = self.instance {
            items.extend(module.exports().map(|export| {
                let name = export.name();
                let item = instance.get_export(&self.store, name);
                (name.to_owned(), item.expect("it is exported"))
            }));
        }
        let mut state = State {
            calls: self.store.data().calls.clone(),
            ..State::default()
        };
        for (name, item) in items {
            let item = match item {
                Extern::Memory(memory) => Item::Memory(memory.data(&self.store).to_vec()),
                Extern::Table(table) => self.table(table),
                Extern::Global(global) => {
                    Item::Global(value_from(&self.store, &global.get(&self.store)))
                }
                Extern::Func(_) => continue,
            };
            state.items.push((name, item));
        }
        state.sort();
        state
    }

    fn table(&self, table: Table) -> Item {
        let size = table.size(&self.store);
        let elements = (0..size.min(TABLE_ELEMENTS)).map(|index| {
            let element = table.get(&self.store, index);
            value_from(&self.store, &element.expect("within its size"))
        });
        Item::Table(elements.collect(), size)
    }
}

/// Defines everything that a module may import, and returns what has a state.
fn define(store: &mut Store<Data>, linker: &mut Linker<Data>) -> Vec<(String, Extern)> {
    for (index, function) in host::FUNCTIONS.iter().enumerate() {
        let params = function.params.iter().map(|ty| type_into(*ty));
        let results = function.results.iter().map(|ty| type_into(*ty));
        let ty = FuncType::new(params, results);
        let call = move |mut caller: Caller<'_, Data>, arguments: &[Val], results: &mut [Val]| {
            let arguments: Vec<Value> = arguments
                .iter()
                .map(|value| value_from(&caller, value))
                .collect();
            let values = host::call(&mut caller.data_mut().calls, index, arguments);
            let values = values.map_err(Error::host)?;
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
    let ty = TableType::new(ValType::FuncRef, minimum, maximum);
    let table = Table::new(&mut *store, ty, Val::FuncRef(Ref::Null));
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
        let global = Global::new(&mut *store, value, mutability);
        items.push(((*name).to_owned(), global.into()));
    }
    for (name, item) in &items {
        linker
            .define(host::MODULE, name, *item)
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
        Type::Func => ValType::FuncRef,
        Type::Extern => ValType::ExternRef,
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

fn failure(error: &Error) -> Failure {
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
