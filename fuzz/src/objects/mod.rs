//! Programs of collected objects: typed, valid, and they terminate, for a peer to agree with.
//!
//! A module has recursion groups with subtypes (`types`); globals, tables and segments of them (`state`); functions
//! of its function types, made of statements (`statements`, `loops`) and expressions (`values`, `references`). What
//! it does goes into a running sum (`digest`), and so does what all that is reachable looks like in the end.
//! An instruction that may trap is seldom left alone: mostly its operands are such that it does not, or a branch
//! asks first. How seldom is drawn once for a module, so that some run to their ends.
//!
//! Functions are text as they are made, as in [`crate::typed`]: what matters is that each combination of
//! instructions can come.

mod digest;
mod draw;
mod loops;
mod references;
mod state;
mod statements;
mod types;
mod values;

use crate::host;
use arbitrary::{Result, Unstructured};
use draw::draw_ty;
use std::fmt::Write as _;
use types::{FUNC, Heap, Kind, Ty, Types, list};

/// A binary module that is valid and terminates.
pub(crate) fn module(bytes: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let text = Generator::new(bytes)?.module()?;
    Ok(wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}")))
}

/// Calls and rounds of loops in a call of the host's. What is called when they are spent returns at once.
const FUEL: [u32; 3] = [40, 150, 400];
/// Expressions of a function that have operands.
const EXPRESSIONS: [u32; 4] = [0, 10, 40, 120];

/// A variable of the function that is being made.
#[derive(Clone, Copy)]
struct Local {
    ty: Ty,
    /// Whether any statement may write to it.
    is_open: bool,
}

struct Generator<'a, 'b> {
    bytes: &'a mut Unstructured<'b>,
    types: Types,
    /// The type of each function.
    functions: Vec<usize>,
    /// What exceptions of each tag carry.
    tags: Vec<Vec<Ty>>,
    /// How many of a hundred instructions may trap that could be kept from it.
    risk: u32,
    /// Of the function that is being made: its variables, parameters first;
    locals: Vec<Local>,
    /// how many expressions it may still have;
    expressions: u32,
    /// whether it may call, and so counts fuel.
    may_call: bool,
    labels: usize,
}

impl<'a, 'b> Generator<'a, 'b> {
    fn new(bytes: &'a mut Unstructured<'b>) -> Result<Generator<'a, 'b>> {
        let types = Types::draw(bytes)?;
        let risk = *bytes.choose(&[0, 0, 2, 5, 15, 40])?;
        // The first function of a type is what its references are of when nothing else is at hand.
        let mut functions: Vec<usize> = types.funcs().map(|(def, ..)| def).collect();
        let all = functions.clone();
        for _ in 0..bytes.int_in_range(2..=8)? {
            functions.push(*bytes.choose(&all)?);
        }
        let end = types.len();
        let mut tags = vec![vec![Ty::I32], vec![Ty::null(Heap::Any)]];
        for _ in 0..bytes.int_in_range(1..=3)? {
            let count = bytes.int_in_range(0..=3)?;
            let payload = (0..count).map(|_| draw_ty(bytes, end, end));
            tags.push(payload.collect::<Result<_>>()?);
        }
        Ok(Generator {
            bytes,
            types,
            functions,
            tags,
            risk,
            locals: Vec::new(),
            expressions: 0,
            may_call: true,
            labels: 0,
        })
    }

    fn module(mut self) -> Result<String> {
        let (mut text, module) = (String::from("(module\n"), host::MODULE);
        text += &self.types.text();
        let _ = writeln!(
            text,
            "(import \"{module}\" \"numbers\"
               (func $numbers (param i32 i64 f32 f64) (result i64)))
             (import \"{module}\" \"references\"
               (func $references (param externref funcref) (result externref)))
             (global $fuel (mut i32) (i32.const 0))"
        );
        for (number, payload) in self.tags.iter().enumerate() {
            let _ = writeln!(text, "(tag $e{number} {})", list("param", payload));
        }
        self.state(&mut text)?;
        self.digest(&mut text);
        for number in 0..self.functions.len() {
            text += &self.function(number)?;
        }
        for number in 0..self.bytes.int_in_range(1..=4)? {
            text += &self.entry(number)?;
        }
        text.push(')');
        Ok(text)
    }

    fn function(&mut self, number: usize) -> Result<String> {
        let def = self.functions[number];
        let Kind::Func(params, results) = self.types.kind(def).clone() else {
            unreachable!("it is a function's");
        };
        self.may_call = self.bytes.ratio(1, 2)?;
        self.expressions = *self.bytes.choose(&EXPRESSIONS)?;
        self.begin(&params);
        let mut body = String::new();
        if self.may_call {
            let results: Vec<String> = results.iter().map(|&ty| self.global(ty)).collect();
            let _ = writeln!(
                body,
                "(if (i32.le_s (global.get $fuel) (i32.const 0)) (then (return {})))
                 (global.set $fuel (i32.sub (global.get $fuel) (i32.const 1)))",
                results.join(" ")
            );
        }
        body += &self.body()?;
        body += &self.end(&results)?;
        let head = format!("(func $f{number} (type $t{def})");
        Ok(self.finish(&head, &params, &results, &body))
    }

    /// A function that the host calls.
    fn entry(&mut self, number: usize) -> Result<String> {
        let (params, results) = ([Ty::I32, Ty::I64], [Ty::I64]);
        self.may_call = true;
        self.expressions = EXPRESSIONS[3];
        self.begin(&params);
        let fuel = *self.bytes.choose(&FUEL)?;
        let mut body = format!("(global.set $fuel (i32.const {fuel}))\n");
        for _ in 0..2 {
            body += &self.body()?;
        }
        body += "(call $see_all) (global.get $sum)";
        let head = format!("(func $entry{number} (export \"e{number}\")");
        Ok(self.finish(&head, &params, &results, &body))
    }

    fn begin(&mut self, params: &[Ty]) {
        let locals = params.iter().map(|&ty| Local { ty, is_open: true });
        self.locals = locals.collect();
    }

    /// A function with its variables, all of which are named.
    fn finish(&self, head: &str, params: &[Ty], results: &[Ty], body: &str) -> String {
        let mut text = head.to_owned();
        for (number, local) in self.locals.iter().enumerate() {
            if number == params.len() {
                text += &list(" result", results);
            }
            let what = if number < params.len() {
                "param"
            } else {
                "local"
            };
            let _ = write!(text, " ({what} $v{number} {})", local.ty.text());
        }
        if self.locals.len() == params.len() {
            text += &list(" result", results);
        }
        text + "\n" + body + ")\n"
    }

    /// Some variables with values, and some statements.
    fn body(&mut self) -> Result<String> {
        let mut text = String::new();
        let end = self.types.len();
        for _ in 0..self.bytes.int_in_range(0..=3)? {
            let ty = draw_ty(self.bytes, end, end)?;
            let value = self.value(ty, 3)?;
            let number = self.locals.len();
            self.locals.push(Local { ty, is_open: true });
            let _ = writeln!(text, "(local.set $v{number} {value})");
        }
        let count = self.bytes.int_in_range(0..=5)?;
        Ok(text + &self.statements(count, 3)?)
    }

    /// The last of a body: values, or a tail call that gives them.
    fn end(&mut self, results: &[Ty]) -> Result<String> {
        let fits = |&def: &usize| match self.types.kind(def) {
            Kind::Func(_, others) => {
                let mut pairs = others.iter().zip(results);
                others.len() == results.len() && pairs.all(|(&b, &a)| self.types.is_subtype(b, a))
            }
            _ => false,
        };
        let callees: Vec<usize> = (FUNC..self.types.len()).filter(fits).collect();
        if self.may_call && !callees.is_empty() && self.bytes.ratio(2, 5)? {
            let callee = *self.bytes.choose(&callees)?;
            return self.call("return_", callee, 3);
        }
        let values = results.iter().map(|&ty| self.value(ty, 4));
        let values: Vec<String> = values.collect::<Result<_>>()?;
        Ok(values.join(" "))
    }

    /// A new variable that begins as zero or null, and that only its maker writes to.
    fn scratch(&mut self, ty: Ty) -> String {
        self.locals.push(Local {
            ty: ty.or_null(),
            is_open: false,
        });
        format!("$v{}", self.locals.len() - 1)
    }

    fn label(&mut self) -> usize {
        self.labels += 1;
        self.labels
    }

    /// Whether to leave an instruction alone that may trap.
    fn is_risky(&mut self) -> Result<bool> {
        Ok(self.risk > 0 && self.bytes.ratio(self.risk, 100)?)
    }
}

#[cfg(test)]
mod tests {
    use crate::random::Random;
    use arbitrary::Unstructured;

    #[test]
    fn modules_are_valid() {
        for seed in 0..300 {
            let bytes = Random::new(seed).bytes([0, 50, 1000, 20_000][seed as usize % 4]);
            if let Ok(module) = super::module(&mut Unstructured::new(&bytes)) {
                wasmparser::validate(&module).unwrap();
            }
        }
    }
}
