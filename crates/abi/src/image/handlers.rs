//! The table of handlers: return address of a call → where traps and exceptions continue.
//!
//! A call in an entry stub has one handler, for whatever leaves compiled code. A call inside of
//! `try_table` has a handler for each clause around it, innermost first; the tags that these name are
//! those of the instance whose vmctx the frame holds, so the table says where:
//!
//! ```text
//!   size of the rows: u32
//!   rows (a block table): where the handlers are
//!   handlers: each { frame offset, context's offset + 1 or 0, how many,
//!                    each { tag + 1 or 0 for all, landing as a difference from the return address } }
//! ```

use super::blocks::{Blocks, BlocksEncoder, Row};
use super::varint::{Cursor, fixed_u32, write_difference, write_u32};
use crate::index::TagIndex;

/// A handler: where execution goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handler {
    /// The tag of the exceptions that it takes; `None` takes all.
    pub tag: Option<TagIndex>,
    /// The text offset to continue at.
    pub landing: u32,
}

/// The frame of a call that has handlers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HandlerFrame {
    /// The frame pointer less the stack pointer to continue with, in bytes.
    pub frame_offset: u32,
    /// Where the instance's vmctx is, in bytes from that stack pointer; needed for tags only.
    pub context: Option<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Position(u32);

impl Row for Position {
    const BLOCK: u32 = 8;
    const FIRST: Self = Position(0);

    fn write(&self, delta: u32, previous: &Self, out: &mut Vec<u8>) {
        write_u32(out, delta);
        write_u32(out, self.0 - previous.0);
    }

    fn read(cursor: &mut Cursor<'_>, previous: &Self) -> Option<(u32, Self)> {
        let delta = cursor.u32()?;
        Some((delta, Position(previous.0.checked_add(cursor.u32()?)?)))
    }
}

/// The table as it grows.
#[derive(Debug)]
pub(super) struct HandlersEncoder {
    rows: BlocksEncoder<Position>,
    handlers: Vec<u8>,
}

impl HandlersEncoder {
    /// A table without rows.
    pub(super) fn new() -> Self {
        HandlersEncoder {
            rows: BlocksEncoder::new(),
            handlers: Vec::new(),
        }
    }

    /// Adds the handlers of a call, innermost first, by the text offset of the return address; these
    /// must ascend.
    pub(super) fn push(&mut self, return_offset: u32, frame: HandlerFrame, handlers: &[Handler]) {
        let position = u32::try_from(self.handlers.len()).expect("tables are below 4 GiB");
        self.rows.push(return_offset, Position(position));
        let out = &mut self.handlers;
        write_u32(out, frame.frame_offset);
        write_u32(out, frame.context.map_or(0, |offset| offset + 1));
        write_u32(out, handlers.len() as u32);
        for handler in handlers {
            write_u32(out, handler.tag.map_or(0, |tag| tag.as_u32() + 1));
            write_difference(out, return_offset, handler.landing);
        }
    }

    /// The section's bytes.
    pub(super) fn finish(self) -> Vec<u8> {
        let rows = self.rows.finish();
        let size = u32::try_from(rows.len()).expect("a table is limited to 4 GiB");
        [&size.to_le_bytes()[..], &rows, &self.handlers].concat()
    }
}

/// The table, searched where it lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct HandlerTable<'a> {
    rows: Blocks<'a, Position>,
    handlers: &'a [u8],
}

impl<'a> HandlerTable<'a> {
    /// The table in `bytes`.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let size = fixed_u32(bytes, 0)? as usize;
        let (rows, handlers) = bytes.get(4..)?.split_at_checked(size)?;
        Some(HandlerTable {
            rows: Blocks::parse(rows)?,
            handlers,
        })
    }

    /// The handlers of the call that returns to this text offset.
    pub(super) fn get(&self, return_offset: u32) -> Option<Handlers<'a>> {
        let position = self.rows.get(return_offset)?;
        let mut cursor = Cursor::new(self.handlers.get(position.0 as usize..)?);
        let frame = HandlerFrame {
            frame_offset: cursor.u32()?,
            context: cursor.u32()?.checked_sub(1),
        };
        Some(Handlers {
            frame,
            return_offset,
            left: cursor.u32()?,
            cursor,
        })
    }
}

/// The handlers of a call, innermost first.
#[derive(Clone, Debug)]
pub struct Handlers<'a> {
    frame: HandlerFrame,
    return_offset: u32,
    left: u32,
    cursor: Cursor<'a>,
}

impl Handlers<'_> {
    /// The frame that they are in.
    pub fn frame(&self) -> HandlerFrame {
        self.frame
    }
}

impl Iterator for Handlers<'_> {
    type Item = Handler;

    fn next(&mut self) -> Option<Handler> {
        self.left = self.left.checked_sub(1)?;
        Some(Handler {
            tag: self.cursor.u32()?.checked_sub(1).map(TagIndex::new),
            landing: self.cursor.difference(self.return_offset)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn landings_before_and_after_the_call_are_found() {
        let row = |i: u32| {
            let at = 1000 + i * 10;
            let landing = if i.is_multiple_of(2) {
                at + 500
            } else {
                at - 900
            };
            let all = Handler { tag: None, landing };
            let tagged = |tag| Handler {
                tag: Some(TagIndex::new(tag)),
                landing: landing + 4 * tag,
            };
            let mut handlers: Vec<Handler> = (0..i % 4).map(tagged).collect();
            handlers.extend((i % 3 != 0).then_some(all));
            let frame = HandlerFrame {
                frame_offset: i * 16,
                context: (i % 4 != 0).then_some(i * 8),
            };
            (at, frame, handlers)
        };
        let mut encoder = HandlersEncoder::new();
        for (at, frame, handlers) in (0..100).map(row) {
            encoder.push(at, frame, &handlers);
        }
        let bytes = encoder.finish();
        let table = HandlerTable::parse(&bytes).unwrap();
        for (at, frame, handlers) in (0..100).map(row) {
            let found = table.get(at).unwrap();
            assert_eq!(found.frame(), frame);
            assert_eq!(found.collect::<Vec<_>>(), handlers);
            assert!(table.get(at - 1).is_none());
        }
    }
}
