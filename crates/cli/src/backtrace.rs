//! Backtraces as a terminal shows them: what recursion repeats takes two lines, not a screen.

use sarsen::WasmBacktrace;
use std::fmt::{self, Display};

/// Shows a backtrace as its own `Display` does, but of equal frames in a row, or of several that
/// come again and again, the first only.
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

/// How many functions may call each other in turn for that to be seen.
const LONGEST_CYCLE: usize = 16;

/// How often something is there before it is shown once only.
const OFTEN: usize = 3;

/// Writes frames, of which the first has this number.
fn write_frames(f: &mut fmt::Formatter<'_>, frames: &[String], first: u64) -> fmt::Result {
    let mut at = 0;
    while at < frames.len() {
        let (cycle, times) = repeated(&frames[at..]);
        for (position, frame) in frames[at..at + cycle].iter().enumerate() {
            write!(f, "\n    {:>3}: {frame}", first + (at + position) as u64)?;
        }
        match (cycle, times - 1) {
            (_, 0) => {}
            (1, more) => write!(f, "\n       ... {more} more of the same")?,
            (_, more) => write!(f, "\n       ... these {cycle} frames {more} more times")?,
        }
        at += cycle * times;
    }
    Ok(())
}

/// How many frames, the first of these, are there again and again, and how many times; one that is not is there
/// once.
fn repeated(frames: &[String]) -> (usize, usize) {
    let cycles = (1..=LONGEST_CYCLE).filter(|&cycle| cycle <= frames.len());
    cycles
        .map(|cycle| {
            let same = frames.chunks_exact(cycle);
            (cycle, same.take_while(|&c| c == &frames[..cycle]).count())
        })
        .find(|&(_, times)| times >= OFTEN)
        .unwrap_or((1, 1))
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

    #[test]
    fn frames_that_come_in_turn_are_counted() {
        let frames = ["a", "f", "g", "h", "f", "g", "h", "f", "g", "h", "f", "g"];
        let shown = Frames(&frames, 0).to_string();
        let lines: Vec<&str> = shown.lines().skip(1).map(str::trim_start).collect();
        assert_eq!(
            lines,
            [
                "0: a",
                "1: f",
                "2: g",
                "3: h",
                "... these 3 frames 2 more times",
                "10: f",
                "11: g"
            ]
        );
    }
}
