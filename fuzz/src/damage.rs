//! Modules and images that were changed: whatever becomes of them, it is not a panic or a crash.

use crate::generate::{Case, Settings};
use crate::ours;
use crate::random::Random;
use sarsen::{Engine, Module};

/// Changes a few bytes of a valid module; a module that is still valid then runs, on little fuel. Returns
/// whether it was.
///
/// # Panics
///
/// Panics when compiling a module succeeds and validating it does not.
pub fn damaged_module(case: &Case, random: &mut Random) -> bool {
    let settings = Settings {
        fuel: true,
        ..case.settings
    };
    let engine = ours::engine(&settings);
    let mut bytes = case.module.clone();
    damage(&mut bytes, random);
    let valid = Module::validate(&engine, &bytes);
    match Module::from_binary(&engine, &bytes) {
        Ok(module) => {
            assert!(valid.is_ok(), "compiled although invalid: {valid:?}");
            ours::run_briefly(&engine, &module);
            true
        }
        Err(_) => false,
    }
}

/// Changes a few bytes of an image and loads it. It is not run: an image is trusted. Returns whether it
/// was loaded.
///
/// # Panics
///
/// Panics when the module is refused.
pub fn damaged_image(case: &Case, random: &mut Random) -> bool {
    let engine = ours::engine(&case.settings);
    let image = engine.precompile_module(&case.module);
    let mut image = image.expect("the module is valid");
    damage(&mut image, random);
    is_loaded(&engine, &image)
}

fn is_loaded(engine: &Engine, image: &[u8]) -> bool {
    // SAFETY: nothing of it is run.
    unsafe { Module::deserialize(engine, image) }.is_ok()
}

fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(4) {
        if bytes.is_empty() {
            return;
        }
        let at = random.below(bytes.len() as u64) as usize;
        match random.below(8) {
            0 => bytes[at] = 0xff,
            1 => bytes[at] = random.number() as u8,
            2 => bytes.insert(at, random.number() as u8),
            3 => drop(bytes.remove(at)),
            4 => {
                let length = random.below(16) as usize;
                let end = bytes.len().min(at + length);
                let copied = bytes[at..end].to_vec();
                let to = random.below(bytes.len() as u64) as usize;
                let end = bytes.len().min(to + copied.len());
                bytes[to..end].copy_from_slice(&copied[..end - to]);
            }
            5 if random.below(8) == 0 => bytes.truncate(at),
            _ => bytes[at] ^= 1 << random.below(8),
        }
    }
}
