//! [`GcStats`]: what a store's collector has done, for the host to read.

use std::fmt;
use std::time::Duration;

/// Buckets of pauses: eight for each power of two of nanoseconds.
const BUCKETS: usize = 40 * 8;

/// What a store's collector has done so far.
#[derive(Clone, Debug)]
pub struct GcStats {
    /// Minor collections, those that began a full one included.
    pub minor: u64,
    /// Full collections.
    pub full: u64,
    /// How much was allocated, in bytes.
    pub bytes_allocated: u64,
    /// How much has survived its first collection, in bytes; large objects are not counted.
    pub bytes_promoted: u64,
    /// How much was freed, in bytes.
    pub bytes_freed: u64,
    /// How much memory the heap has now, in bytes, the nursery included.
    pub bytes_committed: u64,
    /// How much old objects took after the latest full collection, in bytes.
    pub bytes_live: u64,
    /// How many objects of the host's there are: behind `externref`s.
    pub host_objects: usize,
    /// How many references the host holds by scopes.
    pub scoped_roots: usize,
    /// How many references the host owns.
    pub owned_roots: usize,
    /// How long all collections took.
    pub pause_total: Duration,
    /// How long the longest took.
    pub pause_max: Duration,
    minor_pauses: Box<[u32]>,
    full_pauses: Box<[u32]>,
}

impl GcStats {
    pub(super) fn new() -> GcStats {
        GcStats {
            minor: 0,
            full: 0,
            bytes_allocated: 0,
            bytes_promoted: 0,
            bytes_freed: 0,
            bytes_committed: 0,
            bytes_live: 0,
            host_objects: 0,
            scoped_roots: 0,
            owned_roots: 0,
            pause_total: Duration::ZERO,
            pause_max: Duration::ZERO,
            minor_pauses: Box::default(),
            full_pauses: Box::default(),
        }
    }

    /// Counts a collection.
    pub(super) fn add_pause(&mut self, pause: Duration, full: bool) {
        self.pause_total += pause;
        self.pause_max = self.pause_max.max(pause);
        let buckets = if full {
            &mut self.full_pauses
        } else {
            &mut self.minor_pauses
        };
        if buckets.is_empty() {
            *buckets = vec![0; BUCKETS].into();
        }
        buckets[bucket(pause)] += 1;
    }

    /// How long the shorter `quantile` (0 to 1) of the minor collections took at most, to within an
    /// eighth; full ones do not count. Zero when there were none.
    pub fn minor_pause(&self, quantile: f64) -> Duration {
        quantile_of(&self.minor_pauses, quantile).min(self.pause_max)
    }

    /// The same for full collections, each with the minor one that it began with.
    pub fn full_pause(&self, quantile: f64) -> Duration {
        quantile_of(&self.full_pauses, quantile).min(self.pause_max)
    }
}

impl Default for GcStats {
    fn default() -> Self {
        GcStats::new()
    }
}

impl fmt::Display for GcStats {
    /// Several lines for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        writeln!(
            f,
            "collections: {} minor, {} full; {:.3?} in all, {:.3?} the longest",
            self.minor, self.full, self.pause_total, self.pause_max
        )?;
        writeln!(
            f,
            "minor pauses: {:.3?} (p50), {:.3?} (p99)",
            self.minor_pause(0.5),
            self.minor_pause(0.99)
        )?;
        if self.full > 0 {
            writeln!(f, "full pauses: {:.3?} (p50)", self.full_pause(0.5))?;
        }
        write!(
            f,
            "MiB: {:.1} allocated, {:.1} promoted, {:.1} freed, {:.1} committed",
            mib(self.bytes_allocated),
            mib(self.bytes_promoted),
            mib(self.bytes_freed),
            mib(self.bytes_committed)
        )
    }
}

fn bucket(pause: Duration) -> usize {
    let nanos = u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX).max(8);
    let exponent = nanos.ilog2();
    let eighth = (nanos >> (exponent - 3)) & 7;
    ((exponent as usize - 3) * 8 + eighth as usize).min(BUCKETS - 1)
}

/// The longest pause in a bucket.
fn upper(bucket: usize) -> Duration {
    let (exponent, eighth) = (bucket / 8, bucket as u64 % 8);
    Duration::from_nanos(((9 + eighth) << exponent) - 1)
}

fn quantile_of(buckets: &[u32], quantile: f64) -> Duration {
    let count: u64 = buckets.iter().map(|&n| u64::from(n)).sum();
    let wanted = (count as f64 * quantile).ceil() as u64;
    let mut seen = 0;
    for (at, &n) in buckets.iter().enumerate() {
        seen += u64::from(n);
        if n > 0 && seen >= wanted {
            return upper(at);
        }
    }
    Duration::ZERO
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_an_eighth_of_what_was_measured() {
        let mut stats = GcStats::new();
        assert_eq!(stats.minor_pause(0.99), Duration::ZERO);
        for micros in 1..=100 {
            stats.add_pause(Duration::from_micros(micros), false);
        }
        for (quantile, micros) in [(0.01, 1.0), (0.5, 50.0), (0.99, 99.0), (1.0, 100.0)] {
            let found = stats.minor_pause(quantile).as_secs_f64() * 1e6;
            assert!(
                found >= micros && found <= micros * 1.126,
                "{found} for {micros}"
            );
        }
        assert_eq!(stats.pause_max, Duration::from_micros(100));
        assert_eq!(stats.minor_pause(1.0), stats.pause_max, "none took longer");
        stats.add_pause(Duration::from_secs(u64::MAX), true);
        assert!(stats.full_pause(0.5) > Duration::from_secs(60));
    }
}
