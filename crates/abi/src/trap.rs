//! Trap codes: why compiled code stopped.
//!
//! A code is one byte in an image's trap table. Zero is never used, so that a byte of padding
//! cannot be taken for a trap.

use core::fmt;

macro_rules! trap_codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $message:literal;)*) => {
        /// Why compiled code stopped (core specification, §4.2.9 "Traps"; messages as in the
        /// official test suite where it has one).
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum TrapCode {
            $($(#[$doc])* $name = $number,)*
        }

        impl TrapCode {
            /// Every trap code.
            pub const ALL: &'static [TrapCode] = &[$(TrapCode::$name),*];

            /// The code with this byte in an image.
            pub const fn from_byte(byte: u8) -> Option<TrapCode> {
                match byte {
                    $($number => Some(TrapCode::$name),)*
                    _ => None,
                }
            }

            /// The message, in lower case, without a final stop.
            pub const fn message(self) -> &'static str {
                match self {
                    $(TrapCode::$name => $message,)*
                }
            }
        }
    };
}

trap_codes! {
    /// The stack's limit was reached.
    StackOverflow = 1, "call stack exhausted";
    /// A linear memory was accessed outside its bounds.
    MemoryOutOfBounds = 2, "out of bounds memory access";
    /// An atomic access was not naturally aligned.
    HeapMisaligned = 3, "unaligned atomic";
    /// A table was accessed outside its bounds.
    TableOutOfBounds = 4, "out of bounds table access";
    /// `call_indirect` found null.
    IndirectCallToNull = 5, "uninitialized element";
    /// `call_indirect` found a function of another type.
    BadSignature = 6, "indirect call type mismatch";
    /// Signed division or remainder overflowed, or a conversion did.
    IntegerOverflow = 7, "integer overflow";
    /// Division by zero.
    IntegerDivisionByZero = 8, "integer divide by zero";
    /// A float that is not a number was converted to an integer.
    BadConversionToInteger = 9, "invalid conversion to integer";
    /// `unreachable` was executed.
    Unreachable = 10, "unreachable";
    /// A null reference was used where an object was needed.
    NullReference = 11, "null reference";
    /// The epoch's deadline passed.
    Interrupt = 12, "interrupted: the epoch deadline passed";
    /// The store's fuel was used up.
    OutOfFuel = 13, "all fuel consumed";
    /// An undefined element was used where `call_indirect` names an index past the table's end.
    UndefinedElement = 14, "undefined element";
    /// A reference could not be cast.
    CastFailure = 15, "cast failure";
    /// An array was accessed outside its bounds.
    ArrayOutOfBounds = 16, "out of bounds array access";
    /// The store's heap or its limit was exhausted.
    AllocationTooLarge = 17, "allocation size too large";
    /// `memory.atomic.wait` on a memory that is not shared.
    AtomicWaitNonShared = 18, "expected shared memory";
    /// An exception that nobody caught.
    UncaughtException = 19, "uncaught exception";
    /// `suspend` without a handler.
    UnhandledTag = 20, "unhandled tag";
    /// A continuation that was consumed already.
    ContinuationConsumed = 21, "continuation already consumed";
    /// The runtime found a damaged heap.
    HeapCorruption = 22, "the garbage-collected heap is corrupt";
    /// An import that the host left undefined on purpose was called.
    UnknownImport = 23, "an unknown import was called";
    /// No stack was left for a continuation.
    OutOfStacks = 24, "too many stacks";
}

/// The names of the same codes in Wasmtime, for code that was written for it.
#[allow(
    non_upper_case_globals,
    reason = "they are used as the names of variants"
)]
impl TrapCode {
    /// The same as [`TrapCode::Unreachable`].
    pub const UnreachableCodeReached: TrapCode = TrapCode::Unreachable;
    /// The same as [`TrapCode::AtomicWaitNonShared`].
    pub const AtomicWaitNonSharedMemory: TrapCode = TrapCode::AtomicWaitNonShared;
}

impl TrapCode {
    /// The byte of this code in an image.
    pub const fn byte(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for TrapCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "wasm trap: {}", self.message())
    }
}

impl std::error::Error for TrapCode {}

#[cfg(test)]
mod tests {
    use super::TrapCode;

    #[test]
    fn every_code_survives_its_byte() {
        for &code in TrapCode::ALL {
            assert_eq!(TrapCode::from_byte(code.byte()), Some(code));
        }
        assert_eq!(TrapCode::from_byte(0), None);
    }
}
