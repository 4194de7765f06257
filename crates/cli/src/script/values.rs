//! Values in scripts: arguments, and the patterns that results must match.
//!
//! An external reference `(ref.extern 7)` is a host object that holds the number 7; `(ref.host 7)` is the
//! same one as a reference below `any`.

use anyhow::{Context, Result, bail};
use sarsen::{AnyRef, ExternRef, HeapType, Rooted, Store, Val};
use wast::core::{
    AbstractHeapType, HeapType as WastHeapType, NanPattern, V128Pattern, WastArgCore, WastRetCore,
};
use wast::token::{F32, F64};
use wast::{WastArg, WastRet};

/// An argument.
pub(super) fn argument(store: &mut Store<()>, argument: &WastArg<'_>) -> Result<Val> {
    let WastArg::Core(argument) = argument else {
        bail!("components are not supported");
    };
    Ok(match argument {
        WastArgCore::I32(value) => Val::I32(*value),
        WastArgCore::I64(value) => Val::I64(*value),
        WastArgCore::F32(value) => Val::F32(value.bits),
        WastArgCore::F64(value) => Val::F64(value.bits),
        WastArgCore::V128(value) => Val::V128(u128::from_le_bytes(value.to_le_bytes()).into()),
        WastArgCore::RefNull(heap) => Val::null_ref(&heap_type(heap)?),
        WastArgCore::RefExtern(number) => ExternRef::new(store, *number)?.into(),
        WastArgCore::RefHost(number) => {
            let object = ExternRef::new(&mut *store, *number)?;
            AnyRef::convert_extern(store, object)?.into()
        }
    })
}

/// An abstract heap type: all that a null in a script can be of without a module.
fn heap_type(heap: &WastHeapType<'_>) -> Result<HeapType> {
    use AbstractHeapType as A;
    let WastHeapType::Abstract { ty, .. } = heap else {
        bail!("null of a defined type is not supported in scripts: {heap:?}");
    };
    Ok(match ty {
        A::Func => HeapType::Func,
        A::NoFunc => HeapType::NoFunc,
        A::Extern => HeapType::Extern,
        A::NoExtern => HeapType::NoExtern,
        A::Any => HeapType::Any,
        A::Eq => HeapType::Eq,
        A::I31 => HeapType::I31,
        A::Struct => HeapType::Struct,
        A::Array => HeapType::Array,
        A::None => HeapType::None,
        A::Exn => HeapType::Exn,
        A::NoExn => HeapType::NoExn,
        A::Cont => HeapType::Cont,
        A::NoCont => HeapType::NoCont,
    })
}

/// Checks results against what is expected of them.
pub(super) fn check(
    store: &mut Store<()>,
    results: &[Val],
    expected: &[WastRet<'_>],
) -> Result<()> {
    if results.len() != expected.len() {
        bail!(
            "expected {} results, found {}",
            expected.len(),
            results.len()
        );
    }
    for (position, (result, expected)) in results.iter().zip(expected).enumerate() {
        let WastRet::Core(expected) = expected else {
            bail!("components are not supported");
        };
        if !matches(store, result, expected).with_context(|| format!("result {position}"))? {
            bail!(
                "result {position}: expected {expected:?}, found {}",
                shown(result)
            );
        }
    }
    Ok(())
}

/// A value with its bits, because NaNs that look the same differ.
fn shown(value: &Val) -> String {
    match value {
        Val::F32(bits) => format!("F32({bits:#010x}, {})", f32::from_bits(*bits)),
        Val::F64(bits) => format!("F64({bits:#018x}, {})", f64::from_bits(*bits)),
        Val::V128(bits) => format!("V128({:#034x})", bits.as_u128()),
        other => format!("{other:?}"),
    }
}

fn matches(store: &mut Store<()>, value: &Val, expected: &WastRetCore<'_>) -> Result<bool> {
    Ok(match (expected, value) {
        (WastRetCore::I32(expected), Val::I32(value)) => expected == value,
        (WastRetCore::I64(expected), Val::I64(value)) => expected == value,
        (WastRetCore::F32(expected), Val::F32(bits)) => f32_matches(expected, *bits),
        (WastRetCore::F64(expected), Val::F64(bits)) => f64_matches(expected, *bits),
        (WastRetCore::V128(expected), Val::V128(bits)) => {
            v128_matches(expected, bits.as_u128().to_le_bytes())
        }
        (WastRetCore::RefNull(heap), value) => is_null(value) && null_fits(heap.as_ref(), value),
        (WastRetCore::RefExtern(None), Val::ExternRef(reference)) => reference.is_some(),
        (WastRetCore::RefExtern(Some(number)), Val::ExternRef(Some(reference))) => {
            holds(store, reference, *number)?
        }
        (WastRetCore::RefHost(number), Val::AnyRef(Some(reference))) => {
            let object = ExternRef::convert_any(&mut *store, *reference)?;
            holds(store, &object, *number)?
        }
        (WastRetCore::RefAny, Val::AnyRef(reference)) => reference.is_some(),
        (WastRetCore::RefEq, Val::AnyRef(Some(reference))) => reference.is_eqref(store)?,
        (WastRetCore::RefI31, Val::AnyRef(Some(reference))) => reference.is_i31(store)?,
        (WastRetCore::RefStruct, Val::AnyRef(Some(reference))) => reference.is_struct(store)?,
        (WastRetCore::RefArray, Val::AnyRef(Some(reference))) => reference.is_array(store)?,
        (WastRetCore::RefFunc(None), Val::FuncRef(reference)) => reference.is_some(),
        (WastRetCore::RefFunc(Some(_)), Val::FuncRef(_)) => {
            bail!("comparing with a function's index is not supported: {expected:?}")
        }
        (WastRetCore::Either(alternatives), value) => {
            for alternative in alternatives {
                if matches(store, value, alternative)? {
                    return Ok(true);
                }
            }
            false
        }
        _ => false,
    })
}

/// Whether it is the host object that holds this number.
fn holds(store: &Store<()>, object: &Rooted<ExternRef>, number: u32) -> Result<bool> {
    let data = object.data(store)?;
    Ok(data.and_then(|data| data.downcast_ref::<u32>()) == Some(&number))
}

fn is_null(value: &Val) -> bool {
    value.ref_().is_some_and(|reference| reference.is_null())
}

/// Whether a null is of the hierarchy that `heap` belongs to; any will do where none is named.
fn null_fits(heap: Option<&WastHeapType<'_>>, value: &Val) -> bool {
    use AbstractHeapType as A;
    let ty = match heap {
        None => return true,
        // A defined type may be of any hierarchy; the script's author knows which.
        Some(WastHeapType::Abstract { ty, .. }) => ty,
        Some(_) => return true,
    };
    match value {
        Val::FuncRef(_) => matches!(ty, A::Func | A::NoFunc),
        Val::ExternRef(_) => matches!(ty, A::Extern | A::NoExtern),
        Val::ExnRef(_) => matches!(ty, A::Exn | A::NoExn),
        Val::ContRef(_) => matches!(ty, A::Cont | A::NoCont),
        Val::AnyRef(_) => matches!(ty, A::Any | A::Eq | A::I31 | A::Struct | A::Array | A::None),
        _ => false,
    }
}

/// Specification: core, §2.2.3 "Floating-Point": a canonical NaN has only the payload's highest bit
/// set, an arithmetic one has it set at least.
fn f32_matches(expected: &NanPattern<F32>, bits: u32) -> bool {
    const QUIET: u32 = 0x7fc0_0000;
    match expected {
        NanPattern::CanonicalNan => bits & 0x7fff_ffff == QUIET,
        NanPattern::ArithmeticNan => bits & QUIET == QUIET,
        NanPattern::Value(value) => value.bits == bits,
    }
}

fn f64_matches(expected: &NanPattern<F64>, bits: u64) -> bool {
    const QUIET: u64 = 0x7ff8_0000_0000_0000;
    match expected {
        NanPattern::CanonicalNan => bits & 0x7fff_ffff_ffff_ffff == QUIET,
        NanPattern::ArithmeticNan => bits & QUIET == QUIET,
        NanPattern::Value(value) => value.bits == bits,
    }
}

fn v128_matches(expected: &V128Pattern, bytes: [u8; 16]) -> bool {
    match expected {
        V128Pattern::I8x16(lanes) => lanes.map(|lane| lane as u8) == bytes,
        V128Pattern::I16x8(lanes) => lanes_match(lanes, bytes, |lane, bytes| {
            *lane == i16::from_le_bytes(bytes)
        }),
        V128Pattern::I32x4(lanes) => lanes_match(lanes, bytes, |lane, bytes| {
            *lane == i32::from_le_bytes(bytes)
        }),
        V128Pattern::I64x2(lanes) => lanes_match(lanes, bytes, |lane, bytes| {
            *lane == i64::from_le_bytes(bytes)
        }),
        V128Pattern::F32x4(lanes) => lanes_match(lanes, bytes, |lane, bytes| {
            f32_matches(lane, u32::from_le_bytes(bytes))
        }),
        V128Pattern::F64x2(lanes) => lanes_match(lanes, bytes, |lane, bytes| {
            f64_matches(lane, u64::from_le_bytes(bytes))
        }),
    }
}

/// Compares lanes of `N` bytes.
fn lanes_match<T, const N: usize>(
    lanes: &[T],
    bytes: [u8; 16],
    matches: impl Fn(&T, [u8; N]) -> bool,
) -> bool {
    let (chunks, rest) = bytes.as_chunks::<N>();
    debug_assert!(rest.is_empty() && chunks.len() == lanes.len());
    lanes
        .iter()
        .zip(chunks)
        .all(|(lane, chunk)| matches(lane, *chunk))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_patterns_tell_payloads_apart() {
        let canonical = NanPattern::CanonicalNan;
        let arithmetic = NanPattern::ArithmeticNan;
        for bits in [0x7fc0_0000, 0xffc0_0000] {
            assert!(f32_matches(&canonical, bits) && f32_matches(&arithmetic, bits));
        }
        assert!(!f32_matches(&canonical, 0x7fc0_0001));
        assert!(f32_matches(&arithmetic, 0x7fc0_0001));
        for bits in [0x7f80_0000, 0x7f80_0001, 0x3f80_0000] {
            assert!(!f32_matches(&arithmetic, bits));
        }
    }

    #[test]
    fn vectors_are_compared_by_lane() {
        let nan = NanPattern::CanonicalNan;
        let one = NanPattern::Value(F64 {
            bits: 1f64.to_bits(),
        });
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&f64::NAN.to_le_bytes());
        bytes[8..].copy_from_slice(&1f64.to_le_bytes());
        assert!(v128_matches(&V128Pattern::F64x2([nan, one]), bytes));
        assert!(!v128_matches(&V128Pattern::F64x2([one, nan]), bytes));
    }
}
