//! How deep a program may call: options for stacks, and a thread that has enough of one.
//!
//! WebAssembly runs on the stack of the thread that enters it, and continuations on stacks of their own. The
//! main thread's stack has the size that the system gave it, often 8 MiB: a program that may use more
//! runs on another thread.

use crate::options::parse_size;
use anyhow::{Context, Result, bail};
use clap::Args;
use sarsen::{Config, Trap};

/// What a program may use on the main thread: far from the least that systems give it.
const FITS_MAIN_THREAD: usize = 4 << 20;

/// What the command and host functions may use of a stack beside the program's part.
const OWN_PART: usize = 2 << 20;

/// Options for the stacks of a program.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Limits")]
pub(crate) struct StackOptions {
    /// Let the program's calls use this much stack, such as `16MiB`
    ///
    /// A call that finds no room is a trap. At least 16KiB.
    #[arg(long, value_name = "SIZE", default_value = "512KiB", value_parser = parse_stack)]
    max_wasm_stack: usize,

    /// Give each continuation a stack of this size
    ///
    /// It is address space: memory is used as it is touched. At least 32KiB.
    #[arg(long, value_name = "SIZE", default_value = "64KiB", value_parser = parse_continuation)]
    continuation_stack_size: usize,

    /// Let no more continuations have a stack at once; without it, about four million
    ///
    /// One has a stack from its first resume until it ends, or is found to be unreachable.
    #[arg(long, value_name = "N")]
    max_continuation_stacks: Option<usize>,
}

impl StackOptions {
    /// Puts the options into `config`.
    pub(crate) fn configure(&self, config: &mut Config) {
        config.max_wasm_stack(self.max_wasm_stack);
        config.continuation_stack_size(self.continuation_stack_size);
        if let Some(stacks) = self.max_continuation_stacks {
            config.max_continuation_stacks(stacks);
        }
    }

    /// Does `work`, which runs the program, where the stack is large enough.
    pub(crate) fn with_room<R: Send>(&self, work: impl FnOnce() -> Result<R> + Send) -> Result<R> {
        if self.max_wasm_stack <= FITS_MAIN_THREAD {
            return work();
        }
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new()
                .name("main".to_owned())
                .stack_size(self.max_wasm_stack + OWN_PART)
                .spawn_scoped(scope, work)
                .with_context(|| {
                    let size = Size(self.max_wasm_stack);
                    format!("cannot start a thread with a stack of {size} (--max-wasm-stack)")
                })?;
            // A panic is reported where it happened, and remains one.
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Says which option decides how much there is of what was used up.
    pub(crate) fn explain(&self, trap: Trap) -> Option<String> {
        match trap {
            Trap::StackOverflow => Some(format!(
                "its calls are too deep for a stack of {} (--max-wasm-stack), or on a continuation \
                 of {} (--continuation-stack-size)",
                Size(self.max_wasm_stack),
                Size(self.continuation_stack_size),
            )),
            Trap::OutOfStacks => Some(
                "there is no stack for one more continuation; see --max-continuation-stacks"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

/// A size in bytes, shown as people write it.
struct Size(usize);

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            bytes if bytes % (1 << 20) == 0 => write!(f, "{} MiB", bytes >> 20),
            bytes if bytes % (1 << 10) == 0 => write!(f, "{} KiB", bytes >> 10),
            bytes => write!(f, "{bytes} bytes"),
        }
    }
}

/// The largest stack that can be asked for: more than any machine's memory, less than address space.
const LARGEST: u64 = 1 << 40;

fn parse_stack(text: &str) -> Result<usize> {
    parse_between(text, 16 << 10)
}

fn parse_continuation(text: &str) -> Result<usize> {
    parse_between(text, 32 << 10)
}

fn parse_between(text: &str, least: u64) -> Result<usize> {
    let size = parse_size(text)?;
    if !(least..=LARGEST).contains(&size) {
        bail!("a stack has at least {}KiB and at most 1TiB", least >> 10);
    }
    Ok(usize::try_from(size)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_is_neither_tiny_nor_boundless() {
        assert_eq!(parse_stack("16K").unwrap(), 16 << 10);
        assert_eq!(parse_continuation("32KiB").unwrap(), 32 << 10);
        assert_eq!(parse_stack("1024GiB").unwrap(), 1 << 40);
        for wrong in [
            "0",
            "16383",
            "1025GiB",
            "99999999999999999999",
            "-1",
            "deep",
        ] {
            assert!(parse_stack(wrong).is_err(), "{wrong}");
        }
        assert!(parse_continuation("16K").is_err());
    }

    #[test]
    fn sizes_are_shown_as_people_write_them() {
        let shown = |bytes| Size(bytes).to_string();
        assert_eq!(shown(512 << 10), "512 KiB");
        assert_eq!(shown(16 << 20), "16 MiB");
        assert_eq!(shown(16385), "16385 bytes");
    }
}
