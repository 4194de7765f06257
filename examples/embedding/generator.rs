//! A generator in WebAssembly as a Rust iterator: each value that the guest yields is an item.

use anyhow::bail;
use sarsen::{
    Config, ContRef, ContType, Engine, Func, Instance, Module, OwnedRooted, Result, Resumed,
    RootScope, Store, Tag, Val,
};

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
    /// With what it is resumed the first time.
    arguments: Vec<Val>,
    yields: Tag,
    /// None after its end. Dropped half-way, it is garbage, with its stack.
    rest: Option<OwnedRooted<ContRef>>,
}

impl<'a> Generator<'a> {
    fn new(store: &'a mut Store<()>, func: &Func, arguments: &[Val], yields: Tag) -> Result<Self> {
        let ty = ContType::new(&func.ty(&*store))?;
        let mut scope = RootScope::new(&mut *store);
        let rest = ContRef::new(&mut scope, &ty, func)?.to_owned_rooted(&mut scope)?;
        drop(scope);
        Ok(Generator {
            store,
            arguments: arguments.to_vec(),
            yields,
            rest: Some(rest),
        })
    }

    fn step(&mut self) -> Result<Option<i32>> {
        let Some(rest) = self.rest.take() else {
            return Ok(None);
        };
        // Each step's references end with it.
        let mut scope = RootScope::new(&mut *self.store);
        let arguments = std::mem::take(&mut self.arguments);
        match rest.resume(&mut scope, &arguments, &[self.yields])? {
            Resumed::Suspended {
                payload,
                continuation,
                ..
            } => {
                self.rest = Some(continuation.to_owned_rooted(&mut scope)?);
                match payload[..] {
                    [Val::I32(item)] => Ok(Some(item)),
                    _ => bail!("the tag is for one number"),
                }
            }
            _ => Ok(None),
        }
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

    let all = Generator::new(&mut store, &primes, &[Val::I32(30)], yields)?;
    let all: Vec<i32> = all.collect::<Result<_>>()?;
    println!("all primes below 30: {all:?}");
    assert_eq!(all, [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]);

    // Nobody has to run it to its end.
    let few = Generator::new(&mut store, &primes, &[Val::I32(i32::MAX)], yields)?;
    let few: Vec<i32> = few.skip(100).take(3).collect::<Result<_>>()?;
    println!("some more: {few:?}");
    assert_eq!(few, [547, 557, 563]);
    store.gc(None)?;
    assert_eq!(store.continuation_stacks(), 0);
    Ok(())
}
