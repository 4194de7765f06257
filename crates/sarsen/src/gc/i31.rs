//! [`I31`]: an unboxed integer.

use core::fmt;

/// An integer of 31 bits, which is a reference without an object (core specification, §2.3.3 `i31`).
///
/// Whether it has a sign is a matter of how it is read.
///
/// ```
/// use sarsen::I31;
///
/// assert_eq!(I31::new_i32(-5).unwrap().get_i32(), -5);
/// assert_eq!(I31::new_i32(-5).unwrap().get_u32(), (1 << 31) - 5);
/// assert_eq!(I31::new_u32(1 << 31), None);
/// assert_eq!(I31::wrapping_u32((1 << 31) + 7).get_u32(), 7);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct I31 {
    /// The value, the highest bit zero.
    bits: u32,
}

const MASK: u32 = u32::MAX >> 1;

impl I31 {
    /// The unsigned integer, if it fits into 31 bits.
    pub const fn new_u32(value: u32) -> Option<I31> {
        if value <= MASK {
            Some(I31 { bits: value })
        } else {
            None
        }
    }

    /// The signed integer, if it fits into 31 bits.
    pub const fn new_i32(value: i32) -> Option<I31> {
        let wrapped = I31::wrapping_i32(value);
        if wrapped.get_i32() == value {
            Some(wrapped)
        } else {
            None
        }
    }

    /// The lowest 31 bits of an unsigned integer.
    pub const fn wrapping_u32(value: u32) -> I31 {
        I31 { bits: value & MASK }
    }

    /// The lowest 31 bits of a signed integer.
    pub const fn wrapping_i32(value: i32) -> I31 {
        I31::wrapping_u32(value as u32)
    }

    /// The integer without sign, as `i31.get_u` gives it.
    pub const fn get_u32(&self) -> u32 {
        self.bits
    }

    /// The integer with sign, as `i31.get_s` gives it.
    pub const fn get_i32(&self) -> i32 {
        (self.bits << 1) as i32 >> 1
    }

    /// The reference that it is.
    pub(crate) const fn to_reference(self) -> u32 {
        self.bits << 1 | sarsen_abi::heap::I31_BIT
    }

    /// The integer that a reference is, if it is one.
    pub(crate) const fn from_reference(reference: u32) -> Option<I31> {
        if reference & sarsen_abi::heap::I31_BIT == 0 {
            return None;
        }
        Some(I31 {
            bits: reference >> 1,
        })
    }
}

impl From<I31> for u32 {
    fn from(value: I31) -> u32 {
        value.get_u32()
    }
}

impl From<I31> for i32 {
    fn from(value: I31) -> i32 {
        value.get_i32()
    }
}

impl fmt::Debug for I31 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("I31")
            .field("as_u32", &self.get_u32())
            .field("as_i32", &self.get_i32())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_odd_and_keep_all_31_bits() {
        for value in [0, 1, 5, MASK, MASK - 1, 1 << 30] {
            let i31 = I31::new_u32(value).unwrap();
            assert_eq!(I31::from_reference(i31.to_reference()), Some(i31));
            assert_eq!(i31.to_reference() & 1, 1);
        }
        assert_eq!(I31::from_reference(8), None);
    }

    #[test]
    fn only_what_fits_is_taken() {
        for value in [0, -1, (1 << 30) - 1, -(1 << 30)] {
            assert_eq!(I31::new_i32(value).unwrap().get_i32(), value);
        }
        for value in [1 << 30, -(1 << 30) - 1, i32::MAX, i32::MIN] {
            assert_eq!(I31::new_i32(value), None);
        }
    }
}
