//! How long continuations and their stacks are there, and how many a store may have.

use super::*;
use crate::asynchronous::{Alive, block_on};
use sarsen::{ExternRef, ResourceLimiter, Result, StoreLimitsBuilder};

#[test]
fn a_handle_ends_with_its_scope_unless_it_is_owned() {
    let mut guest = Guest::new(&engines()[1]);
    let func = guest.func("twice");
    let (lost, kept): (Rooted<ContRef>, OwnedRooted<ContRef>) = {
        let mut scope = RootScope::new(&mut guest.store);
        let ty = ContType::new(&func.ty(&scope)).unwrap();
        let lost = ContRef::new(&mut scope, &ty, &func).unwrap();
        let kept = lost.to_owned_rooted(&mut scope).unwrap();
        (lost, kept)
    };
    assert!(guest.resume(lost, 1).unwrap_err().is::<UnrootedError>());
    guest.store.gc(None).unwrap();
    let resumed = kept.resume(&mut guest.store, &[Val::I32(1)], &[]);
    assert_eq!(
        resumed.unwrap_err().downcast_ref(),
        Some(&Trap::UnhandledTag)
    );
}

#[test]
fn stacks_come_back_of_what_is_discarded_or_forgotten_half_way() {
    let engine = &engines()[0];
    let mut guest = Guest::new(engine);
    let cont = guest.begin("nested", 1);
    assert_eq!(guest.store.continuation_stacks(), 2);
    cont.discard(&mut guest.store).unwrap();
    assert_eq!(guest.store.continuation_stacks(), 0);
    let fresh = guest.cont("twice");
    fresh.discard(&mut guest.store).unwrap();
    assert!(guest.resume(fresh, 1).unwrap_err().is::<ConsumedError>());

    let cont = guest
        .begin("nested", 1)
        .to_owned_rooted(&mut guest.store)
        .unwrap();
    let func = guest.func("nested");
    let tag = guest.tag("yield");
    {
        let mut scope = RootScope::new(&mut guest.store);
        let ty = ContType::new(&func.ty(&scope)).unwrap();
        for _ in 0..50 {
            let cont = ContRef::new(&mut scope, &ty, &func).unwrap();
            cont.resume(&mut scope, &[Val::I32(1)], &[tag]).unwrap();
        }
    }
    guest.store.gc(None).unwrap();
    // Every continuation of `begin` is rooted in the store.
    assert_eq!(guest.store.continuation_stacks(), 2);
    let resumed = cont
        .resume(&mut guest.store, &[Val::I32(5)], &[tag])
        .unwrap();
    assert_eq!(returned(resumed), 106);
    assert_eq!(guest.store.continuation_stacks(), 0);
    guest.begin("nested", 1);
    drop(guest);
    assert_eq!(engine.continuation_stacks().in_use, 0);
}

#[test]
fn very_many_handles_made_and_dropped_take_no_more_and_more() {
    let engine = &engines()[0];
    let mut guest = Guest::new(engine);
    let func = guest.func("twice");
    let tag = guest.tag("yield");
    let ty = ContType::new(&func.ty(&guest.store)).unwrap();
    let count = if cfg!(debug_assertions) {
        100_000
    } else {
        1_000_000
    };
    let mut kept = None;
    for i in 0..count {
        let mut scope = RootScope::new(&mut guest.store);
        let cont = ContRef::new(&mut scope, &ty, &func).unwrap();
        // A third each: never begun, forgotten half-way, discarded.
        if i % 3 > 0 {
            let resumed = cont.resume(&mut scope, &[Val::I32(i)], &[tag]).unwrap();
            let (value, cont) = suspended(resumed);
            assert_eq!(value, i);
            if i % 3 == 1 {
                kept = Some(cont.to_owned_rooted(&mut scope).unwrap());
            } else {
                cont.discard(&mut scope).unwrap();
            }
        }
    }
    drop(kept);
    let counts = engine.continuation_stacks();
    assert!(counts.in_use + counts.idle < 30_000, "{counts:?}");
    assert!(guest.store.gc_heap_capacity() < 64 << 20);
    guest.store.gc(None).unwrap();
    assert_eq!(guest.store.continuation_stacks(), 0);
}

#[test]
fn a_store_has_no_more_stacks_than_its_limiter_allows() {
    let engine = &engines()[0];
    let module = Module::new(engine, GUEST).unwrap();
    let limits = StoreLimitsBuilder::new().stacks(5).build();
    let mut store = Store::new(engine, limits);
    store.limiter(|limits| limits);
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let func = instance.get_func(&mut store, "twice").unwrap();
    let tag = instance.get_tag(&mut store, "yield").unwrap();
    let mut begin = || {
        let cont = cont_of(&mut store, &func);
        let resumed = cont.resume(&mut store, &[Val::I32(1)], &[tag]);
        resumed.map(|resumed| suspended(resumed).1)
    };
    let mut conts: Vec<_> = (0..5).map(|_| begin().unwrap()).collect();
    let error = begin().unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::OutOfStacks));
    // One that has ended is used again.
    let last = conts.pop().unwrap();
    last.discard(&mut store).unwrap();
    let cont = cont_of(&mut store, &func);
    let resumed = cont.resume(&mut store, &[Val::I32(1)], &[tag]).unwrap();
    assert_eq!(suspended(resumed).0, 1);

    // Asynchronous calls count.
    let call = func.typed::<i32, i32>(&store).unwrap();
    let error = block_on(call.call_async(&mut store, 1)).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::OutOfStacks));
    let mut other = Store::new(engine, StoreLimitsBuilder::new().stacks(1).build());
    other.limiter(|limits| limits);
    let three = Func::wrap(&mut other, || 3i32);
    let three = three.typed::<(), i32>(&other).unwrap();
    for _ in 0..3 {
        assert_eq!(block_on(three.call_async(&mut other, ())).unwrap(), 3);
    }
}

#[test]
fn a_limiters_error_about_stacks_stops_webassembly_with_that_error() {
    struct Refuses(Vec<(usize, usize)>);
    impl ResourceLimiter for Refuses {
        fn memory_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool> {
            Ok(true)
        }
        fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool> {
            Ok(true)
        }
        fn stacks_growing(&mut self, current: usize, desired: usize) -> Result<bool> {
            self.0.push((current, desired));
            if desired > 1 {
                sarsen::bail!("one is enough");
            }
            Ok(true)
        }
    }
    let engine = &engines()[0];
    let module = Module::new(engine, GUEST).unwrap();
    let mut store = Store::new(engine, Refuses(Vec::new()));
    store.limiter(|limits| limits);
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    // It begins another continuation within its own.
    let func = instance.get_func(&mut store, "nested").unwrap();
    let cont = cont_of(&mut store, &func);
    let error = cont.resume(&mut store, &[Val::I32(1)], &[]).unwrap_err();
    assert_eq!(error.root_cause().to_string(), "one is enough");
    assert_eq!(store.data().0, [(0, 1), (1, 2)]);
    assert_eq!(store.continuation_stacks(), 0);
    let error = cont.resume(&mut store, &[Val::I32(1)], &[]).unwrap_err();
    assert!(error.is::<ConsumedError>());
}

#[test]
fn the_arguments_of_a_resumption_die_when_a_limiter_has_panicked_about_its_stack() {
    struct Panics;
    impl ResourceLimiter for Panics {
        fn memory_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool> {
            Ok(true)
        }
        fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool> {
            Ok(true)
        }
        fn stacks_growing(&mut self, _: usize, _: usize) -> Result<bool> {
            panic!("no stacks")
        }
    }
    let alive = Alive::default();
    let mut store = Store::new(&engines()[0], Panics);
    store.limiter(|limits| limits);
    let func = Func::wrap(&mut store, |_: Option<Rooted<ExternRef>>| {});
    let cont = cont_of(&mut store, &func);
    {
        let mut scope = RootScope::new(&mut store);
        let object = ExternRef::new(&mut scope, alive.one()).unwrap();
        let args = [Val::ExternRef(Some(object))];
        let resume = || drop(cont.resume(&mut scope, &args, &[]));
        let payload = std::panic::catch_unwind(std::panic::AssertUnwindSafe(resume)).unwrap_err();
        assert_eq!(payload.downcast_ref(), Some(&"no stacks"));
    }
    assert!(!cont.is_consumed(&mut store).unwrap());
    store.gc(None).unwrap();
    assert_eq!(alive.count(), 0);
}
