//! Modules that do little but compute with vectors, and do not trap.
//!
//! The other generator makes vector instructions only where their operands happen to lie on the stack,
//! and its functions seldom get far. Here each instruction is as likely as the others, and the operands
//! are what compilers look for patterns in: constants, splats, loads, other vector instructions.

mod instructions;

use arbitrary::{Result, Unstructured};
use instructions::{BINARY, FUSED, INTEGERS, LOADS, RELAXED, SHAPES, UNARY};
use std::fmt::Write as _;

/// Which relaxed instructions a module has.
///
/// Those that multiply and add are apart from the others: in the specification's deterministic profile
/// they round twice, which no other runtime does even when it is asked to be deterministic. But with one
/// rounding, which all do where the machine has the instruction for it, they can be compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Relaxed {
    None,
    /// All but those that multiply and add, as the deterministic profile has them.
    Deterministic,
    /// Those that multiply and add, with one rounding.
    Fused,
}

/// A binary module that is valid, terminates, and traps nowhere.
pub(crate) fn module(bytes: &mut Unstructured<'_>, relaxed: Relaxed) -> Result<Vec<u8>> {
    let generator = Generator {
        bytes,
        relaxed,
        functions: Vec::new(),
        locals: Vec::new(),
    };
    let text = generator.module()?;
    Ok(wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}")))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ty {
    I32,
    I64,
    F32,
    F64,
    V128,
}

impl Ty {
    const ALL: [Ty; 5] = [Ty::I32, Ty::I64, Ty::F32, Ty::F64, Ty::V128];

    fn text(self) -> &'static str {
        match self {
            Ty::I32 => "i32",
            Ty::I64 => "i64",
            Ty::F32 => "f32",
            Ty::F64 => "f64",
            Ty::V128 => "v128",
        }
    }
}

struct Generator<'a, 'b> {
    bytes: &'a mut Unstructured<'b>,
    relaxed: Relaxed,
    /// The parameters and the result of each function that was made; later ones call them.
    functions: Vec<(Vec<Ty>, Ty)>,
    /// The locals of the function that is being made, parameters first.
    locals: Vec<Ty>,
}

impl Generator<'_, '_> {
    fn module(mut self) -> Result<String> {
        let mut text = String::from("(module\n(memory (export \"memory\") 1 3)\n");
        let mut data = String::new();
        for _ in 0..128 {
            write!(data, "\\{:02x}", self.bytes.arbitrary::<u8>()?).expect("a string takes all");
        }
        writeln!(text, "(data (i32.const 0) \"{data}{data}\")").expect("a string takes all");
        for index in 0..self.bytes.int_in_range(1..=6)? {
            let function = self.function(index)?;
            text.push_str(&function);
        }
        text.push(')');
        Ok(text)
    }

    fn ty(&mut self) -> Result<Ty> {
        if self.bytes.ratio(1, 2)? {
            return Ok(Ty::V128);
        }
        self.bytes.choose(&Ty::ALL).copied()
    }

    fn function(&mut self, index: usize) -> Result<String> {
        let mut params = Vec::new();
        // Now and then more than there are registers for.
        let most = *self.bytes.choose(&[3, 6, 14])?;
        for _ in 0..self.bytes.int_in_range(1..=most)? {
            params.push(self.ty()?);
        }
        let result = self.ty()?;
        let declared: Vec<&str> = params.iter().map(|ty| ty.text()).collect();
        let mut text = format!(
            "(func $f{index} (export \"f{index}\") (param {}) (result {})\n",
            declared.join(" "),
            result.text()
        );
        self.locals = params.clone();
        // One of each type, so that there is always one to set.
        self.locals.extend(Ty::ALL);
        for ty in Ty::ALL {
            text += &format!("(local {})", ty.text());
        }
        text += "(local $count i32)\n";
        let repeated = self.bytes.ratio(1, 3)?;
        if repeated {
            text += "(loop $again\n";
        }
        for _ in 0..self.bytes.int_in_range(1..=8)? {
            text += &self.statement()?;
            text.push('\n');
        }
        if repeated {
            text += "(local.set $count (i32.add (local.get $count) (i32.const 1)))
                (br_if $again (i32.lt_u (local.get $count) (i32.const 3))))\n";
        }
        text += &self.value(result, 4)?;
        text += ")\n";
        self.functions.push((params, result));
        Ok(text)
    }

    fn statement(&mut self) -> Result<String> {
        if self.bytes.ratio(2, 3)? {
            let local = self.bytes.choose_index(self.locals.len())?;
            let value = self.value(self.locals[local], 4)?;
            return Ok(format!("(local.set {local} {value})"));
        }
        let vector = self.value(Ty::V128, 3)?;
        Ok(if self.bytes.arbitrary()? {
            format!("(v128.store {} {vector})", self.address("")?)
        } else {
            let (bits, lane) = self.lane()?;
            format!("(v128.store{bits}_lane {} {vector})", self.address(&lane)?)
        })
    }

    /// The width of a lane in bits, and a lane.
    fn lane(&mut self) -> Result<(u32, String)> {
        let bits = *self.bytes.choose(&[8, 16, 32, 64])?;
        let lane = self.bytes.int_in_range(0..=128 / bits - 1)?;
        Ok((bits, lane.to_string()))
    }

    /// An offset, the other immediate, and an address: all accesses lie where the data is, or close.
    fn address(&mut self, immediate: &str) -> Result<String> {
        let offset = self.bytes.int_in_range(0..=64)?;
        let address = self.value(Ty::I32, 1)?;
        Ok(format!(
            "offset={offset} {immediate} (i32.and {address} (i32.const 255))"
        ))
    }

    /// An expression of this type.
    fn value(&mut self, ty: Ty, depth: u32) -> Result<String> {
        if depth == 0 || self.bytes.ratio(1, 5)? {
            return self.leaf(ty);
        }
        let depth = depth - 1;
        if self.bytes.ratio(1, 16)?
            && let Some(call) = self.call(ty, depth)?
        {
            return Ok(call);
        }
        if ty == Ty::V128 {
            return self.vector(depth);
        }
        if self.bytes.ratio(1, 2)? {
            return self.scalar(ty, depth);
        }
        // Out of a vector.
        if ty == Ty::I32 && self.bytes.ratio(1, 3)? {
            let vector = self.value(Ty::V128, depth)?;
            let shape = *self.bytes.choose(INTEGERS)?;
            return Ok(match self.bytes.int_in_range(0..=2)? {
                0 => format!("(v128.any_true {vector})"),
                1 => format!("({shape}.all_true {vector})"),
                _ => format!("({shape}.bitmask {vector})"),
            });
        }
        let shapes: Vec<_> = SHAPES.iter().filter(|shape| shape.2 == ty).collect();
        let (shape, lanes, _, suffixes) = **self.bytes.choose(&shapes)?;
        let suffix = *self.bytes.choose(suffixes)?;
        let lane = self.bytes.int_in_range(0..=lanes - 1)?;
        let vector = self.value(Ty::V128, depth)?;
        Ok(format!("({shape}.extract_lane{suffix} {lane} {vector})"))
    }

    fn leaf(&mut self, ty: Ty) -> Result<String> {
        let locals: Vec<usize> = (0..self.locals.len())
            .filter(|&index| self.locals[index] == ty)
            .collect();
        if self.bytes.ratio(2, 3)? {
            return Ok(format!("(local.get {})", self.bytes.choose(&locals)?));
        }
        Ok(match ty {
            Ty::I32 if self.bytes.arbitrary()? => {
                format!("(i32.const {})", self.bytes.int_in_range(-1..=66)?)
            }
            Ty::I32 => format!("(i32.const {})", self.bytes.arbitrary::<i32>()?),
            Ty::I64 => format!("(i64.const {})", self.bytes.arbitrary::<i64>()?),
            Ty::F32 => format!("(f32.const {})", self.float()?),
            Ty::F64 => format!("(f64.const {})", self.float()?),
            Ty::V128 => self.constant()?,
        })
    }

    fn float(&mut self) -> Result<&'static str> {
        self.bytes
            .choose(&[
                "0",
                "-0",
                "1",
                "-1.5",
                "inf",
                "-inf",
                "nan",
                "2147483648",
                "1e-40",
                "-3e38",
            ])
            .copied()
    }

    fn constant(&mut self) -> Result<String> {
        Ok(match self.bytes.int_in_range(0..=4)? {
            0 => "(v128.const i64x2 0 0)".to_owned(),
            1 => "(v128.const i64x2 -1 -1)".to_owned(),
            2 => {
                let lane = self.bytes.arbitrary::<i16>()?;
                let lanes = [lane; 8].map(|lane| lane.to_string());
                format!("(v128.const i16x8 {})", lanes.join(" "))
            }
            3 => {
                let mut text = String::from("(v128.const f32x4");
                for _ in 0..4 {
                    write!(text, " {}", self.float()?).expect("a string takes all");
                }
                text + ")"
            }
            _ => {
                let [a, b] = self.bytes.arbitrary::<[i64; 2]>()?;
                format!("(v128.const i64x2 {a} {b})")
            }
        })
    }

    fn vector(&mut self, depth: u32) -> Result<String> {
        Ok(match self.bytes.int_in_range(0..=15)? {
            0 | 1 => {
                let name = *self.bytes.choose(UNARY)?;
                format!("({name} {})", self.value(Ty::V128, depth)?)
            }
            2..=6 => {
                let (name, shapes) = *self.bytes.choose(BINARY)?;
                let shape = *self.bytes.choose(shapes)?;
                let (left, right) = self.pair(depth)?;
                format!("({shape}.{name} {left} {right})")
            }
            7 => {
                let shape = *self.bytes.choose(INTEGERS)?;
                let name = *self.bytes.choose(&["shl", "shr_s", "shr_u"])?;
                let vector = self.value(Ty::V128, depth)?;
                format!("({shape}.{name} {vector} {})", self.value(Ty::I32, depth)?)
            }
            8 => {
                let (left, right) = self.pair(depth)?;
                format!("(i8x16.shuffle {} {left} {right})", self.lanes()?)
            }
            9 => {
                let (shape, _, ty, _) = *self.bytes.choose(SHAPES)?;
                format!("({shape}.splat {})", self.value(ty, depth)?)
            }
            10 => {
                let (shape, lanes, ty, _) = *self.bytes.choose(SHAPES)?;
                let lane = self.bytes.int_in_range(0..=lanes - 1)?;
                let vector = self.value(Ty::V128, depth)?;
                let value = self.value(ty, depth)?;
                format!("({shape}.replace_lane {lane} {vector} {value})")
            }
            11 => {
                let name = *self.bytes.choose(LOADS)?;
                format!("({name} {})", self.address("")?)
            }
            12 => {
                let (bits, lane) = self.lane()?;
                let vector = self.value(Ty::V128, depth)?;
                format!("(v128.load{bits}_lane {} {vector})", self.address(&lane)?)
            }
            13 => {
                let (left, right) = self.pair(depth)?;
                let mask = self.value(Ty::V128, depth)?;
                format!("(v128.bitselect {left} {right} {mask})")
            }
            14 => {
                let (left, right) = self.pair(depth)?;
                let condition = self.value(Ty::I32, depth)?;
                format!("(select (result v128) {left} {right} {condition})")
            }
            _ if self.relaxed != Relaxed::None => self.relaxed(depth)?,
            _ => self.leaf(Ty::V128)?,
        })
    }

    /// Two operands, now and then the same.
    fn pair(&mut self, depth: u32) -> Result<(String, String)> {
        let left = self.value(Ty::V128, depth)?;
        let right = if self.bytes.ratio(1, 10)? {
            left.clone()
        } else {
            self.value(Ty::V128, depth)?
        };
        Ok((left, right))
    }

    /// What a shuffle chooses: anything, or what one of the machine's instructions can do.
    fn lanes(&mut self) -> Result<String> {
        let mut lanes = [0_u8; 16];
        let kind = self.bytes.int_in_range(0..=5)?;
        let first = self.bytes.int_in_range(0..=31_u8)?;
        let width = *self.bytes.choose(&[1_u8, 2, 4, 8])?;
        let chosen = self.bytes.arbitrary::<[u8; 16]>()?;
        for (index, lane) in lanes.iter_mut().enumerate() {
            let index = index as u8;
            let (group, within) = (index / width, index % width);
            *lane = match kind {
                0 => chosen[usize::from(index)],
                // A window of both.
                1 => first + index,
                // One lane everywhere.
                2 => first / width * width + within,
                // Interleaved, low or high.
                3 => (group % 2) * 16 + (group / 2) * width + (first & 8) + within,
                // Whole lanes, in any order.
                4 => chosen[usize::from(group)] / width * width + within,
                // Every other lane.
                _ => (2 * group + (first & 1)) * width + within,
            } % 32;
        }
        Ok(lanes.map(|lane| lane.to_string()).join(" "))
    }

    fn relaxed(&mut self, depth: u32) -> Result<String> {
        let lists = if self.relaxed == Relaxed::Fused {
            FUSED
        } else {
            RELAXED
        };
        let (operands, names) = *self.bytes.choose(lists)?;
        let name = *self.bytes.choose(names)?;
        let mut text = format!("({name}");
        for _ in 0..operands {
            write!(text, " {}", self.value(Ty::V128, depth)?).expect("a string takes all");
        }
        Ok(text + ")")
    }

    fn scalar(&mut self, ty: Ty, depth: u32) -> Result<String> {
        const INTEGER: &[&str] = &[
            "add", "sub", "mul", "and", "or", "xor", "shl", "shr_s", "shr_u",
        ];
        const FLOAT: &[&str] = &["add", "sub", "mul", "div", "min", "max", "copysign"];
        let names = match ty {
            Ty::I32 | Ty::I64 => INTEGER,
            _ => FLOAT,
        };
        let name = *self.bytes.choose(names)?;
        let (left, right) = (self.value(ty, depth)?, self.value(ty, depth)?);
        Ok(format!("({}.{name} {left} {right})", ty.text()))
    }

    fn call(&mut self, ty: Ty, depth: u32) -> Result<Option<String>> {
        let matching: Vec<usize> = (0..self.functions.len())
            .filter(|&index| self.functions[index].1 == ty)
            .collect();
        if matching.is_empty() {
            return Ok(None);
        }
        let callee = *self.bytes.choose(&matching)?;
        let mut text = format!("(call $f{callee}");
        for param in self.functions[callee].0.clone() {
            write!(text, " {}", self.value(param, depth.min(1))?).expect("a string takes all");
        }
        Ok(Some(text + ")"))
    }
}

#[cfg(test)]
mod tests {
    use super::Relaxed;
    use crate::random::Random;
    use arbitrary::Unstructured;

    #[test]
    fn modules_are_valid() {
        for seed in 0..300 {
            let bytes = Random::new(seed).bytes(8000);
            for relaxed in [Relaxed::None, Relaxed::Deterministic, Relaxed::Fused] {
                let module = super::module(&mut Unstructured::new(&bytes), relaxed).unwrap();
                wasmparser::validate(&module).unwrap();
            }
        }
    }
}
