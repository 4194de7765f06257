//! What a program does, as a number: `$mix` adds one to the running sum, `$see` what a reference looks like.
//!
//! What can be told of an object without its address: which types it is of, its length, and what is in it, as far
//! as a few steps go.

use super::Generator;
use super::state::{ELEMENTS, GLOBALS};
use super::types::{ABSTRACT, Heap, Kind, Storage, Ty};
use std::fmt::Write as _;

/// How far references are followed.
pub(super) const STEPS: &str = "(i32.const 2)";
/// How many elements of an array are looked at.
const LOOKED_AT: u32 = 5;

impl Generator<'_, '_> {
    pub(super) fn digest(&self, text: &mut String) {
        text.push_str(
            "(global $sum (export \"sum\") (mut i64) (i64.const 1))
             (func $mix (param i64)
               (global.set $sum (i64.rotl (i64.mul
                 (i64.xor (global.get $sum) (local.get 0)) (i64.const 0x9e3779b97f4a7c15))
                 (i64.const 23))))\n",
        );
        self.see_object(text);
        self.see_function(text);
        text.push_str("(func $see_all\n");
        for def in 0..self.types.len() {
            let heap = Heap::Def(def);
            for name in ["g", "n"] {
                text.push_str(&self.see(
                    Ty::null(heap),
                    &format!("(global.get ${name}{def})"),
                    STEPS,
                ));
            }
        }
        for (name, ty) in GLOBALS {
            text.push_str(&self.see(ty, &format!("(global.get ${name})"), STEPS));
            for index in 0..ELEMENTS {
                let element = format!("(table.get $t_{name} (i32.const {index}))");
                text.push_str(&self.see(ty, &element, STEPS));
            }
        }
        text.push_str(")\n");
    }

    /// A statement that adds a value to the sum, following its references as many steps as an expression says.
    pub(super) fn see(&self, ty: Ty, value: &str, steps: &str) -> String {
        let number = match ty {
            Ty::I32 => format!("(i64.extend_i32_u {value})"),
            Ty::I64 => value.to_owned(),
            Ty::F32 => format!("(i64.extend_i32_u (i32.reinterpret_f32 {value}))"),
            Ty::F64 => format!("(i64.reinterpret_f64 {value})"),
            Ty::V128 => format!("(i64x2.extract_lane 1 {value})"),
            Ty::Ref { heap, .. } => match self.types.top(heap) {
                Heap::Func => return format!("(call $see_function {value})\n"),
                Heap::Exn => format!("(i64.extend_i32_u (ref.is_null {value}))"),
                Heap::Extern => {
                    return format!("(call $see (any.convert_extern {value}) {steps})\n");
                }
                _ => return format!("(call $see {value} {steps})\n"),
            },
        };
        format!("(call $mix {number})\n")
    }

    /// Which types something is of, a bit for each.
    fn classes(&self, top: Heap, text: &mut String) {
        text.push_str("(local $bits i64)\n");
        let all = ABSTRACT
            .into_iter()
            .chain((0..self.types.len()).map(Heap::Def));
        for (bit, heap) in all.enumerate() {
            if self.types.top(heap) == top {
                let _ = writeln!(
                    text,
                    "(local.set $bits (i64.or (local.get $bits) (i64.shl
                       (i64.extend_i32_u (ref.test (ref {}) (local.get $r))) (i64.const {bit}))))",
                    heap.text()
                );
            }
        }
        text.push_str("(call $mix (local.get $bits))\n");
    }

    fn see_function(&self, text: &mut String) {
        text.push_str("(func $see_function (param $r funcref)\n");
        self.classes(Heap::Func, text);
        text.push_str(")\n");
    }

    fn see_object(&self, text: &mut String) {
        text.push_str("(func $see (param $r anyref) (param $steps i32) (local $i i32)\n");
        self.classes(Heap::Any, text);
        text.push_str(
            "(if (ref.test (ref i31) (local.get $r)) (then
               (call $mix (i64.extend_i32_s (i31.get_s (ref.cast (ref i31) (local.get $r)))))))
             (if (ref.test (ref array) (local.get $r)) (then
               (call $mix (i64.extend_i32_u (array.len (ref.cast (ref array) (local.get $r)))))))
             (if (i32.eqz (local.get $steps)) (then (return)))
             (local.set $steps (i32.sub (local.get $steps) (i32.const 1)))\n",
        );
        for def in (0..self.types.len()).rev() {
            let object = format!("(ref.cast (ref $t{def}) (local.get $r))");
            let mut looks = String::new();
            match self.types.kind(def) {
                Kind::Struct(fields) => {
                    for (number, field) in fields.iter().enumerate() {
                        let read = read(
                            "struct",
                            field.storage,
                            &format!("$t{def} {number} {object}"),
                        );
                        looks += &self.see_part(field.storage, &read);
                    }
                }
                Kind::Array(element) => {
                    let operands = format!("$t{def} {object} (local.get $i)");
                    let look =
                        self.see_part(element.storage, &read("array", element.storage, &operands));
                    looks = format!(
                        "(loop $next (if (i32.and
                             (i32.lt_u (local.get $i) (array.len {object}))
                             (i32.lt_u (local.get $i) (i32.const {LOOKED_AT})))
                           (then {look}
                             (local.set $i (i32.add (local.get $i) (i32.const 1)))
                             (br $next))))"
                    );
                }
                Kind::Func(..) => continue,
            }
            let _ = writeln!(
                text,
                "(if (ref.test (ref $t{def}) (local.get $r)) (then {looks} (return)))"
            );
        }
        text.push_str(")\n");
    }

    /// As `see`, within `$see`.
    fn see_part(&self, storage: Storage, read: &str) -> String {
        self.see(storage.unpacked(), read, "(local.get $steps)")
    }
}

/// Reads a field or element, zeros before what is packed.
fn read(what: &str, storage: Storage, operands: &str) -> String {
    let sign = if storage.is_packed() { "_u" } else { "" };
    format!("({what}.get{sign} {operands})")
}
