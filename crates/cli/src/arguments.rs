//! Values on the command line: arguments of `--invoke`, and how results are printed.

use anyhow::{Context, Result, bail};
use sarsen::{AsContext, FuncType, HeapType, Val, ValType};
use std::fmt::{self, Display};

/// Reads the arguments for a function `name` of type `ty`.
pub(crate) fn parse(name: &str, ty: &FuncType, arguments: &[String]) -> Result<Vec<Val>> {
    let wanted = ty.params().len();
    if arguments.len() != wanted {
        bail!(
            "`{name}` takes {wanted} argument{} {}, but {} {} given",
            if wanted == 1 { "" } else { "s" },
            Types(&ty.params().collect::<Vec<_>>()),
            arguments.len(),
            if arguments.len() == 1 { "is" } else { "are" },
        );
    }
    let values = ty.params().zip(arguments).enumerate();
    values
        .map(|(position, (ty, text))| {
            parse_value(&ty, text).with_context(|| format!("argument {} of `{name}`", position + 1))
        })
        .collect()
}

/// A list of types, as the text format writes one.
struct Types<'a>(&'a [ValType]);

impl Display for Types<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(")?;
        for (position, ty) in self.0.iter().enumerate() {
            let space = if position == 0 { "" } else { " " };
            write!(f, "{space}{ty}")?;
        }
        f.write_str(")")
    }
}

fn parse_value(ty: &ValType, text: &str) -> Result<Val> {
    let value = match ty {
        ValType::I32 => parse_integer(text, 32).map(|bits| Val::I32(bits as u32 as i32)),
        ValType::I64 => parse_integer(text, 64).map(|bits| Val::I64(bits as u64 as i64)),
        ValType::V128 => parse_integer(text, 128).map(|bits| Val::V128(bits.into())),
        ValType::F32 => text.parse::<f32>().ok().map(|v| Val::F32(v.to_bits())),
        ValType::F64 => text.parse::<f64>().ok().map(|v| Val::F64(v.to_bits())),
        ValType::Ref(ty) => {
            let is_null = text == "null" && ty.is_nullable();
            is_null.then(|| Val::null_ref(ty.heap_type()))
        }
    };
    match (value, ty) {
        (Some(value), _) => Ok(value),
        (None, ValType::Ref(ty)) => {
            bail!("`{text}` is no {ty}: only `null` can be written here, for nullable references")
        }
        (None, ValType::V128) => {
            bail!("`{text}` is no v128: write its bits as one number, such as `0x0000000100000002`")
        }
        (None, ty) => bail!("`{text}` is no {ty}"),
    }
}

/// Reads an integer of `bits` bits, signed or not, decimal or hexadecimal, as its bits.
fn parse_integer(text: &str, bits: u32) -> Option<u128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    // `from_str_radix` would take another sign.
    if digits.starts_with(['-', '+']) {
        return None;
    }
    let magnitude = match digits.strip_prefix("0x") {
        Some(digits) => u128::from_str_radix(digits, 16),
        None => digits.parse(),
    }
    .ok()?;
    let mask = u128::MAX >> (128 - bits);
    if negative {
        (magnitude <= 1 << (bits - 1)).then(|| magnitude.wrapping_neg() & mask)
    } else {
        (magnitude <= mask).then_some(magnitude)
    }
}

/// A value, as results are printed: numbers in decimal, integers signed; references by the type of what
/// they refer to.
pub(crate) fn shown(store: impl AsContext, value: &Val) -> Result<String> {
    Ok(match value {
        Val::I32(value) => value.to_string(),
        Val::I64(value) => value.to_string(),
        Val::F32(bits) => f32::from_bits(*bits).to_string(),
        Val::F64(bits) => f64::from_bits(*bits).to_string(),
        Val::V128(bits) => format!("{:#034x}", bits.as_u128()),
        reference => shown_reference(store, reference)?,
    })
}

fn shown_reference(store: impl AsContext, value: &Val) -> Result<String> {
    let reference = value.ref_().context("what is no number is a reference")?;
    if reference.is_null() {
        return Ok("null".to_owned());
    }
    if let Val::AnyRef(Some(any)) = value
        && let Some(number) = any.as_i31(&store)?
    {
        return Ok(format!("(ref.i31 {})", number.get_i32()));
    }
    Ok(reference.ty(&store)?.to_string())
}

/// Something to start with where results will be written.
pub(crate) fn placeholders(ty: &FuncType) -> Vec<Val> {
    ty.results()
        .map(|ty| ty.default_value().unwrap_or(Val::null_ref(&HeapType::Func)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sarsen::{AnyRef, I31, Store};

    #[test]
    fn integers_may_be_signed_or_not_but_fit() {
        assert_eq!(parse_integer("-1", 32), Some(0xffff_ffff));
        assert_eq!(parse_integer("4294967295", 32), Some(0xffff_ffff));
        assert_eq!(parse_integer("-2147483648", 32), Some(0x8000_0000));
        assert_eq!(parse_integer("0xff", 32), Some(255));
        assert_eq!(parse_integer("+7", 64), Some(7));
        let wrong = [
            "4294967296",
            "-2147483649",
            "",
            "-",
            "--1",
            "+-1",
            "0x",
            "1.0",
            "many",
        ];
        for text in wrong {
            assert_eq!(parse_integer(text, 32), None, "{text}");
        }
        assert_eq!(parse_integer("-1", 128), Some(u128::MAX));
    }

    #[test]
    fn values_are_printed_as_people_write_them() {
        let mut store = Store::<()>::default();
        let number = AnyRef::from_i31(&mut store, I31::wrapping_i32(-3));
        let shown = |value: Val| shown(&store, &value).unwrap();
        assert_eq!(shown(number.into()), "(ref.i31 -3)");
        assert_eq!(shown(Val::I32(-5)), "-5");
        assert_eq!(shown(Val::F64(0.1f64.to_bits())), "0.1");
        assert_eq!(shown(Val::F32(f32::NAN.to_bits())), "NaN");
        assert_eq!(shown(Val::null_func_ref()), "null");
        assert_eq!(
            shown(Val::V128(1.into())),
            "0x00000000000000000000000000000001"
        );
    }
}
