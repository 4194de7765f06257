//! Input that blocks the guest, and not the host: a function of the host's suspends whoever calls it, and an event
//! loop goes on with those for which something has come.
//!
//! Nothing in the guests knows of continuations: they call `read`, and it returns.

use anyhow::Context;
use sarsen::{
    Caller, Config, Engine, Extern, FuncType, Linker, Module, Result, Resumed, RootScope, Store,
    Suspend, Tag, TagType, TypedCont, Val, ValType,
};
use std::collections::{HashMap, VecDeque};

/// Counts the bytes that come by a channel, until there are no more.
const GUEST: &str = r#"
(module
  (import "host" "read"
    (func $read (param $channel i32) (param $into i32) (param $room i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "count") (param $channel i32) (result i32)
    (local $count i32) (local $read i32)
    (loop $again
      ;; Each guest has a buffer of its own.
      (local.set $read
        (call $read
          (local.get $channel) (i32.mul (local.get $channel) (i32.const 16)) (i32.const 16)))
      (local.set $count (i32.add (local.get $count) (local.get $read)))
      (br_if $again (local.get $read)))
    (local.get $count)))"#;

/// What has come by the channels, in the order of a clock that nobody has to wait for here.
#[derive(Default)]
struct Arrived {
    channels: HashMap<i32, VecDeque<u8>>,
}

/// `read`: suspends with the channel's number. When it is resumed, something has come, or never will.
fn read(wants: Tag) -> impl Fn(i32, u32, u32) -> Result<i32> + Send + Sync + 'static {
    move |channel, into, room| {
        // What it is about to do, the closure knows. Here, no frame of the host's stays.
        let when_resumed = move |mut caller: Caller<'_, Arrived>, (): ()| -> Result<i32> {
            let memory = caller.get_export("memory").and_then(Extern::into_memory);
            let memory = memory.context("the guest has a memory")?;
            let arrived = caller.data_mut().channels.entry(channel).or_default();
            let count = arrived.len().min(room as usize);
            let bytes: Vec<u8> = arrived.drain(..count).collect();
            memory.write(&mut caller, into as usize, &bytes)?;
            Ok(count as i32)
        };
        let suspend = Suspend::new(wants, [Val::I32(channel)]);
        Err(suspend.on_resume(when_resumed).into())
    }
}

pub(crate) fn main() -> Result<()> {
    let engine = Engine::new(Config::new().wasm_stack_switching(true))?;
    let module = Module::new(&engine, GUEST)?;
    let mut store = Store::new(&engine, Arrived::default());
    let ty = TagType::new(FuncType::new(&engine, [ValType::I32], []));
    let wants = Tag::new(&mut store, &ty)?;
    let mut linker = Linker::new(&engine);
    linker.func_wrap("host", "read", read(wants))?;
    let instance = linker.instantiate(&mut store, &module)?;
    let count = instance
        .get_func(&mut store, "count")
        .context("it exports this")?;

    // Three guests begin, and each runs until it wants to read.
    let mut waiting: HashMap<i32, TypedCont<(), i32>> = HashMap::new();
    for channel in 0..3 {
        let guest = TypedCont::<i32, i32>::new(&mut store, &count)?;
        let mut scope = RootScope::new(&mut store);
        let Resumed::Suspended(it) = guest.resume(&mut scope, channel, &[wants])? else {
            anyhow::bail!("it reads first");
        };
        let wanted = it.payload::<i32>(&mut scope)?;
        waiting.insert(wanted, it.continuation.typed(&mut scope)?);
    }

    // Something comes for this one and that one; an empty message ends a channel.
    let events: [(i32, &[u8]); 6] = [
        (1, b"hello"),
        (0, b"a message that is longer than the buffer"),
        (1, b" world"),
        (2, b""),
        (1, b""),
        (0, b""),
    ];
    let mut counts = HashMap::new();
    for (channel, bytes) in events {
        let arrived = store.data_mut().channels.entry(channel).or_default();
        arrived.extend(bytes);
        // The guest goes on until it wants more than there is.
        while let Some(guest) = waiting.remove(&channel) {
            let mut scope = RootScope::new(&mut store);
            match guest.resume(&mut scope, (), &[wants])? {
                Resumed::Returned(count) => {
                    println!("channel {channel} has had {count} bytes");
                    counts.insert(channel, count);
                }
                Resumed::Suspended(it) => {
                    waiting.insert(channel, it.continuation.typed(&mut scope)?);
                }
            }
            drop(scope);
            if store.data().channels[&channel].is_empty() {
                break;
            }
        }
    }
    assert_eq!(counts, HashMap::from([(0, 40), (1, 11), (2, 0)]));
    assert_eq!(store.continuation_stacks(), 0);
    Ok(())
}
