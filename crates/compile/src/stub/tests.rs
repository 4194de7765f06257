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
fn an_entry_stub_has_one_landing_and_leaves_saving_registers_to_its_caller() {
    for ty in [func_type(&[], &[]), large_type()] {
        let stub = compile(Stub::Entry(TypeIndex::new(0), &ty));
        let [call] = &stub.handlers[..] else {
            panic!("an entry stub has one call: {:?}", stub.handlers);
        };
        assert!(matches!(call.handlers[..], [Handler { tag: None, .. }]));
        assert!(stub.stack_maps.is_empty());
        assert!(stub.relocs.is_empty());
    }
    let stub = compile(Stub::Entry(TypeIndex::new(0), &func_type(&[], &[])));
    // mov [rsp], rbx
    assert!(!contains(&stub, &[0x48, 0x89, 0x1c, 0x24]));
    assert_eq!(stub.handlers[0].frame.frame_offset, 0);
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
