//! [`Accesses`]: how the host reads and writes the fields of structures and the elements of arrays, by
//! type.
//!
//! Made when an object of a type is first accessed, in a form that takes few loads: the header of an
//! object is compared with that of the object before, as objects of one type often come together.
//! Whether a reference fits a field of one type is then a look at one word of its type's display, as in
//! compiled code.

use super::heap::Heap;
use crate::types::{Defined, Registry, Shape};
use hashbrown::HashMap;
use sarsen_abi::heap::{HEADER_SIZE, I31_BIT, YOUNG};
use sarsen_abi::types::{
    AbstractHeapType, FieldType, HeapType, Hierarchy, RefType, StorageType, ValType,
};
use sarsen_abi::vmctx::{NO_FUNC_ID, VmFuncRef};
use sarsen_abi::{TrapCode, TypeId};
use std::sync::Arc;

/// What a field or element holds, as far as reading it is concerned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Holds {
    /// A packed number of 8 bits.
    I8,
    /// A packed number of 16 bits.
    I16,
    /// A 32-bit integer.
    I32,
    /// A 64-bit integer.
    I64,
    /// A 32-bit float.
    F32,
    /// A 64-bit float.
    F64,
    /// A reference of the guest's.
    AnyRef,
    /// A reference to something of the host's.
    ExternRef,
    /// A reference to a function.
    FuncRef,
    /// Anything else; see [`super::Place`].
    Other,
}

impl Holds {
    fn of(storage: &StorageType<TypeId>) -> Holds {
        match storage {
            StorageType::I8 => Holds::I8,
            StorageType::I16 => Holds::I16,
            StorageType::Val(ValType::I32) => Holds::I32,
            StorageType::Val(ValType::I64) => Holds::I64,
            StorageType::Val(ValType::F32) => Holds::F32,
            StorageType::Val(ValType::F64) => Holds::F64,
            StorageType::Val(ValType::V128) => Holds::Other,
            StorageType::Val(ValType::Ref(ty)) => match ty.heap.hierarchy() {
                Hierarchy::Any => Holds::AnyRef,
                Hierarchy::Extern => Holds::ExternRef,
                Hierarchy::Func => Holds::FuncRef,
                Hierarchy::Exn | Hierarchy::Cont => Holds::Other,
            },
        }
    }
}

/// Which values fit a field or element of references.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fits {
    /// All of the hierarchy.
    All,
    /// Those of the type [`Access::ty`], and of those below it; and null, if it is nullable.
    Concrete,
    /// Those of an abstract type; and null, if it is nullable.
    Abstract(AbstractHeapType),
    /// None: it holds no reference.
    None,
}

/// A field or element.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// From the beginning of the object, in bytes; of an element, of the first one.
    offset: u32,
    ty: TypeId,
    /// How many ancestors `ty` has.
    depth: u8,
    fits: Fits,
    nullable: bool,
    /// What it holds.
    pub holds: Holds,
    /// Whether it can be written.
    pub mutable: bool,
}

impl Access {
    fn new(types: &Registry, field: &FieldType<TypeId>, offset: u32) -> Access {
        let mut access = Access {
            offset,
            ty: TypeId(0),
            depth: 0,
            fits: Fits::None,
            nullable: false,
            holds: Holds::of(&field.storage),
            mutable: field.mutable,
        };
        if let StorageType::Val(ValType::Ref(ty)) = field.storage {
            access.nullable = ty.nullable;
            access.fits = match ty.heap {
                HeapType::Abstract(heap) if ty.nullable && heap == ty.heap.hierarchy().top() => {
                    Fits::All
                }
                HeapType::Abstract(heap) => Fits::Abstract(heap),
                HeapType::ConcreteFunc(id)
                | HeapType::ConcreteStruct(id)
                | HeapType::ConcreteArray(id)
                | HeapType::ConcreteCont(id) => {
                    access.ty = id;
                    access.depth = types.depth(id) as u8;
                    Fits::Concrete
                }
            };
        }
        access
    }
}

/// A type.
#[derive(Debug)]
struct TypeAccess {
    /// The first word of the header of its objects.
    id: u32,
    /// The second word of the header of structures: their size, in bytes.
    size: u32,
    /// The size of an element of arrays, in bytes.
    element_size: u32,
    /// The fields of structures.
    fields: Box<[Access]>,
    /// The elements of arrays.
    element: Option<Access>,
}

impl TypeAccess {
    /// Of no object: none is so large.
    fn none() -> TypeAccess {
        TypeAccess {
            id: 0,
            size: u32::MAX,
            element_size: 0,
            fields: Box::default(),
            element: None,
        }
    }

    fn new(types: &Registry, ty: &Defined) -> TypeAccess {
        let mut made = TypeAccess::none();
        made.id = ty.id.0;
        match &ty.shape {
            Shape::Struct(shape) => {
                let fields = shape.fields.iter().zip(&shape.layout.fields);
                made.fields = fields
                    .map(|(ty, &(offset, _))| Access::new(types, ty, offset))
                    .collect();
                made.size = shape.layout.size;
            }
            Shape::Array(shape) => {
                made.element = Some(Access::new(types, &shape.element, HEADER_SIZE));
                made.element_size = shape.layout.slot.size();
            }
            Shape::Func(_) | Shape::Cont(_) => {}
        }
        made
    }
}

/// The types of which objects were accessed.
#[derive(Debug)]
pub(super) struct Accesses {
    by_id: HashMap<u32, Arc<TypeAccess>>,
    /// The latest.
    recent: Arc<TypeAccess>,
}

impl Accesses {
    pub(super) fn new() -> Accesses {
        Accesses {
            by_id: HashMap::new(),
            recent: Arc::new(TypeAccess::none()),
        }
    }
}

impl Heap {
    /// Field `index` of the structure that a reference leads to, and where it is; `None` when it has no
    /// such field. Where it is is of use until something allocates.
    ///
    /// # Errors
    ///
    /// [`TrapCode::HeapCorruption`] when it leads to no structure of this heap.
    #[inline(always)]
    pub fn struct_access(
        &mut self,
        reference: u32,
        index: usize,
    ) -> Result<Option<(Access, *mut u8)>, TrapCode> {
        let (object, room) = self.check_object(reference)?;
        // SAFETY: a header in the heap, aligned.
        let [id, size] = unsafe { object.cast::<[u32; 2]>().read() };
        let ty = self.type_access(reference, id)?;
        if ty.size != size || size > room {
            return Err(TrapCode::HeapCorruption);
        }
        let access = ty.fields.get(index).copied();
        // SAFETY: the object lies in the heap as a whole, and its fields in it.
        Ok(access.map(|access| (access, unsafe { object.add(access.offset as usize) })))
    }

    /// Element `index` of the array that a reference leads to, and where it is. Where it is is of use
    /// until something allocates.
    ///
    /// # Errors
    ///
    /// [`TrapCode::ArrayOutOfBounds`], or [`TrapCode::HeapCorruption`] when it leads to no array of
    /// this heap.
    #[inline(always)]
    pub fn array_access(
        &mut self,
        reference: u32,
        index: u32,
    ) -> Result<(Access, *mut u8), TrapCode> {
        let (object, room) = self.check_object(reference)?;
        // SAFETY: a header in the heap, aligned.
        let [id, length] = unsafe { object.cast::<[u32; 2]>().read() };
        let ty = self.type_access(reference, id)?;
        let (element_size, access) = (u64::from(ty.element_size), ty.element);
        let access = access.ok_or(TrapCode::HeapCorruption)?;
        if index >= length {
            return Err(TrapCode::ArrayOutOfBounds);
        }
        let start = u64::from(access.offset) + u64::from(index) * element_size;
        if start + element_size > u64::from(room) {
            return Err(TrapCode::HeapCorruption);
        }
        // SAFETY: the array lies in the heap up to the element's end.
        let at = unsafe { object.add(start as usize) };
        Ok((access, at))
    }

    /// How objects of the type with this id, to one of which `reference` leads, are accessed.
    #[inline(always)]
    fn type_access(&mut self, reference: u32, id: u32) -> Result<&TypeAccess, TrapCode> {
        if self.accesses.recent.id != id {
            self.find_access(reference)?;
        }
        Ok(&self.accesses.recent)
    }

    #[cold]
    #[inline(never)]
    fn find_access(&mut self, reference: u32) -> Result<(), TrapCode> {
        let id = self.object(reference)?.0.id.0;
        if let Some(known) = self.accesses.by_id.get(&id) {
            self.accesses.recent = Arc::clone(known);
            return Ok(());
        }
        let registry = Arc::clone(&self.registry);
        let made = Arc::new(TypeAccess::new(&registry, self.object(reference)?.0));
        self.accesses.by_id.insert(id, Arc::clone(&made));
        self.accesses.recent = made;
        Ok(())
    }

    /// Whether a collected reference of the hierarchy that is there can be written.
    #[inline]
    pub fn fits(&self, access: Access, reference: u32) -> bool {
        match access.fits {
            Fits::All => true,
            _ if reference == 0 => access.nullable,
            Fits::Concrete if reference & I31_BIT == 0 => {
                let own = self.type_of(reference);
                own.is_ok_and(|own| self.is_of(own, access))
            }
            Fits::Concrete | Fits::None => false,
            Fits::Abstract(heap) => {
                let ty = RefType {
                    nullable: access.nullable,
                    heap: HeapType::Abstract(heap),
                };
                self.is_instance(reference, &ty) == Ok(true)
            }
        }
    }

    /// Whether `own` is the type of an [`Access`] with one type, or below it.
    #[inline(always)]
    fn is_of(&self, own: TypeId, access: Access) -> bool {
        let depth = usize::from(access.depth);
        self.registry.is_subtype_at(own, access.ty, depth)
    }

    /// The function where an [`Access`] of one was found, or null; `None` when the number there is none.
    ///
    /// # Safety
    ///
    /// `at` must be such a field or element, found since the heap was last collected.
    #[inline]
    pub unsafe fn read_func(&self, at: *mut u8) -> Option<*const VmFuncRef> {
        // SAFETY: the caller's promise.
        self.funcs.get(unsafe { at.cast::<u32>().read() })
    }

    /// Writes a function to where an [`Access`] was found, and tells whether it did: not when it does not fit,
    /// or has no number yet.
    ///
    /// # Safety
    ///
    /// As [`Heap::read_func`]; `func` must be null or a function of this store.
    #[inline]
    pub unsafe fn write_func(
        &mut self,
        access: Access,
        at: *mut u8,
        func: *const VmFuncRef,
    ) -> bool {
        // SAFETY: the caller's promise. Null has the number zero.
        let (number, ty) = match unsafe { func.as_ref() } {
            Some(func) => (func.id, Some(func.type_id)),
            None => (0, None),
        };
        let fits = match (access.fits, ty) {
            (Fits::All, _) => true,
            (_, None) => access.nullable,
            (Fits::Concrete, Some(own)) => self.is_of(own, access),
            (Fits::Abstract(heap), Some(_)) => heap == AbstractHeapType::Func,
            (Fits::None, Some(_)) => false,
        };
        if !fits || number == NO_FUNC_ID {
            return false;
        }
        // SAFETY: the caller's promise. What has a number is ready to be called.
        unsafe { at.cast::<u32>().write(number) };
        true
    }

    /// Writes a collected reference to where an [`Access`] of the object `to` was found.
    ///
    /// # Safety
    ///
    /// `at` must be a reference field or element of `to`, found since the heap was last collected, and
    /// `value` null or a reference of its type.
    #[inline]
    pub unsafe fn write_access(&mut self, to: u32, at: *mut u8, value: u32) {
        let slot = at.cast::<u32>();
        if to < YOUNG {
            // SAFETY: the caller's promise.
            self.before_write(slot, unsafe { slot.read() }, value);
        }
        // SAFETY: the caller's promise.
        unsafe { slot.write(value) };
    }
}
