//! Making, binding, resuming and suspending continuations, and switching to them.

use super::{
    CONSUMED, Cont, Exception, Frame, HOST_DEPTH, Home, Machine, NO_CONT, Registers, State, Step,
    TOO_DEEP, Value, guests, trap,
};
use crate::program::{Body, Kind, Mode, Resume, Source, TAGS, Ty};
use sarsen::Trap;
use std::rc::Rc;

impl<'p> Machine<'p> {
    pub(super) fn new_cont(&mut self, kind: Kind, source: Source) -> Step {
        let state = match source {
            Source::Own(function) => State::Fresh(self.function().0.instance(), function),
            Source::Table(instance, function) => State::Fresh(instance, function),
            Source::Null => return trap(Trap::NullReference),
        };
        let cont = self.add_cont(state, Vec::new());
        *self.cont(kind) = Some(cont);
        Step::Next
    }

    fn add_cont(&mut self, state: State<'p>, bound: Vec<Value>) -> usize {
        self.conts.push(Cont { state, bound });
        self.conts.len() - 1
    }

    /// The continuation, if it can be resumed.
    fn usable(&mut self, cont: Option<usize>) -> Result<usize, Step> {
        let Some(cont) = cont else {
            self.count("null continuation");
            return Err(trap(Trap::NullReference));
        };
        if let State::Consumed = self.conts[cont].state {
            self.count("consumed continuation");
            return Err(trap(Trap::ContinuationConsumed));
        }
        Ok(cont)
    }

    fn consume(&mut self, cont: Option<usize>) -> Result<(State<'p>, Vec<Value>), Step> {
        let cont = self.usable(cont)?;
        let cont = &mut self.conts[cont];
        let state = std::mem::replace(&mut cont.state, State::Consumed);
        Ok((state, std::mem::take(&mut cont.bound)))
    }

    pub(super) fn bind(&mut self, from: Kind, to: Kind, guarded: bool) -> Step {
        let cont = *self.cont(from);
        if guarded && cont.is_none() {
            return Step::Next;
        }
        let more = self.give(&from.params()[..from.params().len() - to.params().len()]);
        match self.consume(cont) {
            Err(failed) => failed,
            Ok((state, mut bound)) => {
                self.count(match state {
                    State::Fresh(..) => "bound a fresh continuation",
                    _ => "bound a suspended continuation",
                });
                bound.extend(more);
                *self.cont(to) = Some(self.add_cont(state, bound));
                Step::Next
            }
        }
    }

    /// Puts a continuation's frames on the stack and gives it values.
    fn continue_with(&mut self, state: State<'p>, values: &[Value]) -> Step {
        match state {
            State::Consumed => unreachable!("it was checked"),
            State::Fresh(instance, function) => self.enter(instance, function, values),
            State::Suspended(frames) => {
                self.count("resumed a suspended continuation");
                self.stack.extend(frames);
                self.expect_await();
                if self.is_host_on_top() {
                    self.count("went on in the host");
                    if self.host_depth() > HOST_DEPTH {
                        return Step::Return(TOO_DEEP);
                    }
                }
                self.take(values);
                Step::Next
            }
        }
    }

    /// Whether a function of the host is about to go on.
    fn is_host_on_top(&self) -> bool {
        matches!(
            self.stack[..],
            [.., Frame::Function(Home::Host { .. }, _), Frame::Rest(_)]
        )
    }

    pub(super) fn resume(&mut self, resume: &'p Resume) -> Step {
        let exception = self.registers().exception.clone();
        let cont = *self.cont(resume.kind);
        if (resume.guarded && cont.is_none())
            || (resume.mode == Mode::ThrowRef && exception.is_none())
        {
            return Step::Next;
        }
        let (values, exception) = match resume.mode {
            Mode::Values => (self.give(resume.kind.params()), None),
            Mode::ThrowRef => (Vec::new(), exception),
            Mode::Throw(tag) => {
                let values = self.give(TAGS[tag].params);
                let tag = self.tag_id(tag);
                (Vec::new(), Some(Rc::new(Exception { tag, values })))
            }
        };
        if resume.take {
            *self.cont(resume.kind) = None;
        }
        let (state, mut bound) = match self.consume(cont) {
            Ok(consumed) => consumed,
            Err(failed) => return failed,
        };
        bound.extend(values);
        self.count("resumed");
        self.stack.push(Frame::Await);
        self.stack.push(Frame::Prompt(&resume.clauses));
        let Some(exception) = exception else {
            return self.continue_with(state, &bound);
        };
        if let State::Suspended(frames) = state {
            self.count("thrown into a suspended continuation");
            self.stack.extend(frames);
        }
        Step::Throw(exception)
    }

    /// Where the prompt is, below `top`, that has a clause for a tag, and the body of the clause.
    fn handler(
        &mut self,
        tag: usize,
        switch: bool,
        top: usize,
    ) -> Option<(usize, Option<&'p Body>)> {
        let tag = self.tag_id(tag);
        let mut passed = 0;
        for at in (0..top).rev() {
            match self.stack[at] {
                Frame::Function(Home::Host { .. }, _) => {
                    self.count("no handler before the host");
                    return None;
                }
                Frame::Prompt(clauses) => {
                    let mut below = self.stack[..at].iter().rev();
                    let home = below.find_map(|frame| match frame {
                        Frame::Function(home, _) => Some(*home),
                        _ => None,
                    });
                    let home = home.expect("who resumed");
                    let found = clauses.iter().find(|clause| {
                        clause.body.is_none() == switch && self.tag_id_of(home, clause.tag) == tag
                    });
                    if let Some(clause) = found {
                        if passed > 0 {
                            self.count("forwarded");
                        }
                        return Some((at, clause.body.as_ref()));
                    }
                    passed += 1;
                }
                _ => {}
            }
        }
        self.count("no handler");
        None
    }

    pub(super) fn suspend(&mut self, tag: usize) -> Step {
        let values = self.give(TAGS[tag].params);
        let handler = self.handler(tag, false, self.stack.len());
        self.suspend_to(handler, tag, values)
    }

    /// A function of the host suspends by ending: who handles that is below its frame, which is no barrier to
    /// itself. What it keeps are its registers; without a body, what it is resumed with is its result.
    pub(super) fn end(&mut self, tag: usize, then: Option<&'p Body>) -> Step {
        let values = self.give(TAGS[tag].params);
        while !matches!(self.stack.last(), Some(Frame::Function(..))) {
            self.stack.pop();
        }
        let handler = self.handler(tag, false, self.stack.len() - 1);
        let Some(Frame::Function(home, registers)) = self.stack.last_mut() else {
            unreachable!("the function that ends");
        };
        *home = Home::Host { waits: false };
        // What is there when it is resumed.
        match then {
            Some(body) => self.stack.push(Frame::Rest(body)),
            None => *registers = Registers::default(),
        }
        self.count("the host has suspended");
        self.suspend_to(handler, tag, values)
    }

    fn suspend_to(
        &mut self,
        handler: Option<(usize, Option<&'p Body>)>,
        tag: usize,
        values: Vec<Value>,
    ) -> Step {
        let Some((prompt, Some(body))) = handler else {
            return trap(Trap::UnhandledTag);
        };
        self.count("suspended");
        let frames = self.capture(prompt);
        self.stack.pop();
        self.expect_await();
        if let Home::Host { .. } = self.function().0 {
            self.count("suspended to the host");
        }
        let cont = self.add_cont(State::Suspended(frames), Vec::new());
        *self.cont(TAGS[tag].resumed) = Some(cont);
        self.take(&values);
        self.stack.push(Frame::Rest(body));
        Step::Next
    }

    /// What runs above a prompt, which waits.
    fn capture(&mut self, prompt: usize) -> Vec<Frame<'p>> {
        self.stack.push(Frame::Await);
        self.stack.split_off(prompt + 1)
    }

    pub(super) fn switch(&mut self, tag: usize, guarded: bool) -> Step {
        let target = *self.cont(Kind::Switch);
        if guarded && target.is_none() {
            return Step::Next;
        }
        let mut values = self.give(&[Ty::I32]);
        if let Err(failed) = self.usable(target) {
            return failed;
        }
        let Some((prompt, _)) = self.handler(tag, true, self.stack.len()) else {
            return trap(Trap::UnhandledTag);
        };
        let (state, mut bound) = match self.consume(target) {
            Ok(consumed) => consumed,
            Err(failed) => return failed,
        };
        self.count("switched");
        let frames = self.capture(prompt);
        let own = self.add_cont(State::Suspended(frames), Vec::new());
        bound.append(&mut values);
        bound.push(Value::Cont(Kind::Switch, Some(own)));
        self.continue_with(state, &bound)
    }

    pub(super) fn discard(&mut self, kind: Kind) -> Step {
        let cont = *self.cont(kind);
        if cont.is_some() {
            match self.consume(cont) {
                Err(failed) => return failed,
                Ok(_) => self.count("discarded"),
            }
        }
        Step::Next
    }

    pub(super) fn inspect(&mut self, kind: Kind) {
        let found = match *self.cont(kind) {
            None => NO_CONT,
            Some(cont) => match &self.conts[cont].state {
                State::Consumed => CONSUMED,
                State::Fresh(..) => 0,
                State::Suspended(frames) => guests(frames) as i32,
            },
        };
        self.mix(found);
    }
}
