//! What to do about a module that needs proposals which are switched off.

use anyhow::Error;
use sarsen::{Config, Engine, Feature, Features, Module};

/// Adds to the error that `binary` gave with the proposals `on` which others it needs, if these are all that
/// is wrong with it.
pub(crate) fn explain(error: Error, on: Features, binary: &[u8]) -> Error {
    let off = || {
        Feature::ALL
            .iter()
            .filter(|&&feature| !on.contains(feature))
    };
    let is_valid_without = |without: Option<Feature>| {
        let mut features = on;
        for &feature in off().filter(|&&feature| Some(feature) != without) {
            features.set(feature, true);
        }
        is_valid(features, binary)
    };
    if off().next().is_none() || !is_valid_without(None) {
        return error;
    }
    let needed: Vec<&str> = off()
        .filter(|&&feature| !is_valid_without(Some(feature)))
        .map(|feature| feature.name())
        .collect();
    match needed.is_empty() {
        true => error,
        false => error.context(format!(
            "it needs what is switched off; to switch it on: --wasm {}",
            needed.join(",")
        )),
    }
}

fn is_valid(features: Features, binary: &[u8]) -> bool {
    let mut config = Config::new();
    config.wasm_features(features);
    Engine::new(&config).is_ok_and(|engine| Module::validate(&engine, binary).is_ok())
}
