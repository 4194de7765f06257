//! A checker of the rules that the collector relies on, over the CLIF of one function.
//!
//! The collector moves objects at any safepoint (a call that is not a tail call), and updates the
//! references that stack maps tell it. So after lowering:
//!
//! 1. No load of a reference, and no load from an address that was computed from one, is `readonly`
//!    or `can_move`: Cranelift would take such a load for pure, and may execute it on the other
//!    side of a call, or merge two across one.
//! 2. No reference is live across a safepoint in a CLIF value. (Those that were declared for stack
//!    maps live in stack slots there, and are loaded from them afterwards.)
//! 3. No address computed from a reference is live across a safepoint.
//! 4. An access at an address computed from a reference may trap: a null, an index out of bounds or a
//!    damaged heap faults there, and an access that is said not to trap would not be known to.
//!
//! This is the slow and simple counterpart of the care that `lower/` takes. It runs in debug
//! builds, in tests and under fuzzing; it knows nothing of WebAssembly.

use cranelift_codegen::entity::{EntityRef, EntitySet};
use cranelift_codegen::ir::{
    Block, BlockArg, Function, Inst, InstructionData, Opcode, StackSlot, Value, ValueDef,
};
use std::collections::{HashMap, HashSet};
use std::fmt;

/// A rule is broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Violation {
    /// Rule 1.
    PureLoad(Inst),
    /// Rule 2.
    ReferenceAcrossSafepoint(Value, Inst),
    /// Rule 3.
    AddressAcrossSafepoint(Value, Inst),
    /// Rule 4.
    AccessWithoutTrap(Inst),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::PureLoad(inst) => write!(
                f,
                "{inst} loads a reference or from the heap, and may be moved across a safepoint"
            ),
            Violation::ReferenceAcrossSafepoint(value, inst) => write!(
                f,
                "reference {value} is live across {inst} without a stack map"
            ),
            Violation::AddressAcrossSafepoint(value, inst) => write!(
                f,
                "{value}, an address computed from a reference, is live across {inst}"
            ),
            Violation::AccessWithoutTrap(inst) => {
                write!(f, "{inst} accesses the heap, and has no trap code")
            }
        }
    }
}

/// Checks `func`, in which `references` are the values known to be references. Others are found by
/// following them.
pub(crate) fn check(func: &Function, references: &EntitySet<Value>) -> Result<(), Violation> {
    let kinds = Kinds::infer(func, references);
    if kinds.tracked.is_empty() {
        return Ok(());
    }
    check_accesses(func, &kinds)?;
    Liveness { func, kinds }.check()
}

/// What is known of a value that the collector has to do with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Reference,
    /// Computed from a reference, and meaningless once the object has moved.
    Address,
}

/// The values that must not outlive a safepoint.
struct Kinds {
    tracked: HashMap<Value, Kind>,
}

impl Kinds {
    /// Follows `references` to a fixed point.
    fn infer(func: &Function, references: &EntitySet<Value>) -> Self {
        let slots = reference_slots(func);
        let mut kinds = Kinds {
            tracked: HashMap::new(),
        };
        for index in 0..func.dfg.num_values() {
            let value = Value::new(index);
            if references.contains(value) && func.dfg.value_is_real(value) {
                kinds.tracked.insert(value, Kind::Reference);
            }
        }
        loop {
            let before = kinds.tracked.len();
            for block in func.layout.blocks() {
                for inst in func.layout.block_insts(block) {
                    kinds.visit(func, inst, &slots);
                }
            }
            if kinds.tracked.len() == before {
                return kinds;
            }
        }
    }

    fn of(&self, func: &Function, value: Value) -> Option<Kind> {
        self.tracked.get(&func.dfg.resolve_aliases(value)).copied()
    }

    fn visit(&mut self, func: &Function, inst: Inst, slots: &HashSet<StackSlot>) {
        let data = &func.dfg.insts[inst];
        for call in
            data.branch_destination(&func.stencil.dfg.jump_tables, &func.dfg.exception_tables)
        {
            let params = func.dfg.block_params(call.block(&func.dfg.value_lists));
            for (arg, &param) in call.args(&func.dfg.value_lists).zip(params) {
                if let BlockArg::Value(arg) = arg
                    && let Some(kind) = self.of(func, arg)
                {
                    self.tracked.entry(param).or_insert(kind);
                }
            }
        }
        if let Some(kind) = self.of_result(func, inst, slots) {
            for &result in func.dfg.inst_results(inst) {
                self.tracked.entry(result).or_insert(kind);
            }
        }
    }

    /// The kind of what `inst` computes.
    fn of_result(&self, func: &Function, inst: Inst, slots: &HashSet<StackSlot>) -> Option<Kind> {
        let mut args = func.dfg.inst_args(inst).iter();
        match func.dfg.insts[inst].opcode() {
            Opcode::Load => {
                let slot = stack_slot_of(func, *args.next()?)?;
                slots.contains(&slot).then_some(Kind::Reference)
            }
            Opcode::Select | Opcode::SelectSpectreGuard => {
                args.skip(1).find_map(|&arg| self.of(func, arg))
            }
            // What else is computed from a reference (is it null, an i31's value) is a number.
            Opcode::Iadd | Opcode::Isub | Opcode::Uextend | Opcode::Sextend => {
                args.find_map(|&arg| self.of(func, arg).map(|_| Kind::Address))
            }
            _ => None,
        }
    }
}

/// The stack slots that hold references at some safepoint.
fn reference_slots(func: &Function) -> HashSet<StackSlot> {
    let insts = func
        .layout
        .blocks()
        .flat_map(|b| func.layout.block_insts(b));
    insts
        .filter_map(|inst| func.dfg.user_stack_map_entries(inst))
        .flatten()
        .map(|entry| entry.slot)
        .collect()
}

fn stack_slot_of(func: &Function, address: Value) -> Option<StackSlot> {
    let ValueDef::Result(inst, _) = func.dfg.value_def(func.dfg.resolve_aliases(address)) else {
        return None;
    };
    match func.dfg.insts[inst] {
        InstructionData::StackAddr { stack_slot, .. } => Some(stack_slot),
        _ => None,
    }
}

fn check_accesses(func: &Function, kinds: &Kinds) -> Result<(), Violation> {
    for block in func.layout.blocks() {
        for inst in func.layout.block_insts(block) {
            let data = &func.dfg.insts[inst];
            let Some(flags) = data.memflags_data(&func.dfg) else {
                continue;
            };
            if flags.notrap() && is_heap_access(func, inst, kinds) {
                return Err(Violation::AccessWithoutTrap(inst));
            }
            if !data.opcode().can_load() {
                continue;
            }
            let mut values = func
                .dfg
                .inst_args(inst)
                .iter()
                .chain(func.dfg.inst_results(inst));
            let concerned = values.any(|&value| kinds.of(func, value).is_some());
            if concerned && (flags.readonly() || flags.can_move()) {
                return Err(Violation::PureLoad(inst));
            }
        }
    }
    Ok(())
}

/// Whether the address of a load or store was computed from a reference.
fn is_heap_access(func: &Function, inst: Inst, kinds: &Kinds) -> bool {
    let opcode = func.dfg.insts[inst].opcode();
    let args = func.dfg.inst_args(inst);
    // A store takes the value first.
    let address = match args {
        [address] if opcode.can_load() => address,
        [_, address] if opcode.can_store() => address,
        _ => return false,
    };
    kinds.of(func, *address) == Some(Kind::Address)
}

/// Which tracked values are live where: backwards over the blocks to a fixed point.
struct Liveness<'f> {
    func: &'f Function,
    kinds: Kinds,
}

impl Liveness<'_> {
    fn check(&self) -> Result<(), Violation> {
        let blocks: Vec<Block> = self.func.layout.blocks().collect();
        let mut live_in: HashMap<Block, HashSet<Value>> = HashMap::new();
        loop {
            let mut changed = false;
            for &block in blocks.iter().rev() {
                let live = self.live_into(block, &live_in, &mut |_, _| Ok(()))?;
                let known = live_in.entry(block).or_default();
                if live.len() > known.len() {
                    *known = live;
                    changed = true;
                }
            }
            if !changed {
                break;
            }
        }
        for &block in &blocks {
            self.live_into(block, &live_in, &mut |value, inst| {
                Err(match self.kinds.tracked[&value] {
                    Kind::Reference => Violation::ReferenceAcrossSafepoint(value, inst),
                    Kind::Address => Violation::AddressAcrossSafepoint(value, inst),
                })
            })?;
        }
        Ok(())
    }

    /// What is live at the beginning of `block`. Calls `across` for what is live across safepoints.
    fn live_into(
        &self,
        block: Block,
        live_in: &HashMap<Block, HashSet<Value>>,
        across: &mut dyn FnMut(Value, Inst) -> Result<(), Violation>,
    ) -> Result<HashSet<Value>, Violation> {
        let dfg = &self.func.dfg;
        let mut live: HashSet<Value> = HashSet::new();
        for inst in self.func.layout.block_insts(block).rev() {
            let data = &dfg.insts[inst];
            for call in data.branch_destination(&dfg.jump_tables, &dfg.exception_tables) {
                let target = call.block(&dfg.value_lists);
                live.extend(live_in.get(&target).into_iter().flatten());
                // Arguments of an edge are used after the call that the edge comes from.
                live.extend(call.args(&dfg.value_lists).filter_map(|arg| match arg {
                    BlockArg::Value(value) => self.tracked(value),
                    _ => None,
                }));
            }
            for result in dfg.inst_results(inst) {
                live.remove(result);
            }
            if data.opcode().is_call() && !data.opcode().is_return() {
                let mut values: Vec<_> = live.iter().copied().collect();
                values.sort_unstable();
                for value in values {
                    across(value, inst)?;
                }
            }
            live.extend(dfg.inst_args(inst).iter().filter_map(|&v| self.tracked(v)));
        }
        for param in dfg.block_params(block) {
            live.remove(param);
        }
        Ok(live)
    }

    /// The value itself if it is tracked. Constants are not: null is null wherever the objects are.
    fn tracked(&self, value: Value) -> Option<Value> {
        let value = self.func.dfg.resolve_aliases(value);
        self.kinds.tracked.get(&value)?;
        match self.func.dfg.value_def(value) {
            ValueDef::Result(inst, _) if self.func.dfg.insts[inst].opcode() == Opcode::Iconst => {
                None
            }
            _ => Some(value),
        }
    }
}

#[cfg(test)]
mod tests;
