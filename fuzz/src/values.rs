//! Values on their way in and out, and what else the driver asks of a runtime, for Sarsen and for Wasmtime:
//! the names are the same.

use super::driver::Data;
use super::fuzz::host;
use super::fuzz::observe::{Any, FOREIGN, Type, Value};
use super::{
    AnyRef, AsContext, AsContextMut, Engine, Error, Extern, ExternRef, Func, FuncType, Global,
    GlobalType, I31, Instance, Linker, Module, Mutability, Ref, RefType, Store, Table, TableType,
    Val, ValType,
};

pub(super) fn type_into(ty: Type) -> ValType {
    match ty {
        Type::I32 => ValType::I32,
        Type::I64 => ValType::I64,
        Type::F32 => ValType::F32,
        Type::F64 => ValType::F64,
        Type::V128 => ValType::V128,
        Type::Func => ValType::FUNCREF,
        Type::Extern => ValType::EXTERNREF,
        Type::I31 { .. } | Type::Null(_) => unreachable!("the host has no functions of these"),
    }
}

pub(super) fn value_into(
    mut store: impl AsContextMut<Data = Data>,
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
        Value::Any(Any::I31(bits)) => {
            Val::AnyRef(Some(AnyRef::from_i31(store, I31::wrapping_u32(bits))))
        }
        Value::Any(_) => Val::AnyRef(None),
        Value::Exn(_) => Val::ExnRef(None),
    }
}

pub(super) fn value_from(store: impl AsContext<Data = Data>, value: &Val) -> Value {
    match value {
        Val::I32(n) => Value::I32(*n),
        Val::I64(n) => Value::I64(*n),
        Val::F32(n) => Value::F32(*n),
        Val::F64(n) => Value::F64(*n),
        Val::V128(n) => Value::V128((*n).into()),
        Val::FuncRef(func) => Value::Func(func.is_some()),
        Val::ExternRef(reference) => Value::Extern(reference.map(|reference| {
            let data = reference.data(store.as_context()).expect("of this store");
            let number = data.and_then(|data| data.downcast_ref::<u32>());
            number.copied().unwrap_or(FOREIGN)
        })),
        Val::AnyRef(None) => Value::Any(Any::Null),
        Val::AnyRef(Some(any)) => {
            let store = &store.as_context();
            let what = any.as_i31(store).map(|i31| match i31 {
                Some(i31) => Any::I31(i31.get_u32()),
                None if any.is_struct(store).expect("of this store") => Any::Struct,
                None if any.is_array(store).expect("of this store") => Any::Array,
                None => Any::Other,
            });
            Value::Any(what.expect("of this store"))
        }
        Val::ExnRef(exception) => Value::Exn(exception.is_some()),
        other => panic!("the generator makes no {other:?}"),
    }
}

pub(super) fn func_type(
    engine: &Engine,
    params: impl ExactSizeIterator<Item = ValType>,
    results: impl ExactSizeIterator<Item = ValType>,
) -> FuncType {
    FuncType::new(engine, params, results)
}

/// Where results go.
pub(super) fn placeholders(ty: &FuncType) -> Vec<Val> {
    vec![Val::I32(0); ty.results().len()]
}

pub(super) fn host_error(failed: host::Failed) -> Error {
    failed.into()
}

pub(super) fn instantiate(
    linker: &Linker<Data>,
    store: &mut Store<Data>,
    module: &Module,
) -> Result<Instance, Error> {
    linker.instantiate(store, module)
}

pub(super) fn define(linker: &mut Linker<Data>, store: &Store<Data>, name: &str, item: Extern) {
    let defined = linker.define(store, host::MODULE, name, item);
    defined.expect("names differ");
}

pub(super) fn new_table(store: &mut Store<Data>, (minimum, maximum): (u32, Option<u32>)) -> Table {
    let ty = TableType::new(RefType::FUNCREF, minimum, maximum);
    Table::new(store, ty, Ref::Func(None)).expect("it fits")
}

pub(super) fn new_global(store: &mut Store<Data>, mutable: bool, value: Value) -> Global {
    let value = value_into(&mut *store, value, None);
    let mutability = if mutable {
        Mutability::Var
    } else {
        Mutability::Const
    };
    let ty = GlobalType::new(value.ty(&*store).expect("of this store"), mutability);
    Global::new(store, ty, value).expect("of its type")
}

pub(super) fn element(store: &mut Store<Data>, table: Table, index: u64) -> Value {
    let element = table.get(&mut *store, index).expect("within its size");
    value_from(store, &element.into())
}
