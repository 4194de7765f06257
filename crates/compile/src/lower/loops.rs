//! References that a loop does not change.
//!
//! While a loop is lowered, it is not known yet what its end will have written to the locals, so each one
//! that is read in it would be a new value there, of which nothing is known. Where the loop writes no such
//! local, the value from before it is kept, and all that is known of it: its type, that it is not null, and
//! an array's length, which is loaded before the loop.
//!
//! This is for references to objects; a function without any is not looked through.

use super::function::{Lowering, malformed};
use super::local::Local;
use crate::error::Result;
use crate::read::Body;
use cranelift_codegen::ir::Value;
use cranelift_frontend::Variable;
use sarsen_abi::types::{AbstractHeapType, HeapType, Hierarchy};
use smallvec::SmallVec;
use wasmparser::Operator;

/// The number of locals of a function that are kept track of.
const MAX_LOCALS: usize = u64::BITS as usize;

/// What each loop of a body does with the locals that are kept track of.
pub(super) struct Loops {
    /// The locals, in ascending order.
    locals: SmallVec<[u32; 8]>,
    /// The loops, in the order of their offsets.
    uses: Vec<Uses>,
}

/// What a loop does with locals: the bits of their positions in [`Loops::locals`].
#[derive(Clone, Copy, Default)]
struct Uses {
    /// Where the loop is, from the beginning of the module.
    offset: u64,
    read: u64,
    written: u64,
}

impl Loops {
    /// Looks through a body that has these locals.
    fn find(body: &Body<'_>, locals: &[Local]) -> Result<Self> {
        let is_tracked = |local: &Local| match local {
            Local::Variable { repr, .. } => repr.collected(),
            Local::Value(..) | Local::Slot { .. } => false,
        };
        let tracked = (0..).zip(locals).filter(|(_, local)| is_tracked(local));
        let locals = tracked.map(|(index, _)| index).take(MAX_LOCALS).collect();
        let mut loops = Loops {
            locals,
            uses: Vec::new(),
        };
        if !loops.locals.is_empty() {
            loops.scan(body)?;
        }
        Ok(loops)
    }

    fn scan(&mut self, body: &Body<'_>) -> Result<()> {
        let mut reader = body.body.get_operators_reader().map_err(malformed)?;
        // The open blocks: the position of each that is a loop, and what was seen in it.
        let mut open: Vec<(Option<usize>, Uses)> = vec![(None, Uses::default())];
        while let Some((_, innermost)) = open.last_mut() {
            let offset = reader.original_position();
            match reader.read().map_err(malformed)? {
                Operator::LocalGet { local_index } => innermost.read |= self.bit(local_index),
                Operator::LocalSet { local_index } | Operator::LocalTee { local_index } => {
                    innermost.written |= self.bit(local_index);
                }
                Operator::Loop { .. } => {
                    open.push((Some(self.uses.len()), Uses::default()));
                    self.uses.push(Uses {
                        offset,
                        ..Uses::default()
                    });
                }
                Operator::Block { .. }
                | Operator::If { .. }
                | Operator::Try { .. }
                | Operator::TryTable { .. } => {
                    open.push((None, Uses::default()));
                }
                Operator::End | Operator::Delegate { .. } => {
                    let (position, seen) = open.pop().expect("the loop's condition");
                    if let Some(position) = position {
                        self.uses[position].read = seen.read;
                        self.uses[position].written = seen.written;
                    }
                    if let Some((_, outer)) = open.last_mut() {
                        outer.read |= seen.read;
                        outer.written |= seen.written;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn bit(&self, local: u32) -> u64 {
        let position = self.locals.binary_search(&local);
        position.map_or(0, |position| 1 << position)
    }

    /// The locals that the loop at `offset` reads and does not write.
    fn unchanged(&self, offset: u64) -> impl Iterator<Item = u32> {
        let position = self.uses.binary_search_by_key(&offset, |uses| uses.offset);
        let uses = position.map_or(Uses::default(), |position| self.uses[position]);
        let bits = uses.read & !uses.written;
        let locals = self.locals.iter().enumerate();
        locals.filter_map(move |(position, &local)| (bits >> position & 1 != 0).then_some(local))
    }
}

impl Lowering<'_, '_> {
    /// Before the loop at `offset`: the variables that it reads and does not write, and their values. What
    /// may be asked of these in the loop is made known here.
    pub(super) fn loop_invariants(
        &mut self,
        offset: u64,
    ) -> Result<SmallVec<[(Variable, Value); 4]>> {
        if self.frame.loops.is_none() {
            let func = self.cx.module.defined_func(self.frame.func);
            let body = self.cx.body(func.expect("it has a body"));
            self.frame.loops = Some(Loops::find(body, &self.frame.locals)?);
        }
        let loops = self.frame.loops.as_ref().expect("it was just made");
        let unchanged: SmallVec<[u32; 8]> = loops.unchanged(offset).collect();
        let mut invariants = SmallVec::new();
        for local in unchanged {
            let Local::Variable { variable, repr } = self.frame.locals[local as usize] else {
                continue;
            };
            let value = self.builder.use_var(variable);
            let value = self.builder.func.dfg.resolve_aliases(value);
            let ty = repr.reference.expect("it is a reference");
            self.facts.declare_if_new(value, ty);
            self.learn(value, ty);
            if !self.may_be_null(value) && self.is_array(value) {
                self.array_length(value);
            }
            invariants.push((variable, value));
        }
        Ok(invariants)
    }

    fn is_array(&self, value: Value) -> bool {
        let known = self.known_type(value, Hierarchy::Any);
        matches!(
            known.heap,
            HeapType::ConcreteArray(_) | HeapType::Abstract(AbstractHeapType::Array)
        )
    }
}
