//! The reference: a machine that executes programs.
//!
//! Control is a stack of frames that are data: what is still to do in a body, blocks and handlers that are
//! open, functions with their registers, and *prompts*, below which stands who resumed. A continuation that
//! is suspended is the frames that stood above a prompt. What is done with continuations is in
//! `continuations`, and which of them are alive in `reach`.
//!
//! The host's functions have frames like any others, which are barriers as well. One that has suspended has
//! ended, so its frame goes with the continuation: it is a function again that runs what is to be done then.

mod continuations;
mod reach;

use super::program::{
    Body, Call, Catch, Clause, FUNCTIONS, GUESTS, How, INSTANCES, Kind, LabelId, Node, Place,
    Program, SLOTS, TAGS, Ty,
};
use sarsen::Trap;
use std::collections::BTreeMap;
use std::rc::Rc;

/// A value that is passed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Value {
    /// A number, of whatever type.
    Number(i32),
    Object(Option<usize>),
    Cont(Kind, Option<usize>),
}

/// Which tag it is: those of instances differ, imported ones do not.
pub(crate) type TagId = (Option<usize>, usize);

#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Exception {
    pub(crate) tag: TagId,
    pub(crate) values: Vec<Value>,
}

/// How a call ends.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    Returned(i32),
    Threw(Rc<Exception>),
    /// With so many frames of WebAssembly in its backtrace.
    Failed(Failure, usize),
    /// It was a future, and dropped while it waited.
    Dropped,
}

/// A failure that is not an exception: only the host goes on after it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Failure {
    Trap(Trap),
    /// The host's own.
    Host(i32),
    /// A function that may wait was called where nothing can.
    CannotWait,
}

impl Failure {
    /// What the host makes of it when it goes on.
    pub(crate) fn number(self) -> i32 {
        match self {
            Failure::Trap(_) => -1,
            Failure::CannotWait => -2,
            Failure::Host(number) => number,
        }
    }
}

/// What a function of the host returns at once when this many have not ended: they take much of the native stack.
pub(crate) const TOO_DEEP: i32 = -3;
pub(crate) const HOST_DEPTH: usize = 8;
/// What [`Node::Inspect`] finds where nothing is to be seen.
pub(crate) const NO_CONT: i32 = -4;
pub(crate) const CONSUMED: i32 = -5;

/// Where a function runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Home {
    Instance(usize),
    Host { waits: bool },
}

impl Home {
    /// The instance whose tags and functions are meant. The host's are those of the first.
    fn instance(self) -> usize {
        match self {
            Home::Instance(instance) => instance,
            Home::Host { .. } => 0,
        }
    }
}

#[derive(Clone, Default)]
struct Registers {
    number: i32,
    object: Option<usize>,
    conts: [Option<usize>; Kind::ALL.len()],
    exception: Option<Rc<Exception>>,
}

struct Object {
    number: i32,
    cont: Option<usize>,
}

/// The state of a continuation, and what is bound to it.
struct Cont<'p> {
    state: State<'p>,
    bound: Vec<Value>,
}

enum State<'p> {
    Consumed,
    /// An instance and a function.
    Fresh(usize, usize),
    Suspended(Vec<Frame<'p>>),
}

enum Frame<'p> {
    /// A function. Everything above, up to the next of these, belongs to it.
    Function(Home, Registers),
    /// What is left of a body.
    Rest(&'p [Node]),
    Block(LabelId),
    Loop(LabelId, &'p Body),
    Try(&'p [Catch]),
    /// Goes on when it gets values.
    Await,
    /// A resume: what is above runs in the continuation.
    Prompt(&'p [Clause]),
    Swallow,
}

/// What each instance has of its own.
#[derive(Default)]
struct Instance {
    globals: [Option<usize>; Kind::ALL.len()],
    cell: [Option<usize>; Kind::ALL.len()],
    tables: [[Option<usize>; SLOTS]; Kind::ALL.len()],
}

/// How many of these are functions in WebAssembly.
fn guests(frames: &[Frame]) -> usize {
    let is_guest = |frame: &&Frame| matches!(frame, Frame::Function(Home::Instance(_), _));
    frames.iter().filter(is_guest).count()
}

/// What control does next.
enum Step {
    Next,
    Return(i32),
    Throw(Rc<Exception>),
    Fail(Failure),
    Drop,
}

/// The guest traps.
fn trap(trap: Trap) -> Step {
    Step::Fail(Failure::Trap(trap))
}

/// How often things happened, by name.
pub(crate) type Counts = BTreeMap<&'static str, u64>;

pub(crate) struct Machine<'p> {
    program: &'p Program,
    instances: [Instance; INSTANCES],
    host_globals: [Option<usize>; Kind::ALL.len()],
    objects: Vec<Object>,
    conts: Vec<Cont<'p>>,
    stack: Vec<Frame<'p>>,
    pub(crate) fuel: i32,
    /// What every function mixes in first.
    input: i32,
    /// Whether the call is a future.
    is_async: bool,
    /// How often it may still wait until it is dropped.
    patience: usize,
    pub(crate) log: Vec<i32>,
    pub(crate) counts: Counts,
}

impl<'p> Machine<'p> {
    pub(crate) fn new(program: &'p Program) -> Machine<'p> {
        Machine {
            program,
            instances: Default::default(),
            host_globals: Default::default(),
            objects: Vec::new(),
            conts: Vec::new(),
            stack: Vec::new(),
            fuel: 0,
            input: 0,
            is_async: false,
            patience: 0,
            log: Vec::new(),
            counts: Counts::new(),
        }
    }

    /// Sets what is left of fuel, and the input.
    pub(crate) fn begin(&mut self, fuel: i32, input: i32) {
        (self.fuel, self.input) = (fuel, input);
    }

    /// Calls a function that takes nothing.
    pub(crate) fn call(&mut self, call: &Call) -> Outcome {
        (self.is_async, self.patience) = (call.is_async, call.patience);
        let (instance, function) = (call.instance, call.function);
        let mut step = self.enter(instance, function, &[]);
        loop {
            step = match step {
                Step::Next => self.step(),
                Step::Return(number) => match self.leave() {
                    Some(step) => {
                        self.take(&[Value::Number(number)]);
                        step
                    }
                    None => return Outcome::Returned(number),
                },
                Step::Throw(exception) => match self.unwind(&exception) {
                    Some(step) => step,
                    None => return Outcome::Threw(exception),
                },
                Step::Fail(failure) => {
                    let frames = guests(&self.stack);
                    match self.abandon(failure) {
                        Some(step) => step,
                        None => return Outcome::Failed(failure, frames),
                    }
                }
                Step::Drop => {
                    self.stack.clear();
                    return Outcome::Dropped;
                }
            };
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// Where the function is that runs, and its registers.
    fn function(&mut self) -> (Home, &mut Registers) {
        let mut frames = self.stack.iter_mut().rev();
        let found = frames.find_map(|frame| match frame {
            Frame::Function(home, registers) => Some((*home, registers)),
            _ => None,
        });
        found.expect("a function runs")
    }

    fn registers(&mut self) -> &mut Registers {
        self.function().1
    }

    fn cont(&mut self, kind: Kind) -> &mut Option<usize> {
        &mut self.registers().conts[kind as usize]
    }

    fn tag_id(&mut self, tag: usize) -> TagId {
        let home = self.function().0;
        self.tag_id_of(home, tag)
    }

    fn tag_id_of(&self, home: Home, tag: usize) -> TagId {
        match tag {
            2 if self.program.is_one_tag => (None, 1),
            _ if TAGS[tag].is_imported => (None, tag),
            _ => (Some(home.instance()), tag),
        }
    }

    fn mix(&mut self, number: i32) {
        let registers = self.registers();
        registers.number = registers.number.wrapping_mul(31).wrapping_add(number);
    }

    /// Values of these types, from registers.
    fn give(&mut self, types: &[Ty]) -> Vec<Value> {
        let (home, registers) = self.function();
        let (number, object) = (registers.number, registers.object);
        let globals = match home {
            Home::Instance(instance) => &self.instances[instance].globals,
            Home::Host { .. } => &self.host_globals,
        };
        let values = types.iter().map(|ty| match ty {
            Ty::I32 | Ty::V128 => Value::Number(number),
            Ty::I64 => Value::Number(number.wrapping_mul(3)),
            Ty::Object => Value::Object(object),
            Ty::Cont(kind) => Value::Cont(*kind, globals[*kind as usize]),
        });
        values.collect()
    }

    /// Puts values into registers.
    fn take(&mut self, values: &[Value]) {
        for value in values.iter().rev() {
            match value {
                Value::Number(number) => self.mix(*number),
                Value::Object(object) => self.registers().object = *object,
                Value::Cont(kind, cont) => *self.cont(*kind) = *cont,
            }
        }
    }

    /// How many functions of the host have not ended.
    fn host_depth(&self) -> usize {
        let is_host = |frame: &&Frame| matches!(frame, Frame::Function(Home::Host { .. }, _));
        self.stack.iter().filter(is_host).count()
    }

    /// Whether a function may wait: the call is a future, and so is every call that the host has made since.
    fn can_wait(&self) -> bool {
        let blocks =
            |frame: &Frame| matches!(frame, Frame::Function(Home::Host { waits: false }, _));
        self.is_async && !self.stack.iter().any(blocks)
    }

    /// Begins a function.
    fn enter(&mut self, instance: usize, function: usize, arguments: &[Value]) -> Step {
        let waits = self.program.waits[function];
        let mut home = Home::Instance(instance);
        if function >= GUESTS {
            self.count("the host was called");
            if waits && !self.can_wait() {
                self.count("could not wait");
                return Step::Fail(Failure::CannotWait);
            }
            home = Home::Host { waits };
        }
        let is_too_deep = function >= GUESTS && self.host_depth() == HOST_DEPTH;
        self.stack.push(Frame::Function(home, Registers::default()));
        if is_too_deep {
            return Step::Return(TOO_DEEP);
        }
        self.take(arguments);
        self.mix(self.input);
        if self.fuel == 0 {
            self.count("out of fuel");
            return Step::Return(self.registers().number);
        }
        self.fuel -= 1;
        self.stack
            .push(Frame::Rest(&self.program.functions[function]));
        Step::Next
    }

    /// Ends the function that runs; `None` when it was called first of all.
    fn leave(&mut self) -> Option<Step> {
        while !matches!(self.stack.pop(), Some(Frame::Function(..))) {}
        match self.stack.pop() {
            None => None,
            Some(Frame::Await) => Some(Step::Next),
            Some(Frame::Prompt(_)) => {
                self.count("continuation returned");
                self.expect_await();
                Some(Step::Next)
            }
            Some(_) => unreachable!("who called waits"),
        }
    }

    fn expect_await(&mut self) {
        let frame = self.stack.pop();
        assert!(matches!(frame, Some(Frame::Await)), "who resumed waits");
    }

    fn unwind(&mut self, exception: &Rc<Exception>) -> Option<Step> {
        while let Some(frame) = self.stack.pop() {
            match frame {
                Frame::Try(catches) => {
                    let catch = catches.iter().find(|catch| {
                        catch
                            .tag
                            .is_none_or(|tag| self.tag_id(tag) == exception.tag)
                    });
                    if let Some(catch) = catch {
                        self.count("caught");
                        if let Home::Host { .. } = self.function().0 {
                            self.count("caught by the host");
                        }
                        if catch.by_reference {
                            self.registers().exception = Some(exception.clone());
                        }
                        if catch.tag.is_some() {
                            self.take(&exception.values);
                        }
                        self.stack.push(Frame::Rest(&catch.body));
                        return Some(Step::Next);
                    }
                }
                Frame::Prompt(_) => self.count("thrown out of a continuation"),
                Frame::Function(Home::Host { .. }, _) => self.count("thrown through the host"),
                _ => {}
            }
        }
        None
    }

    /// A failure: ends everything, unless the host goes on.
    fn abandon(&mut self, failure: Failure) -> Option<Step> {
        while let Some(frame) = self.stack.pop() {
            if let Frame::Swallow = frame {
                self.count("swallowed a failure");
                self.mix(failure.number());
                return Some(Step::Next);
            }
        }
        None
    }

    fn step(&mut self) -> Step {
        match self.stack.last_mut().expect("something runs") {
            Frame::Rest(nodes) => match nodes.split_first() {
                Some((node, rest)) => {
                    *nodes = rest;
                    self.node(node)
                }
                None => {
                    self.stack.pop();
                    Step::Next
                }
            },
            Frame::Function(_, registers) => Step::Return(registers.number),
            Frame::Block(_) | Frame::Loop(..) | Frame::Try(_) | Frame::Swallow => {
                self.stack.pop();
                Step::Next
            }
            Frame::Await | Frame::Prompt(_) => unreachable!("nothing above"),
        }
    }

    fn node(&mut self, node: &'p Node) -> Step {
        match node {
            Node::Log(value) => {
                let number = self.registers().number;
                self.log.push(number ^ value);
            }
            Node::Mix(value) => self.mix(*value),
            Node::NewObject => {
                let made = self.objects.len();
                let registers = self.registers();
                registers.object = Some(made);
                let (number, cont) = (registers.number, registers.conts[Kind::Nothing as usize]);
                self.objects.push(Object { number, cont });
            }
            Node::ReadObject { guarded } => match self.registers().object {
                Some(object) => self.mix(self.objects[object].number),
                None if *guarded => {}
                None => return trap(Trap::NullReference),
            },
            Node::IsNull(kind) => {
                let is_null = self.cont(*kind).is_none();
                self.mix(i32::from(is_null));
            }
            Node::NewCont(kind, source) => return self.new_cont(*kind, *source),
            Node::Bind { from, to, guarded } => return self.bind(*from, *to, *guarded),
            Node::Load(kind, place) => {
                if let Some(found) = self.place(*kind, *place) {
                    *self.cont(*kind) = *found;
                }
            }
            Node::Store(kind, place, take) => {
                let cont = *self.cont(*kind);
                if let Some(found) = self.place(*kind, *place) {
                    *found = cont;
                }
                if *take {
                    *self.cont(*kind) = None;
                }
            }
            Node::Resume(resume) => return self.resume(resume),
            Node::Suspend(tag) => return self.suspend(*tag),
            Node::Switch { tag, guarded } => return self.switch(*tag, *guarded),
            Node::Throw(tag) => return self.throw(*tag),
            Node::ThrowRef { guarded } => match self.registers().exception.clone() {
                Some(exception) => return Step::Throw(exception),
                None if *guarded => {}
                None => return trap(Trap::NullReference),
            },
            Node::Try(_, body, catches) => {
                self.stack.push(Frame::Try(catches));
                self.stack.push(Frame::Rest(body));
            }
            Node::Maybe(bit, body) => {
                if self.registers().number >> bit & 1 != 0 {
                    self.stack.push(Frame::Rest(body));
                }
            }
            Node::Block(label, body) => {
                self.stack.push(Frame::Block(*label));
                self.stack.push(Frame::Rest(body));
            }
            Node::Loop(label, body) => self.iterate(*label, body),
            Node::Branch(label) => self.branch(*label),
            Node::Return => return Step::Return(self.registers().number),
            Node::Call(function, how) => return self.call_function(*function, *how),
            Node::Collect => {}
            Node::Wait => {
                if let (Home::Host { waits: true }, _) = self.function() {
                    self.count("waited");
                    if self.patience == 0 {
                        return Step::Drop;
                    }
                    self.patience -= 1;
                }
            }
            Node::Unreachable => return trap(Trap::Unreachable),
            Node::End(tag, then) => return self.end(*tag, then.as_deref()),
            Node::Swallow(body) => {
                self.stack.push(Frame::Swallow);
                self.stack.push(Frame::Rest(body));
            }
            Node::Fail(number) => return Step::Fail(Failure::Host(*number)),
            Node::Discard(kind) => return self.discard(*kind),
            Node::Inspect(kind) => self.inspect(*kind),
            Node::Trace => {
                let frames = guests(&self.stack);
                self.mix(frames as i32);
            }
        }
        Step::Next
    }

    /// Where a continuation is kept, if there.
    fn place(&mut self, kind: Kind, place: Place) -> Option<&mut Option<usize>> {
        let (home, registers) = self.function();
        let object = registers.object;
        let kind = kind as usize;
        let found = match (place, home) {
            (Place::Global, Home::Host { .. }) => &mut self.host_globals[kind],
            (Place::Cell, Home::Host { .. }) => &mut self.instances[1].globals[kind],
            (Place::Global, Home::Instance(at)) => &mut self.instances[at].globals[kind],
            (Place::Cell, Home::Instance(at)) => &mut self.instances[at].cell[kind],
            (Place::Table(slot), _) => &mut self.instances[home.instance()].tables[kind][slot],
            (Place::Object, _) => &mut self.objects[object?].cont,
        };
        Some(found)
    }

    fn iterate(&mut self, label: LabelId, body: &'p Body) {
        if self.fuel > 0 {
            self.fuel -= 1;
            self.stack.push(Frame::Loop(label, body));
            self.stack.push(Frame::Rest(body));
        }
    }

    fn branch(&mut self, to: LabelId) {
        loop {
            match self.stack.pop().expect("a label of this function") {
                Frame::Block(label) if label == to => return,
                Frame::Loop(label, body) if label == to => return self.iterate(label, body),
                _ => {}
            }
        }
    }

    fn call_function(&mut self, function: usize, how: How) -> Step {
        let arguments = self.give(FUNCTIONS[function].params());
        let mut instance = self.function().0.instance();
        match how {
            How::Tail => while !matches!(self.stack.pop(), Some(Frame::Function(..))) {},
            How::Direct => self.stack.push(Frame::Await),
            How::Table(other) => {
                instance = other;
                self.stack.push(Frame::Await);
            }
        }
        self.enter(instance, function, &arguments)
    }

    fn throw(&mut self, tag: usize) -> Step {
        self.count("thrown");
        let values = self.give(TAGS[tag].params);
        let tag = self.tag_id(tag);
        Step::Throw(Rc::new(Exception { tag, values }))
    }
}
