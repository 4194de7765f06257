//! Guarded calls: a call by reference is compared with those whom it is likely to reach.
//!
//! ```text
//!   call_ref $t       ─►  is it $f?  yes: call $f, or $f's body ─┐
//!                         is it $g?  yes: call $g, or $g's body ─┤
//!                         call whom it refers to  ───────────────┴─►
//! ```
//!
//! [`super::targets`] guesses whom; any guess is sound, as its identity is compared and its type is
//! checked here, when it is compiled. A reference is compared by its address, that of the instance's own
//! record of the function. What comes straight from an object is compared by the function's number
//! instead, so that nothing has to be looked up: a function that has no number yet has one that is never
//! given ([`NO_FUNC_ID`](sarsen_abi::vmctx::NO_FUNC_ID)), and a number that somebody forged can do no more
//! than call a function of the right type. So null is never equal, and traps where it always has: in the
//! general call, which also takes other instances' functions and imports.
//!
//! Each way is a call as any other: it may be inlined, traps and backtraces tell of it, handlers catch
//! what it throws, and a tail call is one.

use super::call::Transfer;
use super::control::Args;
use super::facts::is_declared_subtype;
use super::function::{Lowering, malformed};
use super::region::Region;
use super::signature::Repr;
use super::targets::MAX_TARGETS;
use crate::error::Result;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::I32;
use cranelift_codegen::ir::{Block, InstBuilder, Value};
use sarsen_abi::heap::Slot;
use sarsen_abi::types::{CompositeType, FieldType, HeapType, RefType, StorageType, ValType};
use sarsen_abi::vmctx::offset;
use sarsen_abi::{DefinedFuncIndex, TypeIndex};
use smallvec::SmallVec;
use wasmparser::{Operator, OperatorsReader};

/// A guarded call is lowered to at most this many blocks, besides those of what is inlined: two for each
/// target, where they meet, and one behind each call that somebody catches from.
pub(super) const MAX_BLOCKS: u64 = 3 * MAX_TARGETS as u64 + 2;

/// How many targets are compared with that are called and not inlined, where a comparison saves loads.
const MAX_CALLED: usize = 2;

/// What says who is called.
#[derive(Clone, Copy)]
pub(super) enum Reference {
    /// The address of a `VmFuncRef`, or null.
    Address(Value),
    /// The number of a function, from a field or element.
    Number(Value),
}

type Chosen = SmallVec<[DefinedFuncIndex; MAX_TARGETS]>;

impl Lowering<'_, '_> {
    /// If `operator` loads a function from an object, and the next instruction calls it: lowers both, and
    /// returns that it has.
    pub(super) fn lower_load_with_call(
        &mut self,
        operator: &Operator<'_>,
        reader: &mut OperatorsReader<'_>,
    ) -> Result<bool> {
        let (Operator::StructGet { .. } | Operator::ArrayGet { .. }) = *operator else {
            return Ok(false);
        };
        if self.unreachable.is_some() {
            return Ok(false);
        }
        let Some(field_type) = self.loaded_function_type(operator) else {
            return Ok(false);
        };
        let mut ahead = reader.clone();
        let offset = ahead.original_position();
        let next = ahead.read().map_err(malformed)?;
        let (ty, transfer) = match next {
            Operator::CallRef { type_index } => (type_index, Transfer::Call),
            Operator::ReturnCallRef { type_index } => (type_index, Transfer::Tail),
            _ => return Ok(false),
        };
        let ty = TypeIndex::new(ty);
        *reader = ahead;
        self.count_fuel(operator);
        self.count_fuel(&next);
        let number = self.load_function_number(operator);
        self.source.go_to(offset);
        let targets = self.cx.targets();
        let targets = match *operator {
            Operator::StructGet {
                struct_type_index,
                field_index,
            } => targets.of_field(TypeIndex::new(struct_type_index), field_index),
            _ => None,
        }
        .unwrap_or_else(|| targets.of_type(ty));
        let callee = Reference::Number(number);
        self.guarded_call(callee, targets, ty, transfer, |this| {
            let func = this.function_to_call(number, field_type);
            this.call_func_ref(func, 0, None, ty, transfer);
        })?;
        Ok(true)
    }

    /// The type of the references that an instruction loads, if these are to functions of some type.
    fn loaded_function_type(&self, operator: &Operator<'_>) -> Option<RefType> {
        let FieldType { storage, .. } = match *operator {
            Operator::StructGet {
                struct_type_index,
                field_index,
            } => &self.cx.struct_fields(TypeIndex::new(struct_type_index))[field_index as usize],
            Operator::ArrayGet { array_type_index } => {
                match &self.cx.module.types[array_type_index as usize].composite {
                    CompositeType::Array(element) => element,
                    _ => return None,
                }
            }
            _ => return None,
        };
        match storage {
            StorageType::Val(ValType::Ref(ty))
                if Slot::of(storage) == Slot::Function
                    && matches!(ty.heap, HeapType::ConcreteFunc(_)) =>
            {
                Some(*ty)
            }
            _ => None,
        }
    }

    /// Calls `callee`, a function of type `ty`, which is likely to be one of `targets`; `general` calls any.
    pub(super) fn guarded_call(
        &mut self,
        callee: Reference,
        targets: &[DefinedFuncIndex],
        ty: TypeIndex,
        transfer: Transfer,
        general: impl FnOnce(&mut Self),
    ) -> Result<()> {
        let targets = self.worth_comparing(callee, targets, ty, transfer);
        if targets.is_empty() {
            general(self);
            return Ok(());
        }
        self.flush_fuel();
        let cx = self.cx;
        let func_type = cx.module.func_type_at(ty);
        let first = self.stack.len() - func_type.params.len();
        let args: SmallVec<[Value; 8]> = self.stack[first..].into();
        let facts = self.facts.mark();
        let checks = self.checks.so_far();
        let mut join = None;
        for target in targets {
            let [yes, no] = [(); 2].map(|()| self.builder.create_block());
            let is_target = self.is_reference_to(callee, target);
            self.builder.ins().brif(is_target, yes, &[], no, &[]);
            self.continue_in(yes);
            self.call(cx.module.func_index(target).as_u32(), transfer)?;
            self.meet(&mut join, ty);
            self.facts.forget_to(facts);
            self.checks.return_to(checks);
            self.stack.truncate(first);
            self.stack.extend_from_slice(&args);
            self.continue_in(no);
            self.check_size()?;
        }
        let last = self.builder.current_block().expect("it is in one");
        self.builder.set_cold_block(last);
        general(self);
        self.meet(&mut join, ty);
        self.facts.forget_to(facts);
        self.checks.return_to(checks);
        self.stack.truncate(first);
        match join {
            Some(join) => {
                self.stack.extend(self.builder.block_params(join));
                self.continue_in(join);
            }
            None => self.stop(),
        }
        Ok(())
    }

    /// The targets that a comparison is worth its while for.
    fn worth_comparing(
        &self,
        callee: Reference,
        targets: &[DefinedFuncIndex],
        ty: TypeIndex,
        transfer: Transfer,
    ) -> Chosen {
        let module = self.cx.module;
        let saves_loads = matches!(callee, Reference::Number(_)) && targets.len() <= MAX_CALLED;
        let is_worth = |&target: &DefinedFuncIndex| {
            let index = module.func_index(target);
            let fits = is_declared_subtype(module, module.funcs[index.index()], ty);
            let is_inlined = transfer == Transfer::Call && self.should_inline(target);
            fits && (is_inlined || saves_loads) && module.escaping_position(index).is_some()
        };
        let targets = targets.iter().copied();
        if self.cx.settings.inlining {
            targets.filter(is_worth).collect()
        } else {
            Chosen::new()
        }
    }

    /// Whether `callee` is this instance's `target`.
    fn is_reference_to(&mut self, callee: Reference, target: DefinedFuncIndex) -> Value {
        let index = self.cx.module.func_index(target);
        let record = self.func_reference(index);
        match callee {
            Reference::Address(address) => self.builder.ins().icmp(IntCC::Equal, address, record),
            Reference::Number(number) => {
                let flags = self.flags(Region::FuncRefs);
                let own = self
                    .builder
                    .ins()
                    .load(I32, flags, record, offset::FUNCREF_ID);
                self.builder.ins().icmp(IntCC::Equal, number, own)
            }
        }
    }

    /// At the end of one of several ways: goes on in `join` with the results of a call of type `ty`, unless
    /// the end cannot be reached. There is no current block then.
    fn meet(&mut self, join: &mut Option<Block>, ty: TypeIndex) {
        if self.unreachable.take().is_some() {
            return;
        }
        self.flush_fuel();
        let results = &self.cx.module.func_type_at(ty).results;
        let join = match *join {
            Some(join) => join,
            None => {
                let reprs: SmallVec<[Repr; 4]> = results.iter().map(Repr::of).collect();
                *join.insert(self.block_with_params(&reprs))
            }
        };
        let args: Args = self.top_args(results.len());
        self.builder.ins().jump(join, &args);
    }
}
