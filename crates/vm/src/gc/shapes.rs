//! [`Shapes`]: what the collector must know of an object's type, its size and where its references
//! are, by the id in its header.
//!
//! A store learns a type when it first meets an object of it, and holds on to the type from then on.
//! An id that is found in the heap proves nothing: one that no type has gives no shape.

use super::exns::TagShape;
use crate::types::{Defined, RegisteredType, Registry, Shape as TypeShape};
use sarsen_abi::TypeId;
use sarsen_abi::heap::{
    ALIGNMENT, BITS_TYPE, CONT_TYPE, ContLayout, EXN_TAG, EXN_TYPE, EXTERN_TYPE, FIRST_TYPE,
    HEADER_SIZE, MAX_EXN, REFS_TYPE, ROW_SIZE, Slot, StructLayout,
};
use std::fmt;
use std::sync::Arc;

/// The size of a box with an object of the host's, in bytes.
pub(super) const EXTERN_SIZE: u32 = 16;

/// What the fields or elements of an object are to the collector.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Content {
    /// No such object is known.
    Unknown,
    /// A structure of [`Shape::size`]: bit `n` of [`Shape::references`] tells whether there is a
    /// reference `4 * n` bytes after the header.
    Small,
    /// A larger structure, [`Shapes::listed`]; [`Shape::references`] is the number of its list.
    Large,
    /// An array of references.
    References,
    /// An array of anything else, of 2 to the power of [`Shape::element_log2`] bytes each.
    Numbers,
    /// A box with an object of the host's.
    Extern,
    /// A continuation ([`ContLayout`]): two references, and perhaps a stack.
    Cont,
    /// An exception, whose tag tells where its references are.
    Exn,
}

/// What the collector must know of a type.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) content: Content,
    pub(super) element_log2: u8,
    /// The size of a structure, in bytes.
    pub(super) size: u32,
    pub(super) references: u64,
    /// Where the type is in [`Shapes::held`].
    held: u32,
}

const UNKNOWN: Shape = Shape {
    content: Content::Unknown,
    element_log2: 0,
    size: 0,
    references: 0,
    held: u32::MAX,
};

impl Shape {
    /// The size of an object with this second word of its header, in bytes; `None` when no object of
    /// this type has it.
    #[inline(always)]
    pub(super) fn size_of(&self, word: u32) -> Option<u64> {
        match self.content {
            Content::Small | Content::Large | Content::Extern | Content::Cont => {
                (word == self.size).then_some(u64::from(word))
            }
            Content::References | Content::Numbers => {
                let bytes = u64::from(HEADER_SIZE) + (u64::from(word) << self.element_log2);
                Some(bytes.next_multiple_of(u64::from(ALIGNMENT)))
            }
            Content::Exn => {
                let sizes = HEADER_SIZE + ALIGNMENT..=MAX_EXN;
                (sizes.contains(&word) && word.is_multiple_of(ALIGNMENT)).then_some(u64::from(word))
            }
            Content::Unknown => None,
        }
    }
}

/// How many types share a page of the table.
const PAGE: usize = 256;

/// What a store knows of types. See the module's page.
pub(super) struct Shapes {
    registry: Arc<Registry>,
    pages: Vec<Option<Box<[Shape; PAGE]>>>,
    /// The offsets of references in large structures.
    offsets: Vec<Box<[u32]>>,
    /// The types that were learned.
    held: Vec<RegisteredType>,
    /// The store's tags, by number less one.
    pub(super) tags: Vec<TagShape>,
}

impl Shapes {
    /// Knows no type but those that are reserved.
    pub(super) fn new(registry: &Arc<Registry>) -> Shapes {
        let mut shapes = Shapes {
            registry: Arc::clone(registry),
            pages: Vec::new(),
            offsets: Vec::new(),
            held: Vec::new(),
            tags: Vec::new(),
        };
        let exceptions = Shape {
            content: Content::Exn,
            ..UNKNOWN
        };
        shapes.insert(EXN_TYPE.0, exceptions);
        let boxes = Shape {
            content: Content::Extern,
            size: EXTERN_SIZE,
            ..UNKNOWN
        };
        shapes.insert(EXTERN_TYPE.0, boxes);
        let conts = Shape {
            content: Content::Cont,
            size: ContLayout::SIZE,
            ..UNKNOWN
        };
        shapes.insert(CONT_TYPE.0, conts);
        let array = |content, element_log2| Shape {
            content,
            element_log2,
            ..UNKNOWN
        };
        shapes.insert(REFS_TYPE.0, array(Content::References, 2));
        shapes.insert(BITS_TYPE.0, array(Content::Numbers, 4));
        shapes
    }

    /// The shape of the type with this id; [`Content::Unknown`] when there is no such type.
    #[inline(always)]
    pub(super) fn get(&mut self, id: u32) -> Shape {
        let shape = self.find(id);
        if shape.content == Content::Unknown {
            return self.learn(id);
        }
        shape
    }

    /// The same, of a type that is known already.
    #[inline(always)]
    pub(super) fn find(&self, id: u32) -> Shape {
        let row = (id / ROW_SIZE) as usize;
        match self.pages.get(row / PAGE) {
            Some(Some(page)) if id.is_multiple_of(ROW_SIZE) => page[row % PAGE],
            _ => UNKNOWN,
        }
    }

    /// Where the references are in a large structure, a continuation or an exception, as offsets; `None`
    /// for an exception that has no tag.
    ///
    /// # Safety
    ///
    /// There must be an object of this shape; `word` is the second word of its header.
    #[inline]
    pub(super) unsafe fn listed(&self, object: *mut u8, shape: Shape, word: u32) -> Option<&[u32]> {
        match shape.content {
            Content::Large => Some(&self.offsets[shape.references as usize]),
            Content::Cont => Some(&[ContLayout::REFS, ContLayout::BITS]),
            Content::Exn => {
                // SAFETY: every exception has room for the number of its tag.
                let tag = unsafe { object.add(EXN_TAG as usize).cast::<u32>().read() };
                self.exn_references(tag, word)
            }
            _ => unreachable!("not of these"),
        }
    }

    /// The type of a shape that is a structure's or array's.
    #[inline]
    pub(super) fn defined(&self, shape: Shape) -> Option<&Defined> {
        Some(self.held.get(shape.held as usize)?.defined())
    }

    #[cold]
    #[inline(never)]
    fn learn(&mut self, id: u32) -> Shape {
        if id < FIRST_TYPE.0 || !id.is_multiple_of(ROW_SIZE) {
            return UNKNOWN;
        }
        let Some(ty) = self.registry.retain(TypeId(id)) else {
            return UNKNOWN;
        };
        let mut shape = match &ty.defined().shape {
            TypeShape::Struct(shape) => self.structure(&shape.layout),
            TypeShape::Array(shape) => {
                let slot = shape.layout.slot;
                Shape {
                    content: match slot {
                        Slot::Reference => Content::References,
                        _ => Content::Numbers,
                    },
                    element_log2: slot.size().trailing_zeros() as u8,
                    ..UNKNOWN
                }
            }
            TypeShape::Func(_) | TypeShape::Cont(_) => return UNKNOWN,
        };
        shape.held = self.held.len() as u32;
        self.held.push(ty);
        self.insert(id, shape);
        shape
    }

    fn structure(&mut self, layout: &StructLayout) -> Shape {
        let references = layout.fields.iter().filter(|f| f.1 == Slot::Reference);
        let offsets: Box<[u32]> = references.map(|&(at, _)| at).collect();
        let bit = |at: u32| (at - HEADER_SIZE) / 4;
        let small = offsets.last().is_none_or(|&last| bit(last) < 64);
        let (content, references) = if small {
            let bits = offsets.iter().fold(0, |bits, &at| bits | 1 << bit(at));
            (Content::Small, bits)
        } else {
            self.offsets.push(offsets);
            (Content::Large, self.offsets.len() as u64 - 1)
        };
        Shape {
            content,
            element_log2: 0,
            size: layout.size,
            references,
            ..UNKNOWN
        }
    }

    fn insert(&mut self, id: u32, shape: Shape) {
        let row = (id / ROW_SIZE) as usize;
        if self.pages.len() <= row / PAGE {
            self.pages.resize_with(row / PAGE + 1, || None);
        }
        let page = self.pages[row / PAGE].get_or_insert_with(|| Box::new([UNKNOWN; PAGE]));
        page[row % PAGE] = shape;
    }
}

impl fmt::Debug for Shapes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shapes")
            .field("held", &self.held.len())
            .finish_non_exhaustive()
    }
}
