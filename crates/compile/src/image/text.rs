//! The text of an image: where each function is, and the distances between them.

use crate::compiled::{CodeKind, CompiledFunction, Reloc};
use crate::error::{CompileError, Result};
use std::collections::HashMap;
use std::ops::Range;

/// What fills the gaps between functions: `int3`, so that whatever runs astray stops there.
const PADDING: u8 = 0xcc;

/// Where code begins: at multiples of this, in bytes, even if it would run anywhere. Processors fetch
/// and cache decoded instructions in windows of 32 bytes.
const ALIGNMENT: u32 = 32;

/// `ud2`, which Cranelift emits for an explicit trap.
const UD2: [u8; 2] = [0x0f, 0x0b];

/// `hlt; nop`, which we make of it. Both stop the program at that address with a fault, but a
/// hypervisor intercepts `ud2`: see `docs/decisions/0002-explicit-traps-are-hlt.md`.
const HLT_NOP: [u8; 2] = [0xf4, 0x90];

/// Linked machine code.
#[derive(Debug)]
pub(super) struct Text {
    bytes: Vec<u8>,
    /// Where each of the functions that were linked is, in their order.
    places: Vec<Place>,
}

/// Where a function is.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The text offsets of its code.
    pub(super) range: Range<u32>,
    /// Whether an earlier stub consists of the same code, and stands for this one.
    pub(super) is_shared: bool,
}

impl Text {
    /// Places functions in their order, resolves their references, and rewrites explicit traps.
    ///
    /// # Errors
    ///
    /// When the text would exceed 2 GiB.
    ///
    /// # Panics
    ///
    /// Panics when a function refers to one that is not there, or other than by a 32-bit distance.
    pub(super) fn link(functions: &[CompiledFunction]) -> Result<Text> {
        let places = place(functions)?;
        let end = places
            .iter()
            .map(|place| place.range.end)
            .max()
            .unwrap_or(0);
        let mut text = Text {
            bytes: vec![PADDING; end as usize],
            places,
        };
        let starts: HashMap<CodeKind, u32> = functions
            .iter()
            .zip(&text.places)
            .map(|(function, place)| (function.kind, place.range.start))
            .collect();
        for (function, place) in functions.iter().zip(&text.places) {
            if place.is_shared {
                continue;
            }
            let code = &mut text.bytes[place.range.start as usize..place.range.end as usize];
            code.copy_from_slice(&function.code);
            rewrite_explicit_traps(code, function);
            for reloc in &function.relocs {
                resolve(code, place.range.start, reloc, starts[&reloc.target]);
            }
        }
        Ok(text)
    }

    /// The machine code.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where each function is, in the order in which they were linked.
    pub(super) fn places(&self) -> &[Place] {
        &self.places
    }
}

fn place(functions: &[CompiledFunction]) -> Result<Vec<Place>> {
    let mut end: u64 = 0;
    let mut stubs: HashMap<&[u8], usize> = HashMap::new();
    let mut places: Vec<Place> = Vec::with_capacity(functions.len());
    for (number, function) in functions.iter().enumerate() {
        if let Some(&other) = stubs.get(function.code.as_slice())
            && is_same_stub(function, &functions[other])
        {
            let range = places[other].range.clone();
            let is_shared = true;
            places.push(Place { range, is_shared });
            continue;
        }
        if !matches!(function.kind, CodeKind::Wasm(_)) {
            stubs.insert(&function.code, number);
        }
        let start = end.next_multiple_of(u64::from(function.alignment.max(ALIGNMENT)));
        end = start + function.code.len() as u64;
        if end >= 1 << 31 {
            return Err(CompileError::new("the module's machine code exceeds 2 GiB"));
        }
        places.push(Place {
            range: start as u32..end as u32,
            is_shared: false,
        });
    }
    Ok(places)
}

/// Whether two stubs of one kind are the same but for the type that they were made for. Most function
/// types of a module differ in nothing that a stub can see.
fn is_same_stub(a: &CompiledFunction, b: &CompiledFunction) -> bool {
    let same_kind = matches!(
        (a.kind, b.kind),
        (CodeKind::Entry(_), CodeKind::Entry(_)) | (CodeKind::Exit(_), CodeKind::Exit(_))
    );
    same_kind
        && a.alignment == b.alignment
        && a.code == b.code
        && a.relocs == b.relocs
        && a.traps == b.traps
        && a.stack_maps == b.stack_maps
        && a.handlers == b.handlers
}

fn rewrite_explicit_traps(code: &mut [u8], function: &CompiledFunction) {
    for &(offset, _) in &function.traps {
        let at = offset as usize;
        if code.get(at..at + 2) == Some(&UD2) {
            code[at..at + 2].copy_from_slice(&HLT_NOP);
        }
    }
}

/// Writes a reference of the code that begins at text offset `start` to the code at `target`.
fn resolve(code: &mut [u8], start: u32, reloc: &Reloc, target: u32) {
    let at = reloc.offset as usize;
    let address = i64::from(start) + i64::from(reloc.offset);
    let distance = i64::from(target) + reloc.addend - address;
    let distance = i32::try_from(distance).expect("text is smaller than 2 GiB");
    code[at..at + 4].copy_from_slice(&distance.to_le_bytes());
}
