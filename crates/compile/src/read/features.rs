//! Our features in wasmparser's terms, and which of them a function body uses.
//!
//! The [`Recorder`] stands between the parser and the validator, so that noticing features costs no
//! pass of its own.

use sarsen_abi::{Feature, Features};
use wasmparser::{
    BlockType, FrameKind, FrameStack, VisitOperator, VisitSimdOperator, WasmFeatures,
};

/// The features that the validator is to accept.
///
/// Floating point, and reference types that only the collector can give meaning to, are no
/// proposals and always on; proposals that we have no [`Feature`] for are always off. Proposals that
/// include typed function references are off when these are.
pub(super) fn to_wasmparser(features: Features) -> WasmFeatures {
    let mut on = WasmFeatures::FLOATS | WasmFeatures::GC_TYPES;
    for feature in features.iter() {
        on |= flag(feature);
    }
    if !features.contains(Feature::FunctionReferences) {
        on -= WasmFeatures::GC | WasmFeatures::STACK_SWITCHING;
    }
    on
}

fn flag(feature: Feature) -> WasmFeatures {
    match feature {
        Feature::MutableGlobal => WasmFeatures::MUTABLE_GLOBAL,
        Feature::SaturatingFloatToInt => WasmFeatures::SATURATING_FLOAT_TO_INT,
        Feature::SignExtension => WasmFeatures::SIGN_EXTENSION,
        Feature::MultiValue => WasmFeatures::MULTI_VALUE,
        Feature::BulkMemory => WasmFeatures::BULK_MEMORY,
        Feature::ReferenceTypes => WasmFeatures::REFERENCE_TYPES,
        Feature::ExtendedConst => WasmFeatures::EXTENDED_CONST,
        Feature::TailCall => WasmFeatures::TAIL_CALL,
        Feature::FunctionReferences => WasmFeatures::FUNCTION_REFERENCES,
        Feature::MultiMemory => WasmFeatures::MULTI_MEMORY,
        Feature::Memory64 => WasmFeatures::MEMORY64,
        Feature::Simd => WasmFeatures::SIMD,
        Feature::RelaxedSimd => WasmFeatures::RELAXED_SIMD,
        Feature::Threads => WasmFeatures::THREADS,
        Feature::Gc => WasmFeatures::GC,
        Feature::Exceptions => WasmFeatures::EXCEPTIONS,
        Feature::LegacyExceptions => WasmFeatures::LEGACY_EXCEPTIONS,
        Feature::StackSwitching => WasmFeatures::STACK_SWITCHING,
        Feature::WideArithmetic => WasmFeatures::WIDE_ARITHMETIC,
        Feature::CustomPageSizes => WasmFeatures::CUSTOM_PAGE_SIZES,
        // A custom section, which the validator does not look into: `hints` does.
        Feature::BranchHinting => WasmFeatures::empty(),
        other => unreachable!("{} has no counterpart in wasmparser", other.name()),
    }
}

/// A set of features that is cheap to add to.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Used(u32);

impl Used {
    /// The set of one feature.
    pub(super) const fn one(feature: Feature) -> Used {
        Used(1 << feature as u8)
    }

    /// Adds a feature.
    pub(super) fn add(&mut self, feature: Feature) {
        self.0 |= Used::one(feature).0;
    }

    /// Adds `feature` if `condition` holds.
    pub(super) fn add_if(&mut self, condition: bool, feature: Feature) {
        if condition {
            self.add(feature);
        }
    }

    /// Every feature of either set.
    pub(super) fn union(self, other: Used) -> Used {
        Used(self.0 | other.0)
    }

    /// The set as the rest of the world knows it; features that are off (an instruction that two
    /// proposals define) are left out.
    pub(super) fn to_features(self, on: Features) -> Features {
        let mut features = Features::NONE;
        for feature in on.iter() {
            features.set(feature, self.0 & Used::one(feature).0 != 0);
        }
        features
    }
}

/// Passes every operator on to `inner`, and notes the proposals that they belong to.
pub(super) struct Recorder<'u, V> {
    /// Who gets the operators.
    pub(super) inner: V,
    /// What they use.
    pub(super) used: &'u mut Used,
}

impl<V> Recorder<'_, V> {
    fn note(&mut self, used: Used) {
        *self.used = self.used.union(used);
    }

    fn note_block(&mut self, ty: BlockType) {
        self.used
            .add_if(matches!(ty, BlockType::FuncType(_)), Feature::MultiValue);
    }
}

/// The features of one of wasmparser's proposals. A proposal that is always off is none: its
/// operators do not validate.
macro_rules! proposal {
    (mvp) => {
        Used(0)
    };
    (sign_extension) => {
        Used::one(Feature::SignExtension)
    };
    (saturating_float_to_int) => {
        Used::one(Feature::SaturatingFloatToInt)
    };
    (bulk_memory) => {
        Used::one(Feature::BulkMemory)
    };
    (reference_types) => {
        Used::one(Feature::ReferenceTypes)
    };
    (tail_call) => {
        Used::one(Feature::TailCall)
    };
    (function_references) => {
        Used::one(Feature::FunctionReferences)
    };
    (simd) => {
        Used::one(Feature::Simd)
    };
    (relaxed_simd) => {
        Used::one(Feature::RelaxedSimd)
    };
    (threads) => {
        Used::one(Feature::Threads)
    };
    (gc) => {
        Used::one(Feature::Gc)
    };
    (exceptions) => {
        Used::one(Feature::Exceptions)
    };
    (legacy_exceptions) => {
        Used::one(Feature::LegacyExceptions)
    };
    (stack_switching) => {
        Used::one(Feature::StackSwitching)
    };
    (wide_arithmetic) => {
        Used::one(Feature::WideArithmetic)
    };
    ($other:ident) => {
        Used(0)
    };
}

/// Notes the type of a block; nothing for other operators.
macro_rules! note_block {
    ($self:ident Block $ty:ident) => {
        $self.note_block($ty)
    };
    ($self:ident Loop $ty:ident) => {
        $self.note_block($ty)
    };
    ($self:ident If $ty:ident) => {
        $self.note_block($ty)
    };
    ($self:ident $($other:tt)*) => {};
}

macro_rules! record {
    ($(@$proposal:ident $op:ident $({ $($arg:ident: $argty:ty),* })? => $visit:ident ($($ann:tt)*))*) => {$(
        #[inline]
        fn $visit(&mut self $($(,$arg: $argty)*)?) -> Self::Output {
            self.note(proposal!($proposal));
            note_block!(self $op $($($arg)*)?);
            self.inner.$visit($($($arg),*)?)
        }
    )*};
}

macro_rules! record_simd {
    ($(@$proposal:ident $op:ident $({ $($arg:ident: $argty:ty),* })? => $visit:ident ($($ann:tt)*))*) => {$(
        fn $visit(&mut self $($(,$arg: $argty)*)?) -> Self::Output {
            self.note(proposal!($proposal));
            self.inner
                .simd_visitor()
                .expect("the validator knows vector instructions")
                .$visit($($($arg),*)?)
        }
    )*};
}

impl<'a, V: VisitOperator<'a>> VisitOperator<'a> for Recorder<'_, V> {
    type Output = V::Output;

    fn simd_visitor(&mut self) -> Option<&mut dyn VisitSimdOperator<'a, Output = Self::Output>> {
        Some(self)
    }

    wasmparser::for_each_visit_operator!(record);
}

impl<'a, V: VisitOperator<'a>> VisitSimdOperator<'a> for Recorder<'_, V> {
    wasmparser::for_each_visit_simd_operator!(record_simd);
}

impl<V: FrameStack> FrameStack for Recorder<'_, V> {
    fn current_frame(&self) -> Option<FrameKind> {
        self.inner.current_frame()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feature_switches_something_in_the_validator() {
        let mut all = Features::NONE;
        for &feature in Feature::ALL {
            all.set(feature, true);
        }
        for &feature in Feature::ALL {
            if feature == Feature::BranchHinting {
                continue;
            }
            let mut others = all;
            others.set(feature, false);
            let name = feature.name();
            assert_ne!(to_wasmparser(others), to_wasmparser(all), "{name}");
        }
    }

    #[test]
    fn features_that_are_off_are_never_reported_as_used() {
        let mut on = Features::NONE;
        on.set(Feature::Simd, true);
        let used = Used::one(Feature::Simd).union(Used::one(Feature::Gc));
        let found: Vec<_> = used.to_features(on).iter().collect();
        assert_eq!(found, [Feature::Simd]);
    }
}
