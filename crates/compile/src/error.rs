//! What can go wrong: the module is invalid, exceeds a limit of the implementation, or the host
//! machine is unsuitable.

use sarsen_abi::{FuncIndex, Printable};
use std::fmt;

/// Why a module could not be compiled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CompileError {
    message: String,
    offset: Option<u64>,
    function: Option<FuncIndex>,
    function_name: Option<String>,
}

impl CompileError {
    /// An error that no place in the module is to blame for.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        CompileError {
            message: message.into(),
            offset: None,
            function: None,
            function_name: None,
        }
    }

    /// An error at `offset` bytes from the beginning of the module.
    pub(crate) fn at(offset: u64, message: impl Into<String>) -> Self {
        CompileError {
            offset: Some(offset),
            ..CompileError::new(message)
        }
    }

    /// The same error, with the function that it is in.
    pub(crate) fn in_function(mut self, func: FuncIndex) -> Self {
        self.function = Some(func);
        self
    }

    /// The same error, with the name of the function that it is in.
    pub(crate) fn named(mut self, name: &str) -> Self {
        self.function_name = Some(name.to_owned());
        self
    }

    /// What is wrong, without where.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Where, in bytes from the beginning of the module.
    pub fn offset(&self) -> Option<u64> {
        self.offset
    }

    /// The function that is wrong, if one is.
    pub fn function(&self) -> Option<FuncIndex> {
        self.function
    }

    /// The function's name, if the module tells it.
    pub fn function_name(&self) -> Option<&str> {
        self.function_name.as_deref()
    }
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It may quote names.
        write!(f, "{}", Printable(&self.message))?;
        if let Some(func) = self.function {
            write!(f, " in function {}", func.as_u32())?;
            if let Some(name) = &self.function_name {
                write!(f, " <{}>", Printable(name))?;
            }
        }
        if let Some(offset) = self.offset {
            write!(f, " (at offset {offset:#x})")?;
        }
        Ok(())
    }
}

impl std::error::Error for CompileError {}

/// The result of compiling something.
pub(crate) type Result<T, E = CompileError> = std::result::Result<T, E>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_and_where() {
        let error = CompileError::at(0x1f, "type mismatch")
            .in_function(FuncIndex::new(3))
            .named("main");
        assert_eq!(
            error.to_string(),
            "type mismatch in function 3 <main> (at offset 0x1f)"
        );
        assert_eq!(CompileError::new("no").to_string(), "no");
    }
}
