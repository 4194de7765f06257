//! Modules of typed function references, which the other generator makes only together with garbage
//! collection.
//!
//! A module has a few function types, each of which may take references to the earlier ones; for each
//! type some functions, a global and a table of nullable references and of others; and bodies that pass
//! these about, call them, and ask whether they are null. Functions are text as they are made: what
//! matters here is that each combination of instructions can come.

use crate::host;
use arbitrary::{Result, Unstructured};
use std::fmt::Write as _;

/// A binary module that is valid and terminates.
pub(crate) fn module(bytes: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let text = Generator::new(bytes)?.module()?;
    Ok(wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}")))
}

/// Elements of each table.
const ELEMENTS: u32 = 8;
/// Calls of functions until the module traps.
const FUEL: u32 = 300;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ty {
    I32,
    I64,
    F64,
    /// A reference to functions of the type with this number.
    Ref {
        nullable: bool,
        to: usize,
    },
}

impl Ty {
    fn text(self) -> String {
        match self {
            Ty::I32 => "i32".to_owned(),
            Ty::I64 => "i64".to_owned(),
            Ty::F64 => "f64".to_owned(),
            Ty::Ref { nullable: true, to } => format!("(ref null $t{to})"),
            Ty::Ref { to, .. } => format!("(ref $t{to})"),
        }
    }
}

#[derive(Clone)]
struct Signature {
    params: Vec<Ty>,
    result: Ty,
}

struct Generator<'a, 'b> {
    bytes: &'a mut Unstructured<'b>,
    types: Vec<Signature>,
    /// The type of each function.
    functions: Vec<usize>,
    /// The locals of the function that is being made, parameters first.
    locals: Vec<Ty>,
    labels: usize,
}

impl<'a, 'b> Generator<'a, 'b> {
    fn new(bytes: &'a mut Unstructured<'b>) -> Result<Generator<'a, 'b>> {
        let mut generator = Generator {
            bytes,
            types: Vec::new(),
            functions: Vec::new(),
            locals: Vec::new(),
            labels: 0,
        };
        for index in 0..generator.bytes.int_in_range(2..=5)? {
            let mut params = Vec::new();
            for _ in 0..generator.bytes.int_in_range(0..=4)? {
                params.push(generator.ty(index)?);
            }
            let result = generator.ty(index)?;
            generator.types.push(Signature { params, result });
        }
        // The first function of a type is what its references are made of when nothing else is at hand.
        generator.functions.extend(0..generator.types.len());
        for _ in 0..generator.bytes.int_in_range(0..=4)? {
            let ty = generator.bytes.choose_index(generator.types.len())?;
            generator.functions.push(ty);
        }
        Ok(generator)
    }

    /// A type that the type with this number may name.
    fn ty(&mut self, before: usize) -> Result<Ty> {
        Ok(match self.bytes.int_in_range(0..=5)? {
            0 | 1 if before > 0 => Ty::Ref {
                nullable: self.bytes.arbitrary()?,
                to: self.bytes.choose_index(before)?,
            },
            2 => Ty::I64,
            3 => Ty::F64,
            _ => Ty::I32,
        })
    }

    fn module(mut self) -> Result<String> {
        let mut text = String::from("(module\n");
        for (index, signature) in self.types.iter().enumerate() {
            let params: Vec<String> = signature.params.iter().map(|ty| ty.text()).collect();
            let (params, result) = (params.join(" "), signature.result.text());
            add(
                &mut text,
                &format!("(type $t{index} (func (param {params}) (result {result})))"),
            );
        }
        let module = host::MODULE;
        add(
            &mut text,
            &format!(
                "(type $host (func (param f64) (result f32)))
                (import \"{module}\" \"float\" (func $host (type $host)))
                (global $fuel (mut i32) (i32.const {FUEL}))
                (global $g (export \"host\") (mut (ref null $host)) (ref.func $host))
                (elem declare func $host)"
            ),
        );
        self.state(&mut text)?;
        for index in 0..self.functions.len() {
            let function = self.function(index)?;
            add(&mut text, &function);
        }
        for index in 0..self.bytes.int_in_range(1..=4)? {
            let entry = self.entry(index)?;
            add(&mut text, &entry);
        }
        text.push(')');
        Ok(text)
    }

    /// Globals, tables, and the segments that fill them.
    fn state(&mut self, text: &mut String) -> Result<()> {
        for ty in 0..self.types.len() {
            let some = self.function_of(ty)?;
            let other = self.function_of(ty)?;
            add(
                text,
                &format!(
                    "(global $n{ty} (export \"n{ty}\") (mut (ref null $t{ty})) (ref.null $t{ty}))
                    (global $g{ty} (export \"g{ty}\") (mut (ref $t{ty})) (ref.func $f{some}))
                    (table $n{ty} (export \"tn{ty}\") {ELEMENTS} 20 (ref null $t{ty}))
                    (table $g{ty} (export \"tg{ty}\") {ELEMENTS} (ref $t{ty}) (ref.func $f{other}))"
                ),
            );
            let mut items = String::new();
            for _ in 0..self.bytes.int_in_range(0..=4)? {
                if self.bytes.ratio(1, 3)? {
                    add(&mut items, &format!("(ref.null $t{ty})"));
                } else {
                    let function = self.function_of(ty)?;
                    add(&mut items, &format!("(ref.func $f{function})"));
                }
            }
            add(
                text,
                &format!(
                    "(elem $e{ty} (table $n{ty}) (i32.const 1) (ref null $t{ty}) {items})
                    (elem $p{ty} (ref $t{ty}) (ref.func $f{some}) (ref.func $f{other}))"
                ),
            );
        }
        let functions: Vec<String> = (0..self.functions.len())
            .map(|index| format!("$f{index}"))
            .collect();
        add(
            text,
            &format!("(elem declare func {})", functions.join(" ")),
        );
        Ok(())
    }

    /// A function of this type.
    fn function_of(&mut self, ty: usize) -> Result<usize> {
        let matching: Vec<usize> = (0..self.functions.len())
            .filter(|&index| self.functions[index] == ty)
            .collect();
        Ok(*self.bytes.choose(&matching)?)
    }

    fn function(&mut self, index: usize) -> Result<String> {
        let ty = self.functions[index];
        let signature = self.types[ty].clone();
        let body = self.body(&signature)?;
        Ok(format!("(func $f{index} (type $t{ty})\n{body})"))
    }

    /// A function that the host can call: its types are numbers.
    fn entry(&mut self, index: usize) -> Result<String> {
        let signature = Signature {
            params: vec![Ty::I32, Ty::I64],
            result: *self.bytes.choose(&[Ty::I32, Ty::I64, Ty::F64])?,
        };
        let body = self.body(&signature)?;
        let result = signature.result.text();
        Ok(format!(
            "(func (export \"e{index}\") (param i32 i64) (result {result})\n{body})"
        ))
    }

    fn body(&mut self, signature: &Signature) -> Result<String> {
        self.locals = signature.params.clone();
        let mut more = Vec::new();
        for _ in 0..self.bytes.int_in_range(0..=3)? {
            more.push(self.ty(self.types.len())?);
        }
        let mut text = String::new();
        for ty in &more {
            add(&mut text, &format!("(local {})", ty.text()));
        }
        add(
            &mut text,
            "(if (i32.eqz (global.get $fuel)) (then unreachable))
            (global.set $fuel (i32.sub (global.get $fuel) (i32.const 1)))",
        );
        // A local that is not nullable has no value before it gets one.
        for ty in more {
            let value = self.value(ty, 2)?;
            let index = self.locals.len();
            add(&mut text, &format!("(local.set {index} {value})"));
            self.locals.push(ty);
        }
        for _ in 0..self.bytes.int_in_range(0..=5)? {
            let statement = self.statement()?;
            add(&mut text, &statement);
        }
        let end = self.end(signature.result)?;
        add(&mut text, &end);
        Ok(text)
    }

    /// The last of a body: a value, or a tail call that gives it.
    fn end(&mut self, result: Ty) -> Result<String> {
        let matching: Vec<usize> = (0..self.types.len())
            .filter(|&ty| self.types[ty].result == result)
            .collect();
        if matching.is_empty() || self.bytes.ratio(1, 2)? {
            return self.value(result, 4);
        }
        let ty = *self.bytes.choose(&matching)?;
        let arguments = self.arguments(ty, 2)?;
        Ok(match self.bytes.int_in_range(0..=3)? {
            0 => {
                let function = self.function_of(ty)?;
                format!("(return_call $f{function} {arguments})")
            }
            1 => {
                let index = self.index(2)?;
                format!("(return_call_indirect $n{ty} (type $t{ty}) {arguments} {index})")
            }
            _ => {
                let callee = self.reference(ty, 2)?;
                format!("(return_call_ref $t{ty} {arguments} {callee})")
            }
        })
    }

    fn statement(&mut self) -> Result<String> {
        let ty = self.bytes.choose_index(self.types.len())?;
        let (null, some) = (
            Ty::Ref {
                nullable: true,
                to: ty,
            },
            Ty::Ref {
                nullable: false,
                to: ty,
            },
        );
        Ok(match self.bytes.int_in_range(0..=10)? {
            0 if !self.locals.is_empty() => {
                let local = self.bytes.choose_index(self.locals.len())?;
                let value = self.value(self.locals[local], 3)?;
                format!("(local.set {local} {value})")
            }
            1 => format!("(global.set $n{ty} {})", self.value(null, 3)?),
            2 => format!("(global.set $g{ty} {})", self.value(some, 3)?),
            3 => format!(
                "(table.set $n{ty} {} {})",
                self.index(2)?,
                self.value(null, 3)?
            ),
            4 => format!(
                "(table.set $g{ty} {} {})",
                self.index(2)?,
                self.value(some, 3)?
            ),
            5 => format!(
                "(drop (table.grow $n{ty} {} (i32.const {})))",
                self.value(null, 2)?,
                self.bytes.int_in_range(0..=5)?
            ),
            6 => format!(
                "(table.fill $g{ty} {} {} (i32.const {}))",
                self.index(2)?,
                self.value(some, 2)?,
                self.bytes.int_in_range(0..=2)?
            ),
            // From references that are not null to such as may be.
            7 => format!(
                "(table.copy $n{ty} $g{ty} {} {} (i32.const {}))",
                self.index(2)?,
                self.index(2)?,
                self.bytes.int_in_range(0..=3)?
            ),
            8 => format!(
                "(table.init $g{ty} $p{ty} {} (i32.const 0) (i32.const {}))",
                self.index(2)?,
                self.bytes.int_in_range(0..=2)?
            ),
            9 => "(drop (call_ref $host (f64.const 2.5) (global.get $g)))".to_owned(),
            _ => {
                let condition = self.value(Ty::I32, 2)?;
                let value = self.value(null, 2)?;
                format!("(if {condition} (then (global.set $n{ty} {value})))")
            }
        })
    }

    /// An index into a table, mostly within.
    fn index(&mut self, depth: u32) -> Result<String> {
        let value = self.value(Ty::I32, depth)?;
        let limit = if self.bytes.ratio(1, 12)? {
            2 * ELEMENTS
        } else {
            ELEMENTS
        };
        Ok(format!("(i32.and {value} (i32.const {}))", limit - 1))
    }

    fn arguments(&mut self, ty: usize, depth: u32) -> Result<String> {
        let mut text = String::new();
        for param in self.types[ty].params.clone() {
            let value = self.value(param, depth)?;
            add(&mut text, &value);
        }
        Ok(text)
    }

    /// A reference to call, mostly one that is not null.
    fn reference(&mut self, to: usize, depth: u32) -> Result<String> {
        let nullable = self.bytes.ratio(1, 4)?;
        self.value(Ty::Ref { nullable, to }, depth)
    }

    /// An expression of this type.
    fn value(&mut self, ty: Ty, depth: u32) -> Result<String> {
        if depth > 0 && self.bytes.ratio(2, 3)? {
            return self.compound(ty, depth - 1);
        }
        let locals: Vec<usize> = (0..self.locals.len())
            .filter(|&index| self.locals[index] == ty)
            .collect();
        if !locals.is_empty() && self.bytes.ratio(2, 3)? {
            return Ok(format!("(local.get {})", self.bytes.choose(&locals)?));
        }
        Ok(match ty {
            Ty::I32 => format!("(i32.const {})", self.bytes.arbitrary::<i8>()?),
            Ty::I64 => format!("(i64.const {})", self.bytes.arbitrary::<i16>()?),
            Ty::F64 => format!("(f64.const {})", self.bytes.arbitrary::<i8>()?),
            Ty::Ref { nullable: true, to } if self.bytes.ratio(1, 3)? => {
                format!("(ref.null $t{to})")
            }
            Ty::Ref { nullable: true, to } => format!("(global.get $n{to})"),
            Ty::Ref { to, .. } if self.bytes.ratio(1, 2)? => format!("(global.get $g{to})"),
            Ty::Ref { to, .. } => format!("(ref.func $f{})", self.function_of(to)?),
        })
    }

    fn compound(&mut self, ty: Ty, depth: u32) -> Result<String> {
        let matching: Vec<usize> = (0..self.types.len())
            .filter(|&index| self.types[index].result == ty)
            .collect();
        if !matching.is_empty() && self.bytes.ratio(1, 2)? {
            let callee = *self.bytes.choose(&matching)?;
            return self.call(callee, ty, depth);
        }
        let choice = self.bytes.int_in_range(0..=3)?;
        Ok(match (ty, choice) {
            (_, 0) => format!(
                "(select (result {}) {} {} {})",
                ty.text(),
                self.value(ty, depth)?,
                self.value(ty, depth)?,
                self.value(Ty::I32, depth)?
            ),
            (_, 1) => format!(
                "(if (result {}) {} (then {}) (else {}))",
                ty.text(),
                self.value(Ty::I32, depth)?,
                self.value(ty, depth)?,
                self.value(ty, depth)?
            ),
            (Ty::I32, 2) => {
                let to = self.bytes.choose_index(self.types.len())?;
                format!("(ref.is_null {})", self.reference(to, depth)?)
            }
            (Ty::I32, _) => self.binary("i32", &["add", "sub", "mul", "xor", "lt_s"], ty, depth)?,
            (Ty::I64, _) => self.binary("i64", &["add", "sub", "mul", "xor"], ty, depth)?,
            // No instruction that makes a NaN.
            (Ty::F64, _) => self.binary("f64", &["copysign"], ty, depth)?,
            (Ty::Ref { nullable: true, to }, 2) => {
                format!("(table.get $n{to} {})", self.index(depth)?)
            }
            (Ty::Ref { nullable: true, to }, _) => self.value(
                Ty::Ref {
                    nullable: false,
                    to,
                },
                depth,
            )?,
            (Ty::Ref { to, .. }, 2) => format!("(table.get $g{to} {})", self.index(depth)?),
            (Ty::Ref { to, .. }, _) => self.not_null(to, depth)?,
        })
    }

    fn binary(&mut self, prefix: &str, names: &[&str], ty: Ty, depth: u32) -> Result<String> {
        let name = *self.bytes.choose(names)?;
        let (left, right) = (self.value(ty, depth)?, self.value(ty, depth)?);
        Ok(format!("({prefix}.{name} {left} {right})"))
    }

    /// A reference that is not null, of one that may be.
    fn not_null(&mut self, to: usize, depth: u32) -> Result<String> {
        let nullable = Ty::Ref { nullable: true, to };
        let value = self.value(nullable, depth)?;
        if self.bytes.ratio(1, 4)? {
            return Ok(format!("(ref.as_non_null {value})"));
        }
        let label = self.label();
        let otherwise = self.function_of(to)?;
        Ok(format!(
            "(block $l{label} (result (ref $t{to})) (br_on_non_null $l{label} {value}) (ref.func $f{otherwise}))"
        ))
    }

    fn call(&mut self, callee: usize, result: Ty, depth: u32) -> Result<String> {
        let arguments = self.arguments(callee, depth)?;
        Ok(match self.bytes.int_in_range(0..=5)? {
            0 => format!("(call $f{} {arguments})", self.function_of(callee)?),
            1 => format!(
                "(call_indirect $n{callee} (type $t{callee}) {arguments} {})",
                self.index(depth)?
            ),
            2 => format!(
                "(call_indirect $g{callee} (type $t{callee}) {arguments} {})",
                self.index(depth)?
            ),
            3 => {
                // Where the reference is null, another value.
                let nullable = Ty::Ref {
                    nullable: true,
                    to: callee,
                };
                let reference = self.value(nullable, depth)?;
                let otherwise = self.value(result, depth)?;
                let (outer, inner) = (self.label(), self.label());
                format!(
                    "(block $l{outer} (result {}) (block $l{inner}
                        (br $l{outer} (call_ref $t{callee} {arguments} (br_on_null $l{inner} {reference}))))
                        {otherwise})",
                    result.text()
                )
            }
            _ => format!(
                "(call_ref $t{callee} {arguments} {})",
                self.reference(callee, depth)?
            ),
        })
    }

    fn label(&mut self) -> usize {
        self.labels += 1;
        self.labels
    }
}

fn add(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("a string takes all");
}

#[cfg(test)]
mod tests {
    use crate::random::Random;
    use arbitrary::Unstructured;

    #[test]
    fn modules_are_valid() {
        for seed in 0..300 {
            let bytes = Random::new(seed).bytes(4000);
            let module = super::module(&mut Unstructured::new(&bytes)).unwrap();
            wasmparser::validate(&module).unwrap();
        }
    }
}
