//! A soak of continuations: very many are made, and each is finished, or forgotten half-way, alone or inside
//! of others, or known only to itself; some throw, some trap, some are thrown at. Whatever becomes of them,
//! their stacks come back: how many a store has is what the guest says that it holds, each time that
//! everything was collected.
//!
//! By default a moderate number. The whole soak, which also prints the memory that the process has:
//!
//! ```text
//! SARSEN_SOAK=10000000 cargo test --release -p sarsen-tests --test continuation_soak -- --nocapture
//! ```

use sarsen::{Caller, Config, Engine, Func, Instance, Module, Store, Trap, TypedFunc};
use std::time::Instant;

/// How many continuations are made unless the environment says otherwise.
const MODERATE: i64 = 200_000;
/// After so many, everything is collected and counted.
const ROUND: i64 = 20_000;
/// More stacks than this are never needed: what the guest holds, and what has been forgotten since a
/// collection.
const MOST_STACKS: usize = 40_000;
/// By how much the memory of the process may grow after the first tenth, in KiB.
const GROWTH: usize = 16 << 10;

/// The guest. A suspended continuation waits in one of 1024 places, each with how many stacks would be
/// recycled if it were forgotten, and what is to be done with it. `step` takes one at random, finishes or
/// forgets it, and puts a new one there, of a kind by turns.
const GUEST: &str = r#"(module
    (import "" "collect" (func $collect))
    (rec
        (type $f (func (param i32)))                     ;; what a continuation begins as
        (type $k (cont $f))
        (type $g (func))                                 ;; what is left of one
        (type $rest (cont $g))
        (type $box (struct (field (mut (ref null $rest))))))
    (rec
        (type $sf (func (param (ref null $sk))))         ;; of those that switch
        (type $sk (cont $sf)))
    (tag $yield)
    (tag $boom (param i32))
    (tag $swap)
    (table $waiting 1024 (ref null $rest))
    (memory 1)                                           ;; for each place, its stacks and its kind
    (table $bodies funcref
        (elem $once $thrice $chain $holder $selfish $pair $thrower $trapper $victim $once $swaps))
    (elem declare func $chain_end $first $second)
    (global $seed (mut i32) (i32.const 12345))
    (global $made (export "made") (mut i64) (i64.const 0))
    (global $held (export "held") (mut i32) (i32.const 0))
    (global $shared (mut (ref null $box)) (ref.null $box))

    (func $random (result i32)
        (global.set $seed (i32.add (i32.mul (global.get $seed) (i32.const 1664525)) (i32.const 1013904223)))
        (i32.shr_u (global.get $seed) (i32.const 8)))

    ;; What continuations do. The parameter says how deep a chain of them shall be.
    (func $pause
        (if (i32.eqz (i32.and (call $random) (i32.const 4095))) (then (call $collect)))
        (suspend $yield))
    (func $once (type $f) (call $pause))
    (func $thrice (type $f) (call $pause) (call $pause) (call $pause))
    (func $chain_end (type $f) (call $pause))
    ;; One inside of the other, all suspended as one.
    (func $chain (type $f)
        (global.set $made (i64.add (global.get $made) (i64.const 1)))
        (if (i32.gt_s (local.get 0) (i32.const 0))
            (then (resume $k (i32.sub (local.get 0) (i32.const 1)) (cont.new $k (ref.func $chain))))
            (else (call $pause))))
    ;; Holds another, which is suspended, in its own frame.
    (func $holder (type $f) (local $other (ref null $rest))
        (local.set $other (call $begin (cont.new $k (ref.func $once)) (i32.const 0)))
        (call $pause)
        (resume $rest (local.get $other)))
    ;; Holds a box into which it is put itself.
    (func $selfish (type $f) (local $box (ref $box))
        (local.set $box (struct.new $box (ref.null $rest)))
        (global.set $shared (local.get $box))
        (call $pause)
        (if (ref.is_null (struct.get $box 0 (local.get $box))) (then (unreachable))))
    ;; Holds another that holds it: each by a box in its frame.
    (func $pair (type $f) (local $mine (ref $box)) (local $other (ref $box))
        (local.set $mine (struct.new $box (ref.null $rest)))
        (local.set $other
            (struct.new $box (call $begin (cont.new $k (ref.func $selfish)) (i32.const 0))))
        (struct.set $box 0 (global.get $shared) (struct.get $box 0 (local.get $other)))
        (global.set $shared (local.get $mine))
        (call $pause)
        (if (ref.is_null (struct.get $box 0 (local.get $mine))) (then (unreachable)))
        (if (ref.is_null (struct.get $box 0 (local.get $other))) (then (unreachable))))
    (func $thrower (type $f)
        (resume $k (i32.const 1) (cont.new $k (ref.func $chain)))
        (throw $boom (i32.const 7)))
    (func $trapper (type $f)
        (resume $k (i32.const 1) (cont.new $k (ref.func $chain)))
        (unreachable))
    (func $victim (type $f) (call $pause) (unreachable))
    ;; The first switches to the second, which waits with the first in its frame.
    (func $swaps (type $f)
        (resume $sk (on $swap switch) (ref.null $sk) (cont.new $sk (ref.func $first))))
    (func $first (type $sf)
        (drop (switch $sk $swap (cont.new $sk (ref.func $second)))))
    (func $second (type $sf)
        (call $pause)
        (drop (switch $sk $swap (local.get 0))))

    ;; Resumes one that is new until it is suspended; null when it has ended.
    (func $begin (param $k (ref null $k)) (param $depth i32) (result (ref null $rest))
        (global.set $made (i64.add (global.get $made) (i64.const 1)))
        (block $yielded (result (ref $rest))
            (resume $k (on $yield $yielded) (local.get $depth) (local.get $k))
            (return (ref.null $rest))))

    ;; Resumes what has waited; it may be suspended once more, and is then returned.
    (func $finish (param $rest (ref null $rest)) (param $kind i32) (result (ref null $rest))
        (block $caught (result i32)
            (try_table (catch $boom $caught)
                (if (i32.eq (local.get $kind) (i32.const 8))
                    (then (resume_throw $rest $boom (i32.const 8) (local.get $rest)))
                    (else
                        (block $yielded (result (ref $rest))
                            (resume $rest (on $yield $yielded) (local.get $rest))
                            (return (ref.null $rest)))
                        (return))))
            (return (ref.null $rest)))
        (if (i32.lt_s (i32.const 6)) (then (unreachable)))
        (ref.null $rest))

    ;; Puts one into a place; it has so many stacks.
    (func $put (param $at i32) (param $rest (ref null $rest)) (param $stacks i32) (param $kind i32)
        (table.set $waiting (local.get $at) (local.get $rest))
        (global.set $held (i32.add (global.get $held) (local.get $stacks)))
        (i32.store (i32.shl (local.get $at) (i32.const 3)) (local.get $stacks))
        (i32.store offset=4 (i32.shl (local.get $at) (i32.const 3)) (local.get $kind)))
    (func $take (param $at i32) (result (ref null $rest))
        (table.get $waiting (local.get $at))
        (table.set $waiting (local.get $at) (ref.null $rest))
        (global.set $held
            (i32.sub (global.get $held) (i32.load (i32.shl (local.get $at) (i32.const 3)))))
        (i32.store (i32.shl (local.get $at) (i32.const 3)) (i32.const 0)))

    (func $make (param $at i32) (param $kind i32) (param $depth i32)
        (local $stacks i32) (local $rest (ref null $rest))
        (if (i32.eq (local.get $kind) (i32.const 9))
            ;; It has an argument, but has not begun.
            (then
                (global.set $made (i64.add (global.get $made) (i64.const 1)))
                (call $put (local.get $at)
                    (cont.bind $k $rest (i32.const 0) (cont.new $k (ref.func $once)))
                    (i32.const 0) (local.get $kind))
                (return)))
        (local.set $rest
            (call $begin
                (cont.new $k (ref.cast (ref $f) (table.get $bodies (local.get $kind))))
                (local.get $depth)))
        (local.set $stacks (i32.const 1))
        (if (i32.eq (local.get $kind) (i32.const 2))
            (then (local.set $stacks (i32.add (local.get $depth) (i32.const 1)))))
        (if (i32.eq (local.get $kind) (i32.const 3)) (then (local.set $stacks (i32.const 2))))
        (if (i32.eq (local.get $kind) (i32.const 5)) (then (local.set $stacks (i32.const 2))))
        (if (i32.eq (local.get $kind) (i32.const 6)) (then (local.set $stacks (i32.const 3))))
        (if (i32.eq (local.get $kind) (i32.const 7)) (then (local.set $stacks (i32.const 3))))
        (if (i32.eq (local.get $kind) (i32.const 10)) (then (local.set $stacks (i32.const 3))))
        (if (ref.is_null (global.get $shared)) (then)
            (else
                (struct.set $box 0 (global.get $shared) (local.get $rest))
                (global.set $shared (ref.null $box))))
        (call $put (local.get $at) (local.get $rest) (local.get $stacks) (local.get $kind)))

    (func (export "step") (param $until i64)
        (local $at i32) (local $random i32) (local $old (ref null $rest))
        (loop $next
            (local.set $random (call $random))
            (local.set $at (i32.and (local.get $random) (i32.const 1023)))
            (local.set $old (call $take (local.get $at)))
            (if (i32.and (i32.shr_u (local.get $random) (i32.const 10)) (i32.const 1))
                (then
                    (if (ref.is_null (local.get $old)) (then)
                        (else
                            (local.set $old
                                (call $finish (local.get $old)
                                    (i32.load offset=4 (i32.shl (local.get $at) (i32.const 3)))))
                            ;; One that goes on waiting.
                            (if (ref.is_null (local.get $old)) (then)
                                (else
                                    (call $put (local.get $at) (local.get $old) (i32.const 1)
                                        (i32.load offset=4 (i32.shl (local.get $at) (i32.const 3))))
                                    (br $next)))))))
            (local.set $old (ref.null $rest))
            (call $make (local.get $at)
                (i32.rem_u (i32.shr_u (local.get $random) (i32.const 11)) (i32.const 11))
                (i32.and (i32.shr_u (local.get $random) (i32.const 20)) (i32.const 3)))
            (br_if $next (i64.lt_s (global.get $made) (local.get $until)))))
    (func (export "forget") (local $at i32)
        (loop $next
            (drop (call $take (local.get $at)))
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get $at) (i32.const 1024))))))"#;

/// A store with the guest.
struct Soak {
    store: Store<()>,
    instance: Instance,
    step: TypedFunc<i64, ()>,
    traps: u64,
}

impl Soak {
    fn new(engine: &Engine) -> Soak {
        let module = Module::new(engine, GUEST).unwrap();
        let mut store = Store::new(engine, ());
        let collect = Func::wrap(&mut store, |mut caller: Caller<'_, ()>| caller.gc(None));
        let instance = Instance::new(&mut store, &module, &[collect.into()]).unwrap();
        let step = instance.get_typed_func(&mut store, "step").unwrap();
        Soak {
            store,
            instance,
            step,
            traps: 0,
        }
    }

    fn made(&mut self) -> i64 {
        let made = self.instance.get_global(&mut self.store, "made").unwrap();
        made.get(&mut self.store).unwrap_i64()
    }

    fn held(&mut self) -> usize {
        let held = self.instance.get_global(&mut self.store, "held").unwrap();
        held.get(&mut self.store).unwrap_i32() as usize
    }

    /// Makes continuations until there were so many; what traps is one of those that shall.
    fn run_until(&mut self, count: i64) {
        while self.made() < count {
            if let Err(error) = self.step.call(&mut self.store, count) {
                let trap = error.downcast_ref();
                assert_eq!(trap, Some(&Trap::UnreachableCodeReached), "{error:?}");
                self.traps += 1;
            }
        }
    }

    /// Collects everything, and counts stacks.
    fn check(&mut self) {
        self.store.gc(None).unwrap();
        assert_eq!(self.store.continuation_stacks(), self.held());
    }
}

/// How much memory the process has, in KiB.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.unwrap().split_whitespace().nth(1);
    number.unwrap().parse().unwrap()
}

#[test]
fn whatever_becomes_of_continuations_their_stacks_come_back() {
    let whole = std::env::var("SARSEN_SOAK").ok();
    let count = whole.as_ref().map_or(MODERATE, |n| n.parse().unwrap());
    let mut config = Config::new();
    config.wasm_stack_switching(true);
    let engine = Engine::new(&config).unwrap();
    let mut soak = Soak::new(&engine);
    let start = Instant::now();
    let mut early = usize::MAX;
    for round in 1.. {
        soak.run_until((round * ROUND).min(count));
        soak.check();
        let counts = engine.continuation_stacks();
        assert!(counts.in_use + counts.idle < MOST_STACKS, "{counts:?}");
        let made = soak.made();
        if whole.is_some() && round % (count / ROUND / 20).max(1) == 0 {
            let (held, traps, memory) = (soak.held(), soak.traps, resident());
            println!(
                "{made:>9} made, {traps} traps, {held} held; {counts:?}; {memory} KiB; {:.1?}",
                start.elapsed()
            );
            if made < count / 8 {
                early = memory;
            }
            assert!(memory < early.saturating_add(GROWTH), "{early} KiB before");
        }
        if made >= count {
            break;
        }
    }
    assert!(soak.traps > count as u64 / 200, "{} traps", soak.traps);
    let forget = soak.instance.get_func(&mut soak.store, "forget").unwrap();
    forget.call(&mut soak.store, &[], &mut []).unwrap();
    soak.check();
    assert_eq!(soak.store.continuation_stacks(), 0);
    drop(soak);
    assert_eq!(engine.continuation_stacks().in_use, 0);
}
