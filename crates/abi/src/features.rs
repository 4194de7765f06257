//! WebAssembly proposals, and which of them are on.

use serde::{Deserialize, Serialize};

macro_rules! features {
    ($($(#[$doc:meta])* $variant:ident = $bit:literal, $name:literal, $default:literal;)*) => {
        /// A WebAssembly proposal that can be switched on or off.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum Feature {
            $($(#[$doc])* $variant = $bit,)*
        }

        impl Feature {
            /// Every feature.
            pub const ALL: &'static [Feature] = &[$(Feature::$variant),*];

            /// The proposal's name as command lines write it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Feature::$variant => $name,)*
                }
            }

            /// Whether it is on unless switched off: Sarsen implements it, and it is part of a finished
            /// version of the standard, or, as threads, has long been in use unchanged.
            pub const fn is_on_by_default(self) -> bool {
                match self {
                    $(Feature::$variant => $default,)*
                }
            }
        }
    };
}

features! {
    /// Imported and exported mutable globals.
    MutableGlobal = 0, "mutable-global", true;
    /// Conversions that saturate instead of trapping.
    SaturatingFloatToInt = 1, "saturating-float-to-int", true;
    /// Sign-extension instructions.
    SignExtension = 2, "sign-extension", true;
    /// Blocks and functions with many results.
    MultiValue = 3, "multi-value", true;
    /// Bulk operations on memories and tables.
    BulkMemory = 4, "bulk-memory", true;
    /// `externref`, many tables, table instructions.
    ReferenceTypes = 5, "reference-types", true;
    /// Arithmetic in constant expressions.
    ExtendedConst = 6, "extended-const", true;
    /// `return_call` and its relatives.
    TailCall = 7, "tail-call", true;
    /// Typed function references.
    FunctionReferences = 8, "function-references", true;
    /// More than one linear memory.
    MultiMemory = 9, "multi-memory", true;
    /// 64-bit memories and tables.
    Memory64 = 10, "memory64", true;
    /// Fixed-width vectors.
    Simd = 11, "simd", true;
    /// Vector instructions whose results may differ between machines.
    RelaxedSimd = 12, "relaxed-simd", true;
    /// Shared memories and atomics.
    Threads = 13, "threads", true;
    /// Garbage-collected structures and arrays.
    Gc = 14, "gc", true;
    /// Exceptions with `exnref`.
    Exceptions = 15, "exceptions", true;
    /// The exception instructions of before the standard, which toolchains still emit.
    LegacyExceptions = 16, "legacy-exceptions", true;
    /// Continuations.
    StackSwitching = 17, "stack-switching", false;
    /// 128-bit arithmetic.
    WideArithmetic = 18, "wide-arithmetic", false;
    /// Memories with pages of one byte.
    CustomPageSizes = 19, "custom-page-sizes", false;
    /// Hints of which branches are seldom taken.
    BranchHinting = 20, "branch-hinting", true;
}

/// A set of features.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Features(u32);

impl Features {
    /// No feature: WebAssembly 1.0.
    pub const NONE: Features = Features(0);

    /// Whether `feature` is on.
    pub const fn contains(self, feature: Feature) -> bool {
        self.0 & (1 << feature as u8) != 0
    }

    /// Switches `feature`.
    pub const fn set(&mut self, feature: Feature, on: bool) {
        if on {
            self.0 |= 1 << feature as u8;
        } else {
            self.0 &= !(1 << feature as u8);
        }
    }

    /// The features that are on.
    pub fn iter(self) -> impl Iterator<Item = Feature> {
        Feature::ALL
            .iter()
            .copied()
            .filter(move |&f| self.contains(f))
    }
}

impl Default for Features {
    /// Every feature that [is on by default](Feature::is_on_by_default).
    fn default() -> Self {
        let mut on = Features::NONE;
        for &feature in Feature::ALL {
            on.set(feature, feature.is_on_by_default());
        }
        on
    }
}

impl core::str::FromStr for Feature {
    type Err = UnknownFeature;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Feature::ALL
            .iter()
            .copied()
            .find(|f| f.name() == name)
            .ok_or_else(|| UnknownFeature(name.to_owned()))
    }
}

/// A name that is no feature's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnknownFeature(pub String);

impl core::fmt::Display for UnknownFeature {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "unknown WebAssembly feature `{}`; known are: ", self.0)?;
        for (i, feature) in Feature::ALL.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{}", feature.name())?;
        }
        Ok(())
    }
}

impl std::error::Error for UnknownFeature {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feature_is_found_by_its_name() {
        for &feature in Feature::ALL {
            assert_eq!(feature.name().parse(), Ok(feature));
        }
        assert!(
            "sind"
                .parse::<Feature>()
                .unwrap_err()
                .to_string()
                .contains("simd")
        );
    }
}
