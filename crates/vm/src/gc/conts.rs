//! Continuations as objects, and the stacks that they own, as the collector treats them.
//!
//! A continuation owns a stack when the stack's block says so ([`sarsen_abi::stack`]); what stands on the
//! stack is then part of the object. A suspended stack is no root: it is traced when its owner is found
//! alive, and recycled when it is not.
//!
//! - A *minor* collection looks at the stacks that have run since the last one. If the owner is old, it is
//!   taken to be alive. If it is young, the stack is traced when the owner's copy is scanned; when it has
//!   not been copied in the end, the chain is recycled.
//! - A *full* collection traces the chains whose owners are marked, and recycles all others. What runs is
//!   owned by nobody, and its frames are roots.

use super::config::HeapError;
use super::heap::Heap;
use super::world::World;
use crate::arch;
use crate::stack::recycle;
use crate::types::matching;
use sarsen_abi::TrapCode;
use sarsen_abi::TypeId;
use sarsen_abi::heap::{BITS_TYPE, CONT_TYPE, ContLayout, HEADER_SIZE, I31_BIT, Kind, REFS_TYPE};
use sarsen_abi::stack::{OWNER_CLEAN, VmStack};
use sarsen_abi::types::{HeapType, RefType, ValType};
use sarsen_abi::vmctx::{ValRaw, VmFuncRef, VmStoreCtx};
use smallvec::SmallVec;

/// How many blocks ahead of the current one are fetched.
const AHEAD: usize = 8;

/// What a continuation consists of: see [`ContLayout`].
#[derive(Clone, Copy, Debug)]
pub struct ContParts {
    /// The number of the stack.
    pub stack: u32,
    /// The number of the function, while it is fresh.
    pub func: u32,
    /// The bound references.
    pub refs: u32,
    /// The other bound arguments.
    pub bits: u32,
    /// Its type.
    pub ty: TypeId,
}

/// A bound argument as it is stored.
#[derive(Clone, Copy, Debug)]
pub struct BoundValue {
    reference: u32,
    bits: u128,
}

impl BoundValue {
    /// A number.
    pub fn number(bits: u128) -> BoundValue {
        BoundValue { reference: 0, bits }
    }

    /// A function, by its number.
    pub fn function(id: u32) -> BoundValue {
        BoundValue {
            reference: I31_BIT,
            bits: u128::from(id),
        }
    }

    /// A collected reference.
    pub fn reference(reference: u32) -> BoundValue {
        if reference & I31_BIT != 0 {
            // Stays what it is, wherever it is.
            return BoundValue::number(u128::from(reference));
        }
        BoundValue { reference, bits: 0 }
    }
}

/// The stack with this number, if `owner` owns it.
///
/// # Safety
///
/// `ctx` must be valid, and no compiled code of it run.
pub(super) unsafe fn owned_stack(
    ctx: *mut VmStoreCtx,
    number: u32,
    owner: impl Fn(u32) -> bool,
) -> Option<*mut VmStack> {
    // SAFETY: the caller's promise: the table has so many entries, each of which leads to a block.
    unsafe {
        if number == 0 || u64::from(number) >= (*ctx).stack_table_length {
            return None;
        }
        let stack = *(*ctx).stack_table.add(number as usize);
        let of = (*stack).owner & !OWNER_CLEAN;
        (of != 0 && owner(of)).then_some(stack)
    }
}

/// All stacks of a store that are owned by continuations, with these.
///
/// # Safety
///
/// As [`owned_stack`].
pub(super) unsafe fn owned_stacks(
    ctx: *mut VmStoreCtx,
) -> impl Iterator<Item = (*mut VmStack, u32)> {
    // SAFETY: the caller's promise: so many entries, which do not change meanwhile. Number zero is nobody's.
    let table: &[*mut VmStack] = unsafe {
        let length = (*ctx).stack_table_length as usize;
        match length.checked_sub(1) {
            Some(length) => std::slice::from_raw_parts((*ctx).stack_table.add(1), length),
            None => &[],
        }
    };
    fetched(table).filter_map(|stack| {
        // SAFETY: as above: each leads to a block.
        let owner = unsafe { (*stack).owner & !OWNER_CLEAN };
        (owner != 0).then_some((stack, owner))
    })
}

/// These stacks, while the blocks of those after the current one are being fetched.
pub(super) fn fetched(stacks: &[*mut VmStack]) -> impl Iterator<Item = *mut VmStack> {
    stacks.iter().enumerate().map(|(at, &stack)| {
        if let Some(&ahead) = stacks.get(at + AHEAD) {
            arch::prefetch(ahead.cast());
        }
        stack
    })
}

/// Recycles the suspended chains whose owners are dead.
///
/// # Safety
///
/// As [`owned_stack`].
pub(super) unsafe fn recycle_dead(ctx: *mut VmStoreCtx, is_live: impl Fn(u32) -> bool) {
    // SAFETY: the caller's promise.
    unsafe {
        for (stack, owner) in owned_stacks(ctx) {
            if !is_live(owner) {
                recycle(ctx, stack);
            }
        }
    }
}

impl Heap {
    /// The function with this number; `None` when there is none, or it is null.
    pub fn function(&self, number: u32) -> Option<*const VmFuncRef> {
        self.funcs.get(number).filter(|func| !func.is_null())
    }

    fn word(&self, at: u32) -> u32 {
        // SAFETY: in an object that the caller has checked.
        unsafe { self.base().add(at as usize).cast::<u32>().read() }
    }

    fn set_word(&mut self, at: u32, value: u32) {
        // SAFETY: in an object that the caller has checked; nothing young is written into what is old.
        unsafe { self.base().add(at as usize).cast::<u32>().write(value) }
    }

    /// What a continuation consists of.
    ///
    /// # Errors
    ///
    /// [`TrapCode::HeapCorruption`] when the reference leads to none.
    pub fn cont(&mut self, cont: u32) -> Result<ContParts, TrapCode> {
        self.check(cont, u64::from(ContLayout::SIZE))?;
        if self.word(cont) != CONT_TYPE.0 {
            return Err(TrapCode::HeapCorruption);
        }
        Ok(ContParts {
            stack: self.word(cont + ContLayout::STACK),
            func: self.word(cont + ContLayout::FUNC),
            refs: self.word(cont + ContLayout::REFS),
            bits: self.word(cont + ContLayout::BITS),
            ty: TypeId(self.word(cont + ContLayout::TYPE)),
        })
    }

    /// The type of a continuation.
    ///
    /// # Errors
    ///
    /// As [`Heap::cont`].
    pub fn cont_type(&self, cont: u32) -> Result<TypeId, TrapCode> {
        self.check(cont, u64::from(ContLayout::SIZE))?;
        let ty = TypeId(self.word(cont + ContLayout::TYPE));
        if self.word(cont) != CONT_TYPE.0 || self.registry.kind(ty) != Kind::Cont {
            return Err(TrapCode::HeapCorruption);
        }
        Ok(ty)
    }

    /// Writes the type of a continuation that is new.
    ///
    /// # Panics
    ///
    /// Panics when `cont` leads to no continuation.
    pub fn set_cont_type(&mut self, cont: u32, ty: TypeId) {
        let size = u64::from(ContLayout::SIZE);
        self.check(cont, size).expect("a continuation");
        self.set_word(cont + ContLayout::TYPE, ty.0);
    }

    /// A continuation that has not begun, of the function with this number.
    ///
    /// # Errors
    ///
    /// When there is no room.
    pub fn new_cont(
        &mut self,
        ty: TypeId,
        func: u32,
        world: &mut dyn World,
    ) -> Result<u32, HeapError> {
        let cont = self.allocate_zeroed(u64::from(ContLayout::SIZE), world)?;
        self.set_word(cont, CONT_TYPE.0);
        self.set_word(cont + 4, ContLayout::SIZE);
        self.set_word(cont + ContLayout::FUNC, func);
        self.set_word(cont + ContLayout::TYPE, ty.0);
        Ok(cont)
    }

    /// A continuation of the stack with this number, whose type is still to be set. `held` is what becomes
    /// of these references meanwhile.
    ///
    /// # Errors
    ///
    /// When there is no room.
    pub fn suspended_cont(
        &mut self,
        stack: u32,
        held: &mut [u32],
        world: &mut dyn World,
    ) -> Result<u32, HeapError> {
        let cont = self.holding(held, |heap| {
            heap.allocate_zeroed(u64::from(ContLayout::SIZE), world)
        })?;
        self.set_word(cont, CONT_TYPE.0);
        self.set_word(cont + 4, ContLayout::SIZE);
        self.set_word(cont + ContLayout::STACK, stack);
        Ok(cont)
    }

    /// A fresh continuation has begun, or its place was taken by another.
    ///
    /// # Panics
    ///
    /// Panics when `cont` leads to no continuation.
    pub fn consume_fresh(&mut self, cont: u32) {
        let size = u64::from(ContLayout::SIZE);
        self.check(cont, size).expect("a continuation");
        for at in [ContLayout::FUNC, ContLayout::REFS, ContLayout::BITS] {
            self.set_word(cont + at, 0);
        }
    }

    /// Both arrays of bound arguments, checked: where their elements begin, and how many there are.
    fn bound(&self, parts: &ContParts) -> Result<(u32, u32, u32), TrapCode> {
        if parts.refs == 0 {
            return Ok((0, 0, 0));
        }
        let header = u64::from(HEADER_SIZE);
        for (array, ty) in [(parts.refs, REFS_TYPE), (parts.bits, BITS_TYPE)] {
            self.check(array, header)?;
            if self.word(array) != ty.0 {
                return Err(TrapCode::HeapCorruption);
            }
        }
        let length = self.word(parts.refs + 4);
        self.check(parts.refs, header + 4 * u64::from(length))?;
        self.check(parts.bits, header + 16 * u64::from(length))?;
        Ok((parts.refs + HEADER_SIZE, parts.bits + HEADER_SIZE, length))
    }

    /// How many arguments of a continuation are bound.
    ///
    /// # Errors
    ///
    /// [`TrapCode::HeapCorruption`] when they are damaged.
    pub fn bound_count(&self, parts: &ContParts) -> Result<usize, TrapCode> {
        Ok(self.bound(parts)?.2 as usize)
    }

    /// Writes the bound arguments of a continuation, which are of these types, to `values`.
    ///
    /// # Errors
    ///
    /// [`TrapCode::HeapCorruption`] when they are damaged: not as many, or of other types, as far as values outside of
    /// the heap are concerned.
    ///
    /// # Safety
    ///
    /// There must be room for as many.
    pub unsafe fn place_bound(
        &self,
        parts: &ContParts,
        types: &[ValType<TypeId>],
        values: *mut ValRaw,
    ) -> Result<(), TrapCode> {
        let (refs, bits, length) = self.bound(parts)?;
        if length as usize != types.len() {
            return Err(TrapCode::HeapCorruption);
        }
        for (i, ty) in (0..length).zip(types) {
            let value = self.bound_of_type(self.bound_at((refs, bits), i), ty)?;
            // SAFETY: the caller's promise.
            unsafe { values.add(i as usize).write(value) };
        }
        Ok(())
    }

    /// A bound argument as compiled code takes one of this type.
    fn bound_of_type(
        &self,
        BoundValue { reference, bits }: BoundValue,
        ty: &ValType<TypeId>,
    ) -> Result<ValRaw, TrapCode> {
        let is_function = reference & I31_BIT != 0;
        Ok(match ty {
            ValType::Ref(ty) if ty.is_collected() && !is_function => match reference {
                0 => ValRaw(u128::from(bits as u32)),
                reference => ValRaw(u128::from(reference)),
            },
            ValType::Ref(ty) if !ty.is_collected() && is_function => {
                let func = self.funcs.get(bits as u32);
                let func = func.ok_or(TrapCode::HeapCorruption)?;
                if !self.is_function_of(func, ty) {
                    return Err(TrapCode::HeapCorruption);
                }
                ValRaw::funcref(func)
            }
            ValType::Ref(_) => return Err(TrapCode::HeapCorruption),
            _ if reference != 0 => return Err(TrapCode::HeapCorruption),
            _ => ValRaw(bits),
        })
    }

    /// Whether a function of the store, or null, is of this type.
    fn is_function_of(&self, func: *const VmFuncRef, ty: &RefType<TypeId>) -> bool {
        if func.is_null() {
            return ty.nullable;
        }
        // SAFETY: a function of the store's, which is alive.
        let own = HeapType::ConcreteFunc(unsafe { (*func).type_id });
        matching::heap_type_matches(&self.registry, &own, &ty.heap)
    }

    /// A continuation of type `ty` like `cont`, with more arguments bound. Returns where `cont` is now,
    /// and the new one; whether either is consumed, the caller sees to.
    ///
    /// # Errors
    ///
    /// When there is no room.
    pub fn bind_cont(
        &mut self,
        cont: u32,
        ty: TypeId,
        bound: &[BoundValue],
        world: &mut dyn World,
    ) -> Result<(u32, u32), HeapError> {
        let parts = self.cont(cont).map_err(|_| HeapError::Corrupt)?;
        let (_, _, before) = self.bound(&parts).map_err(|_| HeapError::Corrupt)?;
        let total = before + bound.len() as u32;
        let mut held: SmallVec<[u32; 9]> = std::iter::once(cont)
            .chain(bound.iter().map(|value| value.reference))
            .collect();
        let mut arrays = [0; 2];
        // Objects so small are allocated young; if a collection makes some of them old, it does so with
        // all that is held.
        let new = self.holding(&mut held, |heap| {
            if total > 0 {
                for i in 0..2 {
                    let (ty, size) = [(REFS_TYPE, 4), (BITS_TYPE, 16)][i];
                    let array = heap.holding(&mut arrays, |heap| {
                        heap.allocate_reserved(ty, total, size, world)
                    })?;
                    arrays[i] = array;
                }
            }
            heap.holding(&mut arrays, |heap| {
                heap.allocate_zeroed(u64::from(ContLayout::SIZE), world)
            })
        })?;
        let cont = held[0];
        let parts = self.cont(cont).map_err(|_| HeapError::Corrupt)?;
        let (old_refs, old_bits, still) = self.bound(&parts).map_err(|_| HeapError::Corrupt)?;
        if still != before {
            return Err(HeapError::Corrupt);
        }
        self.set_word(new, CONT_TYPE.0);
        self.set_word(new + 4, ContLayout::SIZE);
        self.set_word(new + ContLayout::STACK, parts.stack);
        self.set_word(new + ContLayout::FUNC, parts.func);
        self.set_word(new + ContLayout::REFS, arrays[0]);
        self.set_word(new + ContLayout::BITS, arrays[1]);
        self.set_word(new + ContLayout::TYPE, ty.0);
        if total > 0 {
            let elements = (arrays[0] + HEADER_SIZE, arrays[1] + HEADER_SIZE);
            for i in 0..before {
                self.set_bound(elements, i, self.bound_at((old_refs, old_bits), i));
            }
            for (i, value) in (before..total).zip(bound) {
                let reference = held[1 + (i - before) as usize];
                self.set_bound(
                    elements,
                    i,
                    BoundValue {
                        reference,
                        ..*value
                    },
                );
            }
        }
        Ok((cont, new))
    }

    /// A bound argument, of those whose elements begin here, and are there.
    fn bound_at(&self, (refs, bits): (u32, u32), index: u32) -> BoundValue {
        let words =
            (0..4).map(|word| u128::from(self.word(bits + 16 * index + 4 * word)) << (32 * word));
        BoundValue {
            reference: self.word(refs + 4 * index),
            bits: words.sum(),
        }
    }

    /// Writes a bound argument, as [`Heap::bound_at`] reads it.
    fn set_bound(&mut self, (refs, bits): (u32, u32), index: u32, value: BoundValue) {
        self.set_word(refs + 4 * index, value.reference);
        for word in 0..4 {
            self.set_word(
                bits + 16 * index + 4 * word,
                (value.bits >> (32 * word)) as u32,
            );
        }
    }

    /// An array of a type that no guest sees, filled with zeroes.
    fn allocate_reserved(
        &mut self,
        ty: TypeId,
        length: u32,
        element_size: u32,
        world: &mut dyn World,
    ) -> Result<u32, HeapError> {
        let size = (HEADER_SIZE + length * element_size).next_multiple_of(8);
        let at = self.allocate_zeroed(u64::from(size), world)?;
        self.set_word(at, ty.0);
        self.set_word(at + 4, length);
        Ok(at)
    }

    /// Has the next allocation collect: stacks are held that may be garbage.
    pub fn collect_soon(&mut self, full: bool) {
        if self.collects() {
            self.hurry = true;
            self.hurry_full |= full;
            self.publish();
        }
    }
}
