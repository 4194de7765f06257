//! Programs that build graphs of objects, change them and ask about them, checked against a model.
//!
//! A [`Program`] is some types and a list of operations on a few *places* (elements of a table, locals,
//! globals) that hold `anyref`s. It is written as a module (`text`) and executed on plain vectors
//! (`model`). Each operation mixes what it sees into a checksum; the two sums must be the same however the
//! heap is configured: with a collection at every allocation, a tiny nursery, or no collector.

mod model;
mod text;

use crate::random::Random;
use sarsen::{AnyRef, Caller, Collector, Config, Engine, ExternRef, Linker, Module, Rooted, Store};
use std::num::NonZeroU32;

/// How many places of each kind a program has.
const TABLE: u32 = 10;
const LOCALS: u32 = 4;
const GLOBALS: u32 = 2;

/// How often a program runs: what it left in its table and globals is there the next time.
const RUNS: usize = 3;

/// The length of an array is below this.
const LENGTHS: u64 = 40;

/// What a field or an element holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Field {
    I8,
    I16,
    I32,
    I64,
    Any,
    Eq,
    I31,
    Struct(usize),
    Array(usize),
}

impl Field {
    fn is_number(self) -> bool {
        matches!(self, Field::I8 | Field::I16 | Field::I32 | Field::I64)
    }
}

/// A structure type. Those that it is a subtype of come before it.
#[derive(Clone, Debug)]
struct Struct {
    supertype: Option<usize>,
    fields: Vec<Field>,
}

/// Where a reference is kept.
#[derive(Clone, Copy, Debug)]
enum Place {
    Table(u32),
    Local(u32),
    Global(u32),
}

/// What is written to a field: one of the two, whichever the field's type asks for.
#[derive(Clone, Copy, Debug)]
struct Value {
    number: i64,
    place: Place,
}

/// An operation. Those on a structure or array do nothing when the place holds something else.
#[derive(Clone, Debug)]
enum Operation {
    NewStruct(Place, usize, Vec<Value>),
    NewArray(Place, usize, u32, Value),
    NewFixed(Place, usize, Vec<Value>),
    NewI31(Place, i64),
    Clear(Place),
    Move(Place, Place),
    Set(Place, usize, usize, Value),
    /// Also puts a reference that is read into a place.
    Get(Place, usize, usize, Place),
    ArraySet(Place, usize, u32, Value),
    ArrayGet(Place, usize, u32, Place),
    ArrayFill(Place, usize, u32, u32, Value),
    ArrayCopy(Place, Place, usize, u32, u32, u32),
    Class(Place),
    Same(Place, Place),
    Hash(Place),
    /// Allocates so many structures that are garbage at once.
    Garbage(u32),
    Collect,
    /// Through the host, which collects and allocates.
    Host(Place),
    /// To an external reference and back.
    Convert(Place),
}

/// Types, and what is done with objects of them.
#[derive(Clone, Debug)]
pub struct Program {
    structs: Vec<Struct>,
    arrays: Vec<Field>,
    operations: Vec<Operation>,
}

impl Program {
    /// The program of a seed.
    pub fn from_seed(seed: u64) -> Program {
        let mut random = Random::new(seed);
        let (structs, arrays) = (1 + random.below(6) as usize, 1 + random.below(4) as usize);
        let mut program = Program {
            structs: Vec::new(),
            arrays: Vec::new(),
            operations: Vec::new(),
        };
        for _ in 0..arrays {
            program.arrays.push(field(&mut random, structs, arrays));
        }
        for index in 0..structs {
            let supertype =
                (index > 0 && random.below(2) == 0).then(|| random.below(index as u64) as usize);
            let mut fields = supertype.map_or_else(Vec::new, |s| program.structs[s].fields.clone());
            for _ in 0..random.below(5) {
                fields.push(field(&mut random, structs, arrays));
            }
            program.structs.push(Struct { supertype, fields });
        }
        for _ in 0..20 + random.below(120) {
            let operation = program.operation(&mut random);
            program.operations.push(operation);
        }
        program
    }

    fn operation(&self, random: &mut Random) -> Operation {
        use Operation as O;
        let structure = random.below(self.structs.len() as u64) as usize;
        let array = random.below(self.arrays.len() as u64) as usize;
        let fields = self.structs[structure].fields.len();
        let (to, from) = (place(random), place(random));
        let index = random.below(LENGTHS) as u32;
        match random.below(30) {
            0..=5 => {
                let values = (0..fields).map(|_| value(random)).collect();
                O::NewStruct(to, structure, values)
            }
            6..=7 => O::NewArray(to, array, index, value(random)),
            8 => {
                let values = (0..random.below(6)).map(|_| value(random)).collect();
                O::NewFixed(to, array, values)
            }
            9 => O::NewI31(to, random.number() as i64),
            10 => O::Clear(to),
            11..=12 => O::Move(to, from),
            13..=16 if fields > 0 => {
                let field = random.below(fields as u64) as usize;
                O::Set(to, structure, field, value(random))
            }
            17..=19 if fields > 0 => {
                let field = random.below(fields as u64) as usize;
                O::Get(from, structure, field, to)
            }
            20 => O::ArraySet(to, array, index, value(random)),
            21 => O::ArrayGet(from, array, index, to),
            22 => O::ArrayFill(
                to,
                array,
                index,
                random.below(LENGTHS) as u32,
                value(random),
            ),
            23 => {
                let (start, count) = (random.below(LENGTHS) as u32, random.below(LENGTHS) as u32);
                O::ArrayCopy(to, from, array, index, start, count)
            }
            24 => O::Same(to, from),
            25 => O::Hash(from),
            26 => O::Garbage(random.below(3000) as u32),
            27 if random.below(2) == 0 => O::Collect,
            28 => O::Host(to),
            29 => O::Convert(to),
            _ => O::Class(from),
        }
    }

    /// Whether everything of structure type `actual` is also of type `wanted`.
    fn is_subtype(&self, actual: usize, wanted: usize) -> bool {
        let mut at = Some(actual);
        while let Some(index) = at {
            if index == wanted {
                return true;
            }
            at = self.structs[index].supertype;
        }
        false
    }

    /// Runs it in every way, and compares.
    ///
    /// # Errors
    ///
    /// What went differently from the model, and how the heap was configured.
    pub fn check(&self, seed: u64) -> Result<(), String> {
        let expected = model::Model::new(self).run();
        let text = text::module(self);
        for (name, config) in configurations(seed) {
            let found = execute(&config, &text).map_err(|error| format!("{name}: {error:?}"))?;
            if found != expected {
                return Err(format!("{name}: {found:x?} instead of {expected:x?}"));
            }
        }
        Ok(())
    }

    /// The program as a module in the text format.
    pub fn to_text(&self) -> String {
        text::module(self)
    }
}

fn field(random: &mut Random, structs: usize, arrays: usize) -> Field {
    match random.below(10) {
        0 => Field::I8,
        1 => Field::I16,
        2 => Field::I32,
        3 => Field::I64,
        4 | 5 => Field::Any,
        6 => Field::Eq,
        7 => Field::I31,
        8 => Field::Struct(random.below(structs as u64) as usize),
        _ => Field::Array(random.below(arrays as u64) as usize),
    }
}

fn place(random: &mut Random) -> Place {
    match random.below(8) {
        0..=3 => Place::Table(random.below(u64::from(TABLE)) as u32),
        4..=6 => Place::Local(random.below(u64::from(LOCALS)) as u32),
        _ => Place::Global(random.below(u64::from(GLOBALS)) as u32),
    }
}

fn value(random: &mut Random) -> Value {
    Value {
        number: random.number() as i64,
        place: place(random),
    }
}

/// The heaps that a program runs on.
fn configurations(seed: u64) -> Vec<(&'static str, Config)> {
    let mut random = Random::new(!seed);
    let mut every = Config::new();
    every.gc_zeal(Some(NonZeroU32::MIN));
    let mut some = Config::new();
    some.gc_zeal(NonZeroU32::new(2 + random.below(50) as u32));
    let mut tiny = Config::new();
    tiny.gc_nursery_size(16 << 10, 16 << 10);
    let mut never = Config::new();
    never.collector(Collector::Null);
    vec![
        ("the default", Config::new()),
        ("zeal", every),
        ("some zeal", some),
        ("a tiny nursery", tiny),
        ("no collector", never),
    ]
}

/// The checksums after each run.
fn execute(config: &Config, text: &str) -> sarsen::Result<Vec<u64>> {
    let engine = Engine::new(config)?;
    let module = Module::new(&engine, text)?;
    let mut linker = Linker::new(&engine);
    linker.func_wrap("host", "gc", |mut caller: Caller<'_, ()>| caller.gc(None))?;
    linker.func_wrap(
        "host",
        "same",
        |mut caller: Caller<'_, ()>, object: Option<Rooted<AnyRef>>| {
            ExternRef::new(&mut caller, 1)?;
            caller.gc(None)?;
            Ok(object)
        },
    )?;
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module)?;
    let run = instance.get_typed_func::<(), u64>(&mut store, "run")?;
    (0..RUNS).map(|_| run.call(&mut store, ())).collect()
}
