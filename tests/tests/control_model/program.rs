//! The little language: what a program of control effects consists of.
//!
//! A program is a few functions, each a tree of nodes. All work on *registers* of their own: a number, an
//! object, a continuation of each kind, an exception. What is passed (arguments, payloads, results) is taken
//! from registers and put into registers by one rule for each type, so that a node only says what happens.
//! Continuations are also kept in globals, tables, fields of objects, and in payloads.

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

pub(crate) const TAGS: [Tag; 9] = [
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
];

/// The kind of each function.
pub(crate) const FUNCTIONS: [Kind; 9] = [
    Kind::Nothing,
    Kind::Nothing,
    Kind::Nothing,
    Kind::Nothing,
    Kind::Number,
    Kind::Object,
    Kind::Wide,
    Kind::Switch,
    Kind::Switch,
];

/// The functions that the host calls, which come first, and take nothing. They mostly resume: what they
/// suspend, nobody handles.
pub(crate) const MAINS: usize = 2;

/// Instances of the module, which have tags, globals and tables of their own, and one table of functions in
/// common.
pub(crate) const INSTANCES: usize = 2;
/// Elements of each table of continuations.
pub(crate) const SLOTS: usize = 3;

pub(crate) type Body = Vec<Node>;
pub(crate) type LabelId = usize;

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
    /// Calls the host, which calls a function of kind [`Kind::Nothing`].
    Host {
        index: usize,
        /// Whether the host makes a number of what was thrown or trapped.
        swallow: bool,
    },
    Collect,
    Unreachable,
}

/// Where the function of a new continuation comes from.
#[derive(Clone, Copy)]
pub(crate) enum Source {
    Own(usize),
    /// From the table in common: an instance and a function.
    Table(usize, usize),
    Null,
}

/// Where a continuation is kept.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    Global,
    Table(usize),
    /// A structure with a field for each kind.
    Cell,
    /// The object's, of kind [`Kind::Nothing`]. Nothing happens where there is no object.
    Object,
}

#[derive(Clone, Copy)]
pub(crate) enum How {
    Direct,
    Tail,
    /// Through the table in common, in this instance.
    Table(usize),
}

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

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Values,
    Throw(usize),
    /// Throws the exception in the register; does nothing where there is none.
    ThrowRef,
}

pub(crate) struct Clause {
    pub(crate) tag: usize,
    /// What to do when it is suspended; without, the clause is for switches.
    pub(crate) body: Option<Body>,
}

pub(crate) struct Catch {
    pub(crate) tag: Option<usize>,
    pub(crate) by_reference: bool,
    pub(crate) body: Body,
}

pub(crate) struct Program {
    pub(crate) functions: Vec<Body>,
    /// Whether the two imported tags are one.
    pub(crate) is_one_tag: bool,
}
