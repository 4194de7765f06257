//! Rewrites a module so that nothing is left to chance, or to the runtime: after each instruction whose
//! result may be any NaN, code that replaces it by the one; before each wait, a timeout that is short.
//!
//! The generator can make NaNs canonical, too, but leaves out relaxed vectors and conversions.

use wasm_encoder::reencode::{self, Reencode};
use wasm_encoder::{CodeSection, Ieee32, Ieee64, Instruction, Module, ValType};
use wasmparser::{CompositeInnerType, FunctionBody, Operator, Parser, Payload};

const NAN32: u32 = 0x7fc0_0000;
const NAN64: u64 = 0x7ff8_0000_0000_0000;

/// Nanoseconds: nobody is there who could notify.
const TIMEOUT: i64 = 1000;

/// The module without chance. Its NaNs are made canonical where `nans` says so.
///
/// # Errors
///
/// When the module is not valid.
pub(crate) fn rewrite(module: &[u8], nans: bool) -> Result<Vec<u8>, reencode::Error> {
    let mut rewriter = Rewriter {
        nans,
        params: params_of_functions(module)?.into_iter(),
    };
    let mut rewritten = Module::new();
    rewriter.parse_core_module(&mut rewritten, Parser::new(0), module)?;
    Ok(rewritten.finish())
}

/// How many parameters each function that is not imported has.
fn params_of_functions(module: &[u8]) -> Result<Vec<u32>, reencode::Error> {
    let mut types = Vec::new();
    let mut functions = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::TypeSection(section) => {
                for group in section {
                    for ty in group?.into_types() {
                        types.push(match ty.composite_type.inner {
                            CompositeInnerType::Func(ty) => ty.params().len() as u32,
                            _ => 0,
                        });
                    }
                }
            }
            Payload::FunctionSection(section) => {
                for ty in section {
                    functions.push(types[ty? as usize]);
                }
            }
            _ => {}
        }
    }
    Ok(functions)
}

struct Rewriter {
    nans: bool,
    /// Of the functions that are still to come.
    params: std::vec::IntoIter<u32>,
}

impl Reencode for Rewriter {
    type Error = std::convert::Infallible;

    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        body: FunctionBody<'_>,
    ) -> Result<(), reencode::Error> {
        let mut locals = Vec::new();
        let mut next = self.params.next().expect("one for each body");
        for pair in body.get_locals_reader()? {
            let (count, ty) = pair?;
            locals.push((count, self.val_type(ty)?));
            next += count;
        }
        locals.extend(Float::ALL.map(|float| (1, float.ty())));
        let mut function = wasm_encoder::Function::new(locals);
        let mut reader = body.get_operators_reader()?;
        while !reader.eof() {
            let operator = reader.read()?;
            let float = Float::made_by(&operator).filter(|_| self.nans);
            if let Operator::MemoryAtomicWait32 { .. } | Operator::MemoryAtomicWait64 { .. } =
                operator
            {
                function.instruction(&Instruction::Drop);
                function.instruction(&Instruction::I64Const(TIMEOUT));
            }
            function.instruction(&self.instruction(operator)?);
            if let Some(float) = float {
                for instruction in float.canonical(next + float as u32) {
                    function.instruction(&instruction);
                }
            }
        }
        code.function(&function);
        Ok(())
    }
}

/// What may hold a NaN. The number is that of its local.
#[derive(Clone, Copy)]
enum Float {
    F32,
    F64,
    F32x4,
    F64x2,
}

impl Float {
    const ALL: [Float; 4] = [Float::F32, Float::F64, Float::F32x4, Float::F64x2];

    fn ty(self) -> ValType {
        match self {
            Float::F32 => ValType::F32,
            Float::F64 => ValType::F64,
            Float::F32x4 | Float::F64x2 => ValType::V128,
        }
    }

    /// Takes the value on the stack and leaves the same, or the canonical NaN.
    fn canonical(self, local: u32) -> [Instruction<'static>; 6] {
        let (nan, equal, select) = match self {
            Float::F32 => (
                Instruction::F32Const(Ieee32::new(NAN32)),
                Instruction::F32Eq,
                Instruction::Select,
            ),
            Float::F64 => (
                Instruction::F64Const(Ieee64::new(NAN64)),
                Instruction::F64Eq,
                Instruction::Select,
            ),
            Float::F32x4 => (
                Instruction::V128Const(i128::from(NAN32) * 0x1_0000_0001_0000_0001_0000_0001),
                Instruction::F32x4Eq,
                Instruction::V128Bitselect,
            ),
            Float::F64x2 => (
                Instruction::V128Const((i128::from(NAN64) << 64) | i128::from(NAN64)),
                Instruction::F64x2Eq,
                Instruction::V128Bitselect,
            ),
        };
        [
            Instruction::LocalTee(local),
            nan,
            Instruction::LocalGet(local),
            Instruction::LocalGet(local),
            equal,
            select,
        ]
    }

    /// Where an instruction's result may be one of several NaNs.
    fn made_by(operator: &Operator<'_>) -> Option<Float> {
        use Operator as O;
        Some(match operator {
            O::F32Ceil
            | O::F32Floor
            | O::F32Nearest
            | O::F32Sqrt
            | O::F32Trunc
            | O::F32Add
            | O::F32Sub
            | O::F32Mul
            | O::F32Div
            | O::F32Min
            | O::F32Max
            | O::F32DemoteF64 => Float::F32,
            O::F64Ceil
            | O::F64Floor
            | O::F64Nearest
            | O::F64Sqrt
            | O::F64Trunc
            | O::F64Add
            | O::F64Sub
            | O::F64Mul
            | O::F64Div
            | O::F64Min
            | O::F64Max
            | O::F64PromoteF32 => Float::F64,
            O::F32x4Ceil
            | O::F32x4Floor
            | O::F32x4Nearest
            | O::F32x4Sqrt
            | O::F32x4Trunc
            | O::F32x4Add
            | O::F32x4Sub
            | O::F32x4Mul
            | O::F32x4Div
            | O::F32x4Min
            | O::F32x4Max
            | O::F32x4DemoteF64x2Zero
            | O::F32x4RelaxedMin
            | O::F32x4RelaxedMax
            | O::F32x4RelaxedMadd
            | O::F32x4RelaxedNmadd => Float::F32x4,
            O::F64x2Ceil
            | O::F64x2Floor
            | O::F64x2Nearest
            | O::F64x2Sqrt
            | O::F64x2Trunc
            | O::F64x2Add
            | O::F64x2Sub
            | O::F64x2Mul
            | O::F64x2Div
            | O::F64x2Min
            | O::F64x2Max
            | O::F64x2PromoteLowF32x4
            | O::F64x2RelaxedMin
            | O::F64x2RelaxedMax
            | O::F64x2RelaxedMadd
            | O::F64x2RelaxedNmadd => Float::F64x2,
            _ => return None,
        })
    }
}
