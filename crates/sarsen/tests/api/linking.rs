//! Linkers: names, types, shadowing, commands, unknown imports.

use super::asynchronous::{Pending, block_on};
use sarsen::{
    AsyncRequiredError, Caller, DuplicateDefinitionError, Engine, Extern, Func, FuncType,
    IncompatibleImportError, Instance, InstancePre, Linker, Memory, MemoryType, Module,
    OwnershipError, Store, Table, TableType, Trap, UnknownImportError, Val, ValType,
};

fn module(engine: &Engine, text: &str) -> Module {
    Module::new(engine, text).unwrap()
}

#[test]
fn linkers_engines_and_modules_are_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Engine>();
    shared::<Module>();
    shared::<Linker<std::cell::Cell<u8>>>();
    shared::<InstancePre<std::rc::Rc<u8>>>();
    shared::<Func>();
    shared::<FuncType>();
    fn sent<T: Send>() {}
    sent::<Store<std::cell::Cell<u8>>>();
}

#[test]
fn an_unknown_import_is_told_with_its_type() {
    let engine = Engine::default();
    let linker = Linker::<()>::new(&engine);
    let wants = module(
        &engine,
        r#"(module (import "env" "missing" (func (param i32) (result f64))))"#,
    );
    let mut store = Store::new(&engine, ());
    for error in [
        linker.instantiate(&mut store, &wants).unwrap_err(),
        linker.instantiate_pre(&wants).unwrap_err(),
    ] {
        let unknown = error.downcast_ref::<UnknownImportError>().unwrap();
        assert_eq!((unknown.module(), unknown.name()), ("env", "missing"));
        let text = error.to_string();
        assert!(text.contains("`env::missing`"), "{text}");
        assert!(text.contains("(func (param i32) (result f64))"), "{text}");
    }
}

#[test]
fn an_import_of_another_type_is_told_with_both_types() {
    let engine = Engine::default();
    let mut linker = Linker::<()>::new(&engine);
    linker.func_wrap("env", "f", |_: i64| {}).unwrap();
    let mut store = Store::new(&engine, ());
    let memory = Memory::new(&mut store, MemoryType::new(1, None)).unwrap();
    linker.define(&store, "env", "memory", memory).unwrap();
    for (import, wanted, found) in [
        (
            r#""f" (func (param i32))"#,
            "(func (param i32))",
            "(func (param i64))",
        ),
        (r#""f" (global i32)"#, "(global i32)", "(func (param i64))"),
        (r#""memory" (memory 2)"#, "(memory 2)", "(memory 1)"),
        (r#""memory" (memory 1 5)"#, "(memory 1 5)", "(memory 1)"),
        (r#""memory" (memory i64 1)"#, "(memory i64 1)", "(memory 1)"),
        (
            r#""memory" (table 1 funcref)"#,
            "(table 1 funcref)",
            "(memory 1)",
        ),
    ] {
        let wants = module(&engine, &format!(r#"(module (import "env" {import}))"#));
        let error = linker.instantiate(&mut store, &wants).unwrap_err();
        let incompatible = error.downcast_ref::<IncompatibleImportError>().unwrap();
        assert_eq!(incompatible.module(), "env");
        let text = error.to_string();
        assert!(
            text.contains(&format!("wanted {wanted}, found {found}")),
            "{text}"
        );
    }
    // The same without a linker.
    let wants = module(&engine, r#"(module (import "env" "memory" (memory 2)))"#);
    let error = Instance::new(&mut store, &wants, &[memory.into()]).unwrap_err();
    assert!(
        error.downcast_ref::<IncompatibleImportError>().is_some(),
        "{error}"
    );
    let error = Instance::new(&mut store, &wants, &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "wrong number of imports: wanted 1, found 0"
    );
    // What has grown matches what it now is.
    memory.grow(&mut store, 1).unwrap();
    linker.instantiate(&mut store, &wants).unwrap();
}

#[test]
fn one_linker_serves_many_stores_on_many_threads() {
    let engine = Engine::default();
    let mut linker = Linker::new(&engine);
    linker
        .func_wrap("", "add", |mut caller: Caller<'_, i32>, n: i32| {
            *caller.data_mut() += n;
        })
        .unwrap();
    let adds = module(
        &engine,
        r#"(module
             (import "" "add" (func $add (param i32)))
             (func (export "run") (param i32) (call $add (local.get 0))))"#,
    );
    let pre = linker.instantiate_pre(&adds).unwrap();
    drop(linker);
    std::thread::scope(|scope| {
        for n in 0..4 {
            let pre = &pre;
            let engine = &engine;
            scope.spawn(move || {
                for _ in 0..20 {
                    let mut store = Store::new(engine, 1);
                    let instance = pre.instantiate(&mut store).unwrap();
                    let run = instance
                        .get_typed_func::<i32, ()>(&mut store, "run")
                        .unwrap();
                    run.call(&mut store, n).unwrap();
                    assert_eq!(store.into_data(), 1 + n);
                }
            });
        }
    });
}

#[test]
fn a_name_is_defined_once_unless_shadowing_is_allowed() {
    let engine = Engine::default();
    let mut linker = Linker::<()>::new(&engine);
    linker.func_wrap("a", "b", || 1).unwrap();
    let error = linker.func_wrap("a", "b", || 2).unwrap_err();
    assert!(error.downcast_ref::<DuplicateDefinitionError>().is_some());
    let mut store = Store::new(&engine, ());
    let value = |linker: &Linker<()>, store: &mut Store<()>| {
        let f = linker
            .get(&mut *store, "a", "b")
            .unwrap()
            .into_func()
            .unwrap();
        f.typed::<(), i32>(&*store)
            .unwrap()
            .call(store, ())
            .unwrap()
    };
    assert_eq!(value(&linker, &mut store), 1);
    linker.allow_shadowing(true);
    linker.func_wrap("a", "b", || 2).unwrap();
    assert_eq!(value(&linker, &mut store), 2);
    linker.alias("a", "b", "c", "d").unwrap();
    assert!(linker.get(&mut store, "c", "d").is_some());
    assert!(linker.alias("a", "x", "c", "e").is_err());
    linker.alias_module("a", "copy").unwrap();
    assert!(linker.get(&mut store, "copy", "b").is_some());
    assert_eq!(linker.iter(&mut store).count(), 3);
}

#[test]
fn instances_are_linked_to_each_other() {
    let engine = Engine::default();
    let mut linker = Linker::<()>::new(&engine);
    let mut store = Store::new(&engine, ());
    let lib = module(
        &engine,
        r#"(module
             (memory (export "memory") 1)
             (table (export "table") 1 funcref)
             (global (export "global") (mut i32) (i32.const 3))
             (func (export "get") (result i32) (global.get 0)))"#,
    );
    let lib = linker.instantiate(&mut store, &lib).unwrap();
    linker.instance(&mut store, "lib", lib).unwrap();
    let user = module(
        &engine,
        r#"(module
             (import "lib" "memory" (memory 1))
             (import "lib" "table" (table 1 funcref))
             (import "lib" "global" (global $g (mut i32)))
             (import "lib" "get" (func $get (result i32)))
             (elem (i32.const 0) $own)
             (func $own (result i32) (i32.const 11))
             (data (i32.const 0) "data")
             (func (export "run") (result i32)
               (global.set $g (i32.mul (call $get) (i32.const 2)))
               (call $get)))"#,
    );
    let user = linker.instantiate(&mut store, &user).unwrap();
    let run = user.get_typed_func::<(), i32>(&mut store, "run").unwrap();
    assert_eq!(run.call(&mut store, ()).unwrap(), 6);
    let memory = lib.get_memory(&mut store, "memory").unwrap();
    assert_eq!(&memory.data(&store)[..4], b"data");
    let table = lib.get_table(&mut store, "table").unwrap();
    let own = *table.get(&mut store, 0).unwrap().unwrap_func().unwrap();
    assert_eq!(
        own.typed::<(), i32>(&store)
            .unwrap()
            .call(&mut store, ())
            .unwrap(),
        11
    );
    let names: Vec<_> = lib
        .exports(&mut store)
        .map(|e| e.name().to_owned())
        .collect();
    assert_eq!(names, ["memory", "table", "global", "get"]);
}

#[test]
fn what_belongs_to_a_store_is_refused_in_another() {
    let engine = Engine::default();
    let mut linker = Linker::<()>::new(&engine);
    let mut first = Store::new(&engine, ());
    let memory = Memory::new(&mut first, MemoryType::new(1, None)).unwrap();
    linker.define(&first, "", "memory", memory).unwrap();
    let wants = module(&engine, r#"(module (import "" "memory" (memory 1)))"#);
    linker.instantiate(&mut first, &wants).unwrap();
    let mut second = Store::new(&engine, ());
    let error = linker.instantiate(&mut second, &wants).unwrap_err();
    assert_eq!(error.to_string(), "object used with the wrong store");
    let pre = linker.instantiate_pre(&wants).unwrap();
    assert!(pre.instantiate(&mut second).is_err());
    pre.instantiate(&mut first).unwrap();
}

#[test]
#[should_panic(expected = "another engine")]
fn a_module_of_another_engine_is_refused() {
    let module = module(&Engine::default(), "(module)");
    let engine = Engine::default();
    let _ = Linker::<()>::new(&engine).instantiate(Store::new(&engine, ()), &module);
}

#[test]
fn unknown_imports_trap_when_called() {
    let engine = Engine::default();
    let mut linker = Linker::<()>::new(&engine);
    let wants = module(
        &engine,
        r#"(module
             (import "env" "f" (func $f (param i32) (result i64)))
             (import "env" "f" (func $again (param i32) (result i64)))
             (func (export "run") (drop (call $f (i32.const 1)))))"#,
    );
    linker.define_unknown_imports_as_traps(&wants).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &wants).unwrap();
    let run = instance
        .get_typed_func::<(), ()>(&mut store, "run")
        .unwrap();
    let error = run.call(&mut store, ()).unwrap_err();
    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::UnknownImport));
    assert!(format!("{error:#}").contains("`env::f`"), "{error:#}");
    let memory = module(&engine, r#"(module (import "env" "m" (memory 1)))"#);
    assert!(linker.define_unknown_imports_as_traps(&memory).is_err());
}

#[test]
fn unknown_imports_get_default_values() {
    let engine = Engine::default();
    let mut linker = Linker::<()>::new(&engine);
    let wants = module(
        &engine,
        r#"(module
             (import "env" "f" (func $f (param i32) (result i64 externref)))
             (import "env" "m" (memory 2))
             (import "env" "t" (table 3 funcref))
             (import "env" "g" (global $g f64))
             (func (export "run") (result i64)
               (call $f (i32.const 1)) drop
               (i64.add (i64.extend_i32_u (memory.size)))
               (i64.add (i64.extend_i32_u (table.size 0)))))"#,
    );
    let mut store = Store::new(&engine, ());
    linker
        .define_unknown_imports_as_default_values(&mut store, &wants)
        .unwrap();
    let instance = linker.instantiate(&mut store, &wants).unwrap();
    let run = instance
        .get_typed_func::<(), i64>(&mut store, "run")
        .unwrap();
    assert_eq!(run.call(&mut store, ()).unwrap(), 5);
}

#[test]
fn a_command_runs_anew_for_each_call_and_a_reactor_once() {
    let engine = Engine::default();
    let counter = |start: &str| {
        format!(
            r#"(module
                 (global $n (mut i32) (i32.const 0))
                 (func $inc (global.set $n (i32.add (global.get $n) (i32.const 1))))
                 (func (export "{start}") (call $inc))
                 (func (export "next") (result i32) (call $inc) (global.get $n)))"#
        )
    };
    let mut linker = Linker::<()>::new(&engine);
    let mut store = Store::new(&engine, ());
    let command = module(&engine, &counter("_start"));
    let reactor = module(&engine, &counter("_initialize"));
    linker.module(&mut store, "command", &command).unwrap();
    linker.module(&mut store, "reactor", &reactor).unwrap();
    for (name, expected) in [("command", [1, 1]), ("reactor", [2, 3])] {
        for expected in expected {
            let next = linker.get(&mut store, name, "next");
            let next = next.and_then(Extern::into_func).unwrap();
            let next = next.typed::<(), i32>(&store).unwrap();
            assert_eq!(next.call(&mut store, ()).unwrap(), expected, "{name}");
        }
    }
    let default = linker.get_default(&mut store, "command").unwrap();
    default.call(&mut store, &[], &mut []).unwrap();
    let nothing = linker.get_default(&mut store, "nobody").unwrap();
    nothing.call(&mut store, &[], &mut []).unwrap();
    let both = module(
        &engine,
        r#"(module (func (export "_start")) (func (export "_initialize")))"#,
    );
    assert!(linker.module(&mut store, "both", &both).is_err());
}

#[test]
fn what_commands_and_reactors_do_may_wait_when_they_are_linked_so() {
    let engine = Engine::default();
    let counter = |start: &str| {
        format!(
            r#"(module
                 (import "host" "wait" (func $wait))
                 (global $n (mut i32) (i32.const 0))
                 (func $count (call $wait) (global.set $n (i32.add (global.get $n) (i32.const 1))))
                 (func (export "{start}") (call $count))
                 (func (export "next") (result i32) (call $count) (global.get $n)))"#
        )
    };
    let mut linker = Linker::<u32>::new(&engine);
    linker
        .func_wrap_async("host", "wait", |mut caller: Caller<'_, u32>, (): ()| {
            Box::new(async move {
                Pending(1).await;
                *caller.data_mut() += 1;
            })
        })
        .unwrap();
    let mut store = Store::new(&engine, 0);
    let command = module(&engine, &counter("_start"));
    let reactor = module(&engine, &counter("_initialize"));
    block_on(linker.module_async(&mut store, "command", &command)).unwrap();
    assert_eq!(*store.data(), 0);
    block_on(linker.module_async(&mut store, "reactor", &reactor)).unwrap();
    assert_eq!(*store.data(), 1);
    let user = r#"(module
        (import "command" "next" (func $command (result i32)))
        (import "reactor" "next" (func $reactor (result i32)))
        (func (export "run") (result i32 i32) (call $command) (call $reactor)))"#;
    let user = linker
        .instantiate(&mut store, &module(&engine, user))
        .unwrap();
    let run = user
        .get_typed_func::<(), (i32, i32)>(&mut store, "run")
        .unwrap();
    for round in 0..3 {
        let result = block_on(run.call_async(&mut store, ())).unwrap();
        assert_eq!(result, (1, 2 + round));
    }
    assert_eq!(*store.data(), 7);
    let error = run.call(&mut store, ()).unwrap_err();
    assert!(error.is::<AsyncRequiredError>(), "{error:?}");
    let both = r#"(module (func (export "_start")) (func (export "_initialize")))"#;
    let both = module(&engine, both);
    assert!(block_on(linker.module_async(&mut store, "both", &both)).is_err());
}

#[test]
fn functions_of_types_that_no_module_names_can_be_called() {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let ty = FuncType::new(
        &engine,
        [ValType::F64, ValType::I32, ValType::EXTERNREF],
        [ValType::I64, ValType::F64],
    );
    let f = Func::new(&mut store, ty, |_, params, results| {
        results[0] = Val::I64(i64::from(params[1].unwrap_i32()));
        results[1] = params[0];
        Ok(())
    });
    let mut results = [Val::I32(0), Val::I32(0)];
    let arguments = [Val::from(2.5), Val::I32(4), Val::ExternRef(None)];
    f.call(&mut store, &arguments, &mut results).unwrap();
    assert_eq!(results[0].i64(), Some(4));
    assert_eq!(results[1].f64(), Some(2.5));
    // A type that names another: its stubs do not depend on that.
    let inner = f.ty(&store);
    let heap = sarsen::HeapType::ConcreteFunc(inner);
    let reference = ValType::Ref(sarsen::RefType::new(true, heap));
    let ty = FuncType::new(&engine, [reference], [ValType::I32]);
    let g = Func::new(&mut store, ty, |_, params, results| {
        results[0] = Val::I32(i32::from(params[0].unwrap_funcref().is_some()));
        Ok(())
    });
    let mut results = [Val::I32(0)];
    g.call(&mut store, &[f.into()], &mut results).unwrap();
    assert_eq!(results[0].i32(), Some(1));
    g.call(&mut store, &[Val::FuncRef(None)], &mut results)
        .unwrap();
    assert_eq!(results[0].i32(), Some(0));
    assert!(g.call(&mut store, &[g.into()], &mut results).is_err());
}

#[test]
fn tables_are_linked_with_their_present_size() {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let ty = TableType::new(sarsen::RefType::FUNCREF, 1, Some(4));
    let table = Table::new(&mut store, ty, sarsen::Ref::Func(None)).unwrap();
    let wants = module(&engine, r#"(module (import "" "t" (table 3 4 funcref)))"#);
    assert!(Instance::new(&mut store, &wants, &[table.into()]).is_err());
    table.grow(&mut store, 2, sarsen::Ref::Func(None)).unwrap();
    Instance::new(&mut store, &wants, &[table.into()]).unwrap();
}

#[test]
fn what_a_module_of_another_engine_imports_is_not_defined() {
    // The same id means another type there.
    let (engine, other) = (Engine::default(), Engine::default());
    let theirs = module(
        &other,
        r#"(module (import "" "f" (func (param externref i64))))"#,
    );
    let ours = module(&engine, r#"(module (import "" "f" (func (param i64))))"#);
    let mut linker = Linker::<()>::new(&engine);
    let mut store = Store::new(&engine, ());
    for result in [
        linker.define_unknown_imports_as_traps(&theirs),
        linker.define_unknown_imports_as_default_values(&mut store, &theirs),
    ] {
        let error = result.unwrap_err();
        let error = error.downcast_ref::<OwnershipError>();
        assert_eq!(error, Some(&OwnershipError::WrongEngine));
    }
    linker.define_unknown_imports_as_traps(&ours).unwrap();
    linker.instantiate(&mut store, &ours).unwrap();
}
