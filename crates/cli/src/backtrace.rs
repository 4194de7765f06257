//! Backtraces as a terminal shows them: what recursion repeats takes two lines, not a screen.

use sarsen::WasmBacktrace;
use std::fmt::{self, Display};

/// Shows a backtrace as its own `Display` does, but of equal frames in a row the first only.
pub(crate) struct Shown<'a>(pub(crate) &'a WasmBacktrace);

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let frames: Vec<String> = self.0.frames().iter().map(ToString::to_string).collect();
        f.write_str("error while executing at wasm backtrace:")?;
        let (before, left_out) = self.0.omitted().unwrap_or((frames.len(), 0));
        let (innermost, outermost) = frames.split_at(before.min(frames.len()));
        write_frames(f, innermost, 0)?;
        if left_out > 0 {
            write!(f, "\n       ... {left_out} frames left out")?;
        }
        write_frames(f, outermost, innermost.len() as u64 + left_out)
    }
}

/// Writes frames, of which the first has this number.
fn write_frames(f: &mut fmt::Formatter<'_>, frames: &[String], first: u64) -> fmt::Result {
    let mut number = first;
    for same in frames.chunk_by(|a, b| a == b) {
        let shown = if same.len() == 2 { same } else { &same[..1] };
        for (position, frame) in shown.iter().enumerate() {
            write!(f, "\n    {:>3}: {frame}", number + position as u64)?;
        }
        if same.len() > shown.len() {
            write!(
                f,
                "\n       ... {} more of the same",
                same.len() - shown.len()
            )?;
        }
        number += same.len() as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Frames<'a>(&'a [&'a str], u64);

    impl Display for Frames<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let frames: Vec<String> = self.0.iter().map(ToString::to_string).collect();
            write_frames(f, &frames, self.1)
        }
    }

    #[test]
    fn only_long_runs_of_equal_frames_are_counted() {
        let shown = Frames(&["f", "f", "g", "f", "f", "f", "h"], 8).to_string();
        let lines: Vec<&str> = shown.lines().skip(1).map(str::trim_start).collect();
        assert_eq!(
            lines,
            [
                "8: f",
                "9: f",
                "10: g",
                "11: f",
                "... 2 more of the same",
                "14: h"
            ]
        );
        assert_eq!(Frames(&[], 0).to_string(), "");
    }
}
