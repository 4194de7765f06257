//! Options that several subcommands share, and how they become an engine's configuration.

use anyhow::{Result, bail};
use clap::Args;
use sarsen::{Collector, Config, Feature, Features, OptLevel};
use std::num::NonZeroU32;
use std::time::Duration;

/// How many frames of a backtrace are kept: what fits on a screen, if nothing was inlined.
const FRAMES_KEPT: usize = 24;

/// Options that change the machine code that is made.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Compilation")]
pub(crate) struct CodeOptions {
    /// Switch WebAssembly proposals: `wide-arithmetic`, `simd=n`, …, or `all` that are known
    ///
    /// Threads, and proposals that are part of a finished version of the standard, are on anyway.
    #[arg(
        long = "wasm",
        value_name = "FEATURE[=y|n],…",
        value_delimiter = ',',
        value_parser = FeatureSwitch::parse
    )]
    wasm: Vec<FeatureSwitch>,

    /// Optimize for speed, or compile as quickly as possible
    #[arg(long, value_name = "LEVEL", default_value = "speed")]
    opt_level: Level,

    /// Give relaxed vector instructions the same results on every machine
    #[arg(long)]
    relaxed_simd_deterministic: bool,

    /// Let arithmetic on floats give no NaN but the canonical one
    #[arg(long)]
    nan_canonicalization: bool,

    /// Inline small functions
    #[arg(long, value_name = "y|n", default_value = "y", hide = true, value_parser = yes_or_no)]
    inlining: bool,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum Level {
    /// Compile as quickly as possible
    None,
    /// Make the program fast
    Speed,
}

/// One item of `--wasm`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct FeatureSwitch {
    /// `None` for all of them.
    feature: Option<Feature>,
    on: bool,
}

impl FeatureSwitch {
    fn parse(text: &str) -> Result<FeatureSwitch> {
        let (name, on) = match text.split_once('=') {
            None => (text, true),
            Some((name, value)) => (name, yes_or_no(value)?),
        };
        let feature = match name {
            "all" => None,
            name => Some(name.parse::<Feature>()?),
        };
        Ok(FeatureSwitch { feature, on })
    }
}

fn yes_or_no(text: &str) -> Result<bool> {
    match text {
        "y" | "yes" | "true" => Ok(true),
        "n" | "no" | "false" => Ok(false),
        _ => bail!("`{text}` is neither `y` nor `n`"),
    }
}

impl CodeOptions {
    /// The configuration that these options describe.
    pub(crate) fn config(&self) -> Config {
        let mut config = Config::new();
        config.wasm_features(self.features());
        config.compiler_inlining(self.inlining);
        config.relaxed_simd_deterministic(self.relaxed_simd_deterministic);
        config.nan_canonicalization(self.nan_canonicalization);
        config.wasm_backtrace_max_frames(FRAMES_KEPT);
        config.opt_level(match self.opt_level {
            Level::None => OptLevel::None,
            Level::Speed => OptLevel::Speed,
        });
        config
    }

    /// The same for looking at a module, which executes nothing of it: every proposal that is known is on,
    /// unless it is switched off.
    pub(crate) fn config_to_look(&self) -> Config {
        let mut config = self.config();
        let mut features = Features::default();
        all_features(&mut features, true);
        config.wasm_features(self.switched(features));
        config
    }

    /// The proposals that are on.
    pub(crate) fn features(&self) -> Features {
        self.switched(Features::default())
    }

    fn switched(&self, mut features: Features) -> Features {
        for switch in &self.wasm {
            match switch.feature {
                Some(feature) => features.set(feature, switch.on),
                None => all_features(&mut features, switch.on),
            }
        }
        features
    }
}

/// Switches all that are known.
fn all_features(features: &mut Features, on: bool) {
    for &feature in Feature::ALL {
        features.set(feature, on);
    }
}

/// Options of commands that make code without running it.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Compilation")]
pub(crate) struct CheckedCodeOptions {
    /// Count instructions in the code, as `run --fuel` needs it
    #[arg(long)]
    fuel: bool,

    /// Check for interruption in the code, as `run --timeout` needs it
    #[arg(long)]
    timeout: bool,

    #[command(flatten)]
    code: CodeOptions,
}

impl CheckedCodeOptions {
    /// The configuration that these options describe.
    pub(crate) fn config(&self) -> Config {
        self.checked(self.code.config())
    }

    /// As [`CodeOptions::features`].
    pub(crate) fn features(&self) -> Features {
        self.code.features()
    }

    /// As [`CodeOptions::config_to_look`].
    pub(crate) fn config_to_look(&self) -> Config {
        self.checked(self.code.config_to_look())
    }

    fn checked(&self, mut config: Config) -> Config {
        config.consume_fuel(self.fuel);
        config.epoch_interruption(self.timeout);
        config
    }
}

/// Options of the heap for collected objects.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Garbage collection")]
pub(crate) struct GcOptions {
    /// How garbage is collected
    #[arg(long, value_name = "WHICH", default_value = "generational")]
    collector: CollectorName,

    /// Let the heap of collected objects take no more than this, such as `256MiB`
    ///
    /// An object that finds no room after a collection is a trap.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    gc_heap_limit: Option<u64>,

    /// Give the nursery, where new objects are, this size, such as `4MiB`
    ///
    /// Otherwise it is chosen by how long collections take and how much survives them.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    gc_nursery: Option<u64>,

    /// Collect at every N-th allocation (every one without N), and check the heap each time
    ///
    /// For finding bugs of the collector and of what uses it; slow.
    #[arg(
        long,
        value_name = "N",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "1"
    )]
    gc_zeal: Option<NonZeroU32>,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum CollectorName {
    /// New objects often, old ones seldom
    Generational,
    /// Never: for short programs
    Null,
}

impl GcOptions {
    /// Puts the options into `config`.
    pub(crate) fn configure(&self, config: &mut Config) {
        config.collector(match self.collector {
            CollectorName::Generational => Collector::Generational,
            CollectorName::Null => Collector::Null,
        });
        let bytes = |size: u64| usize::try_from(size).unwrap_or(usize::MAX);
        if let Some(limit) = self.gc_heap_limit {
            config.gc_heap_limit(bytes(limit));
        }
        if let Some(size) = self.gc_nursery {
            config.gc_nursery_size(bytes(size), bytes(size));
            config.gc_pause_target(None);
        }
        config.gc_zeal(self.gc_zeal);
    }
}

/// Reads a duration: `200ms`, `1.5s`, `2m`, `1h`, or a number of seconds.
pub(crate) fn parse_duration(text: &str) -> Result<Duration> {
    const UNITS: &[(&str, f64)] = &[
        ("ms", 1e-3),
        ("us", 1e-6),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
    ];
    let (number, unit) = split_unit(text, UNITS).unwrap_or((text, 1.0));
    let seconds = number.parse::<f64>().map(|number| number * unit);
    match seconds.map(Duration::try_from_secs_f64) {
        Ok(Ok(duration)) => Ok(duration),
        _ => bail!("`{text}` is no duration; write for example `200ms`, `1.5s` or `2m`"),
    }
}

/// Reads a size: `64KiB`, `16M`, `2G`, or a number of bytes. All units are binary.
pub(crate) fn parse_size(text: &str) -> Result<u64> {
    const KI: u64 = 1 << 10;
    const UNITS: &[(&str, u64)] = &[
        ("KiB", KI),
        ("MiB", KI * KI),
        ("GiB", KI * KI * KI),
        ("TiB", KI * KI * KI * KI),
        ("K", KI),
        ("M", KI * KI),
        ("G", KI * KI * KI),
        ("T", KI * KI * KI * KI),
        ("B", 1),
    ];
    let (number, unit) = split_unit(text, UNITS).unwrap_or((text, 1));
    let bytes = number.parse::<u64>().ok().and_then(|n| n.checked_mul(unit));
    match bytes {
        Some(bytes) => Ok(bytes),
        None => bail!("`{text}` is no size; write for example `65536`, `64KiB` or `16MiB`"),
    }
}

fn split_unit<'a, N: Copy>(text: &'a str, units: &[(&str, N)]) -> Option<(&'a str, N)> {
    let found = units.iter().find(|(unit, _)| text.ends_with(unit));
    found.map(|&(unit, factor)| (text[..text.len() - unit.len()].trim_end(), factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(parse_duration("200ms").unwrap(), Duration::from_millis(200));
        assert_eq!(parse_duration("1.5s").unwrap(), Duration::from_millis(1500));
        assert_eq!(parse_duration("2m").unwrap(), Duration::from_secs(120));
        assert_eq!(parse_duration("3").unwrap(), Duration::from_secs(3));
        for wrong in ["", "s", "-1s", "soon", "1e400", "nan"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_size("65536").unwrap(), 65536);
        assert_eq!(parse_size("64KiB").unwrap(), 65536);
        assert_eq!(parse_size("2 G").unwrap(), 2 << 30);
        assert_eq!(parse_size("1TiB").unwrap(), 1 << 40);
        assert_eq!(parse_size("12B").unwrap(), 12);
        for wrong in ["", "K", "-1", "1.5M", "99999999999G"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_last_switch_of_a_feature_counts() {
        let options = |switches: &[&str]| {
            let switches = switches.iter().map(|s| FeatureSwitch::parse(s).unwrap());
            CodeOptions {
                wasm: switches.collect(),
                opt_level: Level::Speed,
                relaxed_simd_deterministic: false,
                nan_canonicalization: false,
                inlining: true,
            }
            .features()
        };
        assert!(options(&["gc"]).contains(Feature::Gc));
        assert!(!options(&["all", "gc=n"]).contains(Feature::Gc));
        assert!(options(&["gc=n", "all"]).contains(Feature::Gc));
        assert!(!options(&["all=n"]).contains(Feature::MultiValue));
        assert!(FeatureSwitch::parse("gc=perhaps").is_err());
    }
}
