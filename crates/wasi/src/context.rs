//! [`WasiCtx`]: everything of the host that one guest can reach, and [`WasiCtxBuilder`], with which an
//! embedder decides what that is. A new builder gives nothing: no arguments, no environment, no
//! directory, null streams. Only clocks and random bytes are the system's unless replaced.

use crate::args_environ::Strings;
use crate::clock::{Clocks, HostClock};
use crate::descriptor::{Descriptor, DirPerms, FilePerms, Kind, STREAM_RIGHTS, preopen_rights};
use crate::dir::OpenDir;
use crate::file::{OpenFile, Standard};
use crate::flags::Rights;
use crate::random::{RandomSource, SystemRandom};
use crate::stdio::{Input, InputKind, Output, OutputKind};
use crate::table::DescriptorTable;
use crate::wait::Waiting;
use anyhow::Context;
use cap_std::fs::Dir;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What one guest can reach of its host. Lives in the `T` of a `Store<T>`.
pub struct WasiCtx {
    pub(crate) args: Strings,
    pub(crate) environ: Strings,
    pub(crate) table: DescriptorTable,
    pub(crate) clocks: Clocks,
    pub(crate) random: Box<dyn RandomSource>,
    pub(crate) waiting: Waiting,
}

impl std::fmt::Debug for WasiCtx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WasiCtx").finish_non_exhaustive()
    }
}

impl WasiCtx {
    /// A builder for a context that can reach nothing.
    pub fn builder() -> WasiCtxBuilder {
        WasiCtxBuilder::new()
    }
}

/// Descriptors that a guest may have open at once, unless the embedder says otherwise.
const MAX_OPEN: usize = 1024;

/// Decides what a [`WasiCtx`] can reach.
pub struct WasiCtxBuilder {
    stdin: Input,
    stdout: Output,
    stderr: Output,
    preopens: Vec<Descriptor>,
    args: Strings,
    environ: Strings,
    clocks: Clocks,
    random: Box<dyn RandomSource>,
    waiting: Waiting,
    max_open: usize,
}

impl Default for WasiCtxBuilder {
    fn default() -> WasiCtxBuilder {
        WasiCtxBuilder::new()
    }
}

impl std::fmt::Debug for WasiCtxBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WasiCtxBuilder").finish_non_exhaustive()
    }
}

impl WasiCtxBuilder {
    /// A builder for a context that can reach nothing.
    pub fn new() -> WasiCtxBuilder {
        WasiCtxBuilder {
            stdin: Input::null(),
            stdout: Output::null(),
            stderr: Output::null(),
            preopens: Vec::new(),
            args: Strings::default(),
            environ: Strings::default(),
            clocks: Clocks::system(),
            random: Box::new(SystemRandom),
            waiting: Waiting {
                allowed: true,
                check: None,
            },
            max_open: MAX_OPEN,
        }
    }

    /// Adds an argument; the first is the program's name. A zero byte ends it.
    pub fn arg(&mut self, arg: impl AsRef<[u8]>) -> &mut WasiCtxBuilder {
        self.args.push(arg.as_ref());
        self
    }

    /// Adds arguments.
    pub fn args(&mut self, args: &[impl AsRef<[u8]>]) -> &mut WasiCtxBuilder {
        for arg in args {
            self.arg(arg);
        }
        self
    }

    /// Adds the process' own arguments.
    pub fn inherit_args(&mut self) -> &mut WasiCtxBuilder {
        for arg in std::env::args_os() {
            self.arg(arg.as_bytes());
        }
        self
    }

    /// Sets an environment variable, in place of an earlier one of the same name.
    pub fn env(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> &mut WasiCtxBuilder {
        self.environ.set_variable(name.as_ref(), value.as_ref());
        self
    }

    /// Sets environment variables.
    pub fn envs(
        &mut self,
        variables: &[(impl AsRef<[u8]>, impl AsRef<[u8]>)],
    ) -> &mut WasiCtxBuilder {
        for (name, value) in variables {
            self.env(name, value);
        }
        self
    }

    /// Sets all of the process' own environment variables.
    pub fn inherit_env(&mut self) -> &mut WasiCtxBuilder {
        for (name, value) in std::env::vars_os() {
            self.env(name.as_bytes(), value.as_bytes());
        }
        self
    }

    /// Where standard input comes from.
    pub fn stdin(&mut self, input: Input) -> &mut WasiCtxBuilder {
        self.stdin = input;
        self
    }

    /// Where standard output goes to.
    pub fn stdout(&mut self, output: Output) -> &mut WasiCtxBuilder {
        self.stdout = output;
        self
    }

    /// Where standard error goes to.
    pub fn stderr(&mut self, output: Output) -> &mut WasiCtxBuilder {
        self.stderr = output;
        self
    }

    /// Standard input is the process' own.
    pub fn inherit_stdin(&mut self) -> &mut WasiCtxBuilder {
        self.stdin(Input::inherited())
    }

    /// Standard output is the process' own.
    pub fn inherit_stdout(&mut self) -> &mut WasiCtxBuilder {
        self.stdout(Output::inherited())
    }

    /// Standard error is the process' own.
    pub fn inherit_stderr(&mut self) -> &mut WasiCtxBuilder {
        self.stderr(Output::inherited())
    }

    /// All three standard streams are the process' own.
    pub fn inherit_stdio(&mut self) -> &mut WasiCtxBuilder {
        self.inherit_stdin().inherit_stdout().inherit_stderr()
    }

    /// Lets the guest reach the host's directory `host_path` and what is below it, as `guest_path`.
    /// No path leads the guest out of it, but whatever is in it is the guest's: a bind mount, or a
    /// device file.
    ///
    /// # Errors
    ///
    /// If the directory does not exist or cannot be opened.
    pub fn preopened_dir(
        &mut self,
        host_path: impl AsRef<Path>,
        guest_path: impl AsRef<[u8]>,
        dir_perms: DirPerms,
        file_perms: FilePerms,
    ) -> sarsen::Result<&mut WasiCtxBuilder> {
        let host_path = host_path.as_ref();
        let dir = Dir::open_ambient_dir(host_path, cap_std::ambient_authority())
            .with_context(|| format!("cannot open the directory `{}`", host_path.display()))?;
        let (rights, inheriting) = preopen_rights(dir_perms, file_perms);
        let kind = Kind::Dir(OpenDir::preopened(dir, guest_path.as_ref()));
        self.preopens.push(Descriptor {
            kind,
            rights,
            inheriting,
        });
        Ok(self)
    }

    /// Replaces the wall clock.
    pub fn wall_clock(&mut self, clock: impl HostClock + 'static) -> &mut WasiCtxBuilder {
        self.clocks.wall = Box::new(clock);
        self
    }

    /// Replaces the monotonic clock, and the CPU-time clocks, which then tell the same.
    pub fn monotonic_clock(&mut self, clock: impl HostClock + 'static) -> &mut WasiCtxBuilder {
        self.clocks.monotonic = Box::new(clock);
        self.clocks.cpu_time_is_monotonic = true;
        self
    }

    /// Replaces the random bytes.
    pub fn random(&mut self, source: impl RandomSource + 'static) -> &mut WasiCtxBuilder {
        self.random = Box::new(source);
        self
    }

    /// Whether the guest may make this thread wait, for a time or for a stream; it may unless told
    /// otherwise. One that may not gets the errno `again`.
    pub fn allow_blocking(&mut self, allowed: bool) -> &mut WasiCtxBuilder {
        self.waiting.allowed = allowed;
        self
    }

    /// Sets what decides whether a guest goes on waiting. It is called before a wait and at least
    /// every 50 ms during one; its error ends the guest, as if it had trapped there.
    ///
    /// A guest that computes is not ended by this: use epochs or fuel for that, and the same
    /// condition here.
    pub fn interrupt_check(
        &mut self,
        check: impl Fn() -> sarsen::Result<()> + Send + Sync + 'static,
    ) -> &mut WasiCtxBuilder {
        self.waiting.check = Some(Box::new(check));
        self
    }

    /// The most descriptors that the guest may have open at once, standard streams and preopened
    /// directories included; 1024 unless set.
    pub fn max_open_descriptors(&mut self, max: usize) -> &mut WasiCtxBuilder {
        self.max_open = max;
        self
    }

    /// The context. Descriptors 0, 1, 2 are the standard streams, preopened directories follow in the
    /// order in which they were added.
    ///
    /// The builder is as new afterwards.
    pub fn build(&mut self) -> WasiCtx {
        let builder = std::mem::take(self);
        let streams = [
            input_descriptor(builder.stdin),
            output_descriptor(builder.stdout, Standard::Output),
            output_descriptor(builder.stderr, Standard::Error),
        ];
        let descriptors = streams.into_iter().chain(builder.preopens).collect();
        WasiCtx {
            args: builder.args,
            environ: builder.environ,
            table: DescriptorTable::new(descriptors, builder.max_open),
            clocks: builder.clocks,
            random: builder.random,
            waiting: builder.waiting,
        }
    }
}

fn input_descriptor(input: Input) -> Descriptor {
    let file = match input.0 {
        InputKind::Stream(source) => {
            let rights = STREAM_RIGHTS.with(Rights::FD_READ);
            return Descriptor::leaf(Kind::Source(source), rights);
        }
        InputKind::File(file) => OpenFile::owned(file, false),
        InputKind::Inherited => OpenFile::inherited(Standard::Input),
    };
    let seeks = Rights::FD_SEEK
        .with(Rights::FD_TELL)
        .with(Rights::FD_ADVISE);
    let rights = STREAM_RIGHTS
        .with(Rights::FD_READ)
        .with_if(file.is_regular(), seeks);
    Descriptor::leaf(Kind::File(file.into_standard_stream()), rights)
}

/// A guest may append to its output, not go back in it: it may be the host's own log.
fn output_descriptor(output: Output, standard: Standard) -> Descriptor {
    let file = match output.0 {
        OutputKind::Stream(sink) => {
            let rights = STREAM_RIGHTS.with(Rights::FD_WRITE);
            return Descriptor::leaf(Kind::Sink(sink), rights);
        }
        OutputKind::File(file) => OpenFile::owned(file, false),
        OutputKind::Inherited => OpenFile::inherited(standard),
    };
    let rights = STREAM_RIGHTS
        .with(Rights::FD_WRITE)
        .with(Rights::FD_SYNC)
        .with(Rights::FD_DATASYNC);
    Descriptor::leaf(Kind::File(file.into_standard_stream()), rights)
}
