//! What an embedder gives a guest as standard input, output and error: [`Input`] and [`Output`].
//!
//! Streams of the operating system (inherited ones, files) become ordinary file descriptors in
//! `file.rs`, so that reading and writing them is one system call on the guest's own memory. The
//! streams here that are no files (null, memory, an embedder's own) are served in this file.

use crate::errno::Errno;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where a guest's standard input comes from.
pub struct Input(pub(crate) InputKind);

pub(crate) enum InputKind {
    Inherited,
    File(File),
    Stream(Source),
}

/// Where a guest's standard output or error goes to.
pub struct Output(pub(crate) OutputKind);

pub(crate) enum OutputKind {
    Inherited,
    File(File),
    Stream(Sink),
}

impl Input {
    /// The process' own standard input, unbuffered.
    pub fn inherited() -> Input {
        Input(InputKind::Inherited)
    }

    /// At its end from the start.
    pub fn null() -> Input {
        Input(InputKind::Stream(Source::Null))
    }

    /// These bytes, then the end.
    pub fn bytes(bytes: impl Into<Vec<u8>>) -> Input {
        Input(InputKind::Stream(Source::Bytes {
            bytes: bytes.into(),
            position: 0,
        }))
    }

    /// A file, or another thing of the operating system that is read through a file descriptor, as
    /// the reading end of a pipe (`File::from(OwnedFd)`).
    pub fn file(file: File) -> Input {
        Input(InputKind::File(file))
    }

    /// A reader of the embedder's own. It is taken to be ready whenever the guest polls, and the
    /// guest waits for as long as `read` takes.
    pub fn reader(reader: impl Read + Send + 'static) -> Input {
        Input(InputKind::Stream(Source::Reader(Box::new(reader))))
    }
}

impl Output {
    /// The process' own standard output (or error, if given as that), unbuffered.
    pub fn inherited() -> Output {
        Output(OutputKind::Inherited)
    }

    /// Discards everything.
    pub fn null() -> Output {
        Output(OutputKind::Stream(Sink::Null))
    }

    /// Into memory that the embedder can look at: see [`CapturedOutput`].
    pub fn captured(capture: &CapturedOutput) -> Output {
        Output(OutputKind::Stream(Sink::Captured(capture.clone())))
    }

    /// A file, or another thing of the operating system that is written through a file descriptor.
    pub fn file(file: File) -> Output {
        Output(OutputKind::File(file))
    }

    /// A writer of the embedder's own; it is flushed after each of the guest's writes.
    pub fn writer(writer: impl Write + Send + 'static) -> Output {
        Output(OutputKind::Stream(Sink::Writer(Box::new(writer))))
    }
}

/// A guest's output, kept in memory. Clones share it: give one to the context, keep the other.
#[derive(Clone, Debug)]
pub struct CapturedOutput {
    bytes: Arc<Mutex<Vec<u8>>>,
    capacity_bytes: usize,
}

impl CapturedOutput {
    /// Keeps at most `capacity_bytes`; a guest that writes more gets the errno `nospc`.
    pub fn new(capacity_bytes: usize) -> CapturedOutput {
        CapturedOutput {
            bytes: Arc::default(),
            capacity_bytes,
        }
    }

    /// What the guest has written until now.
    pub fn contents(&self) -> Vec<u8> {
        self.lock().clone()
    }

    /// What the guest has written since the last time, which is forgotten.
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        // A panic elsewhere cannot leave the bytes half written.
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, buffers: &[IoSlice<'_>]) -> Result<usize, Errno> {
        let mut bytes = self.lock();
        let before = bytes.len();
        for buffer in buffers {
            let room = self.capacity_bytes.saturating_sub(bytes.len());
            bytes.extend_from_slice(&buffer[..buffer.len().min(room)]);
        }
        let wanted = buffers.iter().any(|buffer| !buffer.is_empty());
        match bytes.len() - before {
            0 if wanted => Err(Errno::Nospc),
            written => Ok(written),
        }
    }
}

/// An input that is no file of the operating system.
pub(crate) enum Source {
    Null,
    Bytes { bytes: Vec<u8>, position: usize },
    Reader(Box<dyn Read + Send>),
}

impl Source {
    pub(crate) fn read(&mut self, buffers: &mut [IoSliceMut<'_>]) -> Result<usize, Errno> {
        match self {
            Source::Null => Ok(0),
            Source::Bytes { bytes, position } => {
                let read = (&bytes[*position..]).read_vectored(buffers)?;
                *position += read;
                Ok(read)
            }
            Source::Reader(reader) => retry_interrupted(|| reader.read_vectored(buffers)),
        }
    }

    /// How many bytes can be read without waiting, or `None` at the end. 1 stands for "some".
    pub(crate) fn available_bytes(&self) -> Option<u64> {
        match self {
            Source::Null => None,
            Source::Bytes { bytes, position } => {
                let rest = bytes.len() - position;
                (rest > 0).then_some(rest as u64)
            }
            Source::Reader(_) => Some(1),
        }
    }
}

/// An output that is no file of the operating system.
pub(crate) enum Sink {
    Null,
    Captured(CapturedOutput),
    Writer(Box<dyn Write + Send>),
}

impl Sink {
    pub(crate) fn write(&mut self, buffers: &[IoSlice<'_>]) -> Result<usize, Errno> {
        match self {
            Sink::Null => Ok(buffers.iter().map(|buffer| buffer.len()).sum()),
            Sink::Captured(capture) => capture.write(buffers),
            Sink::Writer(writer) => {
                let written = retry_interrupted(|| writer.write_vectored(buffers))?;
                retry_interrupted(|| writer.flush())?;
                Ok(written)
            }
        }
    }
}

fn retry_interrupted<T>(mut operation: impl FnMut() -> io::Result<T>) -> Result<T, Errno> {
    loop {
        match operation() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return Ok(result?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_bytes_are_read_across_buffers_and_end() {
        let mut source = Source::Bytes {
            bytes: b"hello".to_vec(),
            position: 0,
        };
        let (mut one, mut two) = ([0; 2], [0; 2]);
        let mut buffers = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)];
        assert_eq!(source.read(&mut buffers), Ok(4));
        assert_eq!(source.available_bytes(), Some(1));
        assert_eq!(source.read(&mut buffers), Ok(1));
        assert_eq!(source.read(&mut buffers), Ok(0));
        assert_eq!(source.available_bytes(), None);
        assert_eq!((&one, &two), (b"oe", b"ll"));
    }

    #[test]
    fn captured_output_stops_at_its_capacity() {
        let capture = CapturedOutput::new(3);
        let mut sink = Sink::Captured(capture.clone());
        assert_eq!(
            sink.write(&[IoSlice::new(b"ab"), IoSlice::new(b"cd")]),
            Ok(3)
        );
        assert_eq!(sink.write(&[IoSlice::new(b"")]), Ok(0));
        assert_eq!(sink.write(&[IoSlice::new(b"e")]), Err(Errno::Nospc));
        assert_eq!(capture.take(), b"abc");
        assert_eq!(sink.write(&[IoSlice::new(b"e")]), Ok(1));
        assert_eq!(capture.contents(), b"e");
    }

    #[test]
    fn an_embedders_broken_pipe_reaches_the_guest() {
        struct Broken;
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut sink = Sink::Writer(Box::new(Broken));
        assert_eq!(sink.write(&[IoSlice::new(b"x")]), Err(Errno::Pipe));
    }
}
