//! Statements: what is written, what is done to whole arrays and tables, what is thrown and caught.

use super::Generator;
use super::digest::STEPS;
use super::state::{BYTES, ELEMENTS, GLOBALS, ITEMS};
use super::types::{Field, Heap, Storage, Ty};
use super::values::INDEX;
use arbitrary::Result;

/// Bits of where a part of an array begins, all set.
const START: i32 = 3;
/// Garbage that a loop makes, at most.
const GARBAGE: u32 = 300;

impl Generator<'_, '_> {
    pub(super) fn statements(&mut self, count: usize, levels: u32) -> Result<String> {
        (0..count).map(|_| self.statement(levels)).collect()
    }

    fn block(&mut self, levels: u32) -> Result<String> {
        let count = self.bytes.int_in_range(1..=3)?;
        self.statements(count, levels.saturating_sub(1))
    }

    fn statement(&mut self, levels: u32) -> Result<String> {
        let nested = levels > 0 && self.expressions > 0;
        Ok(match self.bytes.int_in_range(0..=29)? {
            0..=2 => self.set_variable()?,
            3..=4 => self.set_global()?,
            5 => self.set_element_of_table()?,
            6..=8 => self.set_field()?,
            9..=10 => self.set_element()?,
            11..=14 => self.whole_array()?,
            15..=16 => self.look()?,
            17 => self.whole_table()?,
            18..=19 if self.may_call => self.call_and_look()?,
            20 if nested => {
                let condition = self.value(Ty::I32, 2)?;
                let [then, otherwise] = [self.block(levels)?, self.block(levels)?];
                format!("(if {condition} (then {then}) (else {otherwise}))\n")
            }
            21..=22 if nested => self.handler(levels)?,
            23 => {
                let tag = self.bytes.choose_index(self.tags.len())?;
                self.throw(tag, "(i32.const 0x107)")?
            }
            24 if nested && self.may_call => {
                let body = self.block(levels)?;
                self.counted_loop(&body)?
            }
            25..=27 if self.may_call => self.array_loop(levels)?,
            28 if self.may_call => self.garbage()?,
            29 if self.bytes.ratio(1, 10)? => self.rare()?,
            _ => self.look()?,
        })
    }

    fn set_variable(&mut self) -> Result<String> {
        let open: Vec<usize> = (0..self.locals.len())
            .filter(|&number| self.locals[number].is_open)
            .collect();
        if open.is_empty() {
            return self.look();
        }
        let number = *self.bytes.choose(&open)?;
        let value = self.value(self.locals[number].ty, 4)?;
        Ok(format!("(local.set $v{number} {value})\n"))
    }

    fn set_global(&mut self) -> Result<String> {
        let def = self.bytes.choose_index(self.types.len())?;
        let heap = Heap::Def(def);
        Ok(match self.bytes.int_in_range(0..=2)? {
            0 => format!("(global.set $n{def} {})\n", self.value(Ty::null(heap), 4)?),
            1 => format!("(global.set $g{def} {})\n", self.value(Ty::some(heap), 4)?),
            _ => {
                let (name, ty) = *self.bytes.choose(&GLOBALS)?;
                format!("(global.set ${name} {})\n", self.value(ty, 4)?)
            }
        })
    }

    /// The name of a table, and the type of its elements.
    fn table(&mut self) -> Result<(String, Ty)> {
        if self.bytes.ratio(1, 2)? {
            let (name, ty) = *self.bytes.choose(&GLOBALS)?;
            return Ok((format!("$t_{name}"), ty));
        }
        let defs: Vec<usize> = self.types.funcs().map(|(def, ..)| def).collect();
        let def = *self.bytes.choose(&defs)?;
        Ok((format!("$t_{def}"), Ty::null(Heap::Def(def))))
    }

    fn set_element_of_table(&mut self) -> Result<String> {
        let (table, ty) = self.table()?;
        let (index, value) = (self.table_index(2)?, self.value(ty, 4)?);
        Ok(format!("(table.set {table} {index} {value})\n"))
    }

    fn whole_table(&mut self) -> Result<String> {
        let (table, ty) = self.table()?;
        let most = if self.is_risky()? { ELEMENTS } else { 1 };
        let count = self.bytes.int_in_range(0..=most)?;
        Ok(match self.bytes.int_in_range(0..=2)? {
            0 => {
                let value = self.value(ty, 3)?;
                format!(
                    "(call $mix (i64.extend_i32_s (table.grow {table} {value} (i32.const {count}))))\n"
                )
            }
            1 => {
                let (index, value) = (self.table_index(2)?, self.value(ty, 3)?);
                format!("(table.fill {table} {index} {value} (i32.const {count}))\n")
            }
            _ => {
                // From functions of a type to such of any.
                let to = if self.types.top(heap_of(ty)) == Heap::Func {
                    "$t_func"
                } else {
                    &table
                };
                let [x, y] = [self.table_index(2)?, self.table_index(2)?];
                format!("(table.copy {to} {table} {x} {y} (i32.const {count}))\n")
            }
        })
    }

    fn set_field(&mut self) -> Result<String> {
        let mut fields = Vec::new();
        for (def, all) in self.types.structs() {
            for (number, field) in all.iter().enumerate() {
                if field.mutable {
                    fields.push((def, number, field.storage));
                }
            }
        }
        if fields.is_empty() {
            return self.look();
        }
        let (def, number, storage) = *self.bytes.choose(&fields)?;
        let object = self.object(def, 3)?;
        let value = self.value(storage.unpacked(), 3)?;
        Ok(format!("(struct.set $t{def} {number} {object} {value})\n"))
    }

    /// An array type whose elements can be written; none if all are constant.
    pub(super) fn array_type(&mut self) -> Result<Option<(usize, Field)>> {
        let arrays = self.types.arrays();
        let arrays: Vec<(usize, Field)> = arrays.filter(|(_, it)| it.mutable).collect();
        if arrays.is_empty() {
            return Ok(None);
        }
        Ok(Some(*self.bytes.choose(&arrays)?))
    }

    fn set_element(&mut self) -> Result<String> {
        let Some((def, element)) = self.array_type()? else {
            return self.look();
        };
        let value = self.value(element.storage.unpacked(), 3)?;
        if self.is_risky()? {
            let (array, index) = (self.object(def, 3)?, self.index(7, 2)?);
            return Ok(format!("(array.set $t{def} {array} {index} {value})\n"));
        }
        let (before, array, index) = self.array_and_index(def, INDEX, 3)?;
        Ok(format!(
            "{before} (if (i32.lt_u {index} (array.len {array})) (then
               (array.set $t{def} {array} {index} {value})))\n"
        ))
    }

    /// `array.fill`, `array.copy`, `array.init_data` or `array.init_elem`.
    fn whole_array(&mut self) -> Result<String> {
        let Some((def, element)) = self.array_type()? else {
            return self.look();
        };
        let is_reference = matches!(element.storage, Storage::Val(Ty::Ref { .. }));
        let count = self.bytes.int_in_range(0..=4)?;
        let (before, array, index) = self.array_and_index(def, START, 3)?;
        let fits = |array: &str, index: &str| {
            format!(
                "(i64.le_u (i64.add (i64.extend_i32_u {index}) (i64.const {count}))
                   (i64.extend_i32_u (array.len {array})))"
            )
        };
        let (mut may, mut begin) = (fits(&array, &index), before);
        let done = match self.bytes.int_in_range(0..=4)? {
            0..=1 => {
                let value = self.value(element.storage.unpacked(), 3)?;
                format!("(array.fill $t{def} {array} {index} {value} (i32.const {count}))")
            }
            2..=3 => {
                let from = self.copied_from(def, element)?;
                let same = from == def && self.bytes.ratio(1, 3)?;
                let (before, mut other, start) = self.array_and_index(from, START, 3)?;
                begin += &before;
                if same {
                    other.clone_from(&array);
                }
                may = format!("(i32.and {may} {})", fits(&other, &start));
                format!(
                    "(array.copy $t{def} $t{from} {array} {index} {other} {start} (i32.const {count}))"
                )
            }
            _ if is_reference => {
                let start = self.bytes.int_in_range(0..=ITEMS - count)?;
                format!(
                    "(array.init_elem $t{def} $items{def} {array} {index} (i32.const {start})
                       (i32.const {count}))"
                )
            }
            _ => {
                let end = BYTES.saturating_sub(count * element.storage.width());
                let start = self.bytes.int_in_range(0..=end)?;
                let count = if end == 0 { 0 } else { count };
                format!(
                    "(array.init_data $t{def} $bytes {array} {index} (i32.const {start})
                       (i32.const {count}))"
                )
            }
        };
        Ok(if self.is_risky()? {
            format!("{begin} {done}\n")
        } else {
            format!("{begin} (if {may} (then {done}))\n")
        })
    }

    /// An array type whose elements fit into another one's.
    fn copied_from(&mut self, def: usize, element: Field) -> Result<usize> {
        let arrays =
            self.types
                .arrays()
                .filter(|(_, from)| match (from.storage, element.storage) {
                    (Storage::Val(from), Storage::Val(to)) => self.types.is_subtype(from, to),
                    (from, to) => from == to,
                });
        let arrays: Vec<usize> = arrays.map(|(from, _)| from).collect();
        debug_assert!(arrays.contains(&def));
        Ok(*self.bytes.choose(&arrays)?)
    }

    /// Adds any value to the sum.
    fn look(&mut self) -> Result<String> {
        let ty = match self.bytes.int_in_range(0..=3)? {
            0 => Ty::I32,
            1 => Ty::I64,
            2 => *self.bytes.choose(&[Ty::F32, Ty::F64, Ty::V128])?,
            _ => Ty::null(self.heap()?),
        };
        let value = self.value(ty, 4)?;
        Ok(self.see(ty, &value, STEPS))
    }

    /// A call of which all results are looked at.
    fn call_and_look(&mut self) -> Result<String> {
        let all: Vec<(usize, Vec<Ty>)> = self
            .types
            .funcs()
            .map(|(def, _, results)| (def, results.to_vec()))
            .collect();
        let (def, results) = self.bytes.choose(&all)?.clone();
        let call = self.call("", def, 3)?;
        Ok(self.keep_and_look(&call, &results))
    }

    /// Puts the results of an instruction into variables, and looks at them.
    fn keep_and_look(&mut self, instruction: &str, results: &[Ty]) -> String {
        let locals: Vec<String> = results.iter().map(|&ty| self.scratch(ty)).collect();
        let mut text = instruction.to_owned();
        for local in locals.iter().rev() {
            text += &format!(" (local.set {local})");
        }
        text.push('\n');
        for (local, ty) in locals.iter().zip(results) {
            text += &self.see(ty.or_null(), &format!("(local.get {local})"), STEPS);
        }
        text
    }

    /// Catches what statements throw, and looks at it; now and then throws it again.
    fn handler(&mut self, levels: u32) -> Result<String> {
        let (handler, end) = (self.label(), self.label());
        let (mut body, tag) = (
            self.block(levels)?,
            self.bytes.choose_index(self.tags.len())?,
        );
        if self.bytes.ratio(1, 2)? {
            body += &self.throw(tag, "(i32.const 1)")?;
        }
        let (clause, mut results) = match self.bytes.int_in_range(0..=6)? {
            0 => ("catch_all".to_owned(), Vec::new()),
            1..=2 => ("catch_all_ref".to_owned(), Vec::new()),
            3..=4 => (format!("catch $e{tag}"), self.tags[tag].clone()),
            _ => (format!("catch_ref $e{tag}"), self.tags[tag].clone()),
        };
        let has_reference = clause.contains("ref");
        if has_reference {
            results.push(Ty::null(Heap::Exn));
        }
        let types = super::types::list("result", &results);
        let text = format!(
            "(block $l{end} (block $l{handler} {types} (try_table ({clause} $l{handler}) {body})
               (br $l{end}))"
        );
        let mut text = self.keep_and_look(&text, &results);
        if has_reference && self.bytes.ratio(1, 2)? {
            let exception = format!("(local.get $v{})", self.locals.len() - 1);
            let condition = self.value(Ty::I32, 1)?;
            text +=
                &format!("(if (i32.and (i32.const 1) {condition}) (then (throw_ref {exception})))");
        }
        Ok(text + ")\n")
    }

    /// Throws if some bits of a number are as they are in a mask.
    fn throw(&mut self, tag: usize, mask: &str) -> Result<String> {
        let mut payload = String::new();
        for ty in self.tags[tag].clone() {
            payload += &self.value(ty, 2)?;
        }
        let condition = self.value(Ty::I32, 2)?;
        Ok(format!(
            "(if (i32.eq {mask} (i32.and {mask} {condition})) (then (throw $e{tag} {payload})))\n"
        ))
    }

    /// Makes objects of which none is kept but the last.
    fn garbage(&mut self) -> Result<String> {
        let count = self.bytes.int_in_range(1..=GARBAGE)?;
        let heap = *self.bytes.choose(&[Heap::Struct, Heap::Array, Heap::Eq])?;
        let ty = self
            .types
            .narrower(self.bytes, Ty::some(heap), self.types.len())?;
        let value = self.value(ty, 2)?;
        let (kept, left, label) = (self.scratch(ty), self.scratch(Ty::I32), self.label());
        let see = self.see(ty.or_null(), &format!("(local.get {kept})"), STEPS);
        Ok(format!(
            "(local.set {left} (i32.const {count}))
             (loop $l{label}
               (local.set {kept} {value})
               (global.set $fuel (i32.sub (global.get $fuel) (i32.const 1)))
               (local.set {left} (i32.sub (local.get {left}) (i32.const 1)))
               (br_if $l{label} (i32.and
                 (i32.gt_s (local.get {left}) (i32.const 0))
                 (i32.gt_s (global.get $fuel) (i32.const 0)))))
             {see}"
        ))
    }

    /// What makes much else trap.
    fn rare(&mut self) -> Result<String> {
        let arrays = self.types.arrays();
        let of_references =
            arrays.filter(|(_, it)| matches!(it.storage, Storage::Val(Ty::Ref { .. })));
        let defs: Vec<usize> = of_references.map(|(def, _)| def).collect();
        if !self.is_risky()? {
            let arguments = [
                self.value(Ty::I32, 2)?,
                self.value(Ty::I64, 2)?,
                self.value(Ty::F32, 2)?,
                self.value(Ty::F64, 2)?,
            ];
            return Ok(format!(
                "(call $mix (call $numbers {}))\n",
                arguments.join(" ")
            ));
        }
        Ok(match self.bytes.int_in_range(0..=2)? {
            0 => "(data.drop $bytes)\n".into(),
            1 if !defs.is_empty() => format!("(elem.drop $items{})\n", self.bytes.choose(&defs)?),
            _ => format!("(throw_ref {})\n", self.value(Ty::null(Heap::Exn), 2)?),
        })
    }
}

fn heap_of(ty: Ty) -> Heap {
    match ty {
        Ty::Ref { heap, .. } => heap,
        _ => unreachable!("tables hold references"),
    }
}
