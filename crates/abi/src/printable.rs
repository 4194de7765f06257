//! [`Printable`]: text that a guest chose, made fit for messages.
//!
//! Names in a module are any text. Printed as they are, they could steer the terminal that shows
//! them, forge further lines of a message, reverse its reading order, or fill the screen. Every message
//! that contains one prints it through this.

use core::fmt::{self, Write};

/// Names are cut after about this many bytes.
const LONGEST: usize = 4096;

/// Shows text on one line, without effects on whatever shows it.
#[derive(Clone, Copy, Debug)]
pub struct Printable<'a>(pub &'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0;
        let shown = &text[..text.floor_char_boundary(LONGEST)];
        // Pieces that need nothing are written at once.
        let mut from = 0;
        for (at, c) in shown.char_indices() {
            if has_effects(c) {
                f.write_str(&shown[from..at])?;
                write!(f, "{}", c.escape_default())?;
                from = at + c.len_utf8();
            }
        }
        f.write_str(&shown[from..])?;
        if shown.len() < text.len() {
            f.write_char('…')?;
        }
        Ok(())
    }
}

/// Whether a character does something other than to be seen: controls, line and paragraph separators,
/// and what changes the direction of text.
fn has_effects(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_has_effects_is_escaped_and_the_rest_left_alone() {
        let shown = |text| Printable(text).to_string();
        for text in ["", "main", "a::b<'c>", "größe \"x\" \\ 名前"] {
            assert_eq!(shown(text), text);
        }
        assert_eq!(shown("\x1b[31mred\n\x07"), r"\u{1b}[31mred\n\u{7}");
        assert_eq!(shown("a\u{202e}b\u{9b}c"), r"a\u{202e}b\u{9b}c");
    }

    #[test]
    fn a_name_without_end_is_cut_between_characters() {
        let shown = Printable(&"ä".repeat(1 << 20)).to_string();
        assert!(shown.len() <= LONGEST + 3);
        assert!(shown.ends_with("ä…"));
    }
}
