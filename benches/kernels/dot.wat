;; Two layers of a network whose weights are bytes: products of a matrix and a vector, sixteen pairs of
;; numbers at a time, by the dot products of relaxed SIMD.
;;
;;   run(rounds) -> the sum of the vector after `rounds` rounds through both layers
;;
;; The first layer makes 256 numbers of 1024, the second 1024 of 256. Numbers in vectors are from 0 to 127,
;; so that dot products are the same on every machine; weights are from -128 to 127. What a layer adds
;; up is divided, rounded down, and cut off below 0 and above 127.
;;
;;   memory:  0 the vector of 1024   0x400 the vector of 256
;;            0x10000 the weights of the first layer   0x50000 of the second   (row by row)
(module
  (memory (export "memory") 9)

  (func $fill
    (local $at i32) (local $x i32)
    (loop $next
      (local.set $x (i32.add (i32.mul (local.get $x) (i32.const 1664525)) (i32.const 1013904223)))
      (i32.store8 (local.get $at) (i32.shr_u (local.get $x) (i32.const 25)))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $at) (i32.const 0x400))))
    (local.set $at (i32.const 0x10000))
    (loop $next
      (local.set $x (i32.add (i32.mul (local.get $x) (i32.const 1664525)) (i32.const 1013904223)))
      (i32.store8 (local.get $at) (i32.shr_u (local.get $x) (i32.const 24)))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $at) (i32.const 0x90000)))))

  ;; Four sums, each of the lanes of one vector, divided and cut off, are stored at `to` as bytes.
  (func $store_four
    (param $to i32) (param $a v128) (param $b v128) (param $c v128) (param $d v128) (param $log2 i32)
    (local $ab v128) (local $cd v128) (local $sums v128)
    (local.set $ab
      (i32x4.add
        (i8x16.shuffle 0 1 2 3 16 17 18 19 4 5 6 7 20 21 22 23 (local.get $a) (local.get $b))
        (i8x16.shuffle 8 9 10 11 24 25 26 27 12 13 14 15 28 29 30 31 (local.get $a) (local.get $b))))
    (local.set $cd
      (i32x4.add
        (i8x16.shuffle 0 1 2 3 16 17 18 19 4 5 6 7 20 21 22 23 (local.get $c) (local.get $d))
        (i8x16.shuffle 8 9 10 11 24 25 26 27 12 13 14 15 28 29 30 31 (local.get $c) (local.get $d))))
    (local.set $sums
      (i32x4.shr_s
        (i32x4.add
          (i8x16.shuffle 0 1 2 3 4 5 6 7 16 17 18 19 20 21 22 23 (local.get $ab) (local.get $cd))
          (i8x16.shuffle 8 9 10 11 12 13 14 15 24 25 26 27 28 29 30 31 (local.get $ab) (local.get $cd)))
        (local.get $log2)))
    (local.set $sums (i32x4.min_s (local.get $sums) (v128.const i32x4 127 127 127 127)))
    (local.set $sums (i32x4.max_s (local.get $sums) (v128.const i32x4 0 0 0 0)))
    (local.set $sums (i16x8.narrow_i32x4_s (local.get $sums) (local.get $sums)))
    (v128.store32_lane 0 (local.get $to)
      (i8x16.narrow_i16x8_s (local.get $sums) (local.get $sums))))

  ;; The first layer: four rows of 1024 weights at a time, added up in 32 bits.
  (func $first
    (local $row i32) (local $weights i32) (local $at i32) (local $x v128)
    (local $a v128) (local $b v128) (local $c v128) (local $d v128)
    (local.set $weights (i32.const 0x10000))
    (loop $next_rows
      (local.set $a (v128.const i32x4 0 0 0 0))
      (local.set $b (v128.const i32x4 0 0 0 0))
      (local.set $c (v128.const i32x4 0 0 0 0))
      (local.set $d (v128.const i32x4 0 0 0 0))
      (local.set $at (i32.const 0))
      (loop $next
        (local.set $x (v128.load (local.get $at)))
        (local.set $a
          (i32x4.relaxed_dot_i8x16_i7x16_add_s
            (v128.load (local.get $weights)) (local.get $x) (local.get $a)))
        (local.set $b
          (i32x4.relaxed_dot_i8x16_i7x16_add_s
            (v128.load offset=1024 (local.get $weights)) (local.get $x) (local.get $b)))
        (local.set $c
          (i32x4.relaxed_dot_i8x16_i7x16_add_s
            (v128.load offset=2048 (local.get $weights)) (local.get $x) (local.get $c)))
        (local.set $d
          (i32x4.relaxed_dot_i8x16_i7x16_add_s
            (v128.load offset=3072 (local.get $weights)) (local.get $x) (local.get $d)))
        (local.set $weights (i32.add (local.get $weights) (i32.const 16)))
        (local.set $at (i32.add (local.get $at) (i32.const 16)))
        (br_if $next (i32.lt_u (local.get $at) (i32.const 1024))))
      (call $store_four
        (i32.add (i32.const 0x400) (local.get $row))
        (local.get $a) (local.get $b) (local.get $c) (local.get $d) (i32.const 11))
      ;; The loop has gone through one row; three more are done.
      (local.set $weights (i32.add (local.get $weights) (i32.const 3072)))
      (local.set $row (i32.add (local.get $row) (i32.const 4)))
      (br_if $next_rows (i32.lt_u (local.get $row) (i32.const 256)))))

  ;; The second layer: four rows of 256 weights at a time, as products in 16 bits that are added in pairs.
  (func $second
    (local $row i32) (local $weights i32) (local $at i32) (local $x v128)
    (local $a v128) (local $b v128) (local $c v128) (local $d v128)
    (local.set $weights (i32.const 0x50000))
    (loop $next_rows
      (local.set $a (v128.const i32x4 0 0 0 0))
      (local.set $b (v128.const i32x4 0 0 0 0))
      (local.set $c (v128.const i32x4 0 0 0 0))
      (local.set $d (v128.const i32x4 0 0 0 0))
      (local.set $at (i32.const 0))
      (loop $next
        (local.set $x (v128.load offset=0x400 (local.get $at)))
        (local.set $a
          (i32x4.add (local.get $a)
            (i32x4.extadd_pairwise_i16x8_s
              (i16x8.relaxed_dot_i8x16_i7x16_s (v128.load (local.get $weights)) (local.get $x)))))
        (local.set $b
          (i32x4.add (local.get $b)
            (i32x4.extadd_pairwise_i16x8_s
              (i16x8.relaxed_dot_i8x16_i7x16_s (v128.load offset=256 (local.get $weights)) (local.get $x)))))
        (local.set $c
          (i32x4.add (local.get $c)
            (i32x4.extadd_pairwise_i16x8_s
              (i16x8.relaxed_dot_i8x16_i7x16_s (v128.load offset=512 (local.get $weights)) (local.get $x)))))
        (local.set $d
          (i32x4.add (local.get $d)
            (i32x4.extadd_pairwise_i16x8_s
              (i16x8.relaxed_dot_i8x16_i7x16_s (v128.load offset=768 (local.get $weights)) (local.get $x)))))
        (local.set $weights (i32.add (local.get $weights) (i32.const 16)))
        (local.set $at (i32.add (local.get $at) (i32.const 16)))
        (br_if $next (i32.lt_u (local.get $at) (i32.const 256))))
      (call $store_four
        (local.get $row)
        (local.get $a) (local.get $b) (local.get $c) (local.get $d) (i32.const 9))
      (local.set $weights (i32.add (local.get $weights) (i32.const 768)))
      (local.set $row (i32.add (local.get $row) (i32.const 4)))
      (br_if $next_rows (i32.lt_u (local.get $row) (i32.const 1024)))))

  (func $checksum (result i32)
    (local $at i32) (local $sum i32)
    (loop $next
      (local.set $sum
        (i32.add (i32.mul (local.get $sum) (i32.const 31)) (i32.load8_u (local.get $at))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $at) (i32.const 0x400))))
    (local.get $sum))

  (func (export "run") (param $rounds i32) (result i32)
    (call $fill)
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $rounds)))
        (call $first)
        (call $second)
        (local.set $rounds (i32.sub (local.get $rounds) (i32.const 1)))
        (br $next)))
    (call $checksum)))
