//! Branch hints: which way an `if` or `br_if` seldom goes, as the custom section
//! `metadata.code.branch_hint` tells.
//!
//! Specification: the branch hinting proposal. A custom section never makes a module invalid: one that is
//! malformed, is not the first of its name or comes after the code is left out as a whole, and hints
//! of what is no branch are never looked up.

use sarsen_abi::Module;
use wasmparser::BranchHintSectionReader;

/// The hints for one function.
#[derive(Clone, Default, Debug)]
pub(crate) struct BranchHints {
    /// Offsets of instructions, in bytes from the beginning of the body, ascending, and whether they
    /// are likely to branch.
    hints: Box<[(u32, bool)]>,
}

impl BranchHints {
    /// Whether the instruction at `offset` bytes from the beginning of the body is likely to branch, if
    /// there is a hint.
    pub(crate) fn is_likely(&self, offset: u32) -> Option<bool> {
        let position = self.hints.binary_search_by_key(&offset, |hint| hint.0);
        position.ok().map(|position| self.hints[position].1)
    }
}

/// The hints for each function that the module defines: none if the section is malformed.
pub(super) fn read(section: BranchHintSectionReader<'_>, module: &Module) -> Vec<BranchHints> {
    try_read(section, module).unwrap_or_default()
}

fn try_read(section: BranchHintSectionReader<'_>, module: &Module) -> Option<Vec<BranchHints>> {
    let imported = module.num_imports.funcs as usize;
    let mut hints = vec![BranchHints::default(); module.num_defined_funcs()];
    let mut next_func = imported;
    for function in section {
        let function = function.ok()?;
        let func = function.func as usize;
        if func < next_func {
            return None;
        }
        next_func = func + 1;
        let mut of_function: Vec<(u32, bool)> = Vec::new();
        for hint in function.hints {
            let hint = hint.ok()?;
            let last = of_function.last();
            if last.is_some_and(|&(offset, _)| hint.func_offset <= offset) {
                return None;
            }
            of_function.push((hint.func_offset, hint.taken));
        }
        hints.get_mut(func - imported)?.hints = of_function.into();
    }
    Some(hints)
}

#[cfg(test)]
mod tests {
    use crate::read::{self, Translation};
    use sarsen_abi::{Feature, Features};

    /// An imported function, and two with a `br_if` at byte 5 of their bodies.
    const HEAD: &str = r#"(module (import "" "" (func))"#;
    const TAIL: &str = "
        (func (block (br_if 0 (i32.const 0))))
        (func (block (br_if 0 (i32.const 0)))))";

    fn module(before_code: &str, after_code: &str) -> Vec<u8> {
        let tail = TAIL.strip_suffix(')').expect("it closes the module");
        let text = format!("{HEAD}{before_code}{tail}{after_code})");
        wat::parse_str(&text).unwrap_or_else(|e| panic!("{e}"))
    }

    fn section(place: &str, contents: &str) -> String {
        format!(r#"(@custom "metadata.code.branch_hint" ({place}) "{contents}")"#)
    }

    fn hints(wasm: &[u8], features: Features) -> Vec<Option<bool>> {
        let translation: Translation<'_> =
            read::read(wasm, features).expect("custom sections cannot be invalid");
        let at = |body: &read::Body<'_>| body.hints.is_likely(5);
        translation.bodies.iter().map(at).collect()
    }

    #[test]
    fn hints_belong_to_the_function_and_offset_that_they_name() {
        let both = section("before code", r"\02\01\01\05\01\00\02\02\03\01\00\05\01\01");
        let wasm = module(&both, "");
        assert_eq!(hints(&wasm, Features::default()), [Some(false), Some(true)]);
        let mut off = Features::default();
        off.set(Feature::BranchHinting, false);
        assert_eq!(hints(&wasm, off), [None, None]);
    }

    #[test]
    fn unsound_hints_do_not_make_a_module_invalid() {
        for (contents, what) in [
            ("", "empty"),
            (r"\01\01\01\05\01", "cut off"),
            (r"\ff\ff\ff\ff\0f", "four billion functions"),
            (r"\01\01\ff\ff\ff\ff\0f", "four billion hints"),
            (r"\01\01\01\05\02\00\00", "a hint of two bytes"),
            (r"\01\01\01\05\01\02", "neither likely nor unlikely"),
            (r"\01\00\01\05\01\00", "an imported function"),
            (r"\01\03\01\05\01\00", "a function that does not exist"),
            (r"\02\01\01\05\01\00\01\01\05\01\00", "a function twice"),
            (
                r"\02\02\01\05\01\00\01\01\05\01\00",
                "functions in no order",
            ),
            (r"\01\01\02\05\01\00\05\01\01", "an instruction twice"),
            (r"\01\01\02\06\01\00\05\01\01", "instructions in no order"),
            (r"\01\01\01\04\01\00", "not a branch"),
        ] {
            let wasm = module(&section("before code", contents), "");
            let found = hints(&wasm, Features::default());
            assert_eq!(found, [None, None], "{what}");
        }
    }

    #[test]
    fn only_the_first_section_counts_and_only_before_the_code() {
        let late = section("after code", r"\01\01\01\05\01\00");
        let wasm = module("", &late);
        assert_eq!(hints(&wasm, Features::default()), [None, None]);
        let first = section("before code", r"\01\01\01\05\01\00");
        let second = section("before code", r"\01\01\01\05\01\01");
        let wasm = module(&(first + &second), "");
        assert_eq!(hints(&wasm, Features::default()), [Some(false), None]);
    }

    #[test]
    fn the_text_format_means_the_same_offsets() {
        let wasm = wat::parse_str(
            r#"(module (import "" "" (func)) (func (block
                 (i32.const 0) (@metadata.code.branch_hint "\00") (br_if 0))))"#,
        );
        let wasm = wasm.expect("it is well-formed");
        assert_eq!(hints(&wasm, Features::default()), [Some(false)]);
    }
}
