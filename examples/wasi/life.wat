;; Conway's Game of Life: the glider gun, which shoots for ever.
;;
;;     sarsen examples/wasi/life.wat
;;
;; In a terminal it moves, for about two seconds; into a file or pipe it writes only the last
;; generation. Shows how a program sleeps: `poll_oneoff` waits for a clock.
(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param $fd i32) (param $iovecs i32) (param $count i32) (param $written i32)
      (result i32)))
  (import "wasi_snapshot_preview1" "fd_fdstat_get"
    (func $fd_fdstat_get (param $fd i32) (param $stat i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff"
    (func $poll_oneoff (param $subscriptions i32) (param $events i32) (param $count i32)
      (param $happened i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param $code i32)))

  ;; 0 iovec, bytes written   16 fdstat   64 subscription   128 event   192 texts   512 the gun
  ;; 4096 the picture   32768 this generation   49152 the next
  ;;
  ;; A generation is a byte a cell, 0 or 1, row after row. Around the field lie cells that are
  ;; always dead, so that every cell of the field has eight neighbours.
  (memory (export "memory") 1)
  (global $columns i32 (i32.const 76))
  (global $rows i32 (i32.const 44))
  (global $stride i32 (i32.const 78))
  (global $now (mut i32) (i32.const 32768))
  (global $next (mut i32) (i32.const 49152))
  (global $generations i32 (i32.const 60))

  (data (i32.const 192) "\1b[22A")   ;; up, to the picture's first line
  (data (i32.const 200) " ")
  (data (i32.const 204) "\e2\96\80")  ;; ▀
  (data (i32.const 208) "\e2\96\84")  ;; ▄
  (data (i32.const 212) "\e2\96\88")  ;; █

  ;; The gun, 36 columns and 9 rows.
  (data (i32.const 512)
    "........................#..........."
    "......................#.#..........."
    "............##......##............##"
    "...........#...#....##............##"
    "##........#.....#...##.............."
    "##........#...#.##....#.#..........."
    "..........#.....#.......#..........."
    "...........#...#...................."
    "............##......................")

  ;; Where a cell is. The field's first one has column 0 and row 0.
  (func $cell (param $generation i32) (param $column i32) (param $row i32) (result i32)
    (i32.add (i32.add (local.get $generation) (i32.add (local.get $column) (i32.const 1)))
      (i32.mul (i32.add (local.get $row) (i32.const 1)) (global.get $stride))))

  (func $place_gun
    (local $column i32) (local $row i32)
    (loop $next_row
      (local.set $column (i32.const 0))
      (loop $next_column
        (i32.store8
          (call $cell (global.get $now)
            (i32.add (local.get $column) (i32.const 2)) (i32.add (local.get $row) (i32.const 2)))
          (i32.eq (i32.const 35)  ;; #
            (i32.load8_u (i32.add (i32.const 512)
              (i32.add (i32.mul (local.get $row) (i32.const 36)) (local.get $column))))))
        (local.set $column (i32.add (local.get $column) (i32.const 1)))
        (br_if $next_column (i32.lt_u (local.get $column) (i32.const 36))))
      (local.set $row (i32.add (local.get $row) (i32.const 1)))
      (br_if $next_row (i32.lt_u (local.get $row) (i32.const 9)))))

  ;; How many live among three cells in a row, the middle one at this address.
  (func $three (param $middle i32) (result i32)
    (i32.add (i32.load8_u (i32.sub (local.get $middle) (i32.const 1)))
      (i32.add (i32.load8_u (local.get $middle))
        (i32.load8_u (i32.add (local.get $middle) (i32.const 1))))))

  ;; Whether a cell will live: with three neighbours always, with two if it lives now.
  (func $lives (param $cell i32) (result i32)
    (local $around i32) (local $self i32)
    (local.set $self (i32.load8_u (local.get $cell)))
    (local.set $around (i32.sub
      (i32.add (call $three (local.get $cell))
        (i32.add (call $three (i32.sub (local.get $cell) (global.get $stride)))
          (call $three (i32.add (local.get $cell) (global.get $stride)))))
      (local.get $self)))
    ;; 2 | 1 and 3 | 0 and 3 | 1 are 3, nothing else is.
    (i32.eq (i32.const 3) (i32.or (local.get $around) (local.get $self))))

  (func $generation
    (local $column i32) (local $row i32) (local $now i32)
    (loop $next_row
      (local.set $column (i32.const 0))
      (loop $next_column
        (i32.store8
          (call $cell (global.get $next) (local.get $column) (local.get $row))
          (call $lives (call $cell (global.get $now) (local.get $column) (local.get $row))))
        (local.set $column (i32.add (local.get $column) (i32.const 1)))
        (br_if $next_column (i32.lt_u (local.get $column) (global.get $columns))))
      (local.set $row (i32.add (local.get $row) (i32.const 1)))
      (br_if $next_row (i32.lt_u (local.get $row) (global.get $rows))))
    (local.set $now (global.get $now))
    (global.set $now (global.get $next))
    (global.set $next (local.get $now)))

  ;; Copies a text, returns where it ends.
  (func $put (param $at i32) (param $text i32) (param $length i32) (result i32)
    (memory.copy (local.get $at) (local.get $text) (local.get $length))
    (i32.add (local.get $at) (local.get $length)))

  ;; Two cells, one above the other, as one character.
  (func $put_cells (param $at i32) (param $column i32) (param $row i32) (result i32)
    (local $cell i32) (local $shape i32)
    (local.set $cell (call $cell (global.get $now) (local.get $column) (local.get $row)))
    (local.set $shape (i32.add (i32.load8_u (local.get $cell))
      (i32.mul (i32.const 2)
        (i32.load8_u (i32.add (local.get $cell) (global.get $stride))))))
    (call $put (local.get $at)
      (i32.add (i32.const 200) (i32.mul (local.get $shape) (i32.const 4)))
      (select (i32.const 3) (i32.const 1) (local.get $shape))))

  (func $write (param $text i32) (param $length i32)
    (i32.store (i32.const 0) (local.get $text))
    (i32.store (i32.const 4) (local.get $length))
    (if (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))
      (then (call $proc_exit (i32.const 1)))))

  (func $show
    (local $column i32) (local $row i32) (local $end i32)
    (local.set $end (i32.const 4096))
    (loop $next_row
      (local.set $column (i32.const 0))
      (loop $next_column
        (local.set $end
          (call $put_cells (local.get $end) (local.get $column) (local.get $row)))
        (local.set $column (i32.add (local.get $column) (i32.const 1)))
        (br_if $next_column (i32.lt_u (local.get $column) (global.get $columns))))
      (i32.store8 (local.get $end) (i32.const 10))
      (local.set $end (i32.add (local.get $end) (i32.const 1)))
      (local.set $row (i32.add (local.get $row) (i32.const 2)))
      (br_if $next_row (i32.lt_u (local.get $row) (global.get $rows))))
    (call $write (i32.const 4096) (i32.sub (local.get $end) (i32.const 4096))))

  ;; Sleeps for 30 ms.
  (func $sleep
    (i32.store8 offset=8 (i32.const 64) (i32.const 0))            ;; a clock,
    (i32.store offset=16 (i32.const 64) (i32.const 1))            ;; the monotonic one,
    (i64.store offset=24 (i32.const 64) (i64.const 30000000))     ;; in nanoseconds,
    (i32.store16 offset=40 (i32.const 64) (i32.const 0))          ;; from now
    (drop (call $poll_oneoff (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 8))))

  ;; Whether standard output is a terminal: a character device (type 2).
  (func $is_terminal (result i32)
    (drop (call $fd_fdstat_get (i32.const 1) (i32.const 16)))
    (i32.eq (i32.load8_u (i32.const 16)) (i32.const 2)))

  (func (export "_start")
    (local $left i32) (local $moves i32)
    (local.set $moves (call $is_terminal))
    (local.set $left (global.get $generations))
    (call $place_gun)
    (loop $next
      (if (local.get $moves) (then
        (call $show)
        (call $sleep)
        (call $write (i32.const 192) (i32.const 5))))
      (call $generation)
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $next (local.get $left)))
    (call $show)))
