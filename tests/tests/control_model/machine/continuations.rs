//! Making, binding, resuming and suspending continuations, and switching to them.

use super::{Cont, Exception, Frame, Machine, State, Step, Value};
use crate::program::{Body, Kind, Mode, Resume, Source, TAGS, Ty};
use sarsen::Trap;
use std::rc::Rc;

impl<'p> Machine<'p> {
    pub(super) fn new_cont(&mut self, kind: Kind, source: Source) -> Step {
        let state = match source {
            Source::Own(function) => State::Fresh(self.function().0, function),
            Source::Table(instance, function) => State::Fresh(instance, function),
            Source::Null => return Step::Trap(Trap::NullReference),
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
            return Err(Step::Trap(Trap::NullReference));
        };
        if let State::Consumed = self.conts[cont].state {
            self.count("consumed continuation");
            return Err(Step::Trap(Trap::ContinuationConsumed));
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
            Err(trap) => trap,
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
                self.take(values);
                Step::Next
            }
        }
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
            Err(trap) => return trap,
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

    /// Where the prompt is that has a clause for a tag, and the body of the clause.
    fn handler(&mut self, tag: usize, switch: bool) -> Option<(usize, Option<&'p Body>)> {
        let tag = self.tag_id(tag);
        let mut passed = 0;
        for at in (0..self.stack.len()).rev() {
            match self.stack[at] {
                Frame::Host(_) => {
                    self.count("no handler before the host");
                    return None;
                }
                Frame::Prompt(clauses) => {
                    let Frame::Function(instance, _) = self.stack[..at]
                        .iter()
                        .rev()
                        .find(|frame| matches!(frame, Frame::Function(..)))
                        .expect("who resumed")
                    else {
                        unreachable!("looked for");
                    };
                    let instance = *instance;
                    let found = clauses.iter().find(|clause| {
                        clause.body.is_none() == switch
                            && self.tag_id_of(instance, clause.tag) == tag
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
        let Some((prompt, Some(body))) = self.handler(tag, false) else {
            return Step::Trap(Trap::UnhandledTag);
        };
        self.count("suspended");
        let frames = self.capture(prompt);
        self.stack.pop();
        self.expect_await();
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
        if let Err(trap) = self.usable(target) {
            return trap;
        }
        let Some((prompt, _)) = self.handler(tag, true) else {
            return Step::Trap(Trap::UnhandledTag);
        };
        let (state, mut bound) = match self.consume(target) {
            Ok(consumed) => consumed,
            Err(trap) => return trap,
        };
        self.count("switched");
        let frames = self.capture(prompt);
        let own = self.add_cont(State::Suspended(frames), Vec::new());
        bound.append(&mut values);
        bound.push(Value::Cont(Kind::Switch, Some(own)));
        self.continue_with(state, &bound)
    }
}
