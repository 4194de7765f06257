//! Taking what Cranelift leaves of a function into a [`CompiledFunction`].

use crate::compiled::{
    CallHandlers, ClifName, CodeKind, CompiledFunction, Handler, HandlerFrame, Reloc, SourceTable,
    StackMap,
};
use cranelift_codegen::binemit::Reloc as RelocKind;
use cranelift_codegen::ir::{ExternalName, Function, TrapCode as ClifTrap};
use cranelift_codegen::{
    CompiledCode, ExceptionContextLoc, Final, FinalizedMachExceptionHandler, FinalizedMachReloc,
    FinalizedRelocTarget, MachBufferFinalized,
};
use sarsen_abi::{TagIndex, TrapCode};

/// Takes the code and its tables. `clif` is what it was compiled from.
pub(super) fn collect(
    kind: CodeKind,
    code: &CompiledCode,
    clif: &Function,
    source: SourceTable,
) -> CompiledFunction {
    let buffer = &code.buffer;
    CompiledFunction {
        kind,
        code: buffer.data().to_vec(),
        alignment: buffer.alignment,
        relocs: buffer.relocs().iter().map(|r| reloc(r, clif)).collect(),
        traps: traps(buffer),
        points: points(buffer, &source),
        source,
        stack_maps: stack_maps(buffer),
        handlers: handlers(buffer),
    }
}

fn reloc(reloc: &FinalizedMachReloc, clif: &Function) -> Reloc {
    assert!(
        matches!(reloc.kind, RelocKind::X86CallPCRel4 | RelocKind::X86PCRel4),
        "text holds only references relative to itself, not {:?}",
        reloc.kind
    );
    let FinalizedRelocTarget::ExternalName(ExternalName::User(name)) = &reloc.target else {
        panic!(
            "code refers only to code of its own image, not to {:?}",
            reloc.target
        );
    };
    Reloc {
        offset: reloc.offset,
        target: CodeKind::from_clif_name(&clif.params.user_named_funcs()[*name]),
        addend: reloc.addend,
    }
}

fn traps(buffer: &MachBufferFinalized<Final>) -> Vec<(u32, TrapCode)> {
    let mut traps: Vec<_> = buffer
        .traps()
        .iter()
        .map(|trap| (trap.offset, trap_code(trap.code)))
        .collect();
    traps.sort_by_key(|&(offset, _)| offset);
    traps.dedup();
    debug_assert!(
        traps.is_sorted_by(|a, b| a.0 < b.0),
        "an instruction traps for one reason only"
    );
    traps
}

fn trap_code(code: ClifTrap) -> TrapCode {
    match code {
        ClifTrap::STACK_OVERFLOW => TrapCode::StackOverflow,
        ClifTrap::INTEGER_OVERFLOW => TrapCode::IntegerOverflow,
        ClifTrap::INTEGER_DIVISION_BY_ZERO => TrapCode::IntegerDivisionByZero,
        ClifTrap::BAD_CONVERSION_TO_INTEGER => TrapCode::BadConversionToInteger,
        ClifTrap::HEAP_OUT_OF_BOUNDS => TrapCode::MemoryOutOfBounds,
        user => TrapCode::from_byte(user.as_raw().get())
            .unwrap_or_else(|| panic!("{user} is none of our trap codes")),
    }
}

/// The points at which traps and calls can ask where they are. Code without a location of its own
/// (moves, spills) is counted with what comes before it, and the prologue with the function's
/// beginning, which is point 0.
fn points(buffer: &MachBufferFinalized<Final>, source: &SourceTable) -> Vec<(u32, u32)> {
    if source.points.is_empty() {
        return Vec::new();
    }
    let mut points = vec![(0, 0)];
    for range in buffer.get_srclocs_sorted() {
        let &(start, point) = points.last().expect("never empty");
        if range.loc.is_default() || range.loc.bits() == point {
            continue;
        }
        if range.start == start {
            points.pop();
        }
        points.push((range.start, range.loc.bits()));
    }
    points
}

fn stack_maps(buffer: &MachBufferFinalized<Final>) -> Vec<StackMap> {
    buffer
        .user_stack_maps()
        .iter()
        .map(|(ret_offset, frame_size, map)| {
            let mut sp_offsets: Vec<u32> = map.entries().map(|(_, offset)| offset).collect();
            sp_offsets.sort_unstable();
            StackMap {
                ret_offset: *ret_offset,
                frame_size: *frame_size,
                sp_offsets,
            }
        })
        .collect()
}

fn handlers(buffer: &MachBufferFinalized<Final>) -> Vec<CallHandlers> {
    buffer
        .call_sites()
        .filter(|site| !site.exception_handlers.is_empty())
        .map(|site| {
            let mut frame = HandlerFrame {
                frame_offset: site.frame_offset.expect("x86-64 knows its frames"),
                context: None,
            };
            let mut handlers = Vec::new();
            for handler in site.exception_handlers {
                handlers.push(match *handler {
                    FinalizedMachExceptionHandler::Context(ExceptionContextLoc::SPOffset(at)) => {
                        frame.context = Some(at);
                        continue;
                    }
                    FinalizedMachExceptionHandler::Context(ExceptionContextLoc::GPR(_)) => {
                        panic!("no register survives a call with handlers")
                    }
                    FinalizedMachExceptionHandler::Tag(tag, landing) => Handler {
                        tag: Some(TagIndex::new(tag.as_u32())),
                        landing,
                    },
                    FinalizedMachExceptionHandler::Default(landing) => {
                        Handler { tag: None, landing }
                    }
                });
            }
            CallHandlers {
                ret_offset: site.ret_addr,
                frame,
                handlers,
            }
        })
        .collect()
}
