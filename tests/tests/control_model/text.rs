//! A program as a module in the text format.

use super::program::{
    Body, Catch, Clause, FUNCTIONS, GUESTS, How, INSTANCES, Kind, LabelId, Mode, Node, PLAIN_KINDS,
    Place, Program, Resume, SLOTS, Source, TAGS, Ty, table_index,
};
use std::fmt::Write as _;

/// The module of a program: what the machine does, in WebAssembly.
pub(crate) fn module(program: &Program) -> String {
    let mut text = Text(String::from("(module\n"));
    text.declarations();
    for (number, body) in program.functions[..GUESTS].iter().enumerate() {
        text.function(number, body);
    }
    text.line(")");
    text.0
}

struct Text(String);

fn types(types: &[Ty]) -> String {
    let types = types.iter().map(|ty| match ty {
        Ty::I32 => "i32".to_owned(),
        Ty::I64 => "i64".to_owned(),
        Ty::V128 => "v128".to_owned(),
        Ty::Object => "(ref null $object)".to_owned(),
        Ty::Cont(kind) => format!("(ref null $k{})", *kind as usize),
    });
    types.collect::<Vec<_>>().join(" ")
}

impl Text {
    fn line(&mut self, line: impl AsRef<str>) {
        writeln!(self.0, "{}", line.as_ref()).expect("a string takes all");
    }

    fn declarations(&mut self) {
        for kind in PLAIN_KINDS {
            self.types_of(kind);
        }
        self.line(
            "(rec (type $object (struct (field $n (mut i32)) (field $k (mut (ref null $k0)))))",
        );
        for kind in Kind::ALL {
            if !PLAIN_KINDS.contains(&kind) {
                self.types_of(kind);
            }
        }
        let field = |kind: Kind| format!("(field (mut (ref null $k{})))", kind as usize);
        let fields = Kind::ALL.map(field).join(" ");
        self.line(format!("(type $cell (struct {fields})))"));
        self.line(
            r#"(import "" "log" (func $log (param i32)))
            (import "" "gc" (func $gc))
            (import "" "fuel" (global $fuel (mut i32)))
            (import "" "input" (global $input (mut i32)))
            (import "" "base" (global $base i32))"#,
        );
        let functions = INSTANCES * FUNCTIONS.len();
        self.line(format!(
            "(import \"\" \"functions\" (table $functions {functions} funcref))"
        ));
        // Imports come before everything else.
        for (number, kind) in FUNCTIONS.iter().enumerate().skip(GUESTS) {
            let ty = *kind as usize;
            self.line(format!(
                "(import \"\" \"f{number}\" (func $f{number} (type $f{ty})))"
            ));
        }
        for imported in [true, false] {
            for (number, tag) in TAGS.iter().enumerate() {
                if tag.is_imported == imported {
                    let ty = format!(
                        "(param {}) (result {})",
                        types(tag.params),
                        types(tag.resumed.params())
                    );
                    self.line(match imported {
                        true => format!("(import \"\" \"t{number}\" (tag $t{number} {ty}))"),
                        false => format!("(tag $t{number} (export \"t{number}\") {ty})"),
                    });
                }
            }
        }
        for kind in Kind::ALL.map(|kind| kind as usize) {
            self.line(format!(
                "(global $g{kind} (export \"g{kind}\") (mut (ref null $k{kind})) (ref.null $k{kind}))
                 (table $s{kind} (export \"s{kind}\") {SLOTS} (ref null $k{kind}))"
            ));
        }
        self.line("(global $cell (ref $cell) (struct.new_default $cell))");
        let functions: Vec<_> = (0..FUNCTIONS.len()).map(|n| format!("$f{n}")).collect();
        self.line(format!(
            "(elem (table $functions) (offset (global.get $base)) func {})",
            functions.join(" ")
        ));
    }

    fn types_of(&mut self, kind: Kind) {
        let (number, params) = (kind as usize, types(kind.params()));
        self.line(format!(
            "(type $f{number} (func (param {params}) (result i32)))
             (type $k{number} (cont $f{number}))"
        ));
    }

    fn function(&mut self, number: usize, body: &Body) {
        let kind = FUNCTIONS[number];
        self.line(format!(
            "(func $f{number} (export \"f{number}\") (type $f{})",
            kind as usize
        ));
        self.line("(local $x i32) (local $o (ref null $object)) (local $e exnref)");
        for kind in Kind::ALL.map(|kind| kind as usize) {
            self.line(format!("(local $k{kind} (ref null $k{kind}))"));
        }
        for param in 0..kind.params().len() {
            self.line(format!("local.get {param}"));
        }
        self.take(kind.params());
        self.line("global.get $input");
        self.take(&[Ty::I32]);
        self.line("global.get $fuel i32.eqz if local.get $x return end");
        self.burn();
        self.body(body);
        self.line("local.get $x)");
    }

    fn burn(&mut self) {
        self.line("global.get $fuel i32.const 1 i32.sub global.set $fuel");
    }

    /// Takes from the registers.
    fn give(&mut self, types: &[Ty]) {
        for ty in types {
            self.line(match ty {
                Ty::I32 => "local.get $x".to_owned(),
                Ty::I64 => "local.get $x i64.extend_i32_s i64.const 3 i64.mul".to_owned(),
                Ty::V128 => "local.get $x i32x4.splat".to_owned(),
                Ty::Object => "local.get $o".to_owned(),
                Ty::Cont(kind) => format!("global.get $g{}", *kind as usize),
            });
        }
    }

    /// Puts what is on the stack into the registers.
    fn take(&mut self, types: &[Ty]) {
        for ty in types.iter().rev() {
            match ty {
                Ty::I32 => {}
                Ty::I64 => self.line("i32.wrap_i64"),
                Ty::V128 => self.line("i32x4.extract_lane 2"),
                Ty::Object => {
                    self.line("local.set $o");
                    continue;
                }
                Ty::Cont(kind) => {
                    self.line(format!("local.set $k{}", *kind as usize));
                    continue;
                }
            }
            self.line("local.get $x i32.const 31 i32.mul i32.add local.set $x");
        }
    }

    /// What follows happens only when a register is not empty; `end` it.
    fn when(&mut self, register: &str) {
        self.line(format!("local.get ${register} ref.is_null i32.eqz if"));
    }

    fn body(&mut self, body: &Body) {
        for node in body {
            self.node(node);
        }
    }

    fn node(&mut self, node: &Node) {
        match node {
            Node::Log(value) => {
                self.line(format!("local.get $x i32.const {value} i32.xor call $log"));
            }
            Node::Mix(value) => {
                self.line(format!("i32.const {value}"));
                self.take(&[Ty::I32]);
            }
            Node::NewObject => {
                self.line("(struct.new $object (local.get $x) (local.get $k0)) local.set $o")
            }
            Node::ReadObject { guarded } => self.guarded(*guarded, "o", |text| {
                text.line("local.get $o struct.get $object $n");
                text.take(&[Ty::I32]);
            }),
            Node::IsNull(kind) => {
                self.line(format!("local.get $k{} ref.is_null", *kind as usize));
                self.take(&[Ty::I32]);
            }
            Node::NewCont(kind, source) => self.new_cont(*kind as usize, *source),
            Node::Bind { from, to, guarded } => {
                let (number, result) = (*from as usize, *to as usize);
                let bound = from.params().len() - to.params().len();
                self.guarded(*guarded, &format!("k{number}"), |text| {
                    text.give(&from.params()[..bound]);
                    text.line(format!(
                        "local.get $k{number} cont.bind $k{number} $k{result} local.set $k{result}"
                    ));
                });
            }
            Node::Load(kind, place) => self.load(*kind as usize, *place),
            Node::Store(kind, place, take) => self.store(*kind as usize, *place, *take),
            Node::Resume(resume) => self.resume(resume),
            Node::Suspend(tag) => {
                self.give(TAGS[*tag].params);
                self.line(format!("suspend $t{tag}"));
                self.take(TAGS[*tag].resumed.params());
            }
            Node::Switch { tag, guarded } => {
                let number = Kind::Switch as usize;
                self.guarded(*guarded, &format!("k{number}"), |text| {
                    text.give(&[Ty::I32]);
                    text.line(format!("local.get $k{number} switch $k{number} $t{tag}"));
                    text.take(Kind::Switch.params());
                });
            }
            Node::Throw(tag) => {
                self.give(TAGS[*tag].params);
                self.line(format!("throw $t{tag}"));
            }
            Node::ThrowRef { guarded } => {
                self.guarded(*guarded, "e", |text| text.line("local.get $e throw_ref"));
            }
            Node::Try(label, body, catches) => self.try_table(*label, body, catches),
            Node::Maybe(bit, body) => {
                self.line(format!(
                    "local.get $x i32.const {bit} i32.shr_u i32.const 1 i32.and if"
                ));
                self.body(body);
                self.line("end");
            }
            Node::Block(label, body) => {
                self.line(format!("block $l{label}"));
                self.body(body);
                self.line("end");
            }
            Node::Loop(label, body) => {
                self.line(format!("loop $l{label} global.get $fuel if"));
                self.burn();
                self.body(body);
                self.line("end end");
            }
            Node::Branch(label) => self.line(format!("br $l{label}")),
            Node::Return => self.line("local.get $x return"),
            Node::Call(function, how) => self.call(*function, *how),
            Node::Collect => self.line("call $gc"),
            Node::Unreachable => self.line("unreachable"),
            Node::End(..)
            | Node::Swallow(_)
            | Node::Fail(_)
            | Node::Discard(_)
            | Node::Inspect(_)
            | Node::Trace
            | Node::Wait => unreachable!("of the host"),
        }
    }

    fn guarded(&mut self, guarded: bool, register: &str, write: impl FnOnce(&mut Text)) {
        if guarded {
            self.when(register);
        }
        write(self);
        if guarded {
            self.line("end");
        }
    }

    fn new_cont(&mut self, kind: usize, source: Source) {
        self.line(match source {
            Source::Own(function) => format!("ref.func $f{function}"),
            Source::Table(instance, function) => {
                let index = table_index(instance, function);
                format!("(ref.cast (ref $f{kind}) (table.get $functions (i32.const {index})))")
            }
            Source::Null => format!("ref.null $f{kind}"),
        });
        self.line(format!("cont.new $k{kind} local.set $k{kind}"));
    }

    fn load(&mut self, kind: usize, place: Place) {
        let value = match place {
            Place::Global => format!("global.get $g{kind}"),
            Place::Table(slot) => format!("(table.get $s{kind} (i32.const {slot}))"),
            Place::Cell => format!("(struct.get $cell {kind} (global.get $cell))"),
            Place::Object => {
                return self.guarded(true, "o", |text| {
                    text.line("(struct.get $object $k (local.get $o)) local.set $k0");
                });
            }
        };
        self.line(format!("{value} local.set $k{kind}"));
    }

    fn store(&mut self, kind: usize, place: Place, take: bool) {
        let value = format!("(local.get $k{kind})");
        match place {
            Place::Global => self.line(format!("(global.set $g{kind} {value})")),
            Place::Table(slot) => {
                self.line(format!("(table.set $s{kind} (i32.const {slot}) {value})"));
            }
            Place::Cell => {
                self.line(format!(
                    "(struct.set $cell {kind} (global.get $cell) {value})"
                ));
            }
            Place::Object => self.guarded(true, "o", |text| {
                text.line(format!("(struct.set $object $k (local.get $o) {value})"));
            }),
        }
        if take {
            self.line(format!("(local.set $k{kind} (ref.null $k{kind}))"));
        }
    }

    fn call(&mut self, function: usize, how: How) {
        let kind = FUNCTIONS[function];
        self.give(kind.params());
        match how {
            How::Tail => return self.line(format!("return_call $f{function}")),
            How::Direct => self.line(format!("call $f{function}")),
            How::Table(instance) => {
                let index = table_index(instance, function);
                let ty = kind as usize;
                self.line(format!(
                    "i32.const {index} call_indirect $functions (type $f{ty})"
                ));
            }
        }
        self.take(&[Ty::I32]);
    }

    fn resume(&mut self, resume: &Resume) {
        let register = format!("k{}", resume.kind as usize);
        self.guarded(resume.guarded, &register, |text| {
            text.guarded(resume.mode == Mode::ThrowRef, "e", |text| {
                text.resume_unguarded(resume);
            });
        });
    }

    fn resume_unguarded(&mut self, resume: &Resume) {
        let (label, kind) = (resume.label, resume.kind as usize);
        self.line(format!("block $done{label}"));
        let handlers = || {
            let clauses = resume.clauses.iter().enumerate();
            clauses.filter_map(|(at, clause)| Some((at, clause.tag, clause.body.as_ref()?)))
        };
        for (at, tag, _) in handlers().collect::<Vec<_>>().into_iter().rev() {
            let resumed = TAGS[tag].resumed as usize;
            self.line(format!(
                "block $h{label}_{at} (result {} (ref $k{resumed}))",
                types(TAGS[tag].params)
            ));
        }
        let instruction = match resume.mode {
            Mode::Values => {
                self.give(resume.kind.params());
                format!("resume $k{kind}")
            }
            Mode::Throw(tag) => {
                self.give(TAGS[tag].params);
                format!("resume_throw $k{kind} $t{tag}")
            }
            Mode::ThrowRef => {
                self.line("local.get $e");
                format!("resume_throw_ref $k{kind}")
            }
        };
        self.line(format!("local.get $k{kind}"));
        if resume.take {
            self.line(format!("ref.null $k{kind} local.set $k{kind}"));
        }
        self.line(instruction + &on(label, &resume.clauses));
        self.take(&[Ty::I32]);
        self.line(format!("br $done{label}"));
        for (_, tag, body) in handlers() {
            self.line("end");
            self.line(format!("local.set $k{}", TAGS[tag].resumed as usize));
            self.take(TAGS[tag].params);
            self.body(body);
            self.line(format!("br $done{label}"));
        }
        self.line("end");
    }

    fn try_table(&mut self, label: LabelId, body: &Body, catches: &[Catch]) {
        self.line(format!("block $done{label}"));
        let mut clauses = String::new();
        for (at, catch) in catches.iter().enumerate() {
            let reference = if catch.by_reference { "_ref" } else { "" };
            clauses += &match catch.tag {
                Some(tag) => format!(" (catch{reference} $t{tag} $h{label}_{at})"),
                None => format!(" (catch_all{reference} $h{label}_{at})"),
            };
        }
        for (at, catch) in catches.iter().enumerate().rev() {
            let params = catch.tag.map_or(&[][..], |tag| TAGS[tag].params);
            let reference = if catch.by_reference { "exnref" } else { "" };
            self.line(format!(
                "block $h{label}_{at} (result {} {reference})",
                types(params)
            ));
        }
        self.line(format!("try_table{clauses}"));
        self.body(body);
        self.line(format!("end br $done{label}"));
        for catch in catches {
            self.line("end");
            if catch.by_reference {
                self.line("local.set $e");
            }
            self.take(catch.tag.map_or(&[][..], |tag| TAGS[tag].params));
            self.body(&catch.body);
            self.line(format!("br $done{label}"));
        }
        self.line("end");
    }
}

/// The clauses of a resume.
fn on(label: LabelId, clauses: &[Clause]) -> String {
    let clauses = clauses.iter().enumerate();
    let clauses = clauses.map(|(at, clause)| match clause.body {
        Some(_) => format!(" (on $t{} $h{label}_{at})", clause.tag),
        None => format!(" (on $t{} switch)", clause.tag),
    });
    clauses.collect()
}
