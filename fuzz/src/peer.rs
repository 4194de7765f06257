//! [`Peer`]: what is asked of the other runtime. Nothing here says how: the two sides share no code
//! that loads, runs or observes a module.

use crate::observe::{Outcome, State, Value};

/// What another runtime can do beyond what all of them can. Cases are generated for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Abilities {
    /// It makes NaNs canonical, as Sarsen does when it is told to. For a runtime that does not, modules
    /// do so themselves.
    pub canonical_nans: bool,
    /// Typed function references.
    pub function_references: bool,
    /// Atomic instructions, and shared memories.
    pub threads: bool,
    /// Structures, arrays, and all else that is collected.
    pub gc: bool,
    /// Exceptions.
    pub exceptions: bool,
}

/// Another runtime.
pub trait Peer: Default {
    /// A module that it compiled.
    type Module;
    /// An instance in a store of its own.
    type Instance;

    /// What it can do.
    const ABILITIES: Abilities;

    /// Compiles a module.
    ///
    /// # Errors
    ///
    /// Why it is refused.
    fn load(&self, module: &[u8]) -> Result<Self::Module, String>;

    /// Instantiates a module with the host's functions. What it imported can be observed even when that
    /// fails.
    fn start(&self, module: &Self::Module) -> (Self::Instance, Outcome);

    /// Calls a function that is exported.
    fn call(instance: &mut Self::Instance, name: &str, arguments: &[Value]) -> Outcome;

    /// All that can be read of an instance.
    fn state(instance: &mut Self::Instance) -> State;
}
