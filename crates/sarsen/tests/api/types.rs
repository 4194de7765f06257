//! Types as the host sees them.

use crate::{instance, instance_in};
use sarsen::{Config, Engine, FuncType, HeapType, RefType, Store, Val, ValType};

#[test]
fn types_match_as_the_specification_says() {
    let engine = Engine::default();
    let unit = FuncType::new(&engine, [], []);
    let concrete =
        |nullable| ValType::Ref(RefType::new(nullable, HeapType::ConcreteFunc(unit.clone())));
    assert!(concrete(true).matches(&ValType::FUNCREF));
    assert!(concrete(false).matches(&concrete(true)));
    assert!(!concrete(true).matches(&concrete(false)));
    assert!(!ValType::FUNCREF.matches(&concrete(true)));
    assert!(ValType::NULLFUNCREF.matches(&concrete(true)));
    assert!(!ValType::EXTERNREF.matches(&ValType::FUNCREF));
    assert!(!ValType::I32.matches(&ValType::I64));
    let other = FuncType::new(&Engine::default(), [], []);
    let other = ValType::Ref(RefType::new(true, HeapType::ConcreteFunc(other)));
    assert!(!other.matches(&concrete(true)), "of another engine");
    assert!(other.matches(&ValType::FUNCREF));
}

#[test]
fn a_type_that_names_one_of_another_engine_is_refused() {
    let other = FuncType::new(&Engine::default(), [], []);
    let foreign = ValType::Ref(RefType::new(true, HeapType::ConcreteFunc(other)));
    let engine = Engine::default();
    assert!(FuncType::try_new(&engine, [foreign.clone()], []).is_err());
    assert!(FuncType::try_new(&engine, [], [foreign]).is_err());
}

#[test]
fn values_tell_their_types() {
    let (mut store, instance) = instance(r#"(module (func (export "f") (param i32)))"#);
    let f = instance.get_func(&mut store, "f").unwrap();
    let ty = Val::from(f).ty(&store).unwrap();
    assert_eq!(ty.to_string(), "(ref (func (param i32)))");
    assert!(Val::from(f).matches_ty(&store, &ValType::FUNCREF).unwrap());
    assert!(
        !Val::from(f)
            .matches_ty(&store, &ValType::EXTERNREF)
            .unwrap()
    );
    assert_eq!(Val::from(1.5f32).ty(&store).unwrap(), ValType::F32);
    let null = Val::null_ref(&HeapType::Extern);
    assert!(null.matches_ty(&store, &ValType::EXTERNREF).unwrap());
    let other = Store::new(store.engine(), ());
    assert!(Val::from(f).ty(&other).is_err());
}

#[test]
fn recursive_types_are_written_with_an_end() {
    let mut config = Config::new();
    config.wasm_gc(true);
    let (mut store, instance) = instance_in(
        &Engine::new(&config).unwrap(),
        r#"(module
             (rec (type $t (func (param (ref null $t)))))
             (func (export "f") (type $t)))"#,
    );
    let f = instance.get_func(&mut store, "f").unwrap();
    assert!(
        f.ty(&store)
            .to_string()
            .starts_with("(func (param (ref null ")
    );
    let param = f.ty(&store).param(0).unwrap();
    assert!(param.to_string().len() < 100);
    f.call(&mut store, &[f.into()], &mut []).unwrap();
}
