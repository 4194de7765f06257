//! How much a program may take: time, instructions, memory, stack; and what the user is told when that
//! was not enough.

use crate::budget::Budget;
use crate::options::{parse_duration, parse_size};
use crate::stacks::StackOptions;
use anyhow::{Context, Error, Result};
use clap::Args;
use sarsen::{Config, Engine, LimitError, Store, Trap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Options that limit a program.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Limits")]
pub(crate) struct Limits {
    /// Stop the program when it has executed about this many instructions
    #[arg(long, value_name = "N")]
    fuel: Option<u64>,

    /// Stop the program after this time, such as `500ms` or `2m`
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    timeout: Option<Duration>,

    /// Let the program's memories, tables and objects together take no more than this, such as `64MiB`
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    max_memory: Option<u64>,

    /// Trap when a memory or table cannot grow, and show where
    ///
    /// Otherwise the program is told, and may go on in a way that is hard to understand.
    #[arg(long)]
    trap_on_grow_failure: bool,

    #[command(flatten)]
    pub(crate) stacks: StackOptions,
}

impl Limits {
    /// Puts the options into `config`.
    pub(crate) fn configure(&self, config: &mut Config) {
        config.consume_fuel(self.fuel.is_some());
        config.epoch_interruption(self.timeout.is_some());
        self.stacks.configure(config);
    }

    /// What the program's store is limited to.
    pub(crate) fn budget(&self) -> Budget {
        let bytes = self.max_memory.unwrap_or(u64::MAX);
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        Budget::new(bytes, self.trap_on_grow_failure)
    }

    /// Whether somebody will have to look at [`Limits::begin`]'s flag.
    pub(crate) fn has_timeout(&self) -> bool {
        self.timeout.is_some()
    }

    /// Gives `store` its fuel, and starts the clock: when the time is over, what computes is interrupted
    /// by the epoch, and what waits is to look at `interrupted`.
    pub(crate) fn begin<T>(
        &self,
        store: &mut Store<T>,
        interrupted: &Arc<AtomicBool>,
    ) -> Result<()> {
        if let Some(fuel) = self.fuel {
            store.set_fuel(fuel)?;
        }
        if let Some(timeout) = self.timeout {
            store.set_epoch_deadline(1);
            start_timer(store.engine(), timeout, interrupted.clone())?;
        }
        Ok(())
    }

    /// Says which option set the limit that ended the program, if one did.
    pub(crate) fn explain<T>(&self, error: Error, store: &Store<T>) -> Error {
        let explanation = match error.downcast_ref::<Trap>() {
            _ if error.is::<LimitError>() && self.max_memory.is_some() => {
                Some("it may not have so much (--max-memory)".to_owned())
            }
            Some(Trap::AllocationTooLarge) => Some(exhaustion(store)),
            Some(Trap::Interrupt) => self
                .timeout
                .map(|time| format!("it was not done after {time:?} (--timeout)")),
            Some(Trap::OutOfFuel) => self
                .fuel
                .map(|fuel| format!("it has used up its fuel of {fuel} (--fuel)")),
            Some(&trap) => self.stacks.explain(trap),
            None => None,
        };
        match explanation {
            Some(explanation) => error.context(explanation),
            None => error,
        }
    }
}

/// What the limits of the heap are when an object found no room.
fn exhaustion<T>(store: &Store<T>) -> String {
    let stats = store.gc_stats();
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    format!(
        "the program's objects found no room: the heap has {:.1} MiB, of which {:.1} MiB were live at \
         its last full collection, and cannot grow by as much as is needed; see --gc-heap-limit and \
         --max-memory (without them, 4 GiB is the most)",
        mib(stats.bytes_committed),
        mib(stats.bytes_live)
    )
}

fn start_timer(engine: &Engine, timeout: Duration, interrupted: Arc<AtomicBool>) -> Result<()> {
    let engine = engine.clone();
    let timer = std::thread::Builder::new().name("timeout".to_owned());
    timer
        .spawn(move || {
            std::thread::sleep(timeout);
            interrupted.store(true, Ordering::Relaxed);
            engine.increment_epoch();
        })
        .context("cannot start a thread for --timeout")?;
    Ok(())
}
