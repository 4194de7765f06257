;; A blur of a grey image, 514 x 258 pixels of a byte each, sixteen pixels at a time.
;;
;;   run(rounds) -> the sum of an image that was blurred `rounds` times
;;
;; A pixel becomes the mean of the nine around it, the neighbours in its row and column counting twice and
;; itself four times, rounded to the nearest. The outermost pixels stay as they are.
;;
;;   memory:  0 an image   0x28000 the other   (row by row; each round reads one and writes the other)
(module
  (memory (export "memory") 5)

  (func $fill
    (local $at i32) (local $x i32)
    (loop $next
      (local.set $x (i32.add (i32.mul (local.get $x) (i32.const 1664525)) (i32.const 1013904223)))
      (i32.store8 (local.get $at) (i32.shr_u (local.get $x) (i32.const 24)))
      (i32.store8 offset=0x28000 (local.get $at) (i32.shr_u (local.get $x) (i32.const 24)))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $at) (i32.const 132612)))))

  ;; Writes at `to` what the pixels of the second of three rows become; `from` is the first pixel of the
  ;; first of them.
  (func $row (param $from i32) (param $to i32)
    (local $end i32)
    (local $a v128) (local $b v128) (local $c v128) (local $low v128) (local $high v128)
    (local.set $end (i32.add (local.get $from) (i32.const 512)))
    (loop $next
      ;; The column of pixels to the left ...
      (local.set $a (v128.load (local.get $from)))
      (local.set $b (v128.load offset=514 (local.get $from)))
      (local.set $c (v128.load offset=1028 (local.get $from)))
      (local.set $low
        (i16x8.add
          (i16x8.add
            (i16x8.extend_low_i8x16_u (local.get $a))
            (i16x8.extend_low_i8x16_u (local.get $c)))
          (i16x8.shl (i16x8.extend_low_i8x16_u (local.get $b)) (i32.const 1))))
      (local.set $high
        (i16x8.add
          (i16x8.add
            (i16x8.extend_high_i8x16_u (local.get $a))
            (i16x8.extend_high_i8x16_u (local.get $c)))
          (i16x8.shl (i16x8.extend_high_i8x16_u (local.get $b)) (i32.const 1))))

      ;; ... the one in the middle, twice ...
      (local.set $a (v128.load offset=1 (local.get $from)))
      (local.set $b (v128.load offset=515 (local.get $from)))
      (local.set $c (v128.load offset=1029 (local.get $from)))
      (local.set $low
        (i16x8.add
          (local.get $low)
          (i16x8.shl
            (i16x8.add
              (i16x8.add
                (i16x8.extend_low_i8x16_u (local.get $a))
                (i16x8.extend_low_i8x16_u (local.get $c)))
              (i16x8.shl (i16x8.extend_low_i8x16_u (local.get $b)) (i32.const 1)))
            (i32.const 1))))
      (local.set $high
        (i16x8.add
          (local.get $high)
          (i16x8.shl
            (i16x8.add
              (i16x8.add
                (i16x8.extend_high_i8x16_u (local.get $a))
                (i16x8.extend_high_i8x16_u (local.get $c)))
              (i16x8.shl (i16x8.extend_high_i8x16_u (local.get $b)) (i32.const 1)))
            (i32.const 1))))

      ;; ... and the one to the right.
      (local.set $a (v128.load offset=2 (local.get $from)))
      (local.set $b (v128.load offset=516 (local.get $from)))
      (local.set $c (v128.load offset=1030 (local.get $from)))
      (local.set $low
        (i16x8.add
          (local.get $low)
          (i16x8.add
            (i16x8.add
              (i16x8.extend_low_i8x16_u (local.get $a))
              (i16x8.extend_low_i8x16_u (local.get $c)))
            (i16x8.shl (i16x8.extend_low_i8x16_u (local.get $b)) (i32.const 1)))))
      (local.set $high
        (i16x8.add
          (local.get $high)
          (i16x8.add
            (i16x8.add
              (i16x8.extend_high_i8x16_u (local.get $a))
              (i16x8.extend_high_i8x16_u (local.get $c)))
            (i16x8.shl (i16x8.extend_high_i8x16_u (local.get $b)) (i32.const 1)))))

      ;; A sixteenth of the sum.
      (v128.store (local.get $to)
        (i8x16.narrow_i16x8_u
          (i16x8.shr_u (i16x8.add (local.get $low) (v128.const i16x8 8 8 8 8 8 8 8 8)) (i32.const 4))
          (i16x8.shr_u (i16x8.add (local.get $high) (v128.const i16x8 8 8 8 8 8 8 8 8)) (i32.const 4))))
      (local.set $from (i32.add (local.get $from) (i32.const 16)))
      (local.set $to (i32.add (local.get $to) (i32.const 16)))
      (br_if $next (i32.lt_u (local.get $from) (local.get $end)))))

  (func $blur (param $from i32) (param $to i32)
    (local $row i32)
    (loop $next
      (call $row
        (i32.add (local.get $from) (local.get $row))
        (i32.add (i32.add (local.get $to) (local.get $row)) (i32.const 515)))
      (local.set $row (i32.add (local.get $row) (i32.const 514)))
      (br_if $next (i32.lt_u (local.get $row) (i32.const 131584)))))

  (func $checksum (param $at i32) (result i32)
    (local $end i32) (local $sum i32)
    (local.set $end (i32.add (local.get $at) (i32.const 132612)))
    (loop $next
      (local.set $sum
        (i32.add (i32.mul (local.get $sum) (i32.const 31)) (i32.load8_u (local.get $at))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $at) (local.get $end))))
    (local.get $sum))

  (func (export "run") (param $rounds i32) (result i32)
    (local $from i32)
    (call $fill)
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $rounds)))
        (call $blur (local.get $from) (i32.sub (i32.const 0x28000) (local.get $from)))
        (local.set $from (i32.sub (i32.const 0x28000) (local.get $from)))
        (local.set $rounds (i32.sub (local.get $rounds) (i32.const 1)))
        (br $next)))
    (call $checksum (local.get $from))))
