//! [`Bench`]: runs cases in both runtimes, and compares.

use crate::generate::{Case, Settings};
use crate::observe::{Any, Failure, Outcome, Trap, Type, Value};
use crate::ours::{self, Ours};
use crate::peer::Peer;
use crate::random::Random;
use crate::theirs::Wasmi;
use std::collections::HashMap;
use std::fmt;
use std::ops::AddAssign;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Where the runtimes differ.
#[derive(Debug)]
pub struct Difference(String);

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Difference {}

/// How much was compared.
#[derive(Clone, Copy, Default, Debug)]
pub struct Counts {
    /// Modules that ran in both.
    pub modules: u64,
    /// Modules that the other runtime refused.
    pub refused: u64,
    /// Instances that were made, or failed alike.
    pub instances: u64,
    /// Calls.
    pub calls: u64,
    /// Calls, or instantiations, that trapped or failed.
    pub failures: u64,
    /// Modules not followed to the end, because a runtime's stack was.
    pub exhausted: u64,
    /// Bytes of memories that were compared.
    pub bytes: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, more: Counts) {
        self.modules += more.modules;
        self.refused += more.refused;
        self.instances += more.instances;
        self.calls += more.calls;
        self.failures += more.failures;
        self.exhausted += more.exhausted;
        self.bytes += more.bytes;
    }
}

/// Both runtimes. Engines are kept, so that what they recycle from one module to the next is tested.
pub struct Bench<P = Wasmi> {
    ours: HashMap<Settings, sarsen::Engine>,
    theirs: P,
}

/// Engines that are kept at once.
const ENGINES: usize = 24;
/// Calls of each function, and of all functions of a module.
const ROUNDS: usize = 2;
const CALLS: usize = 40;
/// Instances of a module: a new one is made after a trap.
const INSTANCES: u64 = 8;

impl<P: Peer> Default for Bench<P> {
    fn default() -> Bench<P> {
        Bench {
            ours: HashMap::new(),
            theirs: P::default(),
        }
    }
}

impl<P: Peer> Bench<P> {
    /// Runs a case in both runtimes.
    ///
    /// # Errors
    ///
    /// The first difference, or a panic of ours.
    pub fn run(&mut self, case: &Case) -> Result<Counts, Difference> {
        catch_unwind(AssertUnwindSafe(|| self.run_unguarded(case))).unwrap_or_else(|payload| {
            let message = payload
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| payload.downcast_ref::<&str>().copied());
            self.ours.clear();
            Err(Difference(format!("panic: {}", message.unwrap_or("?"))))
        })
    }

    fn run_unguarded(&mut self, case: &Case) -> Result<Counts, Difference> {
        let engine = self.engine(&case.settings);
        let our_module = ours::load(&engine, &case.module, case.loading);
        let their_module = match self.theirs.load(&case.module) {
            Ok(module) => module,
            Err(_) => {
                return Ok(Counts {
                    refused: 1,
                    ..Counts::default()
                });
            }
        };
        let our_module =
            our_module.map_err(|error| Difference(format!("we refuse the module: {error:#}")))?;
        let plan = plan(&our_module, case.arguments);
        let mut counts = Counts {
            modules: 1,
            ..Counts::default()
        };
        let mut calls = plan.iter();
        while counts.instances < INSTANCES {
            counts.instances += 1;
            let (mut ours, our_outcome) = Ours::start(&engine, &our_module, &case.settings);
            let (mut other, their_outcome) = self.theirs.start(&their_module);
            let mut end = compare("instantiation", &their_outcome, &our_outcome)?;
            let instantiated = our_outcome.is_ok();
            while end == End::Success {
                let Some((name, arguments)) = calls.next() else {
                    break;
                };
                counts.calls += 1;
                let their_outcome = P::call(&mut other, name, arguments);
                let our_outcome = ours.call(name, arguments);
                let what = format!("`{name}` of {arguments:x?}");
                end = compare(&what, &their_outcome, &our_outcome)?;
            }
            if end == End::Exhausted {
                counts.exhausted += 1;
                break;
            }
            counts.failures += u64::from(end == End::Failure);
            let theirs = P::state(&mut other);
            let ours = ours.state();
            counts.bytes += theirs.bytes();
            if let Some(difference) = theirs.difference(&ours) {
                return Err(Difference(format!("afterwards, {difference}")));
            }
            if !instantiated || calls.len() == 0 {
                break;
            }
        }
        Ok(counts)
    }

    fn engine(&mut self, settings: &Settings) -> sarsen::Engine {
        if self.ours.len() > ENGINES && !self.ours.contains_key(settings) {
            self.ours.clear();
        }
        let engine = self.ours.entry(*settings);
        engine.or_insert_with(|| ours::engine(settings)).clone()
    }
}

/// How both ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Success,
    Failure,
    Exhausted,
}

fn compare(what: &str, theirs: &Outcome, ours: &Outcome) -> Result<End, Difference> {
    match (theirs, ours) {
        (Err(Failure::Exhausted(_)), _) | (_, Err(Failure::Exhausted(_))) => Ok(End::Exhausted),
        // An atomic access that is both out of bounds and unaligned may trap for either reason.
        (
            Err(Failure::Trap(Trap::Memory | Trap::Unaligned)),
            Err(Failure::Trap(Trap::Memory | Trap::Unaligned)),
        ) => Ok(End::Failure),
        // Wasmtime looks at the bounds of what `array.copy` writes before it asks whether what it reads is null.
        (Err(Failure::Trap(Trap::Array)), Err(Failure::Trap(Trap::NullReference))) => {
            Ok(End::Failure)
        }
        _ if theirs != ours => Err(Difference(format!("{what}: {theirs:x?}, ours {ours:x?}"))),
        (Ok(_), _) => Ok(End::Success),
        (Err(_), _) => Ok(End::Failure),
    }
}

/// Which functions to call, with what.
fn plan(module: &sarsen::Module, seed: u64) -> Vec<(String, Vec<Value>)> {
    let functions = ours::functions(module);
    let mut random = Random::new(seed);
    let mut plan = Vec::new();
    for _ in 0..ROUNDS {
        for (name, params) in &functions {
            let arguments = params.iter().map(|ty| argument(*ty, &mut random));
            plan.push((name.clone(), arguments.collect()));
        }
    }
    plan.truncate(CALLS);
    plan
}

/// Integers at which something happens.
const INTEGERS: [i64; 12] = [
    0,
    1,
    -1,
    2,
    7,
    31,
    64,
    0xffff,
    0x10000,
    i32::MAX as i64,
    i32::MIN as i64,
    i64::MIN,
];

/// Floats at which something happens, and which are no NaNs.
const FLOATS: [f64; 12] = [
    0.0,
    -0.0,
    1.0,
    -1.5,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::MIN_POSITIVE,
    f64::MAX,
    2_147_483_648.0,
    -2_147_483_649.0,
    9.223_372_036_854_776e18,
    1.844_674_407_370_955_2e19,
];

/// Mostly values at which something happens.
fn argument(ty: Type, random: &mut Random) -> Value {
    let any = random.below(3) == 0;
    match ty {
        Type::I32 if any => Value::I32(random.number() as i32),
        Type::I64 if any => Value::I64(random.number() as i64),
        Type::F32 if any => Value::F32(number32(f32::from_bits(random.number() as u32))),
        Type::F64 if any => Value::F64(number64(f64::from_bits(random.number()))),
        Type::I32 => Value::I32(random.choose(&INTEGERS) as i32),
        Type::I64 => Value::I64(random.choose(&INTEGERS)),
        Type::F32 => Value::F32(number32(random.choose(&FLOATS) as f32)),
        Type::F64 => Value::F64(number64(random.choose(&FLOATS))),
        Type::V128 => Value::V128(vector(random)),
        Type::Func => Value::Func(random.below(2) == 0),
        Type::Extern => match random.below(4) {
            0 => Value::Extern(None),
            number => Value::Extern(Some(number as u32)),
        },
        Type::I31 { nullable: true } if random.below(4) == 0 => Value::Any(Any::Null),
        Type::I31 { .. } => Value::Any(Any::I31(random.choose(&INTEGERS) as u32 & !(1 << 31))),
        Type::Null(value) => value,
    }
}

/// A vector whose lanes, read in any width, are now and then such values.
fn vector(random: &mut Random) -> u128 {
    let halves = [(); 2].map(|()| match random.below(4) {
        0 => random.number(),
        1 => random.choose(&INTEGERS) as u64,
        2 => random.choose(&FLOATS).to_bits(),
        _ => {
            let [low, high] = [(); 2].map(|()| (random.choose(&FLOATS) as f32).to_bits());
            u64::from(low) | u64::from(high) << 32
        }
    });
    u128::from(halves[0]) | u128::from(halves[1]) << 64
}

/// The bits of a float, with one NaN only.
fn number32(float: f32) -> u32 {
    if float.is_nan() {
        0x7fc0_0000
    } else {
        float.to_bits()
    }
}

fn number64(float: f64) -> u64 {
    if float.is_nan() {
        0x7ff8_0000_0000_0000
    } else {
        float.to_bits()
    }
}
