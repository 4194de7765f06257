//! Continuations that the host makes, resumes and drops.

mod asynchronous;
mod binding;
mod forged;
mod lifetime;
mod resuming;
mod throwing;
mod typed;
mod values;

use sarsen::{
    Config, ConsumedError, ContRef, ContType, Engine, ExnRef, ExnRefPre, ExnType, FieldType, Func,
    FuncType, Global, GlobalType, HeapType, Instance, Module, Mutability, OwnedRooted,
    OwnershipError, Ref, RefType, Resumed, RootScope, Rooted, Store, StoreContextMut, StructRef,
    StructRefPre, StructType, Suspension, Table, TableType, Tag, ThrownException, Trap, TypeError,
    UnrootedError, Val, ValType, WasmBacktrace,
};
use std::num::NonZeroU32;

pub(super) fn config() -> Config {
    let mut config = Config::new();
    config.wasm_stack_switching(true);
    config
}

/// One as it is, and one that collects at every allocation.
pub(super) fn engines() -> [Engine; 2] {
    let mut zealous = config();
    zealous.gc_zeal(Some(NonZeroU32::MIN));
    [config(), zealous].map(|config| Engine::new(&config).unwrap())
}

const GUEST: &str = r#"(module $guest
    (type $f (func (param i32) (result i32))) (type $k (cont $f))
    (type $g (func (result i32))) (type $kg (cont $g))
    (type $obj (struct (field i32)))
    (tag $yield (export "yield") (param i32) (result i32))
    (tag $other (export "other"))
    (tag $failed (export "failed") (param i32))
    (tag $refs (export "swap") (param anyref v128) (result anyref v128))
    (table $t (export "table") 4 (ref null $kg))
    (global (export "global") (mut (ref null $kg)) (ref.null $kg))
    (elem declare func $inner)

    ;; Yields the parameter, then the sum of all answers; returns it.
    (func $twice (export "twice") (param $n i32) (result i32)
        (local.set $n (i32.add (local.get $n) (suspend $yield (local.get $n))))
        (i32.add (local.get $n) (suspend $yield (local.get $n))))
    (func (export "trap") (param i32) (result i32)
        (drop (suspend $yield (local.get 0)))
        unreachable)
    (func (export "throw") (param i32) (result i32)
        (throw $failed (suspend $yield (local.get 0))))
    (func (export "unhandled") (param i32) (result i32)
        (suspend $other) (local.get 0))
    ;; Gives back what an exception carries that it is resumed with.
    (func (export "catch") (param i32) (result i32)
        (block $h (result i32)
            (try_table (catch $failed $h) (drop (suspend $yield (local.get 0))))
            (i32.const -1)))
    (func (export "catch and yield") (param i32) (result i32)
        (block $h (result i32)
            (try_table (catch $failed $h) (drop (suspend $yield (local.get 0))))
            (i32.const -1))
        (suspend $yield))
    (func $recurse (export "recurse") (param i32) (result i32)
        (i32.add (i32.const 1) (call $recurse (local.get 0))))
    (func (export "refs") (result anyref v128)
        (suspend $refs (struct.new $obj (i32.const 7)) (v128.const i64x2 1 2)))
    (func (export "field") (param anyref) (result i32)
        (struct.get $obj 0 (ref.cast (ref $obj) (local.get 0))))

    ;; Suspends from within a continuation of its own.
    (func $leaf (param i32) (result i32) (suspend $yield (local.get 0)))
    (func $inner (type $f) (i32.add (i32.const 1) (call $leaf (local.get 0))))
    (func $middle (param i32) (result i32)
        (block $h (result (ref $kg))
            (return (resume $k (on $other $h) (local.get 0) (cont.new $k (ref.func $inner)))))
        unreachable)
    (func (export "nested") (param i32) (result i32)
        (i32.add (i32.const 100) (call $middle (local.get 0))))

    ;; Resumes what the host has put into the table.
    (func (export "resume") (param i32) (result i32)
        (resume $kg (table.get $t (local.get 0)))))"#;

struct Guest {
    store: Store<()>,
    instance: Instance,
}

impl Guest {
    fn new(engine: &Engine) -> Guest {
        let module = Module::new(engine, GUEST).unwrap();
        let mut store = Store::new(engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        Guest { store, instance }
    }

    fn func(&mut self, name: &str) -> Func {
        self.instance.get_func(&mut self.store, name).unwrap()
    }

    fn tag(&mut self, name: &str) -> Tag {
        self.instance.get_tag(&mut self.store, name).unwrap()
    }

    fn cont(&mut self, name: &str) -> Rooted<ContRef> {
        let func = self.func(name);
        cont_of(&mut self.store, &func)
    }

    /// Begins `name` with `n`, which yields `n` first.
    fn begin(&mut self, name: &str, n: i32) -> Rooted<ContRef> {
        let tag = self.tag("yield");
        let cont = self.cont(name);
        let resumed = cont.resume(&mut self.store, &[Val::I32(n)], &[tag]);
        let (value, cont) = suspended(resumed.unwrap());
        assert_eq!(value, n);
        cont
    }

    /// An exception with the tag `failed`.
    fn exception(&mut self, n: i32) -> Rooted<ExnRef> {
        let tag = self.tag("failed");
        let ty = ExnType::from_tag_type(tag.ty(&self.store)).unwrap();
        let allocator = ExnRefPre::new(&mut self.store, ty);
        ExnRef::new(&mut self.store, &allocator, &tag, &[Val::I32(n)]).unwrap()
    }

    fn resume(&mut self, cont: Rooted<ContRef>, n: i32) -> sarsen::Result<Resumed> {
        let tag = self.tag("yield");
        cont.resume(&mut self.store, &[Val::I32(n)], &[tag])
    }
}

pub(super) fn cont_of<T>(store: &mut Store<T>, func: &Func) -> Rooted<ContRef> {
    let ty = ContType::new(&func.ty(&mut *store)).unwrap();
    ContRef::new(store, &ty, func).unwrap()
}

fn suspended(resumed: Resumed) -> (i32, Rooted<ContRef>) {
    match resumed {
        Resumed::Suspended(it) => (it.payload[0].unwrap_i32(), it.continuation),
        other => panic!("it is not suspended: {other:?}"),
    }
}

fn returned(resumed: Resumed) -> i32 {
    match resumed {
        Resumed::Returned(results) => results[0].unwrap_i32(),
        other => panic!("it has not returned: {other:?}"),
    }
}
