//! WASI's error numbers, and how the host's errors become them.
//!
//! A function of this crate ends in one of three ways: success, an [`Errno`] that the guest sees as
//! the function's result, or a [`sarsen::Error`] that ends the guest. [`Failure`] holds the last two.

use rustix::io::Errno as Os;
use std::io;

/// An error number of WASI preview 1, as the guest sees it.
///
/// `wasi_unstable` has the same numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub(crate) enum Errno {
    TooBig = 1,
    Acces = 2,
    Again = 6,
    Badf = 8,
    Busy = 10,
    Dquot = 19,
    Exist = 20,
    Fault = 21,
    Fbig = 22,
    Ilseq = 25,
    Intr = 27,
    Inval = 28,
    Io = 29,
    Isdir = 31,
    Loop = 32,
    Mfile = 33,
    Mlink = 34,
    Nametoolong = 37,
    Nfile = 41,
    Nobufs = 42,
    Nodev = 43,
    Noent = 44,
    Nomem = 48,
    Nospc = 51,
    Nosys = 52,
    Notconn = 53,
    Notdir = 54,
    Notempty = 55,
    Notsock = 57,
    Notsup = 58,
    Notty = 59,
    Nxio = 60,
    Overflow = 61,
    Perm = 63,
    Pipe = 64,
    Range = 68,
    Rofs = 69,
    Spipe = 70,
    Stale = 72,
    Timedout = 73,
    Txtbsy = 74,
    Xdev = 75,
}

/// Which error of the operating system is which of WASI's. What is not listed is [`Errno::Io`].
const FROM_OS: &[(Os, Errno)] = &[
    (Os::TOOBIG, Errno::TooBig),
    (Os::ACCESS, Errno::Acces),
    (Os::AGAIN, Errno::Again),
    (Os::BADF, Errno::Badf),
    (Os::BUSY, Errno::Busy),
    (Os::DQUOT, Errno::Dquot),
    (Os::EXIST, Errno::Exist),
    (Os::FAULT, Errno::Fault),
    (Os::FBIG, Errno::Fbig),
    (Os::ILSEQ, Errno::Ilseq),
    (Os::INTR, Errno::Intr),
    (Os::INVAL, Errno::Inval),
    (Os::IO, Errno::Io),
    (Os::ISDIR, Errno::Isdir),
    (Os::LOOP, Errno::Loop),
    (Os::MFILE, Errno::Mfile),
    (Os::MLINK, Errno::Mlink),
    (Os::NAMETOOLONG, Errno::Nametoolong),
    (Os::NFILE, Errno::Nfile),
    (Os::NOBUFS, Errno::Nobufs),
    (Os::NODEV, Errno::Nodev),
    (Os::NOENT, Errno::Noent),
    (Os::NOMEM, Errno::Nomem),
    (Os::NOSPC, Errno::Nospc),
    (Os::NOSYS, Errno::Nosys),
    (Os::NOTCONN, Errno::Notconn),
    (Os::NOTDIR, Errno::Notdir),
    (Os::NOTEMPTY, Errno::Notempty),
    (Os::NOTSOCK, Errno::Notsock),
    (Os::NOTSUP, Errno::Notsup),
    (Os::NOTTY, Errno::Notty),
    (Os::NXIO, Errno::Nxio),
    (Os::OVERFLOW, Errno::Overflow),
    (Os::PERM, Errno::Perm),
    (Os::PIPE, Errno::Pipe),
    (Os::RANGE, Errno::Range),
    (Os::ROFS, Errno::Rofs),
    (Os::SPIPE, Errno::Spipe),
    (Os::STALE, Errno::Stale),
    (Os::TIMEDOUT, Errno::Timedout),
    (Os::TXTBSY, Errno::Txtbsy),
    (Os::XDEV, Errno::Xdev),
];

impl From<Os> for Errno {
    fn from(error: Os) -> Errno {
        FROM_OS
            .iter()
            .find(|(os, _)| *os == error)
            .map_or(Errno::Io, |(_, errno)| *errno)
    }
}

impl From<io::Error> for Errno {
    fn from(error: io::Error) -> Errno {
        match Os::from_io_error(&error) {
            Some(os) => os.into(),
            None => from_kind(error.kind()),
        }
    }
}

/// Errors that no system call made: cap-std's refusal of a path that leads out of its directory
/// (`PermissionDenied`), and those of an embedder's own streams.
fn from_kind(kind: io::ErrorKind) -> Errno {
    match kind {
        io::ErrorKind::PermissionDenied => Errno::Perm,
        io::ErrorKind::NotFound => Errno::Noent,
        io::ErrorKind::AlreadyExists => Errno::Exist,
        io::ErrorKind::InvalidInput => Errno::Inval,
        io::ErrorKind::BrokenPipe => Errno::Pipe,
        io::ErrorKind::WouldBlock => Errno::Again,
        io::ErrorKind::Interrupted => Errno::Intr,
        io::ErrorKind::Unsupported => Errno::Notsup,
        io::ErrorKind::StorageFull => Errno::Nospc,
        io::ErrorKind::OutOfMemory => Errno::Nomem,
        io::ErrorKind::TimedOut => Errno::Timedout,
        _ => Errno::Io,
    }
}

/// How a WASI function fails.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The guest gets this number and goes on.
    Errno(Errno),
    /// The guest ends with this error: it called `proc_exit`, or was interrupted while it waited.
    Stop(sarsen::Error),
}

/// What a WASI function returns.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl<E: Into<Errno>> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure::Errno(error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_system_keeps_its_meaning() {
        let error = io::Error::from_raw_os_error(Os::NOTEMPTY.raw_os_error());
        assert_eq!(Errno::from(error), Errno::Notempty);
        assert_eq!(Errno::from(Os::PIPE) as u16, 64);
    }

    #[test]
    fn an_unknown_error_of_the_system_is_an_io_error() {
        assert_eq!(Errno::from(Os::KEYEXPIRED), Errno::Io);
        assert_eq!(Errno::from(io::Error::other("x")), Errno::Io);
    }

    #[test]
    fn a_path_that_escapes_is_a_permission_error() {
        let error = io::Error::new(io::ErrorKind::PermissionDenied, "outside");
        assert_eq!(Errno::from(error), Errno::Perm);
    }
}
