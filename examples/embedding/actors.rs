//! Actors: coroutines in WebAssembly, each with a mailbox, and a scheduler in Rust that runs those that have mail.

use sarsen::{Config, Engine, Instance, Module, Result, Resumed, RootScope, Store, Tag, TypedCont};
use std::collections::VecDeque;

/// An actor is a function that gets its own number, and has three effects: to wait for a message, to send one, and
/// to begin another actor.
///
/// Here each passes on what it gets, less one, to the next of a ring, until that is zero; then it stops, and so
/// do all others.
const GUEST: &str = r#"
(module
  (tag $receive (export "receive") (result i32))
  (tag $send (export "send") (param i32 i32))
  (tag $begin (export "begin") (result i32))
  (global $actors i32 (i32.const 5))
  (func (export "actor") (param $self i32) (result i32)
    (local $next i32) (local $message i32) (local $count i32)
    ;; Each begins the next one but the last, which closes the ring.
    (if (i32.lt_u (i32.add (local.get $self) (i32.const 1)) (global.get $actors))
      (then (local.set $next (suspend $begin))))
    (loop $again
      (local.set $message (suspend $receive))
      (if (i32.gt_s (local.get $message) (i32.const 0))
        (then
          (local.set $count (i32.add (local.get $count) (i32.const 1)))
          (suspend $send (local.get $next) (i32.sub (local.get $message) (i32.const 1)))
          (br $again))))
    (suspend $send (local.get $next) (i32.const 0))
    (local.get $count)))"#;

/// An actor as the scheduler knows it.
#[derive(Default)]
struct Actor {
    mailbox: VecDeque<i32>,
    /// Where it waits for a message; none while it runs, and when it has ended.
    waits: Option<TypedCont<i32, i32>>,
    /// What it has returned.
    result: Option<i32>,
}

struct Scheduler {
    store: Store<()>,
    instance: Instance,
    receive: Tag,
    send: Tag,
    begin: Tag,
    actors: Vec<Actor>,
    /// Those that wait and have mail.
    ready: VecDeque<usize>,
}

impl Scheduler {
    fn new() -> Result<Scheduler> {
        let engine = Engine::new(Config::new().wasm_stack_switching(true))?;
        let module = Module::new(&engine, GUEST)?;
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[])?;
        let mut tag = |name| instance.get_tag(&mut store, name).expect("it exports this");
        let (receive, send, begin) = (tag("receive"), tag("send"), tag("begin"));
        Ok(Scheduler {
            store,
            instance,
            receive,
            send,
            begin,
            actors: Vec::new(),
            ready: VecDeque::new(),
        })
    }

    /// Begins an actor, and runs it until it waits.
    fn spawn(&mut self) -> Result<usize> {
        let id = self.actors.len();
        self.actors.push(Actor::default());
        let actor = self
            .instance
            .get_func(&mut self.store, "actor")
            .expect("it exports this");
        let start = TypedCont::<i32, i32>::new(&mut self.store, &actor)?;
        self.run(id, start, id as i32)?;
        Ok(id)
    }

    fn post(&mut self, to: usize, message: i32) {
        let actor = &mut self.actors[to];
        actor.mailbox.push_back(message);
        if actor.mailbox.len() == 1 {
            self.ready.push_back(to);
        }
    }

    /// Runs an actor until it waits or ends. It began with a number, or waits for one.
    fn run(&mut self, id: usize, actor: TypedCont<i32, i32>, with: i32) -> Result<()> {
        let tags = [self.receive, self.send, self.begin];
        let mut scope = RootScope::new(&mut self.store);
        let mut resumed = actor.resume(&mut scope, with, &tags)?;
        loop {
            let suspension = match resumed {
                Resumed::Returned(result) => {
                    self.actors[id].result = Some(result);
                    return Ok(());
                }
                Resumed::Suspended(suspension) => suspension,
            };
            let rest = suspension.continuation;
            if suspension.is_with(&self.receive) {
                self.actors[id].waits = Some(rest.typed(&mut scope)?);
                return Ok(());
            }
            if suspension.is_with(&self.send) {
                let (to, message) = suspension.payload::<(i32, i32)>(&mut scope)?;
                let rest = rest.typed::<(), i32>(&mut scope)?;
                drop(scope);
                self.post(to as usize, message);
                scope = RootScope::new(&mut self.store);
                resumed = rest.resume(&mut scope, (), &tags)?;
            } else {
                let rest = rest.typed::<i32, i32>(&mut scope)?;
                drop(scope);
                let new = self.spawn()?;
                scope = RootScope::new(&mut self.store);
                resumed = rest.resume(&mut scope, new as i32, &tags)?;
            }
        }
    }

    /// Delivers messages until there are none, or nobody waits for them any more.
    fn run_all(&mut self) -> Result<()> {
        while let Some(id) = self.ready.pop_front() {
            let actor = &mut self.actors[id];
            let Some(rest) = actor.waits.take() else {
                continue;
            };
            let Some(message) = actor.mailbox.pop_front() else {
                continue;
            };
            if !actor.mailbox.is_empty() {
                self.ready.push_back(id);
            }
            self.run(id, rest, message)?;
        }
        Ok(())
    }
}

pub(crate) fn main() -> Result<()> {
    let mut scheduler = Scheduler::new()?;
    let first = scheduler.spawn()?;
    assert_eq!(scheduler.store.continuation_stacks(), 5);
    scheduler.post(first, 1002);
    scheduler.run_all()?;
    let passed: Vec<Option<i32>> = scheduler.actors.iter().map(|actor| actor.result).collect();
    println!("each has passed on so many messages: {passed:?}");
    assert_eq!(passed, [201, 201, 200, 200, 200].map(Some));
    assert_eq!(scheduler.store.continuation_stacks(), 0);
    Ok(())
}
