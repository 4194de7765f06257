;; ChaCha20 (RFC 8439): 32 KiB are encrypted, four blocks of 64 bytes at a time.
;;
;;   run(rounds) -> the sum of zeroes that were encrypted `rounds` times
;;
;; Word i of the state of four blocks is the vector $s<i>, a lane for each block. Key and nonce are those of
;; the RFC's section 2.3.2; the counter begins at 1 and goes on from round to round.
(module
  (memory (export "memory") 1)

  ;; Words 4n to 4n+3 of four blocks, given as vectors, encrypt their places in the blocks at `at`.
  (func $encrypt_words (param $at i32) (param $a v128) (param $b v128) (param $c v128) (param $d v128)
    (local $ab v128) (local $cd v128)
    ;; Blocks 0 and 1.
    (local.set $ab
      (i8x16.shuffle 0 1 2 3 16 17 18 19 4 5 6 7 20 21 22 23 (local.get $a) (local.get $b)))
    (local.set $cd
      (i8x16.shuffle 0 1 2 3 16 17 18 19 4 5 6 7 20 21 22 23 (local.get $c) (local.get $d)))
    (v128.store (local.get $at)
      (v128.xor (v128.load (local.get $at))
        (i8x16.shuffle 0 1 2 3 4 5 6 7 16 17 18 19 20 21 22 23 (local.get $ab) (local.get $cd))))
    (v128.store offset=64 (local.get $at)
      (v128.xor (v128.load offset=64 (local.get $at))
        (i8x16.shuffle 8 9 10 11 12 13 14 15 24 25 26 27 28 29 30 31 (local.get $ab) (local.get $cd))))
    ;; Blocks 2 and 3.
    (local.set $ab
      (i8x16.shuffle 8 9 10 11 24 25 26 27 12 13 14 15 28 29 30 31 (local.get $a) (local.get $b)))
    (local.set $cd
      (i8x16.shuffle 8 9 10 11 24 25 26 27 12 13 14 15 28 29 30 31 (local.get $c) (local.get $d)))
    (v128.store offset=128 (local.get $at)
      (v128.xor (v128.load offset=128 (local.get $at))
        (i8x16.shuffle 0 1 2 3 4 5 6 7 16 17 18 19 20 21 22 23 (local.get $ab) (local.get $cd))))
    (v128.store offset=192 (local.get $at)
      (v128.xor (v128.load offset=192 (local.get $at))
        (i8x16.shuffle 8 9 10 11 12 13 14 15 24 25 26 27 28 29 30 31 (local.get $ab) (local.get $cd)))))

  ;; Encrypts 32 KiB. `counters` are those of the first four blocks; returns those that come next.
  (func $encrypt (param $counters v128) (result v128)
    (local $at i32) (local $rounds i32)
    (local $s0 v128) (local $s1 v128) (local $s2 v128) (local $s3 v128)
    (local $s4 v128) (local $s5 v128) (local $s6 v128) (local $s7 v128)
    (local $s8 v128) (local $s9 v128) (local $sa v128) (local $sb v128)
    (local $sc v128) (local $sd v128) (local $se v128) (local $sf v128)
    (loop $next_blocks
      (local.set $s0 (v128.const i32x4 0x61707865 0x61707865 0x61707865 0x61707865))
      (local.set $s1 (v128.const i32x4 0x3320646e 0x3320646e 0x3320646e 0x3320646e))
      (local.set $s2 (v128.const i32x4 0x79622d32 0x79622d32 0x79622d32 0x79622d32))
      (local.set $s3 (v128.const i32x4 0x6b206574 0x6b206574 0x6b206574 0x6b206574))
      (local.set $s4 (v128.const i32x4 0x03020100 0x03020100 0x03020100 0x03020100))
      (local.set $s5 (v128.const i32x4 0x07060504 0x07060504 0x07060504 0x07060504))
      (local.set $s6 (v128.const i32x4 0x0b0a0908 0x0b0a0908 0x0b0a0908 0x0b0a0908))
      (local.set $s7 (v128.const i32x4 0x0f0e0d0c 0x0f0e0d0c 0x0f0e0d0c 0x0f0e0d0c))
      (local.set $s8 (v128.const i32x4 0x13121110 0x13121110 0x13121110 0x13121110))
      (local.set $s9 (v128.const i32x4 0x17161514 0x17161514 0x17161514 0x17161514))
      (local.set $sa (v128.const i32x4 0x1b1a1918 0x1b1a1918 0x1b1a1918 0x1b1a1918))
      (local.set $sb (v128.const i32x4 0x1f1e1d1c 0x1f1e1d1c 0x1f1e1d1c 0x1f1e1d1c))
      (local.set $sc (local.get $counters))
      (local.set $sd (v128.const i32x4 0x09000000 0x09000000 0x09000000 0x09000000))
      (local.set $se (v128.const i32x4 0x4a000000 0x4a000000 0x4a000000 0x4a000000))
      (local.set $sf (v128.const i32x4 0x00000000 0x00000000 0x00000000 0x00000000))
      (local.set $rounds (i32.const 10))
      (loop $next_rounds
        ;; Columns.
          ;; a += b; d = (d ^ a) <<< 16
          (local.set $s0 (i32x4.add (local.get $s0) (local.get $s4)))
          (local.set $s1 (i32x4.add (local.get $s1) (local.get $s5)))
          (local.set $s2 (i32x4.add (local.get $s2) (local.get $s6)))
          (local.set $s3 (i32x4.add (local.get $s3) (local.get $s7)))
          (local.set $sc (i8x16.shuffle 2 3 0 1 6 7 4 5 10 11 8 9 14 15 12 13
            (local.tee $sc (v128.xor (local.get $sc) (local.get $s0))) (local.get $sc)))
          (local.set $sd (i8x16.shuffle 2 3 0 1 6 7 4 5 10 11 8 9 14 15 12 13
            (local.tee $sd (v128.xor (local.get $sd) (local.get $s1))) (local.get $sd)))
          (local.set $se (i8x16.shuffle 2 3 0 1 6 7 4 5 10 11 8 9 14 15 12 13
            (local.tee $se (v128.xor (local.get $se) (local.get $s2))) (local.get $se)))
          (local.set $sf (i8x16.shuffle 2 3 0 1 6 7 4 5 10 11 8 9 14 15 12 13
            (local.tee $sf (v128.xor (local.get $sf) (local.get $s3))) (local.get $sf)))
          ;; c += d; b = (b ^ c) <<< 12
          (local.set $s8 (i32x4.add (local.get $s8) (local.get $sc)))
          (local.set $s9 (i32x4.add (local.get $s9) (local.get $sd)))
          (local.set $sa (i32x4.add (local.get $sa) (local.get $se)))
          (local.set $sb (i32x4.add (local.get $sb) (local.get $sf)))
          (local.set $s4 (v128.or
            (i32x4.shl (local.tee $s4 (v128.xor (local.get $s4) (local.get $s8))) (i32.const 12))
            (i32x4.shr_u (local.get $s4) (i32.const 20))))
          (local.set $s5 (v128.or
            (i32x4.shl (local.tee $s5 (v128.xor (local.get $s5) (local.get $s9))) (i32.const 12))
            (i32x4.shr_u (local.get $s5) (i32.const 20))))
          (local.set $s6 (v128.or
            (i32x4.shl (local.tee $s6 (v128.xor (local.get $s6) (local.get $sa))) (i32.const 12))
            (i32x4.shr_u (local.get $s6) (i32.const 20))))
          (local.set $s7 (v128.or
            (i32x4.shl (local.tee $s7 (v128.xor (local.get $s7) (local.get $sb))) (i32.const 12))
            (i32x4.shr_u (local.get $s7) (i32.const 20))))
          ;; a += b; d = (d ^ a) <<< 8
          (local.set $s0 (i32x4.add (local.get $s0) (local.get $s4)))
          (local.set $s1 (i32x4.add (local.get $s1) (local.get $s5)))
          (local.set $s2 (i32x4.add (local.get $s2) (local.get $s6)))
          (local.set $s3 (i32x4.add (local.get $s3) (local.get $s7)))
          (local.set $sc (i8x16.shuffle 3 0 1 2 7 4 5 6 11 8 9 10 15 12 13 14
            (local.tee $sc (v128.xor (local.get $sc) (local.get $s0))) (local.get $sc)))
          (local.set $sd (i8x16.shuffle 3 0 1 2 7 4 5 6 11 8 9 10 15 12 13 14
            (local.tee $sd (v128.xor (local.get $sd) (local.get $s1))) (local.get $sd)))
          (local.set $se (i8x16.shuffle 3 0 1 2 7 4 5 6 11 8 9 10 15 12 13 14
            (local.tee $se (v128.xor (local.get $se) (local.get $s2))) (local.get $se)))
          (local.set $sf (i8x16.shuffle 3 0 1 2 7 4 5 6 11 8 9 10 15 12 13 14
            (local.tee $sf (v128.xor (local.get $sf) (local.get $s3))) (local.get $sf)))
          ;; c += d; b = (b ^ c) <<< 7
          (local.set $s8 (i32x4.add (local.get $s8) (local.get $sc)))
          (local.set $s9 (i32x4.add (local.get $s9) (local.get $sd)))
          (local.set $sa (i32x4.add (local.get $sa) (local.get $se)))
          (local.set $sb (i32x4.add (local.get $sb) (local.get $sf)))
          (local.set $s4 (v128.or
            (i32x4.shl (local.tee $s4 (v128.xor (local.get $s4) (local.get $s8))) (i32.const 7))
            (i32x4.shr_u (local.get $s4) (i32.const 25))))
          (local.set $s5 (v128.or
            (i32x4.shl (local.tee $s5 (v128.xor (local.get $s5) (local.get $s9))) (i32.const 7))
            (i32x4.shr_u (local.get $s5) (i32.const 25))))
          (local.set $s6 (v128.or
            (i32x4.shl (local.tee $s6 (v128.xor (local.get $s6) (local.get $sa))) (i32.const 7))
            (i32x4.shr_u (local.get $s6) (i32.const 25))))
          (local.set $s7 (v128.or
            (i32x4.shl (local.tee $s7 (v128.xor (local.get $s7) (local.get $sb))) (i32.const 7))
            (i32x4.shr_u (local.get $s7) (i32.const 25))))
        ;; Diagonals.
          ;; a += b; d = (d ^ a) <<< 16
          (local.set $s0 (i32x4.add (local.get $s0) (local.get $s5)))
          (local.set $s1 (i32x4.add (local.get $s1) (local.get $s6)))
          (local.set $s2 (i32x4.add (local.get $s2) (local.get $s7)))
          (local.set $s3 (i32x4.add (local.get $s3) (local.get $s4)))
          (local.set $sf (i8x16.shuffle 2 3 0 1 6 7 4 5 10 11 8 9 14 15 12 13
            (local.tee $sf (v128.xor (local.get $sf) (local.get $s0))) (local.get $sf)))
          (local.set $sc (i8x16.shuffle 2 3 0 1 6 7 4 5 10 11 8 9 14 15 12 13
            (local.tee $sc (v128.xor (local.get $sc) (local.get $s1))) (local.get $sc)))
          (local.set $sd (i8x16.shuffle 2 3 0 1 6 7 4 5 10 11 8 9 14 15 12 13
            (local.tee $sd (v128.xor (local.get $sd) (local.get $s2))) (local.get $sd)))
          (local.set $se (i8x16.shuffle 2 3 0 1 6 7 4 5 10 11 8 9 14 15 12 13
            (local.tee $se (v128.xor (local.get $se) (local.get $s3))) (local.get $se)))
          ;; c += d; b = (b ^ c) <<< 12
          (local.set $sa (i32x4.add (local.get $sa) (local.get $sf)))
          (local.set $sb (i32x4.add (local.get $sb) (local.get $sc)))
          (local.set $s8 (i32x4.add (local.get $s8) (local.get $sd)))
          (local.set $s9 (i32x4.add (local.get $s9) (local.get $se)))
          (local.set $s5 (v128.or
            (i32x4.shl (local.tee $s5 (v128.xor (local.get $s5) (local.get $sa))) (i32.const 12))
            (i32x4.shr_u (local.get $s5) (i32.const 20))))
          (local.set $s6 (v128.or
            (i32x4.shl (local.tee $s6 (v128.xor (local.get $s6) (local.get $sb))) (i32.const 12))
            (i32x4.shr_u (local.get $s6) (i32.const 20))))
          (local.set $s7 (v128.or
            (i32x4.shl (local.tee $s7 (v128.xor (local.get $s7) (local.get $s8))) (i32.const 12))
            (i32x4.shr_u (local.get $s7) (i32.const 20))))
          (local.set $s4 (v128.or
            (i32x4.shl (local.tee $s4 (v128.xor (local.get $s4) (local.get $s9))) (i32.const 12))
            (i32x4.shr_u (local.get $s4) (i32.const 20))))
          ;; a += b; d = (d ^ a) <<< 8
          (local.set $s0 (i32x4.add (local.get $s0) (local.get $s5)))
          (local.set $s1 (i32x4.add (local.get $s1) (local.get $s6)))
          (local.set $s2 (i32x4.add (local.get $s2) (local.get $s7)))
          (local.set $s3 (i32x4.add (local.get $s3) (local.get $s4)))
          (local.set $sf (i8x16.shuffle 3 0 1 2 7 4 5 6 11 8 9 10 15 12 13 14
            (local.tee $sf (v128.xor (local.get $sf) (local.get $s0))) (local.get $sf)))
          (local.set $sc (i8x16.shuffle 3 0 1 2 7 4 5 6 11 8 9 10 15 12 13 14
            (local.tee $sc (v128.xor (local.get $sc) (local.get $s1))) (local.get $sc)))
          (local.set $sd (i8x16.shuffle 3 0 1 2 7 4 5 6 11 8 9 10 15 12 13 14
            (local.tee $sd (v128.xor (local.get $sd) (local.get $s2))) (local.get $sd)))
          (local.set $se (i8x16.shuffle 3 0 1 2 7 4 5 6 11 8 9 10 15 12 13 14
            (local.tee $se (v128.xor (local.get $se) (local.get $s3))) (local.get $se)))
          ;; c += d; b = (b ^ c) <<< 7
          (local.set $sa (i32x4.add (local.get $sa) (local.get $sf)))
          (local.set $sb (i32x4.add (local.get $sb) (local.get $sc)))
          (local.set $s8 (i32x4.add (local.get $s8) (local.get $sd)))
          (local.set $s9 (i32x4.add (local.get $s9) (local.get $se)))
          (local.set $s5 (v128.or
            (i32x4.shl (local.tee $s5 (v128.xor (local.get $s5) (local.get $sa))) (i32.const 7))
            (i32x4.shr_u (local.get $s5) (i32.const 25))))
          (local.set $s6 (v128.or
            (i32x4.shl (local.tee $s6 (v128.xor (local.get $s6) (local.get $sb))) (i32.const 7))
            (i32x4.shr_u (local.get $s6) (i32.const 25))))
          (local.set $s7 (v128.or
            (i32x4.shl (local.tee $s7 (v128.xor (local.get $s7) (local.get $s8))) (i32.const 7))
            (i32x4.shr_u (local.get $s7) (i32.const 25))))
          (local.set $s4 (v128.or
            (i32x4.shl (local.tee $s4 (v128.xor (local.get $s4) (local.get $s9))) (i32.const 7))
            (i32x4.shr_u (local.get $s4) (i32.const 25))))
        (local.set $rounds (i32.sub (local.get $rounds) (i32.const 1)))
        (br_if $next_rounds (local.get $rounds)))
      ;; The state from before is added.
      (call $encrypt_words (local.get $at)
        (i32x4.add (local.get $s0) (v128.const i32x4 0x61707865 0x61707865 0x61707865 0x61707865))
        (i32x4.add (local.get $s1) (v128.const i32x4 0x3320646e 0x3320646e 0x3320646e 0x3320646e))
        (i32x4.add (local.get $s2) (v128.const i32x4 0x79622d32 0x79622d32 0x79622d32 0x79622d32))
        (i32x4.add (local.get $s3) (v128.const i32x4 0x6b206574 0x6b206574 0x6b206574 0x6b206574)))
      (call $encrypt_words (i32.add (local.get $at) (i32.const 16))
        (i32x4.add (local.get $s4) (v128.const i32x4 0x03020100 0x03020100 0x03020100 0x03020100))
        (i32x4.add (local.get $s5) (v128.const i32x4 0x07060504 0x07060504 0x07060504 0x07060504))
        (i32x4.add (local.get $s6) (v128.const i32x4 0x0b0a0908 0x0b0a0908 0x0b0a0908 0x0b0a0908))
        (i32x4.add (local.get $s7) (v128.const i32x4 0x0f0e0d0c 0x0f0e0d0c 0x0f0e0d0c 0x0f0e0d0c)))
      (call $encrypt_words (i32.add (local.get $at) (i32.const 32))
        (i32x4.add (local.get $s8) (v128.const i32x4 0x13121110 0x13121110 0x13121110 0x13121110))
        (i32x4.add (local.get $s9) (v128.const i32x4 0x17161514 0x17161514 0x17161514 0x17161514))
        (i32x4.add (local.get $sa) (v128.const i32x4 0x1b1a1918 0x1b1a1918 0x1b1a1918 0x1b1a1918))
        (i32x4.add (local.get $sb) (v128.const i32x4 0x1f1e1d1c 0x1f1e1d1c 0x1f1e1d1c 0x1f1e1d1c)))
      (call $encrypt_words (i32.add (local.get $at) (i32.const 48))
        (i32x4.add (local.get $sc) (local.get $counters))
        (i32x4.add (local.get $sd) (v128.const i32x4 0x09000000 0x09000000 0x09000000 0x09000000))
        (i32x4.add (local.get $se) (v128.const i32x4 0x4a000000 0x4a000000 0x4a000000 0x4a000000))
        (i32x4.add (local.get $sf) (v128.const i32x4 0x00000000 0x00000000 0x00000000 0x00000000)))
      (local.set $counters (i32x4.add (local.get $counters) (v128.const i32x4 4 4 4 4)))
      (local.set $at (i32.add (local.get $at) (i32.const 256)))
      (br_if $next_blocks (i32.lt_u (local.get $at) (i32.const 0x8000))))
    (local.get $counters))

  (func $checksum (result i32)
    (local $at i32) (local $sum i32)
    (loop $next
      (local.set $sum
        (i32.add (i32.mul (local.get $sum) (i32.const 31)) (i32.load (local.get $at))))
      (local.set $at (i32.add (local.get $at) (i32.const 4)))
      (br_if $next (i32.lt_u (local.get $at) (i32.const 0x8000))))
    (local.get $sum))

  (func (export "run") (param $rounds i32) (result i32)
    (local $counters v128)
    (memory.fill (i32.const 0) (i32.const 0) (i32.const 0x8000))
    (local.set $counters (v128.const i32x4 1 2 3 4))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $rounds)))
        (local.set $counters (call $encrypt (local.get $counters)))
        (local.set $rounds (i32.sub (local.get $rounds) (i32.const 1)))
        (br $next)))
    (call $checksum)))
