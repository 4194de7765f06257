//! Bits.

use std::arch::asm;

/// How many bits of `word` are set. By the instruction for it where there is one, which the compiler
/// may not assume: the processors of the first years had none.
#[inline(always)]
pub(crate) fn count_ones(word: u64) -> u32 {
    if !std::arch::is_x86_feature_detected!("popcnt") {
        return word.count_ones();
    }
    let count: u64;
    // SAFETY: the processor has the instruction, which changes nothing but its result and the flags.
    unsafe {
        asm!(
            "popcnt {count}, {word}",
            word = in(reg) word,
            count = lateout(reg) count,
            options(pure, nomem, nostack)
        );
    }
    count as u32
}

#[cfg(test)]
mod tests {
    use super::count_ones;

    #[test]
    fn bits_are_counted() {
        for word in [0, 1, u64::MAX, 1 << 63, 0x5555_5555_5555_5555] {
            assert_eq!(count_ones(word), word.count_ones());
        }
    }
}
