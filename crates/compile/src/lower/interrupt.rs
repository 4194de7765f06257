//! Interruption: counting fuel, and looking at the epoch.
//!
//! Fuel is counted while lowering, over code that runs without a branch, and added to the store's
//! counter before control leaves it: before branches and calls, and where control meets. The counter
//! goes up from a negative number; it is looked at, like the epoch, where a function begins, at the
//! head of every loop, and before every bulk operation that may be long, or piece of it (`piecewise`), so
//! no code runs for long without.

use super::bound::upper_bound;
use super::function::Lowering;
use super::region::Region;
use super::signature::POINTER;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Value};
use sarsen_abi::Builtin;
use sarsen_abi::vmctx::offset;
use wasmparser::Operator;

/// How many bytes or elements of a bulk operation cost one unit of fuel: 2 to this power.
const BULK_FUEL_LOG2: i64 = 6;

/// Bulk operations on as many bytes or elements take no longer than other instructions do, about.
const SHORT_BULK: u64 = 256;

/// The fuel that the code lowered last uses, and that is not yet counted in the store.
#[derive(Default)]
pub(super) struct FuelCounter {
    pending: i64,
}

impl Lowering<'_, '_> {
    /// Counts an instruction: one unit, unless it only structures the code.
    pub(super) fn count_fuel(&mut self, operator: &Operator<'_>) {
        if !self.cx.settings.consume_fuel {
            return;
        }
        let is_free = matches!(
            operator,
            Operator::Nop
                | Operator::Drop
                | Operator::Block { .. }
                | Operator::Loop { .. }
                | Operator::TryTable { .. }
                | Operator::Try { .. }
                | Operator::Delegate { .. }
                | Operator::Else
                | Operator::End
                | Operator::Unreachable
                | Operator::Return
        );
        self.fuel.pending += i64::from(!is_free);
    }

    /// Adds what is pending to the store's counter.
    pub(super) fn flush_fuel(&mut self) {
        let pending = std::mem::take(&mut self.fuel.pending);
        if pending != 0 {
            let pending = self.builder.ins().iconst(I64, pending);
            self.add_fuel(pending);
        }
    }

    /// Whether code is lowered that lets the host interrupt.
    pub(super) fn is_interruptible(&self) -> bool {
        self.cx.settings.consume_fuel || self.cx.settings.epoch_interruption
    }

    /// Before a bulk operation, or a piece of one, on `length` bytes or elements: counts it, and lets the
    /// host interrupt.
    pub(super) fn before_bulk(&mut self, length: Value) {
        if self.cx.settings.consume_fuel {
            let length = self.extend_index(length);
            let units = self.builder.ins().ushr_imm_u(length, BULK_FUEL_LOG2);
            self.add_fuel(units);
        }
        if upper_bound(&self.builder.func.dfg, length) > SHORT_BULK {
            self.interruption_point();
        }
    }

    fn add_fuel(&mut self, units: Value) {
        let store = self.store_context();
        let flags = self.flags(Region::Store);
        let used = self
            .builder
            .ins()
            .load(I64, flags, store, offset::STORE_FUEL);
        let used = self.builder.ins().iadd(used, units);
        self.builder
            .ins()
            .store(flags, used, store, offset::STORE_FUEL);
    }

    /// Lets the host interrupt.
    pub(super) fn interruption_point(&mut self) {
        if self.cx.settings.consume_fuel {
            self.check_fuel();
        }
        if self.cx.settings.epoch_interruption {
            self.check_epoch();
        }
    }

    fn check_fuel(&mut self) {
        let store = self.store_context();
        let flags = self.flags(Region::Store);
        let used = self
            .builder
            .ins()
            .load(I64, flags, store, offset::STORE_FUEL);
        let is_used_up = self
            .builder
            .ins()
            .icmp_imm_s(IntCC::SignedGreaterThanOrEqual, used, 0);
        self.if_rarely(is_used_up, |this| {
            this.call_builtin(Builtin::OutOfFuel, &[]);
        });
    }

    fn check_epoch(&mut self) {
        let store = self.store_context();
        let epoch = self.load_once(POINTER, self.vmctx, offset::VMCTX_EPOCH);
        // Another thread advances it. An atomic load is a fence to Cranelift, so it is not merged with
        // the one of the round before.
        let now = self
            .builder
            .ins()
            .atomic_load(I64, MemFlagsData::trusted(), epoch);
        let flags = self.flags(Region::Store);
        let deadline = self
            .builder
            .ins()
            .load(I64, flags, store, offset::STORE_EPOCH_DEADLINE);
        let is_late = self
            .builder
            .ins()
            .icmp(IntCC::UnsignedGreaterThanOrEqual, now, deadline);
        self.if_rarely(is_late, |this| {
            let deadline = this.call_builtin(Builtin::NewEpoch, &[]);
            this.builder.ins().store(
                flags,
                deadline.expect("it has a result"),
                store,
                offset::STORE_EPOCH_DEADLINE,
            );
        });
    }
}
