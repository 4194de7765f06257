//! Less of a program that still does something else than the machine: without one node, clause or handler after
//! the other, or with the body in place of its node.

use super::program::{Body, Node, Program};
use std::sync::Arc;

/// What is left when nothing more can be left out such that it `fails`.
pub(crate) fn shrink(program: Arc<Program>, fails: impl Fn(&Arc<Program>) -> bool) -> Arc<Program> {
    let (mut best, mut edit, mut since) = (program, 0, 0);
    loop {
        let mut less = Program::clone(&best);
        let mut edits = Edits(edit);
        let is_made = less.functions.iter_mut().any(|body| edits.body(body));
        let less = Arc::new(less);
        match is_made {
            true if fails(&less) => (best, since) = (less, 0),
            true => (edit, since) = (edit + 1, since + 1),
            // Once around without any success.
            false if since >= edit => return best,
            false => edit = 0,
        }
    }
}

/// How many edits there are yet until the one that is to be made.
struct Edits(usize);

impl Edits {
    fn is_it(&mut self) -> bool {
        let is_it = self.0 == 0;
        self.0 = self.0.wrapping_sub(1);
        is_it
    }

    /// Makes the edit if it is one of this body. Then it is made.
    fn body(&mut self, body: &mut Body) -> bool {
        for at in 0..body.len() {
            if self.is_it() {
                body.remove(at);
                return true;
            }
            if let Some(inner) = inner(&body[at])
                && self.is_it()
            {
                let inner = inner.clone();
                body.splice(at..=at, inner);
                return true;
            }
            if self.node(&mut body[at]) {
                return true;
            }
        }
        false
    }

    fn node(&mut self, node: &mut Node) -> bool {
        match node {
            Node::Maybe(_, body)
            | Node::Swallow(body)
            | Node::Block(_, body)
            | Node::Loop(_, body) => self.body(body),
            Node::End(_, Some(body)) => self.body(Arc::make_mut(body)),
            Node::Try(_, body, catches) => {
                self.body(body) || self.each(catches, |catch| Some(&mut catch.body))
            }
            Node::Resume(resume) => self.each(&mut resume.clauses, |clause| clause.body.as_mut()),
            _ => false,
        }
    }

    fn each<T>(&mut self, of: &mut Vec<T>, body: impl Fn(&mut T) -> Option<&mut Body>) -> bool {
        for at in 0..of.len() {
            if self.is_it() {
                of.remove(at);
                return true;
            }
            if body(&mut of[at]).is_some_and(|body| self.body(body)) {
                return true;
            }
        }
        false
    }
}

/// The body that can take the place of a node.
fn inner(node: &Node) -> Option<&Body> {
    match node {
        Node::Try(_, body, _) | Node::Maybe(_, body) | Node::Swallow(body) => Some(body),
        _ => None,
    }
}
