//! A generator in WebAssembly as a Rust iterator: each value that the guest yields is an item.

use sarsen::{
    Config, Engine, Func, Instance, Module, Result, Resumed, RootScope, Store, Tag, TypedCont,
};
use std::mem;

/// Yields the prime numbers below a limit.
const GUEST: &str = r#"
(module
  (tag $yield (export "yield") (param i32))
  (func $is_prime (param $n i32) (result i32)
    (local $d i32)
    (local.set $d (i32.const 2))
    (loop $next
      (if (i32.gt_u (i32.mul (local.get $d) (local.get $d)) (local.get $n))
        (then (return (i32.const 1))))
      (if (i32.eqz (i32.rem_u (local.get $n) (local.get $d)))
        (then (return (i32.const 0))))
      (local.set $d (i32.add (local.get $d) (i32.const 1)))
      (br $next))
    (unreachable))
  (func (export "primes") (param $limit i32)
    (local $n i32)
    (local.set $n (i32.const 2))
    (loop $next
      (if (i32.lt_u (local.get $n) (local.get $limit))
        (then
          (if (call $is_prime (local.get $n))
            (then (suspend $yield (local.get $n))))
          (local.set $n (i32.add (local.get $n) (i32.const 1)))
          (br $next))))))"#;

/// What is left of a guest's generator, in the store that it lives in.
struct Generator<'a> {
    store: &'a mut Store<()>,
    yields: Tag,
    rest: Rest,
}

/// A continuation is resumed with what its function takes, and then with nothing.
enum Rest {
    Begins(TypedCont<i32, ()>, i32),
    Goes(TypedCont<(), ()>),
    Ended,
}

impl<'a> Generator<'a> {
    fn new(store: &'a mut Store<()>, func: &Func, limit: i32, yields: Tag) -> Result<Self> {
        let rest = Rest::Begins(TypedCont::new(&mut *store, func)?, limit);
        Ok(Generator {
            store,
            yields,
            rest,
        })
    }

    fn step(&mut self) -> Result<Option<i32>> {
        // Each step's references end with it.
        let mut scope = RootScope::new(&mut *self.store);
        let tags = &[self.yields];
        // Dropped half-way, a continuation is garbage, with its stack.
        let resumed = match mem::replace(&mut self.rest, Rest::Ended) {
            Rest::Begins(cont, limit) => cont.resume(&mut scope, limit, tags)?,
            Rest::Goes(cont) => cont.resume(&mut scope, (), tags)?,
            Rest::Ended => return Ok(None),
        };
        let Resumed::Suspended(suspension) = resumed else {
            return Ok(None);
        };
        self.rest = Rest::Goes(suspension.continuation.typed(&mut scope)?);
        Ok(Some(suspension.payload(&mut scope)?))
    }
}

impl Iterator for Generator<'_> {
    type Item = Result<i32>;

    fn next(&mut self) -> Option<Result<i32>> {
        self.step().transpose()
    }
}

pub(crate) fn main() -> Result<()> {
    let engine = Engine::new(Config::new().wasm_stack_switching(true))?;
    let module = Module::new(&engine, GUEST)?;
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[])?;
    let primes = instance
        .get_func(&mut store, "primes")
        .expect("it exports this");
    let yields = instance
        .get_tag(&mut store, "yield")
        .expect("it exports this");

    let all = Generator::new(&mut store, &primes, 30, yields)?;
    let all: Vec<i32> = all.collect::<Result<_>>()?;
    println!("all primes below 30: {all:?}");
    assert_eq!(all, [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]);

    // Nobody has to run it to its end.
    let few = Generator::new(&mut store, &primes, i32::MAX, yields)?;
    let few: Vec<i32> = few.skip(100).take(3).collect::<Result<_>>()?;
    println!("some more: {few:?}");
    assert_eq!(few, [547, 557, 563]);
    store.gc(None)?;
    assert_eq!(store.continuation_stacks(), 0);
    Ok(())
}
