//! The state of lowering one function, and what every kind of instruction uses of it: the operand
//! stack, constants, traps, collected references, and values that are computed once, in the entry
//! block.

use super::ModuleContext;
use super::call::Callees;
use super::checked::Checks;
use super::continuations::Switching;
use super::control::Label;
use super::exceptions::{Handlers, Scope};
use super::facts::Facts;
use super::hint::ColdEdges;
use super::inline::InlineState;
use super::interrupt::FuelCounter;
use super::local::Local;
use super::loops::Loops;
use super::memory::MemoryAccess;
use super::region::Region;
use super::signature::{POINTER, Repr, wasm_signature};
use super::source::{SourceRecorder, locate_branches_to_traps};
use crate::compiled::{ClifName, CodeKind, SourceTable};
use crate::error::{CompileError, Result};
use crate::read::Body;
use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::entity::EntitySet;
use cranelift_codegen::ir;
use cranelift_codegen::ir::immediates::Offset32;
use cranelift_codegen::ir::{
    Block, GlobalValueData, Inst, InstBuilder, MemFlagsData, Type, UserFuncName, Value, types,
};
use cranelift_codegen::isa::TargetFrontendConfig;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use sarsen_abi::vmctx::offset;
use sarsen_abi::{DefinedFuncIndex, FuncIndex, TrapCode, TypeIndex};
use std::collections::HashMap;

/// How many values may be passed to blocks and calls in a function. A single byte of WebAssembly can
/// pass a thousand, or with a table of branches millions; a function for people to use is far below.
pub(super) const MAX_PASSED: usize = 16 << 20;

/// The largest product of variables and blocks. Cranelift's memory for finding the values of variables may be
/// four bytes for each of both. Many locals and blocks are seen before (`local`), but not what a few bytes
/// make thousands of blocks of.
const MAX_VARIABLES_TIMES_BLOCKS: u64 = 1 << 27;

/// The lowering of one function.
pub(super) struct Lowering<'m, 'f> {
    pub(super) cx: &'m ModuleContext<'m>,
    pub(super) builder: FunctionBuilder<'f>,
    /// The instance: the first parameter.
    pub(super) vmctx: Value,
    /// WebAssembly's operands.
    pub(super) stack: Vec<Value>,
    /// The blocks that are open and whose beginning can be reached, innermost last.
    pub(super) labels: Vec<Label>,
    /// While the current instruction cannot be reached: how many blocks were opened since.
    pub(super) unreachable: Option<u32>,
    /// The function that the current instruction belongs to.
    pub(super) frame: Frame,
    pub(super) source: SourceRecorder,
    pub(super) callees: Callees,
    pub(super) inline: InlineState,
    pub(super) fuel: FuelCounter,
    pub(super) cold_edges: ColdEdges,
    pub(super) checks: Checks,
    /// By memory index, what is known of those that were accessed.
    pub(super) memories: Vec<Option<MemoryAccess>>,
    pub(super) facts: Facts,
    pub(super) switching: Switching,
    pub(super) handlers: Handlers,
    entry: EntryBlock,
    references: EntitySet<Value>,
    /// The instructions that trap if an index is beyond an array's end.
    pub(super) array_checks: Vec<Inst>,
    /// How many values are passed to blocks and calls.
    passed: usize,
    /// How many variables there are.
    pub(super) variables: u64,
}

/// What a lowering leaves besides the code.
pub(super) struct Finished {
    pub(super) source: SourceTable,
    pub(super) references: EntitySet<Value>,
    pub(super) array_checks: Vec<Inst>,
}

/// A function whose instructions are being lowered: the one that is compiled, or one inlined.
pub(super) struct Frame {
    /// Which function.
    pub(super) func: FuncIndex,
    /// How many labels there are below its own.
    pub(super) floor: usize,
    /// Its parameters and locals.
    pub(super) locals: Vec<Local>,
    /// What its loops do with references in locals, once one has begun.
    pub(super) loops: Option<Loops>,
    /// Who catches what it throws.
    pub(super) handlers: Option<Scope>,
}

/// Where values go that are computed once and used anywhere.
///
/// The instructions that compute them are put at the beginning of the entry block. They are loads
/// that are readonly and movable, so that the optimizer sinks them to where they are used.
struct EntryBlock {
    block: Block,
    /// The last of these instructions.
    last: Option<Inst>,
    /// By the address and offset loaded from.
    loads: HashMap<(Value, i32), Value>,
}

/// Declares the CLIF function for `func`, without code.
pub(super) fn declare(cx: &ModuleContext<'_>, func: DefinedFuncIndex) -> ir::Function {
    let name = UserFuncName::User(CodeKind::Wasm(func).to_clif_name());
    let ty = cx.module.func_type(cx.module.func_index(func));
    let mut clif = ir::Function::with_name_signature(name, wasm_signature(ty));
    let flags = clif
        .dfg
        .mem_flags
        .insert_unchecked(MemFlagsData::trusted().with_readonly());
    let vmctx = clif.create_global_value(GlobalValueData::VMContext);
    let mut load = |base, offset| {
        clif.create_global_value(GlobalValueData::Load {
            base,
            offset: Offset32::new(offset),
            global_type: POINTER,
            flags,
        })
    };
    let store = load(vmctx, offset::CONTEXT_STORE);
    let stack_limit = load(store, offset::STORE_STACK_LIMIT);
    clif.stack_limit = Some(stack_limit);
    clif
}

impl<'m, 'f> Lowering<'m, 'f> {
    /// Begins to lower `func` into `clif`, as far as its parameters.
    pub(super) fn new(
        cx: &'m ModuleContext<'m>,
        func: FuncIndex,
        clif: &'f mut ir::Function,
        builders: &'f mut FunctionBuilderContext,
    ) -> Self {
        let defined = cx.module.defined_func(func).expect("it has a body");
        let start = cx.body(defined).body.range().start;
        let mut builder = FunctionBuilder::new(clif, builders);
        let entry = builder.create_block();
        builder.append_block_params_for_function_params(entry);
        builder.switch_to_block(entry);
        builder.ensure_inserted_block();
        builder.seal_block(entry);
        Lowering {
            cx,
            vmctx: builder.block_params(entry)[0],
            builder,
            stack: Vec::new(),
            labels: Vec::new(),
            unreachable: None,
            frame: Frame {
                func,
                floor: 0,
                locals: Vec::new(),
                loops: None,
                handlers: None,
            },
            source: SourceRecorder::new(start),
            callees: Callees::default(),
            inline: InlineState::new(cx, func),
            fuel: FuelCounter::default(),
            cold_edges: ColdEdges::default(),
            checks: Checks::default(),
            memories: Vec::new(),
            facts: Facts::default(),
            switching: Switching::default(),
            handlers: Handlers::default(),
            entry: EntryBlock {
                block: entry,
                last: None,
                loads: HashMap::new(),
            },
            references: EntitySet::new(),
            array_checks: Vec::new(),
            passed: 0,
            variables: 0,
        }
    }

    /// Lowers the function itself.
    pub(super) fn lower_own_body(&mut self) -> Result<()> {
        self.mark();
        let cx = self.cx;
        let func = self.frame.func;
        let params: Vec<Value> = self.builder.block_params(self.entry.block)[1..].to_vec();
        let body = cx.body(cx.module.defined_func(func).expect("it has a body"));
        self.begin_switching();
        self.declare_own_locals(body, &params)?;
        self.interruption_point();
        self.open_body(cx.module.funcs[func.index()]);
        self.lower_instructions(body)
    }

    /// Lowers the instructions of a body whose label has just been opened, until it is closed.
    pub(super) fn lower_instructions(&mut self, body: &Body<'_>) -> Result<()> {
        let mut reader = body.body.get_operators_reader().map_err(malformed)?;
        while self.labels.len() > self.frame.floor {
            let offset = reader.original_position();
            let operator = reader.read().map_err(malformed)?;
            self.source.go_to(offset);
            let with_next = self.lower_test_with_branch(&operator, &mut reader)?
                || self.lower_load_with_call(&operator, &mut reader)?;
            if !with_next {
                self.lower_operator(&operator, offset)?;
            }
            self.check_size()?;
        }
        Ok(())
    }

    /// Finishes the function.
    pub(super) fn finish(mut self, target: TargetFrontendConfig) -> Finished {
        self.mark_cold_blocks();
        self.builder
            .make_stack_map_alias_region(Box::new(|regions, _, _, _| {
                Some(Region::Frame.intern(regions))
            }));
        locate_branches_to_traps(self.builder.func);
        self.builder.finalize(target);
        Finished {
            source: self.source.finish(),
            references: self.references,
            array_checks: self.array_checks,
        }
    }

    /// Counts values that are passed to a block or call.
    pub(super) fn count_passed(&mut self, count: usize) {
        self.passed = self.passed.saturating_add(count);
    }

    /// Fails if the function has become too large.
    pub(super) fn check_size(&self) -> Result<()> {
        let blocks = self.builder.func.dfg.num_blocks() as u64;
        if self.passed > MAX_PASSED || self.variables * blocks > MAX_VARIABLES_TIMES_BLOCKS {
            return Err(CompileError::new("too large to be compiled"));
        }
        Ok(())
    }

    // Operands.

    /// Pushes an operand.
    pub(super) fn push(&mut self, value: Value) {
        self.stack.push(value);
    }

    /// Pops an operand.
    pub(super) fn pop(&mut self) -> Value {
        self.stack.pop().expect("validated: an operand")
    }

    /// Pops two operands; the second was on top.
    pub(super) fn pop2(&mut self) -> (Value, Value) {
        let y = self.pop();
        (self.pop(), y)
    }

    /// Pops three operands; the third was on top.
    pub(super) fn pop3(&mut self) -> (Value, Value, Value) {
        let z = self.pop();
        let (x, y) = self.pop2();
        (x, y, z)
    }

    /// The topmost `count` operands.
    pub(super) fn top(&self, count: usize) -> &[Value] {
        &self.stack[self.stack.len() - count..]
    }

    /// The type of a value.
    pub(super) fn type_of(&self, value: Value) -> Type {
        self.builder.func.dfg.value_type(value)
    }

    // Values.

    /// An integer constant.
    pub(super) fn iconst(&mut self, ty: Type, value: i64) -> Value {
        // Cranelift wants narrower constants zero-extended.
        let value = if ty == types::I32 {
            i64::from(value as u32)
        } else {
            value
        };
        self.builder.ins().iconst(ty, value)
    }

    /// Zero, of any type that a local can have.
    pub(super) fn zero(&mut self, ty: Type) -> Value {
        match ty {
            types::F32 => self.builder.ins().f32const(0.0),
            types::F64 => self.builder.ins().f64const(0.0),
            types::I8X16 => {
                let zero = self.builder.func.dfg.constants.insert([0; 16][..].into());
                self.builder.ins().vconst(ty, zero)
            }
            _ => self.builder.ins().iconst(ty, 0),
        }
    }

    /// Zero-extends an index of 32 or 64 bits to 64.
    pub(super) fn extend_index(&mut self, index: Value) -> Value {
        if self.type_of(index) == types::I64 {
            index
        } else {
            self.builder.ins().uextend(types::I64, index)
        }
    }

    /// Declares that `value` is a collected reference: it must be in stack maps. Every such value
    /// is declared where it is made.
    pub(super) fn declare_reference(&mut self, value: Value) {
        debug_assert_eq!(self.type_of(value), types::I32);
        self.builder.declare_value_needs_stack_map(value);
        self.references.insert(value);
    }

    /// Notes what is known of a value where it is made: that the collector must find it, and, of a
    /// reference, its type.
    pub(super) fn note_repr(&mut self, value: Value, repr: Repr) {
        if repr.collected() {
            self.declare_reference(value);
        }
        if let Some(ty) = repr.reference {
            self.facts.declare(value, ty);
        }
    }

    // Blocks, traps.

    /// Makes the current instruction's source location that of the code that follows. Everything that
    /// emits code which may trap or call does this first.
    pub(super) fn mark(&mut self) {
        let location = self.source.location();
        self.builder.set_srcloc(location);
    }

    /// Goes on in `block`, all of whose predecessors are known.
    pub(super) fn continue_in(&mut self, block: Block) {
        self.builder.seal_block(block);
        self.builder.switch_to_block(block);
    }

    /// Runs `slow` if `condition` holds, in a block out of the way, then goes on.
    pub(super) fn if_rarely(&mut self, condition: Value, slow: impl FnOnce(&mut Self)) {
        let slow_block = self.builder.create_block();
        let next = self.builder.create_block();
        self.builder.set_cold_block(slow_block);
        self.builder
            .ins()
            .brif(condition, slow_block, &[], next, &[]);
        self.continue_in(slow_block);
        let checks = self.checks.so_far();
        let known = self.facts.mark();
        slow(self);
        self.facts.forget_to(known);
        self.checks.return_to(checks);
        self.builder.ins().jump(next, &[]);
        self.continue_in(next);
    }

    // Memory that compiled code shares with the runtime.

    /// Flags for an access to `region` that cannot trap.
    pub(super) fn flags(&mut self, region: Region) -> MemFlagsData {
        let region = region.intern(&mut self.builder.func.dfg.alias_regions);
        MemFlagsData::trusted().with_alias_region(Some(region))
    }

    /// Loads a pointer or number that never changes during an instance's life, and is no collected
    /// reference. The load is in the entry block, so `base` must be the vmctx or come from here.
    pub(super) fn load_once(&mut self, ty: Type, base: Value, offset: i32) -> Value {
        if let Some(&value) = self.entry.loads.get(&(base, offset)) {
            debug_assert_eq!(self.type_of(value), ty);
            return value;
        }
        let at = FuncCursor::new(self.builder.func);
        let mut at = match self.entry.last {
            Some(last) => at.after_inst(last),
            None => at.at_first_insertion_point(self.entry.block),
        };
        let flags = MemFlagsData::trusted().with_readonly().with_can_move();
        let value = at.ins().load(ty, flags, base, offset);
        self.entry.last = at.func.dfg.value_def(value).inst();
        self.entry.loads.insert((base, offset), value);
        value
    }

    /// The store's fields.
    pub(super) fn store_context(&mut self) -> Value {
        self.load_once(POINTER, self.vmctx, offset::CONTEXT_STORE)
    }

    /// The engine's id of a type. Ids differ between engines, so it is loaded.
    pub(super) fn type_id(&mut self, ty: TypeIndex) -> Value {
        let ids = self.load_once(POINTER, self.vmctx, offset::VMCTX_TYPE_IDS);
        self.load_once(types::I32, ids, ty.as_u32() as i32 * 4)
    }
}

/// Cranelift's form of a trap code.
pub(crate) const fn trap_code(code: TrapCode) -> ir::TrapCode {
    ir::TrapCode::unwrap_user(code.byte())
}

/// An error in a body, which cannot be after validation.
pub(super) fn malformed(error: wasmparser::Error) -> CompileError {
    CompileError::at(error.offset(), error.message())
}
