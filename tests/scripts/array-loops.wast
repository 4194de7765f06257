;; Loops over arrays: whatever is known of the index beforehand, an access past the end traps, and what was
;; done before is seen.

(module
  (type $ints (array (mut i32)))
  (type $bytes (array (mut i8)))
  (global $done (export "done") (mut i32) (i32.const 0))

  (func $make (param $length i32) (result (ref $ints))
    (array.new $ints (i32.const 1) (local.get $length)))

  ;; Up to a number that need not be the length; looks first.
  (func (export "first") (param $length i32) (param $from i32) (param $to i32) (param $step i32) (result i32)
    (local $a (ref null $ints)) (local $sum i32)
    (local.set $a (call $make (local.get $length)))
    (global.set $done (i32.const 0))
    (block $out (loop $l
      (br_if $out (i32.ge_s (local.get $from) (local.get $to)))
      (local.set $sum (i32.add (local.get $sum) (array.get $ints (local.get $a) (local.get $from))))
      (global.set $done (i32.add (global.get $done) (i32.const 1)))
      (local.set $from (i32.add (local.get $from) (local.get $step)))
      (br $l)))
    (local.get $sum))

  ;; Looks last.
  (func (export "last") (param $length i32) (param $from i32) (param $to i32) (result i32)
    (local $a (ref $ints)) (local $sum i32)
    (local.set $a (call $make (local.get $length)))
    (global.set $done (i32.const 0))
    (loop $l
      (local.set $sum (i32.add (local.get $sum) (array.get $ints (local.get $a) (local.get $from))))
      (global.set $done (i32.add (global.get $done) (i32.const 1)))
      (br_if $l (i32.lt_s
        (local.tee $from (i32.add (local.get $from) (i32.const 1)))
        (local.get $to))))
    (local.get $sum))

  ;; Up to the length itself, from anywhere, signed and unsigned.
  (func (export "signed") (param $length i32) (param $from i32) (result i32)
    (local $a (ref $ints)) (local $sum i32)
    (local.set $a (call $make (local.get $length)))
    (block $out (loop $l
      (br_if $out (i32.ge_s (local.get $from) (array.len (local.get $a))))
      (local.set $sum (i32.add (local.get $sum) (array.get $ints (local.get $a) (local.get $from))))
      (local.set $from (i32.add (local.get $from) (i32.const 1)))
      (br $l)))
    (local.get $sum))
  (func (export "unsigned") (param $length i32) (param $from i32) (result i32)
    (local $a (ref $ints)) (local $sum i32)
    (local.set $a (call $make (local.get $length)))
    (block $out (loop $l
      (br_if $out (i32.ge_u (local.get $from) (array.len (local.get $a))))
      (local.set $sum (i32.add (local.get $sum) (array.get $ints (local.get $a) (local.get $from))))
      (local.set $from (i32.add (local.get $from) (i32.const 1)))
      (br $l)))
    (local.get $sum))

  ;; Steps of two: the last one may be beyond the end, and its sum may wrap around.
  (func (export "pairs") (param $length i32) (result i32)
    (local $a (ref $bytes)) (local $i i32) (local $sum i32)
    (local.set $a (array.new $bytes (i32.const 1) (local.get $length)))
    (block $out (loop $l
      (br_if $out (i32.ge_u (local.get $i) (array.len (local.get $a))))
      (local.set $sum (i32.add (local.get $sum) (array.get_u $bytes (local.get $a) (local.get $i))))
      (local.set $sum (i32.add (local.get $sum)
        (array.get_u $bytes (local.get $a) (i32.add (local.get $i) (i32.const 1)))))
      (local.set $i (i32.add (local.get $i) (i32.const 2)))
      (br $l)))
    (local.get $sum))

  ;; The array is another one after some rounds.
  (func (export "swaps") (param $length i32) (param $later i32) (result i32)
    (local $a (ref null $ints)) (local $i i32) (local $n i32)
    (local.set $a (call $make (local.get $length)))
    (local.set $n (local.get $length))
    (loop $l
      (drop (array.get $ints (local.get $a) (local.get $i)))
      (if (i32.eq (local.get $i) (i32.const 2))
        (then (local.set $a (call $make (local.get $later)))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $l (i32.lt_u (local.get $i) (local.get $n))))
    (local.get $i))

  ;; The bound moves while the loop runs.
  (func (export "moving") (param $length i32) (param $rounds i32) (result i32)
    (local $a (ref null $ints)) (local $i i32) (local $n i32)
    (local.set $a (call $make (local.get $length)))
    (local.set $n (array.len (local.get $a)))
    (if (i32.lt_u (local.get $i) (local.get $n))
      (then (loop $l
        (drop (array.get $ints (local.get $a) (local.get $i)))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (if (local.get $rounds)
          (then
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (local.set $rounds (i32.sub (local.get $rounds) (i32.const 1)))))
        (br_if $l (i32.lt_u (local.get $i) (local.get $n))))))
    (local.get $i))

  ;; Of null, there is no element whatever the bound.
  (func (export "null") (param $rounds i32)
    (local $a (ref null $ints)) (local $i i32)
    (global.set $done (i32.const 0))
    (block $out (loop $l
      (br_if $out (i32.ge_s (local.get $i) (local.get $rounds)))
      (global.set $done (i32.add (global.get $done) (i32.const 1)))
      (array.set $ints (local.get $a) (local.get $i) (i32.const 7))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $l)))))

(assert_return (invoke "first" (i32.const 10) (i32.const 0) (i32.const 10) (i32.const 1)) (i32.const 10))
(assert_trap (invoke "first" (i32.const 10) (i32.const 0) (i32.const 11) (i32.const 1)) "out of bounds array access")
(assert_return (get "done") (i32.const 10))
(assert_trap (invoke "first" (i32.const 10) (i32.const -1) (i32.const 10) (i32.const 1)) "out of bounds array access")
(assert_return (get "done") (i32.const 0))
(assert_trap (invoke "first" (i32.const 10) (i32.const 5) (i32.const 6) (i32.const -1)) "out of bounds array access")
(assert_return (get "done") (i32.const 6))
(assert_trap (invoke "first" (i32.const 10) (i32.const 0) (i32.const 100) (i32.const 3)) "out of bounds array access")
(assert_return (get "done") (i32.const 4))
(assert_trap (invoke "first" (i32.const 10) (i32.const 9) (i32.const 0x7fff_ffff) (i32.const 0x7fff_fffe)) "out of bounds array access")
(assert_return (get "done") (i32.const 1))
(assert_return (invoke "first" (i32.const 10) (i32.const 11) (i32.const 10) (i32.const 1)) (i32.const 0))

(assert_return (invoke "last" (i32.const 10) (i32.const 0) (i32.const 10)) (i32.const 10))
(assert_trap (invoke "last" (i32.const 0) (i32.const 0) (i32.const 0)) "out of bounds array access")
(assert_trap (invoke "last" (i32.const 10) (i32.const 0) (i32.const 11)) "out of bounds array access")
(assert_return (get "done") (i32.const 10))
(assert_trap (invoke "last" (i32.const 10) (i32.const 10) (i32.const 3)) "out of bounds array access")
(assert_trap (invoke "last" (i32.const 10) (i32.const -2) (i32.const 3)) "out of bounds array access")

(assert_return (invoke "signed" (i32.const 10) (i32.const 3)) (i32.const 7))
(assert_return (invoke "signed" (i32.const 10) (i32.const 30)) (i32.const 0))
(assert_trap (invoke "signed" (i32.const 10) (i32.const -1)) "out of bounds array access")
(assert_trap (invoke "signed" (i32.const 0) (i32.const 0x8000_0000)) "out of bounds array access")
(assert_return (invoke "unsigned" (i32.const 10) (i32.const 3)) (i32.const 7))
(assert_return (invoke "unsigned" (i32.const 10) (i32.const -1)) (i32.const 0))

(assert_return (invoke "pairs" (i32.const 10)) (i32.const 10))
(assert_trap (invoke "pairs" (i32.const 11)) "out of bounds array access")

(assert_return (invoke "swaps" (i32.const 8) (i32.const 8)) (i32.const 8))
(assert_trap (invoke "swaps" (i32.const 8) (i32.const 7)) "out of bounds array access")
(assert_return (invoke "moving" (i32.const 8) (i32.const 0)) (i32.const 8))
(assert_trap (invoke "moving" (i32.const 8) (i32.const 1)) "out of bounds array access")

(assert_return (invoke "null" (i32.const 0)))
(assert_trap (invoke "null" (i32.const 3)) "null array reference")
(assert_return (get "done") (i32.const 1))
