//! Random programs that call by reference and through tables do the same whether the compiler compares with
//! likely callees and inlines them, or not: results, traps, and backtraces.
//!
//! Calls are of functions in objects, in tables and in locals, plain and tail calls, with handlers around them;
//! callees allocate, throw, trap, return early and call on, until a counter says that it is enough.

use sarsen::{Config, Engine, Instance, Module, Store, Trap, WasmBacktrace};
use sarsen_tests::Random;
use std::fmt::Write;
use std::num::NonZeroU32;

/// How often functions are called in one run.
const CALLS: u32 = 200;

/// A program under construction.
struct Program {
    random: Random,
    /// The names of the functions with one number as parameter, and of those with two.
    unary: Vec<String>,
    binary: Vec<String>,
}

impl Program {
    fn new(seed: u64) -> Program {
        let mut random = Random::new(seed);
        let mut names = |prefix: &str| -> Vec<String> {
            let count = 1 + random.below(6);
            (0..count).map(|n| format!("${prefix}{n}")).collect()
        };
        let (unary, binary) = (names("u"), names("b"));
        Program {
            random,
            unary,
            binary,
        }
    }

    fn some_unary(&mut self) -> String {
        let n = self.random.below(self.unary.len());
        self.unary[n].clone()
    }

    fn some_binary(&mut self) -> String {
        let n = self.random.below(self.binary.len());
        self.binary[n].clone()
    }

    /// A reference to an object, which may be null.
    fn object(&mut self) -> String {
        match self.random.below(10) {
            0..=5 => "(local.get 0)".into(),
            6..=7 => "(struct.get $object $next (local.get 0))".into(),
            8 => format!("(global.get $o{})", self.random.below(3)),
            _ => self.new_object("(local.get 0)"),
        }
    }

    fn new_object(&mut self, next: &str) -> String {
        let (unary, binary) = (self.some_unary(), self.some_binary());
        let binary = match self.random.once_in(2) {
            true => format!("(ref.func {binary})"),
            false => "(ref.null $binary)".into(),
        };
        let number = self.random.below(9);
        format!("(struct.new $object (ref.func {unary}) {binary} (i32.const {number}) {next})")
    }

    /// An expression for a number, of so many levels.
    fn number(&mut self, levels: usize) -> String {
        if levels == 0 || self.random.once_in(5) {
            let constant = self.random.below(100);
            return match self.random.below(3) {
                0 => "(local.get 1)".into(),
                1 => format!("(i32.const {constant})"),
                _ => "(struct.get $object $x (local.get 0))".into(),
            };
        }
        let levels = levels - 1;
        match self.random.below(20) {
            0..=3 => {
                let operator = self.random.choose(&["add", "sub", "xor", "mul"]);
                let [x, y] = [(); 2].map(|()| self.number(levels));
                format!("(i32.{operator} {x} {y})")
            }
            4..=5 => {
                let x = self.number(levels);
                format!(
                    "(block (result i32) (struct.set $object $x (local.get 0) {x})
                       (struct.get $object $x (local.get 0)))"
                )
            }
            6 => {
                let [x, y, z] = [(); 3].map(|()| self.number(levels));
                format!("(if (result i32) {x} (then {y}) (else {z}))")
            }
            7 => {
                let end = [
                    "(unreachable)",
                    "(throw $e (local.get 1))",
                    "(return (local.get 1))",
                ];
                let end = self.random.choose(&end);
                let [x, y] = [(); 2].map(|()| self.number(levels));
                format!("(block (result i32) (if (i32.eqz {x}) (then {end})) {y})")
            }
            8..=9 => {
                let x = self.number(levels);
                format!("(block $h (result i32) (try_table (result i32) (catch $e $h) {x}))")
            }
            _ => self.call(levels, ""),
        }
    }

    /// A call, of the kind that `prefix` begins.
    fn call(&mut self, levels: usize, prefix: &str) -> String {
        let object = self.object();
        let holder = self.object();
        let [x, y] = [(); 2].map(|()| self.number(levels));
        match self.random.below(10) {
            0..=3 => format!(
                "({prefix}call_ref $unary {object} {x} (struct.get $object $unary {holder}))"
            ),
            4..=5 => format!(
                "({prefix}call_ref $binary {object} {x} {y} (struct.get $object $binary {holder}))"
            ),
            6 => format!(
                "({prefix}call_ref $unary {object} {x} (table.get $few (i32.and {y} (i32.const 3))))"
            ),
            7..=8 => format!(
                "({prefix}call_indirect $all (type $unary) {object} {x} (i32.and {y} (i32.const 7)))"
            ),
            _ => format!("({prefix}call {} {object} {x})", self.some_unary()),
        }
    }

    /// The instructions of a function.
    fn body(&mut self) -> String {
        if self.random.once_in(3) {
            let bodies = [
                "(local.get 1)",
                "(i32.add (local.get 1) (struct.get $object $x (local.get 0)))",
                "(if (i32.and (local.get 1) (i32.const 8)) (then unreachable)) (local.get 1)",
                "(if (i32.and (local.get 1) (i32.const 16)) (then (throw $e (local.get 1))))
                 (local.get 1)",
            ];
            return self.random.choose(&bodies).into();
        }
        let levels = self.random.below(4);
        let rest = match self.random.below(4) {
            0 => self.call(levels, "return_"),
            _ => self.number(levels),
        };
        format!(
            "(if (i32.eqz (global.get $left)) (then (return (local.get 1))))
             (global.set $left (i32.sub (global.get $left) (i32.const 1)))
             {rest}"
        )
    }

    fn text(mut self) -> String {
        let mut text = format!(
            "(module
               (rec
                 (type $unary (func (param (ref null $object) i32) (result i32)))
                 (type $binary (func (param (ref null $object) i32 i32) (result i32)))
                 (type $object (struct (field $unary (ref $unary))
                   (field $binary (mut (ref null $binary))) (field $x (mut i32))
                   (field $next (mut (ref null $object))))))
               (tag $e (param i32))
               (global $left (mut i32) (i32.const {CALLS}))
               (func (export \"run\") (param i32) (result i32)
                 (block $h (result i32) (try_table (result i32) (catch $e $h)
                   (call_ref $unary (global.get $o2) (local.get 0)
                     (struct.get $object $unary (global.get $o2))))))"
        );
        let (unary, binary) = (self.unary.clone(), self.binary.clone());
        for (names, ty) in [(&unary, "$unary"), (&binary, "$binary")] {
            for name in names {
                let body = self.body();
                write!(text, "(func {name} (type {ty}) {body})").unwrap();
            }
        }
        let mut next = "(ref.null $object)".to_owned();
        for n in 0..3 {
            let object = self.new_object(&next);
            write!(text, "(global $o{n} (ref null $object) {object})").unwrap();
            next = format!("(global.get $o{n})");
        }
        let all: Vec<String> = unary.into_iter().chain(binary).take(7).collect();
        let few = [(); 3].map(|()| self.some_unary());
        write!(
            text,
            "(table $all 8 funcref) (elem (table $all) (i32.const 0) func {})
             (table $few 4 (ref null $unary))
             (elem (table $few) (i32.const 0) (ref null $unary) {})
             (elem declare func {} {}))",
            all.join(" "),
            few.map(|name| format!("(ref.func {name})")).join(" "),
            self.unary.join(" "),
            self.binary.join(" "),
        )
        .unwrap();
        text
    }
}

/// What a run ended with: a number, or a trap and where it was, by function and offset.
type Outcome = Result<i32, (Option<Trap>, Vec<(u32, Option<usize>)>)>;

fn run(config: &Config, wasm: &[u8], argument: i32) -> Outcome {
    let engine = Engine::new(config).unwrap();
    let module = Module::new(&engine, wasm).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let run = instance.get_typed_func::<i32, i32>(&mut store, "run");
    run.unwrap().call(&mut store, argument).map_err(|error| {
        let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
        let frames = backtrace.frames().iter();
        (
            error.downcast_ref::<Trap>().copied(),
            frames
                .map(|f| (f.func_index(), f.module_offset()))
                .collect(),
        )
    })
}

#[test]
fn random_calls_by_reference_do_the_same_whether_compared_with_likely_callees_or_not() {
    let mut plain = Config::new();
    plain.compiler_inlining(false);
    let mut zealous = Config::new();
    zealous.gc_zeal(Some(NonZeroU32::MIN));
    let mut traps = 0;
    for seed in 0..60 {
        let text = Program::new(seed).text();
        let wasm = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        for argument in [3, 24] {
            let expected = run(&plain, &wasm, argument);
            for config in [&Config::new(), &zealous] {
                let outcome = run(config, &wasm, argument);
                assert_eq!(
                    outcome, expected,
                    "seed {seed}, argument {argument}:\n{text}"
                );
            }
            traps += usize::from(expected.is_err());
        }
    }
    assert!((10..110).contains(&traps), "{traps} of 120 runs trapped");
}
