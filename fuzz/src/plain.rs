//! [`Plain`]: Sarsen itself as the other runtime, and as simple as it can be.
//!
//! It is no second opinion on what is right, but on what optimizing, inlining and collecting change: nothing.

use crate::generate::{Loading, Settings};
use crate::observe::{Outcome, State, Value};
use crate::ours::{self, Ours};
use crate::peer::{Abilities, Peer};
use sarsen::{Engine, Module};

/// Sarsen without optimizations, and with collections as seldom as it can.
pub struct Plain {
    settings: Settings,
    engine: Engine,
}

impl Default for Plain {
    fn default() -> Plain {
        let settings = Settings::plain();
        Plain {
            settings,
            engine: ours::engine(&settings),
        }
    }
}

/// An instance in a store of its own.
pub struct PlainInstance(Ours);

impl Peer for Plain {
    type Module = Module;
    type Instance = PlainInstance;

    const ABILITIES: Abilities = Abilities {
        canonical_nans: false,
        function_references: true,
        threads: true,
        gc: true,
        exceptions: true,
    };

    fn load(&self, module: &[u8]) -> Result<Module, String> {
        let module = ours::load(&self.engine, module, Loading::Direct);
        module.map_err(|error| format!("{error:#}"))
    }

    fn start(&self, module: &Module) -> (PlainInstance, Outcome) {
        let (ours, outcome) = Ours::start(&self.engine, module, &self.settings);
        (PlainInstance(ours), outcome)
    }

    fn call(instance: &mut PlainInstance, name: &str, arguments: &[Value]) -> Outcome {
        instance.0.call(name, arguments)
    }

    fn state(instance: &mut PlainInstance) -> State {
        instance.0.state()
    }
}
