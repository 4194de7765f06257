//! Images: run only when allowed, and refused when damaged.

use crate::scratch::stderr;
use crate::{FAILED, Scratch, sample};
use sarsen::{Engine, Module};

/// A folder with `sample.image`.
fn compiled() -> Scratch {
    let scratch = Scratch::with("sample.wasm", sample());
    scratch.prints(&["compile", "sample.wasm", "-o", "sample.image"]);
    scratch
}

#[test]
fn an_image_runs_only_when_allowed() {
    let scratch = compiled();
    let run = ["run", "sample.image"];
    scratch.fails(FAILED, &run, &["--allow-precompiled"]);
    let allowed = ["run", "--allow-precompiled", "--invoke", "twice"];
    let twice = [&allowed[..], &["sample.image", "21"]].concat();
    assert_eq!(scratch.prints(&twice), "42\n");
}

#[test]
fn a_truncated_image_is_refused() {
    let scratch = compiled();
    let image = scratch.read("sample.image");
    for length in [0, 3, 16, 63, 64, 200, image.len() / 2, image.len() - 1] {
        scratch.write("short.image", &image[..length]);
        let run = ["run", "--allow-precompiled", "short.image"];
        scratch.fails(FAILED, &run, &["short.image"]);
    }
}

#[test]
fn an_image_with_a_flipped_byte_runs_or_is_refused_but_never_crashes() {
    let scratch = compiled();
    let image = scratch.read("sample.image");
    let engine = Engine::default();
    let step = (image.len() / 3000).max(1);
    for position in (0..image.len()).step_by(step) {
        let mut damaged = image.clone();
        damaged[position] ^= 0xff;
        // SAFETY: the bytes differ from those of a genuine image in one byte, which either does not
        // matter or fails a checksum; nothing of it is executed here.
        let _ = unsafe { Module::deserialize(&engine, &damaged) };
    }
    let mut damaged = image.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0xff;
    damaged[middle + 1] ^= 0xff;
    scratch.write("flipped.image", &damaged);
    let output = scratch.run(&["run", "--allow-precompiled", "flipped.image"]);
    let code = output.status.code();
    assert!(matches!(code, Some(0 | 1)), "{}", stderr(&output));
}
