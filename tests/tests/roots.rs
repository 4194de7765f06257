//! Roots: while the host runs, the references in the frames of all activations are found, each once, and
//! can be replaced there, as a collector that moves objects will do.

use sarsen_abi::types::{FuncType, ValType};
use sarsen_abi::vmctx::{ValRaw, VmFuncRef, VmHostCtx};
use sarsen_abi::{Features, Settings, TypeId};
use sarsen_compile::Compiler;
use sarsen_vm::code::{EngineCode, Expected};
use sarsen_vm::exec::{self, frame_roots};
use sarsen_vm::instance::{
    CompiledModule, Engine, Extern, HostFunc, Import, Instance, OwnedStore, Reason, Store,
    StoreConfig,
};
use sarsen_vm::stack::StackConfig;
use std::cell::RefCell;
use std::ptr::NonNull;

/// Compiles and instantiates `wat`, whose imports are all `observe: [] -> []`.
fn instantiate(
    wat: &str,
    observe: sarsen_vm::instance::HostCall,
) -> (OwnedStore, NonNull<Instance>) {
    let settings = Settings::default();
    let features = Features::default();
    let compiler = Compiler::new(settings.clone(), features).unwrap();
    let image = compiler.compile(&wat::parse_str(wat).unwrap()).unwrap();
    let expected = Expected {
        settings: &settings,
        features,
    };
    // SAFETY: just compiled.
    let code = unsafe { EngineCode::from_bytes(&image, &expected).unwrap() };
    let engine = Engine::new(
        settings.clone(),
        exec::builtin_table(),
        exec::frame_roots,
        &StackConfig::default(),
    )
    .unwrap();
    let module = CompiledModule::new(&engine, code).unwrap();
    let mut store = Store::new(&engine, StoreConfig::default());
    let nothing: [ValType<TypeId>; 0] = [];
    let ty = FuncType {
        params: nothing.into(),
        results: nothing.into(),
    };
    let ty = engine.types().register_func_type(&ty).unwrap();
    // SAFETY: the functions below neither read nor write values.
    let observe = unsafe { HostFunc::new(ty, observe, Box::new(())) };
    let imports = vec![Import::HostFunc(NonNull::from(&*observe)); module.module().imports.len()];
    // SAFETY: the store keeps a host function that it imports.
    let made = unsafe { store.instantiate(&module, &imports).unwrap() };
    (store, made.instance)
}

fn export(instance: NonNull<Instance>, name: &str) -> *mut VmFuncRef {
    // SAFETY: the callers' stores are alive.
    match unsafe { instance.as_ref() }.export(name) {
        Some(Extern::Func(func)) => func.as_ptr(),
        other => panic!("{name} is {other:?}"),
    }
}

thread_local! {
    /// What [`observe`] has found.
    static FOUND: RefCell<Vec<Vec<u32>>> = const { RefCell::new(Vec::new()) };
    /// What it calls once, before looking.
    static NESTED: RefCell<Option<(*mut VmFuncRef, [ValRaw; 4])>> = const { RefCell::new(None) };
}

/// Lists the roots, and adds 1000 to each, as if its object had moved.
unsafe extern "C" fn observe(host: *mut VmHostCtx, _: *mut ValRaw) -> u64 {
    let observe = || {
        // SAFETY: the store is alive while its code runs, and waits for this function.
        let store = unsafe { NonNull::new((*host).context.store).unwrap() };
        let store = NonNull::new(Store::from_ctx(store.as_ptr())).unwrap();
        if let Some((func, mut values)) = NESTED.take() {
            // SAFETY: as above.
            unsafe { exec::enter(store, func, values.as_mut_ptr()) }.map_err(|u| u.reason)?;
        }
        let mut found = Vec::new();
        // SAFETY: as above, and compiled code expects its references to change.
        unsafe {
            frame_roots(store.as_ref(), &mut |at| {
                found.push(at.read());
                at.write(at.read() + 1000);
            });
        }
        FOUND.with_borrow_mut(|all| all.push(found));
        Ok::<(), Reason>(())
    };
    // SAFETY: called by compiled code.
    unsafe { exec::host_call(NonNull::new(host).unwrap(), observe) }
}

fn call(store: &OwnedStore, func: *mut VmFuncRef, args: [u32; 3]) -> ValRaw {
    let mut values = [ValRaw::default(); 4];
    for (value, arg) in values.iter_mut().zip(args) {
        *value = ValRaw(arg.into());
    }
    // SAFETY: a function of this store, and no more than four values.
    unsafe { exec::enter(store.as_non_null(), func, values.as_mut_ptr()).unwrap() };
    values[0]
}

fn found() -> Vec<Vec<u32>> {
    let mut all = FOUND.take();
    all.iter_mut().for_each(|roots| roots.sort_unstable());
    all
}

const WAT: &str = r#"(module
    (import "host" "observe" (func $observe))
    (func (export "first") (param externref externref externref) (result externref)
        (call $observe)
        (local.get 0))
    (func (export "all") (param externref externref externref) (result externref)
        (call $observe)
        (select (result externref) (local.get 1) (local.get 2)
            (ref.is_null (select (result externref) (local.get 0) (local.get 2) (i32.const 1)))))
    (func $inner (param externref externref) (result externref)
        (call $observe)
        (local.get 1))
    (func (export "nested") (param externref externref externref) (result externref)
        (local.set 1 (call $inner (local.get 2) (local.get 1)))
        (call $observe)
        (select (result externref) (local.get 0) (local.get 1) (ref.is_null (local.get 1))))
    (func (export "none") (param externref externref externref)
        (call $observe)))"#;

#[test]
fn every_live_reference_is_found_and_nothing_else() {
    let (store, instance) = instantiate(WAT, observe);
    call(&store, export(instance, "none"), [8, 16, 24]);
    assert_eq!(found(), [[0u32; 0]], "no reference is used after the call");
    let result = call(&store, export(instance, "first"), [8, 16, 24]);
    assert_eq!(found(), [[8]]);
    assert_eq!(
        result.get_externref(),
        1008,
        "the slot is what the code uses afterwards"
    );
    let result = call(&store, export(instance, "all"), [8, 16, 24]);
    assert_eq!(found(), [[8, 16, 24]]);
    assert_eq!(result.get_externref(), 1024);
}

#[test]
fn references_of_callers_and_of_older_activations_are_found() {
    let (store, instance) = instantiate(WAT, observe);
    let result = call(&store, export(instance, "nested"), [8, 16, 24]);
    assert_eq!(found(), [[8, 16], [1008, 1016]]);
    assert_eq!(result.get_externref(), 2016);

    let inner = export(instance, "first");
    NESTED.set(Some((
        inner,
        [ValRaw(80), ValRaw(88), ValRaw(96), ValRaw(0)],
    )));
    let result = call(&store, export(instance, "all"), [8, 16, 24]);
    // The inner activation looks first, at both.
    assert_eq!(found(), [vec![8, 16, 24, 80], vec![1008, 1016, 1024]]);
    assert_eq!(result.get_externref(), 2024);
}
