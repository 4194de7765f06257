//! Programs at random, but such that continuations are mostly resumed again, and suspensions handled.

use super::program::{
    Body, Catch, Clause, FUNCTIONS, GUESTS, How, INSTANCES, Kind, LabelId, MAINS, Mode, Node,
    Place, Program, Resume, SLOTS, Source, TAGS, Ty,
};
use sarsen_tests::Random;
use std::sync::Arc;

/// Nodes of a function, about.
const SIZE: usize = 7;
const DEPTH: usize = 4;

/// The program of a seed.
pub(crate) fn program(seed: u64) -> Program {
    let mut maker = Maker {
        random: Random::new(seed),
        labels: 0,
        left: 0,
        is_main: false,
        is_host: false,
    };
    let functions = (0..FUNCTIONS.len()).map(|number| {
        maker.left = 2 + maker.random.below(SIZE);
        maker.is_main = MAINS.contains(&number);
        maker.is_host = number >= GUESTS;
        let body = maker.body(Scope::default(), DEPTH);
        reads(FUNCTIONS[number].params()).chain(body).collect()
    });
    let functions = functions.collect();
    Program {
        functions,
        is_one_tag: maker.random.once_in(2),
        waits: maker.waits(),
    }
}

struct Maker {
    random: Random,
    labels: usize,
    /// Nodes that the function may still have.
    left: usize,
    is_main: bool,
    is_host: bool,
}

/// What can be branched to.
#[derive(Clone, Default)]
struct Scope {
    labels: Vec<LabelId>,
    /// The innermost loop that resumes, and the kind of what it resumes.
    driver: Option<(LabelId, Kind)>,
}

impl Scope {
    fn with(&self, label: LabelId) -> Scope {
        let mut scope = self.clone();
        scope.labels.push(label);
        scope
    }
}

impl Maker {
    fn label(&mut self) -> LabelId {
        self.labels += 1;
        self.labels
    }

    /// None of the host's functions, all, or some.
    fn waits(&mut self) -> [bool; FUNCTIONS.len()] {
        let eighths = self.random.choose(&[0, 5, 8]);
        std::array::from_fn(|function| function >= GUESTS && self.random.below(8) < eighths)
    }

    fn kind(&mut self) -> Kind {
        self.random.choose(&Kind::ALL)
    }

    fn body(&mut self, scope: Scope, depth: usize) -> Body {
        let mut body = Vec::new();
        for _ in 0..1 + self.random.below(4) {
            if self.left > 0 && depth > 0 && self.random.once_in(if self.is_main { 2 } else { 12 })
            {
                self.coroutine(&scope, depth, &mut body);
            } else if !self.is_main && !self.is_host && self.random.once_in(8) {
                let source = self.source(Kind::Switch);
                body.push(Node::NewCont(Kind::Switch, source));
                body.push(self.switch());
            } else {
                let node = self.node(&scope, depth);
                self.push(node, &mut body);
            }
        }
        body
    }

    /// Adds a node. The object that it passes is often made just before, and the one it gets read at once.
    fn push(&mut self, node: Node, body: &mut Body) {
        let (given, taken) = match &node {
            Node::Suspend(tag) => (TAGS[*tag].params, TAGS[*tag].resumed.params()),
            Node::End(tag, _) | Node::Throw(tag) => (TAGS[*tag].params, &[][..]),
            Node::Call(function, _) => (FUNCTIONS[*function].params(), &[][..]),
            _ => (&[][..], &[][..]),
        };
        if given.contains(&Ty::Object) && !self.random.once_in(3) {
            body.push(Node::NewObject);
        }
        body.push(node);
        body.splice(body.len().., reads(taken));
    }

    /// A continuation that is made, sometimes bound or put away, and resumed: what programs do mostly.
    fn coroutine(&mut self, scope: &Scope, depth: usize, body: &mut Body) {
        self.left = self.left.saturating_sub(2);
        let mut kind = self.kind();
        let source = self.source(kind);
        body.push(Node::NewCont(kind, source));
        if kind != Kind::Nothing && !self.random.once_in(3) {
            let bound = self.random.choose(&kind.bound());
            // All that is suspended can be resumed by who resumes with nothing.
            let to = self.random.choose(&[Kind::Nothing, bound]);
            body.push(bind(kind, to));
            kind = to;
        }
        if self.random.once_in(4) {
            let place = self.place(kind);
            body.push(Node::Store(kind, place, self.random.once_in(2)));
            body.push(self.node(scope, depth - 1));
            body.push(Node::Load(kind, place));
        } else if self.random.once_in(4) {
            // What somebody else has left, perhaps.
            body.push(Node::Load(kind, self.place(kind)));
        }
        body.push(match self.random.below(3) {
            0 => self.resume(scope, depth, kind),
            _ => self.driver(scope, depth, kind),
        });
    }

    /// Resumes something as often as it is suspended.
    fn driver(&mut self, scope: &Scope, depth: usize, kind: Kind) -> Node {
        let label = self.label();
        let mut scope = scope.with(label);
        scope.driver = Some((label, kind));
        let resume = self.resume(&scope, depth, kind);
        Node::Loop(label, vec![resume])
    }

    fn resume(&mut self, scope: &Scope, depth: usize, kind: Kind) -> Node {
        let mode = match self.random.below(16) {
            0 => Mode::Throw(self.throwable()),
            1 => Mode::ThrowRef,
            _ => Mode::Values,
        };
        self.resume_by(mode, scope, depth, kind)
    }

    fn resume_by(&mut self, mode: Mode, scope: &Scope, depth: usize, kind: Kind) -> Node {
        let clauses = self.clauses(scope, depth);
        Node::Resume(Resume {
            label: self.label(),
            kind,
            mode,
            guarded: !self.random.once_in(32),
            take: !self.random.once_in(6),
            clauses,
        })
    }

    fn clauses(&mut self, scope: &Scope, depth: usize) -> Vec<Clause> {
        let mut clauses = Vec::new();
        if depth == 0 {
            return clauses;
        }
        let eighths = self.random.choose(&[0, 5, 7, 8, 8]);
        let first = self.random.below(TAGS.len());
        for at in 0..TAGS.len() {
            // From any on, now and then one twice.
            let mut tag = (first + at) % TAGS.len();
            if self.random.once_in(8) {
                tag = self.random.below(TAGS.len());
            }
            if self.random.below(8) < eighths {
                let body = self.handler(scope, depth - 1, tag);
                let body = Some(reads(TAGS[tag].params).chain(body).collect());
                clauses.push(Clause { tag, body });
            }
        }
        for tag in (0..TAGS.len()).filter(|tag| TAGS[*tag].is_switchable()) {
            if self.random.below(8) < eighths {
                let at = self.random.below(clauses.len() + 1);
                clauses.insert(at, Clause { tag, body: None });
            }
        }
        clauses
    }

    /// What happens with a continuation that was suspended with a tag.
    fn handler(&mut self, scope: &Scope, depth: usize, tag: usize) -> Body {
        let kind = TAGS[tag].resumed;
        match (self.random.below(12), scope.driver) {
            (4.., Some((label, wanted))) if kind.bound().contains(&wanted) => {
                let mut body = Body::new();
                if self.random.once_in(4) {
                    body.push(self.node(scope, 0));
                }
                if kind != wanted {
                    body.push(bind(kind, wanted));
                }
                body.push(Node::Branch(label));
                body
            }
            (0..2, _) => vec![Node::Store(kind, self.place(kind), true)],
            (2, _) => {
                let mode = Mode::Throw(self.throwable());
                vec![self.resume_by(mode, scope, depth, kind)]
            }
            (3..8, _) if self.left > 0 => {
                self.left -= 1;
                vec![self.resume(scope, depth, kind)]
            }
            (8..10, _) => self.body(scope.clone(), depth),
            _ => vec![Node::Log(tag as i32)],
        }
    }

    fn catches(&mut self, scope: &Scope, depth: usize) -> Vec<Catch> {
        let mut catches = Vec::new();
        for _ in 0..self.random.below(4) {
            let is_all = self.random.once_in(3);
            catches.push(Catch {
                tag: (!is_all).then(|| self.throwable()),
                by_reference: self.random.once_in(2),
                body: self.body(scope.clone(), depth - 1),
            });
            if let Some(Catch {
                tag: Some(tag),
                body,
                ..
            }) = catches.last_mut()
            {
                body.splice(..0, reads(TAGS[*tag].params));
            }
            if is_all {
                break;
            }
        }
        catches
    }

    fn throwable(&mut self) -> usize {
        loop {
            let tag = self.random.below(TAGS.len());
            if TAGS[tag].is_throwable() {
                return tag;
            }
        }
    }

    /// What continuations are made of.
    fn function(&mut self, kind: Kind) -> usize {
        loop {
            let function = self.other();
            if FUNCTIONS[function] == kind {
                return function;
            }
        }
    }

    /// A function that is no main one, of the host's now and then.
    fn other(&mut self) -> usize {
        loop {
            let limit = if self.random.once_in(3) {
                FUNCTIONS.len()
            } else {
                GUESTS
            };
            let function = self.random.below(limit);
            if !MAINS.contains(&function) {
                return function;
            }
        }
    }

    fn source(&mut self, kind: Kind) -> Source {
        let function = self.function(kind);
        match self.random.below(100) {
            0 => Source::Null,
            1..35 => Source::Table(self.random.below(INSTANCES), function),
            _ => Source::Own(function),
        }
    }

    fn place(&mut self, kind: Kind) -> Place {
        match self.random.below(4) {
            0 => Place::Global,
            1 => Place::Cell,
            2 if kind == Kind::Nothing => Place::Object,
            _ => Place::Table(self.random.below(SLOTS)),
        }
    }

    fn node(&mut self, scope: &Scope, depth: usize) -> Node {
        if self.is_host && self.random.once_in(4) {
            return self.host_node(scope, depth);
        }
        let kinds = if depth == 0 || self.left == 0 { 40 } else { 60 };
        self.left = self.left.saturating_sub(1);
        let kind = self.kind();
        match self.random.below(kinds) {
            0 | 1 => Node::Log(self.random.below(1000) as i32),
            2 => Node::Mix(self.random.below(1000) as i32),
            3 => Node::NewObject,
            4 => Node::ReadObject {
                guarded: !self.random.once_in(32),
            },
            5 => Node::IsNull(kind),
            6 => Node::NewCont(kind, self.source(kind)),
            7 => Node::Bind {
                from: kind,
                to: self.random.choose(&kind.bound()),
                guarded: !self.random.once_in(32),
            },
            8..10 => Node::Load(kind, self.place(kind)),
            10..12 => Node::Store(kind, self.place(kind), self.random.once_in(2)),
            12..24 => self.suspend(depth),
            24..28 => self.switch(),
            28..30 if !self.is_main => Node::Throw(self.throwable()),
            30 => Node::ThrowRef {
                guarded: !self.random.once_in(32),
            },
            31 | 32 if !scope.labels.is_empty() => Node::Branch(self.random.choose(&scope.labels)),
            33 if self.random.once_in(4) => Node::Return,
            34 => self.call(),
            35 => self.call(),
            36 if self.random.once_in(32) => Node::Unreachable,
            36 => Node::Collect,
            40..45 => self.resume(scope, depth, kind),
            45..48 => self.driver(scope, depth, kind),
            48..51 => {
                let bit = self.random.below(8) as u32;
                Node::Maybe(bit, self.body(scope.clone(), depth - 1))
            }
            51 => {
                let label = self.label();
                Node::Block(label, self.body(scope.with(label), depth - 1))
            }
            52 => {
                let label = self.label();
                Node::Loop(label, self.body(scope.with(label), depth - 1))
            }
            53.. => {
                let label = self.label();
                let body = self.body(scope.clone(), depth - 1);
                Node::Try(label, body, self.catches(scope, depth))
            }
            _ => Node::Log(0),
        }
    }

    /// What only the host does.
    fn host_node(&mut self, scope: &Scope, depth: usize) -> Node {
        let kind = self.kind();
        match self.random.below(11) {
            10 => Node::Trace,
            0..4 if depth > 0 => Node::Swallow(self.body(scope.clone(), depth - 1)),
            4 if self.random.once_in(4) => Node::Fail(self.random.below(1000) as i32),
            5 => Node::Discard(kind),
            6 | 7 => Node::Inspect(kind),
            _ => Node::Wait,
        }
    }

    fn suspend(&mut self, depth: usize) -> Node {
        if self.is_main && !self.random.once_in(24) {
            return Node::Log(1);
        }
        let tag = self.random.below(TAGS.len());
        if !self.is_host {
            return Node::Suspend(tag);
        }
        if TAGS[tag].resumed == Kind::Number && self.random.once_in(3) {
            return Node::End(tag, None);
        }
        // It is not in the loops and blocks around.
        let body = self.body(Scope::default(), depth.saturating_sub(1));
        let body = reads(TAGS[tag].resumed.params()).chain(body).collect();
        Node::End(tag, Some(Arc::new(body)))
    }

    fn switch(&mut self) -> Node {
        if self.is_host || (self.is_main && !self.random.once_in(24)) {
            let kind = Kind::Switch;
            return Node::NewCont(kind, self.source(kind));
        }
        Node::Switch {
            tag: self.random.choose(&[6, 7]),
            guarded: !self.random.once_in(32),
        }
    }

    fn call(&mut self) -> Node {
        let function = match self.is_main || (self.is_host && !self.random.once_in(4)) {
            true => self.random.choose(&MAINS),
            false => self.other(),
        };
        let how = match self.random.below(8) {
            0 if !self.is_host => How::Tail,
            1..=3 => How::Table(self.random.below(INSTANCES)),
            _ => How::Direct,
        };
        Node::Call(function, how)
    }
}

/// Reads the object among values of these types.
fn reads(types: &[Ty]) -> impl Iterator<Item = Node> {
    let has_object = types.contains(&Ty::Object);
    has_object
        .then_some(Node::ReadObject { guarded: true })
        .into_iter()
}

fn bind(from: Kind, to: Kind) -> Node {
    Node::Bind {
        from,
        to,
        guarded: true,
    }
}
