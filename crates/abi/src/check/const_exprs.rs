//! Constant expressions: each instruction finds its operands, and one value is left.

use super::{Check, InvalidModule, Result, ensure, in_range};
use crate::const_expr::{ConstExpr, ConstOp};
use crate::index::{FuncIndex, GlobalIndex, TypeIndex};
use crate::types::{AbstractHeapType, FieldType, HeapType, RefType, ValType};

impl Check<'_> {
    /// A constant expression must give one value of type `expected`, and may read the immutable
    /// globals below `num_globals`.
    pub(super) fn const_expr(
        &self,
        expr: &ConstExpr,
        expected: ValType,
        num_globals: usize,
    ) -> Result {
        let mut stack = Stack {
            check: self,
            values: Vec::new(),
            num_globals,
        };
        for &op in &expr.ops {
            let result = stack.step(op)?;
            stack.values.push(result);
        }
        match *stack.values {
            [ty] => self.subtype(ty, expected),
            _ => Err(InvalidModule(
                "a constant expression without one value".to_owned(),
            )),
        }
    }

    /// The type of a reference to a function, which must be one that can be referred to.
    pub(super) fn ref_func(&self, func: FuncIndex) -> Result<ValType> {
        self.func_with_reference(func)?;
        let ty = self.module.funcs[func.index()];
        Ok(reference(false, HeapType::ConcreteFunc(ty)))
    }

    fn immutable_global(&self, global: GlobalIndex, num_globals: usize) -> Result<ValType> {
        in_range("global", global.index(), num_globals)?;
        let ty = self.module.globals[global.index()];
        ensure(!ty.mutable, || {
            "a constant expression reads a mutable global".to_owned()
        })?;
        Ok(ty.content)
    }

    fn struct_fields(&self, index: TypeIndex) -> Result<&[FieldType]> {
        let ty = self.module.types.get(index.index());
        ty.and_then(|ty| ty.as_struct())
            .ok_or_else(|| InvalidModule(format!("type {} is no structure", index.as_u32())))
    }

    fn array_element(&self, index: TypeIndex) -> Result<&FieldType> {
        let ty = self.module.types.get(index.index());
        ty.and_then(|ty| ty.as_array())
            .ok_or_else(|| InvalidModule(format!("type {} is no array", index.as_u32())))
    }
}

fn reference(nullable: bool, heap: HeapType) -> ValType {
    ValType::Ref(RefType { nullable, heap })
}

/// The types of the values that an expression has on its stack.
struct Stack<'c, 'm> {
    check: &'c Check<'m>,
    values: Vec<ValType>,
    num_globals: usize,
}

impl Stack<'_, '_> {
    /// Takes an instruction's operands away; the type of its result.
    fn step(&mut self, op: ConstOp) -> Result<ValType> {
        Ok(match op {
            ConstOp::I32Const(_) => ValType::I32,
            ConstOp::I64Const(_) => ValType::I64,
            ConstOp::F32Const(_) => ValType::F32,
            ConstOp::F64Const(_) => ValType::F64,
            ConstOp::V128Const(_) => ValType::V128,
            ConstOp::I32Add | ConstOp::I32Sub | ConstOp::I32Mul => {
                self.pop_all(&[ValType::I32, ValType::I32])?;
                ValType::I32
            }
            ConstOp::I64Add | ConstOp::I64Sub | ConstOp::I64Mul => {
                self.pop_all(&[ValType::I64, ValType::I64])?;
                ValType::I64
            }
            ConstOp::GlobalGet(global) => {
                return self.check.immutable_global(global, self.num_globals);
            }
            ConstOp::RefNull(heap) => {
                self.check.heap_type(heap, u32::MAX)?;
                reference(true, heap)
            }
            ConstOp::RefFunc(func) => return self.check.ref_func(func),
            ConstOp::StructNew(ty) => self.new_struct(ty)?,
            ConstOp::StructNewDefault(ty) => {
                let fields = self.check.struct_fields(ty)?;
                fields.iter().try_for_each(defaultable)?;
                reference(false, HeapType::ConcreteStruct(ty))
            }
            ConstOp::ArrayNew(ty) => {
                let element = self.check.array_element(ty)?.storage.unpacked();
                self.pop_all(&[element, ValType::I32])?;
                reference(false, HeapType::ConcreteArray(ty))
            }
            ConstOp::ArrayNewDefault(ty) => {
                defaultable(self.check.array_element(ty)?)?;
                self.pop(ValType::I32)?;
                reference(false, HeapType::ConcreteArray(ty))
            }
            ConstOp::ArrayNewFixed(ty, length) => {
                let element = self.check.array_element(ty)?.storage.unpacked();
                (0..length).try_for_each(|_| self.pop(element).map(drop))?;
                reference(false, HeapType::ConcreteArray(ty))
            }
            ConstOp::RefI31 => {
                self.pop(ValType::I32)?;
                reference(false, HeapType::Abstract(AbstractHeapType::I31))
            }
            ConstOp::AnyConvertExtern => {
                self.convert(AbstractHeapType::Extern, AbstractHeapType::Any)?
            }
            ConstOp::ExternConvertAny => {
                self.convert(AbstractHeapType::Any, AbstractHeapType::Extern)?
            }
        })
    }

    fn new_struct(&mut self, ty: TypeIndex) -> Result<ValType> {
        let fields = self.check.struct_fields(ty)?;
        for field in fields.iter().rev() {
            self.pop(field.storage.unpacked())?;
        }
        Ok(reference(false, HeapType::ConcreteStruct(ty)))
    }

    fn convert(&mut self, from: AbstractHeapType, to: AbstractHeapType) -> Result<ValType> {
        let operand = self.pop(reference(true, HeapType::Abstract(from)))?;
        let nullable = matches!(operand, ValType::Ref(operand) if operand.nullable);
        Ok(reference(nullable, HeapType::Abstract(to)))
    }

    /// Takes operands away, the last one first.
    fn pop_all(&mut self, expected: &[ValType]) -> Result {
        expected
            .iter()
            .rev()
            .try_for_each(|&ty| self.pop(ty).map(drop))
    }

    fn pop(&mut self, expected: ValType) -> Result<ValType> {
        let actual = self.values.pop();
        let actual = actual
            .ok_or_else(|| InvalidModule(format!("a constant expression lacks a {expected:?}")))?;
        self.check.subtype(actual, expected)?;
        Ok(actual)
    }
}

fn defaultable(field: &FieldType) -> Result {
    ensure(field.storage.unpacked().is_defaultable(), || {
        "a field that must be given a value is not".to_owned()
    })
}
