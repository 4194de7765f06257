//! Command-line arguments and environment variables. Both are lists of strings that end in a zero
//! byte, and are given to the guest alike: first their number and size, then an array of pointers
//! and the strings.

use crate::context::WasiCtx;
use crate::errno::{Errno, Outcome};
use crate::memory::{GuestMemory, GuestPtr, GuestRange};

/// A list of strings for the guest.
#[derive(Default)]
pub(crate) struct Strings {
    /// Each with its zero byte.
    list: Vec<Box<[u8]>>,
}

impl Strings {
    /// Adds a string. The guest sees it up to its first zero byte, as C does.
    pub(crate) fn push(&mut self, string: &[u8]) {
        let len = string
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(string.len());
        self.list.push([&string[..len], b"\0"].concat().into());
    }

    /// Adds an environment variable, in place of an earlier one of the same name.
    pub(crate) fn set_variable(&mut self, name: &[u8], value: &[u8]) {
        let start = [name, b"="].concat();
        self.list.retain(|string| !string.starts_with(&start));
        self.push(&[&start, value].concat());
    }

    fn sizes_get(
        &self,
        memory: &mut GuestMemory<'_>,
        count_out: GuestPtr,
        bytes_out: GuestPtr,
    ) -> Outcome {
        let size = |size: usize| u32::try_from(size).map_err(|_| Errno::Overflow);
        memory.write(count_out, size(self.list.len())?)?;
        memory.write(
            bytes_out,
            size(self.list.iter().map(|string| string.len()).sum())?,
        )?;
        Ok(())
    }

    fn get(
        &self,
        memory: &mut GuestMemory<'_>,
        mut pointers: GuestPtr,
        mut strings: GuestPtr,
    ) -> Outcome {
        for string in &self.list {
            let len = string.len() as u32;
            memory.write(pointers, strings.0)?;
            memory.write_truncated(GuestRange::new(strings, len), string)?;
            pointers = pointers.add(4)?;
            strings = strings.add(len)?;
        }
        Ok(())
    }
}

/// `args_sizes_get`
pub(crate) fn args_sizes_get(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    count_out: GuestPtr,
    bytes_out: GuestPtr,
) -> Outcome {
    ctx.args.sizes_get(memory, count_out, bytes_out)
}

/// `args_get`
pub(crate) fn args_get(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    pointers: GuestPtr,
    strings: GuestPtr,
) -> Outcome {
    ctx.args.get(memory, pointers, strings)
}

/// `environ_sizes_get`
pub(crate) fn environ_sizes_get(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    count_out: GuestPtr,
    bytes_out: GuestPtr,
) -> Outcome {
    ctx.environ.sizes_get(memory, count_out, bytes_out)
}

/// `environ_get`
pub(crate) fn environ_get(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    pointers: GuestPtr,
    strings: GuestPtr,
) -> Outcome {
    ctx.environ.get(memory, pointers, strings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_terminated_and_pointed_to() {
        let mut strings = Strings::default();
        strings.push(b"ab");
        strings.push(b"");
        let mut bytes = [0xff; 16];
        let mut memory = GuestMemory::new(&mut bytes);
        strings
            .sizes_get(&mut memory, GuestPtr(0), GuestPtr(4))
            .unwrap();
        assert_eq!(memory.read(GuestPtr(0)), Ok(4u64 << 32 | 2));
        strings.get(&mut memory, GuestPtr(0), GuestPtr(8)).unwrap();
        assert_eq!(memory.read(GuestPtr(0)), Ok(11u64 << 32 | 8));
        assert_eq!(&bytes[8..13], b"ab\0\0\xff");
    }

    #[test]
    fn strings_that_do_not_fit_are_a_fault() {
        let mut strings = Strings::default();
        strings.push(b"abc");
        let mut bytes = [0; 8];
        let mut memory = GuestMemory::new(&mut bytes);
        assert!(strings.get(&mut memory, GuestPtr(0), GuestPtr(5)).is_err());
        assert!(strings.get(&mut memory, GuestPtr(6), GuestPtr(0)).is_err());
    }

    #[test]
    fn a_variable_set_twice_has_its_last_value() {
        let mut strings = Strings::default();
        strings.set_variable(b"A", b"1");
        strings.set_variable(b"AB", b"2");
        strings.set_variable(b"A", b"3\0x");
        let list: Vec<&[u8]> = strings.list.iter().map(|string| &string[..]).collect();
        assert_eq!(list, [b"AB=2\0", b"A=3\0" as &[u8]]);
    }
}
