//! Loops: over a few rounds of anything, and over arrays, in the ways that people and compilers write them; now and
//! then a little wrong, so that they leave the array.

use super::Generator;
use super::digest::STEPS;
use super::types::{Field, Heap, Ty};
use arbitrary::Result;

/// Rounds of a loop over anything.
const ROUNDS: u32 = 12;

/// An array, as the body of a loop sees it.
struct Walk {
    def: usize,
    element: Field,
    /// The name of the variable that it is in, and the expression that reads it.
    variable: String,
    array: String,
    index: String,
    /// Whether the index may be outside, and the variable may get another array.
    is_loose: bool,
}

impl Generator<'_, '_> {
    pub(super) fn counted_loop(&mut self, body: &str) -> Result<String> {
        let (count, label) = (self.bytes.int_in_range(1..=ROUNDS)?, self.label());
        let index = self.scratch(Ty::I32);
        Ok(format!(
            "(local.set {index} (i32.const 0))
             (loop $l{label}
               (global.set $fuel (i32.sub (global.get $fuel) (i32.const 1)))
               {body}
               (local.set {index} (i32.add (local.get {index}) (i32.const 1)))
               (br_if $l{label} (i32.and
                 (i32.lt_u (local.get {index}) (i32.const {count}))
                 (i32.gt_s (global.get $fuel) (i32.const 0)))))\n"
        ))
    }

    /// A loop whose index goes through an array.
    pub(super) fn array_loop(&mut self, levels: u32) -> Result<String> {
        let Some((def, element)) = self.array_type()? else {
            return Ok(String::new());
        };
        let value = self.object(def, 3)?;
        // Of a parameter or variable that is never null, more is known.
        let array = self.scratch(Ty::null(Heap::Def(def)));
        let [index, limit] = [self.scratch(Ty::I32), self.scratch(Ty::I32)];
        let is_loose = self.risk > 0 && self.bytes.ratio(1, 4)?;
        let walk = Walk {
            def,
            element,
            variable: array.clone(),
            array: format!("(local.get {array})"),
            index: format!("(local.get {index})"),
            is_loose,
        };
        let length = format!("(array.len {})", walk.array);
        let end = match self.bytes.int_in_range(0..=4)? {
            0 => format!("(local.get {limit})"),
            1 if is_loose => self.index(15, 2)?,
            _ => length.clone(),
        };
        let body = self.walk_body(&walk, levels)?;
        let begin = format!("(local.set {array} {value}) (local.set {limit} {length})\n");
        let walked = if self.bytes.ratio(1, 4)? {
            self.downwards(&walk, &index, &length, &body)?
        } else {
            self.upwards(&walk, &index, &end, &body)?
        };
        Ok(begin + &walked)
    }

    fn upwards(&mut self, walk: &Walk, index: &str, end: &str, body: &str) -> Result<String> {
        let (label, out) = (self.label(), self.label());
        let first = match walk.is_loose {
            true => *self.bytes.choose(&[0, 1, -1, 2])?,
            false => self.bytes.int_in_range(0..=2)?,
        };
        let step = *self.bytes.choose(&[1, 1, 1, 2])?;
        let compare = match walk.is_loose {
            true => *self.bytes.choose(&["lt_s", "lt_u", "ne", "le_s", "le_u"])?,
            false => *self.bytes.choose(&["lt_s", "lt_u"])?,
        };
        let goes_on = format!("(i32.{compare} (local.get {index}) {end})");
        let fuel = self.leave_without_fuel(out);
        let next = format!("(local.set {index} (i32.add (local.get {index}) (i32.const {step})))");
        let begin = format!("(local.set {index} (i32.const {first}))");
        Ok(match self.bytes.int_in_range(0..=2)? {
            0 => format!(
                "{begin} (block $l{out} (loop $l{label}
                   (br_if $l{out} (i32.eqz {goes_on}))
                   {fuel} {body} {next} (br $l{label})))\n"
            ),
            1 => format!(
                "{begin} (if {goes_on} (then (block $l{out} (loop $l{label}
                   {fuel} {body} {next} (br_if $l{label} {goes_on})))))\n"
            ),
            _ => format!(
                "{begin} (block $l{out} (loop $l{label} (if {goes_on} (then
                   {fuel} {body} {next} (br $l{label})))))\n"
            ),
        })
    }

    fn downwards(&mut self, walk: &Walk, index: &str, length: &str, body: &str) -> Result<String> {
        let (label, out) = (self.label(), self.label());
        let fuel = self.leave_without_fuel(out);
        let before = format!("(local.set {index} (i32.sub (local.get {index}) (i32.const 1)))");
        let goes_on = match walk.is_loose && self.bytes.ratio(1, 3)? {
            true => format!("(i32.ge_s (local.get {index}) (i32.const -1))"),
            false => format!("(i32.ge_s (local.get {index}) (i32.const 0))"),
        };
        Ok(match self.bytes.ratio(1, 2)? {
            true => format!(
                "(local.set {index} (i32.sub {length} (i32.const 1)))
                 (block $l{out} (loop $l{label} (br_if $l{out} (i32.eqz {goes_on}))
                   {fuel} {body} {before} (br $l{label})))\n"
            ),
            false => format!(
                "(local.set {index} {length})
                 (block $l{out} (loop $l{label} (br_if $l{out} (i32.eqz (local.get {index})))
                   {fuel} {before} {body} (br $l{label})))\n"
            ),
        })
    }

    fn leave_without_fuel(&self, out: usize) -> String {
        format!(
            "(br_if $l{out} (i32.le_s (global.get $fuel) (i32.const 0)))
             (global.set $fuel (i32.sub (global.get $fuel) (i32.const 1)))"
        )
    }

    fn walk_body(&mut self, walk: &Walk, levels: u32) -> Result<String> {
        let mut text = String::new();
        for _ in 0..self.bytes.int_in_range(1..=3)? {
            text += &match self.bytes.int_in_range(0..=9)? {
                0..=3 => self.walk_read(walk, &walk.index)?,
                4..=6 => self.walk_write(walk, &walk.index)?,
                7 => {
                    // Its neighbour, if it has one.
                    let by = *self.bytes.choose(&[1, -1, 2])?;
                    let index = format!("(i32.add {} (i32.const {by}))", walk.index);
                    let [read, other] = [
                        self.walk_read(walk, &index)?,
                        self.walk_write(walk, &index)?,
                    ];
                    let access = if self.bytes.ratio(1, 2)? { read } else { other };
                    match walk.is_loose {
                        true => access,
                        false => format!(
                            "(if (i32.lt_u {index} (array.len {})) (then {access}))\n",
                            walk.array
                        ),
                    }
                }
                8 if levels > 0 => self.statements(1, levels - 1)?,
                _ => {
                    // Another array of the same type, or the same one again, over which the first may move.
                    let value = self.new_array(walk.def, walk.element, 1)?;
                    let array = match walk.is_loose && self.bytes.ratio(1, 2)? {
                        true => walk.variable.clone(),
                        false => self.scratch(Ty::null(Heap::Def(walk.def))),
                    };
                    let other = Walk {
                        variable: array.clone(),
                        array: format!("(local.get {array})"),
                        index: walk.index.clone(),
                        ..*walk
                    };
                    let [read, write] = [
                        self.walk_read(&other, &walk.index)?,
                        self.walk_write(&other, &walk.index)?,
                    ];
                    format!(
                        "(local.set {array} {value})
                         (if (i32.lt_u {} (array.len {})) (then {write} {read}))\n",
                        walk.index, other.array
                    )
                }
            };
        }
        Ok(text)
    }

    fn walk_read(&mut self, walk: &Walk, index: &str) -> Result<String> {
        let sign = self.sign(walk.element.storage)?;
        let read = format!("(array.get{sign} $t{} {} {index})", walk.def, walk.array);
        Ok(self.see(walk.element.storage.unpacked(), &read, STEPS))
    }

    fn walk_write(&mut self, walk: &Walk, index: &str) -> Result<String> {
        let value = self.value(walk.element.storage.unpacked(), 2)?;
        Ok(format!(
            "(array.set $t{} {} {index} {value})\n",
            walk.def, walk.array
        ))
    }
}
