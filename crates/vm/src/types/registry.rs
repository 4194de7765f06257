//! [`Registry`]: gives out engine-wide type ids.
//!
//! Whole recursion groups are kept in canonical form ([`sarsen_abi::canonical`]), each once, and
//! counted. Registering takes a lock; looking up by id ([`Registry::is_subtype`],
//! [`Registry::kind`], [`Registry::defined_held`]) does not.
//!
//! # Who may touch what
//!
//! | field | read | written |
//! |---|---|---|
//! | `State` | under the lock | under the lock |
//! | a row ([`super::rows`]) | by anyone | under the lock |
//! | [`Group::holders`] | by anyone | up from zero only under the lock; otherwise by holders |
//! | [`Group::removed`] | under the lock | under the lock |
//! | everything else of a [`Group`] | by whoever has an `Arc` of it, or holds it | never |
//!
//! # Dropping and reviving
//!
//! A holder that goes decrements `holders`. If it was the last, it takes the lock and removes the
//! group, *provided that it still has no holder*. In between:
//!
//! 1. Another thread registers an equal group: it finds this one in the table and revives it, and
//!    the first thread then sees a holder and leaves it alone. There is never a second equal group
//!    with other ids.
//! 2. That thread drops it again, takes the lock first and removes it. Then the first thread, which
//!    still has the `Arc`, sees `removed`, and does nothing.
//!
//! Removing a group drops its holds on the groups that it names; those without a holder are put on a
//! list and removed in the same loop. No recursion, however long the chain.
//!
//! Callers: code loading (a module's types), host functions, and linking.

use super::defined::Defined;
use super::group::Group;
use super::rows::Rows;
use core::fmt;
use hashbrown::{DefaultHashBuilder, HashTable};
use sarsen_abi::canonical::{CanonicalGroup, CanonicalRef};
use sarsen_abi::heap::{FIRST_TYPE, Kind, ROW_SIZE};
use sarsen_abi::types::{CompositeType, FuncType, SubType};
use sarsen_abi::{Module, TypeId, TypeIndex};
use std::hash::{BuildHasher, Hash, Hasher};
use std::ptr::NonNull;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The engine has no type ids left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooManyTypes;

impl fmt::Display for TooManyTypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("too many WebAssembly types in one engine")
    }
}

impl std::error::Error for TooManyTypes {}

/// The types of an engine.
#[derive(Debug)]
pub struct Registry {
    rows: Rows,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    groups: HashTable<Record>,
    hasher: DefaultHashBuilder,
    /// Ids that were given out and are free again.
    free: Vec<TypeId>,
    /// The lowest id that was never given out. Zero never is: see [`super::rows`].
    next: TypeId,
    /// How many types are registered.
    types: usize,
}

/// What the registry keeps for a group.
#[derive(Debug)]
struct Record {
    group: Arc<Group>,
    /// The groups that it names, each once; it is one of their holders.
    named: Box<[Arc<Group>]>,
}

impl Registry {
    /// An empty registry.
    ///
    /// # Errors
    ///
    /// When the system has no address space left.
    pub fn new() -> std::io::Result<Registry> {
        Ok(Registry {
            rows: Rows::new()?,
            state: Mutex::new(State {
                groups: HashTable::new(),
                hasher: DefaultHashBuilder::default(),
                free: Vec::new(),
                next: FIRST_TYPE,
                types: 0,
            }),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers every type of `module`.
    ///
    /// # Errors
    ///
    /// When the engine has no type ids left.
    pub fn register_module(self: &Arc<Self>, module: &Module) -> Result<ModuleTypes, TooManyTypes> {
        let mut ids: Vec<TypeId> = Vec::with_capacity(module.types.len());
        let mut groups = Vec::with_capacity(module.rec_groups.len());
        let mut state = self.lock();
        let mut result = Ok(());
        for range in &module.rec_groups {
            let types = &module.types[range.start as usize..range.end as usize];
            let canonical =
                CanonicalGroup::new(TypeIndex::new(range.start), types, |i| ids[i.index()]);
            match self.intern(&mut state, canonical) {
                Ok(group) => {
                    ids.extend_from_slice(&group.ids);
                    groups.push(group);
                }
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        drop(state);
        let mut indices: Box<[(TypeId, TypeIndex)]> = ids
            .iter()
            .enumerate()
            .map(|(i, &id)| (id, TypeIndex::from_usize(i)))
            .collect();
        indices.sort_unstable();
        // Made even after an error: dropping it lets go of the groups.
        let types = ModuleTypes {
            registry: self.clone(),
            ids: ids.into(),
            indices,
            groups,
        };
        result.map(|()| types)
    }

    /// Registers a function type that the host made. The caller holds on to the types that it
    /// names.
    ///
    /// # Errors
    ///
    /// When the engine has no type ids left.
    ///
    /// # Panics
    ///
    /// Panics when it names a type that is not registered here.
    pub fn register_func_type(
        self: &Arc<Self>,
        ty: &FuncType<TypeId>,
    ) -> Result<RegisteredType, TooManyTypes> {
        self.register_type(&SubType {
            is_final: true,
            supertype: None,
            composite: CompositeType::Func(ty.clone()),
        })
    }

    /// Registers a type that the host made, as a recursion group of its own. The caller holds on to
    /// the types that it names, and has checked its supertype ([`super::matching::extends`]).
    ///
    /// # Errors
    ///
    /// When the engine has no type ids left.
    ///
    /// # Panics
    ///
    /// Panics when it names a type that is not registered here.
    pub fn register_type(
        self: &Arc<Self>,
        ty: &SubType<TypeId>,
    ) -> Result<RegisteredType, TooManyTypes> {
        let canonical = CanonicalGroup {
            types: Box::new([ty.map(CanonicalRef::Outside)]),
        };
        let group = self.intern(&mut self.lock(), canonical)?;
        Ok(RegisteredType {
            registry: self.clone(),
            group,
            position: 0,
        })
    }

    /// Holds on to the type with this id, or `None` when nobody has registered it.
    pub fn retain(self: &Arc<Self>, id: TypeId) -> Option<RegisteredType> {
        let state = self.lock();
        let (group, position) = self.group_locked(&state, id)?;
        group.holders.fetch_add(1, Ordering::Relaxed);
        Some(RegisteredType {
            registry: self.clone(),
            group,
            position,
        })
    }

    /// The function type with this id, or `None` when it is no function type or nobody has
    /// registered it. Takes the lock; see [`Registry::func_type_held`].
    pub fn func_type(&self, id: TypeId) -> Option<Arc<FuncType<TypeId>>> {
        let state = self.lock();
        let (group, position) = self.group_locked(&state, id)?;
        group.types[position].as_func().cloned()
    }

    /// The function type with this id, or `None` when it is no function type. Takes no lock.
    ///
    /// # Safety
    ///
    /// Somebody must hold on to the type for as long as the result is used: a module's types, a
    /// [`RegisteredType`], or anything that itself lives as long as one of these (such as an
    /// instance or function of a live store).
    pub unsafe fn func_type_held(&self, id: TypeId) -> Option<&Arc<FuncType<TypeId>>> {
        // SAFETY: the caller's promise is the one that is asked for.
        unsafe { self.defined_held(id) }?.as_func()
    }

    /// The type with this id, with the layout of its objects, or `None` when there is none. Takes no
    /// lock.
    ///
    /// # Safety
    ///
    /// As [`Registry::func_type_held`]. An id read from a heap says nothing about who holds it.
    pub unsafe fn defined_held(&self, id: TypeId) -> Option<&Defined> {
        let (group, position) = self.rows.group(id)?;
        // SAFETY: a group that is held is in the registry, which keeps an `Arc` of it.
        Some(&unsafe { group.as_ref() }.types[position])
    }

    /// What the type with this id is: also of the ids that are reserved, and [`Kind::None`] of those
    /// that no type has. Takes no lock.
    pub fn kind(&self, id: TypeId) -> Kind {
        self.rows.kind(id)
    }

    /// How many supertypes the type with this id has, declared by it or by one of them; zero when
    /// there is no such type. Takes no lock.
    pub fn depth(&self, id: TypeId) -> usize {
        self.rows.depth(id)
    }

    /// Where compiled code finds the row of a type, at its id from here
    /// ([`sarsen_abi::heap::TypeRow`]). Never changes.
    pub fn rows_base(&self) -> *const u8 {
        self.rows.base()
    }

    /// Where compiled code finds the ancestors of deep types, at
    /// [`sarsen_abi::heap::DEEP_SCALE`] times their ids from here. Never changes.
    pub fn deep_base(&self) -> *const u8 {
        self.rows.deep_base()
    }

    /// Whether `address` is one that a type id, a damaged one too, leads compiled code to. Takes no
    /// lock, and may be called in a signal handler.
    pub fn contains(&self, address: usize) -> bool {
        self.rows.contains(address)
    }

    /// Whether values of type `actual` are values of type `expected`: the same type, or one that
    /// declares it as a supertype, directly or not. Takes no lock.
    pub fn is_subtype(&self, actual: TypeId, expected: TypeId) -> bool {
        self.rows.is_subtype(actual, expected)
    }

    /// As [`Registry::is_subtype`], where it is known at which depth `expected` lies
    /// ([`Registry::depth`]).
    #[inline]
    pub fn is_subtype_at(&self, actual: TypeId, expected: TypeId, depth: usize) -> bool {
        self.rows.is_subtype_at(actual, expected, depth)
    }

    /// How many types are registered.
    pub fn len(&self) -> usize {
        self.lock().types
    }

    /// Whether no type is registered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The group of a type that is registered.
    fn group_locked(
        &self,
        _state: &MutexGuard<'_, State>,
        id: TypeId,
    ) -> Option<(Arc<Group>, usize)> {
        let (group, position) = self.rows.group(id)?;
        // SAFETY: under the lock, rows name only groups of which the table has an `Arc`.
        let group = unsafe {
            Arc::increment_strong_count(group.as_ptr());
            Arc::from_raw(group.as_ptr())
        };
        Some((group, position))
    }

    /// Finds the group equal to `canonical`, or makes it, and adds a holder.
    fn intern(
        &self,
        state: &mut MutexGuard<'_, State>,
        canonical: CanonicalGroup,
    ) -> Result<Arc<Group>, TooManyTypes> {
        let hash = state.hasher.hash_one(&canonical);
        let found = state.groups.find(hash, |r| {
            r.group.hash == hash && r.group.canonical == canonical
        });
        if let Some(record) = found {
            record.group.holders.fetch_add(1, Ordering::Relaxed);
            return Ok(record.group.clone());
        }
        let ids = self.allocate(state, canonical.types.len())?;
        let named = self.hold_named(state, &canonical);
        let group = Arc::new(Group::new(canonical, hash, ids));
        for (position, ty) in group.types.iter().enumerate() {
            let pointer = NonNull::from(&*group);
            self.rows
                .write(ty.id, ty.kind(), ty.supertype, pointer, position as u32);
        }
        state.types += group.ids.len();
        let record = Record {
            group: group.clone(),
            named,
        };
        state.groups.insert_unique(hash, record, |r| r.group.hash);
        Ok(group)
    }

    fn allocate(&self, state: &mut State, count: usize) -> Result<Box<[TypeId]>, TooManyTypes> {
        let recycled = count.min(state.free.len());
        let next = u32::try_from(count - recycled)
            .ok()
            .and_then(|fresh| fresh.checked_mul(ROW_SIZE))
            .and_then(|fresh| state.next.0.checked_add(fresh))
            .map(TypeId)
            .filter(|&next| self.rows.make_room(next))
            .ok_or(TooManyTypes)?;
        let keep = state.free.len() - recycled;
        let fresh = (state.next.0..next.0)
            .step_by(ROW_SIZE as usize)
            .map(TypeId);
        let ids = state.free.drain(keep..).chain(fresh).collect();
        state.next = next;
        Ok(ids)
    }

    /// Adds a holder to each group that `canonical` names.
    fn hold_named(
        &self,
        state: &MutexGuard<'_, State>,
        canonical: &CanonicalGroup,
    ) -> Box<[Arc<Group>]> {
        let mut named: Vec<Arc<Group>> = canonical
            .outside_refs()
            .into_iter()
            .map(|id| {
                let group = self.group_locked(state, id);
                group
                    .expect("a type names only types that its maker holds")
                    .0
            })
            .collect();
        named.sort_unstable_by_key(|group| group.ids[0]);
        named.dedup_by(|a, b| Arc::ptr_eq(a, b));
        for group in &named {
            group.holders.fetch_add(1, Ordering::Relaxed);
        }
        named.into()
    }

    /// Removes the groups of `dead` that nobody holds any more, and those that only they held.
    fn remove_unheld(&self, mut dead: Vec<Arc<Group>>) {
        let mut state = self.lock();
        while let Some(group) = dead.pop() {
            let revived = group.holders.load(Ordering::Acquire) != 0;
            if revived || group.removed.swap(true, Ordering::Relaxed) {
                continue;
            }
            for named in self.remove(&mut state, &group) {
                if named.let_go() {
                    dead.push(named);
                }
            }
        }
    }

    /// Removes a group from the table and frees its ids; returns the groups that it held.
    fn remove(&self, state: &mut State, group: &Arc<Group>) -> Box<[Arc<Group>]> {
        for &id in &group.ids {
            self.rows.clear(id);
        }
        state.free.extend_from_slice(&group.ids);
        state.types -= group.ids.len();
        let entry = state
            .groups
            .find_entry(group.hash, |r| Arc::ptr_eq(&r.group, group));
        let (record, _) = entry
            .expect("a group that is not removed is in the table")
            .remove();
        record.named
    }
}

/// The registration of a module's types; ended by dropping it.
#[derive(Debug)]
pub struct ModuleTypes {
    registry: Arc<Registry>,
    ids: Box<[TypeId]>,
    /// The other way round, in ascending order.
    indices: Box<[(TypeId, TypeIndex)]>,
    groups: Vec<Arc<Group>>,
}

impl ModuleTypes {
    /// The engine-wide ids, indexed by [`TypeIndex`], at an address that never changes.
    pub fn ids(&self) -> &[TypeId] {
        &self.ids
    }

    /// The engine-wide id of a type.
    ///
    /// # Panics
    ///
    /// Panics when the module has no such type.
    pub fn id(&self, index: TypeIndex) -> TypeId {
        self.ids[index.index()]
    }

    /// An index under which the module knows the type with this id.
    pub fn index_of(&self, id: TypeId) -> Option<TypeIndex> {
        let position = self.indices.partition_point(|&(other, _)| other < id);
        match self.indices.get(position) {
            Some(&(other, index)) if other == id => Some(index),
            _ => None,
        }
    }

    /// The function type with engine-wide references, or `None` when it is no function type.
    ///
    /// # Panics
    ///
    /// Panics when the module has no such type.
    pub fn func_type(&self, index: TypeIndex) -> Option<&Arc<FuncType<TypeId>>> {
        self.defined(index).as_func()
    }

    /// The type with engine-wide references.
    ///
    /// # Panics
    ///
    /// Panics when the module has no such type.
    pub fn defined(&self, index: TypeIndex) -> &Defined {
        // SAFETY: this registration holds the type, and the result borrows it.
        unsafe { self.registry.defined_held(self.id(index)) }.expect("it is registered")
    }

    /// Where the types are registered.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }
}

impl Drop for ModuleTypes {
    fn drop(&mut self) {
        self.groups.retain(|group| group.let_go());
        if !self.groups.is_empty() {
            self.registry
                .remove_unheld(std::mem::take(&mut self.groups));
        }
    }
}

/// The registration of one type; ended by dropping it.
pub struct RegisteredType {
    registry: Arc<Registry>,
    group: Arc<Group>,
    position: usize,
}

impl RegisteredType {
    /// The engine-wide id, valid for as long as this registration or a clone lives.
    pub fn id(&self) -> TypeId {
        self.group.ids[self.position]
    }

    /// The type, if it is a function type.
    pub fn func_type(&self) -> Option<&Arc<FuncType<TypeId>>> {
        self.defined().as_func()
    }

    /// The type.
    pub fn defined(&self) -> &Defined {
        &self.group.types[self.position]
    }

    /// Where it is registered.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }
}

impl Clone for RegisteredType {
    fn clone(&self) -> Self {
        self.group.holders.fetch_add(1, Ordering::Relaxed);
        RegisteredType {
            registry: self.registry.clone(),
            group: self.group.clone(),
            position: self.position,
        }
    }
}

impl Drop for RegisteredType {
    fn drop(&mut self) {
        if self.group.let_go() {
            self.registry.remove_unheld(vec![self.group.clone()]);
        }
    }
}

impl PartialEq for RegisteredType {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.group, &other.group) && self.position == other.position
    }
}

impl Eq for RegisteredType {}

impl Hash for RegisteredType {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id().hash(state);
    }
}

impl fmt::Debug for RegisteredType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("RegisteredType");
        debug.field("id", &self.id());
        debug.field("type", &self.group.canonical.types[self.position]);
        debug.finish()
    }
}

#[cfg(test)]
mod tests;
