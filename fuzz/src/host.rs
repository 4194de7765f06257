//! What a module may import, and what the host's functions do: the same for both runtimes.

use crate::generate::Proposals;
use crate::observe::{HostCall, Type, Value};
use crate::random::mix;

/// The name of the module that everything is imported from.
pub const MODULE: &str = "host";

/// The largest size of a memory, in bytes.
pub const MEMORY_LIMIT: usize = 2 << 20;
/// The largest size of a table, in elements.
pub const TABLE_LIMIT: usize = 2000;

/// The largest size of the heap of what is collected, in bytes.
pub const HEAP_LIMIT: usize = 16 << 20;

/// Pages of the memory that can be imported, and how many it may have.
pub const MEMORY: (u32, Option<u32>) = (1, Some(4));
/// The same of the table.
pub const TABLE: (u32, Option<u32>) = (10, Some(20));

/// The globals: name, whether mutable, what they hold at first.
pub const GLOBALS: &[(&str, bool, Value)] = &[
    ("constant", false, Value::I32(7)),
    ("count", true, Value::I64(-1)),
    ("ratio", true, Value::F64(0x3ff8_0000_0000_0000)),
    (
        "vector",
        true,
        Value::V128(0x0123_4567_89ab_cdef_fedc_ba98_7654_3210),
    ),
];

/// A function of the host's.
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// The types of its parameters.
    pub params: &'static [Type],
    /// The types of its results.
    pub results: &'static [Type],
}

/// All of them.
pub const FUNCTIONS: &[Function] = &[
    Function {
        name: "numbers",
        params: &[Type::I32, Type::I64, Type::F32, Type::F64],
        results: &[Type::I64],
    },
    Function {
        name: "float",
        params: &[Type::F64],
        results: &[Type::F32],
    },
    Function {
        name: "pair",
        params: &[Type::I64],
        results: &[Type::F64, Type::I32],
    },
    Function {
        name: "vectors",
        params: &[Type::V128, Type::I32, Type::V128],
        results: &[Type::V128],
    },
    Function {
        name: "references",
        params: &[Type::Extern, Type::Func],
        results: &[Type::Extern],
    },
    Function {
        name: "fail",
        params: &[Type::I32],
        results: &[],
    },
];

/// The host function failed, on purpose.
#[derive(Debug)]
pub struct Failed;

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the host failed on purpose")
    }
}

impl std::error::Error for Failed {}
impl wasmi::errors::HostError for Failed {}

/// Calls function `index`: notes the call, and returns what depends on all arguments and nothing else.
///
/// # Errors
///
/// [`Failed`], when the function is `fail` and its argument a multiple of eight.
pub fn call(
    calls: &mut Vec<HostCall>,
    index: usize,
    arguments: Vec<Value>,
) -> Result<Vec<Value>, Failed> {
    let function = &FUNCTIONS[index];
    let mut digest = index as u64;
    for argument in &arguments {
        let [low, high] = bits(*argument);
        digest = mix(mix(digest ^ low) ^ high);
    }
    let passed = arguments.iter().find_map(|argument| match argument {
        Value::Extern(number) => Some(*number),
        _ => None,
    });
    let fails = matches!(arguments[..], [Value::I32(n)] if n & 7 == 0) && function.name == "fail";
    calls.push(HostCall {
        name: function.name,
        arguments,
    });
    if fails {
        return Err(Failed);
    }
    let results = function.results.iter().map(|ty| match ty {
        Type::I32 => Value::I32(digest as i32),
        Type::I64 => Value::I64(digest as i64),
        Type::F32 => Value::F32((digest as i16 as f32).to_bits()),
        Type::F64 => Value::F64((digest as i32 as f64 / 16.0).to_bits()),
        Type::V128 => Value::V128(u128::from(digest) << 64 | u128::from(mix(digest))),
        Type::Func => Value::Func(false),
        Type::Extern => Value::Extern(passed.flatten()),
        Type::I31 { .. } | Type::Null(_) => unreachable!("no function has such a result"),
    });
    Ok(results.collect())
}

/// The halves of a value.
fn bits(value: Value) -> [u64; 2] {
    let low = match value {
        Value::I32(n) => n as u64,
        Value::I64(n) => n as u64,
        Value::F32(n) => u64::from(n),
        Value::F64(n) => n,
        Value::V128(n) => return [n as u64, (n >> 64) as u64],
        Value::Func(some) => u64::from(some),
        Value::Extern(number) => number.map_or(u64::MAX, u64::from),
        Value::Any(_) | Value::Exn(_) => unreachable!("no function has such a parameter"),
    };
    [low, 0]
}

/// A module that imports everything that these proposals can express, for the generator to choose from.
pub(crate) fn everything(proposals: &Proposals) -> Vec<u8> {
    let (minimum, maximum) = MEMORY;
    let mut text = format!(
        "(module (import \"{MODULE}\" \"memory\" (memory {minimum} {}))",
        maximum.expect("it has one")
    );
    let (minimum, maximum) = TABLE;
    text += &format!(
        "(import \"{MODULE}\" \"table\" (table {minimum} {} funcref))",
        maximum.expect("it has one")
    );
    for (name, mutable, value) in GLOBALS {
        let ty = match value {
            Value::I32(_) => "i32",
            Value::I64(_) => "i64",
            Value::V128(_) if !proposals.simd => continue,
            Value::V128(_) => "v128",
            _ => "f64",
        };
        let ty = if *mutable {
            format!("(mut {ty})")
        } else {
            ty.to_owned()
        };
        text += &format!("(import \"{MODULE}\" \"{name}\" (global {ty}))");
    }
    for function in FUNCTIONS {
        let references = function.params.contains(&Type::Extern);
        let vectors = function.params.contains(&Type::V128);
        if (references && !proposals.reference_types)
            || (vectors && !proposals.simd)
            || (function.results.len() > 1 && !proposals.multi_value)
        {
            continue;
        }
        let params: Vec<&str> = function.params.iter().map(|ty| keyword(*ty)).collect();
        let results: Vec<&str> = function.results.iter().map(|ty| keyword(*ty)).collect();
        text += &format!(
            "(import \"{MODULE}\" \"{}\" (func (param {}) (result {})))",
            function.name,
            params.join(" "),
            results.join(" ")
        );
    }
    text += ")";
    wat::parse_str(&text).expect("the text is ours")
}

fn keyword(ty: Type) -> &'static str {
    match ty {
        Type::I32 => "i32",
        Type::I64 => "i64",
        Type::F32 => "f32",
        Type::F64 => "f64",
        Type::V128 => "v128",
        Type::Func => "funcref",
        Type::Extern => "externref",
        Type::I31 { .. } | Type::Null(_) => unreachable!("no function has these"),
    }
}
