//! [`Guest`]: an instance in a store of its own, what it may import, and what can be observed of it.
//!
//! The file is a module of every runtime's: of `ours`, of `theirs`, and of its like in `fuzz/wasmtime`. The
//! runtimes have the same names for the same things; where they have not, the module around this one has a
//! function. So the runtimes are driven alike, and share no code at run time.

use super::fuzz::host;
use super::fuzz::observe::{HostCall, Item, Outcome, State, TABLE_ELEMENTS, Value};
use super::{
    Caller, Engine, Extern, Instance, Linker, Memory, MemoryType, Module, Store, StoreLimits,
    StoreLimitsBuilder, Table, Val, define, element, failure, func_type, host_error, instantiate,
    new_global, new_table, placeholders, shared_bytes, type_into, value_from, value_into,
};

/// What a store has of the host's.
pub(super) struct Data {
    limits: StoreLimits,
    calls: Vec<HostCall>,
}

/// An instance in a store of its own.
pub(super) struct Guest {
    pub(super) store: Store<Data>,
    imported: Vec<(String, Extern)>,
    instance: Option<Instance>,
}

/// A store with the limits of every store.
pub(super) fn new_store(engine: &Engine) -> Store<Data> {
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
    store
}

impl Guest {
    /// Instantiates a module. What it imported can be observed even when that fails.
    pub(super) fn start(mut store: Store<Data>, module: &Module) -> (Guest, Outcome) {
        let mut linker = Linker::new(store.engine());
        let imported = define_all(&mut store, &mut linker);
        let (instance, outcome) = match instantiate(&linker, &mut store, module) {
            Ok(instance) => (Some(instance), Ok(Vec::new())),
            Err(error) => (None, Err(failure(&mut store, &error))),
        };
        let guest = Guest {
            store,
            imported,
            instance,
        };
        (guest, outcome)
    }

    /// Calls a function that is exported.
    pub(super) fn call(&mut self, name: &str, arguments: &[Value]) -> Outcome {
        let store = &mut self.store;
        let instance = self.instance.expect("it was instantiated");
        let func = instance.get_func(&mut *store, name);
        let func = func.expect("it is exported");
        let arguments: Vec<Val> = arguments
            .iter()
            .map(|value| value_into(&mut *store, *value, Some(func)))
            .collect();
        let mut results = placeholders(&func.ty(&*store));
        func.call(&mut *store, &arguments, &mut results)
            .map_err(|error| failure(&mut *store, &error))?;
        Ok(results
            .iter()
            .map(|value| value_from(&mut *store, value))
            .collect())
    }

    /// All that can be read of it.
    pub(super) fn state(&mut self) -> State {
        let store = &mut self.store;
        let mut items = self.imported.clone();
        if let Some(instance) = self.instance {
            let exports = instance.exports(&mut *store);
            items.extend(exports.map(|export| (export.name().to_owned(), export.into_extern())));
        }
        let mut state = State {
            calls: store.data().calls.clone(),
            ..State::default()
        };
        for (name, item) in items {
            let item = match item {
                Extern::Memory(memory) => Item::Memory(memory.data(&*store).to_vec()),
                Extern::Table(table) => elements(store, table),
                Extern::Global(global) => {
                    let value = global.get(&mut *store);
                    Item::Global(value_from(&mut *store, &value))
                }
                other => match shared_bytes(&other) {
                    Some(bytes) => Item::Memory(bytes),
                    None => continue,
                },
            };
            state.items.push((name, item));
        }
        state.sort();
        state
    }
}

fn elements(store: &mut Store<Data>, table: Table) -> Item {
    let size = table.size(&*store);
    let elements = (0..size.min(TABLE_ELEMENTS)).map(|index| element(store, table, index));
    Item::Table(elements.collect(), size)
}

/// Defines everything that a module may import, and returns what has a state.
pub(super) fn define_all(
    store: &mut Store<Data>,
    linker: &mut Linker<Data>,
) -> Vec<(String, Extern)> {
    for (index, function) in host::FUNCTIONS.iter().enumerate() {
        let params = function.params.iter().map(|ty| type_into(*ty));
        let results = function.results.iter().map(|ty| type_into(*ty));
        let ty = func_type(store.engine(), params, results);
        let call = move |mut caller: Caller<'_, Data>, arguments: &[Val], results: &mut [Val]| {
            let arguments: Vec<Value> = arguments
                .iter()
                .map(|value| value_from(&mut caller, value))
                .collect();
            let values = host::call(&mut caller.data_mut().calls, index, arguments);
            let values = values.map_err(host_error)?;
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
    let mut items: Vec<(String, Extern)> = vec![
        ("memory".to_owned(), memory.expect("it fits").into()),
        ("table".to_owned(), new_table(store, host::TABLE).into()),
    ];
    for (name, mutable, value) in host::GLOBALS {
        let global = new_global(store, *mutable, *value);
        items.push(((*name).to_owned(), global.into()));
    }
    for (name, item) in &items {
        define(linker, store, name, item.clone());
    }
    items
}
