//! What a stub's machine code must and must not do, whoever lands in it or leaves it.

use super::{Stub, copy_to_types_alike, of_types};
use crate::compiled::{CodeKind, CompiledFunction, Handler};
use crate::optimize::{Work, compile_all};
use crate::target;
use sarsen_abi::module::Module;
use sarsen_abi::types::{CompositeType, FuncType, HeapType, RefType, SubType, ValType};
use sarsen_abi::{Builtin, Settings, TrapCode, TypeIndex};

fn func_type(params: &[ValType], results: &[ValType]) -> FuncType {
    FuncType {
        params: params.into(),
        results: results.into(),
    }
}

fn compile(stub: Stub<'_>) -> CompiledFunction {
    let isa = target::host_isa(&Settings::default()).expect("the tests run on a supported machine");
    let mut functions = compile_all(&*isa, None, vec![Work::Stub(stub)]).expect("stubs compile");
    functions.pop().expect("one piece of work is one function")
}

/// A type whose values fill all registers and some of the stack, both ways.
fn large_type() -> FuncType {
    let all = [
        ValType::I32,
        ValType::I64,
        ValType::F32,
        ValType::F64,
        ValType::V128,
        ValType::FUNCREF,
        ValType::EXTERNREF,
    ];
    let many: Vec<ValType> = all.iter().copied().cycle().take(100).collect();
    func_type(&many, &many)
}

/// Whether `code` contains these bytes.
fn contains(function: &CompiledFunction, bytes: &[u8]) -> bool {
    function.code.windows(bytes.len()).any(|w| w == bytes)
}

#[test]
fn whoever_lands_in_an_entry_stub_gets_all_native_registers_back() {
    for ty in [func_type(&[], &[]), large_type()] {
        let stub = compile(Stub::Entry(TypeIndex::new(0), &ty));
        let [call] = &stub.handlers[..] else {
            panic!("an entry stub has one call: {:?}", stub.handlers);
        };
        assert!(call.frame.frame_offset > 0);
        assert!(matches!(call.handlers[..], [Handler { tag: None, .. }]));
        // Stores to [rsp + offset] of rbx, r12, r13, r14 and r15, whatever the offset's size.
        for register in [
            [0x48, 0x89, 0x5c, 0x24],
            [0x4c, 0x89, 0x64, 0x24],
            [0x4c, 0x89, 0x6c, 0x24],
            [0x4c, 0x89, 0x74, 0x24],
            [0x4c, 0x89, 0x7c, 0x24],
        ] {
            let near = contains(&stub, &register);
            let first = contains(&stub, &[register[0], 0x89, register[2] - 0x40, 0x24]);
            let far = contains(&stub, &[register[0], 0x89, register[2] + 0x40, 0x24]);
            assert!(near || first || far, "{register:x?} in {:x?}", stub.code);
        }
        assert!(stub.stack_maps.is_empty());
        assert!(stub.relocs.is_empty());
    }
}

#[test]
fn an_exit_stub_checks_the_stack_before_the_host_is_entered() {
    for ty in [func_type(&[], &[]), large_type()] {
        let stub = compile(Stub::Exit(TypeIndex::new(0), &ty));
        assert!(stub.traps.iter().any(|t| t.1 == TrapCode::StackOverflow));
        assert!(stub.handlers.is_empty());
        assert!(stub.stack_maps.is_empty());
    }
}

#[test]
fn every_builtin_has_a_stub_that_refers_to_nothing_but_its_context() {
    for &builtin in Builtin::ALL {
        let stub = compile(Stub::Builtin(builtin));
        assert!(stub.relocs.is_empty());
        assert!(stub.points.is_empty());
    }
}

#[test]
fn every_function_type_has_both_stubs_and_no_other_type_has_any() {
    let sub_type = |composite| SubType {
        is_final: true,
        supertype: None,
        composite,
    };
    let of = |params: &[ValType]| sub_type(CompositeType::Func(func_type(params, &[])));
    let module = Module {
        types: vec![
            sub_type(CompositeType::Struct(Box::new([]))),
            of(&[ValType::FUNCREF]),
            of(&[ValType::EXTERNREF]),
            of(&[ValType::Ref(RefType {
                nullable: false,
                heap: HeapType::ConcreteFunc(TypeIndex::new(1)),
            })]),
        ],
        ..Module::default()
    };
    let isa = target::host_isa(&Settings::default()).expect("the tests run on a supported machine");
    let work = of_types(&module).map(Work::Stub).collect();
    let mut code = compile_all(&*isa, None, work).expect("stubs compile");
    assert_eq!(code.len(), 4, "types 1 and 3 share");
    copy_to_types_alike(&module, &mut code);
    for index in [1, 2, 3].map(TypeIndex::new) {
        assert!(code.iter().any(|f| f.kind == CodeKind::Entry(index)));
        assert!(code.iter().any(|f| f.kind == CodeKind::Exit(index)));
    }
    assert_eq!(code.len(), 6);
}
