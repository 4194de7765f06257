//! Globals.

use super::function::Lowering;
use super::region::Region;
use super::signature::{POINTER, Repr};
use cranelift_codegen::ir::types::{I8X16, I32, I64};
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Value};
use sarsen_abi::types::{HeapType, RefType};
use sarsen_abi::{ConstOp, GlobalIndex};

/// Globals that are initialized with one another are followed so far, and no further each time that the last
/// one is read.
const MAX_FOLLOWED: usize = 8;

impl Lowering<'_, '_> {
    /// `global.get`
    pub(super) fn global_get(&mut self, global: u32) {
        let global = GlobalIndex::new(global);
        let ty = self.cx.module.globals[global.index()];
        let repr = Repr::of(&ty.content);
        let value = if ty.mutable {
            self.load_global(global, repr)
        } else {
            self.immutable_global(global, repr)
        };
        self.push(value);
    }

    /// `global.set`
    pub(super) fn global_set(&mut self, global: u32) {
        let global = GlobalIndex::new(global);
        let value = self.pop();
        let (address, offset, flags) = self.global_place(global);
        self.builder.ins().store(flags, value, address, offset);
    }

    fn load_global(&mut self, global: GlobalIndex, repr: Repr) -> Value {
        let (address, offset, flags) = self.global_place(global);
        let value = self.builder.ins().load(repr.ty, flags, address, offset);
        self.note_repr(value, repr);
        value
    }

    /// An address, an offset from it, and the flags for accesses there.
    fn global_place(&mut self, global: GlobalIndex) -> (Value, i32, MemFlagsData) {
        let layout = &self.cx.layout;
        if self.cx.module.is_imported_global(global) {
            let offset = layout.imported_global(global) as i32;
            let address = self.load_once(POINTER, self.vmctx, offset);
            (address, 0, self.flags(Region::ImportedGlobals))
        } else {
            let offset = layout.defined_global(global) as i32;
            (self.vmctx, offset, self.flags(Region::Global(global)))
        }
    }

    /// A global that is only written before any code runs: a constant where its initial value is one.
    /// A collected reference is loaded each time, because the collector changes it.
    fn immutable_global(&mut self, global: GlobalIndex, repr: Repr) -> Value {
        if let Some(value) = self.constant_global(global) {
            return value;
        }
        if repr.collected() {
            return self.load_global(global, repr);
        }
        let (address, offset, _) = self.global_place(global);
        let value = self.load_once(repr.ty, address, offset);
        self.note_repr(value, repr);
        value
    }

    fn constant_global(&mut self, global: GlobalIndex) -> Option<Value> {
        let constant = self.initial_constant(global)?;
        Some(match constant {
            ConstOp::I32Const(value) => self.iconst(I32, i64::from(value)),
            ConstOp::I64Const(value) => self.iconst(I64, value),
            ConstOp::F32Const(bits) => self.builder.ins().f32const(f32::from_bits(bits)),
            ConstOp::F64Const(bits) => self.builder.ins().f64const(f64::from_bits(bits)),
            ConstOp::V128Const(bits) => self.vector_constant(I8X16, bits.to_le_bytes()),
            ConstOp::RefNull(heap) => self.null(heap),
            ConstOp::RefFunc(func) => self.func_reference(func),
            _ => return None,
        })
    }

    /// What a global is initialized with, if that is known from at most [`MAX_FOLLOWED`] globals.
    fn initial_constant(&self, mut global: GlobalIndex) -> Option<ConstOp> {
        let module = self.cx.module;
        for _ in 0..MAX_FOLLOWED {
            let defined = global.as_u32().checked_sub(module.num_imports.globals)?;
            match *module.global_inits[defined as usize].ops {
                // An initial value refers only to earlier globals.
                [ConstOp::GlobalGet(earlier)] => global = earlier,
                [constant] => return Some(constant),
                _ => return None,
            }
        }
        None
    }

    /// A null reference.
    pub(super) fn null(&mut self, heap: HeapType) -> Value {
        let repr = Repr::of_ref(&RefType {
            nullable: true,
            heap,
        });
        let null = self.zero(repr.ty);
        self.facts.declare_null(null, &repr);
        null
    }
}
