//! Long operations on arrays: the host interrupts them, and what it does meanwhile, such as moving the arrays,
//! does not matter to them.

use crate::asynchronous::poll;
use sarsen::{
    Config, Engine, Instance, Module, Ref, Store, Trap, TypedFunc, UpdateDeadline, WasmParams,
    WasmResults,
};
use std::num::NonZeroU32;
use std::pin::pin;

const MIB: u32 = 1 << 20;

/// A deadline that is not reached.
const NEVER: u64 = 1 << 40;

/// Arrays of bytes and of references, whose elements tell their index. What lies before them in the heap is in
/// a table.
const MODULE: &str = r#"(module
  (type $bytes (array (mut i8)))
  (type $box (struct (field i32)))
  (type $boxes (array (mut (ref null $box))))
  (table $before (export "before") 32 anyref)
  (global $bytes (mut (ref null $bytes)) (ref.null $bytes))
  (global $boxes (mut (ref null $boxes)) (ref.null $boxes))
  (func $space (local $i i32)
    (loop $l
      (table.set $before (local.get $i) (array.new_default $bytes (i32.const 8192)))
      (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 32)))))

  (func $byte (param i32) (result i32)
    (i32.shr_u (i32.mul (local.get 0) (i32.const 0x9e3779b1)) (i32.const 24)))
  (func (export "make_bytes") (param $n i32) (local $i i32)
    (call $space)
    (global.set $bytes (array.new_default $bytes (local.get $n)))
    (loop $l
      (array.set $bytes (global.get $bytes) (local.get $i) (call $byte (local.get $i)))
      (br_if $l
        (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n)))))
  (func (export "copy_bytes") (param i32 i32 i32)
    (array.copy $bytes $bytes
      (global.get $bytes) (local.get 0) (global.get $bytes) (local.get 1) (local.get 2)))
  (func (export "fill_bytes") (param i32 i32 i32)
    (array.fill $bytes
      (global.get $bytes) (local.get 0) (local.get 1) (local.get 2)))

  (func $source (param $i i32) (param $to i32) (param $from i32) (param $n i32) (result i32)
    (select
      (i32.add (i32.sub (local.get $i) (local.get $to)) (local.get $from))
      (local.get $i)
      (i32.lt_u (i32.sub (local.get $i) (local.get $to)) (local.get $n))))
  ;; The first byte that is not what it must be after a copy.
  (func (export "wrong_byte") (param $to i32) (param $from i32) (param $n i32) (result i32)
    (local $i i32)
    (block $wrong
      (loop $l
        (br_if $wrong (i32.ne
          (array.get_u $bytes (global.get $bytes) (local.get $i))
          (call $byte (call $source
            (local.get $i) (local.get $to) (local.get $from) (local.get $n)))))
        (br_if $l (i32.lt_u
          (local.tee $i (i32.add (local.get $i) (i32.const 1)))
          (array.len (global.get $bytes)))))
      (return (i32.const -1)))
    (local.get $i))
  ;; The first byte from an index on that is not this one.
  (func (export "until") (param $i i32) (param $byte i32) (result i32)
    (loop $l
      (if (i32.lt_u (local.get $i) (array.len (global.get $bytes)))
        (then
          (if (i32.eq (local.get $byte)
                (array.get_u $bytes (global.get $bytes) (local.get $i)))
            (then
              (local.set $i (i32.add (local.get $i) (i32.const 1)))
              (br $l))))))
    (local.get $i))

  (func $box (param i32) (result (ref $box))
    (struct.new $box (i32.rem_u (local.get 0) (i32.const 997))))
  (func (export "make_boxes") (param $n i32) (local $i i32) (local $few (ref $boxes))
    (call $space)
    (local.set $few (array.new_default $boxes (i32.const 997)))
    (loop $l
      (array.set $boxes (local.get $few) (local.get $i) (call $box (local.get $i)))
      (br_if $l
        (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 997))))
    (global.set $boxes (array.new_default $boxes (local.get $n)))
    (local.set $i (i32.const 0))
    (loop $l
      (array.set $boxes (global.get $boxes) (local.get $i)
        (array.get $boxes (local.get $few) (i32.rem_u (local.get $i) (i32.const 997))))
      (br_if $l
        (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n)))))
  ;; Some elements become references to young objects.
  (func (export "freshen") (param $every i32) (local $i i32)
    (loop $l
      (array.set $boxes (global.get $boxes) (local.get $i) (call $box (local.get $i)))
      (br_if $l (i32.lt_u
        (local.tee $i (i32.add (local.get $i) (local.get $every)))
        (array.len (global.get $boxes))))))
  (func (export "copy_boxes") (param i32 i32 i32)
    (array.copy $boxes $boxes
      (global.get $boxes) (local.get 0) (global.get $boxes) (local.get 1) (local.get 2)))
  (func (export "fill_boxes") (param i32 i32 i32)
    (array.fill $boxes
      (global.get $boxes) (local.get 0) (call $box (local.get 1)) (local.get 2)))
  (func (export "new_boxes") (param i32 i32)
    (global.set $boxes (array.new $boxes (call $box (local.get 0)) (local.get 1))))
  (func (export "wrong_box") (param $to i32) (param $from i32) (param $n i32) (result i32)
    (local $i i32)
    (block $wrong
      (loop $l
        (br_if $wrong (i32.ne
          (struct.get $box 0 (array.get $boxes (global.get $boxes) (local.get $i)))
          (i32.rem_u
            (call $source (local.get $i) (local.get $to) (local.get $from) (local.get $n))
            (i32.const 997))))
        (br_if $l (i32.lt_u
          (local.tee $i (i32.add (local.get $i) (i32.const 1)))
          (array.len (global.get $boxes)))))
      (return (i32.const -1)))
    (local.get $i))
  (func (export "box") (param i32) (result i32)
    (struct.get $box 0 (array.get $boxes (global.get $boxes) (local.get 0)))))"#;

/// What the host does when it is asked.
#[derive(Clone, Copy, PartialEq)]
enum Answer {
    Continue,
    /// To continue, after everything has moved.
    Collect,
    /// To stop when it is asked so often.
    StopAt(u32),
}

/// A store that counts in its data how often it was asked.
struct Guest {
    store: Store<u32>,
    instance: Instance,
}

impl Guest {
    fn new(config: &mut Config, text: &str, answer: Answer) -> Guest {
        let engine = Engine::new(config.epoch_interruption(true)).unwrap();
        let module = Module::new(&engine, text).unwrap();
        let mut store = Store::new(&engine, 0);
        store.set_epoch_deadline(NEVER);
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let before = instance.get_table(&mut store, "before");
        store.epoch_deadline_callback(move |mut context| {
            *context.data_mut() += 1;
            let asked = *context.data();
            if let (Answer::Collect, Some(before)) = (answer, before) {
                before.set(&mut context, u64::from(asked % 32), Ref::Any(None))?;
                context.gc(None)?;
            }
            Ok(match answer == Answer::StopAt(asked) {
                true => UpdateDeadline::Interrupt,
                false => UpdateDeadline::Continue(0),
            })
        });
        Guest { store, instance }
    }

    fn func<P: WasmParams, R: WasmResults>(&mut self, name: &str) -> TypedFunc<P, R> {
        self.instance.get_typed_func(&mut self.store, name).unwrap()
    }

    /// Calls a function that does not ask.
    fn quietly<P: WasmParams, R: WasmResults>(&mut self, name: &str, arguments: P) -> R {
        self.store.set_epoch_deadline(NEVER);
        let func = self.func::<P, R>(name);
        func.call(&mut self.store, arguments).unwrap()
    }

    /// Calls a function that asks whenever it can; returns how often it did.
    fn asking<P: WasmParams>(&mut self, name: &str, arguments: P) -> sarsen::Result<u32> {
        self.store.set_epoch_deadline(0);
        *self.store.data_mut() = 0;
        let func = self.func::<P, ()>(name);
        func.call(&mut self.store, arguments)?;
        Ok(*self.store.data())
    }

    fn trap<P: WasmParams>(&mut self, name: &str, arguments: P) -> Trap {
        let error = self.asking(name, arguments).unwrap_err();
        *error.downcast_ref::<Trap>().unwrap()
    }
}

/// Checks the heap whenever it is collected, which it seldom is by itself.
fn checked() -> Config {
    let mut config = Config::new();
    config.gc_zeal(NonZeroU32::new(10_000));
    config
}

#[test]
fn long_copies_of_numbers_ask_the_host_and_survive_what_it_does() {
    for mut config in [Config::new(), checked()] {
        let mut guest = Guest::new(&mut config, MODULE, Answer::Collect);
        let n = 20 * MIB + 5;
        for (to, from) in [(1, 0), (0, 1), (9 * MIB, 0), (0, 9 * MIB), (3, 3)] {
            guest.quietly::<_, ()>("make_bytes", 30 * MIB);
            let arguments = (to as i32, from as i32, n as i32);
            // On entry, and before each piece.
            assert_eq!(guest.asking("copy_bytes", arguments).unwrap(), 1 + 3);
            let wrong: i32 = guest.quietly("wrong_byte", arguments);
            assert_eq!(wrong, -1, "{to} {from}");
        }
    }
}

#[test]
fn long_copies_of_references_keep_what_is_young_and_what_moves() {
    for (mut config, cases) in [
        (Config::new(), &[(1, 0), (0, 1), (100_000, 0)][..]),
        (checked(), &[(1, 0)]),
    ] {
        let mut guest = Guest::new(&mut config, MODULE, Answer::Collect);
        let n = 2 * MIB + 5;
        for &(to, from) in cases {
            guest.quietly::<_, ()>("make_boxes", n + 100_000);
            guest.quietly::<_, ()>("freshen", 1009);
            let arguments = (to, from, n as i32);
            assert_eq!(guest.asking("copy_boxes", arguments).unwrap(), 1 + 2);
            let wrong: i32 = guest.quietly("wrong_box", arguments);
            assert_eq!(wrong, -1, "{to} {from}");
        }
    }
}

#[test]
fn long_fills_ask_the_host_and_survive_what_it_does() {
    for mut config in [Config::new(), checked()] {
        let mut guest = Guest::new(&mut config, MODULE, Answer::Collect);
        guest.quietly::<_, ()>("make_bytes", 30 * MIB);
        let length = 29 * MIB as i32;
        let asked = guest.asking("fill_bytes", (1, 300, length)).unwrap();
        assert_eq!(asked, 1 + 4);
        assert_eq!(guest.quietly::<_, i32>("until", (0, 0)), 1);
        assert_eq!(
            guest.quietly::<_, i32>("until", (1, 300 & 0xff)),
            length + 1
        );

        let n = 2 * MIB as i32 + 10;
        guest.quietly::<_, ()>("make_boxes", n);
        let asked = guest.asking("fill_boxes", (2, 996, n - 4)).unwrap();
        assert_eq!(asked, 1 + 2);
        for (index, expected) in [(0, 0), (1, 1), (2, 996), (1 << 21, 996), (n - 3, 996)] {
            assert_eq!(guest.quietly::<_, i32>("box", index), expected, "{index}");
        }
        assert_eq!(guest.quietly::<_, i32>("box", n - 1), (n - 1) % 997);
        guest.store.gc(None).unwrap();
        assert_eq!(guest.quietly::<_, i32>("box", n - 3), 996);
    }
}

#[test]
fn long_arrays_are_made_by_pieces_whatever_their_elements() {
    const NEW: &str = r#"(module
      (type $box (struct (field i32)))
      (type $words (array i64))
      (type $wide (array v128))
      (type $boxes (array (ref $box)))
      (type $fn (func (result i32)))
      (type $funcs (array (ref $fn)))
      (func $seven (type $fn) (i32.const 7))
      (elem declare func $seven)
      (table $before (export "before") 32 anyref)
      (global $words (mut (ref null $words)) (ref.null $words))
      (global $wide (mut (ref null $wide)) (ref.null $wide))
      (global $boxes (mut (ref null $boxes)) (ref.null $boxes))
      (global $funcs (mut (ref null $funcs)) (ref.null $funcs))
      (func (export "default") (param $n i32)
        (global.set $words (array.new_default $words (local.get $n))))
      (func (export "words") (param $n i32)
        (global.set $words (array.new $words (i64.const 7) (local.get $n))))
      (func (export "word") (param i32) (result i32)
        (i32.wrap_i64 (array.get $words (global.get $words) (local.get 0))))
      (func (export "wide") (param $n i32)
        (global.set $wide (array.new $wide (v128.const i64x2 3 7) (local.get $n))))
      (func (export "wide_one") (param i32) (result i32)
        (i32x4.extract_lane 2 (array.get $wide (global.get $wide) (local.get 0))))
      (func (export "boxes") (param $n i32)
        (global.set $boxes
          (array.new $boxes (struct.new $box (i32.const 7)) (local.get $n))))
      (func (export "box") (param i32) (result i32)
        (struct.get $box 0 (array.get $boxes (global.get $boxes) (local.get 0))))
      (func (export "funcs") (param $n i32)
        (global.set $funcs (array.new $funcs (ref.func $seven) (local.get $n))))
      (func (export "func") (param i32) (result i32)
        (call_ref $fn (array.get $funcs (global.get $funcs) (local.get 0)))))"#;
    let all = [
        ("boxes", "box", 2 * MIB),
        ("funcs", "func", 2 * MIB),
        ("words", "word", MIB),
        ("wide", "wide_one", MIB / 2),
    ];
    for (mut config, elements) in [(Config::new(), &all[..]), (checked(), &all[..1])] {
        let mut guest = Guest::new(&mut config, NEW, Answer::Collect);
        for &(make, look, piece) in elements {
            for (length, pieces) in [(1, 0), (piece + 1, 2)] {
                // On entry, and before there is an array.
                assert_eq!(guest.asking(make, length).unwrap(), 2 + pieces, "{make}");
                for index in [0, length / 2, length - 1] {
                    let found: i32 = guest.quietly(look, index);
                    assert_eq!(found, 7, "{make} {length} {index}");
                }
            }
        }
        for (length, name) in [(3 * MIB, "default"), (MIB, "words")] {
            assert_eq!(guest.asking(name, length).unwrap(), 2, "not by pieces");
        }
        assert_eq!(guest.quietly::<_, i32>("word", MIB - 1), 7);
    }
}

#[test]
fn what_was_done_before_an_interruption_stays() {
    let mut guest = Guest::new(&mut Config::new(), MODULE, Answer::StopAt(4));
    guest.quietly::<_, ()>("make_bytes", 30 * MIB);
    let interrupted = guest.trap("fill_bytes", (0, 7, 30 * MIB as i32));
    assert_eq!(interrupted, Trap::Interrupt);
    let done: i32 = guest.quietly("until", (0, 7));
    // What follows was 7 by chance.
    assert!((16 * MIB..16 * MIB + 9).contains(&(done as u32)), "{done}");

    guest.quietly::<_, ()>("make_bytes", 30 * MIB);
    let interrupted = guest.trap("copy_bytes", (1, 0, 30 * MIB as i32 - 1));
    assert_eq!(interrupted, Trap::Interrupt);
    // From the end.
    let first = 14 * MIB as i32;
    let wrong: i32 = guest.quietly("wrong_byte", (first, first - 1, 16 * MIB as i32));
    assert_eq!(wrong, -1);
}

#[test]
fn nothing_is_written_if_a_late_piece_would_be_out_of_bounds() {
    let mut guest = Guest::new(&mut Config::new(), MODULE, Answer::Continue);
    for name in ["fill_bytes", "copy_bytes"] {
        for length in [0, 20 * MIB as i32] {
            let trap = guest.trap(name, (0, 0, length));
            assert_eq!(trap, Trap::NullReference);
        }
    }
    guest.quietly::<_, ()>("make_bytes", 30 * MIB);
    for length in [30 * MIB as i32, -1, i32::MIN] {
        for (name, to, from) in [
            ("fill_bytes", 1, 7),
            ("copy_bytes", 1, 0),
            ("copy_bytes", 0, 1),
            ("fill_bytes", -1, 7),
            ("copy_bytes", -1, 0),
            ("copy_bytes", 0, -1),
        ] {
            let trap = guest.trap(name, (to, from, length));
            assert_eq!(trap, Trap::ArrayOutOfBounds);
        }
    }
    assert_eq!(guest.quietly::<_, i32>("wrong_byte", (0, 0, 0)), -1);
    assert_eq!(guest.trap("new_boxes", (1, -1)), Trap::AllocationTooLarge);
}

#[test]
fn a_call_yields_between_pieces_and_goes_on() {
    let mut guest = Guest::new(&mut checked(), MODULE, Answer::Continue);
    let length = 2 * MIB as i32 + 5;
    guest.quietly::<_, ()>("make_boxes", length + 1);
    guest.quietly::<_, ()>("freshen", 1009);
    let before = guest.instance.get_table(&mut guest.store, "before");
    let before = before.unwrap();
    guest.store.epoch_deadline_callback(move |mut context| {
        *context.data_mut() += 1;
        let asked = u64::from(*context.data());
        before.set(&mut context, asked, Ref::Any(None))?;
        context.gc(None)?;
        Ok(UpdateDeadline::Yield(0))
    });
    let copy = guest.func::<(i32, i32, i32), ()>("copy_boxes");
    guest.store.set_epoch_deadline(0);
    let arguments = (1, 0, length);
    let mut yields = 0;
    {
        let mut call = pin!(copy.call_async(&mut guest.store, arguments));
        while poll(call.as_mut()).is_pending() {
            yields += 1;
        }
    }
    assert_eq!((yields, *guest.store.data()), (1 + 2, 1 + 2));
    assert_eq!(guest.quietly::<_, i32>("wrong_box", arguments), -1);
}

#[test]
fn arrays_from_large_segments_are_made_and_initialized_by_pieces() {
    let letters = |i: usize| char::from(b'a' + ((i * 7 + i / 1000) % 26) as u8);
    let text: String = (0..20 << 20).map(letters).collect();
    let text = format!(
        r#"(module
          (type $halves (array (mut i16)))
          (memory 321)
          (data $d "{text}b")
          (table $before (export "before") 32 anyref)
          (global $a (mut (ref null $halves)) (ref.null $halves))
          (func (export "make") (param $n i32)
            (global.set $a (array.new_default $halves (local.get $n)))
            (memory.init $d (i32.const 0) (i32.const 0) (i32.const 0x1400001)))
          (func (export "new") (param $from i32) (param $n i32)
            (global.set $a (array.new_data $halves $d (local.get $from) (local.get $n))))
          (func (export "init") (param $to i32) (param $from i32) (param $n i32)
            (array.init_data $halves $d
              (global.get $a) (local.get $to) (local.get $from) (local.get $n)))
          (func (export "drop") (data.drop $d))
          (func (export "wrong") (param $to i32) (param $from i32) (param $n i32) (result i32)
            (local $i i32)
            (block $wrong
              (loop $l
                (br_if $wrong (i32.ne
                  (array.get_u $halves (global.get $a) (local.get $i))
                  (if (result i32)
                      (i32.lt_u (i32.sub (local.get $i) (local.get $to)) (local.get $n))
                    (then (i32.load16_u (i32.add (local.get $from)
                      (i32.shl (i32.sub (local.get $i) (local.get $to)) (i32.const 1)))))
                    (else (i32.const 0)))))
                (br_if $l (i32.lt_u
                  (local.tee $i (i32.add (local.get $i) (i32.const 1)))
                  (array.len (global.get $a)))))
              (return (i32.const -1)))
            (local.get $i)))"#
    );
    let mut guest = Guest::new(&mut Config::new(), &text, Answer::Collect);
    // A piece is 4 Mi elements.
    let (all, mib) = (10 * MIB as i32, MIB as i32);
    guest.quietly::<_, ()>("make", 12 * mib);
    for (to, from, length) in [(0, 2, all), (0, 0, all + 1), (0, -1, 5 * mib)] {
        let trap = guest.trap("init", (to, from, length));
        assert_eq!(trap, Trap::MemoryOutOfBounds);
    }
    for (to, length) in [(2 * mib + 1, all), (0, -1), (-1, 5 * mib)] {
        assert_eq!(guest.trap("init", (to, 0, length)), Trap::ArrayOutOfBounds);
    }
    assert_eq!(guest.quietly::<_, i32>("wrong", (0, 0, 0)), -1);
    for (from, length, pieces) in [(0, all, 3), (1, all, 3), (7, 5 * mib, 2), (8, 4 * mib, 1)] {
        guest.quietly::<_, ()>("make", 12 * mib);
        let asked = guest.asking("init", (3, from, length)).unwrap();
        assert_eq!(asked, 1 + pieces);
        assert_eq!(guest.quietly::<_, i32>("wrong", (3, from, length)), -1);
        // On entry, and before there is an array.
        assert_eq!(guest.asking("new", (from, length)).unwrap(), 2 + pieces);
        assert_eq!(guest.quietly::<_, i32>("wrong", (0, from, length)), -1);
    }
    assert_eq!(guest.trap("new", (2, all)), Trap::MemoryOutOfBounds);
    guest.quietly::<_, ()>("drop", ());
    for length in [1, 4 * mib] {
        assert_eq!(guest.trap("new", (0, length)), Trap::MemoryOutOfBounds);
        assert_eq!(guest.trap("init", (0, 0, length)), Trap::MemoryOutOfBounds);
    }
    assert_eq!(guest.asking("init", (0, 0, 0)).unwrap(), 2);
}

#[test]
fn arrays_from_many_elements_are_made_and_initialized_by_pieces() {
    let funcs: String = (0..150_000)
        .map(|i| if i % 3 == 0 { "$f " } else { "$g " })
        .collect();
    let boxes: String = (0..70_000)
        .map(|i| format!("(struct.new $box (i32.const {i}))"))
        .collect();
    let text = format!(
        r#"(module
          (type $box (struct (field i32)))
          (type $boxes (array (mut (ref null $box))))
          (type $fn (func (result i32)))
          (type $funcs (array (mut funcref)))
          (func $f (type $fn) (i32.const 1))
          (func $g (type $fn) (i32.const 2))
          (elem $funcs func {funcs})
          (elem $boxes (ref $box) {boxes})
          (table $before (export "before") 32 anyref)
          (global $funcs (mut (ref null $funcs)) (ref.null $funcs))
          (global $boxes (mut (ref null $boxes)) (ref.null $boxes))
          (func (export "make") (param i32)
            (global.set $funcs (array.new_default $funcs (local.get 0)))
            (global.set $boxes (array.new_default $boxes (local.get 0))))
          (func (export "new_funcs") (param i32 i32)
            (global.set $funcs (array.new_elem $funcs $funcs (local.get 0) (local.get 1))))
          (func (export "new_boxes") (param i32 i32)
            (global.set $boxes (array.new_elem $boxes $boxes (local.get 0) (local.get 1))))
          (func (export "init_funcs") (param i32 i32 i32)
            (array.init_elem $funcs $funcs
              (global.get $funcs) (local.get 0) (local.get 1) (local.get 2)))
          (func (export "init_boxes") (param i32 i32 i32)
            (array.init_elem $boxes $boxes
              (global.get $boxes) (local.get 0) (local.get 1) (local.get 2)))
          (func (export "func") (param i32) (result i32)
            (call_ref $fn
              (ref.cast (ref $fn) (array.get $funcs (global.get $funcs) (local.get 0)))))
          (func (export "box") (param i32) (result i32)
            (struct.get $box 0 (array.get $boxes (global.get $boxes) (local.get 0)))))"#
    );
    let func = |i: i32| if i % 3 == 0 { 1 } else { 2 };
    let mut guest = Guest::new(&mut Config::new(), &text, Answer::Collect);
    let all = 150_000;
    for (to, from, length) in [(0, 1, all), (0, 0, all + 1), (0, -1, 100_000)] {
        guest.quietly::<_, ()>("make", all);
        let expected = if length > all {
            Trap::ArrayOutOfBounds
        } else {
            Trap::TableOutOfBounds
        };
        assert_eq!(guest.trap("init_funcs", (to, from, length)), expected);
        let func = guest.func::<i32, i32>("func");
        let error = func.call(&mut guest.store, 0).unwrap_err();
        assert_eq!(
            error.downcast_ref(),
            Some(&Trap::CastFailure),
            "not written"
        );
    }
    // A piece is 65,536 elements.
    guest.quietly::<_, ()>("make", all + 5);
    let asked = guest.asking("init_funcs", (5, 1, all - 1)).unwrap();
    assert_eq!(asked, 1 + 3);
    for i in (0..all - 1).step_by(1001) {
        assert_eq!(guest.quietly::<_, i32>("func", i + 5), func(i + 1), "{i}");
    }
    assert_eq!(guest.asking("new_funcs", (1, all - 1)).unwrap(), 2 + 3);
    for i in (0..all - 1).step_by(1001) {
        assert_eq!(guest.quietly::<_, i32>("func", i), func(i + 1), "{i}");
    }
    let asked = guest.asking("init_boxes", (5, 1, 69_999)).unwrap();
    assert_eq!(asked, 1 + 2);
    for i in (0..69_999).step_by(1001) {
        assert_eq!(guest.quietly::<_, i32>("box", i + 5), i + 1, "{i}");
    }
    assert_eq!(guest.asking("new_boxes", (1, 69_999)).unwrap(), 2 + 2);
    for i in (0..69_999).step_by(1001) {
        assert_eq!(guest.quietly::<_, i32>("box", i), i + 1, "{i}");
    }
}

#[test]
fn fuel_is_counted_by_the_piece() {
    let engine = Engine::new(Config::new().consume_fuel(true)).unwrap();
    let (mut store, instance) = crate::instance_in(&engine, MODULE);
    let make = |store: &mut Store<()>, length: i32| {
        store.set_fuel(1 << 40).unwrap();
        let make = instance.get_typed_func::<i32, ()>(&mut *store, "make_bytes");
        make.unwrap().call(&mut *store, length).unwrap();
    };
    let full = |store: &mut Store<()>, byte: i32| {
        store.set_fuel(1 << 40).unwrap();
        let until = instance.get_typed_func::<(i32, i32), i32>(&mut *store, "until");
        until.unwrap().call(store, (0, byte)).unwrap()
    };
    make(&mut store, 30 * MIB as i32);
    let fill = instance
        .get_typed_func::<(i32, i32, i32), ()>(&mut store, "fill_bytes")
        .unwrap();
    let used = |store: &mut Store<()>, length: u32| {
        store.set_fuel(1 << 30).unwrap();
        fill.call(&mut *store, (0, 0, length as i32)).unwrap();
        (1 << 30) - store.get_fuel().unwrap() as u32
    };
    // One unit for 64 elements, whatever the pieces.
    let empty = used(&mut store, 0);
    for length in [64, MIB, 8 * MIB, 8 * MIB + 64, 30 * MIB] {
        assert_eq!(used(&mut store, length), empty + length / 64, "{length}");
    }
    store.set_fuel(u64::from(20 * MIB / 64)).unwrap();
    let error = fill.call(&mut store, (0, 1, 30 * MIB as i32)).unwrap_err();
    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::OutOfFuel));
    assert_eq!(full(&mut store, 1), 16 * MIB as i32);
    // All of what a new array costs is paid before there is one.
    let new = instance
        .get_typed_func::<(i32, i32), ()>(&mut store, "new_boxes")
        .unwrap();
    let mut used = |length: u32| {
        store.set_fuel(1 << 30).unwrap();
        new.call(&mut store, (0, length as i32)).unwrap();
        (1 << 30) - store.get_fuel().unwrap() as u32
    };
    let empty = used(0);
    for length in [64, MIB, 5 * MIB] {
        assert_eq!(used(length), empty + length / 64, "{length}");
    }
}
