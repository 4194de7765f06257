;; The Mandelbrot set, in the terminal.
;;
;;     sarsen examples/wasi/mandelbrot.wat
;;
;; Into a terminal it writes true colours, two pixels in each cell (the upper half block `▀` has a
;; foreground and a background); into a file or pipe, shades made of letters.
(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param $fd i32) (param $iovecs i32) (param $count i32) (param $written i32)
      (result i32)))
  (import "wasi_snapshot_preview1" "fd_fdstat_get"
    (func $fd_fdstat_get (param $fd i32) (param $stat i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param $code i32)))

  ;; 0 iovec: address, length   8 bytes written   16 fdstat (24 bytes)
  ;; 64 texts   1024 the line that is being made
  (memory (export "memory") 1)
  (data (i32.const 64) "\1b[38;2;")     ;; foreground, then r;g;bm
  (data (i32.const 80) "\1b[48;2;")     ;; background
  (data (i32.const 96) "\e2\96\80")     ;; ▀
  (data (i32.const 104) "\1b[0m")       ;; plain again
  (data (i32.const 112) " .,:;-=+*oxX#%@ ")  ;; shades, from quick to slow; the set itself is blank

  (global $line i32 (i32.const 1024))
  (global $end (mut i32) (i32.const 1024))  ;; where the line ends by now

  (global $columns i32 (i32.const 78))
  (global $rows i32 (i32.const 24))
  (global $patience i32 (i32.const 1000))   ;; after so many steps a point counts as one of the set

  ;; -- Writing ---------------------------------------------------------------------------------

  (func $put_byte (param $byte i32)
    (i32.store8 (global.get $end) (local.get $byte))
    (global.set $end (i32.add (global.get $end) (i32.const 1))))

  (func $put_text (param $text i32) (param $length i32)
    (memory.copy (global.get $end) (local.get $text) (local.get $length))
    (global.set $end (i32.add (global.get $end) (local.get $length))))

  ;; A number, in decimal.
  (func $put_number (param $number i32)
    (if (i32.ge_u (local.get $number) (i32.const 10))
      (then (call $put_number (i32.div_u (local.get $number) (i32.const 10)))))
    (call $put_byte (i32.add (i32.const 48) (i32.rem_u (local.get $number) (i32.const 10)))))

  ;; Writes the line to standard output. Who reads it may have gone: then so do we.
  (func $write_line
    (call $put_byte (i32.const 10))
    (i32.store (i32.const 0) (global.get $line))
    (i32.store (i32.const 4) (i32.sub (global.get $end) (global.get $line)))
    (if (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))
      (then (call $proc_exit (i32.const 1))))
    (global.set $end (global.get $line)))

  ;; -- Computing -------------------------------------------------------------------------------

  ;; How soon z = z² + c leaves the circle of radius 2, as a value from 0 (at once) to 1 (never).
  (func $slowness (param $cx f64) (param $cy f64) (result f64)
    (local $x f64) (local $y f64) (local $xx f64) (local $yy f64) (local $steps i32)
    (loop $step
      (local.set $xx (f64.mul (local.get $x) (local.get $x)))
      (local.set $yy (f64.mul (local.get $y) (local.get $y)))
      (if (f64.gt (f64.add (local.get $xx) (local.get $yy)) (f64.const 4))
        ;; Most points leave within a few dozen steps: n / (n + 12) spreads those out.
        (then (return (f64.div
          (f64.convert_i32_u (local.get $steps))
          (f64.convert_i32_u (i32.add (local.get $steps) (i32.const 12)))))))
      (local.set $y (f64.add
        (f64.mul (f64.add (local.get $x) (local.get $x)) (local.get $y)) (local.get $cy)))
      (local.set $x (f64.add (f64.sub (local.get $xx) (local.get $yy)) (local.get $cx)))
      (local.set $steps (i32.add (local.get $steps) (i32.const 1)))
      (br_if $step (i32.lt_u (local.get $steps) (global.get $patience))))
    (f64.const 1))

  ;; The slowness at a point of a grid of `$columns` by `height` points.
  (func $at (param $column i32) (param $row i32) (param $height i32) (result f64)
    (call $slowness
      (f64.add (f64.const -2.2) (f64.mul (f64.const 3.2)
        (f64.div (f64.convert_i32_u (local.get $column))
                 (f64.convert_i32_u (global.get $columns)))))
      (f64.add (f64.const -1.2) (f64.mul (f64.const 2.4)
        (f64.div (f64.add (f64.convert_i32_u (local.get $row)) (f64.const 0.5))
                 (f64.convert_i32_u (local.get $height)))))))

  ;; -- Colours ---------------------------------------------------------------------------------

  ;; weight · (1-t)^a · t^b as a part of a colour, where both powers are small.
  (func $put_part (param $weight f64) (param $t f64) (param $a i32) (param $b i32)
    (loop $next
      (if (local.get $a) (then
        (local.set $weight
          (f64.mul (local.get $weight) (f64.sub (f64.const 1) (local.get $t))))
        (local.set $a (i32.sub (local.get $a) (i32.const 1)))
        (br $next)))
      (if (local.get $b) (then
        (local.set $weight (f64.mul (local.get $weight) (local.get $t)))
        (local.set $b (i32.sub (local.get $b) (i32.const 1)))
        (br $next))))
    (call $put_number (i32.trunc_sat_f64_u
      (f64.min (f64.const 255) (f64.mul (local.get $weight) (f64.const 255))))))

  ;; r;g;bm: from blue over green to red, black at either end.
  (func $put_colour (param $t f64)
    (call $put_part (f64.const 9) (local.get $t) (i32.const 1) (i32.const 3))
    (call $put_byte (i32.const 59))
    (call $put_part (f64.const 15) (local.get $t) (i32.const 2) (i32.const 2))
    (call $put_byte (i32.const 59))
    (call $put_part (f64.const 8.5) (local.get $t) (i32.const 3) (i32.const 1))
    (call $put_byte (i32.const 109)))

  (func $coloured_cell (param $column i32) (param $row i32)
    (local $height i32)
    (local.set $height (i32.mul (global.get $rows) (i32.const 2)))
    (local.set $row (i32.mul (local.get $row) (i32.const 2)))
    (call $put_text (i32.const 64) (i32.const 7))
    (call $put_colour (call $at (local.get $column) (local.get $row) (local.get $height)))
    (call $put_text (i32.const 80) (i32.const 7))
    (call $put_colour (call $at
      (local.get $column) (i32.add (local.get $row) (i32.const 1)) (local.get $height)))
    (call $put_text (i32.const 96) (i32.const 3)))

  (func $shaded_cell (param $column i32) (param $row i32)
    (call $put_byte (i32.load8_u (i32.add (i32.const 112) (i32.trunc_f64_u
      (f64.mul (f64.const 15) (call $at
        (local.get $column) (local.get $row) (global.get $rows))))))))

  ;; -- The program -----------------------------------------------------------------------------

  ;; Whether standard output is a terminal: a character device (type 2).
  (func $is_terminal (result i32)
    (drop (call $fd_fdstat_get (i32.const 1) (i32.const 16)))
    (i32.eq (i32.load8_u (i32.const 16)) (i32.const 2)))

  (func (export "_start")
    (local $row i32) (local $column i32) (local $coloured i32)
    (local.set $coloured (call $is_terminal))
    (loop $next_row
      (local.set $column (i32.const 0))
      (loop $next_column
        (if (local.get $coloured)
          (then (call $coloured_cell (local.get $column) (local.get $row)))
          (else (call $shaded_cell (local.get $column) (local.get $row))))
        (local.set $column (i32.add (local.get $column) (i32.const 1)))
        (br_if $next_column (i32.lt_u (local.get $column) (global.get $columns))))
      (if (local.get $coloured) (then (call $put_text (i32.const 104) (i32.const 4))))
      (call $write_line)
      (local.set $row (i32.add (local.get $row) (i32.const 1)))
      (br_if $next_row (i32.lt_u (local.get $row) (global.get $rows))))))
