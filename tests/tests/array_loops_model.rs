//! Random loops over arrays, against an interpreter of a few lines: what the compiler knows of an index, it may
//! only know if it is true.
//!
//! A program is a tree; the interpreter here walks it, what it is in WebAssembly is compiled. Both must come to
//! the same sum, or trap alike. Loops are mostly of the kinds that people and compilers write, so that many
//! checks are left out, and a little wrong: they begin below zero, go too far, count what they should not.

use sarsen::{Engine, Instance, Module, Store, Trap, TypedFunc};
use sarsen_tests::Random;
use std::fmt::Write;

const PROGRAMS: u64 = 30;
const FUNCTIONS: usize = 20;
/// How often loops go round in a run, before it traps.
const ROUNDS: i32 = 40;
/// The largest array that a program makes on its way; a power of two.
const MOST: i32 = 8;
const NAMES: [&str; 4] = ["$i", "$j", "$n", "$m"];

/// A variable: the position of its name. The first two are zero at first, the others parameters.
type Var = usize;

#[derive(Clone, Copy)]
enum Operand {
    Var(Var),
    Sum(Var, i32),
    Constant(i32),
    Length,
}

#[derive(Clone, Copy)]
struct Condition {
    comparison: &'static str,
    x: Operand,
    y: Operand,
    negated: bool,
}

enum Node {
    Get(Operand),
    Set(Operand),
    Assign(Var, Operand),
    /// Another array, of so many elements modulo [`MOST`].
    Renew(Operand),
    If(Condition, Vec<Node>, Vec<Node>),
    Loop(Box<Loop>),
    /// To the end of a round, or out of the loop.
    BranchIf(Condition, Exit),
    /// Where a variable says: nowhere, or as one of the branches. Several ways lead to the loop's beginning then.
    Switch(Var),
    /// A call, over which the array moves.
    Call,
}

struct Loop {
    kind: LoopKind,
    goes_on: Condition,
    body: Vec<Node>,
    step: Node,
}

/// When a loop looks whether it goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LoopKind {
    First,
    Last,
    /// Last, and once before it is entered.
    LastAndBefore,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Exit {
    Continue,
    Break,
    /// To the loop's beginning, without its step.
    Again,
}

struct Maker(Random);

impl Maker {
    /// Whether something happens that does so many times of a hundred.
    fn chance(&mut self, percent: usize) -> bool {
        self.0.below(100) < percent
    }

    fn operand(&mut self) -> Operand {
        match self.0.below(10) {
            0..4 => Operand::Length,
            4..6 => Operand::Var(self.0.below(2)),
            6..8 => Operand::Var(2 + self.0.below(2)),
            _ => Operand::Constant(self.0.choose(&[0, 1, 2, 4, 5, -1, i32::MAX, i32::MIN])),
        }
    }

    fn index(&mut self) -> Operand {
        let var = self.0.below(2);
        match self.0.below(10) {
            0..8 => Operand::Var(var),
            8 => Operand::Sum(var, self.0.choose(&[1, -1, 2])),
            _ => Operand::Var(2 + var),
        }
    }

    fn condition(&mut self) -> Condition {
        let often = ["lt_s", "lt_u", "ge_s", "ge_u"];
        let seldom = ["le_s", "le_u", "gt_s", "gt_u", "eq", "ne"];
        let comparison = if self.chance(80) {
            self.0.choose(&often)
        } else {
            self.0.choose(&seldom)
        };
        let (mut x, mut y) = (Operand::Var(self.0.below(2)), self.operand());
        if self.chance(15) {
            std::mem::swap(&mut x, &mut y);
        }
        Condition {
            comparison,
            x,
            y,
            negated: self.chance(20),
        }
    }

    fn body(&mut self, depth: usize, in_loop: bool) -> Vec<Node> {
        let length = 1 + self.0.below(3);
        (0..length).map(|_| self.node(depth, in_loop)).collect()
    }

    fn node(&mut self, depth: usize, in_loop: bool) -> Node {
        match self.0.below(100) {
            0..40 => Node::Get(self.index()),
            40..50 => Node::Set(self.index()),
            50..62 => {
                let var = self.0.below(2);
                Node::Assign(var, Operand::Sum(var, self.0.choose(&[1, 1, 1, 1, 2, -1])))
            }
            62..68 => Node::Assign(self.0.below(4), self.operand()),
            68..78 if depth > 0 => {
                let condition = self.condition();
                let then = self.body(depth - 1, in_loop);
                let otherwise = if self.chance(40) {
                    self.body(depth - 1, in_loop)
                } else {
                    Vec::new()
                };
                Node::If(condition, then, otherwise)
            }
            78..90 if depth > 0 => self.counting_loop(depth - 1),
            90..93 if in_loop => {
                let exit = self.0.choose(&[Exit::Continue, Exit::Break, Exit::Again]);
                Node::BranchIf(self.condition(), exit)
            }
            93 if in_loop => Node::Switch(self.0.below(4)),
            94..97 => Node::Call,
            97.. => Node::Renew(self.operand()),
            _ => Node::Get(self.index()),
        }
    }

    fn counting_loop(&mut self, depth: usize) -> Node {
        let var = self.0.below(2);
        let step = if self.chance(85) {
            1
        } else {
            self.0.choose(&[2, -1])
        };
        let y = if self.chance(75) {
            Operand::Length
        } else {
            self.operand()
        };
        let goes_on = Condition {
            comparison: self
                .0
                .choose(&["lt_s", "lt_u", "lt_s", "lt_u", "ne", "le_s", "le_u"]),
            x: Operand::Var(var),
            y,
            negated: false,
        };
        Node::Loop(Box::new(Loop {
            kind: self
                .0
                .choose(&[LoopKind::First, LoopKind::Last, LoopKind::LastAndBefore]),
            goes_on,
            body: self.body(depth, true),
            step: Node::Assign(var, Operand::Sum(var, step)),
        }))
    }
}

struct Interpreter {
    array: Vec<i32>,
    vars: [i32; 4],
    sum: i32,
    rounds: i32,
}

enum Stop {
    Trap(Trap),
    Exit(Exit),
}

impl Interpreter {
    fn value(&self, operand: Operand) -> i32 {
        match operand {
            Operand::Var(var) => self.vars[var],
            Operand::Sum(var, added) => self.vars[var].wrapping_add(added),
            Operand::Constant(value) => value,
            Operand::Length => self.array.len() as i32,
        }
    }

    fn holds(&self, condition: &Condition) -> bool {
        let (x, y) = (self.value(condition.x), self.value(condition.y));
        let (ux, uy) = (x as u32, y as u32);
        let holds = match condition.comparison {
            "lt_s" => x < y,
            "le_s" => x <= y,
            "gt_s" => x > y,
            "ge_s" => x >= y,
            "lt_u" => ux < uy,
            "le_u" => ux <= uy,
            "gt_u" => ux > uy,
            "ge_u" => ux >= uy,
            "eq" => x == y,
            "ne" => x != y,
            other => unreachable!("{other}"),
        };
        holds != condition.negated
    }

    fn element(&mut self, index: Operand) -> Result<&mut i32, Stop> {
        let index = self.value(index) as u32 as usize;
        let element = self.array.get_mut(index);
        element.ok_or(Stop::Trap(Trap::ArrayOutOfBounds))
    }

    fn run(&mut self, body: &[Node]) -> Result<(), Stop> {
        for node in body {
            match node {
                Node::Get(index) => {
                    let element = *self.element(*index)?;
                    self.sum = self.sum.wrapping_mul(31).wrapping_add(element);
                }
                Node::Set(index) => *self.element(*index)? = self.sum,
                Node::Assign(var, value) => self.vars[*var] = self.value(*value),
                Node::Renew(length) => {
                    let length = self.value(*length) & (MOST - 1);
                    self.array = vec![9; length as usize];
                }
                Node::If(condition, then, otherwise) => {
                    let body = if self.holds(condition) {
                        then
                    } else {
                        otherwise
                    };
                    self.run(body)?;
                }
                Node::Loop(inner) => self.run_loop(inner)?,
                Node::BranchIf(condition, exit) => {
                    if self.holds(condition) {
                        return Err(Stop::Exit(*exit));
                    }
                }
                Node::Switch(var) => match self.vars[*var] {
                    1 => return Err(Stop::Exit(Exit::Continue)),
                    2 => return Err(Stop::Exit(Exit::Again)),
                    0 | 3 => {}
                    _ => return Err(Stop::Exit(Exit::Break)),
                },
                Node::Call => self.sum = self.sum.wrapping_add(7),
            }
        }
        Ok(())
    }

    fn run_loop(&mut self, inner: &Loop) -> Result<(), Stop> {
        if inner.kind == LoopKind::LastAndBefore && !self.holds(&inner.goes_on) {
            return Ok(());
        }
        loop {
            self.rounds -= 1;
            if self.rounds < 0 {
                return Err(Stop::Trap(Trap::UnreachableCodeReached));
            }
            if inner.kind == LoopKind::First && !self.holds(&inner.goes_on) {
                return Ok(());
            }
            match self.run(&inner.body) {
                Err(Stop::Exit(Exit::Break)) => return Ok(()),
                Err(Stop::Exit(Exit::Again)) => continue,
                Ok(()) | Err(Stop::Exit(Exit::Continue)) => {}
                Err(trap) => return Err(trap),
            }
            self.run(std::slice::from_ref(&inner.step))?;
            if inner.kind != LoopKind::First && !self.holds(&inner.goes_on) {
                return Ok(());
            }
        }
    }
}

/// A program in text format. Labels are numbered.
struct Text {
    out: String,
    labels: usize,
}

impl Text {
    fn body(&mut self, body: &[Node], label: usize) {
        for node in body {
            self.node(node, label);
        }
    }

    fn node(&mut self, node: &Node, label: usize) {
        let out = &mut self.out;
        match node {
            Node::Get(index) => writeln!(
                out,
                "(local.set $sum (i32.add (i32.mul (local.get $sum) (i32.const 31))
                   (array.get $t (local.get $a) {})))",
                operand(*index)
            ),
            Node::Set(index) => writeln!(
                out,
                "(array.set $t (local.get $a) {} (local.get $sum))",
                operand(*index)
            ),
            Node::Assign(var, value) => {
                writeln!(out, "(local.set {} {})", NAMES[*var], operand(*value))
            }
            Node::Renew(length) => writeln!(
                out,
                "(local.set $a (array.new $t (i32.const 9)
                   (i32.and {} (i32.const {}))))",
                operand(*length),
                MOST - 1
            ),
            Node::Call => writeln!(out, "(local.set $sum (call $seven (local.get $sum)))"),
            Node::BranchIf(when, exit) => {
                let to = match exit {
                    Exit::Break => "break",
                    Exit::Continue => "round",
                    Exit::Again => "loop",
                };
                writeln!(out, "(br_if ${to}{label} {})", condition(when))
            }
            Node::Switch(var) => writeln!(
                out,
                "(block $on (br_table $on $round{label} $loop{label} $on $break{label} (local.get {})))",
                NAMES[*var]
            ),
            Node::If(when, then, otherwise) => {
                writeln!(out, "(if {} (then", condition(when)).unwrap();
                self.body(then, label);
                writeln!(self.out, ") (else").unwrap();
                self.body(otherwise, label);
                writeln!(self.out, "))")
            }
            Node::Loop(inner) => {
                self.labels += 1;
                self.counting_loop(inner, self.labels);
                Ok(())
            }
        }
        .unwrap();
    }

    fn counting_loop(&mut self, inner: &Loop, label: usize) {
        let goes_on = condition(&inner.goes_on);
        let mut begin = String::new();
        let mut again = format!("(br_if $loop{label} {goes_on})");
        match inner.kind {
            LoopKind::First => {
                begin = format!("(br_if $break{label} (i32.eqz {goes_on}))");
                again = format!("(br $loop{label})");
            }
            LoopKind::Last => {}
            LoopKind::LastAndBefore => {
                writeln!(self.out, "(if {goes_on} (then").unwrap();
            }
        }
        writeln!(
            self.out,
            "(block $break{label} (loop $loop{label}
               (global.set $rounds (i32.sub (global.get $rounds) (i32.const 1)))
               (if (i32.lt_s (global.get $rounds) (i32.const 0)) (then (unreachable)))
               {begin} (block $round{label}"
        )
        .unwrap();
        self.body(&inner.body, label);
        writeln!(self.out, ")").unwrap();
        self.node(&inner.step, label);
        writeln!(self.out, "{again}))").unwrap();
        if inner.kind == LoopKind::LastAndBefore {
            writeln!(self.out, "))").unwrap();
        }
    }
}

fn operand(operand: Operand) -> String {
    match operand {
        Operand::Var(var) => format!("(local.get {})", NAMES[var]),
        Operand::Sum(var, added) => {
            format!("(i32.add (local.get {}) (i32.const {added}))", NAMES[var])
        }
        Operand::Constant(value) => format!("(i32.const {value})"),
        Operand::Length => "(array.len (local.get $a))".to_owned(),
    }
}

fn condition(condition: &Condition) -> String {
    let Condition {
        comparison, x, y, ..
    } = *condition;
    let text = format!("(i32.{comparison} {} {})", operand(x), operand(y));
    if condition.negated {
        format!("(i32.eqz {text})")
    } else {
        text
    }
}

fn text(functions: &[Vec<Node>]) -> String {
    let out = format!(
        "(module
           (type $t (array (mut i32)))
           (global $rounds (mut i32) (i32.const 0))
           (func $seven (param i32) (result i32) (i32.add (local.get 0) (i32.const 7)))
           (func (export \"f\") (param i32 i32 i32 i32) (result i32)
             (global.set $rounds (i32.const {ROUNDS}))
             (call_indirect (param i32 i32 i32) (result i32)
               (local.get 1) (local.get 2) (local.get 3) (local.get 0)))\n"
    );
    let mut text = Text { out, labels: 0 };
    for (number, body) in functions.iter().enumerate() {
        // Null is known of some and not of others.
        let null = if number % 2 == 0 { "null" } else { "" };
        writeln!(
            text.out,
            "(func $f{number} (param $length i32) (param $n i32) (param $m i32) (result i32)
               (local $a (ref {null} $t)) (local $i i32) (local $j i32) (local $sum i32)
               (local.set $a (array.new $t (i32.const 5) (local.get $length)))"
        )
        .unwrap();
        text.body(body, 0);
        writeln!(text.out, "(local.get $sum))").unwrap();
    }
    let names: String = (0..functions.len()).map(|n| format!(" $f{n}")).collect();
    text.out + &format!("(table funcref (elem{names})))")
}

fn compare(engine: &Engine, seed: u64) {
    let mut maker = Maker(Random::new(seed));
    let functions: Vec<Vec<Node>> = (0..FUNCTIONS)
        .map(|_| {
            let mut body = maker.body(3, false);
            body.push(maker.counting_loop(2));
            body
        })
        .collect();
    let text = text(&functions);
    let module = Module::new(engine, &text).unwrap_or_else(|e| panic!("{seed}: {e:?}\n{text}"));
    let mut store = Store::new(engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let run: TypedFunc<(i32, i32, i32, i32), i32> =
        instance.get_typed_func(&mut store, "f").unwrap();
    for (number, body) in functions.iter().enumerate() {
        for _ in 0..6 {
            let length = maker.0.choose(&[0, 1, 2, 3, 5, 6]);
            let n = maker
                .0
                .choose(&[0, 1, length, length + 1, length - 1, -1, i32::MAX, i32::MIN]);
            let m = maker.0.choose(&[0, length, 3, -2, 100]);
            let mut interpreter = Interpreter {
                array: vec![5; length as usize],
                vars: [0, 0, n, m],
                sum: 0,
                rounds: ROUNDS,
            };
            let expected = match interpreter.run(body) {
                Ok(()) => Ok(interpreter.sum),
                Err(Stop::Trap(trap)) => Err(trap),
                Err(Stop::Exit(_)) => unreachable!("it is in a loop"),
            };
            let found = run.call(&mut store, (number as i32, length, n, m));
            let found = found.map_err(|error| *error.downcast_ref::<Trap>().expect("a trap"));
            assert_eq!(
                found, expected,
                "{seed}: function {number} of ({length}, {n}, {m})\n{text}"
            );
        }
    }
}

#[test]
fn loops_over_arrays_trap_where_the_interpreter_does() {
    let engine = Engine::default();
    for seed in 0..PROGRAMS {
        compare(&engine, seed);
    }
}
