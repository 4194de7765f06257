//! What can be observed of a module that runs, in terms of neither runtime.

use std::fmt;

/// A value on its way in or out. Floats are bits: generated modules make every NaN the canonical one,
/// so that bits must agree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Value {
    I32(i32),
    I64(i64),
    F32(u32),
    F64(u64),
    /// Whether it is a function, rather than null. As an argument, it is the function that is called.
    Func(bool),
    /// The number behind a reference of the host's.
    Extern(Option<u32>),
}

/// The types of such values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Type {
    I32,
    I64,
    F32,
    F64,
    Func,
    Extern,
}

/// Why a call, or an instantiation, did not succeed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Failure {
    Trap(Trap),
    /// The host function failed.
    Host,
    /// A limit that the host set.
    Limit,
    /// A resource of which the runtimes have different amounts: nothing after it can be compared.
    Exhausted(String),
    Other(String),
}

/// Traps, as far as both runtimes tell them apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Trap {
    Unreachable,
    Memory,
    /// Out of bounds of a table, be it by a table instruction or an indirect call.
    Table,
    IndirectCallToNull,
    BadSignature,
    IntegerOverflow,
    DivisionByZero,
    BadConversion,
}

pub(crate) type Outcome = Result<Vec<Value>, Failure>;

/// A call that the module made of the host.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct HostCall {
    pub(crate) name: &'static str,
    pub(crate) arguments: Vec<Value>,
}

/// All that can be read of an instance from outside, by export name, and of what it imported.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) items: Vec<(String, Item)>,
    pub(crate) calls: Vec<HostCall>,
}

#[derive(PartialEq)]
pub(crate) enum Item {
    Memory(Vec<u8>),
    /// Its elements, or as many as are compared, and its size.
    Table(Vec<Value>, u64),
    Global(Value),
}

/// Elements of a table that are compared.
pub(crate) const TABLE_ELEMENTS: u64 = 256;

impl State {
    /// Puts what was read in an order that does not depend on the runtime.
    pub(crate) fn sort(&mut self) {
        // What is imported is not told from what is exported: the sort is stable.
        self.items.sort_by(|(a, _), (b, _)| a.cmp(b));
    }

    /// How many bytes of memories it has.
    pub(crate) fn bytes(&self) -> u64 {
        let sizes = self.items.iter().map(|(_, item)| match item {
            Item::Memory(bytes) => bytes.len() as u64,
            _ => 0,
        });
        sizes.sum()
    }

    /// The first difference, told as "theirs, then ours".
    pub(crate) fn difference(&self, ours: &State) -> Option<String> {
        for (index, theirs) in self.calls.iter().enumerate() {
            match ours.calls.get(index) {
                Some(our) if our == theirs => {}
                our => return Some(format!("host call {index}: {theirs:?}, ours {our:?}")),
            }
        }
        if let Some(more) = ours.calls.get(self.calls.len()) {
            return Some(format!("one more call of the host: {more:?}"));
        }
        if self.items.len() != ours.items.len() {
            return Some("the numbers of exports differ".to_owned());
        }
        self.items
            .iter()
            .zip(&ours.items)
            .find_map(|((name, theirs), (_, ours))| {
                let difference = theirs.difference(ours)?;
                Some(format!("`{name}`: {difference}"))
            })
    }
}

impl Item {
    fn difference(&self, ours: &Item) -> Option<String> {
        if self == ours {
            return None;
        }
        Some(match (self, ours) {
            (Item::Memory(theirs), Item::Memory(ours)) if theirs.len() == ours.len() => {
                let at = theirs.iter().zip(ours).position(|(a, b)| a != b);
                let at = at.expect("they differ");
                let end = theirs.len().min(at + 8);
                format!(
                    "memory differs at {at:#x}: {:02x?}, ours {:02x?}",
                    &theirs[at..end],
                    &ours[at..end]
                )
            }
            (Item::Table(theirs, size), Item::Table(ours, same)) if size == same => {
                let at = theirs.iter().zip(ours).position(|(a, b)| a != b);
                let at = at.expect("they differ");
                format!("element {at}: {:?}, ours {:?}", theirs[at], ours[at])
            }
            _ => format!("{self:?}, ours {ours:?}"),
        })
    }
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Item::Memory(bytes) => write!(f, "a memory of {} bytes", bytes.len()),
            Item::Table(_, size) => write!(f, "a table of {size} elements"),
            Item::Global(value) => write!(f, "{value:?}"),
        }
    }
}
