//! Roots and objects of the untyped store: looked up, read, written and allocated, with every check
//! that the handles promise.
//!
//! Reading or writing a field is on a budget of 15 ns: a root's generation, the object's header, the
//! type that it names (which the heap has at hand), and the field. Nothing is allocated but the root of
//! a reference that was read.

use super::error::UnrootedError;
use super::rooted::{RootIndex, Rooted};
use crate::error::{OwnershipError, Result, heap_error};
use crate::func::Func;
use crate::store::StoreOpaque;
use crate::trap::Trap;
use crate::val::{Val, ValRaw};
use core::any::Any;
use core::ptr;
use sarsen_abi::TypeId;
use sarsen_abi::types::{self as abi, AbstractHeapType, HeapType, Hierarchy, RefType, StorageType};
use sarsen_vm::gc::{self, Access, Holds, OwnedRoot, Place, RefKind};
use sarsen_vm::types::RegisteredType;
use std::sync::Arc;

/// Roots.
impl StoreOpaque {
    /// The reference at a root: of use until something allocates.
    #[inline(always)]
    pub(crate) fn reference(&self, root: RootIndex) -> Result<u32> {
        if root.store != self.id() {
            return Err(wrong_store());
        }
        match self.vm().root(root.root) {
            Some(reference) => Ok(reference),
            None => Err(unrooted()),
        }
    }

    /// Roots a reference in the innermost scope.
    #[inline]
    pub(crate) fn root(&mut self, reference: u32) -> RootIndex {
        RootIndex {
            store: self.id(),
            root: self.vm_mut().push_root(reference),
        }
    }

    pub(super) fn own_root(&mut self, reference: u32) -> OwnedRoot {
        self.vm_mut().own_root(reference)
    }

    /// Begins a scope of roots.
    #[inline]
    pub(crate) fn scope(&self) -> gc::RootScope {
        self.vm().root_scope_enter()
    }

    /// Ends a scope of roots.
    #[inline]
    pub(crate) fn end_scope(&mut self, scope: gc::RootScope) {
        self.vm_mut().root_scope_exit(scope);
    }

    pub(super) fn reserve_roots(&mut self, additional: usize) {
        self.vm_mut().heap_mut().reserve_roots(additional);
    }
}

#[cold]
fn wrong_store() -> crate::Error {
    OwnershipError::WrongStore.into()
}

#[cold]
fn unrooted() -> crate::Error {
    UnrootedError.into()
}

/// Types of objects.
impl StoreOpaque {
    /// The most precise type of what a reference that is not null leads to, as a reference of `kind`.
    pub(crate) fn own_type(
        &self,
        reference: u32,
        kind: AbstractHeapType,
    ) -> Result<HeapType<TypeId>, Trap> {
        let own = match self.vm().ref_kind(reference)? {
            RefKind::Null => return Err(Trap::NullReference),
            RefKind::I31(_) => HeapType::Abstract(AbstractHeapType::I31),
            RefKind::Struct(id) => HeapType::ConcreteStruct(id),
            RefKind::Array(id) => HeapType::ConcreteArray(id),
            RefKind::Extern => HeapType::Abstract(AbstractHeapType::Extern),
            RefKind::Exn => HeapType::Abstract(AbstractHeapType::Exn),
            RefKind::Cont => HeapType::ConcreteCont(self.vm().cont_type(reference)?),
        };
        let (own_hierarchy, hierarchy) = (own.hierarchy(), hierarchy_of(kind));
        match (own_hierarchy, hierarchy) {
            (own_hierarchy, _) if own_hierarchy == hierarchy => Ok(own),
            // What was converted to the other hierarchy: only its largest type is known.
            (Hierarchy::Any, Hierarchy::Extern) | (Hierarchy::Extern, Hierarchy::Any) => {
                Ok(HeapType::Abstract(hierarchy.top()))
            }
            _ => Err(Trap::HeapCorruption),
        }
    }

    /// Whether a reference of `kind` that is not null is one to a `wanted`.
    #[inline]
    pub(crate) fn reference_is(
        &self,
        reference: u32,
        kind: AbstractHeapType,
        wanted: &HeapType<TypeId>,
    ) -> Result<bool> {
        if hierarchy_of(kind) != wanted.hierarchy() {
            return Ok(false);
        }
        let wanted = RefType {
            nullable: false,
            heap: *wanted,
        };
        Ok(self.vm().is_instance(reference, &wanted)?)
    }

    /// Checks that a value can be stored as `storage`, and returns its bits: a reference is of use
    /// until something allocates.
    #[inline]
    pub(super) fn stored(
        &mut self,
        value: &Val,
        storage: &StorageType<TypeId>,
        what: impl FnOnce() -> String,
    ) -> Result<ValRaw> {
        let wanted = match storage {
            StorageType::I8 | StorageType::I16 => abi::ValType::I32,
            StorageType::Val(ty) => *ty,
        };
        match (value, wanted) {
            (Val::I32(v), abi::ValType::I32) => Ok(ValRaw::i32(*v)),
            (Val::I64(v), abi::ValType::I64) => Ok(ValRaw::i64(*v)),
            (Val::F32(v), abi::ValType::F32) => Ok(ValRaw::f32(*v)),
            (Val::F64(v), abi::ValType::F64) => Ok(ValRaw::f64(*v)),
            _ => value.checked_raw(self, wanted, what),
        }
    }
}

fn hierarchy_of(kind: AbstractHeapType) -> Hierarchy {
    HeapType::<TypeId>::Abstract(kind).hierarchy()
}

/// Numbers and references: what is accessed most.
impl StoreOpaque {
    /// The value where an access was found; `None` when it needs a look at its type.
    ///
    /// # Safety
    ///
    /// Nothing must have been allocated since.
    #[inline(always)]
    pub(super) unsafe fn read_access(&mut self, access: Access, at: *mut u8) -> Option<Val> {
        // SAFETY: a field or element that holds this.
        unsafe {
            Some(match access.holds {
                Holds::I8 => Val::I32(at.read().into()),
                Holds::I16 => Val::I32(at.cast::<u16>().read().into()),
                Holds::I32 => Val::I32(at.cast::<i32>().read()),
                Holds::I64 => Val::I64(at.cast::<i64>().read()),
                Holds::F32 => Val::F32(at.cast::<u32>().read()),
                Holds::F64 => Val::F64(at.cast::<u64>().read()),
                Holds::AnyRef => Val::AnyRef(Rooted::from_abi(at.cast::<u32>().read(), self)),
                Holds::ExternRef => Val::ExternRef(Rooted::from_abi(at.cast::<u32>().read(), self)),
                Holds::FuncRef => {
                    let func = self.vm_mut().heap_mut().read_func(at)?;
                    Val::FuncRef(Func::from_funcref(func, self))
                }
                Holds::Other => return None,
            })
        }
    }

    /// Writes a value, if it is of the type that is there, and needs no more of a look at it. The
    /// object is `object`.
    ///
    /// # Safety
    ///
    /// Nothing must have been allocated since the access was found in this object.
    #[inline(always)]
    pub(super) unsafe fn write_access(
        &mut self,
        object: u32,
        access: Access,
        at: *mut u8,
        value: &Val,
    ) -> Result<bool> {
        let root = match (access.holds, value) {
            (Holds::AnyRef, Val::AnyRef(v)) => v.as_ref().map(Rooted::root),
            (Holds::ExternRef, Val::ExternRef(v)) => v.as_ref().map(Rooted::root),
            (Holds::FuncRef, Val::FuncRef(func)) => {
                let func = match func {
                    Some(func) => {
                        self.check_owns(func.store_id())?;
                        func.as_raw()
                    }
                    None => ptr::null(),
                };
                // SAFETY: the caller's promise; the function is of this store.
                return Ok(unsafe { self.vm_mut().heap_mut().write_func(access, at, func) });
            }
            // SAFETY: the caller's promise.
            _ => return Ok(unsafe { write_number(access, at, value) }),
        };
        let reference = match root {
            Some(root) => self.reference(root)?,
            None => 0,
        };
        let heap = self.vm_mut().heap_mut();
        if !heap.fits(access, reference) {
            return Ok(false);
        }
        // SAFETY: the caller's promise, and the reference fits.
        unsafe { heap.write_access(object, at, reference) };
        Ok(true)
    }
}

/// Writes a number where an access was found, if it is of the type that is there.
///
/// # Safety
///
/// As [`StoreOpaque::write_access`].
#[inline(always)]
unsafe fn write_number(access: Access, at: *mut u8, value: &Val) -> bool {
    // SAFETY: a field or element that holds this.
    unsafe {
        match (access.holds, value) {
            (Holds::I8, Val::I32(v)) => at.write(*v as u8),
            (Holds::I16, Val::I32(v)) => at.cast::<u16>().write(*v as u16),
            (Holds::I32, Val::I32(v)) => at.cast::<i32>().write(*v),
            (Holds::I64, Val::I64(v)) => at.cast::<i64>().write(*v),
            (Holds::F32, Val::F32(v)) => at.cast::<u32>().write(*v),
            (Holds::F64, Val::F64(v)) => at.cast::<u64>().write(*v),
            _ => return false,
        }
    }
    true
}

/// Fields and elements of every type.
impl StoreOpaque {
    /// The value at a place that was just found.
    #[inline(never)]
    pub(super) fn read_place(&mut self, place: &Place) -> Result<Val> {
        // SAFETY: nothing was allocated since.
        let raw = unsafe { self.vm_mut().heap_mut().read_place(place)? };
        Ok(match place.ty.storage {
            StorageType::I8 | StorageType::I16 => Val::I32(raw.get_i32()),
            // SAFETY: the heap holds values of its fields' types.
            StorageType::Val(ty) => unsafe { Val::from_abi(self, raw, ty) },
        })
    }

    /// Writes a value to a place that was just found.
    #[inline(never)]
    pub(super) fn write_place(
        &mut self,
        place: &Place,
        value: &Val,
        what: impl FnOnce() -> String,
    ) -> Result<()> {
        let raw = self.stored(value, &place.ty.storage, what)?;
        // SAFETY: nothing was allocated since; the value is of the place's type, and a function was made
        // ready.
        unsafe { self.vm_mut().heap_mut().write_place(place, raw) };
        Ok(())
    }
}

/// Allocation.
impl StoreOpaque {
    /// Makes a structure or array type ready for allocating, and holds it for as long as the store.
    pub(super) fn learn_type(&mut self, ty: &RegisteredType) -> Result<()> {
        if !Arc::ptr_eq(ty.registry(), self.engine().types()) {
            return Err(OwnershipError::WrongEngine.into());
        }
        self.vm_mut().heap_mut().learn_type(ty.id());
        Ok(())
    }

    /// # Safety
    ///
    /// `ty` must be a structure type that the store holds, and `fields` values of its fields' types.
    pub(super) unsafe fn allocate_struct(
        &mut self,
        ty: TypeId,
        size: u32,
        fields: &[ValRaw],
    ) -> Result<u32> {
        // SAFETY: the caller's promise.
        let made = unsafe { self.vm_mut().alloc_struct(ty, fields) };
        Ok(made
            .map_err(|error| heap_error(error, u64::from(size)))?
            .get())
    }

    /// # Safety
    ///
    /// `ty` must be an array type that the store holds, and `value` one of its element's type.
    pub(super) unsafe fn allocate_array(
        &mut self,
        ty: TypeId,
        size: u64,
        length: u32,
        value: ValRaw,
    ) -> Result<u32> {
        // SAFETY: the caller's promise.
        let made = unsafe { self.vm_mut().alloc_array(ty, length, value) };
        Ok(made.map_err(|error| heap_error(error, size))?.get())
    }

    /// # Safety
    ///
    /// `ty` must be an array type that the store holds, and `elements` values of its element's type.
    pub(super) unsafe fn allocate_array_of(
        &mut self,
        ty: TypeId,
        size: u64,
        elements: &[ValRaw],
    ) -> Result<u32> {
        // SAFETY: the caller's promise.
        let made = unsafe { self.vm_mut().alloc_array_of(ty, elements) };
        Ok(made.map_err(|error| heap_error(error, size))?.get())
    }

    pub(super) fn allocate_extern(&mut self, data: Box<dyn Any + Send + Sync>) -> Result<u32> {
        let made = self.vm_mut().new_externref(data);
        Ok(made.map_err(|error| heap_error(error, EXTERN_SIZE))?.get())
    }

    /// Collects all garbage.
    pub(crate) fn collect(&mut self) -> Result<()> {
        Ok(self.vm_mut().gc()?)
    }
}

/// How much an object of the host's takes in the heap, in bytes.
const EXTERN_SIZE: u64 = 16;
