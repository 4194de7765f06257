//! What can be wrong with an image.

use std::fmt;

/// Why an image cannot be loaded.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ImageError {
    /// It is no image at all.
    NotAnImage,
    /// Another version of Sarsen made it.
    Version {
        /// The format's version in the image.
        found: u32,
        /// The version that is understood here.
        expected: u32,
    },
    /// It was compiled for another kind of machine or system.
    Target {
        /// The target triple in the image.
        found: String,
        /// The target triple here.
        expected: String,
    },
    /// It was compiled for a processor with a feature that this one lacks.
    CpuFeatureMissing(String),
    /// It was compiled under other settings than it would run under.
    SettingDiffers {
        /// The setting's name.
        setting: &'static str,
        /// Its value in the image.
        found: String,
        /// Its value here.
        expected: String,
    },
    /// It uses a proposal that is off.
    FeatureOff(&'static str),
    /// A section that must be there is not.
    SectionMissing(&'static str),
    /// The bytes of a section are not those that were written.
    SectionDamaged(String),
    /// A section's bytes cannot be what the compiler writes.
    Malformed {
        /// The section's name.
        section: &'static str,
        /// What is wrong.
        what: String,
    },
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImageError::NotAnImage => f.write_str(
                "this is no image of a compiled module, or one that is damaged at its beginning",
            ),
            ImageError::Version { found, expected } => write!(
                f,
                "the image has format version {found}; this version of Sarsen reads {expected}"
            ),
            ImageError::Target { found, expected } => {
                write!(f, "the image is for {found}; this is {expected}")
            }
            ImageError::CpuFeatureMissing(feature) => write!(
                f,
                "the image needs the processor feature `{feature}`, which this machine lacks"
            ),
            ImageError::SettingDiffers {
                setting,
                found,
                expected,
            } => write!(
                f,
                "the image was compiled with {setting} = {found}; the engine has {expected} (compile the \
                 module again with what the image is to run with)"
            ),
            ImageError::FeatureOff(feature) => write!(
                f,
                "the image uses the WebAssembly feature `{feature}`, which is off"
            ),
            ImageError::SectionMissing(section) => {
                write!(f, "the image is damaged: section {section} is missing")
            }
            ImageError::SectionDamaged(section) => write!(
                f,
                "the image is damaged: the checksum of section {section} does not match"
            ),
            ImageError::Malformed { section, what } => {
                write!(f, "the image is damaged: section {section}: {what}")
            }
        }
    }
}

impl std::error::Error for ImageError {}
