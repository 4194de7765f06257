//! Which bounds checks of memories are made, and which are covered by others.

use super::{clif_under, count};
use sarsen_abi::{Feature, Features, Settings};

/// How often something is compared and guarded in the last function of a module.
fn checks(module: &str) -> usize {
    checks_under(module, &Settings::default())
}

fn checks_under(module: &str, settings: &Settings) -> usize {
    count(&clif_under(module, settings), "select_spectre_guard")
}

fn small_reservation() -> Settings {
    Settings {
        memory_reservation: 1 << 20,
        ..Settings::default()
    }
}

/// How many checks a function of this body makes, parameters 0 and 1 being indices of a 64-bit memory.
fn checks64(body: &str) -> usize {
    checks(&format!(
        r#"(module (import "" "" (func $f)) (memory i64 1) (func (param i64 i64) {body}))"#
    ))
}

fn load(index: &str) -> String {
    format!("(drop (i64.load {index}))")
}

#[test]
fn one_check_serves_all_offsets_of_an_index() {
    let body = "(i64.store offset=16 (local.get 0)
                  (i64.add (i64.load (local.get 0)) (i64.load offset=100000 (local.get 0))))
                (v128.store offset=33554416 (local.get 0) (v128.const i64x2 0 0))";
    assert_eq!(checks64(body), 1);
    assert_eq!(
        checks64(&format!("{body} (local.set 0 (local.get 1)) {body}")),
        2
    );
    let past_guard = "(i64.store offset=33554425 (local.get 0) (i64.const 0))";
    assert_eq!(checks64(&format!("{body} {past_guard}")), 2);
}

#[test]
fn a_check_lasts_over_calls_and_growth() {
    let access = load("(local.get 0)");
    let body = format!("{access} (call $f) (drop (memory.grow (i64.const 1))) {access}");
    assert_eq!(checks64(&body), 1);
}

#[test]
fn a_check_covers_what_is_a_constant_more() {
    let first = load("(local.get 0)");
    let covered = |index: &str| checks64(&format!("{first} {}", load(index))) == 1;
    assert!(covered("(i64.add (local.get 0) (i64.const 8))"));
    assert!(covered(
        "offset=8 (i64.add (i64.const 8) (i64.add (local.get 0) (i64.const 8)))"
    ));
    assert!(covered("(i64.add (local.get 0) (i64.const 33554424))"));
    assert!(!covered("(i64.add (local.get 0) (i64.const 33554425))"));
    assert!(!covered(
        "offset=8 (i64.add (local.get 0) (i64.const 33554424))"
    ));
    assert!(!covered("(i64.add (local.get 0) (i64.const -8))"));
    assert!(!covered("(i64.sub (local.get 0) (i64.const 8))"));
    assert!(!covered("(i64.add (local.get 0) (local.get 1))"));
}

#[test]
fn a_sum_of_32_bits_that_may_wrap_around_is_checked() {
    let body = |memory: &str, index: &str| {
        let module = format!(
            "(module {memory} (func (param i32)
               (drop (i32.load {index}))
               (drop (i32.load (i32.add {index} (i32.const 4))))))"
        );
        checks_under(&module, &small_reservation())
    };
    assert_eq!(body("(memory 1)", "(local.get 0)"), 2);
    assert_eq!(body("(memory 1 65536)", "(local.get 0)"), 2);
    assert_eq!(body("(memory 1 65535)", "(local.get 0)"), 1);
    let masked = "(i32.and (local.get 0) (i32.const 0xffffff))";
    let module = format!(
        "(module (memory 1) (func (param i32)
           (local.set 0 {masked})
           (drop (i32.load (local.get 0)))
           (drop (i32.load (i32.add (local.get 0) (i32.const 4))))))"
    );
    assert_eq!(checks_under(&module, &small_reservation()), 1);
}

#[test]
fn checks_count_only_where_every_way_leads_through_them() {
    let access = load("(local.get 0)");
    let both_arms = |before: &str, then: &str, otherwise: &str, after: &str| {
        checks64(&format!(
            "{before} (if (i64.eqz (local.get 1)) (then {then}) (else {otherwise})) {after}"
        ))
    };
    assert_eq!(both_arms(&access, &access, &access, &access), 1);
    assert_eq!(both_arms("", &access, &access, ""), 2);
    assert_eq!(both_arms("", &access, "", &access), 2);
    assert_eq!(both_arms("", "", &access, &access), 2);
    let skipped = format!("(block (br_if 0 (i64.eqz (local.get 1))) {access} {access}) {access}");
    assert_eq!(checks64(&skipped), 2);
    let not_skipped =
        format!("(block {access} (br_if 0 (i64.eqz (local.get 1))) {access}) {access}");
    assert_eq!(
        checks64(&not_skipped),
        2,
        "what was checked within a block is forgotten at its end"
    );
    let without_else = format!("(if (i64.eqz (local.get 1)) (then {access})) {access}");
    assert_eq!(checks64(&without_else), 2);
    let around_a_loop = format!(
        "(local $i i64) (local.set $i (i64.load (local.get 0)))
         (loop {access} {access}
           (br_if 0 (i64.eqz (local.tee $i (i64.sub (local.get $i) (i64.const 1))))))
         {access}"
    );
    assert!(checks64(&around_a_loop) <= 2);
}

#[test]
fn memories_have_checks_of_their_own() {
    let module = "(module (memory i64 1) (memory i64 1) (func (param i64)
        (drop (i64.load 0 (local.get 0)))
        (drop (i64.load 1 (local.get 0)))
        (drop (i64.load 0 offset=8 (local.get 0)))
        (drop (i64.load 1 offset=8 (local.get 0)))))";
    assert_eq!(checks(module), 2);
}

#[test]
fn a_small_page_is_checked_to_the_access_and_covers_what_ends_before() {
    let mut features = Features::default();
    features.set(Feature::CustomPageSizes, true);
    let checks = |first: &str, second: &str| {
        let text = format!(
            "(module (memory 100 (pagesize 1)) (func (param i32)
               (drop ({first} (local.get 0))) (drop ({second} (local.get 0)))))"
        );
        let wasm = wat::parse_str(&text).expect("it is well-formed");
        let functions = super::lower_with(&wasm, &Settings::default(), features);
        let functions = functions.expect("it is supported");
        count(&functions[0].clif.to_string(), "select_spectre_guard")
    };
    assert_eq!(checks("i64.load", "i32.load offset=4"), 1);
    assert_eq!(checks("i64.load offset=8", "i64.load"), 1);
    assert_eq!(checks("i64.load", "i64.load8_u offset=8"), 2);
}

#[test]
fn covered_accesses_take_the_guarded_index() {
    let code = clif_under(
        "(module (memory i64 1) (func (param i64) (result i64)
           (i64.add (i64.load (local.get 0))
                    (i64.load offset=8 (i64.add (local.get 0) (i64.const 8))))))",
        &Settings::default(),
    );
    let guarded = code.lines().find(|l| l.contains("select_spectre_guard"));
    let guarded = guarded.and_then(|l| l.split(" = ").next()?.split(' ').next_back());
    let guarded = guarded.expect("there is a check");
    let addresses = code
        .lines()
        .filter(|l| l.contains("iadd") && l.ends_with(&format!(", {guarded}")))
        .count();
    assert_eq!(addresses, 2, "{code}");
}
