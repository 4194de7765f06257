;; Casts and indirect calls, in loops of $n rounds: what `benches/casts.rs` and `benches/scaling.rs` run.
;;
;; Each loop takes the objects of an array by turns, and adds up what it learns of them; `look` only
;; compares the reference, so that the others' difference to it is what they cost.
(module
  (rec
    (type $base (sub (struct)))
    (type $left (sub $base (struct)))
    (type $right (sub $base (struct)))
    (type $leaf (sub final $left (struct)))
    (type $end (sub final $right (struct))))
  (type $objects (array (mut (ref null $base))))
  (type $step (func (param i32) (result i32)))

  (global $objects (ref $objects) (array.new_default $objects (i32.const 1024)))

  ;; Makes all objects of one kind: 0 $left, 1 $right, 2 $leaf, 3 $end.
  (func (export "fill") (param $kind i32)
    (local $at i32)
    (loop $again
      (array.set $objects (global.get $objects) (local.get $at) (call $make (local.get $kind)))
      (br_if $again
        (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 1))) (i32.const 1024)))))
  (func $make (param $kind i32) (result (ref $base))
    (if (i32.eqz (local.get $kind)) (then (return (struct.new $left))))
    (if (i32.eq (local.get $kind) (i32.const 1)) (then (return (struct.new $right))))
    (if (i32.eq (local.get $kind) (i32.const 2)) (then (return (struct.new $leaf))))
    (struct.new $end))

  (func (export "look") (param $n i32) (result i32)
    (local $objects (ref $objects)) (local $sum i32) (local $one eqref)
    (local.set $objects (global.get $objects))
    (local.set $one (array.get $objects (local.get $objects) (i32.const 5)))
    (loop $again
      (local.set $sum (i32.add (local.get $sum)
        (ref.eq (local.get $one)
          (array.get $objects (local.get $objects) (i32.and (local.get $n) (i32.const 1023))))))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum))

  ;; Whether it is a $left, which others may extend.
  (func (export "test") (param $n i32) (result i32)
    (local $objects (ref $objects)) (local $sum i32)
    (local.set $objects (global.get $objects))
    (loop $again
      (local.set $sum (i32.add (local.get $sum)
        (ref.test (ref $left)
          (array.get $objects (local.get $objects) (i32.and (local.get $n) (i32.const 1023))))))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum))

  ;; Whether it is a $leaf, which is final.
  (func (export "test final") (param $n i32) (result i32)
    (local $objects (ref $objects)) (local $sum i32)
    (local.set $objects (global.get $objects))
    (loop $again
      (local.set $sum (i32.add (local.get $sum)
        (ref.test (ref $leaf)
          (array.get $objects (local.get $objects) (i32.and (local.get $n) (i32.const 1023))))))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum))

  ;; Goes on where it is no $left.
  (func (export "branch") (param $n i32) (result i32)
    (local $objects (ref $objects)) (local $sum i32)
    (local.set $objects (global.get $objects))
    (loop $again
      (block $other (result (ref null $base))
        (drop (br_on_cast_fail $other (ref null $base) (ref $left)
          (array.get $objects (local.get $objects) (i32.and (local.get $n) (i32.const 1023)))))
        (local.set $sum (i32.add (local.get $sum) (i32.const 1)))
        (ref.null none))
      (drop)
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum))

  ;; The same function by several indices: what a processor does about functions that take turns is
  ;; another matter, and it is not the same each time.
  (table 4 funcref)
  (elem (i32.const 0) $one $one $one $one)
  (func $one (type $step) (i32.add (local.get 0) (i32.const 1)))

  (func (export "call") (param $n i32) (result i32)
    (local $sum i32)
    (loop $again
      (local.set $sum
        (call_indirect (type $step) (local.get $sum) (i32.and (local.get $n) (i32.const 3))))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum)))
