//! [`Rooted`]: a reference that the collector knows of, until the scope that it was made in ends.
//!
//! ```text
//!   Rooted<T>, OwnedRooted<T> ──► T (AnyRef, StructRef, …) = a RootIndex
//!                                   store, which root, generation
//!                                            │
//!   the store's roots (sarsen_vm)            ▼
//!   scoped: [ref, gen] [ref, gen] [ref, gen] …      a stack; a scope ends by cutting it
//!   owned:  [ref] [ref] …                           used again when the last owner is gone
//! ```
//!
//! The collector moves objects and updates the roots, so that a handle is never an object's address.
//! A handle whose root is gone finds another generation there, and is an error.

use super::owned::OwnedRooted;
use crate::context::{AsContext, AsContextMut};
use crate::error::Result;
use crate::store::StoreOpaque;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::marker::PhantomData;
use core::ops::Deref;
use sarsen_abi::types::AbstractHeapType;
use sarsen_vm::gc;
use sarsen_vm::instance::StoreId;

pub(crate) use sealed::{GcRefImpl, RootedImpl};

/// Which root of which store.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RootIndex {
    pub(super) store: StoreId,
    pub(super) root: gc::RootIndex,
}

pub(crate) mod sealed {
    use super::{AbstractHeapType, RootIndex};

    /// What this crate knows of a kind of reference.
    pub trait GcRefImpl: Send + Sync + Sized + 'static {
        /// The type of which all such objects are.
        const HEAP_TYPE: AbstractHeapType;

        /// The reference at a root. Whether it is of this kind is checked when it is used.
        fn from_root(root: &RootIndex) -> &Self;

        /// The root that it is at.
        fn root(&self) -> RootIndex;
    }

    /// What has a root.
    pub trait RootedImpl {}
}

/// A kind of collected reference: [`AnyRef`], [`EqRef`], [`StructRef`], [`ArrayRef`], [`ExternRef`],
/// [`ExnRef`], [`ContRef`].
///
/// Not to be implemented outside of this crate.
pub trait GcRef: GcRefImpl {}

impl<T: GcRefImpl> GcRef for T {}

/// A handle that keeps an object alive: [`Rooted`] or [`OwnedRooted`].
///
/// Not to be implemented outside of this crate.
pub trait RootedGcRef<T: GcRef>: RootedImpl + Deref<Target = T> {}

impl<T: GcRef, R: RootedImpl + Deref<Target = T>> RootedGcRef<T> for R {}

/// A reference to an object of kind `T`, which keeps it alive until a scope ends.
///
/// The scope is the innermost [`RootScope`](crate::RootScope) or host function's call in which it was
/// made, or else the store's life. Used after that, it is an error
/// ([`UnrootedError`](crate::UnrootedError)), never another object. What must live longer is made an
/// [`OwnedRooted`] with [`Rooted::to_owned_rooted`].
///
/// ```
/// use sarsen::{Engine, ExternRef, RootScope, Store, UnrootedError};
///
/// let mut store = Store::new(&Engine::default(), ());
/// let (kept, lost);
/// {
///     let mut scope = RootScope::new(&mut store);
///     lost = ExternRef::new(&mut scope, "a")?;
///     kept = ExternRef::new(&mut scope, "b")?.to_owned_rooted(&mut scope)?;
/// }
/// assert!(kept.data(&store)?.is_some());
/// let error = lost.data(&store).unwrap_err();
/// assert!(error.downcast_ref::<UnrootedError>().is_some());
/// # Ok::<(), sarsen::Error>(())
/// ```
pub struct Rooted<T: GcRef> {
    root: RootIndex,
    kind: PhantomData<fn() -> T>,
}

impl<T: GcRef> Clone for Rooted<T> {
    #[inline]
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: GcRef> Copy for Rooted<T> {}

impl<T: GcRef> fmt::Debug for Rooted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rooted({}, {:?})", T::HEAP_TYPE, self.root.root)
    }
}

impl<T: GcRef> Deref for Rooted<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        T::from_root(&self.root)
    }
}

impl<T: GcRef> RootedImpl for Rooted<T> {}

impl<T: GcRef> Rooted<T> {
    #[inline]
    pub(crate) fn at(root: RootIndex) -> Rooted<T> {
        Rooted {
            root,
            kind: PhantomData,
        }
    }

    #[inline]
    pub(crate) fn root(&self) -> RootIndex {
        self.root
    }

    /// Roots what compiled code has passed, in the innermost scope.
    ///
    /// # Safety
    ///
    /// `raw` must be null or a reference to an object of `store` of this kind.
    #[inline]
    pub(crate) unsafe fn from_abi(raw: u32, store: &mut StoreOpaque) -> Option<Rooted<T>> {
        if raw == 0 {
            return None;
        }
        Some(Rooted::at(store.root(raw)))
    }

    /// The same reference, kept alive for as long as the result and its clones.
    ///
    /// # Errors
    ///
    /// When it belongs to another store, or its scope has ended.
    pub fn to_owned_rooted(&self, mut store: impl AsContextMut) -> Result<OwnedRooted<T>> {
        let mut store = store.as_context_mut();
        OwnedRooted::new(store.opaque(), self.root())
    }

    /// Whether `a` and `b` are the same handle. Different handles can refer to the same object; see
    /// [`Rooted::ref_eq`].
    pub fn rooted_eq(a: Self, b: Self) -> bool {
        a.root() == b.root()
    }

    /// Whether `a` and `b` refer to the same object, or are the same integer.
    ///
    /// # Errors
    ///
    /// When one of them belongs to another store, or its scope has ended.
    pub fn ref_eq(
        store: impl AsContext,
        a: &impl RootedGcRef<T>,
        b: &impl RootedGcRef<T>,
    ) -> Result<bool> {
        let store = store.as_context().opaque();
        Ok(store.reference(a.root())? == store.reference(b.root())?)
    }

    /// Hashes the handle, in agreement with [`Rooted::rooted_eq`].
    pub fn rooted_hash<H: Hasher>(&self, state: &mut H) {
        self.root().hash(state);
    }
}

/// Handles of a kind that is below another.
macro_rules! upcasts {
    ($($(#[$doc:meta])* $method:ident: $from:ident => $to:ident;)*) => {$(
        impl Rooted<$from> {
            $(#[$doc])*
            #[inline]
            pub fn $method(self) -> Rooted<$to> {
                Rooted::at(self.root())
            }
        }

        impl OwnedRooted<$from> {
            $(#[$doc])*
            #[inline]
            pub fn $method(self) -> OwnedRooted<$to> {
                self.cast()
            }
        }

        impl From<Rooted<$from>> for Rooted<$to> {
            #[inline]
            fn from(handle: Rooted<$from>) -> Self {
                handle.$method()
            }
        }

        impl From<OwnedRooted<$from>> for OwnedRooted<$to> {
            #[inline]
            fn from(handle: OwnedRooted<$from>) -> Self {
                handle.$method()
            }
        }
    )*};
}

upcasts! {
    /// The same, as any reference of the guest's.
    to_anyref: StructRef => AnyRef;
    /// The same, as a reference that can be compared.
    to_eqref: StructRef => EqRef;
    /// The same, as any reference of the guest's.
    to_anyref: ArrayRef => AnyRef;
    /// The same, as a reference that can be compared.
    to_eqref: ArrayRef => EqRef;
    /// The same, as any reference of the guest's.
    to_anyref: EqRef => AnyRef;
}

/// The kinds, each a root.
macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $heap_type:ident;)*) => {$(
        $(#[$doc])*
        #[repr(transparent)]
        pub struct $name {
            root: RootIndex,
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:?})"), self.root.root)
            }
        }

        impl GcRefImpl for $name {
            const HEAP_TYPE: AbstractHeapType = AbstractHeapType::$heap_type;

            #[inline]
            fn from_root(root: &RootIndex) -> &$name {
                // SAFETY: it is a transparent wrapper.
                unsafe { &*core::ptr::from_ref(root).cast::<$name>() }
            }

            #[inline]
            fn root(&self) -> RootIndex {
                self.root
            }
        }
    )*};
}

kinds! {
    /// A reference of the guest's: to a structure or an array, or an integer ([`I31`](crate::I31)); or
    /// an external reference that was converted ([`AnyRef::convert_extern`]).
    ///
    /// ```
    /// use sarsen::{AnyRef, Engine, I31, Store};
    ///
    /// let mut store = Store::new(&Engine::default(), ());
    /// let number = AnyRef::from_i31(&mut store, I31::wrapping_i32(-7));
    /// assert_eq!(number.unwrap_i31(&store)?.get_i32(), -7);
    /// assert!(!number.is_struct(&store)?);
    /// # Ok::<(), sarsen::Error>(())
    /// ```
    AnyRef = Any;
    /// A reference of the guest's that can be compared: to a structure or an array, or an integer.
    EqRef = Eq;
    /// A reference to a structure.
    ///
    /// ```
    /// use sarsen::{
    ///     Engine, FieldType, Mutability, StorageType, Store, StructRef, StructRefPre, StructType, Val,
    ///     ValType,
    /// };
    ///
    /// let engine = Engine::default();
    /// let mut store = Store::new(&engine, ());
    /// let byte = FieldType::new(Mutability::Var, StorageType::I8);
    /// let float = FieldType::new(Mutability::Const, ValType::F64.into());
    /// let ty = StructType::new(&engine, [byte, float])?;
    ///
    /// let allocator = StructRefPre::new(&mut store, ty);
    /// let object = StructRef::new(&mut store, &allocator, &[Val::I32(300), Val::from(0.5)])?;
    /// assert_eq!(object.field(&mut store, 0)?.i32(), Some(300 % 256));
    /// object.set_field(&mut store, 0, Val::I32(7))?;
    /// assert_eq!(object.field(&mut store, 0)?.i32(), Some(7));
    /// assert!(object.set_field(&mut store, 1, Val::from(1.5)).is_err());
    /// # Ok::<(), sarsen::Error>(())
    /// ```
    StructRef = Struct;
    /// A reference to an array.
    ///
    /// ```
    /// use sarsen::{
    ///     ArrayRef, ArrayRefPre, ArrayType, Engine, FieldType, Mutability, Store, Val, ValType,
    /// };
    ///
    /// let engine = Engine::default();
    /// let mut store = Store::new(&engine, ());
    /// let ty = ArrayType::new(&engine, FieldType::new(Mutability::Var, ValType::I64.into()));
    ///
    /// let allocator = ArrayRefPre::new(&mut store, ty);
    /// let array = ArrayRef::new(&mut store, &allocator, &Val::I64(5), 1000)?;
    /// array.set(&mut store, 999, Val::I64(6))?;
    /// let sum: i64 = array.elems(&mut store)?.filter_map(|value| value.i64()).sum();
    /// assert_eq!((array.len(&store)?, sum), (1000, 5001));
    /// # Ok::<(), sarsen::Error>(())
    /// ```
    ArrayRef = Array;
    /// An object of the host's, which WebAssembly can hold and pass on but not look into; or a
    /// reference of the guest's that was converted ([`ExternRef::convert_any`]).
    ///
    /// ```
    /// use sarsen::{Engine, ExternRef, Store};
    ///
    /// let mut store = Store::new(&Engine::default(), ());
    /// let object = ExternRef::new(&mut store, "hello".to_owned())?;
    /// let data = object.data(&store)?.expect("the host's object has data");
    /// assert_eq!(data.downcast_ref::<String>().unwrap(), "hello");
    /// # Ok::<(), sarsen::Error>(())
    /// ```
    ExternRef = Extern;
    /// A reference to an exception. See [`Store::throw`](crate::Store::throw) for an example.
    ExnRef = Exn;
    /// A reference to a continuation: a computation that waits to be resumed.
    ///
    /// A continuation is resumed at most once: whatever it does then, it is *consumed*, and if it is suspended
    /// again, there is a new one. What nobody refers to any more dies, with its stacks; see also
    /// [`ContRef::discard`].
    ///
    /// ```
    /// use sarsen::{Config, ContRef, ContType, Engine, Instance, Module, Resumed, Store, Val};
    ///
    /// let engine = Engine::new(Config::new().wasm_stack_switching(true))?;
    /// let module = Module::new(
    ///     &engine,
    ///     r#"(module
    ///         (tag $ask (export "ask") (param i32) (result i32))
    ///         (func (export "f") (param i32) (result i32)
    ///             (i32.mul (i32.const 2) (suspend $ask (local.get 0)))))"#,
    /// )?;
    /// let mut store = Store::new(&engine, ());
    /// let instance = Instance::new(&mut store, &module, &[])?;
    /// let f = instance.get_func(&mut store, "f").unwrap();
    /// let ask = instance.get_tag(&mut store, "ask").unwrap();
    ///
    /// let ty = ContType::new(&f.ty(&store))?;
    /// let start = ContRef::new(&mut store, &ty, &f)?;
    /// let Resumed::Suspended(it) = start.resume(&mut store, &[Val::I32(20)], &[ask])? else {
    ///     panic!("it asks");
    /// };
    /// assert_eq!(it.payload[0].i32(), Some(20));
    /// let resumed = it.continuation.resume(&mut store, &[Val::I32(21)], &[ask])?;
    /// let Resumed::Returned(results) = resumed else {
    ///     panic!("it returns");
    /// };
    /// assert_eq!(results[0].i32(), Some(42));
    /// # Ok::<(), sarsen::Error>(())
    /// ```
    ContRef = Cont;
}
