;; The product of two matrices of 256 x 256 floats, four rows by eight columns at a time.
;;
;;   run(rounds) -> the sum of the bits of C = A * B, multiplied `rounds` times
;;
;; Every element is added up in the order of k, and a product is rounded before it is added, so a plain
;; loop over numbers gives the same bits.
;;
;;   memory:  0x00000 A   0x40000 B   0x80000 C   (row by row, 1024 bytes each)
(module
  (memory (export "memory") 12)

  ;; Fills A and B with numbers from -1 to 1.
  (func $fill
    (local $at i32) (local $x i32)
    (loop $next
      (local.set $x (i32.add (i32.mul (local.get $x) (i32.const 1664525)) (i32.const 1013904223)))
      (f32.store (local.get $at)
        (f32.mul (f32.convert_i32_s (local.get $x)) (f32.const 0x1p-31)))
      (local.set $at (i32.add (local.get $at) (i32.const 4)))
      (br_if $next (i32.lt_u (local.get $at) (i32.const 0x80000)))))

  ;; Four rows of C from `row_of_c` on, where `row_of_a` are the same rows of A.
  (func $four_rows (param $row_of_a i32) (param $row_of_c i32)
    (local $a i32) (local $b i32) (local $column i32)
    (local $b0 v128) (local $b1 v128) (local $x v128)
    ;; The block of C: a letter for each half of its columns, a digit for each row.
    (local $l0 v128) (local $l1 v128) (local $l2 v128) (local $l3 v128)
    (local $r0 v128) (local $r1 v128) (local $r2 v128) (local $r3 v128)
    (loop $next_block
      (local.set $l0 (v128.const i32x4 0 0 0 0))
      (local.set $l1 (v128.const i32x4 0 0 0 0))
      (local.set $l2 (v128.const i32x4 0 0 0 0))
      (local.set $l3 (v128.const i32x4 0 0 0 0))
      (local.set $r0 (v128.const i32x4 0 0 0 0))
      (local.set $r1 (v128.const i32x4 0 0 0 0))
      (local.set $r2 (v128.const i32x4 0 0 0 0))
      (local.set $r3 (v128.const i32x4 0 0 0 0))
      (local.set $a (local.get $row_of_a))
      (local.set $b (i32.add (i32.const 0x40000) (local.get $column)))
      (loop $next_k
        (local.set $b0 (v128.load (local.get $b)))
        (local.set $b1 (v128.load offset=16 (local.get $b)))

        (local.set $x (v128.load32_splat (local.get $a)))
        (local.set $l0 (f32x4.add (local.get $l0) (f32x4.mul (local.get $x) (local.get $b0))))
        (local.set $r0 (f32x4.add (local.get $r0) (f32x4.mul (local.get $x) (local.get $b1))))

        (local.set $x (v128.load32_splat offset=1024 (local.get $a)))
        (local.set $l1 (f32x4.add (local.get $l1) (f32x4.mul (local.get $x) (local.get $b0))))
        (local.set $r1 (f32x4.add (local.get $r1) (f32x4.mul (local.get $x) (local.get $b1))))

        (local.set $x (v128.load32_splat offset=2048 (local.get $a)))
        (local.set $l2 (f32x4.add (local.get $l2) (f32x4.mul (local.get $x) (local.get $b0))))
        (local.set $r2 (f32x4.add (local.get $r2) (f32x4.mul (local.get $x) (local.get $b1))))

        (local.set $x (v128.load32_splat offset=3072 (local.get $a)))
        (local.set $l3 (f32x4.add (local.get $l3) (f32x4.mul (local.get $x) (local.get $b0))))
        (local.set $r3 (f32x4.add (local.get $r3) (f32x4.mul (local.get $x) (local.get $b1))))

        (local.set $a (i32.add (local.get $a) (i32.const 4)))
        (local.set $b (i32.add (local.get $b) (i32.const 1024)))
        (br_if $next_k (i32.lt_u (local.get $b) (i32.const 0x80000))))

      (v128.store (local.get $row_of_c) (local.get $l0))
      (v128.store offset=16 (local.get $row_of_c) (local.get $r0))
      (v128.store offset=1024 (local.get $row_of_c) (local.get $l1))
      (v128.store offset=1040 (local.get $row_of_c) (local.get $r1))
      (v128.store offset=2048 (local.get $row_of_c) (local.get $l2))
      (v128.store offset=2064 (local.get $row_of_c) (local.get $r2))
      (v128.store offset=3072 (local.get $row_of_c) (local.get $l3))
      (v128.store offset=3088 (local.get $row_of_c) (local.get $r3))
      (local.set $row_of_c (i32.add (local.get $row_of_c) (i32.const 32)))
      (local.set $column (i32.add (local.get $column) (i32.const 32)))
      (br_if $next_block (i32.lt_u (local.get $column) (i32.const 1024)))))

  (func $multiply
    (local $row i32)
    (loop $next
      (call $four_rows (local.get $row) (i32.add (i32.const 0x80000) (local.get $row)))
      (local.set $row (i32.add (local.get $row) (i32.const 4096)))
      (br_if $next (i32.lt_u (local.get $row) (i32.const 0x40000)))))

  (func $checksum (result i32)
    (local $at i32) (local $sum i32)
    (local.set $at (i32.const 0x80000))
    (loop $next
      (local.set $sum
        (i32.add (i32.mul (local.get $sum) (i32.const 31)) (i32.load (local.get $at))))
      (local.set $at (i32.add (local.get $at) (i32.const 4)))
      (br_if $next (i32.lt_u (local.get $at) (i32.const 0xc0000))))
    (local.get $sum))

  (func (export "run") (param $rounds i32) (result i32)
    (call $fill)
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $rounds)))
        (call $multiply)
        (local.set $rounds (i32.sub (local.get $rounds) (i32.const 1)))
        (br $next)))
    (call $checksum)))
