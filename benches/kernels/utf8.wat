;; UTF-8: whether bytes are well-formed, and how many characters they are; sixteen bytes at a time.
;;
;;   characters(address, length) -> the number of characters, or -1
;;   run(rounds) -> a sum of what `characters` says of a text of 64 KiB, counted `rounds` times
;;
;; What is wrong with two bytes in a row shows in three of their four nibbles. Each of three tables gives,
;; for one nibble, the set of mistakes that it allows, a bit each; a mistake that all three allow was made
;; (Keiser and Lemire, "Validating UTF-8 in less than one instruction per byte", 2020):
;;
;;   0x01  a first byte, and no continuation   0x10  a surrogate
;;   0x02  ASCII, and a continuation           0x20  two bytes for what needs one
;;   0x04  three bytes for what needs two      0x40  four bytes for what needs three, or above 0x13ffff
;;   0x08  above 0x10ffff                      0x80  two continuations
;;
;; Two continuations are right after the first byte of three or four, which is looked for separately.
;;
;;   memory:  0 sixteen bytes for the end of a text   64 the text that `run` counts
(module
  (memory (export "memory") 2)

  (func (export "characters") (param $at i32) (param $length i32) (result i32)
    (call $characters (local.get $at) (local.get $length)))

  (func $characters (param $at i32) (param $length i32) (result i32)
    (local $end i32) (local $characters i32)
    (local $bytes v128) (local $before v128) (local $previous v128) (local $mistakes v128)
    (local.set $end
      (i32.add (local.get $at) (i32.and (local.get $length) (i32.const -16))))
    ;; What is left at the end, always less than sixteen bytes, is followed by zeroes: a character that is
    ;; not complete is a mistake, too. The zeroes do not count.
    (v128.store (i32.const 0) (v128.const i64x2 0 0))
    (memory.copy (i32.const 0) (local.get $end) (i32.and (local.get $length) (i32.const 15)))
    (local.set $characters
      (i32.sub (i32.and (local.get $length) (i32.const 15)) (i32.const 16)))
    (loop $next
      (local.set $bytes
        (v128.load
          (select
            (i32.const 0)
            (local.get $at)
            (i32.eq (local.get $at) (local.get $end)))))

      ;; The bytes one before these.
      (local.set $previous
        (i8x16.shuffle 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30
          (local.get $before) (local.get $bytes)))
      (local.set $mistakes
        (v128.or
          (local.get $mistakes)
          (v128.xor
            (v128.and
              (v128.and
                ;; By the high half of the byte before ...
                (i8x16.swizzle
                  (v128.const i8x16
                    0x02 0x02 0x02 0x02 0x02 0x02 0x02 0x02
                    0x80 0x80 0x80 0x80 0x21 0x01 0x15 0x49)
                  (i8x16.shr_u (local.get $previous) (i32.const 4)))
                ;; ... its low half ...
                (i8x16.swizzle
                  (v128.const i8x16
                    0xe7 0xa3 0x83 0x83 0x8b 0xcb 0xcb 0xcb
                    0xcb 0xcb 0xcb 0xcb 0xcb 0xdb 0xcb 0xcb)
                  (v128.and (local.get $previous) (v128.const i32x4 0x0f0f0f0f 0x0f0f0f0f 0x0f0f0f0f 0x0f0f0f0f))))
              ;; ... and the high half of this one.
              (i8x16.swizzle
                (v128.const i8x16
                  0x01 0x01 0x01 0x01 0x01 0x01 0x01 0x01
                  0xe6 0xae 0xba 0xba 0x01 0x01 0x01 0x01)
                (i8x16.shr_u (local.get $bytes) (i32.const 4))))
            ;; Two bytes after a first byte of three or four, three bytes after one of four, there must
            ;; be a second continuation: the difference is above 0x7f just for those first bytes.
            (v128.and
              (v128.or
                (i8x16.sub_sat_u
                  (i8x16.shuffle 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29
                    (local.get $before) (local.get $bytes))
                  (v128.const i32x4 0x60606060 0x60606060 0x60606060 0x60606060))
                (i8x16.sub_sat_u
                  (i8x16.shuffle 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28
                    (local.get $before) (local.get $bytes))
                  (v128.const i32x4 0x70707070 0x70707070 0x70707070 0x70707070)))
              (v128.const i32x4 0x80808080 0x80808080 0x80808080 0x80808080)))))

      ;; A character for each byte that is no continuation.
      (local.set $characters
        (i32.add
          (local.get $characters)
          (i32.popcnt
            (i8x16.bitmask
              (i8x16.gt_s (local.get $bytes) (v128.const i32x4 0xbfbfbfbf 0xbfbfbfbf 0xbfbfbfbf 0xbfbfbfbf))))))
      (local.set $before (local.get $bytes))
      (local.set $at (i32.add (local.get $at) (i32.const 16)))
      (br_if $next (i32.le_u (local.get $at) (local.get $end))))
    (select
      (i32.const -1)
      (local.get $characters)
      (v128.any_true (local.get $mistakes))))

  ;; Writes a character and returns what comes after it. `kind` is the number of its continuations.
  (func $write (param $at i32) (param $kind i32) (param $bits i32) (result i32)
    (block $four
      (block $three
        (block $two
          (block $one
            (br_table $one $two $three $four (local.get $kind)))
          (i32.store8 (local.get $at)
            (i32.add (i32.const 0x20) (i32.and (local.get $bits) (i32.const 0x3f))))
          (return (i32.add (local.get $at) (i32.const 1))))
        (i32.store8 (local.get $at)
          (i32.add (i32.const 0xc2) (i32.and (i32.shr_u (local.get $bits) (i32.const 6)) (i32.const 0xf))))
        (i32.store8 offset=1 (local.get $at) (call $continuation (local.get $bits)))
        (return (i32.add (local.get $at) (i32.const 2))))
      (i32.store8 (local.get $at)
        (i32.add (i32.const 0xe1) (i32.and (i32.shr_u (local.get $bits) (i32.const 12)) (i32.const 7))))
      (i32.store8 offset=1 (local.get $at)
        (call $continuation (i32.shr_u (local.get $bits) (i32.const 6))))
      (i32.store8 offset=2 (local.get $at) (call $continuation (local.get $bits)))
      (return (i32.add (local.get $at) (i32.const 3))))
    (i32.store8 (local.get $at)
      (i32.add (i32.const 0xf1) (i32.and (i32.shr_u (local.get $bits) (i32.const 18)) (i32.const 1))))
    (i32.store8 offset=1 (local.get $at)
      (call $continuation (i32.shr_u (local.get $bits) (i32.const 12))))
    (i32.store8 offset=2 (local.get $at)
      (call $continuation (i32.shr_u (local.get $bits) (i32.const 6))))
    (i32.store8 offset=3 (local.get $at) (call $continuation (local.get $bits)))
    (i32.add (local.get $at) (i32.const 4)))

  (func $continuation (param $bits i32) (result i32)
    (i32.or (i32.const 0x80) (i32.and (local.get $bits) (i32.const 0x3f))))

  ;; Characters of all lengths; the few bytes after the last are zero.
  (func $fill
    (local $at i32) (local $x i32)
    (local.set $at (i32.const 64))
    (loop $next
      (local.set $x (i32.add (i32.mul (local.get $x) (i32.const 1664525)) (i32.const 1013904223)))
      (local.set $at
        (call $write
          (local.get $at)
          (i32.shr_u (local.get $x) (i32.const 30))
          (i32.shr_u (local.get $x) (i32.const 8))))
      (br_if $next (i32.lt_u (local.get $at) (i32.const 0x1003c)))))

  (func (export "run") (param $rounds i32) (result i32)
    (local $sum i32)
    (call $fill)
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $rounds)))
        (local.set $sum
          (i32.add
            (i32.mul (local.get $sum) (i32.const 31))
            (call $characters (i32.const 64) (i32.const 0x10000))))
        (local.set $rounds (i32.sub (local.get $rounds) (i32.const 1)))
        (br $next)))
    (local.get $sum)))
