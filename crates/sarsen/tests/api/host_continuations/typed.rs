//! Continuations whose types are known in Rust.

use super::*;
use sarsen::{StructRef, TypedCont};

#[test]
fn a_typed_continuation_takes_and_gives_rust_values() {
    for engine in engines() {
        let mut guest = Guest::new(&engine);
        let func = guest.func("twice");
        let tag = guest.tag("yield");
        let mut cont = TypedCont::<i32, i32>::new(&mut guest.store, &func).unwrap();
        for (given, expected) in [(5, 5), (10, 15)] {
            let resumed = cont.resume(&mut guest.store, given, &[tag]).unwrap();
            let Resumed::Suspended(it) = resumed else {
                panic!("it yields");
            };
            assert!(it.is_with(&tag));
            assert_eq!(it.payload::<i32>(&mut guest.store).unwrap(), expected);
            assert_eq!(it.payload::<(i32,)>(&mut guest.store).unwrap(), (expected,));
            assert!(
                it.payload::<i64>(&mut guest.store)
                    .unwrap_err()
                    .is::<TypeError>()
            );
            assert!(
                it.payload::<()>(&mut guest.store)
                    .unwrap_err()
                    .is::<TypeError>()
            );
            guest.store.gc(None).unwrap();
            cont = it.continuation.typed(&mut guest.store).unwrap();
        }
        match cont.resume(&mut guest.store, 100, &[tag]).unwrap() {
            Resumed::Returned(result) => assert_eq!(result, 115),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn another_rust_type_is_an_error_and_does_not_consume() {
    let mut guest = Guest::new(&engines()[0]);
    let func = guest.func("twice");
    let cont = guest.cont("twice");
    let store = &mut guest.store;
    assert!(
        TypedCont::<(), i32>::new(&mut *store, &func)
            .unwrap_err()
            .is::<TypeError>()
    );
    assert!(
        cont.typed::<i64, i32>(&mut *store)
            .unwrap_err()
            .is::<TypeError>()
    );
    assert!(
        cont.typed::<i32, ()>(&mut *store)
            .unwrap_err()
            .is::<TypeError>()
    );
    assert!(!cont.is_consumed(&mut *store).unwrap());
    let typed = cont.typed::<i32, i32>(&mut *store).unwrap();
    cont.discard(&mut *store).unwrap();
    assert!(
        cont.typed::<i32, i32>(&mut *store)
            .unwrap_err()
            .is::<ConsumedError>()
    );
    assert!(typed.as_cont().is_consumed(&mut *store).unwrap());
    assert!(
        typed
            .resume(&mut *store, 1, &[])
            .unwrap_err()
            .is::<ConsumedError>()
    );
}

#[test]
fn references_of_narrower_types_are_checked_when_they_are_given() {
    for engine in engines() {
        let module = r#"(module
            (type $a (struct (field i32))) (type $b (struct (field i64)))
            (func (export "f") (param (ref $a)) (result anyref) (local.get 0))
            (func (export "a") (result anyref) (struct.new $a (i32.const 1)))
            (func (export "b") (result anyref) (struct.new $b (i64.const 1))))"#;
        let module = Module::new(&engine, module).unwrap();
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let f = instance.get_func(&mut store, "f").unwrap();
        let mut make = |name| {
            let make = instance
                .get_typed_func::<(), Option<Rooted<sarsen::AnyRef>>>(&mut store, name)
                .unwrap();
            let made = make.call(&mut store, ()).unwrap().unwrap();
            made.unwrap_struct(&store).unwrap()
        };
        let (right, wrong) = (make("a"), make("b"));
        type Start = TypedCont<Rooted<StructRef>, Option<Rooted<sarsen::AnyRef>>>;
        let start = Start::new(&mut store, &f).unwrap();
        let error = start.resume(&mut store, wrong, &[]).unwrap_err();
        assert!(error.is::<TypeError>(), "{error:?}");
        let start = Start::new(&mut store, &f).unwrap();
        // There is no stack yet, so that the object may move as one is looked for.
        let Resumed::Returned(Some(back)) = start.resume(&mut store, right, &[]).unwrap() else {
            panic!("it returns what it gets");
        };
        assert!(Rooted::ref_eq(&store, &back, &right.to_anyref()).unwrap());
    }
}

#[test]
fn a_typed_continuation_needs_no_scope_and_dies_when_it_is_dropped() {
    let mut guest = Guest::new(&engines()[0]);
    let func = guest.func("twice");
    let tag = guest.tag("yield");
    let cont = {
        let mut scope = RootScope::new(&mut guest.store);
        let start = TypedCont::<i32, i32>::new(&mut scope, &func).unwrap();
        match start.resume(&mut scope, 1, &[tag]).unwrap() {
            Resumed::Suspended(it) => it.continuation.typed::<i32, i32>(&mut scope).unwrap(),
            other => panic!("{other:?}"),
        }
    };
    guest.store.gc(None).unwrap();
    assert_eq!(guest.store.continuation_stacks(), 1);
    drop(cont);
    guest.store.gc(None).unwrap();
    assert_eq!(guest.store.continuation_stacks(), 0);
}
