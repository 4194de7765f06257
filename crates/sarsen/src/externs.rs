//! [`Extern`]: anything that can be imported and exported, and [`Export`], one with its name.

use crate::context::{AsContext, AsContextMut};
use crate::engine::Engine;
use crate::error::{OwnershipError, Result};
use crate::func::Func;
use crate::global::Global;
use crate::memory::Memory;
use crate::reference::Ref;
use crate::shared_memory::SharedMemory;
use crate::store::StoreOpaque;
use crate::table::Table;
use crate::tag::Tag;
use crate::types::{ExternType, FuncType, GlobalType, MemoryType, TableType, TagType};
use crate::val::Val;
use anyhow::{anyhow, ensure};
use sarsen_vm::instance as vm;
use sarsen_vm::instance::StoreId;

/// Something in a store that can be imported and exported.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Extern {
    /// A function.
    Func(Func),
    /// A global.
    Global(Global),
    /// A table.
    Table(Table),
    /// A linear memory.
    Memory(Memory),
    /// A shared linear memory, which belongs to no store.
    SharedMemory(SharedMemory),
    /// A tag.
    Tag(Tag),
}

macro_rules! accessors {
    ($($variant:ident $into:ident $what:literal;)*) => {
        impl Extern {
            $(
                #[doc = concat!("The ", $what, ", if it is one.")]
                pub fn $into(self) -> Option<$variant> {
                    match self {
                        Extern::$variant(it) => Some(it),
                        _ => None,
                    }
                }
            )*

            /// Which store it belongs to, if any.
            fn store_id(&self) -> Option<StoreId> {
                match self {
                    $(Extern::$variant(it) => Some(it.store_id()),)*
                    Extern::SharedMemory(_) => None,
                }
            }

            /// What an instance is given. Valid as long as this value is where it is, and its store.
            pub(crate) fn to_vm(&self) -> vm::Extern {
                match self {
                    $(Extern::$variant(it) => it.to_vm(),)*
                    Extern::SharedMemory(memory) => memory.to_vm(),
                }
            }
        }

        $(
            impl From<$variant> for Extern {
                fn from(it: $variant) -> Self {
                    Extern::$variant(it)
                }
            }

            impl<'a> Export<'a> {
                #[doc = concat!("The ", $what, ", if it is one.")]
                pub fn $into(self) -> Option<$variant> {
                    self.item.$into()
                }
            }
        )*
    };
}

accessors! {
    Func into_func "function";
    Global into_global "global";
    Table into_table "table";
    Memory into_memory "memory";
    Tag into_tag "tag";
}

impl From<SharedMemory> for Extern {
    fn from(memory: SharedMemory) -> Self {
        Extern::SharedMemory(memory)
    }
}

impl Export<'_> {
    /// The shared linear memory, if it is one.
    pub fn into_shared_memory(self) -> Option<SharedMemory> {
        self.item.into_shared_memory()
    }
}

impl Extern {
    /// The shared linear memory, if it is one.
    pub fn into_shared_memory(self) -> Option<SharedMemory> {
        match self {
            Extern::SharedMemory(memory) => Some(memory),
            _ => None,
        }
    }

    /// Checks that it can be used in `store`.
    ///
    /// # Errors
    ///
    /// When it is a shared memory of another engine.
    ///
    /// # Panics
    ///
    /// Panics when it belongs to another store.
    pub(crate) fn assert_fits(&self, store: &StoreOpaque) -> Result<()> {
        if let Some(id) = self.store_id() {
            store.assert_owns(id);
        }
        self.check_fits(store)
    }

    /// As [`Extern::assert_fits`], but what belongs to another store is an error, too.
    pub(crate) fn check_fits(&self, store: &StoreOpaque) -> Result<()> {
        match self {
            Extern::SharedMemory(memory) => ensure!(
                Engine::same(memory.engine(), store.engine()),
                OwnershipError::WrongEngine
            ),
            other => {
                if let Some(id) = other.store_id() {
                    store.check_owns(id)?;
                }
            }
        }
        Ok(())
    }

    /// The handle to something of `store`.
    pub(crate) fn new(store: &StoreOpaque, item: vm::Extern) -> Extern {
        let id = store.id();
        match item {
            vm::Extern::Func(func) => Func::new_handle(id, func).into(),
            vm::Extern::Table(table) => Table::new_handle(id, table).into(),
            vm::Extern::Memory(memory) => Memory::new_handle(id, memory).into(),
            vm::Extern::SharedMemory(memory) => {
                // SAFETY: an instance's handle, which lives as long as the store.
                let memory = unsafe { memory.as_ref() }.clone();
                SharedMemory::from_vm(store.engine(), memory).into()
            }
            vm::Extern::Global(global, ty) => Global::new_handle(id, global, ty).into(),
            vm::Extern::Tag(tag) => Tag::new_handle(id, tag).into(),
        }
    }

    /// Its type: for a memory or table, with its present size as minimum.
    ///
    /// # Panics
    ///
    /// Panics when it belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> ExternType {
        let store = store.as_context().opaque();
        if let Some(id) = self.store_id() {
            store.assert_owns(id);
        }
        ExternType::from_vm(store.engine(), self.vm_type())
    }

    /// Its type with engine-wide ids. The store that it belongs to must be at hand.
    pub(crate) fn vm_type(&self) -> vm::ExternType {
        // SAFETY: of a store that nothing uses meanwhile, or of none.
        unsafe { self.to_vm().ty() }
    }
}

impl ExternType {
    /// `ty` must be registered in `engine`.
    pub(crate) fn from_vm(engine: &crate::Engine, ty: vm::ExternType) -> ExternType {
        match ty {
            vm::ExternType::Func(id) => FuncType::from_id(engine, id).into(),
            vm::ExternType::Table(ty) => TableType::from_abi(engine, ty).into(),
            vm::ExternType::Memory(ty) => MemoryType::from_abi(ty).into(),
            vm::ExternType::Global(ty) => GlobalType::from_abi(engine, ty).into(),
            vm::ExternType::Tag(id) => TagType::new(FuncType::from_id(engine, id)).into(),
        }
    }
}

/// An export of an instance.
#[derive(Clone, Debug)]
pub struct Export<'instance> {
    name: &'instance str,
    item: Extern,
}

impl<'instance> Export<'instance> {
    pub(crate) fn new(name: &'instance str, item: Extern) -> Self {
        Export { name, item }
    }

    /// Its name.
    pub fn name(&self) -> &'instance str {
        self.name
    }

    /// Its type.
    ///
    /// # Panics
    ///
    /// Panics when it belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> ExternType {
        self.item.ty(store)
    }

    /// What is exported.
    pub fn into_extern(self) -> Extern {
        self.item
    }
}

impl ExternType {
    /// Something of this type that does nothing: a function that returns zeroes and nulls, a memory
    /// or table of the minimum size, a global that is zero or null.
    ///
    /// # Errors
    ///
    /// When the type has no default (a reference that cannot be null), or a limit is reached.
    pub fn default_value(&self, mut store: impl AsContextMut) -> Result<Extern> {
        let none = || anyhow!("no default value for {self}");
        Ok(match self {
            ExternType::Func(ty) => {
                let results: Vec<Val> = ty
                    .results()
                    .map(|ty| ty.default_value())
                    .collect::<Option<_>>()
                    .ok_or_else(none)?;
                Func::new(store, ty.clone(), move |_, _, into| {
                    into.copy_from_slice(&results);
                    Ok(())
                })
                .into()
            }
            ExternType::Global(ty) => {
                let value = ty.content().default_value().ok_or_else(none)?;
                Global::new(store, ty.clone(), value)?.into()
            }
            ExternType::Table(ty) => {
                let init = Ref::null(ty.element().heap_type());
                Table::new(store, ty.clone(), init)?.into()
            }
            ExternType::Memory(ty) if ty.is_shared() => {
                SharedMemory::new(store.as_context().engine(), *ty)?.into()
            }
            ExternType::Memory(ty) => Memory::new(store, *ty)?.into(),
            ExternType::Tag(ty) => Tag::new(&mut store, ty)?.into(),
        })
    }
}
