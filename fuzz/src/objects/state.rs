//! What a program begins with: globals, tables, and segments; and the values that are always at hand.
//!
//! Of the type with number `n` there are three globals: `$cn` never changes, `$gn` is never null, `$nn` may be.

use super::Generator;
use super::types::{ARRAY, Field, Heap, Kind, STRUCT, Storage, Ty};
use arbitrary::Result;
use std::fmt::Write as _;

/// Elements of each table; a power of two.
pub(super) const ELEMENTS: u32 = 8;
/// Bytes of the data segment.
pub(super) const BYTES: u32 = 64;
/// Elements of each segment of references.
pub(super) const ITEMS: u32 = 6;

/// The globals and tables of abstract types: name, type.
pub(super) const GLOBALS: [(&str, Ty); 5] = [
    ("any", Ty::null(Heap::Any)),
    ("eq", Ty::null(Heap::Eq)),
    ("func", Ty::null(Heap::Func)),
    ("extern", Ty::null(Heap::Extern)),
    ("exn", Ty::null(Heap::Exn)),
];

impl Generator<'_, '_> {
    pub(super) fn state(&mut self, text: &mut String) -> Result<()> {
        self.segments_of_functions(text);
        let end = self.types.len();
        for def in 0..self.types.len() {
            let constant = self.new_constant(def)?;
            let other = self.new_constant(def)?;
            let _ = writeln!(
                text,
                "(global $c{def} (ref $t{def}) {constant})
                 (global $g{def} (export \"g{def}\") (mut (ref $t{def})) {other})
                 (global $n{def} (export \"n{def}\") (mut (ref null $t{def})) (ref.null $t{def}))"
            );
        }
        for (name, ty) in GLOBALS {
            let value = self.constant(ty, end)?;
            let element = self.constant(ty, end)?;
            let ty = ty.text();
            let _ = writeln!(
                text,
                "(global ${name} (export \"{name}\") (mut {ty}) {value})
                 (table $t_{name} (export \"t_{name}\") {ELEMENTS} 20 {ty} {element})"
            );
        }
        self.tables_of_functions(text)?;
        self.segments(text)
    }

    /// Lets every function be referred to, without a word on which type has which.
    fn segments_of_functions(&self, text: &mut String) {
        let names: String = (0..self.functions.len())
            .map(|n| format!(" $f{n}"))
            .collect();
        let _ = writeln!(text, "(elem declare func{names})");
    }

    /// A table with all functions, of any type; and one for each type of functions.
    fn tables_of_functions(&mut self, text: &mut String) -> Result<()> {
        let names: String = (0..self.functions.len())
            .map(|n| format!(" $f{n}"))
            .collect();
        let _ = writeln!(
            text,
            "(table $all 32 funcref) (elem (table $all) (i32.const 0) func{names})"
        );
        let end = self.types.len();
        let defs: Vec<usize> = self.types.funcs().map(|(def, ..)| def).collect();
        for def in defs {
            let ty = Ty::null(Heap::Def(def));
            let items = [
                self.constant(ty, end)?,
                self.constant(ty, end)?,
                self.constant(ty, end)?,
            ];
            let ty = ty.text();
            let _ = writeln!(
                text,
                "(table $t_{def} {ELEMENTS} {ty} {})
                 (elem (table $t_{def}) (i32.const 2) {ty} (item {}) (item {}))",
                items[0], items[1], items[2]
            );
        }
        Ok(())
    }

    /// Some bytes, and references for each array type that holds such.
    fn segments(&mut self, text: &mut String) -> Result<()> {
        let bytes: Result<String> = (0..BYTES)
            .map(|_| Ok(format!("\\{:02x}", self.bytes.arbitrary::<u8>()?)))
            .collect();
        let _ = writeln!(text, "(data $bytes \"{}\")", bytes?);
        let end = self.types.len();
        let arrays: Vec<(usize, Field)> = self.types.arrays().collect();
        for (def, element) in arrays {
            if let Storage::Val(ty @ Ty::Ref { .. }) = element.storage {
                let _ = write!(text, "(elem $items{def} {}", ty.text());
                for _ in 0..ITEMS {
                    let _ = write!(text, " (item {})", self.constant(ty, end)?);
                }
                text.push_str(")\n");
            }
        }
        Ok(())
    }

    /// A constant expression that makes something of a type with a number.
    fn new_constant(&mut self, def: usize) -> Result<String> {
        Ok(match self.types.kind(def).clone() {
            Kind::Struct(fields) => {
                if fields.iter().all(|field| field.is_defaultable()) && self.bytes.ratio(1, 8)? {
                    return Ok(format!("(struct.new_default $t{def})"));
                }
                let mut values = String::new();
                for field in fields {
                    values += &self.constant(field.storage.unpacked(), def)?;
                }
                format!("(struct.new $t{def} {values})")
            }
            Kind::Array(element) => {
                let count = self.bytes.int_in_range(0..=6)?;
                let ty = element.storage.unpacked();
                if self.bytes.ratio(1, 2)? {
                    let value = self.constant(ty, def)?;
                    return Ok(format!("(array.new $t{def} {value} (i32.const {count}))"));
                }
                let values = (0..count).map(|_| self.constant(ty, def));
                let values = values.collect::<Result<String>>()?;
                format!("(array.new_fixed $t{def} {count} {values})")
            }
            Kind::Func(..) => format!("(ref.func $f{})", self.function_of(Heap::Def(def))?),
        })
    }

    /// A constant expression that refers to what there is of the types before number `before`.
    pub(super) fn constant(&mut self, ty: Ty, before: usize) -> Result<String> {
        let (nullable, heap) = match ty {
            Ty::I32 => {
                let value = *self
                    .bytes
                    .choose(&[0, 1, -1, 3, 5, 0x7fff_8001, i32::MIN])?;
                return Ok(format!("(i32.const {value})"));
            }
            Ty::I64 => return Ok(format!("(i64.const {})", self.bytes.arbitrary::<i64>()?)),
            Ty::F32 => return Ok(format!("(f32.const {})", self.bytes.arbitrary::<i16>()?)),
            Ty::F64 => return Ok(format!("(f64.const {})", self.bytes.arbitrary::<i32>()?)),
            Ty::V128 => {
                let [low, high] = self.bytes.arbitrary::<[i64; 2]>()?;
                return Ok(format!("(v128.const i64x2 {low} {high})"));
            }
            Ty::Ref { nullable, heap } => (nullable, heap),
        };
        let is_function = |def: usize| matches!(self.types.kind(def), Kind::Func(..));
        let is_made = match heap {
            Heap::None | Heap::NoFunc | Heap::NoExtern | Heap::Exn => false,
            Heap::Struct => before > STRUCT,
            Heap::Array => before > ARRAY,
            Heap::Def(def) => before > def || is_function(def),
            _ => true,
        };
        Ok(match heap {
            _ if !is_made || nullable && self.bytes.ratio(1, 4)? => {
                format!("(ref.null {})", heap.text())
            }
            Heap::Func => format!("(ref.func $f{})", self.function_of(heap)?),
            Heap::Def(def) if is_function(def) => {
                format!("(ref.func $f{})", self.function_of(heap)?)
            }
            Heap::Extern => "(extern.convert_any (ref.i31 (i32.const 9)))".into(),
            Heap::Struct => format!("(global.get $c{STRUCT})"),
            Heap::Array => format!("(global.get $c{ARRAY})"),
            Heap::Def(def) => format!("(global.get $c{def})"),
            _ => format!("(ref.i31 (i32.const {}))", self.bytes.arbitrary::<i32>()?),
        })
    }

    /// A function whose type is this one, or a subtype.
    pub(super) fn function_of(&mut self, heap: Heap) -> Result<usize> {
        let types = &self.types;
        let matching: Vec<usize> = (0..self.functions.len())
            .filter(|&it| types.is_heap_subtype(Heap::Def(self.functions[it]), heap))
            .collect();
        Ok(*self.bytes.choose(&matching)?)
    }

    /// A value without operands and without choice, that can be had anywhere.
    pub(super) fn global(&self, ty: Ty) -> String {
        match ty {
            Ty::I32 => "(i32.const 7)".into(),
            Ty::I64 => "(i64.const 7)".into(),
            Ty::F32 => "(f32.const 7)".into(),
            Ty::F64 => "(f64.const 7)".into(),
            Ty::V128 => "(v128.const i64x2 7 7)".into(),
            Ty::Ref { nullable, heap } => match heap {
                Heap::Def(def) => format!("(global.get $g{def})"),
                Heap::Struct => format!("(global.get $g{STRUCT})"),
                Heap::Array => format!("(global.get $g{ARRAY})"),
                Heap::Any | Heap::Eq | Heap::I31 if !nullable => "(ref.i31 (i32.const 7))".into(),
                Heap::Func if !nullable => "(ref.func $f0)".into(),
                Heap::Extern if !nullable => "(extern.convert_any (ref.i31 (i32.const 7)))".into(),
                heap => format!("(ref.null {})", heap.text()),
            },
        }
    }
}
