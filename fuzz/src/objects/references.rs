//! Expressions of reference types: what is new, what is cast, and what a branch says that it is.

use super::Generator;
use super::state::{BYTES, ITEMS};
use super::types::{ABSTRACT, ARRAY, Field, Heap, Kind, STRUCT, Storage, Ty};
use arbitrary::Result;

/// Bits of the length of a new array, all set; and of a long one.
const LENGTH: i32 = 7;
const LONG: i32 = 0xfff;

impl Generator<'_, '_> {
    /// A type that references are of.
    pub(super) fn heap(&mut self) -> Result<Heap> {
        Ok(match self.bytes.ratio(1, 3)? {
            true => *self.bytes.choose(&ABSTRACT)?,
            false => Heap::Def(self.bytes.choose_index(self.types.len())?),
        })
    }

    /// The type or a subtype.
    pub(super) fn narrowed(&mut self, ty: Ty) -> Result<Ty> {
        if self.bytes.ratio(1, 3)? {
            return Ok(ty);
        }
        self.types.narrower(self.bytes, ty, self.types.len())
    }

    /// A type, and one to which its values may be cast.
    pub(super) fn cast_types(&mut self) -> Result<(Ty, Ty)> {
        let to = loop {
            // `exnref` is not cast.
            let heap = self.heap()?;
            if heap != Heap::Exn {
                break heap;
            }
            if self.bytes.is_empty() {
                break Heap::I31;
            }
        };
        let nullable = self.bytes.ratio(1, 4)?;
        let from = self.types.wider(self.bytes, to, self.types.len())?;
        Ok((Ty::null(from), Ty::Ref { nullable, heap: to }))
    }

    /// A global, or what is new and has no operands.
    pub(super) fn simple_reference(&mut self, nullable: bool, heap: Heap) -> Result<String> {
        Ok(match heap {
            Heap::Def(def) if nullable && self.bytes.ratio(1, 3)? => {
                format!("(global.get $n{def})")
            }
            Heap::Def(def) if self.bytes.ratio(1, 3)? => format!("(global.get $g{def})"),
            Heap::Any | Heap::Eq | Heap::Extern | Heap::Func | Heap::Exn
                if nullable && self.bytes.ratio(1, 2)? =>
            {
                format!("(global.get ${})", heap.text())
            }
            heap => self.constant(Ty::Ref { nullable, heap }, self.types.len())?,
        })
    }

    /// An object or function of a type with a number, to be used where null traps: it is null where that is left
    /// to chance, and else it is not, but may look as if it could be.
    pub(super) fn object(&mut self, def: usize, levels: u32) -> Result<String> {
        let heap = Heap::Def(def);
        let nullable = self.is_risky()?;
        let value = self.value(Ty::Ref { nullable, heap }, levels)?;
        Ok(match self.bytes.int_in_range(0..=3)? {
            0 => format!("(block (result {}) {value})", Ty::null(heap).text()),
            1 => {
                let local = self.scratch(Ty::null(heap));
                format!("(local.tee {local} {value})")
            }
            _ => value,
        })
    }

    pub(super) fn reference(&mut self, nullable: bool, heap: Heap, levels: u32) -> Result<String> {
        let ty = Ty::Ref { nullable, heap };
        let inhabited = !matches!(heap, Heap::None | Heap::NoFunc | Heap::NoExtern | Heap::Exn);
        if !inhabited {
            return self.simple(ty);
        }
        match self.bytes.int_in_range(0..=15)? {
            0..=6 => self.new_reference(heap, levels),
            7 => {
                let null = self.value(Ty::null(heap), levels)?;
                if self.is_risky()? {
                    return Ok(format!("(ref.as_non_null {null})"));
                }
                self.unless_null(ty, heap, &null, levels)
            }
            8 => {
                let null = self.value(Ty::null(heap), levels)?;
                self.unless_null(ty, heap, &null, levels)
            }
            9..=10 => self.cast(ty, heap, levels),
            11..=12 => self.branch_on_cast(ty, levels),
            13 => self.branch_on_cast_fail(ty, levels),
            14 => self.branch_on_null(ty, levels),
            _ => {
                let narrowed = self.narrowed(ty)?;
                self.value(narrowed, levels)
            }
        }
    }

    /// A reference if it is not null, and else another one.
    fn unless_null(&mut self, ty: Ty, heap: Heap, null: &str, levels: u32) -> Result<String> {
        let otherwise = self.value(ty, levels)?;
        let (label, ty) = (self.label(), ty.text());
        Ok(match self.bytes.int_in_range(0..=2)? {
            0 => format!(
                "(block $l{label} (result {ty}) (br_on_non_null $l{label} {null}) {otherwise})"
            ),
            1 => {
                let local = self.scratch(Ty::null(heap));
                format!(
                    "(if (result {ty}) (ref.is_null (local.tee {local} {null}))
                       (then {otherwise}) (else (ref.as_non_null (local.get {local}))))"
                )
            }
            _ => {
                let out = self.label();
                format!(
                    "(block $l{out} (result {ty}) (block $l{label}
                       (br $l{out} (br_on_null $l{label} {null}))) {otherwise})"
                )
            }
        })
    }

    /// A cast of what is of the type already, but not said to be; or, where that is left to chance, of anything.
    fn cast(&mut self, ty: Ty, heap: Heap, levels: u32) -> Result<String> {
        let from = Ty::null(self.types.wider(self.bytes, heap, self.types.len())?);
        let value = if self.is_risky()? {
            self.value(from, levels)?
        } else {
            self.value(ty, levels)?
        };
        let wide = match self.bytes.int_in_range(0..=2)? {
            0 => format!("(block (result {}) {value})", from.text()),
            1 => format!("(local.tee {} {value})", self.scratch(from)),
            _ if self.types.top(heap) == Heap::Any => {
                format!("(any.convert_extern (extern.convert_any {value}))")
            }
            _ => value,
        };
        Ok(format!("(ref.cast {} {wide})", ty.text()))
    }

    fn branch_on_cast(&mut self, ty: Ty, levels: u32) -> Result<String> {
        let to = self.narrowed(ty)?;
        let Ty::Ref { heap, .. } = to else {
            unreachable!("it is a reference's");
        };
        let from = Ty::null(self.types.wider(self.bytes, heap, self.types.len())?);
        let value = self.value(from, levels)?;
        let otherwise = self.value(ty, levels)?;
        let label = self.label();
        let left = format!(
            "(br_on_cast $l{label} {} {} {value})",
            from.text(),
            to.text()
        );
        let left = self.seen(from, &left)?;
        Ok(format!(
            "(block $l{label} (result {}) {left} {otherwise})",
            ty.text()
        ))
    }

    fn branch_on_cast_fail(&mut self, ty: Ty, levels: u32) -> Result<String> {
        let from = self.narrowed(ty)?;
        let to = self.narrowed(from.or_null())?;
        // What is left after a cast to a nullable type is not null.
        let (from, to) = match (ty, to, from) {
            (
                Ty::Ref {
                    nullable: false, ..
                },
                Ty::Ref { nullable: true, .. },
                from,
            ) => (from.or_null(), to),
            (
                _,
                Ty::Ref {
                    heap,
                    nullable: true,
                },
                Ty::Ref {
                    nullable: false, ..
                },
            ) => (from, Ty::some(heap)),
            _ => (from, to),
        };
        let value = self.value(from, levels)?;
        let otherwise = self.value(ty, levels)?;
        let label = self.label();
        let left = format!(
            "(br_on_cast_fail $l{label} {} {} {value})",
            from.text(),
            to.text()
        );
        let left = self.seen(to, &left)?;
        Ok(format!(
            "(block $l{label} (result {}) {left} {otherwise})",
            ty.text()
        ))
    }

    fn branch_on_null(&mut self, ty: Ty, levels: u32) -> Result<String> {
        let heap = self.heap()?;
        let null = self.value(Ty::null(heap), levels)?;
        let otherwise = self.value(ty, levels)?;
        let value = self.value(ty, levels)?;
        let (label, out) = (self.label(), self.label());
        let left = self.seen(Ty::null(heap), &format!("(br_on_null $l{label} {null})"))?;
        Ok(format!(
            "(block $l{out} (result {}) (block $l{label} {left} (br $l{out} {value})) {otherwise})",
            ty.text()
        ))
    }

    /// A statement that drops a reference, or looks at it before.
    fn seen(&mut self, ty: Ty, value: &str) -> Result<String> {
        Ok(match self.bytes.ratio(1, 2)? {
            true => format!("(drop {value})"),
            false => self.see(ty, value, "(i32.const 0)"),
        })
    }

    /// Something of this type that was not there before.
    fn new_reference(&mut self, heap: Heap, levels: u32) -> Result<String> {
        let def = match heap {
            Heap::Any if self.bytes.ratio(1, 4)? => {
                let outside = self.value(Ty::some(Heap::Extern), levels)?;
                return Ok(format!("(any.convert_extern {outside})"));
            }
            Heap::Extern if self.may_call && self.bytes.ratio(1, 8)? => {
                let inside = self.value(Ty::some(Heap::Any), levels)?;
                let function = self.simple(Ty::null(Heap::Func))?;
                let local = self.scratch(Ty::some(Heap::Extern));
                return Ok(format!(
                    "(block (result (ref extern))
                       (local.set {local} (extern.convert_any {inside}))
                       (drop (call $references (local.get {local}) {function}))
                       (ref.as_non_null (local.get {local})))"
                ));
            }
            Heap::Extern => {
                let inside = self.value(Ty::some(Heap::Any), levels)?;
                return Ok(format!("(extern.convert_any {inside})"));
            }
            Heap::I31 => return Ok(format!("(ref.i31 {})", self.value(Ty::I32, levels)?)),
            Heap::Func => return self.constant(Ty::some(heap), self.types.len()),
            Heap::Struct => STRUCT,
            Heap::Array => ARRAY,
            Heap::Def(def) => def,
            _ => {
                let narrowed = self
                    .types
                    .narrower(self.bytes, Ty::some(heap), self.types.len())?;
                match narrowed {
                    Ty::Ref {
                        heap: Heap::Def(def),
                        ..
                    } => def,
                    _ => return Ok(format!("(ref.i31 {})", self.value(Ty::I32, levels)?)),
                }
            }
        };
        match self.types.kind(def).clone() {
            Kind::Struct(fields) => self.new_struct(def, &fields, levels),
            Kind::Array(element) => self.new_array(def, element, levels),
            Kind::Func(..) => Ok(format!("(ref.func $f{})", self.function_of(heap)?)),
        }
    }

    pub(super) fn new_struct(
        &mut self,
        def: usize,
        fields: &[Field],
        levels: u32,
    ) -> Result<String> {
        if fields.iter().all(|field| field.is_defaultable()) && self.bytes.ratio(1, 6)? {
            return Ok(format!("(struct.new_default $t{def})"));
        }
        let values = fields
            .iter()
            .map(|field| self.value(field.storage.unpacked(), levels));
        let values: Vec<String> = values.collect::<Result<_>>()?;
        Ok(format!("(struct.new $t{def} {})", values.join(" ")))
    }

    pub(super) fn new_array(&mut self, def: usize, element: Field, levels: u32) -> Result<String> {
        let ty = element.storage.unpacked();
        let bits = if self.bytes.ratio(1, 40)? {
            LONG
        } else {
            LENGTH
        };
        Ok(match self.bytes.int_in_range(0..=9)? {
            0..=2 => {
                let (value, length) = (self.value(ty, levels)?, self.index(bits, levels)?);
                format!("(array.new $t{def} {value} {length})")
            }
            3..=4 if element.is_defaultable() => {
                let length = self.index(bits, levels)?;
                format!("(array.new_default $t{def} {length})")
            }
            5..=7 => match element.storage {
                Storage::Val(Ty::Ref { .. }) => {
                    let (start, count) = self.part(ITEMS, levels)?;
                    format!("(array.new_elem $t{def} $items{def} {start} {count})")
                }
                storage => {
                    let (start, count) = self.part(BYTES / storage.width(), levels)?;
                    format!("(array.new_data $t{def} $bytes {start} {count})")
                }
            },
            _ => {
                let count = self.bytes.int_in_range(0..=5)?;
                let values = (0..count).map(|_| self.value(ty, levels));
                let values: Vec<String> = values.collect::<Result<_>>()?;
                format!("(array.new_fixed $t{def} {count} {})", values.join(" "))
            }
        })
    }

    /// A start and a count within a segment of so many elements, or, where that is left to chance, anywhere.
    pub(super) fn part(&mut self, size: u32, levels: u32) -> Result<(String, String)> {
        if self.is_risky()? {
            return Ok((self.index(63, levels)?, self.index(15, levels)?));
        }
        let start = self.bytes.int_in_range(0..=size)?;
        let count = self.bytes.int_in_range(0..=size - start)?;
        Ok((
            format!("(i32.const {start})"),
            format!("(i32.const {count})"),
        ))
    }
}
