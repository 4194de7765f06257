//! What a module may import, and what the host's functions do: the same for both runtimes.

use crate::observe::{HostCall, Type, Value};
use crate::random::mix;

/// The name of the module that everything is imported from.
pub(crate) const MODULE: &str = "host";

/// The largest size of a memory, in bytes, and of a table, in elements.
pub(crate) const MEMORY_LIMIT: usize = 2 << 20;
pub(crate) const TABLE_LIMIT: usize = 2000;

/// Pages of the memory that can be imported, and how many it may have.
pub(crate) const MEMORY: (u32, Option<u32>) = (1, Some(4));
/// The same of the table.
pub(crate) const TABLE: (u32, Option<u32>) = (10, Some(20));

/// What the globals hold at first, by name.
pub(crate) const GLOBALS: &[(&str, bool, Value)] = &[
    ("constant", false, Value::I32(7)),
    ("count", true, Value::I64(-1)),
    ("ratio", true, Value::F64(0x3ff8_0000_0000_0000)),
];

/// A function of the host's.
pub(crate) struct Function {
    pub(crate) name: &'static str,
    pub(crate) params: &'static [Type],
    pub(crate) results: &'static [Type],
}

pub(crate) const FUNCTIONS: &[Function] = &[
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
pub(crate) struct Failed;

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the host failed on purpose")
    }
}

impl std::error::Error for Failed {}
impl wasmi::errors::HostError for Failed {}

/// Calls function `index`: notes the call, and returns what depends on all arguments and nothing else.
pub(crate) fn call(
    calls: &mut Vec<HostCall>,
    index: usize,
    arguments: Vec<Value>,
) -> Result<Vec<Value>, Failed> {
    let function = &FUNCTIONS[index];
    let mut digest = index as u64;
    for argument in &arguments {
        digest = mix(digest ^ bits(*argument));
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
        Type::Func => Value::Func(false),
        Type::Extern => Value::Extern(passed.flatten()),
    });
    Ok(results.collect())
}

fn bits(value: Value) -> u64 {
    match value {
        Value::I32(n) => n as u64,
        Value::I64(n) => n as u64,
        Value::F32(n) => u64::from(n),
        Value::F64(n) => n,
        Value::Func(some) => u64::from(some),
        Value::Extern(number) => number.map_or(u64::MAX, u64::from),
    }
}

/// A module that imports everything that there is, for the generator to choose from.
pub(crate) fn everything(multi_value: bool, reference_types: bool) -> Vec<u8> {
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
        if (references && !reference_types) || (function.results.len() > 1 && !multi_value) {
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
        Type::Func => "funcref",
        Type::Extern => "externref",
    }
}
