//! Reading, from WebAssembly text to the declarations and errors that come out.

mod damage;
mod data;
mod declarations;
mod errors;
mod limits;
mod suite;

use super::{Translation, read};
use crate::error::CompileError;
use sarsen_abi::{Feature, Features};

/// The bytes of a module in text.
fn wasm(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|e| panic!("{e}"))
}

/// Every feature on.
fn all_features() -> Features {
    let mut features = Features::NONE;
    for &feature in Feature::ALL {
        features.set(feature, true);
    }
    features
}

/// Every feature but this.
fn all_but(off: Feature) -> Features {
    let mut features = all_features();
    features.set(off, false);
    features
}

fn read_ok(wasm: &[u8]) -> Translation<'_> {
    read(wasm, Features::default()).unwrap_or_else(|e| panic!("{e}"))
}

fn read_error(wasm: &[u8], features: Features) -> CompileError {
    match read(wasm, features) {
        Ok(_) => panic!("an invalid module was accepted"),
        Err(error) => error,
    }
}
