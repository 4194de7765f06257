//! What is never generated is never compared.

use sarsen_fuzz::{Abilities, Case};
use std::collections::BTreeMap;
use wasmparser::{Parser, Payload};

/// A runtime that can do everything.
const ALL: Abilities = Abilities {
    canonical_nans: true,
    function_references: true,
    threads: true,
    gc: true,
    exceptions: true,
};

/// How many instructions there are at least whose names begin so.
const EXPECTED: &[(&str, usize)] = &[
    ("I8x16", 39),
    ("I16x8", 49),
    ("I32x4", 48),
    ("I64x2", 28),
    ("F32x4", 31),
    ("F64x2", 31),
    ("V128", 30),
    ("I32Atomic", 20),
    ("I64Atomic", 25),
    ("MemoryAtomic", 1),
    ("Memory", 6),
    ("Table", 6),
    ("ReturnCall", 3),
    ("BrOn", 4),
    ("Ref", 10),
    ("Struct", 5),
    ("Array", 6),
    ("Throw", 1),
    ("TryTable", 1),
];

#[test]
fn every_family_of_instructions_is_generated() {
    let mut counts = BTreeMap::new();
    for seed in 0..2500 {
        if let Some(case) = Case::from_seed(seed, ALL) {
            count(&case.module, &mut counts);
        }
    }
    for (prefix, expected) in EXPECTED {
        let names: Vec<&String> = counts
            .keys()
            .filter(|name| name.starts_with(prefix))
            .collect();
        assert!(
            names.len() >= *expected,
            "{prefix}: {} of {expected}: {names:?}",
            names.len()
        );
    }
}

/// Counts the instructions of a module by name.
fn count(module: &[u8], counts: &mut BTreeMap<String, usize>) {
    for payload in Parser::new(0).parse_all(module) {
        if let Ok(Payload::CodeSectionEntry(body)) = payload {
            let operators = body.get_operators_reader().expect("it is valid");
            for operator in operators {
                let name = format!("{:?}", operator.expect("it is valid"));
                let end = name.find([' ', '{']).unwrap_or(name.len());
                *counts.entry(name[..end].to_owned()).or_default() += 1;
            }
        }
    }
}
