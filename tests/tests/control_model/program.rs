//! The little language: what a program of control effects consists of.
//!
//! A program is a few functions, each a tree of nodes. All work on *registers* of their own: a number, an
//! object, a continuation of each kind, an exception. What is passed (arguments, payloads, results) is taken
//! from registers and put into registers by one rule for each type, so that a node only says what happens.
//! Continuations are also kept in globals, tables, fields of objects, and in payloads.
//!
//! Some functions are in WebAssembly, of which there are two instances, and some are the host's. They do the
//! same, and call, resume and catch one another, with these differences. The host can neither switch nor
//! make tail calls, and suspends only by ending ([`Node::End`]). Its frames are barriers: nothing below them
//! handles what is suspended above. And it goes on after a trap ([`Node::Swallow`]).

use std::sync::Arc;

/// The type of a value that is passed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ty {
    /// The number; who gets it mixes it into the own one.
    I32,
    /// The same, wider.
    I64,
    /// The same, in all lanes.
    V128,
    /// The object.
    Object,
    /// A continuation: what the global of its kind holds.
    Cont(Kind),
}

/// What a function or a continuation takes. All return an `i32`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Nothing,
    Number,
    Object,
    Wide,
    /// What can be switched to: its last parameter is a continuation of its own kind.
    Switch,
}

/// Kinds whose types are not recursive, so that Rust has them too.
pub(crate) const PLAIN_KINDS: [Kind; 2] = [Kind::Nothing, Kind::Number];

impl Kind {
    pub(crate) const ALL: [Kind; 5] = [
        Kind::Nothing,
        Kind::Number,
        Kind::Object,
        Kind::Wide,
        Kind::Switch,
    ];

    pub(crate) fn params(self) -> &'static [Ty] {
        match self {
            Kind::Nothing => &[],
            Kind::Number => &[Ty::I32],
            Kind::Object => &[Ty::Object, Ty::I32],
            Kind::Wide => &[Ty::I64, Ty::V128, Ty::Object, Ty::I32],
            Kind::Switch => &[Ty::I32, Ty::Cont(Kind::Switch)],
        }
    }

    /// What is left of a continuation of this kind when some arguments are bound.
    pub(crate) fn bound(self) -> Vec<Kind> {
        let kinds = Kind::ALL.into_iter();
        kinds
            .filter(|to| self.params().ends_with(to.params()))
            .collect()
    }
}

/// A tag: what it carries, and the kind of a continuation that was suspended with it.
pub(crate) struct Tag {
    pub(crate) params: &'static [Ty],
    pub(crate) resumed: Kind,
    pub(crate) is_imported: bool,
}

/// Whether what is thrown with a tag, or switches by it, is of the right type.
impl Tag {
    pub(crate) fn is_throwable(&self) -> bool {
        self.resumed == Kind::Nothing
    }

    pub(crate) fn is_switchable(&self) -> bool {
        self.params.is_empty() && self.resumed == Kind::Number
    }
}

const fn tag(params: &'static [Ty], resumed: Kind, is_imported: bool) -> Tag {
    Tag {
        params,
        resumed,
        is_imported,
    }
}

pub(crate) const TAGS: [Tag; 11] = [
    tag(&[], Kind::Nothing, false),
    // These two are one in some programs.
    tag(&[Ty::I32], Kind::Number, true),
    tag(&[Ty::I32], Kind::Number, true),
    tag(&[Ty::I64, Ty::Object, Ty::V128], Kind::Wide, false),
    tag(&[Ty::I32], Kind::Nothing, true),
    tag(&[Ty::Object], Kind::Nothing, false),
    tag(&[], Kind::Number, false),
    tag(&[], Kind::Number, true),
    tag(&[Ty::Cont(Kind::Number)], Kind::Nothing, false),
    tag(&[Ty::I64], Kind::Object, false),
    tag(&[], Kind::Switch, false),
];

/// The kind of each function.
pub(crate) const FUNCTIONS: [Kind; 15] = [
    Kind::Nothing,
    Kind::Nothing,
    Kind::Nothing,
    Kind::Nothing,
    Kind::Number,
    Kind::Object,
    Kind::Wide,
    Kind::Switch,
    Kind::Switch,
    // The host's.
    Kind::Nothing,
    Kind::Nothing,
    Kind::Number,
    Kind::Object,
    Kind::Wide,
    Kind::Switch,
];

/// How many of the functions are in WebAssembly: the first ones. The others are the host's.
pub(crate) const GUESTS: usize = 9;

/// The functions where everything begins, which take nothing. They mostly resume: what they suspend, nobody
/// handles.
pub(crate) const MAINS: [usize; 3] = [0, 1, GUESTS];

/// Where a function is in the table of functions: those of the first instance come first.
pub(crate) fn table_index(instance: usize, function: usize) -> usize {
    instance * FUNCTIONS.len() + function
}

/// Instances of the module, which have tags, globals and tables of their own, and one table of functions in
/// common.
pub(crate) const INSTANCES: usize = 2;
/// Elements of each table of continuations.
pub(crate) const SLOTS: usize = 3;

pub(crate) type Body = Vec<Node>;
pub(crate) type LabelId = usize;

#[derive(Clone, Debug)]
pub(crate) enum Node {
    /// Tells the host the number.
    Log(i32),
    /// Mixes a constant into the number.
    Mix(i32),
    NewObject,
    /// Reads the object's number; traps where there is no object, unless `guarded`.
    ReadObject {
        guarded: bool,
    },
    /// Mixes in whether there is a continuation in the register.
    IsNull(Kind),
    NewCont(Kind, Source),
    Bind {
        from: Kind,
        to: Kind,
        guarded: bool,
    },
    Load(Kind, Place),
    /// From the register, which is empty afterwards if it is taken.
    Store(Kind, Place, bool),
    Resume(Resume),
    Suspend(usize),
    Switch {
        tag: usize,
        guarded: bool,
    },
    Throw(usize),
    ThrowRef {
        guarded: bool,
    },
    Try(LabelId, Body, Vec<Catch>),
    /// Runs its body when a bit of the number is set.
    Maybe(u32, Body),
    Block(LabelId, Body),
    Loop(LabelId, Body),
    Branch(LabelId),
    Return,
    Call(usize, How),
    Collect,
    Unreachable,
    /// Ends a function of the host by suspending with a tag. When it is resumed, the body runs, or else its
    /// result is the number that it is resumed with: the tag must be of kind [`Kind::Number`].
    End(usize, Option<Arc<Body>>),
    /// In the host: makes a number of a failure that is not an exception.
    Swallow(Body),
    /// In the host: fails with a number.
    Fail(i32),
    /// In the host: drops a continuation at once, if there is one.
    Discard(Kind),
    /// In the host: mixes in how many frames of WebAssembly are on a continuation's stacks.
    Inspect(Kind),
    /// In the host: mixes in how many frames of WebAssembly there are.
    Trace,
    /// In a function of the host that may wait: does, once.
    Wait,
}

/// Where the function of a new continuation comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    Own(usize),
    /// From the table in common: an instance and a function.
    Table(usize, usize),
    Null,
}

/// Where a continuation is kept. The host's table is that of the first instance, its cell is the global of the
/// second, and its global a variable.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    Global,
    Table(usize),
    /// A structure with a field for each kind.
    Cell,
    /// The object's, of kind [`Kind::Nothing`]. Nothing happens where there is no object.
    Object,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum How {
    Direct,
    Tail,
    /// Through the table in common, in this instance.
    Table(usize),
}

#[derive(Clone, Debug)]
pub(crate) struct Resume {
    pub(crate) label: LabelId,
    pub(crate) kind: Kind,
    pub(crate) mode: Mode,
    /// Does nothing when there is no continuation.
    pub(crate) guarded: bool,
    /// Leaves the register empty.
    pub(crate) take: bool,
    pub(crate) clauses: Vec<Clause>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    Values,
    Throw(usize),
    /// Throws the exception in the register; does nothing where there is none.
    ThrowRef,
}

#[derive(Clone, Debug)]
pub(crate) struct Clause {
    pub(crate) tag: usize,
    /// What to do when it is suspended; without, the clause is for switches.
    pub(crate) body: Option<Body>,
}

#[derive(Clone, Debug)]
pub(crate) struct Catch {
    pub(crate) tag: Option<usize>,
    pub(crate) by_reference: bool,
    pub(crate) body: Body,
}

/// A call of a program by the test.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) number: usize,
    pub(crate) instance: usize,
    pub(crate) function: usize,
    /// Whether it is a future.
    pub(crate) is_async: bool,
    /// How often the future may wait. The next time, it is dropped.
    pub(crate) patience: usize,
    /// Whether it is a function of the host's, which is called as what it is in Rust, and not as WebAssembly does.
    pub(crate) is_plain: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) functions: Vec<Body>,
    /// Whether the two imported tags are one.
    pub(crate) is_one_tag: bool,
    /// Which functions of the host may wait: they can only be called where the whole call is a future.
    pub(crate) waits: [bool; FUNCTIONS.len()],
}
