//! Programs written for Wasmtime, of which only the import is another: they must compile as they are.

use sarsen as wasmtime;
use wasmtime::*;

struct State {
    name: String,
    count: usize,
}

#[test]
fn a_program_written_for_wasmtime_compiles_and_runs() -> wasmtime::Result<()> {
    let mut config = Config::new();
    config.wasm_bulk_memory(true).consume_fuel(true);
    let engine = Engine::new(&config)?;
    let wat = r#"
        (module
            (import "host" "hello" (func $host_hello (param i32 i32) (result i32)))
            (memory (export "memory") 1)
            (global $g (export "counter") (mut i32) (i32.const 0))
            (func (export "hello") (param i32) (result i32)
                (global.set $g (i32.add (global.get $g) (i32.const 1)))
                (call $host_hello (i32.const 3) (local.get 0)))
        )
    "#;
    let module = Module::new(&engine, wat)?;
    let mut linker = Linker::new(&engine);
    linker.func_wrap(
        "host",
        "hello",
        |mut caller: Caller<'_, State>, ptr: i32, len: i32| -> Result<i32> {
            let mem = match caller.get_export("memory") {
                Some(Extern::Memory(mem)) => mem,
                _ => bail!("failed to find host memory"),
            };
            let name = caller.data().name.clone();
            mem.data_mut(&mut caller)
                .get_mut(ptr as usize..)
                .and_then(|bytes| bytes.get_mut(..len as usize))
                .context("out of bounds")?
                .copy_from_slice(&name.as_bytes()[..len as usize]);
            caller.data_mut().count += 1;
            Ok(caller.data().count as i32)
        },
    )?;
    let state = State {
        name: "wasmtime".to_string(),
        count: 0,
    };
    let mut store = Store::new(&engine, state);
    store.set_fuel(10_000)?;
    let instance = linker.instantiate(&mut store, &module)?;
    let hello: TypedFunc<(i32,), i32> = instance.get_typed_func(&mut store, "hello")?;
    assert_eq!(hello.call(&mut store, (4,))?, 1);
    let memory = instance
        .get_memory(&mut store, "memory")
        .ok_or(format_err!("failed to find `memory` export"))?;
    assert_eq!(&memory.data(&store)[3..7], b"wasm");
    let counter = instance.get_global(&mut store, "counter").unwrap();
    assert_eq!(counter.get(&mut store).i32(), Some(1));
    assert!(matches!(counter.ty(&store).mutability(), Mutability::Var));

    let err = hello.call(&mut store, (1 << 20,)).map(|_| ()).unwrap_err();
    assert!(format!("{err:?}").contains("wasm backtrace"), "{err:?}");
    assert_eq!(err.root_cause().to_string(), "out of bounds");
    assert_ne!(
        err.downcast_ref::<Trap>(),
        Some(&Trap::UnreachableCodeReached)
    );
    match err.downcast::<Trap>() {
        Ok(trap) => panic!("not a trap: {trap}"),
        Err(err) => assert!(err.is::<WasmBacktrace>()),
    }
    assert!(store.get_fuel()? < 10_000);

    let callback = Func::wrap(&mut store, |_caller: Caller<'_, State>, a: i32| a + 1);
    let mut results = vec![Val::null_func_ref(); 1];
    callback.call(&mut store, &[Val::I32(3)], &mut results)?;
    assert_eq!(results[0].unwrap_i32(), 4);
    Ok(())
}

/// A list of pairs that the guest makes, and the host reads, extends and gives back.
const LISTS: &str = r#"
    (module
        (type $cell (struct (field $head i32) (field $tail (mut (ref null $cell)))))
        (type $bytes (array (mut i8)))
        (func (export "cons") (param i32 (ref null $cell)) (result (ref $cell))
            (struct.new $cell (local.get 0) (local.get 1)))
        (func (export "sum") (param $list (ref null $cell)) (result i32) (local $sum i32)
            (block $done
                (loop $next
                    (br_if $done (ref.is_null (local.get $list)))
                    (local.set $sum
                        (i32.add (local.get $sum) (struct.get $cell $head (local.get $list))))
                    (local.set $list (struct.get $cell $tail (local.get $list)))
                    (br $next)))
            (local.get $sum))
        (func (export "length") (param anyref) (result i32)
            (array.len (ref.cast (ref $bytes) (local.get 0))))
        (func (export "keep") (param externref) (result anyref)
            (any.convert_extern (local.get 0))))
"#;

#[test]
fn a_program_with_collected_objects_compiles_and_runs() -> wasmtime::Result<()> {
    let mut config = Config::new();
    config.wasm_function_references(true).wasm_gc(true);
    config.collector(Collector::Auto);
    let engine = Engine::new(&config)?;
    let module = Module::new(&engine, LISTS)?;
    let mut store = Store::new(&engine, 0_usize);
    let instance = Instance::new(&mut store, &module, &[])?;
    let cons = instance.get_func(&mut store, "cons").expect("exported");
    let sum = instance.get_func(&mut store, "sum").expect("exported");

    // The host learns the type from the function.
    let cons_ty = cons.ty(&store);
    let cell_ref = cons_ty.result(0).expect("one result");
    let cell_ty: StructType = match cell_ref.unwrap_ref().heap_type() {
        HeapType::ConcreteStruct(ty) => ty.clone(),
        other => bail!("not a structure: {other}"),
    };
    assert!(
        cell_ty
            .field(0)
            .unwrap()
            .element_type()
            .unwrap_val_type()
            .is_i32()
    );
    assert!(cell_ty.field(1).unwrap().mutability().is_var());

    let mut results = vec![Val::null_any_ref()];
    let mut list = Val::null_any_ref();
    for n in 1..=3 {
        cons.call(&mut store, &[Val::I32(n), list], &mut results)?;
        list = results[0];
        assert!(list.matches_ty(&store, &cell_ref)?);
    }
    let cell: Rooted<StructRef> = list.unwrap_anyref().unwrap().unwrap_struct(&store)?;
    assert!(StructType::eq(&cell.ty(&store)?, &cell_ty));
    assert_eq!(cell.field(&mut store, 0)?.unwrap_i32(), 3);
    assert_eq!(cell.fields(&mut store)?.len(), 2);

    // One more, and another tail.
    let pre = StructRefPre::new(&mut store, cell_ty);
    let kept: OwnedRooted<StructRef> = {
        let mut scope = RootScope::new(&mut store);
        let last = StructRef::new(&mut scope, &pre, &[Val::I32(100), Val::null_any_ref()])?;
        cell.set_field(&mut scope, 1, last.to_anyref().into())?;
        let tail = cell.field(&mut scope, 1)?;
        let tail = tail.any_ref().flatten().context("a cell")?;
        let tail = tail.unwrap_eqref(&scope)?;
        assert!(Rooted::ref_eq(&scope, &last.to_eqref(), &tail)?);
        cell.to_owned_rooted(&mut scope)?
    };
    store.gc(None)?;
    let argument = kept.to_rooted(&mut store).to_anyref();
    let mut results = [Val::I32(0)];
    sum.call(&mut store, &[argument.into()], &mut results)?;
    assert_eq!(results[0].unwrap_i32(), 103);
    assert_eq!(
        Val::default_for_ty(&ValType::ANYREF)
            .unwrap()
            .ref_()
            .map(|it| it.is_null()),
        Some(true)
    );

    // Bytes.
    let length = instance.get_typed_func::<Option<Rooted<AnyRef>>, i32>(&mut store, "length")?;
    let bytes_ty = ArrayType::new(&engine, FieldType::new(Mutability::Var, StorageType::I8));
    let pre = ArrayRefPre::new(&mut store, bytes_ty);
    let bytes = ArrayRef::new_fixed(&mut store, &pre, &[Val::I32(1), Val::I32(2), Val::I32(3)])?;
    bytes.set(&mut store, 1, Val::I32(20))?;
    let elems: Vec<i32> = bytes
        .elems(&mut store)?
        .map(|elem| elem.unwrap_i32())
        .collect();
    assert_eq!(elems, [1, 20, 3]);
    assert_eq!(bytes.len(&store)?, 3);
    assert_eq!(length.call(&mut store, Some(bytes.to_anyref()))?, 3);
    let small = AnyRef::from_i31(&mut store, I31::new_i32(-5).unwrap());
    assert!(small.is_i31(&store)? && !small.is_array(&store)?);
    assert_eq!(small.as_i31(&store)?.map(|it| it.get_i32()), Some(-5));
    let error = length.call(&mut store, Some(small)).unwrap_err();
    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::CastFailure));

    // What is the host's own.
    let keep = instance
        .get_typed_func::<Option<Rooted<ExternRef>>, Option<Rooted<AnyRef>>>(&mut store, "keep")?;
    let object = ExternRef::new(&mut store, String::from("mine"))?;
    let inner = keep.call(&mut store, Some(object))?.context("not null")?;
    let outer = ExternRef::convert_any(&mut store, inner)?;
    *outer
        .data_mut(&mut store)?
        .and_then(|data| data.downcast_mut::<String>())
        .context("a string")? += ", still";
    let text = object
        .data(&store)?
        .and_then(|data| data.downcast_ref::<String>());
    assert_eq!(text.map(String::as_str), Some("mine, still"));
    let shout = Func::wrap(
        &mut store,
        |mut caller: Caller<'_, usize>, object: Option<Rooted<ExternRef>>| -> Result<i32> {
            let object = object.ok_or_else(|| format_err!("null"))?;
            let length = object
                .data(&caller)?
                .and_then(|data| data.downcast_ref::<String>())
                .map_or(0, String::len);
            *caller.data_mut() += length;
            Ok(length as i32)
        },
    );
    let shout = shout.typed::<Option<Rooted<ExternRef>>, i32>(&store)?;
    assert_eq!(shout.call(&mut store, Some(object))?, 11);
    assert_eq!(*store.data(), 11);
    Ok(())
}

const THROWS: &str = r#"
    (module
        (import "host" "read" (func $read (param i32) (result i32)))
        (import "host" "eof" (tag $eof (param i32)))
        (tag $odd (export "odd") (param i32 externref))
        (func (export "count") (result i32) (local $n i32)
            (block $end (result i32)
                (try_table (catch $eof $end)
                    (loop $next
                        (local.set $n (i32.add (call $read (local.get $n)) (i32.const 1)))
                        (br $next)))
                (unreachable)))
        (func (export "check") (param i32 externref) (result i32)
            (if (i32.and (local.get 0) (i32.const 1))
                (then (throw $odd (local.get 0) (local.get 1))))
            (local.get 0))
        (func (export "rethrow") (param exnref) (throw_ref (local.get 0))))
"#;

#[test]
fn a_program_with_exceptions_compiles_and_runs() -> wasmtime::Result<()> {
    let mut config = Config::new();
    config.wasm_exceptions(true).wasm_gc(true);
    let engine = Engine::new(&config)?;
    let module = Module::new(&engine, THROWS)?;
    let mut store = Store::new(&engine, ());

    // The host throws, the guest catches.
    let eof_ty = TagType::new(FuncType::new(&engine, [ValType::I32], []));
    let eof = Tag::new(&mut store, &eof_ty)?;
    assert_eq!(eof.ty(&store).ty().params().len(), 1);
    let mut linker = Linker::new(&engine);
    linker.define(&mut store, "host", "eof", eof)?;
    linker.func_wrap(
        "host",
        "read",
        move |mut caller: Caller<'_, ()>, at: i32| -> Result<i32> {
            if at < 10 {
                return Ok(at);
            }
            let exn_ty = ExnType::from_tag_type(eof.ty(&caller))?;
            let pre = ExnRefPre::new(&mut caller, exn_ty);
            let exn = ExnRef::new(&mut caller, &pre, &eof, &[Val::I32(at)])?;
            caller.as_context_mut().throw(exn)
        },
    )?;
    let instance = linker.instantiate(&mut store, &module)?;
    let count = instance.get_typed_func::<(), i32>(&mut store, "count")?;
    assert_eq!(count.call(&mut store, ())?, 10);

    // The guest throws, the host catches, and throws again.
    let odd = instance.get_tag(&mut store, "odd").context("exported")?;
    let check =
        instance.get_typed_func::<(i32, Option<Rooted<ExternRef>>), i32>(&mut store, "check")?;
    assert_eq!(check.call(&mut store, (4, None))?, 4);
    let reason = ExternRef::new(&mut store, "odd")?;
    let error = check.call(&mut store, (5, Some(reason))).unwrap_err();
    assert!(error.is::<ThrownException>(), "{error:?}");
    let exn: Rooted<ExnRef> = store.take_pending_exception().context("pending")?;
    assert!(!store.has_pending_exception());
    assert!(Tag::eq(&exn.tag(&mut store)?, &odd, &store));
    assert!(exn.matches_ty(&store, &HeapType::Exn)?);
    assert!(!exn.matches_ty(&store, &HeapType::NoExn)?);
    assert_eq!(exn.ty(&mut store)?.fields().len(), 2);
    let fields: Vec<Val> = exn.fields(&mut store)?.collect();
    assert_eq!(fields[0].unwrap_i32(), 5);
    let told = exn.field(&mut store, 1)?;
    let told = told.unwrap_externref().context("not null")?;
    let told = told
        .data(&store)?
        .and_then(|data| data.downcast_ref::<&str>());
    assert_eq!(told, Some(&"odd"));

    let rethrow = instance
        .get_func(&mut store, "rethrow")
        .context("exported")?;
    let error = rethrow
        .call(&mut store, &[Val::ExnRef(Some(exn))], &mut [])
        .unwrap_err();
    assert!(error.is::<ThrownException>());
    let same = store.take_pending_exception().context("pending")?;
    assert!(Rooted::ref_eq(&store, &same, &exn)?);
    let error = rethrow
        .call(&mut store, &[Val::null_exn_ref()], &mut [])
        .unwrap_err();
    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::NullReference));
    Ok(())
}

#[test]
fn a_program_with_futures_compiles_and_runs() -> wasmtime::Result<()> {
    let mut config = Config::new();
    config.async_support(true).consume_fuel(true).wasm_gc(true);
    let engine = Engine::new(&config)?;
    let wat = r#"
        (module
            (import "host" "fetch" (func $fetch (param i32) (result externref)))
            (func (export "run") (param i32) (result externref)
                (call $fetch (i32.add (local.get 0) (i32.const 1)))))
    "#;
    let module = Module::new(&engine, wat)?;
    let mut linker = Linker::new(&engine);
    linker.func_wrap_async(
        "host",
        "fetch",
        |mut caller: Caller<'_, u32>, (n,): (i32,)| {
            Box::new(async move {
                *caller.data_mut() += 1;
                caller.fuel_async_yield_interval(Some(500))?;
                caller.gc_async(None).await?;
                let fetched = ExternRef::new_async(&mut caller, n).await?;
                Ok(Some(fetched))
            })
        },
    )?;
    let mut store = Store::new(&engine, 0);
    store.set_fuel(10_000)?;
    store.fuel_async_yield_interval(Some(1_000))?;
    let run = async {
        let instance = linker.instantiate_async(&mut store, &module).await?;
        let run = instance.get_typed_func::<i32, Option<Rooted<ExternRef>>>(&mut store, "run")?;
        let fetched = run.call_async(&mut store, 41).await?.context("not null")?;
        store.gc_async(None).await?;

        let field = FieldType::new(Mutability::Var, StorageType::ValType(ValType::EXTERNREF));
        let pair = StructType::new(&engine, [field.clone(), field])?;
        let pre = StructRefPre::new(&mut store, pair);
        let pair = StructRef::new_async(&mut store, &pre, &[fetched.into(); 2]).await?;
        let list = ArrayType::new(
            &engine,
            FieldType::new(Mutability::Const, StorageType::ValType(ValType::ANYREF)),
        );
        let pre = ArrayRefPre::new(&mut store, list);
        let pair = Val::from(pair.to_anyref());
        let list = ArrayRef::new_fixed_async(&mut store, &pre, &[pair; 3]).await?;
        let same = ArrayRef::new_async(&mut store, &pre, &pair, 3).await?;
        assert_eq!(list.len(&store)?, same.len(&store)?);
        let first = list.get(&mut store, 0)?;
        let first = first
            .unwrap_anyref()
            .context("not null")?
            .unwrap_struct(&store)?;
        let first = first.field(&mut store, 1)?;
        let first = first.unwrap_externref().context("not null")?;
        let number = first
            .data(&store)?
            .and_then(|data| data.downcast_ref::<i32>());
        assert_eq!(number, Some(&42));

        let memory = Memory::new_async(&mut store, MemoryType::new(1, Some(2))).await?;
        assert_eq!(memory.grow_async(&mut store, 1).await?, 1);
        assert!(memory.grow_async(&mut store, 1).await.is_err());
        let ty = TableType::new(RefType::FUNCREF, 0, None);
        let table = Table::new_async(&mut store, ty, Ref::Func(None)).await?;
        assert_eq!(table.grow_async(&mut store, 3, Ref::Func(None)).await?, 0);

        let tag = Tag::new(&mut store, &TagType::new(FuncType::new(&engine, [], [])))?;
        let pre = ExnRefPre::new(&mut store, ExnType::new(&engine, [])?);
        let exn = ExnRef::new_async(&mut store, &pre, &tag, &[]).await?;
        assert!(Tag::eq(&exn.tag(&mut store)?, &tag, &store));
        wasmtime::Result::<()>::Ok(())
    };
    super::asynchronous::block_on(run)?;
    assert_eq!(*store.data(), 1);
    Ok(())
}
