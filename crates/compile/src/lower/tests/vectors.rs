//! Properties of the code for vectors.

use super::{assembly, assembly_of, clif_under, compile, count, isa, lower_relaxed};
use crate::lower::RelaxedSimd;
use cranelift_codegen::FinalizedRelocTarget;
use cranelift_codegen::ir::ExternalName;
use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_codegen::settings::Configurable;
use sarsen_abi::{Features, Settings};

/// The last function's instructions.
fn instructions(wat: &str) -> String {
    assembly(wat, &Settings::default())
}

fn deterministic() -> Settings {
    Settings {
        relaxed_simd_deterministic: true,
        ..Settings::default()
    }
}

/// A processor that has what Sarsen requires, and no more.
fn minimal_isa() -> OwnedTargetIsa {
    isa_with(&[])
}

/// A processor that has what Sarsen requires, and `features`, which are flags of Cranelift's.
fn isa_with(features: &[&str]) -> OwnedTargetIsa {
    let mut builder = cranelift_native::builder_with_options(false).expect("the host is suitable");
    let required = [
        "has_cmpxchg16b",
        "has_popcnt",
        "has_sse3",
        "has_ssse3",
        "has_sse41",
        "has_sse42",
    ];
    for flag in required.iter().chain(features) {
        builder.enable(flag).expect("a flag of Cranelift's");
    }
    let flags = isa(&Settings::default()).flags().clone();
    builder.finish(flags).expect("the flags are consistent")
}

/// One function for each instruction that has no operands but vectors.
fn every_lanewise_instruction() -> Vec<String> {
    let shapes = ["i8x16", "i16x8", "i32x4", "i64x2", "f32x4", "f64x2"];
    let mut unary = Vec::new();
    let mut binary = Vec::new();
    let mut ternary = vec!["v128.bitselect".to_owned()];
    for shape in shapes {
        let of = |name: &&str| format!("{shape}.{name}");
        unary.extend(["abs", "neg"].iter().map(of));
        binary.extend(["eq", "ne", "add", "sub"].iter().map(of));
        if shape.starts_with('f') {
            unary.extend(["sqrt", "ceil", "floor", "trunc", "nearest"].iter().map(of));
            let names = ["mul", "div", "min", "max", "pmin", "pmax", "lt", "ge"];
            binary.extend(names.iter().map(of));
            binary.extend(["relaxed_min", "relaxed_max"].iter().map(of));
            ternary.extend(["relaxed_madd", "relaxed_nmadd"].iter().map(of));
        } else {
            binary.extend(["lt_s", "gt_s", "le_s", "ge_s"].iter().map(of));
            ternary.push(of(&"relaxed_laneselect"));
        }
    }
    unary.extend(
        [
            "i8x16.popcnt",
            "i16x8.extadd_pairwise_i8x16_u",
            "i64x2.extend_high_i32x4_s",
            "i32x4.trunc_sat_f32x4_s",
            "i32x4.trunc_sat_f32x4_u",
            "i32x4.trunc_sat_f64x2_s_zero",
            "i32x4.trunc_sat_f64x2_u_zero",
            "i32x4.relaxed_trunc_f32x4_s",
            "i32x4.relaxed_trunc_f64x2_s_zero",
            "f32x4.convert_i32x4_u",
            "f64x2.convert_low_i32x4_u",
            "f32x4.demote_f64x2_zero",
            "f64x2.promote_low_f32x4",
        ]
        .map(str::to_owned),
    );
    binary.extend(
        [
            "i64x2.mul",
            "i8x16.swizzle",
            "i8x16.relaxed_swizzle",
            "i16x8.q15mulr_sat_s",
            "i16x8.relaxed_q15mulr_s",
            "i32x4.dot_i16x8_s",
            "i64x2.extmul_low_i32x4_u",
            "i8x16.narrow_i16x8_u",
            "i16x8.relaxed_dot_i8x16_i7x16_s",
        ]
        .map(str::to_owned),
    );
    ternary.push("i32x4.relaxed_dot_i8x16_i7x16_add_s".to_owned());
    let with_operands = |names: Vec<String>, count: usize| {
        let params = "v128 ".repeat(count);
        let operands: String = (0..count).map(|n| format!("local.get {n} ")).collect();
        names
            .into_iter()
            .map(move |name| format!("(func (param {params}) (result v128) {operands} {name})"))
    };
    with_operands(unary, 1)
        .chain(with_operands(binary, 2))
        .chain(with_operands(ternary, 3))
        .collect()
}

#[test]
fn no_instruction_calls_a_library_on_the_least_processor() {
    let isa = minimal_isa();
    for settings in [Settings::default(), deterministic()] {
        let relaxed_simd = RelaxedSimd::new(&*isa, &settings);
        for func in every_lanewise_instruction() {
            let wat = format!("(module {func})");
            let wasm = wat::parse_str(&wat).expect("well-formed");
            let lowered = lower_relaxed(&wasm, &settings, Features::default(), relaxed_simd);
            let lowered = lowered.expect("it is supported");
            let calls = compile(&lowered[0], &isa)
                .buffer
                .relocs()
                .iter()
                .any(|reloc| {
                    matches!(
                        &reloc.target,
                        FinalizedRelocTarget::ExternalName(ExternalName::LibCall(_))
                    )
                });
            assert!(!calls, "{func}");
        }
    }
}

#[test]
fn a_vector_is_cast_only_where_its_lanes_change() {
    let code = clif_under(
        "(module (func (param v128 v128) (result v128)
           (f32x4.add (f32x4.mul (local.get 0) (local.get 1)) (local.get 1))))",
        &Settings::default(),
    );
    // Each parameter, each time it is used, and the result.
    assert!(count(&code, "bitcast.f32x4") <= 3, "{code}");
    let code = instructions(
        "(module (func (param v128 v128) (result v128)
           (i32x4.add (f32x4.mul (local.get 0) (local.get 1)) (local.get 1))))",
    );
    assert_eq!(count(&code, "mulps"), 1, "{code}");
    assert_eq!(count(&code, "paddd"), 1, "{code}");
    assert_eq!(
        count(&code, "movd"),
        0,
        "no way through other registers: {code}"
    );
}

#[test]
fn choosing_by_a_comparison_is_one_instruction() {
    for (name, instruction) in [
        ("f32x4.pmin", "minps"),
        ("f64x2.pmin", "minpd"),
        ("f32x4.pmax", "maxps"),
        ("f64x2.pmax", "maxpd"),
        ("f32x4.relaxed_min", "minps"),
        ("f64x2.relaxed_max", "maxpd"),
    ] {
        let code = instructions(&format!(
            "(module (func (param v128 v128) (result v128)
               ({name} (local.get 0) (local.get 1))))"
        ));
        assert_eq!(count(&code, instruction), 1, "{name}: {code}");
        assert_eq!(count(&code, "cmp"), 0, "{name}: {code}");
    }
    let code = instructions(
        "(module (func (param v128 v128) (result v128)
           (v128.bitselect (local.get 0) (local.get 1)
             (i32x4.eq (local.get 0) (local.get 1)))))",
    );
    assert_eq!(count(&code, "pblendvb"), 1, "{code}");
}

#[test]
fn extending_and_multiplying_or_adding_is_one_instruction() {
    for (name, instruction) in [
        ("i32x4.dot_i16x8_s", "pmaddwd"),
        ("i32x4.extmul_low_i16x8_u", "pmulhuw"),
        ("i16x8.relaxed_dot_i8x16_i7x16_s", "pmaddubsw"),
    ] {
        let code = instructions(&format!(
            "(module (func (param v128 v128) (result v128)
               ({name} (local.get 0) (local.get 1))))"
        ));
        assert_eq!(count(&code, instruction), 1, "{name}: {code}");
    }
}

#[test]
fn partial_loads_are_checked_for_the_bytes_that_they_read() {
    let settings = Settings {
        memory_reservation: 1 << 20,
        ..Settings::default()
    };
    for (name, size) in [
        ("v128.load", 16),
        ("v128.load8x8_s", 8),
        ("v128.load32x2_u", 8),
        ("v128.load8_splat", 1),
        ("v128.load64_zero", 8),
    ] {
        let at = |address: u32| {
            let wat = format!(
                "(module (memory 1 1) (func (result v128) ({name} (i32.const {address}))))"
            );
            count(&clif_under(&wat, &settings), "user2")
        };
        assert_eq!(at(65536 - size), 0, "{name} in bounds cannot trap");
        assert_eq!(at(65536 - size + 1), 1, "{name} out of bounds traps");
    }
}

#[test]
fn relaxed_lanes_of_every_width_are_selected_by_their_masks_highest_bit() {
    for (shape, blend) in [
        ("i8x16", "pblendvb"),
        ("i16x8", "pblendvb"),
        ("i32x4", "blendvps"),
        ("i64x2", "blendvpd"),
    ] {
        let code = instructions(&format!(
            "(module (func (param v128 v128 v128) (result v128)
               ({shape}.relaxed_laneselect (local.get 0) (local.get 1) (local.get 2))))"
        ));
        assert_eq!(count(&code, blend), 1, "{shape}: {code}");
        assert_eq!(
            count(&code, "psraw"),
            usize::from(shape == "i16x8"),
            "{code}"
        );
    }
}

#[test]
fn relaxed_instructions_are_the_machines_own_unless_results_must_be_the_same_everywhere() {
    for (func, own) in [
        (
            "(param v128 v128) (result v128) (i8x16.relaxed_swizzle",
            "x86_pshufb",
        ),
        ("(param v128 v128) (result v128) (f64x2.relaxed_min", "fcmp"),
        (
            "(param v128 v128) (result v128) (i16x8.relaxed_q15mulr_s",
            "x86_pmulhrsw",
        ),
    ] {
        let wat = format!("(module (func {func} (local.get 0) (local.get 1))))");
        let relaxed = clif_under(&wat, &Settings::default());
        assert_eq!(count(&relaxed, own), 1, "{relaxed}");
        let everywhere = clif_under(&wat, &deterministic());
        assert_eq!(count(&everywhere, own), 0, "{everywhere}");
    }
    let madd = "(module (func (param v128 v128 v128) (result v128)
        (f32x4.relaxed_madd (local.get 0) (local.get 1) (local.get 2))))";
    let code = clif_under(madd, &deterministic());
    assert_eq!(count(&code, "fma "), 0, "{code}");
    assert_eq!(count(&code, "fmul"), 1, "{code}");
}

#[test]
fn a_number_goes_from_memory_into_a_vector_without_another_register() {
    for shape in ["32", "64"] {
        for func in [
            format!("(result v128) (v128.load{shape}_splat (i32.const 0))"),
            format!(
                "(param v128) (result v128) (v128.load{shape}_lane 0 (i32.const 0) (local.get 0))"
            ),
            format!(
                "(param v128) (result v128) (v128.load{shape}_lane 1 (i32.const 0) (local.get 0))"
            ),
        ] {
            // A load that follows keeps Cranelift from making one instruction of the two.
            let code = instructions(&format!(
                "(module (memory 1) (func {func} (drop (i32.load (i32.const 8)))))"
            ));
            let is_between_registers = |line: &str| {
                let is_integer = line.contains("%r") || line.contains("%e");
                line.contains("%xmm") && is_integer && !line.contains('(')
            };
            assert!(!code.lines().any(is_between_registers), "{func}: {code}");
        }
        let func = format!("(param v128) (v128.store{shape}_lane 0 (i32.const 0) (local.get 0))");
        let code = instructions(&format!("(module (memory 1) (func {func}))"));
        assert_eq!(count(&code, "pextr"), 0, "{func}: {code}");
    }
    for (shape, result) in [("i32x4", "i32"), ("i64x2", "i64")] {
        let code = instructions(&format!(
            "(module (func (param v128) (result {result})
               ({shape}.extract_lane 0 (local.get 0))))"
        ));
        assert_eq!(count(&code, "pextr"), 0, "{shape}: {code}");
    }
}

#[test]
fn indices_that_are_plainly_small_are_not_raised_before_bytes_are_looked_up() {
    let code_for = |indices: &str| {
        let wat = format!(
            "(module (func (param v128 v128) (result v128)
               (i8x16.swizzle (local.get 0) {indices})))"
        );
        clif_under(&wat, &deterministic())
    };
    let mask = |byte: u32| {
        let word = byte * 0x0101_0101;
        format!("(v128.const i32x4 {word} {word} {word} {word})")
    };
    for indices in [
        format!("(v128.and (local.get 1) {})", mask(0x0f)),
        format!("(v128.and {} (local.get 1))", mask(0x8f)),
        "(i8x16.shr_u (local.get 1) (i32.const 4))".to_owned(),
        "(i8x16.shr_u (local.get 1) (i32.const 15))".to_owned(),
        mask(0x0f),
        mask(0x90),
    ] {
        assert_eq!(count(&code_for(&indices), "x86_pshufb"), 1, "{indices}");
    }
    for indices in [
        "(local.get 1)".to_owned(),
        format!("(v128.and (local.get 1) {})", mask(0x1f)),
        format!("(v128.or (local.get 1) {})", mask(0x0f)),
        "(i8x16.shr_u (local.get 1) (i32.const 3))".to_owned(),
        "(i8x16.shr_u (local.get 1) (i32.const 11))".to_owned(),
        "(i8x16.shr_s (local.get 1) (i32.const 4))".to_owned(),
        "(i16x8.shr_u (local.get 1) (i32.const 12))".to_owned(),
        mask(0x10),
    ] {
        assert_eq!(count(&code_for(&indices), "x86_pshufb"), 0, "{indices}");
    }
}

#[test]
fn four_products_are_added_up_by_one_instruction_where_there_is_one() {
    let wat = "(module (func (param v128 v128 v128) (result v128)
        (i32x4.relaxed_dot_i8x16_i7x16_add_s (local.get 0) (local.get 1) (local.get 2))))";
    let wasm = wat::parse_str(wat).expect("well-formed");
    let with_vex = ["has_avx", "has_avx2", "has_avx_vnni"];
    let with_evex = [
        "has_avx",
        "has_avx2",
        "has_avx512f",
        "has_avx512vl",
        "has_avx512vnni",
    ];
    for (features, settings, expected) in [
        (&with_vex[..], Settings::default(), 1),
        (&with_evex[..], Settings::default(), 1),
        (&with_evex[..4], Settings::default(), 0),
        (&with_evex[..], deterministic(), 0),
    ] {
        let isa = isa_with(features);
        let relaxed_simd = RelaxedSimd::new(&*isa, &settings);
        let lowered = lower_relaxed(&wasm, &settings, Features::default(), relaxed_simd);
        let code = assembly_of(&lowered.expect("it is supported")[0], &isa);
        assert_eq!(count(&code, "vpdpbusd"), expected, "{features:?}: {code}");
        let own = count(&code, "mul") + count(&code, "pmadd");
        assert_eq!(own == 0, expected == 1, "{features:?}: {code}");
    }
}

#[test]
fn a_shift_to_the_left_by_one_is_an_addition() {
    for (shape, width) in [("i8x16", 8), ("i16x8", 16), ("i32x4", 32), ("i64x2", 64)] {
        let code_for = |name: &str, distance: u32| {
            clif_under(
                &format!(
                    "(module (func (param v128) (result v128)
                       ({shape}.{name} (local.get 0) (i32.const {distance}))))"
                ),
                &Settings::default(),
            )
        };
        for distance in [1, width + 1] {
            assert_eq!(count(&code_for("shl", distance), "iadd"), 1, "{shape}");
            assert_eq!(count(&code_for("shr_u", distance), "iadd"), 0, "{shape}");
        }
        for distance in [0, 2, width] {
            assert_eq!(count(&code_for("shl", distance), "iadd"), 0, "{shape}");
        }
    }
}
