//! Which family an instruction belongs to. One line an instruction or family; nothing is lowered here.

use super::call::Transfer::{Call, Tail};
use super::function::Lowering;
use crate::error::{CompileError, Result};
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{F32, F64, I8, I16, I32, I64};
use cranelift_codegen::ir::{InstBuilder, Opcode};
use wasmparser::Operator;

impl Lowering<'_, '_> {
    /// Lowers an instruction, which is at `offset` bytes from the beginning of the module.
    pub(super) fn lower_operator(&mut self, operator: &Operator<'_>, offset: u64) -> Result<()> {
        if self.unreachable.is_some() {
            self.skip(operator);
            return Ok(());
        }
        self.count_fuel(operator);
        self.dispatch(operator, offset)
    }

    #[rustfmt::skip]
    fn dispatch(&mut self, operator: &Operator<'_>, offset: u64) -> Result<()> {
        use Operator as O;
        match *operator {
            // Control.
            O::Unreachable => self.trap_unreachable(),
            O::Nop => {}
            O::Block { blockty } => self.block(blockty),
            O::Loop { blockty } => self.loop_(blockty, offset)?,
            O::If { blockty } => self.if_(blockty),
            O::Else => self.else_(),
            O::End => self.end(),
            O::Br { relative_depth } => self.br(relative_depth),
            O::BrIf { relative_depth } => self.br_if(relative_depth),
            O::BrTable { ref targets } => self.br_table(targets)?,
            O::Return => self.return_(),

            // Exceptions.
            O::Throw { tag_index } => self.throw(tag_index),
            O::ThrowRef => self.throw_ref(),
            O::TryTable { ref try_table } => self.try_table(try_table),
            O::Try { blockty } => self.try_(blockty, offset)?,
            O::Catch { .. } | O::CatchAll => self.catch(),
            O::Rethrow { relative_depth } => self.rethrow(relative_depth),
            O::Delegate { .. } => self.end(),

            // Calls.
            O::Call { function_index } => self.call(function_index, Call)?,
            O::CallIndirect { type_index, table_index } => self.call_indirect(type_index, table_index, Call)?,
            O::CallRef { type_index } => self.call_ref(type_index, Call)?,
            O::ReturnCall { function_index } => self.call(function_index, Tail)?,
            O::ReturnCallIndirect { type_index, table_index } => self.call_indirect(type_index, table_index, Tail)?,
            O::ReturnCallRef { type_index } => self.call_ref(type_index, Tail)?,

            // Operands, locals, globals.
            O::Drop => { self.pop(); }
            O::Select => self.select(None),
            O::TypedSelect { ty } => self.select(Some(ty)),
            O::LocalGet { local_index } => self.local_get(local_index),
            O::LocalSet { local_index } => self.local_set(local_index),
            O::LocalTee { local_index } => self.local_tee(local_index),
            O::GlobalGet { global_index } => self.global_get(global_index),
            O::GlobalSet { global_index } => self.global_set(global_index),

            // References.
            O::RefNull { hty } => self.ref_null(hty),
            O::RefIsNull => self.ref_is_null(),
            O::RefFunc { function_index } => self.ref_func(function_index),
            O::RefEq => self.ref_eq(),
            O::RefAsNonNull => self.ref_as_non_null(),
            O::BrOnNull { relative_depth } => self.br_on_null(relative_depth),
            O::BrOnNonNull { relative_depth } => self.br_on_non_null(relative_depth),

            // Tables.
            O::TableGet { table } => self.table_get(table),
            O::TableSet { table } => self.table_set(table),
            O::TableSize { table } => self.table_size(table),
            O::TableGrow { table } => self.table_grow(table),
            O::TableFill { table } => self.table_fill(table),
            O::TableCopy { dst_table, src_table } => self.table_copy(dst_table, src_table),
            O::TableInit { elem_index, table } => self.table_init(elem_index, table),
            O::ElemDrop { elem_index } => self.elem_drop(elem_index),

            // Memories.
            O::I32Load { ref memarg } => self.load(memarg, Opcode::Load, I32),
            O::I64Load { ref memarg } => self.load(memarg, Opcode::Load, I64),
            O::F32Load { ref memarg } => self.load(memarg, Opcode::Load, F32),
            O::F64Load { ref memarg } => self.load(memarg, Opcode::Load, F64),
            O::I32Load8S { ref memarg } => self.load(memarg, Opcode::Sload8, I32),
            O::I32Load8U { ref memarg } => self.load(memarg, Opcode::Uload8, I32),
            O::I32Load16S { ref memarg } => self.load(memarg, Opcode::Sload16, I32),
            O::I32Load16U { ref memarg } => self.load(memarg, Opcode::Uload16, I32),
            O::I64Load8S { ref memarg } => self.load(memarg, Opcode::Sload8, I64),
            O::I64Load8U { ref memarg } => self.load(memarg, Opcode::Uload8, I64),
            O::I64Load16S { ref memarg } => self.load(memarg, Opcode::Sload16, I64),
            O::I64Load16U { ref memarg } => self.load(memarg, Opcode::Uload16, I64),
            O::I64Load32S { ref memarg } => self.load(memarg, Opcode::Sload32, I64),
            O::I64Load32U { ref memarg } => self.load(memarg, Opcode::Uload32, I64),
            O::I32Store { ref memarg } | O::I64Store { ref memarg } | O::F32Store { ref memarg }
            | O::F64Store { ref memarg } => self.store(memarg, Opcode::Store),
            O::I32Store8 { ref memarg } | O::I64Store8 { ref memarg } => self.store(memarg, Opcode::Istore8),
            O::I32Store16 { ref memarg } | O::I64Store16 { ref memarg } => self.store(memarg, Opcode::Istore16),
            O::I64Store32 { ref memarg } => self.store(memarg, Opcode::Istore32),
            O::MemorySize { mem } => self.memory_size(mem),
            O::MemoryGrow { mem } => self.memory_grow(mem),
            O::MemoryFill { mem } => self.memory_fill(mem),
            O::MemoryCopy { dst_mem, src_mem } => self.memory_copy(dst_mem, src_mem),
            O::MemoryInit { data_index, mem } => self.memory_init(data_index, mem),
            O::DataDrop { data_index } => self.data_drop(data_index),

            // Constants.
            O::I32Const { value } => { let v = self.iconst(I32, i64::from(value)); self.push(v); }
            O::I64Const { value } => { let v = self.iconst(I64, value); self.push(v); }
            O::F32Const { value } => { let v = self.builder.ins().f32const(f32::from_bits(value.bits())); self.push(v); }
            O::F64Const { value } => { let v = self.builder.ins().f64const(f64::from_bits(value.bits())); self.push(v); }

            // Integers.
            O::I32Eqz | O::I64Eqz => self.eqz(),
            O::I32Eq | O::I64Eq => self.compare(IntCC::Equal),
            O::I32Ne | O::I64Ne => self.compare(IntCC::NotEqual),
            O::I32LtS | O::I64LtS => self.compare(IntCC::SignedLessThan),
            O::I32LtU | O::I64LtU => self.compare(IntCC::UnsignedLessThan),
            O::I32GtS | O::I64GtS => self.compare(IntCC::SignedGreaterThan),
            O::I32GtU | O::I64GtU => self.compare(IntCC::UnsignedGreaterThan),
            O::I32LeS | O::I64LeS => self.compare(IntCC::SignedLessThanOrEqual),
            O::I32LeU | O::I64LeU => self.compare(IntCC::UnsignedLessThanOrEqual),
            O::I32GeS | O::I64GeS => self.compare(IntCC::SignedGreaterThanOrEqual),
            O::I32GeU | O::I64GeU => self.compare(IntCC::UnsignedGreaterThanOrEqual),
            O::I32Clz | O::I64Clz => self.unary(Opcode::Clz),
            O::I32Ctz | O::I64Ctz => self.unary(Opcode::Ctz),
            O::I32Popcnt | O::I64Popcnt => self.unary(Opcode::Popcnt),
            O::I32Add | O::I64Add => self.binary(Opcode::Iadd),
            O::I32Sub | O::I64Sub => self.binary(Opcode::Isub),
            O::I32Mul | O::I64Mul => self.binary(Opcode::Imul),
            O::I32DivS | O::I64DivS => self.divide(Opcode::Sdiv),
            O::I32DivU | O::I64DivU => self.divide(Opcode::Udiv),
            O::I32RemS | O::I64RemS => self.divide(Opcode::Srem),
            O::I32RemU | O::I64RemU => self.divide(Opcode::Urem),
            O::I32And | O::I64And => self.binary(Opcode::Band),
            O::I32Or | O::I64Or => self.binary(Opcode::Bor),
            O::I32Xor | O::I64Xor => self.binary(Opcode::Bxor),
            O::I32Shl | O::I64Shl => self.binary(Opcode::Ishl),
            O::I32ShrS | O::I64ShrS => self.binary(Opcode::Sshr),
            O::I32ShrU | O::I64ShrU => self.binary(Opcode::Ushr),
            O::I32Rotl | O::I64Rotl => self.binary(Opcode::Rotl),
            O::I32Rotr | O::I64Rotr => self.binary(Opcode::Rotr),
            O::I64Add128 => self.wide_binary(Opcode::Iadd),
            O::I64Sub128 => self.wide_binary(Opcode::Isub),
            O::I64MulWideS => self.wide_multiply(Opcode::Sextend),
            O::I64MulWideU => self.wide_multiply(Opcode::Uextend),

            // Floats.
            O::F32Eq | O::F64Eq => self.float_compare(FloatCC::Equal),
            O::F32Ne | O::F64Ne => self.float_compare(FloatCC::NotEqual),
            O::F32Lt | O::F64Lt => self.float_compare(FloatCC::LessThan),
            O::F32Gt | O::F64Gt => self.float_compare(FloatCC::GreaterThan),
            O::F32Le | O::F64Le => self.float_compare(FloatCC::LessThanOrEqual),
            O::F32Ge | O::F64Ge => self.float_compare(FloatCC::GreaterThanOrEqual),
            O::F32Abs | O::F64Abs => self.unary(Opcode::Fabs),
            O::F32Neg | O::F64Neg => self.unary(Opcode::Fneg),
            O::F32Ceil | O::F64Ceil => self.unary(Opcode::Ceil),
            O::F32Floor | O::F64Floor => self.unary(Opcode::Floor),
            O::F32Trunc | O::F64Trunc => self.unary(Opcode::Trunc),
            O::F32Nearest | O::F64Nearest => self.unary(Opcode::Nearest),
            O::F32Sqrt | O::F64Sqrt => self.unary(Opcode::Sqrt),
            O::F32Add | O::F64Add => self.binary(Opcode::Fadd),
            O::F32Sub | O::F64Sub => self.binary(Opcode::Fsub),
            O::F32Mul | O::F64Mul => self.binary(Opcode::Fmul),
            O::F32Div | O::F64Div => self.binary(Opcode::Fdiv),
            O::F32Min | O::F64Min => self.binary(Opcode::Fmin),
            O::F32Max | O::F64Max => self.binary(Opcode::Fmax),
            O::F32Copysign | O::F64Copysign => self.binary(Opcode::Fcopysign),

            // Conversions.
            O::I32WrapI64 => self.convert(Opcode::Ireduce, I32),
            O::I64ExtendI32S => self.convert(Opcode::Sextend, I64),
            O::I64ExtendI32U => self.convert(Opcode::Uextend, I64),
            O::I32Extend8S => self.extend_low(I8, I32),
            O::I32Extend16S => self.extend_low(I16, I32),
            O::I64Extend8S => self.extend_low(I8, I64),
            O::I64Extend16S => self.extend_low(I16, I64),
            O::I64Extend32S => self.extend_low(I32, I64),
            O::I32TruncF32S | O::I32TruncF64S => self.truncate(Opcode::FcvtToSint, I32),
            O::I32TruncF32U | O::I32TruncF64U => self.truncate(Opcode::FcvtToUint, I32),
            O::I64TruncF32S | O::I64TruncF64S => self.truncate(Opcode::FcvtToSint, I64),
            O::I64TruncF32U | O::I64TruncF64U => self.truncate(Opcode::FcvtToUint, I64),
            O::I32TruncSatF32S | O::I32TruncSatF64S => self.convert(Opcode::FcvtToSintSat, I32),
            O::I32TruncSatF32U | O::I32TruncSatF64U => self.convert(Opcode::FcvtToUintSat, I32),
            O::I64TruncSatF32S | O::I64TruncSatF64S => self.convert(Opcode::FcvtToSintSat, I64),
            O::I64TruncSatF32U | O::I64TruncSatF64U => self.convert(Opcode::FcvtToUintSat, I64),
            O::F32ConvertI32S | O::F32ConvertI64S => self.convert(Opcode::FcvtFromSint, F32),
            O::F32ConvertI32U | O::F32ConvertI64U => self.convert(Opcode::FcvtFromUint, F32),
            O::F64ConvertI32S | O::F64ConvertI64S => self.convert(Opcode::FcvtFromSint, F64),
            O::F64ConvertI32U | O::F64ConvertI64U => self.convert(Opcode::FcvtFromUint, F64),
            O::F32DemoteF64 => self.convert(Opcode::Fdemote, F32),
            O::F64PromoteF32 => self.convert(Opcode::Fpromote, F64),
            O::I32ReinterpretF32 => self.reinterpret(I32),
            O::I64ReinterpretF64 => self.reinterpret(I64),
            O::F32ReinterpretI32 => self.reinterpret(F32),
            O::F64ReinterpretI64 => self.reinterpret(F64),

            _ if self.dispatch_vector(operator) || self.dispatch_atomic(operator) => {}
            _ if self.dispatch_gc(operator) => {}
            _ if self.dispatch_continuations(operator)? => {}
            _ => return Err(unsupported(operator, offset)),
        }
        Ok(())
    }
}

fn unsupported(operator: &Operator<'_>, offset: u64) -> CompileError {
    let text = format!("{operator:?}");
    let name = text.split([' ', '(']).next().unwrap_or_default();
    CompileError::at(offset, format!("instruction {name} is not supported yet"))
}
