//! The machine that is compiled for: the host, as Cranelift sees it, and the flags under which all
//! code is generated.
//!
//! The minimum is x86-64-v2: without SSE4.1 Cranelift would call library functions for rounding,
//! and an image refers to nothing outside itself.

use crate::error::{CompileError, Result};
use cranelift_codegen::isa::{OwnedTargetIsa, TargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use sarsen_abi::Settings;
use sarsen_abi::image::TargetDescription;
use sarsen_abi::settings::OptLevel;

/// A processor feature: Cranelift's flag, the name, and whether we require it.
struct CpuFeature {
    flag: &'static str,
    name: &'static str,
    required: bool,
}

const fn cpu_feature(flag: &'static str, name: &'static str, required: bool) -> CpuFeature {
    CpuFeature {
        flag,
        name,
        required,
    }
}

const CPU_FEATURES: &[CpuFeature] = &[
    cpu_feature("has_avx", "avx", false),
    cpu_feature("has_avx2", "avx2", false),
    cpu_feature("has_avx512bitalg", "avx512bitalg", false),
    cpu_feature("has_avx512dq", "avx512dq", false),
    cpu_feature("has_avx512f", "avx512f", false),
    cpu_feature("has_avx512vbmi", "avx512vbmi", false),
    cpu_feature("has_avx512vl", "avx512vl", false),
    cpu_feature("has_avx512vnni", "avx512vnni", false),
    cpu_feature("has_avx_vnni", "avxvnni", false),
    cpu_feature("has_bmi1", "bmi1", false),
    cpu_feature("has_bmi2", "bmi2", false),
    cpu_feature("has_cmpxchg16b", "cmpxchg16b", true),
    cpu_feature("has_fma", "fma", false),
    cpu_feature("has_lzcnt", "lzcnt", false),
    cpu_feature("has_popcnt", "popcnt", true),
    cpu_feature("has_sse3", "sse3", true),
    cpu_feature("has_sse41", "sse4.1", true),
    cpu_feature("has_sse42", "sse4.2", true),
    cpu_feature("has_ssse3", "ssse3", true),
];

/// Sets Cranelift up for the host.
///
/// # Errors
///
/// The host's processor or operating system is not one that we generate code for.
pub(crate) fn host_isa(settings: &Settings) -> Result<OwnedTargetIsa> {
    let unsuitable = |e: &dyn std::fmt::Display| {
        CompileError::new(format!("this machine cannot be compiled for: {e}"))
    };
    let builder = cranelift_native::builder().map_err(|e| unsuitable(&e))?;
    let isa = builder
        .finish(flags(settings))
        .map_err(|e| unsuitable(&e))?;
    for feature in CPU_FEATURES.iter().filter(|f| f.required) {
        if !enabled_flags(&*isa).any(|flag| flag == feature.flag) {
            return Err(unsuitable(&format_args!(
                "its processor lacks {}",
                feature.name
            )));
        }
    }
    Ok(isa)
}

fn flags(settings: &Settings) -> settings::Flags {
    let mut builder = settings::builder();
    let opt_level = match settings.opt_level {
        OptLevel::None => "none",
        OptLevel::Speed => "speed",
    };
    let verify = if cfg!(debug_assertions) {
        "true"
    } else {
        "false"
    };
    let canonical_nans = if settings.nan_canonicalization {
        "true"
    } else {
        "false"
    };
    let flags = [
        ("opt_level", opt_level),
        ("enable_nan_canonicalization", canonical_nans),
        ("enable_verifier", verify),
        // Stacks are walked by frame pointers alone.
        ("preserve_frame_pointers", "true"),
        ("unwind_info", "false"),
        // Text is mapped anywhere, and never relocated after linking.
        ("is_pic", "true"),
        // Results that find no register are returned in the caller's frame.
        ("enable_multi_ret_implicit_sret", "true"),
        // A large frame must not step over the guard page, and there is nothing to call.
        ("enable_probestack", "true"),
        ("probestack_strategy", "inline"),
        ("enable_heap_access_spectre_mitigation", "true"),
        ("enable_table_access_spectre_mitigation", "true"),
    ];
    for (name, value) in flags {
        builder
            .set(name, value)
            .expect("these flags exist in the pinned version of Cranelift");
    }
    settings::Flags::new(builder)
}

fn enabled_flags(isa: &dyn TargetIsa) -> impl Iterator<Item = &'static str> {
    isa.isa_flags()
        .into_iter()
        .filter(|flag| flag.as_bool() == Some(true))
        .map(|flag| flag.name)
}

/// Describes what `isa` generates code for.
pub(crate) fn describe(isa: &dyn TargetIsa) -> TargetDescription {
    let enabled: Vec<&str> = enabled_flags(isa).collect();
    let mut cpu_features: Vec<String> = CPU_FEATURES
        .iter()
        .filter(|feature| enabled.contains(&feature.flag))
        .map(|feature| feature.name.to_owned())
        .collect();
    cpu_features.sort();
    TargetDescription {
        triple: isa.triple().to_string(),
        cpu_features,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_says_each_processor_feature_that_its_code_may_use() {
        let isa = host_isa(&Settings::default()).expect("the host is suitable");
        for flag in isa.isa_flags().iter().map(|flag| flag.name) {
            let is_known = CPU_FEATURES.iter().any(|feature| feature.flag == flag);
            assert!(is_known || !flag.starts_with("has_"), "{flag}");
        }
    }
}
