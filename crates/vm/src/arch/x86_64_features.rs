//! Which optional instructions the processor has.

/// Whether the processor (and the operating system, for vector registers) has the feature with this
/// name, as [`std::arch::is_x86_feature_detected`] knows it. Unknown names are features that no image
/// can rely on.
pub(crate) fn has_cpu_feature(name: &str) -> bool {
    macro_rules! detect {
        ($($feature:tt),*) => {
            match name {
                $($feature => std::arch::is_x86_feature_detected!($feature),)*
                _ => false,
            }
        };
    }
    detect!(
        "sse3",
        "ssse3",
        "sse4.1",
        "sse4.2",
        "popcnt",
        "cmpxchg16b",
        "avx",
        "avx2",
        "fma",
        "bmi1",
        "bmi2",
        "lzcnt",
        "avx512bitalg",
        "avx512dq",
        "avx512f",
        "avx512vbmi",
        "avx512vl",
        "avx512vnni",
        "avxvnni"
    )
}
