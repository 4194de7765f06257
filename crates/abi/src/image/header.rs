//! The header: who made an image, for which machine and under which settings, and the checksums of the
//! other sections.
//!
//! ```text
//!   format version: u32
//!   CRC-32 of what follows: u32
//!   Header (postcard)
//! ```

use super::error::ImageError;
use super::section::Section;
use super::varint::fixed_u32;
use crate::features::{Feature, Features};
use crate::settings::Settings;
use serde::{Deserialize, Serialize};

/// The version of the format. Raise it with every change of the format, of what compiled code expects
/// of the runtime ([`crate::vmctx`], [`crate::builtin`]), or of a type that [`crate::Module`] is made
/// of.
pub const FORMAT_VERSION: u32 = 17;

/// What code was compiled for. An image records it, and is refused where it does not fit.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct TargetDescription {
    /// The target triple, for example `x86_64-unknown-linux-gnu`.
    pub triple: String,
    /// The processor features that code may use, by the names that
    /// `std::arch::is_x86_feature_detected` knows; sorted.
    pub cpu_features: Vec<String>,
}

impl TargetDescription {
    /// The architecture, as [`std::env::consts::ARCH`] and target triples name it.
    pub fn arch(&self) -> &str {
        self.triple.split('-').next().unwrap_or_default()
    }
}

/// What a loader compares a header with.
#[derive(Clone, Copy)]
pub struct Host<'a> {
    /// The machine's architecture, as [`std::env::consts::ARCH`].
    pub arch: &'a str,
    /// The operating system, as [`std::env::consts::OS`].
    pub os: &'a str,
    /// Whether the processor has a feature of this name.
    pub has_cpu_feature: &'a dyn Fn(&str) -> bool,
    /// The settings that code will run under.
    pub settings: &'a Settings,
    /// The proposals that are on.
    pub features: Features,
}

/// The checksum of a section.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Checksum {
    /// The section's name.
    pub(super) section: String,
    /// The CRC-32 of its bytes.
    pub(super) crc32: u32,
}

/// The header of an image.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Header {
    /// What it was compiled for.
    pub target: TargetDescription,
    /// The settings that it was compiled under.
    pub settings: Settings,
    /// The proposals that the module uses.
    pub features_used: Features,
    /// The checksums of all sections but this one and those that only other programs read.
    pub(super) checksums: Vec<Checksum>,
}

impl Header {
    /// The section's bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let body = postcard::to_stdvec(self).expect("writing to memory does not fail");
        let crc32 = crc32fast::hash(&body);
        [
            &FORMAT_VERSION.to_le_bytes()[..],
            &crc32.to_le_bytes(),
            &body,
        ]
        .concat()
    }

    /// The header in the section's bytes.
    pub(super) fn decode(bytes: &[u8]) -> Result<Header, ImageError> {
        let damaged = || ImageError::SectionDamaged(Section::Header.name().to_owned());
        let found = fixed_u32(bytes, 0).ok_or_else(damaged)?;
        if found != FORMAT_VERSION {
            let expected = FORMAT_VERSION;
            return Err(ImageError::Version { found, expected });
        }
        let body = bytes.get(8..).ok_or_else(damaged)?;
        if fixed_u32(bytes, 1) != Some(crc32fast::hash(body)) {
            return Err(damaged());
        }
        postcard::from_bytes(body).map_err(|_| damaged())
    }

    /// Whether the image can run on `host`.
    ///
    /// # Errors
    ///
    /// Names the first thing that does not fit.
    pub fn check(&self, host: &Host<'_>) -> Result<(), ImageError> {
        self.check_target(host)?;
        self.check_settings(host.settings)?;
        match self
            .features_used
            .iter()
            .find(|&f| !host.features.contains(f))
        {
            Some(off) => Err(ImageError::FeatureOff(off.name())),
            None => Ok(()),
        }
    }

    fn check_target(&self, host: &Host<'_>) -> Result<(), ImageError> {
        let mut parts = self.target.triple.split('-');
        if self.target.arch() != host.arch || !parts.any(|part| part == host.os) {
            return Err(ImageError::Target {
                found: self.target.triple.clone(),
                expected: format!("{} on {}", host.arch, host.os),
            });
        }
        let features = &self.target.cpu_features;
        match features.iter().find(|f| !(host.has_cpu_feature)(f)) {
            Some(missing) => Err(ImageError::CpuFeatureMissing(missing.clone())),
            None => Ok(()),
        }
    }

    /// Only settings that compiled code relies on at run time must be equal; how it was optimized does
    /// not matter.
    fn check_settings(&self, host: &Settings) -> Result<(), ImageError> {
        let Settings {
            memory_reservation,
            memory_guard,
            consume_fuel,
            epoch_interruption,
            inlining: _,
            relaxed_simd_deterministic,
            nan_canonicalization,
            opt_level: _,
        } = &self.settings;
        differs(
            "memory_reservation",
            memory_reservation,
            &host.memory_reservation,
        )?;
        differs("memory_guard", memory_guard, &host.memory_guard)?;
        differs("consume_fuel", consume_fuel, &host.consume_fuel)?;
        differs(
            "epoch_interruption",
            epoch_interruption,
            &host.epoch_interruption,
        )?;
        // Code that is deterministic without need does no harm.
        if host.nan_canonicalization {
            differs("nan_canonicalization", nan_canonicalization, &true)?;
        }
        if self.features_used.contains(Feature::RelaxedSimd) && host.relaxed_simd_deterministic {
            differs(
                "relaxed_simd_deterministic",
                relaxed_simd_deterministic,
                &true,
            )?;
        }
        Ok(())
    }
}

fn differs<T: PartialEq + ToString>(
    setting: &'static str,
    found: &T,
    expected: &T,
) -> Result<(), ImageError> {
    if found == expected {
        return Ok(());
    }
    Err(ImageError::SettingDiffers {
        setting,
        found: found.to_string(),
        expected: expected.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            target: TargetDescription {
                triple: "x86_64-unknown-linux-gnu".to_owned(),
                cpu_features: vec!["avx2".to_owned(), "sse4.1".to_owned()],
            },
            settings: Settings::default(),
            features_used: Features::NONE,
            checksums: Vec::new(),
        }
    }

    fn host<'a>(settings: &'a Settings, has_cpu_feature: &'a dyn Fn(&str) -> bool) -> Host<'a> {
        Host {
            arch: "x86_64",
            os: "linux",
            has_cpu_feature,
            settings,
            features: Features::NONE,
        }
    }

    #[test]
    fn a_header_fits_where_it_was_made() {
        let settings = Settings {
            inlining: false,
            ..Settings::default()
        };
        assert_eq!(header().check(&host(&settings, &|_| true)), Ok(()));
        assert_eq!(Header::decode(&header().encode()), Ok(header()));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let settings = Settings::default();
        let lacks_avx2 = |name: &str| name != "avx2";
        assert_eq!(
            header().check(&host(&settings, &lacks_avx2)),
            Err(ImageError::CpuFeatureMissing("avx2".to_owned()))
        );
        let elsewhere = Host {
            arch: "aarch64",
            ..host(&settings, &|_| true)
        };
        let error = header().check(&elsewhere).unwrap_err();
        assert!(matches!(error, ImageError::Target { .. }));

        let fueled = Settings {
            consume_fuel: true,
            ..Settings::default()
        };
        assert_eq!(
            header()
                .check(&host(&fueled, &|_| true))
                .unwrap_err()
                .to_string(),
            "the image was compiled with consume_fuel = false; the engine has true (compile the \
             module again with what the image is to run with)"
        );

        let everywhere = Settings {
            relaxed_simd_deterministic: true,
            ..Settings::default()
        };
        let mut relaxed = header();
        assert_eq!(relaxed.check(&host(&everywhere, &|_| true)), Ok(()));
        relaxed.features_used.set(Feature::RelaxedSimd, true);
        let differs = relaxed.check_settings(&everywhere).unwrap_err();
        assert!(differs.to_string().contains("relaxed_simd_deterministic"));
        relaxed.settings = everywhere;
        assert_eq!(relaxed.check_settings(&settings), Ok(()));

        let canonical = Settings {
            nan_canonicalization: true,
            ..Settings::default()
        };
        let differs = header().check_settings(&canonical).unwrap_err();
        assert!(differs.to_string().contains("nan_canonicalization"));

        let mut vectors = header();
        vectors.features_used.set(Feature::Simd, true);
        assert_eq!(
            vectors.check(&host(&settings, &|_| true)),
            Err(ImageError::FeatureOff("simd"))
        );
    }

    #[test]
    fn another_version_is_named_and_damage_is_detected() {
        let bytes = header().encode();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            let error = Header::decode(&damaged).unwrap_err();
            let is_version = matches!(
                error,
                ImageError::Version {
                    expected: FORMAT_VERSION,
                    ..
                }
            );
            assert_eq!(is_version, at < 4);
        }
        for length in 0..bytes.len() {
            assert!(Header::decode(&bytes[..length]).is_err());
        }
    }
}
