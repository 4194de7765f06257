//! Random programs that throw and catch in every way, against an interpreter of a few lines.
//!
//! A program is a tree of nodes for each function. The interpreter here walks the trees; what they are in
//! WebAssembly is compiled. Both must leave the same trace (a hash in a global) and end in the same way. Two of
//! the tags are imported, and sometimes one tag.

use sarsen::{
    Config, Engine, FuncType, Global, Instance, Module, Mutability, Store, Tag, TagType,
    ThrownException, Val, ValType,
};
use sarsen_tests::Random;
use std::fmt::Write;
use std::num::NonZeroU32;

/// Programs that are tried.
const PROGRAMS: u64 = 400;
const FUNCTIONS: usize = 6;
/// Calls that a run makes; those after them return at once.
const CALLS: i32 = 150;
/// The tags: two imported, two defined. The last has no parameter.
const TAGS: usize = 4;

type Body = Vec<Node>;
type LabelId = usize;

enum Node {
    /// Adds a number to the trace.
    Trace(i32),
    Call(usize),
    CallIndirect(usize),
    ReturnCall(usize),
    Return,
    Throw(usize),
    /// Throws what was last caught by reference, if anything was.
    ThrowRef,
    /// Runs its body when a bit of the trace is set.
    Maybe(u32, Body),
    Block(LabelId, Body),
    Branch(LabelId),
    TryTable(LabelId, Body, Vec<Clause>),
    /// The clauses' `by_reference` has no meaning.
    Try(LabelId, Body, Vec<Clause>),
    Delegate(LabelId, Body, LabelId),
    Rethrow(LabelId),
}

struct Clause {
    tag: Option<usize>,
    by_reference: bool,
    body: Body,
}

/// What surrounds a node that is being made.
#[derive(Clone, Default)]
struct Scope {
    /// Every block; those that can be branched to (`true`), and others that can be delegated to.
    labels: Vec<(LabelId, bool)>,
    /// Blocks of `try` in whose handlers the node is.
    handling: Vec<LabelId>,
}

impl Scope {
    fn with(&self, label: LabelId, is_branchable: bool) -> Scope {
        let mut scope = self.clone();
        scope.labels.push((label, is_branchable));
        scope
    }
}

struct Maker {
    random: Random,
    labels: usize,
}

impl Maker {
    fn body(&mut self, scope: &Scope, depth: usize) -> Body {
        let length = 1 + self.random.below(4);
        (0..length).map(|_| self.node(scope, depth)).collect()
    }

    fn clauses(&mut self, scope: &Scope, depth: usize) -> Vec<Clause> {
        let count = self.random.below(4);
        let mut clauses = Vec::new();
        for _ in 0..count {
            let is_all = self.random.below(4) == 0;
            clauses.push(Clause {
                tag: (!is_all).then(|| self.random.below(TAGS)),
                by_reference: self.random.below(2) == 0,
                body: self.body(scope, depth - 1),
            });
            if is_all {
                break;
            }
        }
        clauses
    }

    fn node(&mut self, scope: &Scope, depth: usize) -> Node {
        let label = self.labels;
        self.labels += 1;
        let kinds = if depth == 0 { 8 } else { 16 };
        match self.random.below(kinds) {
            0 => Node::Throw(self.random.below(TAGS)),
            1 => Node::Call(self.random.below(FUNCTIONS)),
            2 => Node::CallIndirect(self.random.below(FUNCTIONS)),
            3 => Node::ThrowRef,
            4 if self.random.below(3) == 0 => Node::Return,
            4 if self.random.below(2) == 0 => Node::ReturnCall(self.random.below(FUNCTIONS)),
            5 => {
                let targets: Vec<_> = scope.labels.iter().filter(|label| label.1).collect();
                match targets.len() {
                    0 => Node::Trace(5),
                    count => Node::Branch(targets[self.random.below(count)].0),
                }
            }
            6 => match scope.handling.len() {
                0 => Node::Trace(6),
                count => Node::Rethrow(scope.handling[self.random.below(count)]),
            },
            4 | 7 => Node::Trace(self.random.below(100) as i32),
            8 | 9 => Node::Maybe(self.random.below(8) as u32, self.body(scope, depth - 1)),
            10 => Node::Block(label, self.body(&scope.with(label, true), depth - 1)),
            11..13 => {
                let body = self.body(&scope.with(label, true), depth - 1);
                Node::TryTable(label, body, self.clauses(scope, depth))
            }
            13 | 14 => {
                let body = self.body(&scope.with(label, true), depth - 1);
                let mut handlers = scope.with(label, true);
                handlers.handling.push(label);
                Node::Try(label, body, self.clauses(&handlers, depth))
            }
            _ => {
                let body = self.body(&scope.with(label, true), depth - 1);
                match scope.labels.len() {
                    0 => Node::Block(label, body),
                    count => Node::Delegate(label, body, scope.labels[self.random.below(count)].0),
                }
            }
        }
    }
}

// In WebAssembly.

fn has_parameter(tag: usize) -> bool {
    tag != TAGS - 1
}

fn write_body(out: &mut String, body: &Body) {
    for node in body {
        write_node(out, node);
    }
}

/// Adds what is on the stack to the trace.
const ADD: &str = "call $trace\n";

fn write_node(out: &mut String, node: &Node) {
    match node {
        Node::Trace(value) => write!(out, "i32.const {value} {ADD}").unwrap(),
        Node::Call(func) => writeln!(out, "call $f{func}").unwrap(),
        Node::CallIndirect(func) => {
            writeln!(out, "i32.const {func} call_indirect (type $t)").unwrap();
        }
        Node::ReturnCall(func) => writeln!(out, "return_call $f{func}").unwrap(),
        Node::Return => out.push_str("return\n"),
        Node::Throw(tag) => {
            if has_parameter(*tag) {
                out.push_str("global.get $hash ");
            }
            writeln!(out, "throw $e{tag}").unwrap();
        }
        Node::ThrowRef => {
            out.push_str("local.get $x ref.is_null i32.eqz if local.get $x throw_ref end\n");
        }
        Node::Maybe(bit, body) => {
            writeln!(
                out,
                "global.get $hash i32.const {bit} i32.shr_u i32.const 1 i32.and if"
            )
            .unwrap();
            write_body(out, body);
            out.push_str("end\n");
        }
        Node::Block(label, body) => {
            writeln!(out, "block $l{label}").unwrap();
            write_body(out, body);
            out.push_str("end\n");
        }
        Node::Branch(label) => writeln!(out, "br $l{label}").unwrap(),
        Node::Rethrow(label) => writeln!(out, "rethrow $l{label}").unwrap(),
        Node::Delegate(label, body, target) => {
            writeln!(out, "try $l{label}").unwrap();
            write_body(out, body);
            writeln!(out, "delegate $l{target}").unwrap();
        }
        Node::Try(label, body, clauses) => {
            writeln!(out, "try $l{label}").unwrap();
            write_body(out, body);
            for clause in clauses {
                match clause.tag {
                    Some(tag) => {
                        let add = if has_parameter(tag) { ADD } else { "" };
                        writeln!(out, "catch $e{tag} {add}").unwrap();
                    }
                    None => out.push_str("catch_all\n"),
                }
                write_body(out, &clause.body);
            }
            out.push_str("end\n");
        }
        Node::TryTable(label, body, clauses) => write_try_table(out, *label, body, clauses),
    }
}

fn write_try_table(out: &mut String, label: LabelId, body: &Body, clauses: &[Clause]) {
    writeln!(out, "block $done{label}").unwrap();
    for (number, clause) in clauses.iter().enumerate().rev() {
        let number_type = match clause.tag {
            Some(tag) if has_parameter(tag) => "i32",
            _ => "",
        };
        let reference = if clause.by_reference { "exnref" } else { "" };
        writeln!(
            out,
            "block $h{label}_{number} (result {number_type} {reference})"
        )
        .unwrap();
    }
    write!(out, "try_table $l{label}").unwrap();
    for (number, clause) in clauses.iter().enumerate() {
        let reference = if clause.by_reference { "_ref" } else { "" };
        match clause.tag {
            Some(tag) => write!(out, " (catch{reference} $e{tag} $h{label}_{number})"),
            None => write!(out, " (catch_all{reference} $h{label}_{number})"),
        }
        .unwrap();
    }
    out.push('\n');
    write_body(out, body);
    writeln!(out, "end br $done{label}").unwrap();
    for clause in clauses {
        out.push_str("end\n");
        if clause.by_reference {
            out.push_str("local.set $x\n");
        }
        if clause.tag.is_some_and(has_parameter) {
            out.push_str(ADD);
        }
        write_body(out, &clause.body);
        writeln!(out, "br $done{label}").unwrap();
    }
    out.push_str("end\n");
}

fn text(functions: &[Body]) -> String {
    let mut out = String::from(
        r#"(module
(type $t (func))
(import "" "e0" (tag $e0 (param i32)))
(import "" "e1" (tag $e1 (param i32)))
(import "" "hash" (global $hash (mut i32)))
(tag $e2 (export "e2") (param i32))
(tag $e3 (export "e3"))
(global $calls (mut i32) (i32.const 0))
(table funcref (elem $f0 $f1 $f2 $f3 $f4 $f5))
(func $trace (param i32)
  (global.set $hash (i32.add (i32.mul (global.get $hash) (i32.const 31)) (local.get 0))))
"#,
    );
    for (number, body) in functions.iter().enumerate() {
        writeln!(
            out,
            "(func $f{number} (export \"f{number}\") (type $t) (local $x exnref)\n\
             global.get $calls i32.const {CALLS} i32.ge_s if return end\n\
             global.get $calls i32.const 1 i32.add global.set $calls"
        )
        .unwrap();
        write_body(&mut out, body);
        out.push_str(")\n");
    }
    out.push(')');
    out
}

// The interpreter.

#[derive(Clone, Debug)]
struct Exception {
    /// The tag's identity.
    tag: usize,
    value: i32,
}

/// How a body ends, if not at its end.
enum Stop {
    Branch(LabelId),
    Return,
    ReturnCall(usize),
    /// An exception, which goes past everything up to a block if it was delegated there.
    Throw(Exception, Option<LabelId>),
}

struct Interpreter<'p> {
    functions: &'p [Body],
    /// By number.
    identities: [usize; TAGS],
    hash: i32,
    calls: i32,
}

#[derive(Default)]
struct Frame {
    last: Option<Exception>,
    /// What the handlers that are running have caught.
    handling: Vec<(LabelId, Exception)>,
}

impl Interpreter<'_> {
    fn add(&mut self, value: i32) {
        self.hash = self.hash.wrapping_mul(31).wrapping_add(value);
    }

    fn call(&mut self, mut func: usize) -> Result<(), Exception> {
        loop {
            if self.calls >= CALLS {
                return Ok(());
            }
            self.calls += 1;
            let functions = self.functions;
            match self.body(&functions[func], &mut Frame::default()) {
                Ok(()) | Err(Stop::Return) => return Ok(()),
                Err(Stop::ReturnCall(next)) => func = next,
                Err(Stop::Throw(exception, None)) => return Err(exception),
                Err(Stop::Branch(_) | Stop::Throw(_, Some(_))) => unreachable!("within a body"),
            }
        }
    }

    fn body(&mut self, body: &Body, frame: &mut Frame) -> Result<(), Stop> {
        body.iter().try_for_each(|node| self.node(node, frame))
    }

    fn node(&mut self, node: &Node, frame: &mut Frame) -> Result<(), Stop> {
        match node {
            Node::Trace(value) => self.add(*value),
            Node::Call(func) | Node::CallIndirect(func) => {
                self.call(*func).map_err(|e| Stop::Throw(e, None))?;
            }
            Node::ReturnCall(func) => return Err(Stop::ReturnCall(*func)),
            Node::Return => return Err(Stop::Return),
            Node::Throw(tag) => {
                let value = if has_parameter(*tag) { self.hash } else { 0 };
                let tag = self.identities[*tag];
                return Err(Stop::Throw(Exception { tag, value }, None));
            }
            Node::ThrowRef => {
                if let Some(exception) = &frame.last {
                    return Err(Stop::Throw(exception.clone(), None));
                }
            }
            Node::Maybe(bit, body) => {
                if self.hash >> bit & 1 != 0 {
                    self.body(body, frame)?;
                }
            }
            Node::Block(label, body) => return end_of(*label, self.body(body, frame)),
            Node::Branch(label) => return Err(Stop::Branch(*label)),
            Node::Rethrow(label) => {
                let caught = frame.handling.iter().rev().find(|h| h.0 == *label);
                return Err(Stop::Throw(caught.expect("in the handler").1.clone(), None));
            }
            Node::Delegate(label, body, target) => {
                return match end_of(*label, self.body(body, frame)) {
                    Err(Stop::Throw(exception, None)) => Err(Stop::Throw(exception, Some(*target))),
                    other => other,
                };
            }
            Node::TryTable(label, body, clauses) => {
                let ended = end_of(*label, self.body(body, frame));
                let (clause, exception) = match self.find(ended, clauses)? {
                    Some(found) => found,
                    None => return Ok(()),
                };
                if clause.by_reference {
                    frame.last = Some(exception.clone());
                }
                self.add_argument(clause, &exception);
                self.body(&clause.body, frame)?;
            }
            Node::Try(label, body, clauses) => {
                let ended = end_of(*label, self.body(body, frame));
                let (clause, exception) = match self.find(ended, clauses)? {
                    Some(found) => found,
                    None => return Ok(()),
                };
                self.add_argument(clause, &exception);
                frame.handling.push((*label, exception));
                let ended = self.body(&clause.body, frame);
                frame.handling.pop();
                return end_of(*label, ended);
            }
        }
        Ok(())
    }

    fn add_argument(&mut self, clause: &Clause, exception: &Exception) {
        if clause.tag.is_some_and(has_parameter) {
            self.add(exception.value);
        }
    }

    /// Who catches, if an exception has got to these clauses; `None` when there was none.
    fn find<'c>(
        &self,
        ended: Result<(), Stop>,
        clauses: &'c [Clause],
    ) -> Result<Option<(&'c Clause, Exception)>, Stop> {
        let exception = match ended {
            Ok(()) => return Ok(None),
            Err(Stop::Throw(exception, None)) => exception,
            Err(other) => return Err(other),
        };
        let takes = |clause: &&Clause| {
            clause
                .tag
                .is_none_or(|tag| self.identities[tag] == exception.tag)
        };
        match clauses.iter().find(takes) {
            Some(clause) => Ok(Some((clause, exception))),
            None => Err(Stop::Throw(exception, None)),
        }
    }
}

/// What the end of a block makes of what happened in it.
fn end_of(label: LabelId, ended: Result<(), Stop>) -> Result<(), Stop> {
    match ended {
        Err(Stop::Branch(to)) if to == label => Ok(()),
        Err(Stop::Throw(exception, Some(to))) if to == label => Err(Stop::Throw(exception, None)),
        other => other,
    }
}

fn compare(engine: &Engine, seed: u64) {
    let mut maker = Maker {
        random: Random::new(seed),
        labels: 0,
    };
    let functions: Vec<Body> = (0..FUNCTIONS)
        .map(|_| {
            let depth = maker.random.below(5);
            maker.body(&Scope::default(), depth)
        })
        .collect();
    let is_one_tag = maker.random.below(2) == 0;
    let text = text(&functions);
    let module = Module::new(engine, &text).unwrap_or_else(|e| panic!("{seed}: {e:?}\n{text}"));
    let mut store = Store::new(engine, ());
    let ty = TagType::new(FuncType::new(engine, [ValType::I32], []));
    let first = Tag::new(&mut store, &ty).unwrap();
    let second = if is_one_tag {
        first
    } else {
        Tag::new(&mut store, &ty).unwrap()
    };
    let ty = sarsen::GlobalType::new(ValType::I32, Mutability::Var);
    let hash = Global::new(&mut store, ty, Val::I32(1)).unwrap();
    let imports = [first.into(), second.into(), hash.into()];
    let instance = Instance::new(&mut store, &module, &imports).unwrap();
    let mut interpreter = Interpreter {
        functions: &functions,
        identities: [0, usize::from(!is_one_tag), 2, 3],
        hash: 1,
        calls: 0,
    };
    for (number, _) in functions.iter().enumerate() {
        let expected = interpreter.call(number);
        let func = instance
            .get_func(&mut store, &format!("f{number}"))
            .unwrap();
        let found = func.call(&mut store, &[], &mut []);
        match (&expected, &found) {
            (Ok(()), Ok(())) => {}
            (Err(thrown), Err(error)) => {
                assert!(error.is::<ThrownException>(), "{seed}: {error:?}\n{text}");
                let exception = store.take_pending_exception().unwrap();
                let tags = [
                    first,
                    second,
                    instance.get_tag(&mut store, "e2").unwrap(),
                    instance.get_tag(&mut store, "e3").unwrap(),
                ];
                let tag = exception.tag(&mut store).unwrap();
                assert!(
                    Tag::eq(&tag, &tags[thrown.tag], &store),
                    "{seed}: another tag than {thrown:?}\n{text}"
                );
                if has_parameter(thrown.tag) {
                    let value = exception.field(&mut store, 0).unwrap().i32();
                    assert_eq!(value, Some(thrown.value), "{seed}\n{text}");
                }
            }
            _ => panic!("{seed}, function {number}: {expected:?}, but {found:?}\n{text}"),
        }
        let trace = hash.get(&mut store).i32();
        assert_eq!(
            trace,
            Some(interpreter.hash),
            "{seed}, function {number}\n{text}"
        );
    }
}

#[test]
fn programs_throw_and_catch_as_the_interpreter_does() {
    let engine = Engine::default();
    for seed in 0..PROGRAMS {
        compare(&engine, seed);
    }
}

#[test]
fn programs_throw_and_catch_under_zeal() {
    let mut config = Config::new();
    config.gc_zeal(Some(NonZeroU32::MIN));
    let engine = Engine::new(&config).unwrap();
    for seed in PROGRAMS..PROGRAMS * 3 / 2 {
        compare(&engine, seed);
    }
}
