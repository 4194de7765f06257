//! `cargo xtask where WORD`: finds the file that owns a concept.
//!
//! Every file says in its first lines what it owns, so a search there is better than one through all
//! of the text.

use crate::source;

pub(crate) fn run(word: &str) -> Result<(), String> {
    let word = word.to_lowercase();
    let mut found = 0;
    for file in source::files(&[".rs"])? {
        let summary = file.summary();
        let name = file.path.to_lowercase();
        if name.contains(&word) || summary.to_lowercase().contains(&word) {
            println!("{}\n    {summary}", file.path);
            found += 1;
        }
    }
    match found {
        0 => Err(format!("no file says `{word}` in its first lines")),
        _ => Ok(()),
    }
}
