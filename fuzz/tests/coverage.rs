//! What is never generated is never compared.

use sarsen_fuzz::{Abilities, Case, Executed};
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

/// Instructions on collected objects, of which each must be executed, and done unless it only leaves.
const EXECUTED: &[&str] = &[
    "AnyConvertExtern",
    "ArrayCopy",
    "ArrayFill",
    "ArrayGet",
    "ArrayGetS",
    "ArrayGetU",
    "ArrayInitData",
    "ArrayInitElem",
    "ArrayLen",
    "ArrayNew",
    "ArrayNewData",
    "ArrayNewDefault",
    "ArrayNewElem",
    "ArrayNewFixed",
    "ArraySet",
    "BrOnCast",
    "BrOnCastFail",
    "BrOnNonNull",
    "BrOnNull",
    "CallIndirect",
    "CallRef",
    "ExternConvertAny",
    "I31GetS",
    "I31GetU",
    "RefAsNonNull",
    "RefCastNonNull",
    "RefCastNullable",
    "RefEq",
    "RefI31",
    "RefTestNonNull",
    "RefTestNullable",
    "ReturnCallIndirect",
    "ReturnCallRef",
    "StructGet",
    "StructGetS",
    "StructGetU",
    "StructNew",
    "StructNewDefault",
    "StructSet",
    "Throw",
    "ThrowRef",
];

/// Ends of calls that must come.
const ENDS: &[&str] = &[
    "Exception",
    "Trap(Array)",
    "Trap(Cast)",
    "Trap(NullReference)",
    "Trap(Table)",
];

#[test]
fn programs_of_objects_execute_what_they_are_made_of() {
    let executed = Executed::count(0..60);
    for (name, (reached, done)) in &executed.instructions {
        println!("{reached:9} {done:9} {name}");
    }
    println!("{:?}, {:?}", executed.ends, executed.collections);
    for name in EXECUTED {
        let (reached, done) = executed
            .instructions
            .get(*name)
            .copied()
            .unwrap_or_default();
        let only_leaves = name.starts_with("Return") || name.starts_with("Throw");
        assert!(
            reached > 0 && (done > 0 || only_leaves),
            "{name}: {reached}, {done}"
        );
    }
    for end in ENDS {
        assert!(
            executed.ends.contains_key(*end),
            "{end}: {:?}",
            executed.ends
        );
    }
    let all: u64 = executed.ends.values().sum();
    assert!(
        2 * executed.ends["Ok"] > all,
        "too few succeed: {:?}",
        executed.ends
    );
    assert!(executed.collections.0 > 0, "nothing was collected");
}
