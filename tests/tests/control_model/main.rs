//! Random programs that make continuations, resume, suspend, switch, throw, catch and trap in every way,
//! against a machine of our own.
//!
//! `program` is their language, `generate` makes them, `text` is what they are in WebAssembly, and `machine`
//! executes them with continuations that are plain data. Both must end in the same way, tell the host the
//! same in the same order, and leave what the next call finds.
//!
//! The same programs always run. `SARSEN_CONTROL_PROGRAMS` asks for another number of them, and
//! `SARSEN_CONTROL_SEED` for other ones.

mod generate;
mod machine;
mod program;
mod text;

use machine::{
    Counts, Exception, HOST_DEPTH, Machine, Outcome, SWALLOWED_EXCEPTION, SWALLOWED_TRAP, TOO_DEEP,
    Value,
};
use program::{FUNCTIONS, INSTANCES, MAINS, Program, TAGS, Ty};
use sarsen::{
    AsContextMut, Caller, Config, Engine, Error, Func, FuncType, Global, GlobalType, Instance,
    Linker, Module, Mutability, OptLevel, Ref, RefType, Store, Table, TableType, Tag, TagType,
    ThrownException, Trap, Val, ValType,
};
use std::num::NonZeroU32;

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

/// What the host has.
#[derive(Default)]
struct Host {
    log: Vec<i32>,
    /// Calls of [`enter`] that have not returned.
    depth: usize,
    functions: Option<Table>,
}

/// A program in a store.
struct Guest {
    store: Store<Host>,
    instances: Vec<Instance>,
    imported: Vec<(usize, Tag)>,
    fuel: Global,
    input: Global,
}

impl Guest {
    fn new(engine: &Engine, program: &Program, text: &str) -> sarsen::Result<Guest> {
        let module = Module::new(engine, text)?;
        let mut store = Store::new(engine, Host::default());
        let mut linker = Linker::new(engine);
        linker.func_wrap("", "log", |mut caller: Caller<'_, Host>, number: i32| {
            caller.data_mut().log.push(number);
        })?;
        linker.func_wrap("", "gc", |mut caller: Caller<'_, Host>| caller.gc(None))?;
        linker.func_wrap("", "enter", enter)?;
        let size = (INSTANCES * FUNCTIONS.len()) as u32;
        let ty = TableType::new(RefType::FUNCREF, size, None);
        let functions = Table::new(&mut store, ty, Ref::Func(None))?;
        store.data_mut().functions = Some(functions);
        linker.define(&store, "", "functions", functions)?;
        let mut number = |name| -> sarsen::Result<Global> {
            let ty = GlobalType::new(ValType::I32, Mutability::Var);
            let global = Global::new(&mut store, ty, Val::I32(0))?;
            linker.define(&store, "", name, global)?;
            Ok(global)
        };
        let (fuel, input) = (number("fuel")?, number("input")?);
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
                    let ty = FuncType::new(engine, numbers(params), numbers(results));
                    Tag::new(&mut store, &TagType::new(ty))?
                }
            };
            linker.define(&store, "", &format!("t{number}"), tag)?;
            imported.push((number, tag));
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
        Ok(Guest {
            store,
            instances,
            imported,
            fuel,
            input,
        })
    }

    fn call(&mut self, instance: usize, function: usize) -> Result<i32, Error> {
        let name = format!("f{function}");
        let func = self.instances[instance].get_func(&mut self.store, &name);
        call(&mut self.store, func.expect("it is exported"))
    }

    /// Whether the exception that was thrown is the one that is expected.
    fn check(&mut self, expected: &Exception) -> Result<(), String> {
        let Some(thrown) = self.store.take_pending_exception() else {
            return Err("no exception is pending".to_owned());
        };
        let (instance, number) = expected.tag;
        let tag = match instance {
            Some(instance) => {
                let tag = self.instances[instance].get_tag(&mut self.store, &format!("t{number}"));
                tag.expect("it is exported")
            }
            None => {
                self.imported
                    .iter()
                    .find(|tag| tag.0 == number)
                    .expect("it is imported")
                    .1
            }
        };
        let found = thrown.tag(&mut self.store).map_err(|e| e.to_string())?;
        if !Tag::eq(&found, &tag, &self.store) {
            return Err("another tag".to_owned());
        }
        for (index, value) in expected.values.iter().enumerate() {
            let found = thrown
                .field(&mut self.store, index)
                .map_err(|e| e.to_string())?;
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

fn call(store: impl sarsen::AsContextMut<Data = Host>, func: Func) -> Result<i32, Error> {
    let mut results = [Val::I32(0)];
    func.call(store, &[], &mut results)?;
    Ok(results[0].i32().expect("functions return numbers"))
}

/// Calls a function of the table, unless there are enough such calls, and keeps what goes wrong to itself if `swallow` is not zero.
fn enter(mut caller: Caller<'_, Host>, index: i32, swallow: i32) -> Result<i32, Error> {
    if caller.data().depth == HOST_DEPTH {
        return Ok(TOO_DEEP);
    }
    let functions = caller.data().functions.expect("set at first");
    let Some(Ref::Func(Some(func))) = functions.get(&mut caller, index as u64) else {
        panic!("all elements are functions");
    };
    caller.data_mut().depth += 1;
    let called = call(&mut caller, func);
    caller.data_mut().depth -= 1;
    match called {
        Err(error) if swallow != 0 => {
            if error.is::<ThrownException>() {
                let exception = caller.as_context_mut().take_pending_exception();
                exception.expect("it was thrown");
                return Ok(SWALLOWED_EXCEPTION);
            }
            error.downcast::<Trap>()?;
            Ok(SWALLOWED_TRAP)
        }
        other => other,
    }
}

/// Runs the program of a seed in both, and compares. Adds up what happened.
fn compare(engine: &Engine, seed: u64, counts: &mut Counts) {
    let program = generate::program(seed);
    let text = text::module(&program);
    if let Err(difference) = difference(engine, &program, &text, counts) {
        panic!("program {seed}: {difference}\n{text}");
    }
}

fn difference(
    engine: &Engine,
    program: &Program,
    text: &str,
    counts: &mut Counts,
) -> Result<(), String> {
    let mut guest = Guest::new(engine, program, text).map_err(|error| format!("{error:?}"))?;
    let mut machine = Machine::new(program);
    for call in 0..ROUNDS * INSTANCES * MAINS {
        let (instance, function) = (call % INSTANCES, call / INSTANCES % MAINS);
        machine.begin(FUEL, call as i32);
        for (global, value) in [(guest.fuel, FUEL), (guest.input, call as i32)] {
            let set = global.set(&mut guest.store, Val::I32(value));
            set.expect("it is a number");
        }
        let expected = machine.call(instance, function);
        let found = guest.call(instance, function);
        let at = |what: String| format!("call {call} of {function} in {instance}: {what}");
        let log = std::mem::take(&mut guest.store.data_mut().log);
        if log != machine.log {
            let same = log.iter().zip(&machine.log).take_while(|(a, b)| a == b);
            return Err(at(format!(
                "after {} numbers that are the same it says {:?}, not {:?} ({expected:?}, {found:?})",
                same.count(),
                log.len(),
                machine.log.len(),
            )));
        }
        machine.log.clear();
        let same = match (&expected, &found) {
            (Outcome::Returned(expected), Ok(found)) => expected == found,
            (Outcome::Trapped(trap), Err(error)) => error.downcast_ref::<Trap>() == Some(trap),
            (Outcome::Threw(expected), Err(error)) if error.is::<ThrownException>() => {
                guest.check(expected).map_err(at)?;
                true
            }
            _ => false,
        };
        if !same {
            return Err(at(format!("{expected:?}, but {found:?}")));
        }
        let fuel = guest.fuel.get(&mut guest.store).i32();
        if fuel != Some(machine.fuel) {
            return Err(at(format!("{fuel:?} of fuel left, not {}", machine.fuel)));
        }
        *counts
            .entry(match expected {
                Outcome::Returned(_) => "call returned",
                Outcome::Threw(_) => "call threw",
                Outcome::Trapped(Trap::UnhandledTag) => "call trapped: unhandled tag",
                Outcome::Trapped(_) => "call trapped otherwise",
            })
            .or_default() += 1;
    }
    for (what, count) in machine.counts {
        *counts.entry(what).or_default() += count;
    }
    Ok(())
}

/// Compares a share of the programs under a configuration.
fn run(mut config: Config, first: u64, share: u64) {
    config.wasm_stack_switching(true);
    let engine = Engine::new(&config).unwrap();
    let first = from_environment("SARSEN_CONTROL_SEED", 0) + first;
    let programs = from_environment("SARSEN_CONTROL_PROGRAMS", 60) / share;
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
        "consumed continuation",
        "continuation returned",
        "forwarded",
        "no handler before the host",
        "null continuation",
        "out of fuel",
        "resumed a suspended continuation",
        "swallowed a trap",
        "swallowed an exception",
        "switched",
        "thrown into a suspended continuation",
        "thrown out of a continuation",
        "thrown through the host",
    ];
    let mut counts = Counts::new();
    for seed in 0..3000 {
        let program = generate::program(seed);
        let mut machine = Machine::new(&program);
        for call in 0..ROUNDS * INSTANCES * MAINS {
            machine.begin(FUEL, call as i32);
            machine.call(call % INSTANCES, call / INSTANCES % MAINS);
        }
        for (what, count) in machine.counts {
            *counts.entry(what).or_default() += count;
        }
    }
    for what in expected {
        let count = counts.get(what).copied().unwrap_or_default();
        assert!(count >= 30, "{what}: {count}");
    }
}
