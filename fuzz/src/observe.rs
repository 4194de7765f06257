//! What can be observed of a module that runs, in terms of neither runtime.

use std::fmt;

/// A value on its way in or out. Floats are bits: one NaN only is ever made, so that bits must agree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value {
    /// An `i32`.
    I32(i32),
    /// An `i64`.
    I64(i64),
    /// The bits of an `f32`.
    F32(u32),
    /// The bits of an `f64`.
    F64(u64),
    /// A vector, lane 0 in the lowest bits.
    V128(u128),
    /// Whether it is a function, rather than null. As an argument, it is the function that is called.
    Func(bool),
    /// The number behind a reference of the host's, or [`FOREIGN`].
    Extern(Option<u32>),
    /// A reference to what is collected. As an argument, what is not an `i31` is null.
    Any(Any),
    /// Whether it is an exception, rather than null.
    Exn(bool),
}

/// Stands for an external reference that the module has made of an internal one.
pub const FOREIGN: u32 = u32::MAX;

/// What is told of a reference to what is collected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Any {
    /// Nothing.
    Null,
    /// An `i31`, its bits.
    I31(u32),
    /// A structure.
    Struct,
    /// An array.
    Array,
    /// An external reference that the module has made an internal one.
    Other,
}

/// The types of such values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Type {
    /// `i32`.
    I32,
    /// `i64`.
    I64,
    /// `f32`.
    F32,
    /// `f64`.
    F64,
    /// `v128`.
    V128,
    /// Any reference to functions.
    Func,
    /// `externref`.
    Extern,
    /// What an `i31` is of.
    I31 {
        /// Whether null is of it, too.
        nullable: bool,
    },
    /// Of whose values only null, which is this, is passed.
    Null(Value),
}

/// Why a call, or an instantiation, did not succeed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// The module's fault.
    Trap(Trap),
    /// An exception that nobody caught, and what it carries.
    Exception(Vec<Value>),
    /// The host function failed.
    Host,
    /// A limit that the host set.
    Limit,
    /// A resource of which the runtimes have different amounts: nothing after it can be compared.
    Exhausted(String),
    /// What nobody expects.
    Other(String),
}

/// Traps, as far as both runtimes tell them apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trap {
    /// `unreachable` was executed.
    Unreachable,
    /// Out of bounds of a memory.
    Memory,
    /// Out of bounds of a table, be it by a table instruction or an indirect call.
    Table,
    /// An indirect call of an element without function.
    IndirectCallToNull,
    /// An indirect call of a function of another type.
    BadSignature,
    /// A quotient, or an integer from a float, that has no room.
    IntegerOverflow,
    /// An integer divided by zero.
    DivisionByZero,
    /// NaN to an integer.
    BadConversion,
    /// A null reference where there must be none.
    NullReference,
    /// An atomic access whose address is not a multiple of its width.
    Unaligned,
    /// A wait for a memory that nobody else can change.
    WaitUnshared,
    /// A cast of what is of another type.
    Cast,
    /// Out of bounds of an array.
    Array,
}

/// What became of a call: its results, or why there are none.
pub type Outcome = Result<Vec<Value>, Failure>;

/// A call that the module made of the host.
#[derive(Clone, PartialEq, Debug)]
pub struct HostCall {
    /// The function.
    pub name: &'static str,
    /// What it got.
    pub arguments: Vec<Value>,
}

/// All that can be read of an instance from outside, by export name, and of what it imported.
#[derive(Default)]
pub struct State {
    /// What was read, by name.
    pub items: Vec<(String, Item)>,
    /// The calls of the host, in order.
    pub calls: Vec<HostCall>,
}

/// Something with a state.
#[derive(PartialEq)]
pub enum Item {
    /// All bytes of a memory.
    Memory(Vec<u8>),
    /// A table's elements, or as many as are compared, and its size.
    Table(Vec<Value>, u64),
    /// A global's value.
    Global(Value),
}

/// Elements of a table that are compared.
pub const TABLE_ELEMENTS: u64 = 256;

impl State {
    /// Puts what was read in an order that does not depend on the runtime.
    pub fn sort(&mut self) {
        // What is imported is not told from what is exported: the sort is stable.
        self.items.sort_by(|(a, _), (b, _)| a.cmp(b));
    }

    /// How many bytes of memories it has.
    pub fn bytes(&self) -> u64 {
        let sizes = self.items.iter().map(|(_, item)| match item {
            Item::Memory(bytes) => bytes.len() as u64,
            _ => 0,
        });
        sizes.sum()
    }

    /// The first difference, told as "theirs, then ours".
    pub fn difference(&self, ours: &State) -> Option<String> {
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
