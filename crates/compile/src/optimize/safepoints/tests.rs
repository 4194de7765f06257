//! The checker against CLIF that breaks one rule each, and CLIF that breaks none.

use super::{Violation, check};
use cranelift_codegen::entity::EntitySet;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{
    AbiParam, Function, InstBuilder, MemFlagsData, Signature, TrapCode, UserFuncName, Value,
};
use cranelift_codegen::isa::{CallConv, TargetFrontendConfig};
use cranelift_codegen::settings;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};

/// Builds a function of a pointer and a reference. What `build` returns are the references, all but
/// the parameter.
fn function(
    build: impl FnOnce(&mut FunctionBuilder<'_>, Value, Value) -> Vec<Value>,
) -> (Function, EntitySet<Value>) {
    let mut signature = Signature::new(CallConv::Tail);
    signature.params = vec![AbiParam::new(I64), AbiParam::new(I32)];
    signature.returns = vec![AbiParam::new(I64)];
    let mut func = Function::with_name_signature(UserFuncName::default(), signature);
    let mut context = FunctionBuilderContext::new();
    let mut builder = FunctionBuilder::new(&mut func, &mut context);
    let entry = builder.create_block();
    builder.append_block_params_for_function_params(entry);
    builder.switch_to_block(entry);
    let [pointer, reference] = builder.block_params(entry)[..] else {
        unreachable!()
    };
    let mut references = EntitySet::new();
    references.insert(reference);
    for value in build(&mut builder, pointer, reference) {
        references.insert(value);
    }
    builder.seal_all_blocks();
    builder.finalize(config());
    (func, references)
}

fn config() -> TargetFrontendConfig {
    let isa = cranelift_native::builder().expect("the tests run on a supported machine");
    let flags = settings::Flags::new(settings::builder());
    isa.finish(flags)
        .expect("the default flags")
        .frontend_config()
}

fn call(builder: &mut FunctionBuilder<'_>, pointer: Value) {
    let signature = builder.import_signature(Signature::new(CallConv::Tail));
    builder.ins().call_indirect(signature, pointer, &[]);
}

fn address(builder: &mut FunctionBuilder<'_>, base: Value, reference: Value) -> Value {
    let offset = builder.ins().uextend(I64, reference);
    builder.ins().iadd(base, offset)
}

fn load(builder: &mut FunctionBuilder<'_>, flags: MemFlagsData, address: Value) -> Value {
    let flags = flags.with_trap_code(Some(TrapCode::HEAP_OUT_OF_BOUNDS));
    builder.ins().load(I64, flags, address, 8)
}

/// What the checker says of the function that `build` builds.
fn verdict(
    build: impl FnOnce(&mut FunctionBuilder<'_>, Value, Value) -> Vec<Value>,
) -> Result<(), Violation> {
    let (func, references) = function(build);
    check(&func, &references)
}

/// Loads from the object, and returns what was loaded.
fn load_and_return(
    builder: &mut FunctionBuilder<'_>,
    flags: MemFlagsData,
    pointer: Value,
    reference: Value,
) {
    let address = address(builder, pointer, reference);
    load_from_and_return(builder, flags, address);
}

fn load_from_and_return(builder: &mut FunctionBuilder<'_>, flags: MemFlagsData, address: Value) {
    let value = load(builder, flags, address);
    builder.ins().return_(&[value]);
}

#[test]
fn a_reference_that_no_stack_map_has_is_rejected() {
    let outcome = verdict(|builder, pointer, reference| {
        call(builder, pointer);
        load_and_return(builder, MemFlagsData::trusted(), pointer, reference);
        vec![]
    });
    assert!(matches!(
        outcome,
        Err(Violation::ReferenceAcrossSafepoint(..))
    ));
}

#[test]
fn a_reference_in_a_stack_map_is_accepted() {
    let outcome = verdict(|builder, pointer, reference| {
        builder.declare_value_needs_stack_map(reference);
        call(builder, pointer);
        load_and_return(builder, MemFlagsData::trusted(), pointer, reference);
        vec![]
    });
    assert_eq!(outcome, Ok(()));
}

#[test]
fn a_reference_that_a_block_passes_on_is_followed() {
    let outcome = verdict(|builder, pointer, reference| {
        let head = builder.create_block();
        let passed = builder.append_block_param(head, I32);
        builder.ins().jump(head, &[reference.into()]);
        builder.switch_to_block(head);
        call(builder, pointer);
        builder.ins().jump(head, &[passed.into()]);
        vec![]
    });
    assert!(matches!(
        outcome,
        Err(Violation::ReferenceAcrossSafepoint(..))
    ));
}

#[test]
fn an_address_that_outlives_a_safepoint_is_rejected() {
    let outcome = verdict(|builder, pointer, reference| {
        builder.declare_value_needs_stack_map(reference);
        let address = address(builder, pointer, reference);
        call(builder, pointer);
        load_from_and_return(builder, MemFlagsData::trusted(), address);
        vec![]
    });
    assert!(matches!(
        outcome,
        Err(Violation::AddressAcrossSafepoint(..))
    ));
}

#[test]
fn a_pure_load_from_the_heap_is_rejected() {
    for flags in [
        MemFlagsData::trusted().with_readonly(),
        MemFlagsData::trusted().with_can_move(),
    ] {
        let outcome = verdict(|builder, pointer, reference| {
            load_and_return(builder, flags, pointer, reference);
            vec![]
        });
        assert!(matches!(outcome, Err(Violation::PureLoad(_))));
    }
}

#[test]
fn a_pure_load_of_a_reference_is_rejected() {
    let outcome = verdict(|builder, pointer, _| {
        let flags = MemFlagsData::trusted().with_readonly();
        let loaded = builder.ins().load(I32, flags, pointer, 0);
        let value = builder.ins().iconst(I64, 0);
        builder.ins().return_(&[value]);
        vec![loaded]
    });
    assert!(matches!(outcome, Err(Violation::PureLoad(_))));
}

#[test]
fn a_guarded_address_that_outlives_a_safepoint_is_rejected() {
    let outcome = verdict(|builder, pointer, reference| {
        builder.declare_value_needs_stack_map(reference);
        let index = builder.ins().iconst(I32, 12);
        let offset = builder.ins().iadd(reference, index);
        let nowhere = builder.ins().iconst(I32, 0);
        let is_past_end = builder.ins().icmp(IntCC::Equal, index, nowhere);
        let guarded = builder
            .ins()
            .select_spectre_guard(is_past_end, nowhere, offset);
        let address = address(builder, pointer, guarded);
        call(builder, pointer);
        load_from_and_return(builder, MemFlagsData::trusted(), address);
        vec![]
    });
    assert!(matches!(
        outcome,
        Err(Violation::AddressAcrossSafepoint(..))
    ));
}

#[test]
fn an_address_that_a_loop_carries_across_a_safepoint_is_rejected() {
    let outcome = verdict(|builder, pointer, reference| {
        let head = builder.create_block();
        let at = builder.append_block_param(head, I64);
        let start = address(builder, pointer, reference);
        builder.ins().jump(head, &[start.into()]);
        builder.switch_to_block(head);
        load(builder, MemFlagsData::trusted(), at);
        call(builder, pointer);
        let next = builder.ins().iadd_imm_s(at, 8);
        builder.ins().jump(head, &[next.into()]);
        vec![]
    });
    assert!(matches!(
        outcome,
        Err(Violation::AddressAcrossSafepoint(..))
    ));
}

#[test]
fn an_access_of_the_heap_that_cannot_trap_is_rejected() {
    let outcome = verdict(|builder, pointer, reference| {
        let address = address(builder, pointer, reference);
        let value = builder.ins().load(I64, MemFlagsData::trusted(), address, 8);
        builder.ins().return_(&[value]);
        vec![]
    });
    assert!(matches!(outcome, Err(Violation::AccessWithoutTrap(_))));
    let outcome = verdict(|builder, pointer, reference| {
        let address = address(builder, pointer, reference);
        builder
            .ins()
            .store(MemFlagsData::trusted(), pointer, address, 8);
        builder.ins().return_(&[pointer]);
        vec![]
    });
    assert!(matches!(outcome, Err(Violation::AccessWithoutTrap(_))));
}

#[test]
fn an_address_may_be_stored_before_a_safepoint() {
    let outcome = verdict(|builder, pointer, reference| {
        let slot = address(builder, pointer, reference);
        builder
            .ins()
            .store(MemFlagsData::trusted(), slot, pointer, 8);
        call(builder, pointer);
        builder.ins().return_(&[pointer]);
        vec![]
    });
    assert_eq!(outcome, Ok(()));
}

#[test]
fn numbers_computed_from_references_may_outlive_a_safepoint() {
    let outcome = verdict(|builder, pointer, reference| {
        let null = builder.ins().iconst(I32, 0);
        let is_null = builder.ins().icmp(IntCC::Equal, reference, null);
        call(builder, pointer);
        let still_null = builder.ins().icmp_imm_u(IntCC::Equal, null, 0);
        let both = builder.ins().band(is_null, still_null);
        let value = builder.ins().uextend(I64, both);
        builder.ins().return_(&[value]);
        vec![null]
    });
    assert_eq!(outcome, Ok(()));
}
