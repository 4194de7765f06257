//! Random programs that make continuations, resume, suspend, switch, throw, catch and trap in every way,
//! against a machine of our own.
//!
//! `program` is their language, `generate` makes them, `text` is what they are in WebAssembly, `host` what some
//! of their functions are in Rust, and `machine` executes them with continuations that are plain data. Both must
//! end in the same way, tell the host the same in the same order, and leave what the next call finds.
//!
//! The same programs always run. `SARSEN_CONTROL_PROGRAMS` asks for another number of them, and
//! `SARSEN_CONTROL_SEED` for other ones.

mod generate;
mod host;
mod machine;
mod program;
mod shrink;
mod text;

use host::{Host, World};
use machine::{Counts, Exception, Failure, Machine, Outcome, Value};
use program::{Call, FUNCTIONS, GUESTS, INSTANCES, Kind, MAINS, Program, TAGS, Ty};
use sarsen::{
    AsContextMut, Caller, Config, Engine, Error, FuncType, Global, GlobalType, Instance, Linker,
    Module, Mutability, OptLevel, Ref, RefType, RootScope, Store, Table, TableType, Tag, TagType,
    ThrownException, Trap, Val, ValType, WasmBacktrace,
};
use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// Functions and turns of loops until a call of the host's ends.
const FUEL: i32 = 80;
/// Calls of each function that the host calls, in each instance.
const ROUNDS: usize = 8;

fn from_environment(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(value) => value.parse().unwrap_or_else(|_| panic!("{name}: {value}")),
        Err(_) => default,
    }
}

/// Each function where everything begins, in each instance, in turns.
fn calls(program: &Program) -> impl Iterator<Item = Call> {
    let waits = program.waits.contains(&true);
    (0..ROUNDS * INSTANCES * MAINS.len()).map(move |number| {
        let round = number / (INSTANCES * MAINS.len());
        let function = MAINS[number / INSTANCES % MAINS.len()];
        // Mostly such that functions may wait that want to.
        let is_async = if waits { round != 5 } else { round % 3 == 1 };
        let can_wait = is_async || !program.waits[function];
        let is_impatient = is_async && round % 3 == 1;
        Call {
            number,
            instance: number % INSTANCES,
            function,
            is_async,
            patience: if is_impatient { number % 3 } else { usize::MAX },
            is_plain: function >= GUESTS && can_wait && round.is_multiple_of(2),
        }
    })
}

/// What a future gives, or nothing if it is dropped because it waits more often.
fn block_on<F: Future>(future: F, patience: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..=patience {
        let polled = future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        if let Poll::Ready(output) = polled {
            return Some(output);
        }
    }
    None
}

/// A program in a store.
struct Guest {
    store: Store<Host>,
    instances: Vec<Instance>,
    world: Arc<World>,
}

impl Guest {
    fn new(engine: &Engine, program: &Arc<Program>, text: &str) -> sarsen::Result<Guest> {
        let module = Module::new(engine, text)?;
        let mut store = Store::new(engine, Host::new(program.clone()));
        let mut linker = Linker::new(engine);
        linker.func_wrap("", "log", |mut caller: Caller<'_, Host>, number: i32| {
            caller.data_mut().log.push(number);
        })?;
        linker.func_wrap("", "gc", |mut caller: Caller<'_, Host>| caller.gc(None))?;
        for import in module.imports() {
            // The types are the module's: they refer to one another.
            if let (Some(ty), Some(function)) =
                (import.ty().func(), import.name().strip_prefix('f'))
            {
                let function = function.parse().expect("a function of the program");
                let waits = program.waits[function];
                let func = host::func(&mut store, ty.clone(), function, waits);
                linker.define(&store, "", import.name(), func)?;
            }
        }
        let size = (INSTANCES * FUNCTIONS.len()) as u32;
        let ty = TableType::new(RefType::FUNCREF, size, None);
        let functions = Table::new(&mut store, ty, Ref::Func(None))?;
        linker.define(&store, "", "functions", functions)?;
        let mut number = |name| -> sarsen::Result<Global> {
            let ty = GlobalType::new(ValType::I32, Mutability::Var);
            let global = Global::new(&mut store, ty, Val::I32(0))?;
            linker.define(&store, "", name, global)?;
            Ok(global)
        };
        let (fuel, input) = (number("fuel")?, number("input")?);
        let imported = imported_tags(&mut store, program)?;
        for (number, tag) in &imported {
            linker.define(&store, "", &format!("t{number}"), *tag)?;
        }
        linker.allow_shadowing(true);
        let mut instances = Vec::new();
        for instance in 0..INSTANCES {
            let base = GlobalType::new(ValType::I32, Mutability::Const);
            let base = Global::new(
                &mut store,
                base,
                Val::I32((instance * FUNCTIONS.len()) as i32),
            )?;
            linker.define(&store, "", "base", base)?;
            instances.push(linker.instantiate(&mut store, &module)?);
        }
        let mut tags = Vec::new();
        for number in 0..TAGS.len() {
            let imported = imported.iter().find(|tag| tag.0 == number);
            let tag = imported.map(|tag| tag.1);
            let own = || instances[0].get_tag(&mut store, &format!("t{number}"));
            tags.push(tag.or_else(own).expect("it is imported or exported"));
        }
        let conts = Kind::ALL.map(|kind| kind as usize);
        let tables = conts.map(|kind| instances[0].get_table(&mut store, &format!("s{kind}")));
        let tables = tables.map(|table| table.expect("it is exported"));
        let cells = conts.map(|kind| instances[1].get_global(&mut store, &format!("g{kind}")));
        let conts = tables.map(|table| {
            let ty = table.ty(&store);
            ty.element().heap_type().unwrap_concrete_cont().clone()
        });
        let object = tags[5].ty(&store).ty().param(0).expect("an object");
        let world = Arc::new(World {
            functions,
            fuel,
            input,
            object: object
                .unwrap_ref()
                .heap_type()
                .unwrap_concrete_struct()
                .clone(),
            tags,
            conts: conts.into(),
            tables: tables.into(),
            cells: cells.map(|global| global.expect("it is exported")).into(),
        });
        store.data_mut().world = Some(world.clone());
        Ok(Guest {
            store,
            instances,
            world,
        })
    }

    /// Nothing comes of a future that is dropped.
    fn call(&mut self, program: &Program, call: &Call) -> Option<Result<i32, Error>> {
        let mut scope = RootScope::new(&mut self.store);
        if call.is_plain {
            let waits = program.waits[call.function];
            let called = host::call(scope.as_context_mut(), call.function, waits, &[]);
            return block_on(called, call.patience);
        }
        let index = program::table_index(call.instance, call.function) as u64;
        let func = self
            .world
            .functions
            .get(&mut scope, index)
            .expect("it is as large");
        let func = *func.unwrap_func().expect("all elements are functions");
        let mut results = [Val::I32(0)];
        let called = match call.is_async {
            true => block_on(
                func.call_async(&mut scope, &[], &mut results),
                call.patience,
            )?,
            false => func.call(&mut scope, &[], &mut results),
        };
        Some(called.map(|()| results[0].unwrap_i32()))
    }

    /// The stacks that are left when everything that is unreachable is gone.
    fn collect(&mut self) -> usize {
        loop {
            let before = self.store.continuation_stacks();
            self.store.gc(None).expect("there is a heap");
            if self.store.continuation_stacks() == before {
                return before;
            }
        }
    }

    /// Whether the exception that was thrown is the one that is expected.
    fn check(&mut self, expected: &Exception) -> Result<(), String> {
        // It keeps what it carries alive, as long as its handle is there.
        let mut scope = RootScope::new(&mut self.store);
        let Some(thrown) = scope.as_context_mut().take_pending_exception() else {
            return Err("no exception is pending".to_owned());
        };
        let (instance, number) = expected.tag;
        let tag = match instance {
            Some(instance) => {
                let tag = self.instances[instance].get_tag(&mut scope, &format!("t{number}"));
                tag.expect("it is exported")
            }
            None => self.world.tags[number],
        };
        let found = thrown.tag(&mut scope).map_err(|e| e.to_string())?;
        if !Tag::eq(&found, &tag, &scope) {
            return Err("another tag".to_owned());
        }
        for (index, value) in expected.values.iter().enumerate() {
            let found = thrown.field(&mut scope, index).map_err(|e| e.to_string())?;
            let same = match value {
                Value::Number(number) => found.i32() == Some(*number),
                Value::Object(object) => {
                    matches!(found, Val::AnyRef(any) if any.is_some() == object.is_some())
                }
                Value::Cont(_, cont) => {
                    matches!(found, Val::ContRef(found) if found.is_some() == cont.is_some())
                }
            };
            if !same {
                return Err(format!("{found:?} in place of {value:?}"));
            }
        }
        Ok(())
    }
}

/// The tags that all instances have in common, by their numbers.
fn imported_tags(store: &mut Store<Host>, program: &Program) -> sarsen::Result<Vec<(usize, Tag)>> {
    let mut imported: Vec<(usize, Tag)> = Vec::new();
    for (number, declared) in TAGS.iter().enumerate() {
        if !declared.is_imported {
            continue;
        }
        let tag = match imported.iter().find(|tag| tag.0 == 1) {
            Some((_, tag)) if number == 2 && program.is_one_tag => *tag,
            _ => {
                let numbers = |types: &[Ty]| vec![ValType::I32; types.len()];
                let (params, results) = (declared.params, declared.resumed.params());
                let ty = FuncType::new(store.engine(), numbers(params), numbers(results));
                Tag::new(&mut *store, &TagType::new(ty))?
            }
        };
        imported.push((number, tag));
    }
    Ok(imported)
}

/// Runs the program of a seed in both, and compares. Adds up what happened.
fn compare(engine: &Engine, seed: u64, counts: &mut Counts) {
    let program = Arc::new(generate::program(seed));
    let Err(first) = difference(engine, &program, counts) else {
        return;
    };
    let program = shrink::shrink(program, |program| {
        difference(engine, program, &mut Counts::new()).is_err()
    });
    let left = difference(engine, &program, &mut Counts::new());
    let (text, host) = (text::module(&program), &program.functions[GUESTS..]);
    panic!("program {seed}: {first}\nless of it: {left:?}\n{text}\nThe host's: {host:#?}");
}

fn difference(engine: &Engine, program: &Arc<Program>, counts: &mut Counts) -> Result<(), String> {
    let text = text::module(program);
    let mut guest = Guest::new(engine, program, &text).map_err(|error| format!("{error:?}"))?;
    let mut machine = Machine::new(program);
    for call in calls(program) {
        let input = call.number as i32;
        machine.begin(FUEL, input);
        for (global, value) in [(guest.world.fuel, FUEL), (guest.world.input, input)] {
            let set = global.set(&mut guest.store, Val::I32(value));
            set.expect("it is a number");
        }
        let expected = machine.call(&call);
        let found = guest.call(program, &call);
        let said = || match &found {
            Some(Err(error)) => format!("{error:#}"),
            other => format!("{other:?}"),
        };
        let at = |what: String| format!("{call:?}: {what}");
        let log = guest.store.data_mut().end_call();
        if log != machine.log {
            let same = log.iter().zip(&machine.log).take_while(|(a, b)| a == b);
            return Err(at(format!(
                "after {} numbers that are the same it says {:?}, not {:?} ({expected:?}, {})",
                same.count(),
                log.len(),
                machine.log.len(),
                said(),
            )));
        }
        machine.log.clear();
        let same = match (&expected, &found) {
            (Outcome::Returned(expected), Some(Ok(found))) => expected == found,
            (Outcome::Failed(expected, frames), Some(Err(error))) => {
                let backtrace = error.downcast_ref::<WasmBacktrace>();
                host::failure(error) == Some(*expected)
                    && backtrace.map_or(0, host::frames) == *frames
            }
            (Outcome::Dropped, None) => true,
            (Outcome::Threw(expected), Some(Err(error))) if error.is::<ThrownException>() => {
                guest.check(expected).map_err(at)?;
                true
            }
            _ => false,
        };
        if !same {
            return Err(at(format!("{expected:?}, but {}", said())));
        }
        let fuel = guest.world.fuel.get(&mut guest.store).i32();
        if fuel != Some(machine.fuel) {
            return Err(at(format!("{fuel:?} of fuel left, not {}", machine.fuel)));
        }
        *counts
            .entry(match expected {
                Outcome::Returned(_) => "call returned",
                Outcome::Threw(_) => "call threw",
                Outcome::Failed(Failure::Trap(Trap::UnhandledTag), _) => {
                    "call trapped: unhandled tag"
                }
                Outcome::Failed(..) => "call failed otherwise",
                Outcome::Dropped => "call was dropped",
            })
            .or_default() += 1;
    }
    let (left, reachable) = (guest.collect(), machine.stacks());
    if left > reachable {
        return Err(format!("{left} stacks are left, of {reachable}"));
    }
    *machine.counts.entry("stack left").or_default() += left as u64;
    *machine.counts.entry("stack reachable").or_default() += reachable as u64;
    for (what, count) in machine.counts {
        *counts.entry(what).or_default() += count;
    }
    drop(guest);
    if Arc::strong_count(program) > 1 {
        return Err("what a function of the host has kept is not dropped".to_owned());
    }
    for stacks in [engine.continuation_stacks(), engine.async_stacks()] {
        if stacks.in_use > 0 {
            return Err(format!("stacks are left: {stacks:?}"));
        }
    }
    Ok(())
}

/// Compares a share of the programs under a configuration.
fn run(mut config: Config, first: u64, share: u64) {
    config.wasm_stack_switching(true);
    let engine = Engine::new(&config).unwrap();
    let first = from_environment("SARSEN_CONTROL_SEED", 0) + first;
    let programs = from_environment("SARSEN_CONTROL_PROGRAMS", 50) / share;
    let mut counts = Counts::new();
    for seed in first..first + programs {
        compare(&engine, seed, &mut counts);
    }
    println!("{programs} programs from {first} on: {counts:?}");
}

#[test]
fn programs_of_control_effects_do_as_the_machine() {
    run(Config::new(), 0, 1);
}

#[test]
fn programs_of_control_effects_do_as_the_machine_under_zeal() {
    let mut config = Config::new();
    config.gc_zeal(Some(NonZeroU32::MIN));
    run(config, 1 << 32, 1);
}

#[test]
fn programs_of_control_effects_do_as_the_machine_without_optimization() {
    let mut config = Config::new();
    config
        .opt_level(OptLevel::None)
        .compiler_inlining(false)
        .gc_zeal(NonZeroU32::new(3));
    run(config, 2 << 32, 2);
}

/// What is never generated is never compared.
#[test]
fn programs_of_control_effects_have_all_of_them() {
    let expected = [
        "bound a fresh continuation",
        "bound a suspended continuation",
        "caught",
        "caught by the host",
        "consumed continuation",
        "continuation returned",
        "could not wait",
        "discarded",
        "forwarded",
        "no handler before the host",
        "null continuation",
        "out of fuel",
        "resumed a suspended continuation",
        "suspended to the host",
        "swallowed a failure",
        "switched",
        "the host has suspended",
        "the host was called",
        "thrown into a suspended continuation",
        "thrown out of a continuation",
        "thrown through the host",
        "waited",
        "went on in the host",
    ];
    let mut counts = Counts::new();
    for seed in 0..2000 {
        let program = generate::program(seed);
        let mut machine = Machine::new(&program);
        for call in calls(&program) {
            machine.begin(FUEL, call.number as i32);
            machine.call(&call);
        }
        for (what, count) in machine.counts {
            *counts.entry(what).or_default() += count;
        }
    }
    println!("{counts:?}");
    for what in expected {
        let count = counts.get(what).copied().unwrap_or_default();
        assert!(count >= 30, "{what}: {count}");
    }
}
