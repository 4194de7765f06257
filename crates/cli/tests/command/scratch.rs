//! [`Scratch`]: a folder of files, and the command run in it.

use crate::assert_contains;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// A folder that is gone when the test is over.
pub(crate) struct Scratch(TempDir);

impl Scratch {
    pub(crate) fn new() -> Scratch {
        Scratch(tempfile::tempdir().unwrap())
    }

    /// A folder with one file.
    pub(crate) fn with(name: &str, contents: impl AsRef<[u8]>) -> Scratch {
        let scratch = Scratch::new();
        scratch.write(name, contents);
        scratch
    }

    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        fs::write(self.path(name), contents).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    pub(crate) fn folder(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The command with these arguments, in this folder, with nothing to read from standard input, and with
    /// an environment that does not change what it prints.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sarsen"));
        command.args(arguments).current_dir(self.0.path());
        command.stdin(Stdio::null()).env_remove("RUST_BACKTRACE");
        command
    }

    /// Runs the command.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs what must succeed without a complaint; returns what it printed.
    #[track_caller]
    pub(crate) fn prints(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let message = stderr(&output);
        assert!(output.status.success(), "{:?}: {message}", output.status);
        assert_eq!(message, "", "nothing to complain about");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs what must fail, with a code and a message that contains every part; returns the message.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, arguments: &[&str], parts: &[&str]) -> String {
        is_failure(&self.run(arguments), code, parts)
    }
}

/// Asserts the exit code, and that the message contains every part; returns the message.
#[track_caller]
pub(crate) fn is_failure(output: &Output, code: i32, parts: &[&str]) -> String {
    let message = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{message}");
    assert!(!message.contains("panicked"), "{message}");
    assert_contains(&message, parts);
    message
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
