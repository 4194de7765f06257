//! Host functions that suspend the continuation that they are called on.

mod dropping;
mod futures;
mod misuse;
mod resuming;
mod standing;

use crate::asynchronous::{Alive, Pending, block_on};
use crate::host_continuations::{config, cont_of, engines};
use sarsen::{
    AsContextMut, Caller, ContRef, Engine, ExnRef, ExnRefPre, ExnType, Func, FuncType, HeapType,
    Instance, Module, OwnedRooted, OwnershipError, Result, Resumed, RootScope, Rooted, Store,
    StructRef, Suspend, Suspension, Tag, TagType, ThrownException, Trap, TypeError, TypedCont, Val,
    ValType, WasmBacktrace,
};

const GUEST: &str = r#"(module $guest
    (type $f (func (param i32) (result i32))) (type $k (cont $f))
    (type $g (func (result i32))) (type $kg (cont $g))
    (type $obj (struct (field i32)))
    (import "host" "wants" (tag $wants (param i32) (result i32)))
    (import "host" "swap" (tag $swap (param anyref) (result anyref)))
    (import "host" "failed" (tag $failed (param i32)))
    (import "host" "f" (func $host (param i32) (result i32)))
    (import "host" "swap" (func $host_swap (param anyref) (result anyref)))
    (elem declare func $two $keeping $two_inside)
    (export "failed" (tag $failed))

    ;; Calls the host twice.
    (func $two (export "two") (param $n i32) (result i32)
        (i32.add
            (i32.mul (i32.const 1000) (call $host (local.get $n)))
            (call $host (i32.add (local.get $n) (i32.const 1)))))
    ;; The same within a continuation of its own, which handles something else.
    (func $two_inside (export "nested") (param $n i32) (result i32)
        (block $h (result i32 (ref $kg))
            (return (i32.add (i32.const 1000000)
                (resume $k (on $failed $h) (local.get $n) (cont.new $k (ref.func $two))))))
        unreachable)
    ;; Handles it in WebAssembly: each time, the host is given ten times what it wants.
    (func (export "handle") (param $n i32) (result i32)
        (local $k (ref $k)) (local $given i32)
        (local.set $k (cont.new $k (ref.func $two_inside)))
        (local.set $given (local.get $n))
        (loop $again (result i32)
            (block $h (result i32 (ref $k))
                (return (resume $k (on $wants $h) (local.get $given) (local.get $k))))
            (local.set $k)
            (local.set $given (i32.mul (i32.const 10)))
            (br $again)))
    ;; What is in registers that belong to a caller is there after the call.
    (func $keeping (export "keeping") (param $n i32) (result i32)
        (local $a i64) (local $b i64) (local $c i64) (local $d i64) (local $e i64) (local $f i64)
        (local.set $a (i64.extend_i32_u (i32.mul (local.get $n) (i32.const 3))))
        (local.set $b (i64.extend_i32_u (i32.mul (local.get $n) (i32.const 5))))
        (local.set $c (i64.extend_i32_u (i32.mul (local.get $n) (i32.const 7))))
        (local.set $d (i64.extend_i32_u (i32.mul (local.get $n) (i32.const 11))))
        (local.set $e (i64.extend_i32_u (i32.mul (local.get $n) (i32.const 13))))
        (local.set $f (i64.extend_i32_u (i32.mul (local.get $n) (i32.const 17))))
        (local.set $n (call $host (local.get $n)))
        (i32.add (local.get $n)
            (i32.wrap_i64 (i64.add (i64.add (local.get $a) (local.get $b))
                (i64.add (i64.add (local.get $c) (local.get $d))
                    (i64.add (local.get $e) (local.get $f)))))))
    ;; Gives back what an exception carries that comes out of the host's function.
    (func (export "catch") (param $n i32) (result i32)
        (block $h (result i32)
            (try_table (catch $failed $h) (drop (call $host (local.get $n))))
            (i32.const -1)))
    ;; Gives the host an object, and reads what comes back, and its own.
    (func (export "objects") (param $n i32) (result i32)
        (local $own (ref $obj))
        (local.set $own (struct.new $obj (local.get $n)))
        (i32.add
            (struct.get $obj 0 (ref.cast (ref $obj) (call $host_swap (local.get $own))))
            (i32.mul (i32.const 100) (struct.get $obj 0 (local.get $own)))))
    (func (export "object") (param i32) (result anyref) (struct.new $obj (local.get 0)))
    (func (export "field") (param anyref) (result i32)
        (struct.get $obj 0 (ref.cast (ref $obj) (local.get 0)))))"#;

/// Which functions of the host's a guest has.
type MakeFunc = fn(&mut Store<u32>, Tags) -> Func;

#[derive(Clone, Copy)]
struct Tags {
    wants: Tag,
    swap: Tag,
    failed: Tag,
}

struct Guest {
    store: Store<u32>,
    instance: Instance,
    tags: Tags,
}

impl Guest {
    fn new(engine: &Engine, make: MakeFunc) -> Guest {
        let module = Module::new(engine, GUEST).unwrap();
        let mut store = Store::new(engine, 0);
        let mut tag = |params: &[ValType], results: &[ValType]| {
            let ty = FuncType::new(engine, params.to_vec(), results.to_vec());
            Tag::new(&mut store, &TagType::new(ty)).unwrap()
        };
        let tags = Tags {
            wants: tag(&[ValType::I32], &[ValType::I32]),
            swap: tag(&[ValType::ANYREF], &[ValType::ANYREF]),
            failed: tag(&[ValType::I32], &[]),
        };
        let func = make(&mut store, tags);
        let ty = FuncType::new(engine, [ValType::ANYREF], [ValType::ANYREF]);
        let swap = Func::new(&mut store, ty, move |_, args, _| {
            Err(Suspend::new(tags.swap, args.to_vec()).into())
        });
        let (wants, failed) = (tags.wants.into(), tags.failed.into());
        let imports = [wants, tags.swap.into(), failed, func.into(), swap.into()];
        let instance = Instance::new(&mut store, &module, &imports).unwrap();
        Guest {
            store,
            instance,
            tags,
        }
    }

    fn func(&mut self, name: &str) -> Func {
        self.instance.get_func(&mut self.store, name).unwrap()
    }

    fn cont(&mut self, name: &str) -> TypedCont<i32, i32> {
        let func = self.func(name);
        TypedCont::new(&mut self.store, &func).unwrap()
    }

    /// Resumes with a number; what is wanted then.
    fn step(&mut self, cont: TypedCont<i32, i32>, n: i32) -> Result<Step> {
        let resumed = cont.resume(&mut self.store, n, &[self.tags.wants])?;
        Ok(match resumed {
            Resumed::Returned(result) => Step::Returned(result),
            Resumed::Suspended(it) => {
                let wanted = it.payload(&mut self.store)?;
                Step::Wants(wanted, it.continuation.typed(&mut self.store)?)
            }
        })
    }

    /// Runs `name` with `n` until the host's function suspends.
    fn begin(&mut self, name: &str, n: i32) -> (i32, TypedCont<i32, i32>) {
        let cont = self.cont(name);
        self.step(cont, n).unwrap().wants()
    }

    fn call(&mut self, name: &str, n: i32) -> Result<i32> {
        let func = self.func(name).typed::<i32, i32>(&self.store)?;
        func.call(&mut self.store, n)
    }

    /// An exception to resume with.
    fn exception(&mut self, n: i32) -> Rooted<ExnRef> {
        exception(&mut self.store, &self.tags.failed, n).unwrap()
    }
}

fn exception(
    mut store: impl AsContextMut<Data = u32>,
    tag: &Tag,
    n: i32,
) -> Result<Rooted<ExnRef>> {
    let ty = ExnType::from_tag_type(tag.ty(&store))?;
    let allocator = ExnRefPre::new(&mut store, ty);
    ExnRef::new(&mut store, &allocator, tag, &[Val::I32(n)])
}

#[derive(Debug)]
enum Step {
    Returned(i32),
    Wants(i32, TypedCont<i32, i32>),
}

impl Step {
    fn wants(self) -> (i32, TypedCont<i32, i32>) {
        match self {
            Step::Wants(wanted, rest) => (wanted, rest),
            Step::Returned(result) => panic!("it has returned {result}"),
        }
    }

    fn returned(self) -> i32 {
        match self {
            Step::Returned(result) => result,
            Step::Wants(wanted, _) => panic!("it wants {wanted}"),
        }
    }
}

/// Suspends with what it gets.
fn plain(store: &mut Store<u32>, tags: Tags) -> Func {
    Func::wrap(store, move |n: i32| -> Result<i32> {
        Err(Suspend::new(tags.wants, [Val::I32(n)]).into())
    })
}

/// Suspends with what it gets, and returns twice what it is resumed with; counts that in the store.
fn doubling(store: &mut Store<u32>, tags: Tags) -> Func {
    Func::wrap(store, move |n: i32| -> Result<i32> {
        Err(Suspend::new(tags.wants, [Val::I32(n)])
            .on_resume(|mut caller: Caller<'_, u32>, (given,): (i32,)| {
                *caller.data_mut() += 1;
                2 * given
            })
            .into())
    })
}
