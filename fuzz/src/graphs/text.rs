//! A program as a module in the text format.

use super::model::{DEPTH, ELEMENTS, FACTOR};
use super::{Field, GLOBALS, LOCALS, Operation, Place, Program, TABLE, Value};
use std::fmt::Write;

/// The module of a program.
pub(super) fn module(program: &Program) -> String {
    let mut text = String::from("(module\n");
    types(program, &mut text);
    text.push_str(
        "(import \"host\" \"gc\" (func $gc))\n\
         (import \"host\" \"same\" (func $same (param anyref) (result anyref)))\n\
         (global $sum (mut i64) (i64.const 0))\n",
    );
    let _ = writeln!(text, "(table $table {TABLE} anyref)");
    for at in 0..GLOBALS {
        let _ = writeln!(text, "(global $g{at} (mut anyref) (ref.null any))");
    }
    let _ = writeln!(
        text,
        "(func $blend (param i64 i64) (result i64)
           (i64.rotl (i64.mul (i64.xor (local.get 0) (local.get 1)) (i64.const {FACTOR:#x}))
             (i64.const 23)))
         (func $mix (param i64)
           (global.set $sum (call $blend (global.get $sum) (local.get 0))))"
    );
    conversions(program, &mut text);
    class(program, &mut text);
    hash(program, &mut text);
    run(program, &mut text);
    text.push(')');
    text
}

fn types(program: &Program, text: &mut String) {
    text.push_str("(rec\n");
    for (index, structure) in program.structs.iter().enumerate() {
        let supertype = structure
            .supertype
            .map_or_else(String::new, |s| format!("$s{s}"));
        let _ = write!(text, "(type $s{index} (sub {supertype} (struct");
        for field in &structure.fields {
            let _ = write!(text, " (field (mut {}))", storage(*field));
        }
        text.push_str(")))\n");
    }
    for (index, element) in program.arrays.iter().enumerate() {
        let _ = writeln!(text, "(type $a{index} (array (mut {})))", storage(*element));
    }
    text.push_str(")\n");
}

fn storage(field: Field) -> String {
    match field {
        Field::I8 => "i8".to_owned(),
        Field::I16 => "i16".to_owned(),
        Field::I32 => "i32".to_owned(),
        Field::I64 => "i64".to_owned(),
        reference => format!("(ref null {})", heap_type(reference)),
    }
}

fn heap_type(field: Field) -> String {
    match field {
        Field::Any => "any".to_owned(),
        Field::Eq => "eq".to_owned(),
        Field::I31 => "i31".to_owned(),
        Field::Struct(index) => format!("$s{index}"),
        Field::Array(index) => format!("$a{index}"),
        number => unreachable!("{number:?} is no reference"),
    }
}

/// The name of a function that converts to a type, or to null what is of another one.
fn conversion(field: Field) -> String {
    format!("$as_{}", heap_type(field).trim_start_matches('$'))
}

fn conversions(program: &Program, text: &mut String) {
    let structs = (0..program.structs.len()).map(Field::Struct);
    let arrays = (0..program.arrays.len()).map(Field::Array);
    let all = [Field::Any, Field::Eq, Field::I31]
        .into_iter()
        .chain(structs)
        .chain(arrays);
    for (index, field) in all.enumerate() {
        let (name, heap) = (conversion(field), heap_type(field));
        let body = match index % 3 {
            0 => format!(
                "(if (result (ref null {heap})) (ref.test (ref {heap}) (local.get 0))
                   (then (ref.cast (ref {heap}) (local.get 0)))
                   (else (ref.null {heap})))"
            ),
            1 => format!(
                "(block $yes (result (ref {heap}))
                   (drop (br_on_cast $yes anyref (ref {heap}) (local.get 0)))
                   (return (ref.null {heap})))"
            ),
            _ => format!(
                "(block $no (result anyref)
                   (return (br_on_cast_fail $no anyref (ref {heap}) (local.get 0))))
                 drop
                 (ref.null {heap})"
            ),
        };
        let _ = writeln!(
            text,
            "(func {name} (param anyref) (result (ref null {heap})) {body})"
        );
    }
}

fn class(program: &Program, text: &mut String) {
    text.push_str(
        "(func $class (param $r anyref) (result i64)
           (local $bits i64)
           (if (ref.is_null (local.get $r)) (then (return (i64.const 1))))
           (if (ref.test (ref i31) (local.get $r)) (then
             (return (i64.or (i64.const 2) (i64.shl
               (i64.extend_i32_u (i31.get_u (ref.cast (ref i31) (local.get $r))))
               (i64.const 8))))))
           (if (ref.test (ref struct) (local.get $r)) (then (local.set $bits (i64.const 4))))\n",
    );
    for index in 0..program.structs.len() {
        let _ = writeln!(
            text,
            "(local.set $bits (i64.or (local.get $bits) (i64.shl
               (i64.extend_i32_u (ref.test (ref $s{index}) (local.get $r)))
               (i64.const {}))))",
            16 + index
        );
    }
    for index in 0..program.arrays.len() {
        let _ = writeln!(
            text,
            "(if (ref.test (ref $a{index}) (local.get $r)) (then
               (local.set $bits (i64.or (i64.const {:#x}) (i64.shl
                 (i64.extend_i32_u (array.len (ref.cast (ref array) (local.get $r))))
                 (i64.const 48))))))",
            8u64 | 1 << (32 + index)
        );
    }
    text.push_str("(local.get $bits))\n");
}

fn hash(program: &Program, text: &mut String) {
    text.push_str(
        "(func $hash (param $r anyref) (param $depth i32) (result i64)
           (local $h i64) (local $i i32)
           (local.set $h (call $class (local.get $r)))
           (if (i32.eqz (local.get $depth)) (then (return (local.get $h))))
           (local.set $depth (i32.sub (local.get $depth) (i32.const 1)))\n",
    );
    // The last type that matches is the object's own.
    for (index, structure) in program.structs.iter().enumerate().rev() {
        let _ = writeln!(text, "(if (ref.test (ref $s{index}) (local.get $r)) (then");
        for (field, ty) in structure.fields.iter().enumerate() {
            let object = format!("(ref.cast (ref $s{index}) (local.get $r))");
            let read = read_field(&format!("$s{index} {field} {object}"), "struct", *ty);
            let _ = writeln!(
                text,
                "(local.set $h (call $blend (local.get $h) {}))",
                hashed(&read, *ty)
            );
        }
        text.push_str("(return (local.get $h))))\n");
    }
    for (index, &element) in program.arrays.iter().enumerate() {
        let array = format!("(ref.cast (ref $a{index}) (local.get $r))");
        let read = read_field(
            &format!("$a{index} {array} (local.get $i)"),
            "array",
            element,
        );
        let _ = writeln!(
            text,
            "(if (ref.test (ref $a{index}) (local.get $r)) (then
               (loop $next
                 (if (i32.and
                       (i32.lt_u (local.get $i) (array.len {array}))
                       (i32.lt_u (local.get $i) (i32.const {ELEMENTS})))
                   (then
                     (local.set $h (call $blend (local.get $h) {}))
                     (local.set $i (i32.add (local.get $i) (i32.const 1)))
                     (br $next))))))",
            hashed(&read, element)
        );
    }
    text.push_str("(local.get $h))\n");
}

/// Reads a field; `operands` are its type, index and object as the instruction wants them.
fn read_field(operands: &str, kind: &str, ty: Field) -> String {
    let sign = match ty {
        Field::I8 | Field::I16 => "_u",
        _ => "",
    };
    format!("({kind}.get{sign} {operands})")
}

/// What was read, as a number.
fn number(read: &str, ty: Field) -> String {
    match ty {
        Field::I64 => read.to_owned(),
        _ => format!("(i64.extend_i32_u {read})"),
    }
}

fn hashed(read: &str, ty: Field) -> String {
    if ty.is_number() {
        number(read, ty)
    } else {
        format!("(call $hash {read} (local.get $depth))")
    }
}

fn run(program: &Program, text: &mut String) {
    text.push_str("(func (export \"run\") (result i64) (local $count i32)");
    for at in 0..LOCALS {
        let _ = write!(text, " (local $l{at} anyref)");
    }
    text.push('\n');
    for operation in &program.operations {
        let _ = writeln!(text, "{}", written(program, operation));
    }
    for at in 0..TABLE {
        let place = get(Place::Table(at));
        let _ = writeln!(text, "(call $mix (call $hash {place} (i32.const {DEPTH})))");
    }
    text.push_str("(global.get $sum))\n");
}

fn get(place: Place) -> String {
    match place {
        Place::Table(at) => format!("(table.get $table (i32.const {at}))"),
        Place::Local(at) => format!("(local.get $l{at})"),
        Place::Global(at) => format!("(global.get $g{at})"),
    }
}

fn put(place: Place, value: &str) -> String {
    match place {
        Place::Table(at) => format!("(table.set $table (i32.const {at}) {value})"),
        Place::Local(at) => format!("(local.set $l{at} {value})"),
        Place::Global(at) => format!("(global.set $g{at} {value})"),
    }
}

/// What is written to a field of this type.
fn value(ty: Field, value: &Value) -> String {
    match ty {
        Field::I8 | Field::I16 | Field::I32 => format!("(i32.const {})", value.number as i32),
        Field::I64 => format!("(i64.const {})", value.number),
        ty => format!("(call {} {})", conversion(ty), get(value.place)),
    }
}

/// `body`, if the place holds an object of this type.
fn guarded(at: Place, ty: &str, body: &str) -> String {
    format!("(if (ref.test (ref {ty}) {}) (then {body}))", get(at))
}

fn cast(at: Place, ty: &str) -> String {
    format!("(ref.cast (ref {ty}) {})", get(at))
}

/// Whether `count` elements from `start` lie in the array at a place.
fn fits(at: Place, ty: &str, start: u32, count: u32) -> String {
    let end = start + count;
    format!("(i32.le_u (i32.const {end}) (array.len {}))", cast(at, ty))
}

fn read_into(read: &str, ty: Field, to: Place) -> String {
    if ty.is_number() {
        format!("(call $mix {})", number(read, ty))
    } else {
        put(to, read)
    }
}

fn written(program: &Program, operation: &Operation) -> String {
    use Operation as O;
    match operation {
        O::NewStruct(to, ty, values) => {
            let fields = program.structs[*ty].fields.iter().zip(values);
            let fields: Vec<String> = fields.map(|(&ty, v)| value(ty, v)).collect();
            put(*to, &format!("(struct.new $s{ty} {})", fields.join(" ")))
        }
        O::NewArray(to, ty, length, v) => {
            let element = value(program.arrays[*ty], v);
            put(
                *to,
                &format!("(array.new $a{ty} {element} (i32.const {length}))"),
            )
        }
        O::NewFixed(to, ty, values) => {
            let elements = values.iter().map(|v| value(program.arrays[*ty], v));
            let elements: Vec<String> = elements.collect();
            let (count, elements) = (values.len(), elements.join(" "));
            put(*to, &format!("(array.new_fixed $a{ty} {count} {elements})"))
        }
        O::NewI31(to, v) => put(*to, &format!("(ref.i31 (i32.const {}))", *v as i32)),
        O::Clear(to) => put(*to, "(ref.null none)"),
        O::Move(to, from) => put(*to, &get(*from)),
        O::Set(at, ty, field, v) => {
            let (name, v) = (
                format!("$s{ty}"),
                value(program.structs[*ty].fields[*field], v),
            );
            let object = cast(*at, &name);
            guarded(
                *at,
                &name,
                &format!("(struct.set {name} {field} {object} {v})"),
            )
        }
        O::Get(at, ty, field, to) => {
            let name = format!("$s{ty}");
            let kind = program.structs[*ty].fields[*field];
            let read = read_field(
                &format!("{name} {field} {}", cast(*at, &name)),
                "struct",
                kind,
            );
            guarded(*at, &name, &read_into(&read, kind, *to))
        }
        O::ArraySet(at, ty, index, v) => {
            let (name, v) = (format!("$a{ty}"), value(program.arrays[*ty], v));
            let array = cast(*at, &name);
            let set = format!("(array.set {name} {array} (i32.const {index}) {v})");
            let fits = fits(*at, &name, *index, 1);
            guarded(*at, &name, &format!("(if {fits} (then {set}))"))
        }
        O::ArrayGet(at, ty, index, to) => {
            let (name, kind) = (format!("$a{ty}"), program.arrays[*ty]);
            let operands = format!("{name} {} (i32.const {index})", cast(*at, &name));
            let read = read_into(&read_field(&operands, "array", kind), kind, *to);
            let fits = fits(*at, &name, *index, 1);
            guarded(*at, &name, &format!("(if {fits} (then {read}))"))
        }
        O::ArrayFill(at, ty, start, count, v) => {
            let (name, v) = (format!("$a{ty}"), value(program.arrays[*ty], v));
            let array = cast(*at, &name);
            let fill =
                format!("(array.fill {name} {array} (i32.const {start}) {v} (i32.const {count}))");
            let fits = fits(*at, &name, *start, *count);
            guarded(*at, &name, &format!("(if {fits} (then {fill}))"))
        }
        O::ArrayCopy(to, from, ty, to_start, from_start, count) => {
            let name = format!("$a{ty}");
            let copy = format!(
                "(array.copy {name} {name} {} (i32.const {to_start}) {} (i32.const {from_start}) \
                 (i32.const {count}))",
                cast(*to, &name),
                cast(*from, &name)
            );
            let fits = format!(
                "(i32.and {} {})",
                fits(*to, &name, *to_start, *count),
                fits(*from, &name, *from_start, *count)
            );
            let copy = guarded(*from, &name, &format!("(if {fits} (then {copy}))"));
            guarded(*to, &name, &copy)
        }
        O::Class(at) => format!("(call $mix (call $class {}))", get(*at)),
        O::Same(a, b) => format!(
            "(call $mix (i64.extend_i32_u (ref.eq (call $as_eq {}) (call $as_eq {}))))",
            get(*a),
            get(*b)
        ),
        O::Hash(at) => format!("(call $mix (call $hash {} (i32.const {DEPTH})))", get(*at)),
        O::Garbage(count) => format!(
            "(local.set $count (i32.const {count}))
             (block $done (loop $again
               (br_if $done (i32.eqz (local.get $count)))
               (drop (struct.new_default $s0))
               (local.set $count (i32.sub (local.get $count) (i32.const 1)))
               (br $again)))"
        ),
        O::Collect => "(call $gc)".to_owned(),
        O::Host(at) => put(*at, &format!("(call $same {})", get(*at))),
        O::Convert(at) => {
            let outside = format!("(extern.convert_any {})", get(*at));
            put(*at, &format!("(any.convert_extern {outside})"))
        }
    }
}
