//! What the compiler knows about each function, moved from the function's offsets to the text's.

use super::text::{Place, Text};
use crate::compiled::{CodeKind, CompiledFunction, NO_POINT, SourceTable};
use sarsen_abi::TypeIndex;
use sarsen_abi::image::{
    ContextRow, FuncEntry, Handler, ImageEncoder, NO_INSTRUCTION, Point, StubOffsets,
};
use std::collections::BTreeMap;

/// Adds the tables of all functions, which must be those that were linked, in that order.
pub(super) fn add_all(encoder: &mut ImageEncoder, functions: &[CompiledFunction], text: &Text) {
    for (function, place) in functions.iter().zip(text.places()) {
        if !place.is_shared {
            add_function(encoder, function, place);
        }
    }
    add_stubs(encoder, functions, text);
}

fn add_function(encoder: &mut ImageEncoder, function: &CompiledFunction, place: &Place) {
    let start = place.range.start;
    encoder.add_func(FuncEntry {
        kind: function.kind,
        start,
        end: place.range.end,
    });
    for &(offset, code) in &function.traps {
        encoder.add_trap(start + offset, code);
    }
    add_points(encoder, function, start);
    for map in &function.stack_maps {
        encoder.add_stack_map(start + map.ret_offset, map.frame_size, &map.sp_offsets);
    }
    for call in &function.handlers {
        let moved = call.handlers.iter().map(|handler| Handler {
            landing: start + handler.landing,
            ..*handler
        });
        let handlers: Vec<Handler> = moved.collect();
        encoder.add_handlers(start + call.ret_offset, call.frame, &handlers);
    }
}

fn add_points(encoder: &mut ImageEncoder, function: &CompiledFunction, start: u32) {
    let mut contexts = Contexts::new(&function.source);
    let end = function.code.len() as u32;
    let mut previous = None;
    for &(offset, number) in function.points.iter().filter(|point| point.0 < end) {
        let point = match number {
            NO_POINT => Point {
                context: 0,
                wasm_offset: NO_INSTRUCTION,
            },
            number => contexts.point(encoder, number),
        };
        if previous.replace(point) != Some(point) {
            encoder.add_point(start + offset, point);
        }
    }
}

/// Numbers a function's inline contexts in the image; those that no point is in have no number.
struct Contexts<'a> {
    source: &'a SourceTable,
    /// By position; 0 for those without a number yet.
    numbers: Vec<u32>,
}

impl<'a> Contexts<'a> {
    fn new(source: &'a SourceTable) -> Self {
        Contexts {
            source,
            numbers: vec![0; source.contexts.len()],
        }
    }

    /// The image's form of a source point.
    fn point(&mut self, encoder: &mut ImageEncoder, number: u32) -> Point {
        let point = self.source.points[number as usize];
        Point {
            context: self.context(encoder, point.context),
            wasm_offset: point.wasm_offset,
        }
    }

    /// The image's number of a context of this function.
    fn context(&mut self, encoder: &mut ImageEncoder, context: u32) -> u32 {
        let Some(position) = context.checked_sub(1).map(|p| p as usize) else {
            return 0;
        };
        if self.numbers[position] == 0 {
            let inlined = self.source.contexts[position];
            let call = self.source.points[inlined.parent_point as usize];
            assert!(call.context < context, "contexts come after their parents");
            let parent = self.context(encoder, call.context);
            self.numbers[position] = encoder.add_context(ContextRow {
                parent,
                call_offset: call.wasm_offset,
                func: inlined.func,
            });
        }
        self.numbers[position]
    }
}

fn add_stubs(encoder: &mut ImageEncoder, functions: &[CompiledFunction], text: &Text) {
    let mut stubs: BTreeMap<TypeIndex, (Option<u32>, Option<u32>)> = BTreeMap::new();
    for (function, place) in functions.iter().zip(text.places()) {
        match function.kind {
            CodeKind::Entry(ty) => stubs.entry(ty).or_default().0 = Some(place.range.start),
            CodeKind::Exit(ty) => stubs.entry(ty).or_default().1 = Some(place.range.start),
            CodeKind::Wasm(_) | CodeKind::Builtin(_) => {}
        }
    }
    for (ty, stubs) in stubs {
        let (Some(entry), Some(exit)) = stubs else {
            panic!("type {} has one stub without the other", ty.as_u32());
        };
        encoder.add_stubs(ty, StubOffsets { entry, exit });
    }
}
