//! Atomic accesses to linear memory, fences, waiting and notifying (threads proposal).
//!
//! # What Cranelift may not do
//!
//! Every atomic instruction, and every call, is a fence to Cranelift: no load or store moves across it,
//! and nothing that was loaded before is taken for what is loaded after. Between two of them it may
//! merge plain loads of one address, and forward a store to a load. The memory model allows that,
//! because nothing synchronizes there. The same is true of a shared memory's length: a plain load of it
//! may give an old value, which is too small at worst, but not one older than the last atomic
//! instruction.
//!
//! Whatever is loaded from memory is used as often as the program says, but loaded once: the code
//! generator never loads a value again. So checks of loaded values hold.
//!
//! # Checks
//!
//! An address must be a multiple of the access's size, whether the memory is shared or not; that is
//! checked first. Then come the bounds, as for any access. All atomics are sequentially consistent.

use super::function::{Lowering, trap_code};
use super::memory::{Place, memory};
use cranelift_codegen::ir::types::{I8, I16, I32, I64};
use cranelift_codegen::ir::{AtomicRmwOp, InstBuilder, MemFlagsData, Type, Value};
use sarsen_abi::{Builtin, TrapCode};
use wasmparser::{MemArg, Operator};

/// Where an atomic access goes. Atomic instructions take no offset.
struct AtomicPlace {
    address: Value,
    flags: MemFlagsData,
}

impl Lowering<'_, '_> {
    /// Lowers an instruction of the threads proposal; false if it is none.
    #[rustfmt::skip]
    pub(super) fn dispatch_atomic(&mut self, operator: &Operator<'_>) -> bool {
        use AtomicRmwOp as Rmw;
        use Operator as O;
        match *operator {
            O::AtomicFence { ordering: _ } => { self.builder.ins().fence(); }
            O::MemoryAtomicNotify { ref memarg } => self.notify(memarg),
            O::MemoryAtomicWait32 { ref memarg } => self.wait(memarg, Builtin::AtomicWait32),
            O::MemoryAtomicWait64 { ref memarg } => self.wait(memarg, Builtin::AtomicWait64),

            O::I32AtomicLoad { ref memarg } => self.atomic_load(memarg, I32, I32),
            O::I32AtomicLoad8U { ref memarg } => self.atomic_load(memarg, I8, I32),
            O::I32AtomicLoad16U { ref memarg } => self.atomic_load(memarg, I16, I32),
            O::I64AtomicLoad { ref memarg } => self.atomic_load(memarg, I64, I64),
            O::I64AtomicLoad8U { ref memarg } => self.atomic_load(memarg, I8, I64),
            O::I64AtomicLoad16U { ref memarg } => self.atomic_load(memarg, I16, I64),
            O::I64AtomicLoad32U { ref memarg } => self.atomic_load(memarg, I32, I64),

            O::I32AtomicStore { ref memarg } => self.atomic_store(memarg, I32),
            O::I32AtomicStore8 { ref memarg } => self.atomic_store(memarg, I8),
            O::I32AtomicStore16 { ref memarg } => self.atomic_store(memarg, I16),
            O::I64AtomicStore { ref memarg } => self.atomic_store(memarg, I64),
            O::I64AtomicStore8 { ref memarg } => self.atomic_store(memarg, I8),
            O::I64AtomicStore16 { ref memarg } => self.atomic_store(memarg, I16),
            O::I64AtomicStore32 { ref memarg } => self.atomic_store(memarg, I32),

            O::I32AtomicRmwAdd { ref memarg } | O::I64AtomicRmwAdd { ref memarg } => self.rmw(memarg, None, Rmw::Add),
            O::I32AtomicRmw8AddU { ref memarg } | O::I64AtomicRmw8AddU { ref memarg } => self.rmw(memarg, Some(I8), Rmw::Add),
            O::I32AtomicRmw16AddU { ref memarg } | O::I64AtomicRmw16AddU { ref memarg } => self.rmw(memarg, Some(I16), Rmw::Add),
            O::I64AtomicRmw32AddU { ref memarg } => self.rmw(memarg, Some(I32), Rmw::Add),

            O::I32AtomicRmwSub { ref memarg } | O::I64AtomicRmwSub { ref memarg } => self.rmw(memarg, None, Rmw::Sub),
            O::I32AtomicRmw8SubU { ref memarg } | O::I64AtomicRmw8SubU { ref memarg } => self.rmw(memarg, Some(I8), Rmw::Sub),
            O::I32AtomicRmw16SubU { ref memarg } | O::I64AtomicRmw16SubU { ref memarg } => self.rmw(memarg, Some(I16), Rmw::Sub),
            O::I64AtomicRmw32SubU { ref memarg } => self.rmw(memarg, Some(I32), Rmw::Sub),

            O::I32AtomicRmwAnd { ref memarg } | O::I64AtomicRmwAnd { ref memarg } => self.rmw(memarg, None, Rmw::And),
            O::I32AtomicRmw8AndU { ref memarg } | O::I64AtomicRmw8AndU { ref memarg } => self.rmw(memarg, Some(I8), Rmw::And),
            O::I32AtomicRmw16AndU { ref memarg } | O::I64AtomicRmw16AndU { ref memarg } => self.rmw(memarg, Some(I16), Rmw::And),
            O::I64AtomicRmw32AndU { ref memarg } => self.rmw(memarg, Some(I32), Rmw::And),

            O::I32AtomicRmwOr { ref memarg } | O::I64AtomicRmwOr { ref memarg } => self.rmw(memarg, None, Rmw::Or),
            O::I32AtomicRmw8OrU { ref memarg } | O::I64AtomicRmw8OrU { ref memarg } => self.rmw(memarg, Some(I8), Rmw::Or),
            O::I32AtomicRmw16OrU { ref memarg } | O::I64AtomicRmw16OrU { ref memarg } => self.rmw(memarg, Some(I16), Rmw::Or),
            O::I64AtomicRmw32OrU { ref memarg } => self.rmw(memarg, Some(I32), Rmw::Or),

            O::I32AtomicRmwXor { ref memarg } | O::I64AtomicRmwXor { ref memarg } => self.rmw(memarg, None, Rmw::Xor),
            O::I32AtomicRmw8XorU { ref memarg } | O::I64AtomicRmw8XorU { ref memarg } => self.rmw(memarg, Some(I8), Rmw::Xor),
            O::I32AtomicRmw16XorU { ref memarg } | O::I64AtomicRmw16XorU { ref memarg } => self.rmw(memarg, Some(I16), Rmw::Xor),
            O::I64AtomicRmw32XorU { ref memarg } => self.rmw(memarg, Some(I32), Rmw::Xor),

            O::I32AtomicRmwXchg { ref memarg } | O::I64AtomicRmwXchg { ref memarg } => self.rmw(memarg, None, Rmw::Xchg),
            O::I32AtomicRmw8XchgU { ref memarg } | O::I64AtomicRmw8XchgU { ref memarg } => self.rmw(memarg, Some(I8), Rmw::Xchg),
            O::I32AtomicRmw16XchgU { ref memarg } | O::I64AtomicRmw16XchgU { ref memarg } => self.rmw(memarg, Some(I16), Rmw::Xchg),
            O::I64AtomicRmw32XchgU { ref memarg } => self.rmw(memarg, Some(I32), Rmw::Xchg),

            O::I32AtomicRmwCmpxchg { ref memarg } | O::I64AtomicRmwCmpxchg { ref memarg } => self.cmpxchg(memarg, None),
            O::I32AtomicRmw8CmpxchgU { ref memarg } | O::I64AtomicRmw8CmpxchgU { ref memarg } => self.cmpxchg(memarg, Some(I8)),
            O::I32AtomicRmw16CmpxchgU { ref memarg } | O::I64AtomicRmw16CmpxchgU { ref memarg } => self.cmpxchg(memarg, Some(I16)),
            O::I64AtomicRmw32CmpxchgU { ref memarg } => self.cmpxchg(memarg, Some(I32)),

            _ => return false,
        }
        true
    }

    /// A load of `access`, extended to `ty`.
    fn atomic_load(&mut self, memarg: &MemArg, access: Type, ty: Type) {
        let at = self.atomic_place(memarg, access);
        let value = self.builder.ins().atomic_load(access, at.flags, at.address);
        self.push_widened(value, ty);
    }

    /// A store of the low bits of a value, as many as `access` has.
    ///
    /// As an exchange, because that is a fence by itself, and takes half the time of the plain store and
    /// the fence that a store would become on x86-64.
    fn atomic_store(&mut self, memarg: &MemArg, access: Type) {
        let value = self.pop();
        let value = self.narrowed(value, access);
        let at = self.atomic_place(memarg, access);
        self.builder
            .ins()
            .atomic_rmw(access, at.flags, AtomicRmwOp::Xchg, at.address, value);
    }

    /// A read-modify-write of `access`, or of all of the operand.
    fn rmw(&mut self, memarg: &MemArg, access: Option<Type>, op: AtomicRmwOp) {
        let operand = self.pop();
        let ty = self.type_of(operand);
        let access = access.unwrap_or(ty);
        let operand = self.narrowed(operand, access);
        let at = self.atomic_place(memarg, access);
        let old = self
            .builder
            .ins()
            .atomic_rmw(access, at.flags, op, at.address, operand);
        self.push_widened(old, ty);
    }

    /// A compare-and-exchange of `access`, or of all of the operands.
    fn cmpxchg(&mut self, memarg: &MemArg, access: Option<Type>) {
        let (expected, replacement) = self.pop2();
        let ty = self.type_of(expected);
        let access = access.unwrap_or(ty);
        let expected = self.narrowed(expected, access);
        let replacement = self.narrowed(replacement, access);
        let at = self.atomic_place(memarg, access);
        let old = self
            .builder
            .ins()
            .atomic_cas(at.flags, at.address, expected, replacement);
        self.push_widened(old, ty);
    }

    /// `memory.atomic.notify`
    fn notify(&mut self, memarg: &MemArg) {
        let (index, count) = self.pop2();
        let [memory, index, offset] = self.atomic_arguments(memarg, index);
        let woken = self.call_builtin(Builtin::AtomicNotify, &[memory, index, offset, count]);
        self.push(woken.expect("it has a result"));
    }

    /// `memory.atomic.wait`
    fn wait(&mut self, memarg: &MemArg, builtin: Builtin) {
        let (index, expected, timeout) = self.pop3();
        let [memory, index, offset] = self.atomic_arguments(memarg, index);
        let result = self.call_builtin(builtin, &[memory, index, offset, expected, timeout]);
        self.push(result.expect("it has a result"));
    }

    /// Which memory, and the index and offset in 64 bits, for a builtin, which checks them.
    fn atomic_arguments(&mut self, memarg: &MemArg, index: Value) -> [Value; 3] {
        self.mark();
        let memory = self.index_argument(memory(memarg).as_u32());
        let index = self.extend_index(index);
        let offset = self.iconst(I64, memarg.offset as i64);
        [memory, index, offset]
    }

    /// Pops an index; where to access `access` there.
    fn atomic_place(&mut self, memarg: &MemArg, access: Type) -> AtomicPlace {
        let index = self.pop();
        let size = u64::from(access.bytes());
        self.check_alignment(index, memarg.offset, size);
        let Place {
            address,
            offset,
            flags,
        } = self.place(memory(memarg), index, memarg.offset, size);
        let address = match offset {
            0 => address,
            offset => {
                let offset = self.iconst(I64, i64::from(offset));
                self.builder.ins().iadd(address, offset)
            }
        };
        AtomicPlace {
            address,
            flags: flags.with_aligned(),
        }
    }

    /// Traps unless `index` plus `offset` is a multiple of `size`, a power of two. Sums that overflow
    /// have the right low bits.
    fn check_alignment(&mut self, index: Value, offset: u64, size: u64) {
        if size == 1 {
            return;
        }
        self.mark();
        let ty = self.type_of(index);
        let low_bits = size - 1;
        let mut address = index;
        if offset & low_bits != 0 {
            let offset = self.iconst(ty, (offset & low_bits) as i64);
            address = self.builder.ins().iadd(index, offset);
        }
        let low_bits = self.iconst(ty, low_bits as i64);
        let misaligned = self.builder.ins().band(address, low_bits);
        let code = trap_code(TrapCode::HeapMisaligned);
        self.builder.ins().trapnz(misaligned, code);
    }

    fn narrowed(&mut self, value: Value, access: Type) -> Value {
        if self.type_of(value) == access {
            value
        } else {
            self.builder.ins().ireduce(access, value)
        }
    }

    fn push_widened(&mut self, value: Value, ty: Type) {
        let value = if self.type_of(value) == ty {
            value
        } else {
            self.builder.ins().uextend(ty, value)
        };
        self.push(value);
    }
}
