//! What the runtime asks its embedder while it runs a store: may this grow, what now that the
//! epoch's deadline has passed.
//!
//! The API crate implements [`Upcalls`] on its typed store and registers it with
//! [`super::Store::set_upcalls`]. A store without upcalls grows without limit and traps at its
//! epoch deadline and when its fuel is used up.

use super::reason::{HostError, Reason};

/// Answers to a store's questions.
///
/// While it answers whether something may grow, an implementation may do what it likes with its own
/// data, but must not use the store that asks: its memories and tables are being changed. While it
/// answers [`Upcalls::new_epoch`] or [`Upcalls::out_of_fuel`] it may use the store as a host function
/// may.
pub trait Upcalls {
    /// Whether a linear memory may have `desired` bytes instead of `current` (0 when it is created).
    /// `maximum` is what its type allows, in bytes.
    ///
    /// # Errors
    ///
    /// An error, as opposed to `Ok(false)`, ends the guest's call with that error.
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool, HostError>;

    /// A growth that was allowed has failed, or one is impossible whatever the limit.
    ///
    /// # Errors
    ///
    /// An error ends the guest's call with that error, instead of telling the guest -1.
    fn memory_grow_failed(&mut self, message: &str) -> Result<(), HostError>;

    /// Whether a table may have `desired` elements instead of `current` (0 when it is created).
    ///
    /// # Errors
    ///
    /// As [`Upcalls::memory_growing`].
    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool, HostError>;

    /// As [`Upcalls::memory_grow_failed`], for a table.
    ///
    /// # Errors
    ///
    /// As [`Upcalls::memory_grow_failed`].
    fn table_grow_failed(&mut self, message: &str) -> Result<(), HostError>;

    /// Whether the store's collected heap may have `desired` bytes instead of `current`.
    ///
    /// # Errors
    ///
    /// As [`Upcalls::memory_growing`].
    fn heap_growing(&mut self, current: usize, desired: usize) -> Result<bool, HostError>;

    /// Whether the store may have `desired` stacks instead of `current`.
    ///
    /// # Errors
    ///
    /// As [`Upcalls::memory_growing`].
    fn stacks_growing(&mut self, current: usize, desired: usize) -> Result<bool, HostError>;

    /// How much the store may hold; asked before each instantiation.
    fn limits(&self) -> ResourceCounts;

    /// The epoch's deadline has passed; `epoch` is the engine's epoch now. The answer is the new
    /// deadline.
    ///
    /// # Errors
    ///
    /// A reason ends the guest's call with that reason.
    fn new_epoch(&mut self, epoch: u64) -> Result<Deadline, Reason>;

    /// The store's fuel is used up, and no more is in reserve. The answer is how much more it gets;
    /// what compiled code has used beyond what it had is taken from it.
    ///
    /// # Errors
    ///
    /// A reason ends the guest's call with that reason.
    fn out_of_fuel(&mut self) -> Result<u64, Reason>;
}

/// What becomes of code that has seen its epoch's deadline pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deadline {
    /// It goes on, until this epoch.
    At(u64),
    /// The poll that runs it ends, and the next goes on with so many more ticks. Only for what was called
    /// asynchronously.
    YieldThenTicks(u64),
}

/// Numbers of things in a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ResourceCounts {
    /// Instances.
    pub instances: usize,
    /// Linear memories.
    pub memories: usize,
    /// Tables.
    pub tables: usize,
}

impl Default for ResourceCounts {
    /// The limits of a store that sets none.
    fn default() -> Self {
        ResourceCounts {
            instances: 10_000,
            memories: 10_000,
            tables: 10_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::instantiate::InstantiateError;
    use super::super::testing::*;
    use super::super::{CreateError, HeapError};
    use super::*;
    use sarsen_abi::TrapCode;
    use std::ptr::NonNull;

    /// A module with a memory and a table.
    fn one_of_each() -> Builder {
        let mut builder = Builder::default();
        builder.table(table_type(4, None), None);
        builder.memory(memory_type(1, None));
        builder
    }

    /// Refuses more than two pages and eight elements, and fails at five pages.
    struct Limits;

    impl Upcalls for Limits {
        fn memory_growing(
            &mut self,
            _: usize,
            desired: usize,
            _: Option<usize>,
        ) -> Result<bool, HostError> {
            match desired >> 16 {
                5 => Err(Box::new("five")),
                pages => Ok(pages <= 2),
            }
        }

        fn memory_grow_failed(&mut self, message: &str) -> Result<(), HostError> {
            Err(Box::new(message.to_owned()))
        }

        fn table_growing(
            &mut self,
            _: usize,
            desired: usize,
            _: Option<usize>,
        ) -> Result<bool, HostError> {
            Ok(desired <= 8)
        }

        fn table_grow_failed(&mut self, _: &str) -> Result<(), HostError> {
            Ok(())
        }

        fn heap_growing(&mut self, _: usize, _: usize) -> Result<bool, HostError> {
            Ok(false)
        }

        fn stacks_growing(&mut self, _: usize, _: usize) -> Result<bool, HostError> {
            Ok(false)
        }

        fn limits(&self) -> ResourceCounts {
            ResourceCounts {
                instances: 1,
                memories: 2,
                tables: 1,
            }
        }

        fn new_epoch(&mut self, epoch: u64) -> Result<Deadline, Reason> {
            Ok(Deadline::At(epoch + 10))
        }

        fn out_of_fuel(&mut self) -> Result<u64, Reason> {
            Ok(100)
        }
    }

    #[test]
    fn the_limiter_is_obeyed_by_creation_and_growth() {
        let engine = engine();
        let mut limits = Limits;
        let mut store = store(&engine);
        // SAFETY: outlives the store's use, and nobody refers to it meanwhile.
        unsafe { store.set_upcalls(NonNull::from(&mut limits)) };
        assert!(matches!(
            store.new_memory(memory_type(3, None)),
            Err(CreateError::MemoryRefused(_))
        ));
        assert!(matches!(
            store.new_memory(memory_type(5, None)),
            Err(CreateError::Host(_))
        ));
        let memory = store.new_memory(memory_type(1, Some(1))).unwrap();
        // SAFETY: of this store, and nothing runs.
        unsafe {
            assert!(store.grow_memory(memory, 5).unwrap().is_none());
            let error = store.grow_memory(memory, 1).unwrap_err();
            let message = error.downcast::<String>().unwrap();
            assert!(message.contains("larger than is allowed"), "{message}");
            assert!(store.grow_memory(memory, 4).is_err());
            assert_eq!(store.grow_memory(memory, 0).unwrap(), Some(1));
        }
        assert!(matches!(
            store.new_table(table_type(9, None), 0),
            Err(CreateError::TableRefused(9))
        ));
        let table = store.new_table(table_type(8, None), 0).unwrap();
        // SAFETY: of this store, and nothing runs.
        assert_eq!(unsafe { store.grow_table(table, 1, 0) }.unwrap(), None);
        assert!(matches!(
            store.new_externref(Box::new(())),
            Err(HeapError::Full)
        ));

        let too_many = instantiate(&mut store, &one_of_each().load(&engine), &[]).unwrap_err();
        assert!(
            matches!(too_many, InstantiateError::Create(CreateError::TooMany(_))),
            "{too_many}"
        );
        let empty = Builder::default().load(&engine);
        instantiate(&mut store, &empty, &[]).unwrap();
        let too_many = instantiate(&mut store, &empty, &[]).unwrap_err();
        assert_eq!(
            too_many.to_string(),
            "the store would have more instances than its limit of 1"
        );
    }

    #[test]
    fn fuel_beyond_the_counter_waits_in_reserve_and_debt_is_paid() {
        let engine = engine();
        let mut store = store(&engine);
        store.set_fuel(u64::MAX);
        assert_eq!(store.fuel(), u64::MAX);
        // SAFETY: nothing runs.
        unsafe { (*store.ctx()).fuel = 7 };
        store.refuel().unwrap();
        assert_eq!(store.fuel(), u64::MAX - i64::MAX as u64 - 7);
        store.set_fuel(0);
        assert!(matches!(
            store.refuel(),
            Err(Reason::Trap(TrapCode::OutOfFuel))
        ));
        let mut limits = Limits;
        // SAFETY: outlives the store's use, and nobody refers to it meanwhile.
        unsafe {
            store.set_upcalls(NonNull::from(&mut limits));
            (*store.ctx()).fuel = 30;
        }
        store.refuel().unwrap();
        assert_eq!(store.fuel(), 70);
        engine.increment_epoch();
        assert_eq!(store.new_epoch().unwrap(), Deadline::At(11));
    }
}
