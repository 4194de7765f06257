//! [`Executed`]: how often each instruction of generated programs is executed, so that it is known what they do.
//!
//! A module is rewritten to count in a memory of its own: each instruction when it is reached, and, unless it
//! never goes on to the next, when it is done. What is reached and not done has trapped, thrown or branched.

use crate::generate::{Case, Settings};
use crate::observe::{Failure, Item, State, Value};
use crate::ours::{self, Ours};
use crate::random::Random;
use std::collections::BTreeMap;
use wasm_encoder::reencode::{self, Reencode};
use wasm_encoder::{
    CodeSection, ExportKind, ExportSection, Instruction, MemArg, MemArgTarget, MemorySection,
    MemoryType, Module, SectionId,
};
use wasmparser::{ExportSectionReader, FunctionBody, Operator, Parser};

/// What was executed.
#[derive(Debug, Default)]
pub struct Executed {
    /// How often each instruction was reached, and how often it was done, by name.
    pub instructions: BTreeMap<String, (u64, u64)>,
    /// How calls of the host's ended.
    pub ends: BTreeMap<String, u64>,
    /// Collections of the nursery, and of all.
    pub collections: (u64, u64),
}

/// How many names of instructions there may be, each of which has two counters.
const NAMES: usize = 1000;
/// The memory that they are in.
const EXPORT: &str = "executed";
/// Instances of each module.
const ROUNDS: u32 = 3;

impl Executed {
    /// Runs the programs of objects of these seeds.
    ///
    /// # Panics
    ///
    /// When one is not compiled, or ends as none should.
    pub fn count(seeds: std::ops::Range<u64>) -> Executed {
        let mut executed = Executed::default();
        let settings = Settings::plain();
        let engine = ours::engine(&settings);
        let mut counter = Counter { names: Vec::new() };
        for seed in seeds {
            let Some(case) = Case::of_objects(seed) else {
                continue;
            };
            let mut counting = Module::new();
            let rewritten = counter.parse_core_module(&mut counting, Parser::new(0), &case.module);
            rewritten.expect("generated modules are valid");
            let module = sarsen::Module::from_binary(&engine, &counting.finish());
            let module = module.expect("it is as valid as before");
            let mut random = Random::new(seed);
            for _ in 0..ROUNDS {
                let (mut instance, outcome) = Ours::start(&engine, &module, &settings);
                outcome.expect("nothing traps as it is instantiated");
                executed.call_all(&mut instance, &module, &mut random);
                executed.add(&instance.state(), &counter.names);
            }
        }
        executed
    }

    fn call_all(&mut self, instance: &mut Ours, module: &sarsen::Module, random: &mut Random) {
        for (name, _) in ours::functions(module) {
            let (small, large) = (random.below(9) as i32, random.number() as i64);
            let end = match instance.call(&name, &[Value::I32(small), Value::I64(large)]) {
                Ok(_) => "Ok".to_owned(),
                Err(Failure::Exception(_)) => "Exception".to_owned(),
                Err(failure) => format!("{failure:?}"),
            };
            *self.ends.entry(end).or_default() += 1;
        }
        let (minor, full) = instance.collections();
        self.collections.0 += minor;
        self.collections.1 += full;
    }

    fn add(&mut self, state: &State, names: &[String]) {
        let mut items = state.items.iter();
        let memory = items.find_map(|(name, item)| match item {
            Item::Memory(bytes) if name == EXPORT => Some(bytes),
            _ => None,
        });
        let (counters, _) = memory.expect("it is exported").as_chunks::<8>();
        let mut counters = counters.iter().map(|bytes| u64::from_le_bytes(*bytes));
        for name in names {
            let (reached, done) = self.instructions.entry(name.clone()).or_default();
            *reached += counters.next().expect("there are two for each name");
            *done += counters.next().expect("there are two for each name");
        }
    }
}

/// Makes modules that count.
struct Counter {
    /// The names of the instructions seen so far, in the order of their counters.
    names: Vec<String>,
}

impl Counter {
    /// The number of an instruction's first counter.
    fn of(&mut self, operator: &Operator<'_>) -> usize {
        let debug = format!("{operator:?}");
        let name = debug.split([' ', '{']).next().unwrap_or_default();
        let number = self.names.iter().position(|it| it == name);
        let number = number.unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        });
        assert!(number < NAMES, "there are more instructions than counters");
        2 * number
    }
}

/// Adds one to a counter.
fn count(counter: usize) -> [Instruction<'static>; 6] {
    let place = MemArg {
        offset: 8 * counter as u64,
        align: 3,
        target: MemArgTarget::Memory(0),
        ordering: None,
    };
    [
        Instruction::I32Const(0),
        Instruction::I32Const(0),
        Instruction::I64Load(place),
        Instruction::I64Const(1),
        Instruction::I64Add,
        Instruction::I64Store(place),
    ]
}

impl Reencode for Counter {
    type Error = std::convert::Infallible;

    /// Adds the memory: the modules have none, and a section of tags behind it.
    fn intersperse_section_hook(
        &mut self,
        module: &mut Module,
        _: Option<SectionId>,
        before: Option<SectionId>,
    ) -> Result<(), reencode::Error> {
        if before == Some(SectionId::Tag) {
            let mut memories = MemorySection::new();
            memories.memory(MemoryType {
                minimum: 1,
                maximum: None,
                memory64: false,
                shared: false,
                page_size_log2: None,
            });
            module.section(&memories);
        }
        Ok(())
    }

    fn parse_export_section(
        &mut self,
        exports: &mut ExportSection,
        section: ExportSectionReader<'_>,
    ) -> Result<(), reencode::Error> {
        exports.export(EXPORT, ExportKind::Memory, 0);
        reencode::utils::parse_export_section(self, exports, section)
    }

    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        body: FunctionBody<'_>,
    ) -> Result<(), reencode::Error> {
        let mut locals = Vec::new();
        for pair in body.get_locals_reader()? {
            let (count, ty) = pair?;
            locals.push((count, self.val_type(ty)?));
        }
        let mut function = wasm_encoder::Function::new(locals);
        let mut reader = body.get_operators_reader()?;
        while !reader.eof() {
            let operator = reader.read()?;
            let counter = counts(&operator).then(|| self.of(&operator));
            let begin = counter.into_iter().flat_map(count);
            begin.for_each(|it| {
                function.instruction(&it);
            });
            function.instruction(&self.instruction(operator)?);
            let end = counter.into_iter().flat_map(|first| count(first + 1));
            end.for_each(|it| {
                function.instruction(&it);
            });
        }
        code.function(&function);
        Ok(())
    }
}

/// Whether an instruction is counted: those that only mark where blocks begin and end are not.
fn counts(operator: &Operator<'_>) -> bool {
    use Operator as O;
    !matches!(
        operator,
        O::Block { .. } | O::Loop { .. } | O::If { .. } | O::TryTable { .. } | O::Else | O::End
    )
}
