//! Continuations, as far as compiled code leaves them to the runtime: beginning one on a stack of its own,
//! bound arguments, finding handlers.
//!
//! Compiled code resumes and suspends by itself, whenever a continuation is the plain owner of its stack
//! ([`sarsen_abi::stack`]). A continuation that owns a stack is consumed when its stack has another owner,
//! or none; one that is fresh, by a write to the object. `cont.bind` makes a new one, to which the stack
//! goes.
//!
//! Called by `exec`'s builtins.

use super::instance::Instance;
use super::reason::{HostError, Reason};
use super::store::Store;
use crate::gc::{BoundValue, ContParts, HeapError};
use crate::stack::{
    Base, BeginError, Pressure, StackPool, Stacks, recycle, recycle_abandoned, relist,
};
use crate::types::{Defined, matching};
use sarsen_abi::stack::{OWNER_CLEAN, VmStack};
use sarsen_abi::types::{CompositeType, ValType};
use sarsen_abi::vmctx::{ValRaw, VmFuncRef};
use sarsen_abi::{TrapCode, TypeId, TypeIndex};
use smallvec::SmallVec;
use std::num::NonZeroU32;
use std::panic::{self, AssertUnwindSafe};
use std::ptr::{self, NonNull};
use std::sync::Arc;

/// What a continuation is that can be resumed.
enum Usable {
    /// Nothing of it has run: its function.
    Fresh(*const VmFuncRef),
    /// It is suspended, and this is the head of its chain.
    Suspended(*mut VmStack),
}

/// Why no arguments could be bound.
#[derive(Debug)]
pub enum BindError {
    /// The continuation is null or consumed.
    Unusable(TrapCode),
    /// There is no room.
    Heap(HeapError),
}

impl Store {
    /// The store's stacks.
    pub(crate) fn stacks_mut(&mut self) -> &mut Stacks {
        let ctx = NonNull::new(self.ctx()).expect("a store has an address");
        let pool = self.engine.stacks();
        self.stacks.get_or_insert_with(|| {
            // SAFETY: the context lives as long as the store, which drops the stacks before; frames are gone
            // when it is dropped.
            unsafe { Stacks::new(pool, ctx) }
        })
    }

    /// How many stacks the store has from its engine's pool, and how many of them are free.
    pub fn stack_counts(&self) -> (usize, usize) {
        self.stacks
            .as_ref()
            .map_or((0, 0), |stacks| stacks.counts())
    }

    /// What is to be resumed of a continuation. Inlined, or what it gives passes through memory, written by fours
    /// of bytes and read by sixteen, for which the processor waits longer than for all the rest.
    #[inline(always)]
    fn usable(&mut self, cont: u32) -> Result<(Usable, ContParts), TrapCode> {
        if cont == 0 {
            return Err(TrapCode::NullReference);
        }
        let ctx = self.ctx();
        let heap = self.heap_mut();
        let parts = heap.cont(cont)?;
        if parts.func != 0 {
            let func = heap.function(parts.func).ok_or(TrapCode::HeapCorruption)?;
            return Ok((Usable::Fresh(func), parts));
        }
        // SAFETY: the table has so many entries, each of which leads to a block.
        unsafe {
            if u64::from(parts.stack) >= (*ctx).stack_table_length {
                return Err(TrapCode::HeapCorruption);
            }
            let head = *(*ctx).stack_table.add(parts.stack as usize);
            if (*head).owner & !OWNER_CLEAN != cont {
                return Err(TrapCode::ContinuationConsumed);
            }
            Ok((Usable::Suspended(head), parts))
        }
    }

    /// The function type of what a continuation continues, and how many of its parameters are bound.
    ///
    /// # Errors
    ///
    /// [`TrapCode::HeapCorruption`] when that cannot be used as what code takes it for: as `func_type`. Who resumes it
    /// gives and gets values that the heap does not confine.
    #[inline(always)]
    fn own_type(
        &mut self,
        usable: &Usable,
        parts: &ContParts,
        func_type: TypeId,
    ) -> Result<(TypeId, usize), TrapCode> {
        let (own, bound) = match *usable {
            Usable::Fresh(func) => {
                let bound = match parts.refs {
                    0 => 0,
                    _ => self.heap_mut().bound_count(parts)?,
                };
                // SAFETY: a function of this store is alive.
                (unsafe { (*func).type_id }, bound)
            }
            // SAFETY: the head of a suspended chain of this store.
            Usable::Suspended(head) => unsafe { ((*head).func_type, (*head).bound as usize) },
        };
        if bound == 0 && own == func_type {
            return Ok((own, 0));
        }
        let types = self.engine.types();
        // SAFETY: a function or frame of this store is of the one type, and what resumes it knows the other.
        let types_of = unsafe { (types.func_type_held(own), types.func_type_held(func_type)) };
        if let (Some(own_type), Some(expected)) = types_of
            && matching::is_bound_func_type(types, own_type, bound, expected)
        {
            return Ok((own, bound));
        }
        Err(TrapCode::HeapCorruption)
    }

    /// The function type of a continuation type that the host knows.
    ///
    /// # Panics
    ///
    /// Panics when it is none.
    ///
    /// # Safety
    ///
    /// Somebody must hold on to the type.
    pub(crate) unsafe fn func_type_of_cont(&self, ty: TypeId) -> TypeId {
        // SAFETY: the caller's promise.
        let defined = unsafe { self.engine.types().defined_held(ty) };
        defined
            .and_then(Defined::as_cont)
            .expect("a continuation type")
    }

    /// The stack to switch to for resuming a continuation as one of this function type, with its bound arguments in
    /// place: what it is resumed with goes to [`VmStack::values`]. The caller links the chain and switches at once.
    ///
    /// # Errors
    ///
    /// When it is null or consumed, or there is no stack for it; or the embedder's reason. When it is of another type:
    /// then the heap is damaged.
    pub(crate) fn prepare_cont(
        &mut self,
        mut cont: u32,
        func_type: TypeId,
    ) -> Result<NonNull<VmStack>, Reason> {
        let ctx = self.ctx();
        let (usable, mut parts) = self.usable(cont)?;
        let (own, bound) = self.own_type(&usable, &parts, func_type)?;
        let head = match usable {
            Usable::Fresh(func) => {
                self.take_stacks().map_err(Reason::Error)?;
                let stack = match self.begin(func) {
                    Err(BeginError::OutOfStacks) => {
                        // Continuations that are dead may own some.
                        let held = self.heap_mut().hold([cont]);
                        let collected = self.gc();
                        let heap = self.heap_mut();
                        cont = heap.release(held).next().expect("what is held");
                        collected?;
                        parts = heap.cont(cont)?;
                        self.take_stacks().map_err(Reason::Error)?;
                        self.begin(func)
                    }
                    begun => begun,
                };
                let stack = stack.map_err(TrapCode::from)?;
                self.heap_mut().consume_fresh(cont);
                stack
            }
            Usable::Suspended(head) => {
                // SAFETY: the head of a suspended chain of this store.
                unsafe { relist(ctx, head) };
                head
            }
        };
        // SAFETY: a stack of this store. Its `values` have room for all that it is resumed with: the parameters of its
        // own type.
        unsafe {
            if parts.refs != 0 || bound != 0 {
                let own = self.engine.types().func_type_held(own);
                let own = own.expect("it was looked at before").clone();
                let values = (*head).values;
                let placed = self
                    .heap_mut()
                    .place_bound(&parts, &own.params[..bound], values);
                if let Err(code) = placed {
                    // Nobody would ever give back a stack on which nothing has begun.
                    if let Usable::Fresh(_) = usable {
                        recycle(ctx, head);
                    }
                    return Err(code.into());
                }
                (*head).values = values.add(bound);
                (*head).bound = 0;
            }
        }
        Ok(NonNull::new(head).expect("a stack"))
    }

    /// As [`Store::prepare_cont`], to throw an exception; `None` for a fresh continuation.
    pub(crate) fn prepare_throw(
        &mut self,
        cont: u32,
        func_type: TypeId,
    ) -> Result<Option<NonNull<VmStack>>, TrapCode> {
        let (usable, parts) = self.usable(cont)?;
        self.own_type(&usable, &parts, func_type)?;
        Ok(match usable {
            Usable::Fresh(_) => {
                self.heap_mut().consume_fresh(cont);
                None
            }
            Usable::Suspended(head) => {
                // SAFETY: the head of a suspended chain of this store.
                unsafe {
                    relist(self.ctx(), head);
                    (*head).bound = 0;
                }
                NonNull::new(head)
            }
        })
    }

    /// A continuation of type `ty` that begins with `func`. The result is raw: it must be rooted before the
    /// next allocation.
    ///
    /// # Errors
    ///
    /// When there is no room.
    ///
    /// # Safety
    ///
    /// `func` must be a resolved function of this store, of the continuation type's function type.
    pub unsafe fn new_cont(
        &mut self,
        ty: TypeId,
        func: *const VmFuncRef,
    ) -> Result<NonZeroU32, HeapError> {
        self.stacks_mut();
        // SAFETY: the caller's promise.
        let id = unsafe { self.heap_mut().func_id(func) };
        let made = self.with_heap(|heap, world| heap.new_cont(ty, id, world))?;
        Ok(NonZeroU32::new(made).expect("nothing is allocated at null"))
    }

    /// A continuation of type `ty` like `cont`, which is consumed, with these values as its first arguments. The
    /// result is raw: it must be rooted before the next allocation.
    ///
    /// # Errors
    ///
    /// When it is null or consumed, or there is no room.
    ///
    /// # Safety
    ///
    /// The values must be of this store and of these types, the first parameters of the continuation; functions
    /// must be resolved. `ty` must be the type of what is left.
    pub unsafe fn bind_cont<R>(
        &mut self,
        cont: u32,
        ty: TypeId,
        params: &[ValType<R>],
        values: &[ValRaw],
    ) -> Result<NonZeroU32, BindError> {
        let (usable, _) = self.usable(cont).map_err(BindError::Unusable)?;
        let bound: SmallVec<[BoundValue; 8]> = (params.iter().zip(values))
            .map(|(ty, value)| match ty {
                ValType::Ref(ty) if ty.is_collected() => BoundValue::reference(value.0 as u32),
                ValType::Ref(_) => {
                    // SAFETY: the caller's promise.
                    let id = unsafe { self.heap_mut().func_id(value.get_funcref()) };
                    BoundValue::function(id)
                }
                _ => BoundValue::number(value.0),
            })
            .collect();
        let bound = self.with_heap(|heap, world| heap.bind_cont(cont, ty, &bound, world));
        let (old, new) = bound.map_err(BindError::Heap)?;
        match usable {
            Usable::Fresh(_) => self.heap_mut().consume_fresh(old),
            // SAFETY: the head of a chain, which the collector does not take from its owner.
            Usable::Suspended(head) => unsafe {
                relist(self.ctx(), head);
                // Not plain: the next resume must come here for the bound arguments.
                (*head).owner = new | OWNER_CLEAN;
                (*head).bound += values.len() as u32;
            },
        }
        Ok(NonZeroU32::new(new).expect("nothing is allocated at null"))
    }

    /// Whether a continuation can be resumed.
    ///
    /// # Errors
    ///
    /// [`TrapCode::ContinuationConsumed`], or what is wrong with the reference.
    pub fn check_cont(&mut self, cont: u32) -> Result<(), TrapCode> {
        self.usable(cont).map(|_| ())
    }

    /// Sets the type of the continuation that was suspended last, just now.
    ///
    /// # Safety
    ///
    /// It must be the type of it, and somebody must hold on to it for as long as the store.
    pub unsafe fn set_cont_type(&mut self, cont: NonZeroU32, ty: TypeId) {
        self.heap_mut().set_cont_type(cont.get(), ty);
        // SAFETY: the caller's promise: its stack is still there.
        unsafe { (*(*self.ctx()).last_suspended).func_type = self.func_type_of_cont(ty) };
    }

    /// Consumes a continuation, and recycles the stacks that it owns.
    ///
    /// # Errors
    ///
    /// As [`Store::check_cont`].
    ///
    /// # Panics
    ///
    /// Resumes the panic of what a host function has left there, when that is dropped.
    pub fn discard_cont(&mut self, cont: u32) -> Result<(), TrapCode> {
        match self.usable(cont)?.0 {
            Usable::Fresh(_) => self.heap_mut().consume_fresh(cont),
            Usable::Suspended(head) => {
                // SAFETY: the head of a suspended chain of this store, which nobody can resume any more.
                unsafe { recycle(self.ctx(), head) };
                if let Err(payload) = self.stacks_mut().take_dead().drop_all() {
                    panic::resume_unwind(payload);
                }
            }
        }
        Ok(())
    }

    /// A continuation that owns the running stack, which is being suspended up to `outermost`; where the
    /// values go that it will be resumed with is still to be written. `held` is what becomes of these
    /// references meanwhile. The result is raw, and its type is still to be set.
    ///
    /// # Errors
    ///
    /// When there is no room.
    ///
    /// # Safety
    ///
    /// A pool stack must run, and be left at once; `outermost` must be it or one of its parents.
    pub(crate) unsafe fn suspend_running(
        &mut self,
        outermost: NonNull<VmStack>,
        held: &mut [u32],
    ) -> Result<NonZeroU32, HeapError> {
        let ctx = self.ctx();
        // SAFETY: compiled code waits, and a stack runs.
        let current = unsafe { (*ctx).current_stack };
        // SAFETY: as above.
        let number = unsafe { (*current).id };
        let made = self.with_heap(|heap, world| heap.suspended_cont(number, held, world))?;
        // SAFETY: the caller's promise.
        unsafe {
            (*current).owner = made;
            (*current).chain_end = outermost.as_ptr();
            (*ctx).last_suspended = current;
        }
        Ok(NonZeroU32::new(made).expect("nothing is allocated at null"))
    }

    /// The stack whose parent has a clause for a tag, that handles suspensions, or switches if `switch`, and
    /// the clause's number.
    ///
    /// # Errors
    ///
    /// [`TrapCode::UnhandledTag`] when there is none.
    pub(crate) fn find_handler(
        &self,
        tag: *const u8,
        switch: bool,
    ) -> Result<(NonNull<VmStack>, u32), TrapCode> {
        // SAFETY: the stacks of the activation are linked down to the native one, whose parent is null. Their
        // handlers are in frames of the parents, which stand.
        unsafe {
            let mut stack = (*self.ctx()).current_stack;
            while !(*stack).parent.is_null() {
                if let Some(clause) = clause_of(stack, tag, switch) {
                    return Ok((NonNull::new_unchecked(stack), clause));
                }
                stack = (*stack).parent;
            }
        }
        Err(TrapCode::UnhandledTag)
    }

    /// The head of a suspended continuation's chain; `None` when it has not begun.
    pub(crate) fn suspended_stack(
        &mut self,
        cont: u32,
    ) -> Result<Option<NonNull<VmStack>>, TrapCode> {
        Ok(match self.usable(cont)?.0 {
            Usable::Fresh(_) => None,
            Usable::Suspended(head) => NonNull::new(head),
        })
    }

    /// Takes stacks from the pool if none is free, as far as the embedder allows.
    ///
    /// # Errors
    ///
    /// The embedder's.
    #[inline]
    fn take_stacks(&mut self) -> Result<(), HostError> {
        match self.stacks_mut().wanted() {
            0 => Ok(()),
            wanted => self.take_stacks_now(wanted),
        }
    }

    #[cold]
    fn take_stacks_now(&mut self, wanted: usize) -> Result<(), HostError> {
        let batch = if self.may_have_more_stacks(wanted)? {
            wanted
        } else {
            usize::from(wanted > 1 && self.may_have_more_stacks(1)?)
        };
        self.stacks_mut().refill(batch);
        Ok(())
    }

    /// Whether the store may have so many more stacks.
    ///
    /// # Errors
    ///
    /// The embedder's.
    ///
    /// # Panics
    ///
    /// Resumes the embedder's.
    fn may_have_more_stacks(&mut self, more: usize) -> Result<bool, HostError> {
        let of_continuations = self.stacks.as_ref().map_or(0, |stacks| stacks.taken());
        let now = of_continuations + self.bases.len();
        let ask = || self.ask(|upcalls| upcalls.stacks_growing(now, now + more));
        match panic::catch_unwind(AssertUnwindSafe(ask)) {
            Ok(answer) => answer.unwrap_or(Ok(true)),
            Err(payload) => {
                self.heap_mut().release_all();
                panic::resume_unwind(payload);
            }
        }
    }

    /// A stack for an asynchronous call that is about to be polled, which `make` makes. Who forgot calls of the store
    /// has left theirs: they are recycled first.
    ///
    /// # Errors
    ///
    /// When there is none, or the embedder does not allow it, or its reason.
    pub(crate) fn begin_base(
        &mut self,
        make: impl FnOnce(&Arc<StackPool>) -> Result<Base, BeginError>,
    ) -> Result<*mut VmStack, Reason> {
        self.recycle_forgotten();
        if !self.may_have_more_stacks(1).map_err(Reason::Error)? {
            return Err(Reason::Trap(TrapCode::OutOfStacks));
        }
        let base = make(self.engine.stacks()).map_err(TrapCode::from)?;
        Ok(self.bases.add(base))
    }

    /// Recycles the stacks of asynchronous calls between two polls. The future of such a call borrows the store, so
    /// that who has it now, to begin another, has forgotten them: nobody will poll or drop them.
    fn recycle_forgotten(&mut self) {
        while let Some((base, current)) = self.bases.take_waiting() {
            // SAFETY: as said, the code is abandoned. Jobs that refer to its frames are forgotten, too.
            unsafe { recycle_abandoned(self.ctx(), current, base.block()) };
        }
    }

    /// A stack for a function that begins.
    fn begin(&mut self, func: *const VmFuncRef) -> Result<*mut VmStack, BeginError> {
        self.stacks_mut();
        let types = self.engine.types();
        let value_count = || {
            // SAFETY: a function of this store is alive, and its type held by whoever made it.
            let ty = unsafe { types.func_type_held((*func).type_id) };
            ty.map_or(0, |ty| ty.params.len().max(ty.results.len()))
        };
        let stacks = self.stacks.as_mut().expect("just made");
        // SAFETY: a function of this store that compiled code can call.
        let stack = unsafe { stacks.begin(func, value_count)? };
        match stacks.pressure() {
            Pressure::None => {}
            Pressure::Minor => self.heap_mut().collect_soon(false),
            Pressure::Full => self.heap_mut().collect_soon(true),
        }
        Ok(stack)
    }
}

impl Instance {
    /// See [`sarsen_abi::Builtin::ContPrepare`].
    pub(crate) fn cont_prepare(&self, cont: u32, func_type: u32) -> Result<u64, Reason> {
        let func_type = TypeId(func_type);
        let stack = self.store_mut().prepare_cont(cont, func_type)?;
        Ok(stack.as_ptr().expose_provenance() as u64)
    }

    /// See [`sarsen_abi::Builtin::ContPrepareThrow`]; where execution goes on in the stack is still to be
    /// changed. `None` for a fresh continuation.
    pub(crate) fn cont_prepare_throw(
        &self,
        cont: u32,
        func_type: TypeId,
    ) -> Result<Option<NonNull<VmStack>>, Reason> {
        Ok(self.store_mut().prepare_throw(cont, func_type)?)
    }

    /// `cont.bind`
    ///
    /// # Safety
    ///
    /// `values` must be valid for `count` values, of the first parameters of the module's continuation type
    /// `from`.
    pub(crate) unsafe fn cont_bind(
        &self,
        cont: u32,
        from: u32,
        to: u32,
        values: *const ValRaw,
        count: u32,
    ) -> Result<u32, Reason> {
        let module = self.module();
        let CompositeType::Cont(func_type) = module.module().types[from as usize].composite else {
            unreachable!("validated: a continuation type");
        };
        let params = &module.module().func_type_at(func_type).params[..count as usize];
        let ty = module.type_id(TypeIndex::new(to));
        // SAFETY: the caller's promise.
        let bound = unsafe {
            let values = std::slice::from_raw_parts(values, params.len());
            self.store_mut().bind_cont(cont, ty, params, values)
        };
        match bound {
            Ok(new) => Ok(new.get()),
            Err(BindError::Unusable(code)) => Err(code.into()),
            Err(BindError::Heap(error)) => Err(error.into()),
        }
    }

    /// See [`sarsen_abi::Builtin::FindHandler`].
    pub(crate) fn find_handler(&self, tag: u64, target: u32) -> Result<u64, TrapCode> {
        let tag: *const u8 = ptr::with_exposed_provenance(tag as usize);
        let store = self.store_mut();
        let found = store.find_handler(tag, target != 0);
        if found.is_err() && target != 0 {
            // Were there a handler, it would trap for what it is to switch to: that comes first.
            store.check_cont(target)?;
        }
        let (stack, clause) = found?;
        // SAFETY: the context is valid as long as the store.
        unsafe { (*store.ctx()).found_clause = u64::from(clause) };
        Ok(stack.as_ptr().expose_provenance() as u64)
    }
}

/// The number of the clause with which a stack's parent handles a tag.
///
/// # Safety
///
/// The stack must run or be a parent, and not be a native one.
unsafe fn clause_of(stack: *mut VmStack, tag: *const u8, switch: bool) -> Option<u32> {
    // SAFETY: the caller's promise: what its resumer has written.
    unsafe {
        let suspends = (*stack).handler_count;
        if !switch && suspends > 0 && (*stack).first_tag == tag {
            return Some(0);
        }
        // The first one is not in the array.
        let others = suspends.saturating_sub(1);
        let (range, first) = if switch {
            (others..others + (*stack).switch_count, 0)
        } else {
            (0..others, 1)
        };
        let start = range.start;
        for at in range {
            if *(*stack).handlers.add(at as usize) == tag {
                return Some(at - start + first);
            }
        }
        None
    }
}
