//! Expressions of any type: variables, branches, parts of objects, calls; and numbers.

use super::Generator;
use super::state::ELEMENTS;
use super::types::{Heap, Kind, Storage, Ty};
use arbitrary::Result;

/// Bits of an index that is not checked, all set: of the length of a typical array, or beyond.
pub(super) const INDEX: i32 = 7;

impl Generator<'_, '_> {
    /// An expression of this type, or of a subtype, of so many levels.
    pub(super) fn value(&mut self, ty: Ty, levels: u32) -> Result<String> {
        if levels == 0 || self.expressions == 0 || self.bytes.ratio(1, 5)? {
            return self.simple(ty);
        }
        self.expressions -= 1;
        let levels = levels - 1;
        let found = match self.bytes.int_in_range(0..=19)? {
            0 => Some(self.choice(ty, levels)?),
            1 => Some(self.branch(ty, levels)?),
            2..=4 => self.field(ty, levels)?,
            5..=7 => self.element(ty, levels)?,
            8..=11 => self.called(ty, levels)?,
            12 => Some(self.caught(ty, levels)?),
            13 => self.table_element(ty, levels)?,
            _ => None,
        };
        match (found, ty) {
            (Some(text), _) => Ok(text),
            (None, Ty::Ref { nullable, heap }) => self.reference(nullable, heap, levels),
            (None, _) => self.number(ty, levels),
        }
    }

    /// A variable, a global, or a constant.
    pub(super) fn simple(&mut self, ty: Ty) -> Result<String> {
        let types = &self.types;
        let locals: Vec<usize> = (0..self.locals.len())
            .filter(|&number| types.is_subtype(self.locals[number].ty, ty))
            .collect();
        if !locals.is_empty() && self.bytes.ratio(3, 5)? {
            return Ok(format!("(local.get $v{})", self.bytes.choose(&locals)?));
        }
        match ty {
            Ty::Ref { nullable, heap } => self.simple_reference(nullable, heap),
            _ => self.constant(ty, self.types.len()),
        }
    }

    fn choice(&mut self, ty: Ty, levels: u32) -> Result<String> {
        let condition = self.value(Ty::I32, levels)?;
        let [x, y] = [self.value(ty, levels)?, self.value(ty, levels)?];
        let ty = ty.text();
        Ok(if self.bytes.ratio(1, 2)? {
            format!("(select (result {ty}) {x} {y} {condition})")
        } else {
            format!("(if (result {ty}) {condition} (then {x}) (else {y}))")
        })
    }

    /// A block that is left early or not.
    fn branch(&mut self, ty: Ty, levels: u32) -> Result<String> {
        let label = self.label();
        let condition = self.value(Ty::I32, levels)?;
        let [x, y] = [self.value(ty, levels)?, self.value(ty, levels)?];
        Ok(format!(
            "(block $l{label} (result {}) (drop (br_if $l{label} {x} {condition})) {y})",
            ty.text()
        ))
    }

    /// A field whose values are of this type; none if there is no such field.
    fn field(&mut self, ty: Ty, levels: u32) -> Result<Option<String>> {
        let mut matching = Vec::new();
        for (def, fields) in self.types.structs() {
            for (number, field) in fields.iter().enumerate() {
                if self.types.is_subtype(field.storage.unpacked(), ty) {
                    matching.push((def, number, field.storage));
                }
            }
        }
        if matching.is_empty() {
            return Ok(None);
        }
        let (def, number, storage) = *self.bytes.choose(&matching)?;
        let object = self.object(def, levels)?;
        let sign = self.sign(storage)?;
        Ok(Some(format!(
            "(struct.get{sign} $t{def} {number} {object})"
        )))
    }

    /// How to extend what is packed.
    pub(super) fn sign(&mut self, storage: Storage) -> Result<&'static str> {
        Ok(match storage.is_packed() {
            true => *self.bytes.choose(&["_s", "_u"])?,
            false => "",
        })
    }

    /// An element of an array that holds such values; none if there is no such array type.
    fn element(&mut self, ty: Ty, levels: u32) -> Result<Option<String>> {
        let matching: Vec<(usize, Storage)> = self
            .types
            .arrays()
            .map(|(def, element)| (def, element.storage))
            .filter(|(_, storage)| self.types.is_subtype(storage.unpacked(), ty))
            .collect();
        if matching.is_empty() {
            return Ok(None);
        }
        let (def, storage) = *self.bytes.choose(&matching)?;
        let sign = self.sign(storage)?;
        if self.is_risky()? {
            let (array, index) = (self.object(def, levels)?, self.index(INDEX, levels)?);
            return Ok(Some(format!("(array.get{sign} $t{def} {array} {index})")));
        }
        let otherwise = self.simple(ty)?;
        let (before, array, index) = self.array_and_index(def, INDEX, levels)?;
        Ok(Some(format!(
            "(block (result {}) {before}
               (if (result {}) (i32.lt_u {index} (array.len {array}))
                 (then (array.get{sign} $t{def} {array} {index})) (else {otherwise})))",
            ty.text(),
            ty.text()
        )))
    }

    /// An array and an index of some bits in variables: what sets these, and both.
    pub(super) fn array_and_index(
        &mut self,
        def: usize,
        bits: i32,
        levels: u32,
    ) -> Result<(String, String, String)> {
        let (array, index) = (self.object(def, levels)?, self.index(bits, levels)?);
        let to_array = self.scratch(Ty::null(Heap::Def(def)));
        let to_index = self.scratch(Ty::I32);
        Ok((
            format!("(local.set {to_array} {array}) (local.set {to_index} {index})"),
            format!("(local.get {to_array})"),
            format!("(local.get {to_index})"),
        ))
    }

    /// A number of these bits, mostly.
    pub(super) fn index(&mut self, bits: i32, levels: u32) -> Result<String> {
        Ok(match self.bytes.int_in_range(0..=9)? {
            0..=4 => format!("(i32.const {})", self.bytes.int_in_range(0..=bits)?),
            _ => format!(
                "(i32.and {} (i32.const {bits}))",
                self.value(Ty::I32, levels)?
            ),
        })
    }

    /// An element of a table; none if there is no such table.
    fn table_element(&mut self, ty: Ty, levels: u32) -> Result<Option<String>> {
        let named = super::state::GLOBALS.map(|(name, ty)| (name.to_owned(), ty));
        let of_functions = self.types.funcs();
        let of_functions =
            of_functions.map(|(def, ..)| (def.to_string(), Ty::null(Heap::Def(def))));
        let tables: Vec<String> = named
            .into_iter()
            .chain(of_functions)
            .filter(|&(_, element)| self.types.is_subtype(element, ty))
            .map(|(name, _)| name)
            .collect();
        if tables.is_empty() {
            return Ok(None);
        }
        let table = self.bytes.choose(&tables)?.clone();
        let index = self.table_index(levels)?;
        Ok(Some(format!("(table.get $t_{table} {index})")))
    }

    /// An index into a table, within it unless that is left to chance.
    pub(super) fn table_index(&mut self, levels: u32) -> Result<String> {
        let beyond = if self.is_risky()? { 3 } else { 1 };
        self.index(ELEMENTS as i32 * beyond - 1, levels)
    }

    /// What a call gives; none if nothing can be called that gives it.
    fn called(&mut self, ty: Ty, levels: u32) -> Result<Option<String>> {
        if !self.may_call {
            return Ok(None);
        }
        let callees: Vec<usize> = self
            .types
            .funcs()
            .filter(|(_, _, results)| matches!(results, [it] if self.types.is_subtype(*it, ty)))
            .map(|(def, ..)| def)
            .collect();
        if callees.is_empty() {
            return Ok(None);
        }
        let callee = *self.bytes.choose(&callees)?;
        Ok(Some(self.call("", callee, levels)?))
    }

    /// A call of something of a function type. Begins with `prefix`.
    pub(super) fn call(&mut self, prefix: &str, def: usize, levels: u32) -> Result<String> {
        let Kind::Func(params, _) = self.types.kind(def).clone() else {
            unreachable!("it is a function type");
        };
        let mut arguments = String::new();
        for param in params {
            arguments += &self.value(param, levels)?;
            arguments.push(' ');
        }
        Ok(match self.bytes.int_in_range(0..=9)? {
            0..=2 => {
                let function = self.function_of(Heap::Def(def))?;
                format!("({prefix}call $f{function} {arguments})")
            }
            3 if self.is_risky()? => {
                let index = self.index(31, levels)?;
                format!("({prefix}call_indirect $all (type $t{def}) {arguments} {index})")
            }
            3..=4 => {
                let index = self.function_of(Heap::Def(def))?;
                format!(
                    "({prefix}call_indirect $all (type $t{def}) {arguments} (i32.const {index}))"
                )
            }
            5 => {
                let index = self.table_index(levels)?;
                if !self.is_risky()? {
                    // Where there is none, somebody is called for certain.
                    let some = self.scratch(Ty::null(Heap::Def(def)));
                    return Ok(format!(
                        "({prefix}call_ref $t{def} {arguments}
                           (block (result (ref null $t{def}))
                             (local.set {some} (table.get $t_{def} {index}))
                             (if (ref.is_null (local.get {some}))
                               (then (local.set {some} (global.get $g{def}))))
                             (local.get {some})))"
                    ));
                }
                format!("({prefix}call_indirect $t_{def} (type $t{def}) {arguments} {index})")
            }
            6..=8 => {
                let Some(method) = self.field(Ty::some(Heap::Def(def)), levels)? else {
                    let callee = self.object(def, levels)?;
                    return Ok(format!("({prefix}call_ref $t{def} {arguments} {callee})"));
                };
                format!("({prefix}call_ref $t{def} {arguments} {method})")
            }
            _ => {
                let callee = self.object(def, levels)?;
                format!("({prefix}call_ref $t{def} {arguments} {callee})")
            }
        })
    }

    /// A handler around an expression: what it catches is of the same type.
    fn caught(&mut self, ty: Ty, levels: u32) -> Result<String> {
        let tags: Vec<usize> = (0..self.tags.len())
            .filter(|&tag| matches!(self.tags[tag][..], [it] if self.types.is_subtype(it, ty)))
            .collect();
        let (inner, ty_text) = (self.value(ty, levels)?, ty.text());
        let label = self.label();
        if tags.is_empty() {
            let otherwise = self.simple(ty)?;
            let out = self.label();
            return Ok(format!(
                "(block $l{out} (result {ty_text}) (block $l{label}
                   (br $l{out} (try_table (result {ty_text}) (catch_all $l{label}) {inner})))
                 {otherwise})"
            ));
        }
        let tag = *self.bytes.choose(&tags)?;
        let thrown = self.value(self.tags[tag][0], levels)?;
        let condition = self.value(Ty::I32, levels)?;
        Ok(format!(
            "(block $l{label} (result {ty_text}) (try_table (result {ty_text}) (catch $e{tag} $l{label})
               (if {condition} (then (throw $e{tag} {thrown}))) {inner}))"
        ))
    }

    fn number(&mut self, ty: Ty, levels: u32) -> Result<String> {
        let [x, y] = match ty {
            Ty::I32 if self.bytes.ratio(3, 5)? => return self.question(levels),
            _ => [self.value(ty, levels)?, self.value(ty, levels)?],
        };
        Ok(match ty {
            Ty::I32 => {
                let operators = [
                    "add", "sub", "mul", "xor", "and", "lt_s", "lt_u", "eq", "shl", "shr_u",
                ];
                format!("(i32.{} {x} {y})", self.bytes.choose(&operators)?)
            }
            Ty::I64 if self.bytes.ratio(1, 3)? => {
                format!("(i64.extend_i32_s {})", self.value(Ty::I32, levels)?)
            }
            Ty::I64 => {
                let operator = self.bytes.choose(&["add", "sub", "mul", "xor", "rotl"])?;
                format!("(i64.{operator} {x} {y})")
            }
            // Of integers: no NaN comes of them.
            Ty::F32 => format!("(f32.convert_i32_s {})", self.value(Ty::I32, levels)?),
            Ty::F64 => format!("(f64.convert_i64_u {})", self.value(Ty::I64, levels)?),
            Ty::V128 => format!("(i64x2.add {x} {y})"),
            Ty::Ref { .. } => unreachable!("a reference is no number"),
        })
    }

    /// A number that says something of a reference.
    fn question(&mut self, levels: u32) -> Result<String> {
        let end = self.types.len();
        Ok(match self.bytes.int_in_range(0..=9)? {
            0..=2 => {
                let (from, to) = self.cast_types()?;
                format!("(ref.test {} {})", to.text(), self.value(from, levels)?)
            }
            3..=4 => {
                let eq = Ty::null(Heap::Eq);
                let [x, y] = [self.narrowed(eq)?, self.narrowed(eq)?];
                format!(
                    "(ref.eq {} {})",
                    self.value(x, levels)?,
                    self.value(y, levels)?
                )
            }
            5 => {
                let heap = self.heap()?;
                format!("(ref.is_null {})", self.value(Ty::null(heap), levels)?)
            }
            6..=7 => {
                let nullable = self.is_risky()?;
                let array = Ty::Ref {
                    nullable,
                    heap: Heap::Array,
                };
                let array = self.types.narrower(self.bytes, array, end)?;
                format!("(array.len {})", self.value(array, levels)?)
            }
            _ => {
                let nullable = self.is_risky()?;
                let i31 = Ty::Ref {
                    nullable,
                    heap: Heap::I31,
                };
                let sign = self.bytes.choose(&["s", "u"])?;
                format!("(i31.get_{sign} {})", self.value(i31, levels)?)
            }
        })
    }
}
