//! Source points: which WebAssembly instruction a piece of CLIF was lowered from.
//!
//! A CLIF source location is the number of a point in the function's [`SourceTable`]. A point is made
//! when code that may trap or call is about to be lowered from an instruction, and only then: the
//! table's size is what an image stores.

use crate::compiled::{InlineContext, SourcePoint, SourceTable};
use cranelift_codegen::entity::SecondaryMap;
use cranelift_codegen::ir::{Block, Function, Inst, Opcode, SourceLoc};
use sarsen_abi::FuncIndex;

/// Makes a function's [`SourceTable`].
pub(super) struct SourceRecorder {
    table: SourceTable,
    /// The instruction being lowered.
    current: SourcePoint,
    /// Its location, once it has one.
    location: Option<SourceLoc>,
}

impl SourceRecorder {
    /// Begins at the function's first byte, which becomes point 0.
    pub(super) fn new(start: u64) -> Self {
        let mut recorder = SourceRecorder {
            table: SourceTable::default(),
            current: SourcePoint {
                context: 0,
                wasm_offset: module_offset(start),
            },
            location: None,
        };
        recorder.location();
        recorder
    }

    /// Goes to the instruction at `offset` from the beginning of the module.
    pub(super) fn go_to(&mut self, offset: u64) {
        self.current.wasm_offset = module_offset(offset);
        self.location = None;
    }

    /// Where the current instruction is, in bytes from the beginning of the module.
    pub(super) fn offset(&self) -> u64 {
        u64::from(self.current.wasm_offset)
    }

    /// The location of the current instruction.
    pub(super) fn location(&mut self) -> SourceLoc {
        *self
            .location
            .get_or_insert_with(|| self.table.push(self.current))
    }

    /// Enters the body of `func` in place of the call that is the current instruction. Returns the
    /// call, for [`SourceRecorder::leave`].
    pub(super) fn enter(&mut self, func: FuncIndex) -> SourceLoc {
        let call = self.location();
        self.table.contexts.push(InlineContext {
            parent_point: call.bits(),
            func,
        });
        self.current.context = self.table.contexts.len() as u32;
        self.location = None;
        call
    }

    /// Goes back to the call.
    pub(super) fn leave(&mut self, call: SourceLoc) {
        self.current = self.table.points[call.bits() as usize];
        self.location = Some(call);
    }

    /// The finished table.
    pub(super) fn finish(self) -> SourceTable {
        self.table
    }
}

/// Offsets past 4 GiB, which only a module with gigabytes of custom sections has, become the last.
fn module_offset(offset: u64) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}

/// Gives each branch to a block that does nothing but trap the location of the trap: Cranelift makes a
/// conditional trap of the two, and leaves that where the branch was.
pub(super) fn locate_branches_to_traps(func: &mut Function) {
    let blocks: Vec<Block> = func.layout.blocks().collect();
    let mut traps = SecondaryMap::new();
    for &block in &blocks {
        traps[block] = only_trap(func, block);
    }
    for block in blocks {
        let Some(branch) = func.layout.last_inst(block) else {
            continue;
        };
        if func.dfg.insts[branch].opcode() != Opcode::Brif {
            continue;
        }
        let dfg = &func.dfg;
        let destinations =
            dfg.insts[branch].branch_destination(&dfg.jump_tables, &dfg.exception_tables);
        let mut blocks = destinations.iter().map(|to| to.block(&dfg.value_lists));
        if let Some(trap) = blocks.find_map(|to| traps[to]) {
            func.set_srcloc(branch, func.srcloc(trap));
        }
    }
}

/// The trap of a block that does nothing else.
fn only_trap(func: &Function, block: Block) -> Option<Inst> {
    let opcode = |inst| func.dfg.insts[inst].opcode();
    let trap = func.layout.last_inst(block)?;
    if opcode(trap) != Opcode::Trap {
        return None;
    }
    let mut before = func.layout.block_insts(block).map(opcode);
    let does_more = before.any(|opcode| {
        opcode != Opcode::Trap
            && (opcode.can_trap()
                || opcode.is_call()
                || opcode.can_store()
                || opcode.other_side_effects())
    });
    (!does_more).then_some(trap)
}
