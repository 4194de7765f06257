//! How many stacks may be left when no call runs, and everything that is unreachable was collected.
//!
//! There may be fewer: WebAssembly does not keep what it does not read any more.

use super::{Frame, Home, Machine, Registers, State, Value};
use crate::program::Kind;
use std::collections::BTreeSet;

impl Machine<'_> {
    /// The stacks of the continuations that are alive.
    pub(crate) fn stacks(&self) -> usize {
        // What a function of the host keeps that has suspended is a root, as long as the stack is there. So all
        // are alive that are not found to be dead, and cycles through such functions are for ever.
        let mut alive: BTreeSet<usize> = (0..self.conts.len()).collect();
        loop {
            let left = &alive & &self.reached(&alive);
            if left == alive {
                break;
            }
            alive = left;
        }
        let bases = alive.iter().flat_map(|cont| self.frames(*cont));
        let of_resumed = bases.filter(|frame| matches!(frame, Frame::Prompt(_)));
        let is_suspended = |cont: &&usize| !self.frames(**cont).is_empty();
        alive.iter().filter(is_suspended).count() + of_resumed.count()
    }

    /// What is kept in instances and by the host, and all that this leads to.
    fn reached(&self, alive: &BTreeSet<usize>) -> BTreeSet<usize> {
        let mut work = Vec::new();
        let kept = self.instances.iter().flat_map(|instance| {
            let tables = instance.tables.iter().flatten();
            tables.chain(&instance.globals).chain(&instance.cell)
        });
        // Of which kind they are makes no difference.
        let cont = |cont: &Option<usize>| Value::Cont(Kind::Nothing, *cont);
        work.extend(kept.chain(&self.host_globals).map(cont));
        for frame in alive.iter().flat_map(|cont| self.frames(*cont)) {
            if let Frame::Function(Home::Host { .. }, registers) = frame {
                registers.values(&mut work);
            }
        }
        let (mut conts, mut objects) = (BTreeSet::new(), BTreeSet::new());
        while let Some(value) = work.pop() {
            match value {
                Value::Object(Some(object)) if objects.insert(object) => {
                    work.push(cont(&self.objects[object].cont));
                }
                Value::Cont(_, Some(cont)) if conts.insert(cont) => {
                    work.extend(&self.conts[cont].bound);
                    for frame in self.frames(cont) {
                        if let Frame::Function(_, registers) = frame {
                            registers.values(&mut work);
                        }
                    }
                }
                _ => {}
            }
        }
        conts
    }

    fn frames(&self, cont: usize) -> &[Frame<'_>] {
        match &self.conts[cont].state {
            State::Suspended(frames) => frames,
            _ => &[],
        }
    }
}

impl Registers {
    fn values(&self, to: &mut Vec<Value>) {
        to.push(Value::Object(self.object));
        let conts = self.conts.iter();
        to.extend(conts.map(|cont| Value::Cont(Kind::Nothing, *cont)));
        to.extend(self.exception.iter().flat_map(|it| &it.values));
    }
}
