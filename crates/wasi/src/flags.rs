//! WASI's sets of flags. Bits that WASI does not know are an error, except among rights, where
//! programs are careless.

use crate::errno::Errno;

macro_rules! flags {
    ($(#[$doc:meta])* $name:ident: $bits:ident { $($flag:ident = $bit:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(crate) struct $name($bits);

        #[allow(dead_code, reason = "the set is WASI's, not what we happen to ask for")]
        impl $name {
            $(pub(crate) const $flag: $name = $name(1 << $bit);)*
            const KNOWN: $bits = $(1 << $bit)|*;

            pub(crate) const fn empty() -> $name {
                $name(0)
            }

            pub(crate) const fn bits(self) -> $bits {
                self.0
            }

            /// The flags of `bits`, if all are known. A 16- or 8-bit set comes in an `i32`
            /// parameter; bits above its width are an error too.
            pub(crate) fn decode(bits: u64) -> Result<$name, Errno> {
                match $bits::try_from(bits) {
                    Ok(bits) if bits & !$name::KNOWN == 0 => Ok($name(bits)),
                    _ => Err(Errno::Inval),
                }
            }

            /// The flags of `bits`, unknown ones ignored.
            pub(crate) const fn decode_known(bits: $bits) -> $name {
                $name(bits & $name::KNOWN)
            }

            pub(crate) const fn contains(self, flags: $name) -> bool {
                self.0 & flags.0 == flags.0
            }

            pub(crate) const fn intersects(self, flags: $name) -> bool {
                self.0 & flags.0 != 0
            }

            pub(crate) const fn with(self, flags: $name) -> $name {
                $name(self.0 | flags.0)
            }

            pub(crate) const fn without(self, flags: $name) -> $name {
                $name(self.0 & !flags.0)
            }

            pub(crate) const fn and(self, flags: $name) -> $name {
                $name(self.0 & flags.0)
            }

            /// The flags, with `flags` added if `on`.
            pub(crate) const fn with_if(self, on: bool, flags: $name) -> $name {
                if on { self.with(flags) } else { self }
            }
        }
    };
}

flags! {
    /// What may be done with a descriptor.
    Rights: u64 {
        FD_DATASYNC = 0,
        FD_READ = 1,
        FD_SEEK = 2,
        FD_FDSTAT_SET_FLAGS = 3,
        FD_SYNC = 4,
        FD_TELL = 5,
        FD_WRITE = 6,
        FD_ADVISE = 7,
        FD_ALLOCATE = 8,
        PATH_CREATE_DIRECTORY = 9,
        PATH_CREATE_FILE = 10,
        PATH_LINK_SOURCE = 11,
        PATH_LINK_TARGET = 12,
        PATH_OPEN = 13,
        FD_READDIR = 14,
        PATH_READLINK = 15,
        PATH_RENAME_SOURCE = 16,
        PATH_RENAME_TARGET = 17,
        PATH_FILESTAT_GET = 18,
        PATH_FILESTAT_SET_SIZE = 19,
        PATH_FILESTAT_SET_TIMES = 20,
        FD_FILESTAT_GET = 21,
        FD_FILESTAT_SET_SIZE = 22,
        FD_FILESTAT_SET_TIMES = 23,
        PATH_SYMLINK = 24,
        PATH_REMOVE_DIRECTORY = 25,
        PATH_UNLINK_FILE = 26,
        POLL_FD_READWRITE = 27,
        SOCK_SHUTDOWN = 28,
        SOCK_ACCEPT = 29,
    }
}

flags! {
    /// How a descriptor reads and writes.
    FdFlags: u16 {
        APPEND = 0,
        DSYNC = 1,
        NONBLOCK = 2,
        RSYNC = 3,
        SYNC = 4,
    }
}

flags! {
    /// What `path_open` does besides opening.
    OpenFlags: u16 {
        CREAT = 0,
        DIRECTORY = 1,
        EXCL = 2,
        TRUNC = 3,
    }
}

flags! {
    /// How the last component of a path is resolved.
    LookupFlags: u32 {
        SYMLINK_FOLLOW = 0,
    }
}

flags! {
    /// Which times of a file to set, and whether to now.
    FstFlags: u16 {
        ATIM = 0,
        ATIM_NOW = 1,
        MTIM = 2,
        MTIM_NOW = 3,
    }
}

flags! {
    /// How the timeout of a clock subscription counts.
    SubclockFlags: u16 {
        ABSTIME = 0,
    }
}

flags! {
    /// The state of a descriptor in an event.
    EventRwFlags: u16 {
        HANGUP = 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_flags_and_bits_above_the_width_are_refused() {
        assert_eq!(
            OpenFlags::decode(0b1001),
            Ok(OpenFlags::CREAT.with(OpenFlags::TRUNC))
        );
        assert_eq!(OpenFlags::decode(1 << 4), Err(Errno::Inval));
        assert_eq!(OpenFlags::decode(1 << 16), Err(Errno::Inval));
        assert_eq!(Rights::decode(1 << 29), Ok(Rights::SOCK_ACCEPT));
        assert_eq!(Rights::decode(u64::MAX), Err(Errno::Inval));
    }
}
