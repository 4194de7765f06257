//! Parameters and locals.
//!
//! A local is a variable, for which Cranelift's frontend finds the SSA values. That takes memory and
//! time proportional to locals times blocks, which a hostile function can make as large as it likes; so
//! in a function where it would be too much, locals live in the frame instead.

use super::continuations;
use super::function::{Lowering, malformed};
use super::gc;
use super::guarded;
use super::region::Region;
use super::signature::{POINTER, Repr};
use crate::error::{CompileError, Result};
use crate::read::Body;
use cranelift_codegen::ir::{
    InstBuilder, MemFlagsData, StackSlot, StackSlotData, StackSlotKind, Value,
};
use cranelift_frontend::Variable;
use sarsen_abi::Module;
use wasmparser::Operator;

/// The largest product of locals and blocks for which locals are variables.
const MAX_LOCALS_TIMES_BLOCKS: u64 = 1 << 24;

/// No body is lowered to more blocks than this for each of its bytes.
const MAX_BLOCKS_PER_BYTE: u64 = 7;

/// The size of a local in the frame; enough for a vector.
const SLOT_SIZE_BYTES: u32 = 16;

/// A parameter or local.
#[derive(Clone, Copy)]
pub(super) enum Local {
    /// One that is never written.
    Value(Value, Repr),
    /// One in SSA form.
    Variable {
        /// What stands for it while SSA form is built.
        variable: Variable,
        /// How its values are represented.
        repr: Repr,
    },
    /// One in the frame.
    Slot {
        /// All of those.
        slot: StackSlot,
        /// Where it is there, in bytes.
        offset: i32,
        /// How its values are represented.
        repr: Repr,
    },
}

impl Lowering<'_, '_> {
    /// Declares the parameters of the function that is compiled, with their values, and its locals.
    pub(super) fn declare_own_locals(&mut self, body: &Body<'_>, params: &[Value]) -> Result<()> {
        let cx = self.cx;
        let types = &cx.module.func_type(self.frame.func).params;
        let slot = self.slot_for_locals(body, types.len())?;
        for (&value, ty) in params.iter().zip(types) {
            let repr = Repr::of(ty);
            self.note_repr(value, repr);
            let local = self.place_local(repr, value, slot);
            self.frame.locals.push(local);
        }
        self.declare_locals(body, slot, |_| true)
    }

    /// Declares the locals of `body`, which begin as zero. `is_written` tells of which of them the
    /// value changes, by their number.
    pub(super) fn declare_locals(
        &mut self,
        body: &Body<'_>,
        slot: Option<StackSlot>,
        is_written: impl Fn(usize) -> bool,
    ) -> Result<()> {
        // A null is in stack maps, so a number of the same type must not be the same value.
        let mut zeros: Vec<(Repr, Value)> = Vec::new();
        for run in body.body.get_locals_reader().map_err(malformed)? {
            let (count, ty) = run.map_err(malformed)?;
            let repr = Repr::of_parsed(self.cx.module, ty);
            let zero = match zeros.iter().find(|(known, _)| known.is_alike(&repr)) {
                Some(&(_, zero)) => zero,
                None => {
                    let zero = self.zero(repr.ty);
                    self.facts.declare_null(zero, &repr);
                    zeros.push((repr, zero));
                    zero
                }
            };
            for _ in 0..count {
                let local = if is_written(self.frame.locals.len()) {
                    self.place_local(repr, zero, slot)
                } else {
                    Local::Value(zero, repr)
                };
                self.frame.locals.push(local);
            }
        }
        Ok(())
    }

    /// A local, and what it begins as. It is in `slot`, if there is one.
    fn place_local(&mut self, repr: Repr, value: Value, slot: Option<StackSlot>) -> Local {
        match slot {
            // The collector finds references only where Cranelift has put them.
            Some(slot) if !repr.collected() => {
                let local = Local::Slot {
                    slot,
                    offset: self.frame.locals.len() as i32 * SLOT_SIZE_BYTES as i32,
                    repr,
                };
                self.write(local, value);
                local
            }
            _ => self.begin_local(repr, value),
        }
    }

    /// A local in SSA form, and what it begins as.
    pub(super) fn new_local(&mut self, repr: Repr, value: Value) -> Local {
        let value = self.kept_apart(value, repr);
        self.begin_local(repr, value)
    }

    fn begin_local(&mut self, repr: Repr, value: Value) -> Local {
        let variable = match self.inline.reuse_variable(repr) {
            Some(variable) => variable,
            None => self.new_variable(repr),
        };
        self.builder.def_var(variable, value);
        Local::Variable { variable, repr }
    }

    fn new_variable(&mut self, repr: Repr) -> Variable {
        self.variables += 1;
        let variable = self.builder.declare_var(repr.ty);
        if repr.collected() {
            self.builder.declare_var_needs_stack_map(variable);
        }
        variable
    }

    /// The place for locals in the frame, if they must be there.
    fn slot_for_locals(&mut self, body: &Body<'_>, params: usize) -> Result<Option<StackSlot>> {
        let mut locals = params as u64;
        let mut references = 0;
        for run in body.body.get_locals_reader().map_err(malformed)? {
            let (count, ty) = run.map_err(malformed)?;
            locals += u64::from(count);
            if Repr::of_parsed(self.cx.module, ty).collected() {
                references += u64::from(count);
            }
        }
        // Only where there may be too many are they counted.
        let most_blocks = u64::from(body.size) * MAX_BLOCKS_PER_BYTE;
        if locals * most_blocks <= MAX_LOCALS_TIMES_BLOCKS {
            return Ok(None);
        }
        let blocks = count_blocks(self.cx.module, body)?;
        if locals * blocks <= MAX_LOCALS_TIMES_BLOCKS {
            return Ok(None);
        }
        if references * blocks > MAX_LOCALS_TIMES_BLOCKS {
            return Err(CompileError::new("too many references and blocks"));
        }
        let size = locals as u32 * SLOT_SIZE_BYTES;
        let align_log2 = SLOT_SIZE_BYTES.ilog2() as u8;
        let data = StackSlotData::new(StackSlotKind::ExplicitSlot, size, align_log2);
        Ok(Some(self.builder.create_sized_stack_slot(data)))
    }

    /// `local.get`
    pub(super) fn local_get(&mut self, local: u32) {
        let (mut value, repr) = match self.frame.locals[local as usize] {
            Local::Value(value, repr) => (value, repr),
            Local::Variable { variable, repr } => (self.builder.use_var(variable), repr),
            Local::Slot { slot, offset, repr } => {
                let (address, flags) = self.slot_place(slot, offset);
                let value = self.builder.ins().load(repr.ty, flags, address, 0);
                (value, repr)
            }
        };
        if let Some(ty) = repr.reference {
            // Where blocks meet, it may have been given another name for a while.
            value = self.builder.func.dfg.resolve_aliases(value);
            self.facts.declare_if_new(value, ty);
            self.learn(value, ty);
        }
        self.push(value);
    }

    /// `local.set`
    pub(super) fn local_set(&mut self, local: u32) {
        let value = self.pop();
        self.write(self.frame.locals[local as usize], value);
    }

    /// `local.tee`
    pub(super) fn local_tee(&mut self, local: u32) {
        let value = *self.stack.last().expect("validated: an operand");
        self.write(self.frame.locals[local as usize], value);
    }

    fn write(&mut self, local: Local, value: Value) {
        match local {
            Local::Value(..) => panic!("a local was said to be never written"),
            Local::Variable { variable, repr } => {
                let value = self.kept_apart(value, repr);
                self.builder.def_var(variable, value);
            }
            Local::Slot { slot, offset, .. } => {
                let (address, flags) = self.slot_place(slot, offset);
                self.builder.ins().store(flags, value, address, 0);
            }
        }
    }

    /// The value for a local of this representation. What a local holds that the collector looks into is in
    /// stack maps under whatever name; so a null or an unboxed integer that has a name as such gets another.
    fn kept_apart(&mut self, value: Value, repr: Repr) -> Value {
        if !repr.collected() || self.may_be_object(value) {
            return value;
        }
        let ty = repr.reference.expect("it is a reference's");
        let ty = self.known_type(value, ty.heap.hierarchy());
        // Cranelift removes the instruction.
        let copy = self.builder.ins().bor_imm_u(value, 0);
        self.facts.declare(copy, ty);
        copy
    }

    fn slot_place(&mut self, slot: StackSlot, offset: i32) -> (Value, MemFlagsData) {
        let address = self.builder.ins().stack_addr(POINTER, slot, offset);
        (address, self.flags(Region::Locals))
    }
}

/// About how many blocks a body is lowered to, without what is inlined.
fn count_blocks(module: &Module, body: &Body<'_>) -> Result<u64> {
    let mut blocks = 0;
    let mut reader = body.body.get_operators_reader().map_err(malformed)?;
    while !reader.eof() {
        let operator = reader.read().map_err(malformed)?;
        blocks += match operator {
            Operator::Block { .. }
            | Operator::Loop { .. }
            | Operator::BrIf { .. }
            | Operator::BrOnNull { .. }
            | Operator::BrOnNonNull { .. } => 1,
            Operator::If { .. } => 3,
            // A call that is caught ends its block.
            Operator::Call { .. } => 1,
            Operator::CallIndirect { .. }
            | Operator::CallRef { .. }
            | Operator::ReturnCallIndirect { .. }
            | Operator::ReturnCallRef { .. } => guarded::MAX_BLOCKS,
            Operator::TryTable { try_table } => 1 + 4 * try_table.catches.len() as u64,
            Operator::Try { .. } | Operator::Catch { .. } | Operator::CatchAll => 3,
            Operator::Throw { .. } | Operator::ThrowRef | Operator::Rethrow { .. } => 6,
            Operator::TableSet { .. } => gc::MAX_BARRIER_BLOCKS,
            _ => gc::count_blocks(module, &operator) + continuations::count_blocks(&operator),
        };
    }
    Ok(blocks)
}
