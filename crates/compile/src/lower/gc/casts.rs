//! Tests of types, casts, and branches on them.
//!
//! A test becomes branches, in the order: null, unboxed integer, type; those that the reference's static
//! type or the target leave open, and no more. So `ref.test` before `if` or `br_if` is lowered together
//! with it, and its result is never a number.
//!
//! A cast that fails goes out of the way, to the runtime, which tells what was found.

use super::super::facts::bottom;
use super::super::function::{Lowering, malformed, trap_code};
use super::super::signature::{POINTER, Repr, parsed_heap_type, parsed_ref_type};
use super::types::{Objects, TypeTest};
use crate::error::Result;
use cranelift_codegen::ir::types::I32;
use cranelift_codegen::ir::{Block, InstBuilder, Value};
use sarsen_abi::types::{AbstractHeapType, HeapType, Hierarchy, RefType};
use sarsen_abi::{Builtin, TrapCode};
use wasmparser::{Operator, OperatorsReader};

impl Lowering<'_, '_> {
    /// The test of whether a reference is of type `target`, which is none of continuations: to those there
    /// are no casts.
    fn type_test(&self, reference: Value, target: RefType) -> TypeTest {
        debug_assert_ne!(target.heap.hierarchy(), Hierarchy::Cont);
        let known = self.known_type(reference, target.heap.hierarchy());
        TypeTest::new(self.cx.module, known, target)
    }

    /// The branches of a test whose outcome is open, to the first block if it passes, else to the second;
    /// neither is sealed.
    fn branch_on_test(&mut self, reference: Value, test: TypeTest, [yes, no]: [Block; 2]) {
        let to = |passes: bool| if passes { yes } else { no };
        let rest = match test.objects {
            Objects::All => Some(true),
            Objects::None => Some(false),
            _ => None,
        };
        // What null and unboxed integers share with all others is not asked for.
        let null = test.null.filter(|&null| rest != Some(null));
        let i31 = test.i31.filter(|&i31| rest != Some(i31));
        if let Some(passes) = null {
            let next = self.builder.create_block();
            self.builder
                .ins()
                .brif(reference, next, &[], to(passes), &[]);
            self.continue_in(next);
        }
        if let Some(passes) = i31 {
            let next = self.builder.create_block();
            let bit = self.i31_bit(reference);
            self.builder.ins().brif(bit, to(passes), &[], next, &[]);
            self.continue_in(next);
        }
        match rest {
            Some(passes) => {
                self.builder.ins().jump(to(passes), &[]);
            }
            None => {
                let passes = self.passes(reference, test.objects);
                self.builder.ins().brif(passes, yes, &[], no, &[]);
            }
        }
    }

    /// The branches of a test whose outcome is open, to two new blocks.
    fn branches_of(&mut self, reference: Value, test: TypeTest) -> [Block; 2] {
        let blocks = [(); 2].map(|()| self.builder.create_block());
        self.branch_on_test(reference, test, blocks);
        blocks
    }

    /// `ref.test`
    pub(super) fn ref_test(&mut self, heap: wasmparser::HeapType, nullable: bool) {
        let reference = self.pop();
        let heap = parsed_heap_type(self.cx.module, heap);
        let test = self.type_test(reference, RefType { nullable, heap });
        if let Some(passes) = test.outcome() {
            let result = self.iconst(I32, i64::from(passes));
            self.push(result);
            return;
        }
        let blocks = self.branches_of(reference, test);
        let done = self.builder.create_block();
        let result = self.builder.append_block_param(done, I32);
        for (block, passes) in blocks.into_iter().zip([1, 0]) {
            self.continue_in(block);
            let passes = self.iconst(I32, passes);
            self.builder.ins().jump(done, &[passes.into()]);
        }
        self.continue_in(done);
        self.push(result);
    }

    /// If `operator` is a test of a type, and the next instruction branches on it: lowers both, and returns
    /// that it has.
    pub(in crate::lower) fn lower_test_with_branch(
        &mut self,
        operator: &Operator<'_>,
        reader: &mut OperatorsReader<'_>,
    ) -> Result<bool> {
        let (hty, nullable) = match *operator {
            Operator::RefTestNonNull { hty } => (hty, false),
            Operator::RefTestNullable { hty } => (hty, true),
            _ => return Ok(false),
        };
        if self.unreachable.is_some() {
            return Ok(false);
        }
        let mut ahead = reader.clone();
        let mut offset = ahead.original_position();
        let mut next = ahead.read().map_err(malformed)?;
        let negated = matches!(next, Operator::I32Eqz);
        let negation = next.clone();
        if negated {
            offset = ahead.original_position();
            next = ahead.read().map_err(malformed)?;
        }
        if !matches!(next, Operator::If { .. } | Operator::BrIf { .. }) {
            return Ok(false);
        }
        let reference = *self.stack.last().expect("validated: an operand");
        let heap = parsed_heap_type(self.cx.module, hty);
        let target = RefType { nullable, heap };
        let test = self.type_test(reference, target);
        if test.outcome().is_some() {
            return Ok(false);
        }
        self.count_fuel(operator);
        if negated {
            self.count_fuel(&negation);
        }
        self.count_fuel(&next);
        self.flush_fuel();
        *reader = ahead;
        self.pop();
        let mut blocks = self.branches_of(reference, test);
        let mut learned = [(!is_unboxed(heap)).then_some((reference, target)), None];
        if negated {
            blocks.reverse();
            learned.reverse();
        }
        let [taken, otherwise] = blocks;
        self.source.go_to(offset);
        self.take_hint_for_blocks(taken, otherwise);
        match next {
            Operator::If { blockty } => self.if_branched(blockty, blocks, learned),
            Operator::BrIf { relative_depth } => {
                self.br_from(relative_depth, taken, otherwise);
                if let Some((reference, target)) = learned[1] {
                    self.learn(reference, target);
                }
            }
            _ => unreachable!("it was looked at"),
        }
        Ok(true)
    }

    /// `ref.cast`
    pub(super) fn ref_cast(&mut self, heap: wasmparser::HeapType, nullable: bool) {
        let reference = self.pop();
        let heap = parsed_heap_type(self.cx.module, heap);
        let target = RefType { nullable, heap };
        let test = self.type_test(reference, target);
        match test.outcome() {
            Some(true) => {}
            Some(false) => {
                self.cast_failed(reference, target);
                self.stop();
                return;
            }
            None => {
                let [yes, no] = self.branches_of(reference, test);
                self.builder.set_cold_block(no);
                self.continue_in(no);
                self.cast_failed(reference, target);
                self.continue_in(yes);
            }
        }
        let result = self.as_type(reference, target);
        self.push(result);
    }

    /// Traps, because a reference is not of type `target`.
    fn cast_failed(&mut self, reference: Value, target: RefType) {
        self.mark();
        if self.type_of(reference) != POINTER {
            let heap = self.heap_type_argument(target.heap);
            let nullable = self.iconst(I32, i64::from(target.nullable));
            self.call_builtin(Builtin::CastFailed, &[reference, heap, nullable]);
        }
        self.builder.ins().trap(trap_code(TrapCode::CastFailure));
    }

    /// A reference that has turned out to be of type `target`.
    fn as_type(&mut self, reference: Value, target: RefType) -> Value {
        if !is_unboxed(target.heap) {
            self.learn(reference, target);
            return reference;
        }
        // From here on it is a number, which no stack map has. Cranelift removes the instruction.
        let number = self.builder.ins().bor_imm_u(reference, 0);
        self.note_repr(number, Repr::of_ref(&target));
        number
    }

    /// `br_on_cast`, and, if not `on_success`, `br_on_cast_fail`
    pub(super) fn br_on_cast(&mut self, depth: u32, target: wasmparser::RefType, on_success: bool) {
        let reference = *self.stack.last().expect("validated: an operand");
        let target = parsed_ref_type(self.cx.module, target);
        let test = self.type_test(reference, target);
        match test.outcome() {
            Some(passes) => {
                if passes {
                    self.pop();
                    let result = self.as_type(reference, target);
                    self.push(result);
                }
                if passes == on_success {
                    self.br(depth);
                }
            }
            None => {
                self.flush_fuel();
                let [yes, no] = self.branches_of(reference, test);
                self.branch_with_cast(depth, reference, target, on_success, [yes, no]);
            }
        }
    }

    fn branch_with_cast(
        &mut self,
        depth: u32,
        reference: Value,
        target: RefType,
        on_success: bool,
        [yes, no]: [Block; 2],
    ) {
        if !on_success {
            self.br_from(depth, no, yes);
            self.pop();
            let result = self.as_type(reference, target);
            self.push(result);
            return;
        }
        if is_unboxed(target.heap) {
            self.pop();
            self.continue_in(yes);
            let result = self.as_type(reference, target);
            self.push(result);
            self.jump_to_label_at(depth);
            self.pop();
            self.push(reference);
            self.continue_in(no);
        } else {
            self.br_from(depth, yes, no);
        }
        if target.nullable {
            self.learn_non_null(reference);
        }
    }
}

/// Whether references to `heap` are never to objects of the heap, so that no stack map has them.
fn is_unboxed(heap: HeapType) -> bool {
    use AbstractHeapType as A;
    match heap {
        HeapType::Abstract(A::NoFunc) => false,
        HeapType::Abstract(A::I31) => true,
        HeapType::Abstract(ty) => ty == bottom(heap.hierarchy()),
        _ => false,
    }
}
