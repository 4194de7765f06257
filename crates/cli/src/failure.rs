//! Errors, as the command shows them: a message on standard error and an exit code.
//!
//! Messages go from the general to the particular: what failed, then why, each cause on a line of its
//! own. A trap's backtrace comes last. Colours only where standard error is a terminal.

use crate::backtrace::Shown;
use sarsen::{Error, ThrownException, Trap, UnknownImportError, WasmBacktrace};
use sarsen_wasi::I32Exit;
use std::borrow::Cow;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};

/// The exit code of a guest that trapped: what a shell reports for a process that aborted.
pub(crate) const TRAPPED: u8 = 134;
/// The exit code of everything else that went wrong.
pub(crate) const FAILED: u8 = 1;

/// Shows `error`, and returns the exit code that fits it. A guest that exits by itself is no error to
/// show.
pub(crate) fn report(error: &Error) -> u8 {
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        return exit.process_status();
    }
    if is_broken_pipe(error) {
        // Whoever read our output has seen enough.
        return 0;
    }
    // Nobody is left to be told when standard error itself is closed.
    let _ = write_report(&mut io::stderr().lock(), error);
    if is_guests_fault(error) {
        TRAPPED
    } else {
        FAILED
    }
}

/// Whether WebAssembly that was running stopped by its own fault.
fn is_guests_fault(error: &Error) -> bool {
    let ran = error.downcast_ref::<WasmBacktrace>().is_some();
    error.is::<Trap>()
        || error.is::<ThrownException>()
        || (ran && error.downcast_ref::<UnknownImportError>().is_some())
}

fn is_broken_pipe(error: &Error) -> bool {
    let cause = error.downcast_ref::<io::Error>();
    cause.is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

fn write_report(to: &mut impl Write, error: &Error) -> io::Result<()> {
    let style = Style::of(io::stderr().is_terminal());
    let backtrace = error
        .downcast_ref::<WasmBacktrace>()
        .map(ToString::to_string);
    // The backtrace is one of the error's links; it is shown by itself.
    let messages: Vec<String> = error
        .chain()
        .map(ToString::to_string)
        .filter(|message| Some(message) != backtrace.as_ref())
        .collect();
    for (depth, message) in messages.iter().enumerate() {
        let message = harmless(message.trim_end());
        match depth {
            0 => writeln!(to, "{}error{}: {message}", style.alarm, style.end)?,
            // A message may have lines of its own, such as an excerpt of the source.
            _ => writeln!(to, "  because: {}", message.replace('\n', "\n    "))?,
        }
    }
    match error.downcast_ref::<WasmBacktrace>() {
        Some(backtrace) => writeln!(to, "{}", harmless(&Shown(backtrace).to_string())),
        None => Ok(()),
    }
}

/// The message without what would steer a terminal. Names are escaped where messages are made; but a
/// message may also show a line of a source text, or have come from another library.
fn harmless(message: &str) -> Cow<'_, str> {
    let steers = |c: char| c.is_control() && c != '\n' && c != '\t';
    if !message.contains(steers) {
        return Cow::Borrowed(message);
    }
    let shown = message.chars().map(|c| match steers(c) {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    });
    Cow::Owned(shown.collect())
}

/// Terminal escapes, or nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    pub(crate) alarm: &'static str,
    pub(crate) heading: &'static str,
    pub(crate) faint: &'static str,
    pub(crate) end: &'static str,
}

impl Style {
    /// The style for a stream that is a terminal or not. `NO_COLOR` (no-color.org) is respected, and so is a
    /// terminal that understands no escapes (`TERM=dumb`).
    pub(crate) fn of(terminal: bool) -> Style {
        Style::wanted(terminal, |name| std::env::var_os(name))
    }

    fn wanted(terminal: bool, variable: impl Fn(&str) -> Option<OsString>) -> Style {
        let refused = variable("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = variable("TERM").is_some_and(|value| value == "dumb");
        if terminal && !refused && !dumb {
            Style {
                alarm: "\x1b[1;31m",
                heading: "\x1b[1m",
                faint: "\x1b[2m",
                end: "\x1b[0m",
            }
        } else {
            Style {
                alarm: "",
                heading: "",
                faint: "",
                end: "",
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Style;

    #[test]
    fn colours_are_for_terminals_that_show_them_to_people_who_want_them() {
        let is_coloured = |terminal, variables: &[(&str, &str)]| {
            let variable = |wanted: &str| {
                let found = variables.iter().find(|(name, _)| *name == wanted);
                found.map(|(_, value)| value.into())
            };
            !Style::wanted(terminal, variable).alarm.is_empty()
        };
        assert!(is_coloured(true, &[("TERM", "xterm")]));
        assert!(is_coloured(true, &[("NO_COLOR", "")]));
        assert!(!is_coloured(true, &[("NO_COLOR", "1")]));
        assert!(!is_coloured(true, &[("TERM", "dumb")]));
        assert!(!is_coloured(false, &[("TERM", "xterm")]));
    }
}
