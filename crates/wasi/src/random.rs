//! Random bytes: the system's, or a sequence that an embedder's seed fixes.

use crate::context::WasiCtx;
use crate::errno::Outcome;
use crate::memory::{GuestMemory, GuestRange};
use rustix::rand::GetRandomFlags;

/// Where a guest's random bytes come from.
pub trait RandomSource: Send {
    /// Fills `bytes`.
    fn fill(&mut self, bytes: &mut [u8]) -> std::io::Result<()>;
}

/// The operating system's generator.
pub(crate) struct SystemRandom;

impl RandomSource for SystemRandom {
    fn fill(&mut self, mut bytes: &mut [u8]) -> std::io::Result<()> {
        while !bytes.is_empty() {
            let got = rustix::io::retry_on_intr(|| {
                rustix::rand::getrandom(&mut *bytes, GetRandomFlags::empty())
            })?;
            bytes = &mut bytes[got..];
        }
        Ok(())
    }
}

/// The same bytes for the same seed, on every machine: for reproducible runs, never for secrets.
#[derive(Clone, Debug)]
pub struct SeededRandom {
    /// State of the generator SplitMix64.
    state: u64,
}

impl SeededRandom {
    /// A sequence of bytes that `seed` alone decides.
    pub fn new(seed: u64) -> SeededRandom {
        SeededRandom { state: seed }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl RandomSource for SeededRandom {
    fn fill(&mut self, bytes: &mut [u8]) -> std::io::Result<()> {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

/// How much is generated between two looks at whether the guest is to end.
const PIECE_BYTES: u32 = 1 << 20;

/// `random_get`: fills a buffer with random bytes.
pub(crate) fn random_get(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    buffer: GuestRange,
) -> Outcome {
    memory.write_pieces(buffer, PIECE_BYTES, |piece| {
        ctx.waiting.check()?;
        Ok(ctx.random.fill(piece)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_fixes_the_bytes_for_good() {
        let mut bytes = [0; 12];
        SeededRandom::new(1).fill(&mut bytes).unwrap();
        assert_eq!(
            bytes,
            [193, 92, 2, 137, 236, 45, 10, 145, 103, 236, 142, 101]
        );
    }

    #[test]
    fn the_system_fills_more_than_it_gives_at_a_time() {
        let mut bytes = vec![0; 100_000];
        SystemRandom.fill(&mut bytes).unwrap();
        assert!(bytes[99_000..].iter().any(|byte| *byte != 0));
    }
}
