//! What goes into continuations and comes out, and continuations as values themselves.

use super::*;

#[test]
fn references_and_vectors_go_in_and_out() {
    for engine in engines() {
        let mut guest = Guest::new(&engine);
        let tag = guest.tag("swap");
        let cont = guest.cont("refs");
        let Resumed::Suspended(Suspension {
            payload,
            continuation,
            ..
        }) = cont.resume(&mut guest.store, &[], &[tag]).unwrap()
        else {
            panic!("it suspends");
        };
        assert_eq!(payload[1].unwrap_v128().as_u128(), 2 << 64 | 1);
        guest.store.gc(None).unwrap();
        let Resumed::Returned(results) = continuation
            .resume(&mut guest.store, &payload, &[])
            .unwrap()
        else {
            panic!("it returns");
        };
        assert_eq!(results[1].unwrap_v128().as_u128(), 2 << 64 | 1);
        let field = guest.func("field");
        let mut seven = [Val::I32(0)];
        field
            .call(&mut guest.store, &results[..1], &mut seven)
            .unwrap();
        assert_eq!(seven[0].i32(), Some(7));
    }
}

#[test]
fn a_continuation_has_the_type_of_what_is_left_of_it() {
    let mut guest = Guest::new(&engines()[0]);
    let cont = guest.begin("twice", 1);
    let ty = cont.ty(&guest.store).unwrap();
    assert_eq!(
        ty.func_type().to_string(),
        "(func (param i32) (result i32))"
    );
    assert!(cont.matches_ty(&guest.store, &ty).unwrap());
    let value = Val::from(cont);
    let own = ValType::Ref(RefType::new(false, HeapType::ConcreteCont(ty)));
    assert_eq!(value.ty(&guest.store).unwrap().to_string(), own.to_string());
    assert!(value.matches_ty(&guest.store, &own).unwrap());
    assert!(value.matches_ty(&guest.store, &ValType::CONTREF).unwrap());
    assert!(
        !value
            .matches_ty(&guest.store, &ValType::NULLCONTREF)
            .unwrap()
    );
}

#[test]
fn tables_and_globals_take_continuations_of_their_type_only() {
    for engine in engines() {
        let mut guest = Guest::new(&engine);
        let four = Func::wrap(&mut guest.store, || 4i32);
        let right = cont_of(&mut guest.store, &four);
        let wrong = guest.cont("twice");
        let table = guest.instance.get_table(&mut guest.store, "table").unwrap();
        let global = guest
            .instance
            .get_global(&mut guest.store, "global")
            .unwrap();
        let refused = table
            .set(&mut guest.store, 0, Ref::from(wrong))
            .unwrap_err();
        assert!(refused.is::<TypeError>(), "{refused:?}");
        assert!(global.set(&mut guest.store, wrong.into()).is_err());
        table.set(&mut guest.store, 0, Ref::from(right)).unwrap();
        global.set(&mut guest.store, right.into()).unwrap();
        guest.store.gc(None).unwrap();
        let back = global.get(&mut guest.store);
        let back = *back.unwrap_contref().unwrap();
        assert!(Rooted::ref_eq(&guest.store, &back, &right).unwrap());
        let resume = guest.func("resume");
        let mut results = [Val::I32(0)];
        resume
            .call(&mut guest.store, &[Val::I32(0)], &mut results)
            .unwrap();
        assert_eq!(results[0].i32(), Some(4));
        let error = resume
            .call(&mut guest.store, &[Val::I32(0)], &mut results)
            .unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Trap::ContinuationConsumed));
        assert!(right.is_consumed(&mut guest.store).unwrap());

        // The host's own.
        let field = FieldType::new(Mutability::Var, ValType::CONTREF.into());
        let object = StructType::new(guest.store.engine(), [field]).unwrap();
        let object = StructRefPre::new(&mut guest.store, object);
        let object = StructRef::new(&mut guest.store, &object, &[wrong.into()]).unwrap();
        let kept = object.field(&mut guest.store, 0).unwrap();
        assert!(Rooted::ref_eq(&guest.store, kept.unwrap_contref().unwrap(), &wrong).unwrap());
        let ty = RefType::new(true, HeapType::Cont);
        let init = Ref::from(wrong);
        let own = Table::new(&mut guest.store, TableType::new(ty.clone(), 1, None), init).unwrap();
        let ty = GlobalType::new(ValType::Ref(ty), Mutability::Var);
        Global::new(&mut guest.store, ty, Val::null_cont_ref()).unwrap();
        let inside = own.get(&mut guest.store, 0).unwrap();
        let inside = *inside.unwrap_cont().unwrap();
        assert_eq!(suspended(guest.resume(inside, 6).unwrap()).0, 6);
    }
}

#[test]
fn continuations_are_passed_to_typed_host_functions() {
    let mut guest = Guest::new(&engines()[0]);
    let take = Func::wrap(
        &mut guest.store,
        |mut caller: sarsen::Caller<'_, ()>,
         cont: Option<Rooted<ContRef>>|
         -> sarsen::Result<i32> {
            let store: StoreContextMut<'_, ()> = sarsen::AsContextMut::as_context_mut(&mut caller);
            let resumed = cont.unwrap().resume(store, &[], &[])?;
            Ok(returned(resumed))
        },
    );
    let three = Func::wrap(&mut guest.store, || 3i32);
    let cont = cont_of(&mut guest.store, &three);
    let take = take
        .typed::<Option<Rooted<ContRef>>, i32>(&guest.store)
        .unwrap();
    assert_eq!(take.call(&mut guest.store, Some(cont)).unwrap(), 3);
}
