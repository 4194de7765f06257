//! Tests of the linker, over code made by hand.

use super::*;
use crate::compiled::{
    CallHandlers, CodeKind, Handler, HandlerFrame, InlineContext, NO_POINT, Reloc, SourcePoint,
    SourceTable, StackMap,
};
use sarsen_abi::image::{ImageLayout, SourceFrame, StubOffsets};
use sarsen_abi::module::{Import, ImportCounts};
use sarsen_abi::types::{CompositeType, FuncType, SubType};
use sarsen_abi::{Builtin, DefinedFuncIndex, EntityIndex, TagIndex, TrapCode, TypeIndex};

fn function(kind: CodeKind, code: &[u8]) -> CompiledFunction {
    CompiledFunction {
        kind,
        code: code.to_vec(),
        alignment: 16,
        relocs: Vec::new(),
        traps: Vec::new(),
        points: Vec::new(),
        source: SourceTable::default(),
        stack_maps: Vec::new(),
        handlers: Vec::new(),
    }
}

fn wasm(number: u32) -> CodeKind {
    CodeKind::Wasm(DefinedFuncIndex::new(number))
}

fn call(offset: u32, target: CodeKind) -> Reloc {
    Reloc {
        offset,
        target,
        addend: -4,
    }
}

/// A module that imports one function and defines `defined`, all without parameters; type 1 equals
/// type 0.
fn module(defined: usize) -> Module {
    let ty = SubType {
        is_final: true,
        supertype: None,
        composite: CompositeType::Func(FuncType {
            params: Box::new([]),
            results: Box::new([]),
        }),
    };
    Module {
        types: vec![ty.clone(), ty],
        rec_groups: vec![0..1, 1..2],
        imports: vec![Import {
            module: "m".to_owned(),
            name: "f".to_owned(),
            entity: EntityIndex::Func(FuncIndex::new(0)),
        }],
        num_imports: ImportCounts {
            funcs: 1,
            ..ImportCounts::default()
        },
        funcs: vec![TypeIndex::new(0); 1 + defined],
        ..Module::default()
    }
}

/// Links `functions`, of which `defined` are the module's own.
fn image(functions: Vec<CompiledFunction>, defined: usize) -> Vec<u8> {
    let target = TargetDescription {
        triple: "x86_64-unknown-linux-gnu".to_owned(),
        cpu_features: Vec::new(),
    };
    let parts = ImageParts {
        module: &module(defined),
        target: &target,
        settings: &Settings::default(),
        bodies: &vec![0; defined],
        data: b"data",
        names: &[
            (FuncIndex::new(0), "imported"),
            (FuncIndex::new(2), "second"),
        ],
        custom: &[(".debug_info", b"dwarf")],
    };
    link(functions, &parts).unwrap()
}

#[test]
fn calls_reach_their_targets_in_both_directions() {
    let mut first = function(wasm(0), &[0xe8, 0, 0, 0, 0, 0xc3]);
    first.relocs = vec![call(1, wasm(1))];
    let mut second = function(wasm(1), &[0x90, 0xe8, 0, 0, 0, 0, 0xe8, 0, 0, 0, 0]);
    second.relocs = vec![call(2, wasm(0)), call(7, CodeKind::Builtin(Builtin::Trap))];
    let builtin = function(CodeKind::Builtin(Builtin::Trap), &[0xc3]);
    // The linker brings them in order.
    let image = image(vec![builtin, second, first], 2);
    let layout = ImageLayout::parse(&image).unwrap();
    let view = layout.view(&image).unwrap();
    let text = view.text();

    let callee = |call: usize| {
        let distance = i32::from_le_bytes(text[call + 1..call + 5].try_into().unwrap());
        (call as i32 + 5 + distance) as u32
    };
    let funcs: Vec<_> = view.funcs().collect();
    assert_eq!(
        funcs.iter().map(|f| f.start).collect::<Vec<_>>(),
        [0, 32, 64]
    );
    assert_eq!(callee(0), 32);
    assert_eq!(callee(33), 0);
    assert_eq!(callee(38), 64);
    assert_eq!(text[6..32], [0xcc; 26], "gaps stop what runs astray");
}

#[test]
fn explicit_traps_become_hlt_and_other_traps_stay() {
    // ud2; mov eax, [rax]; and an immediate that looks like ud2.
    let code = [0x0f, 0x0b, 0x8b, 0x00, 0xb8, 0x0f, 0x0b, 0x0f, 0x0b];
    let mut trapping = function(wasm(0), &code);
    trapping.traps = vec![(0, TrapCode::Unreachable), (2, TrapCode::MemoryOutOfBounds)];
    let image = image(vec![trapping], 1);
    let layout = ImageLayout::parse(&image).unwrap();
    let view = layout.view(&image).unwrap();
    assert_eq!(
        view.text(),
        [0xf4, 0x90, 0x8b, 0x00, 0xb8, 0x0f, 0x0b, 0x0f, 0x0b]
    );
    assert_eq!(view.trap_at(0), Some(TrapCode::Unreachable));
    assert_eq!(view.trap_at(1), None);
    assert_eq!(view.trap_at(2), Some(TrapCode::MemoryOutOfBounds));
}

#[test]
fn equal_stubs_are_one_and_different_ones_are_not() {
    let kinds = [0, 1].map(TypeIndex::new);
    let mut functions: Vec<_> = kinds
        .iter()
        .map(|&ty| function(CodeKind::Entry(ty), &[0x90, 0xc3]))
        .collect();
    functions.extend(kinds.iter().map(|&ty| {
        let mut exit = function(CodeKind::Exit(ty), &[0x90, 0xc3]);
        exit.traps = vec![(ty.as_u32(), TrapCode::StackOverflow)];
        exit
    }));
    let image = image(functions, 0);
    let layout = ImageLayout::parse(&image).unwrap();
    let view = layout.view(&image).unwrap();
    let stubs = kinds.map(|ty| view.stubs(ty).unwrap());
    assert_eq!(stubs[0], StubOffsets { entry: 0, exit: 32 });
    assert_eq!(stubs[1], StubOffsets { entry: 0, exit: 64 });
    assert_eq!(view.funcs().count(), 3);
    assert_eq!(view.module().unwrap(), module(0));
}

#[test]
fn inlined_frames_are_told_innermost_first() {
    let mut outer = function(wasm(0), &[0x90; 20]);
    let point = |context, wasm_offset| SourcePoint {
        context,
        wasm_offset,
    };
    outer.source = SourceTable {
        // Context 2 is inlined in context 1; context 3 has no code left.
        points: vec![point(0, 100), point(1, 200), point(2, 300), point(0, 101)],
        contexts: [(0, 2), (1, 3), (3, 2)]
            .map(|(parent_point, func)| InlineContext {
                parent_point,
                func: FuncIndex::new(func),
            })
            .to_vec(),
    };
    outer.points = vec![(2, 0), (4, 2), (8, 1), (12, NO_POINT), (14, 3), (20, 0)];
    let inner = function(wasm(1), &[0x90; 4]);
    let image = image(vec![outer, inner], 2);
    let layout = ImageLayout::parse(&image).unwrap();
    let view = layout.view(&image).unwrap();

    let frames = |offset| -> Vec<(u32, Option<u32>)> {
        let tell = |f: SourceFrame| (f.func.as_u32(), f.wasm_offset);
        view.frames_at(offset).map(tell).collect()
    };
    assert_eq!(frames(0), [(1, None)], "before the first point");
    assert_eq!(frames(2), [(1, Some(100))]);
    assert_eq!(frames(7), [(3, Some(300)), (2, Some(200)), (1, Some(100))]);
    assert_eq!(frames(8), [(2, Some(200)), (1, Some(100))]);
    assert_eq!(frames(12), [(1, None)]);
    assert_eq!(frames(19), [(1, Some(101))]);
    assert_eq!(frames(20), [], "padding");
    assert_eq!(
        frames(33),
        [(2, None)],
        "no point reaches into the next function"
    );
    assert_eq!(view.points_in(0..20).collect::<Vec<_>>(), [2, 4, 8, 12, 14]);
}

#[test]
fn safepoints_handlers_and_names_are_found_by_text_offset() {
    let first = function(wasm(0), &[0x90; 4]);
    let mut second = function(wasm(1), &[0x90; 30]);
    second.stack_maps = vec![StackMap {
        ret_offset: 7,
        frame_size: 48,
        sp_offsets: vec![8, 16],
    }];
    let frame = HandlerFrame {
        frame_offset: 64,
        context: Some(24),
    };
    let handler = |landing| Handler {
        tag: Some(TagIndex::new(3)),
        landing,
    };
    second.handlers = vec![CallHandlers {
        ret_offset: 7,
        frame,
        handlers: vec![handler(20)],
    }];
    let image = image(vec![first, second], 2);
    let layout = ImageLayout::parse(&image).unwrap();
    layout.verify(&image).unwrap();
    let view = layout.view(&image).unwrap();
    let map = view.stack_map_at(32 + 7).unwrap();
    assert_eq!(map.frame_size(), 48);
    assert_eq!(map.collect::<Vec<_>>(), [8, 16]);
    let handlers = view.handlers_at(32 + 7).unwrap();
    assert_eq!(handlers.frame(), frame);
    assert_eq!(handlers.collect::<Vec<_>>(), [handler(32 + 20)]);
    assert!(view.handlers_at(7).is_none());

    assert_eq!(view.func_name(FuncIndex::new(0)), Some("imported"));
    assert_eq!(view.func_name(FuncIndex::new(1)), None);
    assert_eq!(view.func_name(FuncIndex::new(2)), Some("second"));
    let symbols: Vec<_> = view.funcs().map(|f| view.symbol(f.kind)).collect();
    assert_eq!(symbols, ["wasm[1]", "wasm[2]::second"]);
    assert_eq!(view.data(), b"data");
    assert_eq!(view.custom(".debug_info"), Some(&b"dwarf"[..]));
    assert_eq!(view.custom(".data"), None);
}

#[test]
fn every_flipped_byte_and_every_truncation_is_an_error_or_harmless() {
    let mut trapping = function(wasm(0), &[0x0f, 0x0b, 0xc3]);
    trapping.traps = vec![(0, TrapCode::Unreachable)];
    let stubs = [
        function(CodeKind::Entry(TypeIndex::new(0)), &[0xc3]),
        function(CodeKind::Exit(TypeIndex::new(0)), &[0x90, 0xc3]),
    ];
    let image = image([vec![trapping], stubs.to_vec()].concat(), 1);
    let load = |bytes: &[u8]| -> Option<(Module, Vec<u8>, Option<TrapCode>)> {
        let layout = ImageLayout::parse(bytes).ok()?;
        layout.verify(bytes).ok()?;
        let view = layout.view(bytes).ok()?;
        view.custom(".debug_info");
        Some((view.module().ok()?, view.text().to_vec(), view.trap_at(0)))
    };
    let original = load(&image).unwrap();
    let mut refused = 0;
    for at in 0..image.len() {
        let mut damaged = image.clone();
        damaged[at] ^= 1 << (at % 8);
        match load(&damaged) {
            None => refused += 1,
            Some(loaded) => assert_eq!(loaded, original, "byte {at}"),
        }
    }
    assert!(refused > 500, "{refused}");
    for length in 0..image.len() {
        if let Some(loaded) = load(&image[..length]) {
            assert_eq!(loaded, original, "length {length}");
        }
    }
}

/// A damaged image whose checksums are right anyway, because it was damaged before they were made.
#[test]
fn damage_that_checksums_do_not_show_gives_errors_or_wrong_answers_but_no_panic() {
    let mut functions: Vec<_> = (0..40).map(|i| function(wasm(i), &[0x90; 64])).collect();
    for function in &mut functions {
        function.traps = (0..20)
            .map(|i| (i * 3, TrapCode::MemoryOutOfBounds))
            .collect();
        let point = |context, wasm_offset| SourcePoint {
            context,
            wasm_offset,
        };
        function.source.points = vec![point(0, 10), point(1, 20)];
        function.source.contexts = vec![InlineContext {
            parent_point: 0,
            func: FuncIndex::new(1),
        }];
        function.points = (0..20).map(|i| (i * 3, i % 2)).collect();
        function.stack_maps = (0..9)
            .map(|i| StackMap {
                ret_offset: i * 5,
                frame_size: i,
                sp_offsets: (0..i).collect(),
            })
            .collect();
        function.handlers = (0..9)
            .map(|i| CallHandlers {
                ret_offset: i * 5,
                frame: HandlerFrame {
                    frame_offset: i,
                    context: Some(i),
                },
                handlers: vec![
                    Handler {
                        tag: Some(TagIndex::new(i)),
                        landing: 60,
                    };
                    i as usize
                ],
            })
            .collect();
    }
    let image = image(functions, 40);
    let text = ImageLayout::parse(&image).unwrap().text_range();
    let mut seed = 7u32;
    let mut random = |limit: usize| {
        seed = seed.wrapping_mul(1664525).wrapping_add(1013904223);
        (seed >> 8) as usize % limit
    };
    let mut opened = 0;
    for _ in 0..4000 {
        let mut damaged = image.clone();
        for _ in 0..1 + random(3) {
            // Tables lie before the text.
            damaged[random(text.start)] = random(256) as u8;
        }
        let Ok(layout) = ImageLayout::parse(&damaged) else {
            continue;
        };
        let Ok(view) = layout.view(&damaged) else {
            continue;
        };
        opened += 1;
        let _ = view.module();
        for offset in [0, 5, 64, 999, 2600, u32::MAX] {
            view.func_at(offset).map(|f| view.symbol(f.kind));
            view.trap_at(offset);
            view.frames_at(offset).for_each(drop);
            view.stack_map_at(offset).map(Iterator::count);
            view.handlers_at(offset).map(Iterator::count);
            view.func_name(FuncIndex::new(offset));
            view.wasm_func(DefinedFuncIndex::new(offset));
            view.stubs(TypeIndex::new(offset));
        }
        view.traps_in(0..u32::MAX).for_each(drop);
        view.points_in(0..u32::MAX).for_each(drop);
    }
    assert!(opened > 1000, "{opened}");
}
