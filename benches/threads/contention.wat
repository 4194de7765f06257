;; Two threads on one shared memory: what `benches/contention.rs` runs.
;;
;;     0  the counter
;;    64  the mutex: 0 free, 1 locked, 2 locked and somebody may wait
;;   128  what the mutex protects
;;   192  the queue's tail: how many items were put in
;;   256  the queue's head: how many were taken out
;;  4096  the queue's items, 4 bytes each
(module
  (import "" "memory" (memory 1 1 shared))

  ;; Adds one to the counter, $n times.
  (func (export "count") (param $n i32)
    (loop $again
      (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))

  (func $lock (local $state i32)
    (if (local.tee $state
          (i32.atomic.rmw.cmpxchg (i32.const 64) (i32.const 0) (i32.const 1)))
      (then
        (if (i32.ne (local.get $state) (i32.const 2))
          (then (local.set $state (i32.atomic.rmw.xchg (i32.const 64) (i32.const 2)))))
        (block $got
          (loop $again
            (br_if $got (i32.eqz (local.get $state)))
            (drop (memory.atomic.wait32 (i32.const 64) (i32.const 2) (i64.const -1)))
            (local.set $state (i32.atomic.rmw.xchg (i32.const 64) (i32.const 2)))
            (br $again))))))

  (func $unlock
    (if (i32.ne (i32.const 1) (i32.atomic.rmw.sub (i32.const 64) (i32.const 1)))
      (then
        (i32.atomic.store (i32.const 64) (i32.const 0))
        (drop (memory.atomic.notify (i32.const 64) (i32.const 1))))))

  ;; Adds one to what the mutex protects, $n times.
  (func (export "mutex") (param $n i32)
    (loop $again
      (call $lock)
      (i32.store (i32.const 128) (i32.add (i32.load (i32.const 128)) (i32.const 1)))
      (call $unlock)
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))

  ;; Puts 0, 1, … $n - 1 into a queue that has room for $room (a power of two) of them.
  (func (export "put") (param $n i32) (param $room i32)
    (local $tail i32) (local $head i32)
    (loop $next
      (block $has_room
        (loop $wait
          (local.set $head (i32.atomic.load (i32.const 256)))
          (br_if $has_room
            (i32.lt_u (i32.sub (local.get $tail) (local.get $head)) (local.get $room)))
          (drop (memory.atomic.wait32 (i32.const 256) (local.get $head) (i64.const -1)))
          (br $wait)))
      (i32.store offset=4096
        (i32.shl (i32.and (local.get $tail) (i32.sub (local.get $room) (i32.const 1))) (i32.const 2))
        (local.get $tail))
      (local.set $tail (i32.add (local.get $tail) (i32.const 1)))
      (i32.atomic.store (i32.const 192) (local.get $tail))
      (drop (memory.atomic.notify (i32.const 192) (i32.const 1)))
      (br_if $next (i32.ne (local.get $tail) (local.get $n)))))

  ;; Takes $n items out; the number of those that were not the next in order.
  (func (export "take") (param $n i32) (param $room i32) (result i32)
    (local $head i32) (local $lost i32)
    (loop $next
      (block $has_item
        (loop $wait
          (br_if $has_item (i32.ne (i32.atomic.load (i32.const 192)) (local.get $head)))
          (drop (memory.atomic.wait32 (i32.const 192) (local.get $head) (i64.const -1)))
          (br $wait)))
      (local.set $lost (i32.add (local.get $lost)
        (i32.ne (local.get $head)
          (i32.load offset=4096
            (i32.shl (i32.and (local.get $head) (i32.sub (local.get $room) (i32.const 1)))
              (i32.const 2))))))
      (local.set $head (i32.add (local.get $head) (i32.const 1)))
      (i32.atomic.store (i32.const 256) (local.get $head))
      (drop (memory.atomic.notify (i32.const 256) (i32.const 1)))
      (br_if $next (i32.ne (local.get $head) (local.get $n))))
    (local.get $lost)))
