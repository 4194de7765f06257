;; An interpreter of the language with eight commands.
;;
;;     sarsen examples/wasi/brainf.wat                      (a program of its own)
;;     sarsen examples/wasi/brainf.wat '++++++++[>++++++++<-]>+.'
;;     echo hello | sarsen examples/wasi/brainf.wat ',[.,]'
;;
;;     >  next cell     +  add one      .  write the cell as a byte    [  jump behind the ] if zero
;;     <  cell before   -  take one     ,  read a byte, 0 at the end   ]  jump back to the [
;;
;; A first pass leaves comments out and pairs the brackets; the second one runs. The tape has 30,000
;; cells of one byte. A mistake in the program is a message and the exit status 1.
(module
  (import "wasi_snapshot_preview1" "args_sizes_get"
    (func $args_sizes_get (param $count i32) (param $bytes i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get"
    (func $args_get (param $pointers i32) (param $strings i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read"
    (func $fd_read (param $fd i32) (param $iovecs i32) (param $count i32) (param $read i32)
      (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param $fd i32) (param $iovecs i32) (param $count i32) (param $written i32)
      (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param $code i32)))

  ;; 0 results of calls   16 iovec   64 texts   512 the program of its own
  ;; 4096 output (4 KiB)   8192 input (4 KiB)   16384 tape   65536 arguments
  ;; then the commands, one byte each, and for each command 4 bytes: where its pair is
  (memory (export "memory") 2)
  (data (i32.const 64) "brainf: a bracket has no partner\n")
  (data (i32.const 128) "brainf: the program left the tape\n")
  (data (i32.const 192) "brainf: the program is too long\n")

  ;; A pyramid. Cells: 0 rows to come, 3 stars in this row, 6 '*', 7 newline, 8 space;
  ;; 1, 2, 4 and 5 are for copying.
  (data (i32.const 512)
    "+++++++++++++++"                        ;; fifteen rows
    ">>>+"                                   ;; one star in the first
    ">>>>++++++[<+++++++>-]"                 ;; 6 times 7 is a star
    "++++++++[>++++<-]"                      ;; 8 times 4 is a space
    "++++++++++<<<<<<<"                      ;; 10 is a newline
    "["
      "[>+>+<<-]>[<+>-]>[>>>>>>.<<<<<<-]"    ;; as many spaces as rows are to come
      ">[>+>+<<-]>[<+>-]>[>.<-]>>."          ;; stars, newline
      "<<<<++<<<-"                           ;; two stars more, one row less
    "]\00")

  (global $tape i32 (i32.const 16384))
  (global $tape_end i32 (i32.const 46384))
  (global $args i32 (i32.const 65536))

  (global $commands (mut i32) (i32.const 0))      ;; where the commands are,
  (global $commands_end (mut i32) (i32.const 0))  ;; end,
  (global $pairs (mut i32) (i32.const 0))         ;; and where their pairs are
  (global $output_end (mut i32) (i32.const 4096))
  (global $input_at (mut i32) (i32.const 8192))
  (global $input_end (mut i32) (i32.const 8192))

  ;; -- Reading and writing ---------------------------------------------------------------------

  (func $write (param $fd i32) (param $text i32) (param $length i32)
    (i32.store (i32.const 16) (local.get $text))
    (i32.store (i32.const 20) (local.get $length))
    (if (call $fd_write (local.get $fd) (i32.const 16) (i32.const 1) (i32.const 0))
      (then (call $proc_exit (i32.const 1)))))

  (func $flush
    (call $write (i32.const 1) (i32.const 4096)
      (i32.sub (global.get $output_end) (i32.const 4096)))
    (global.set $output_end (i32.const 4096)))

  (func $put (param $byte i32)
    (i32.store8 (global.get $output_end) (local.get $byte))
    (global.set $output_end (i32.add (global.get $output_end) (i32.const 1)))
    (if (i32.eq (global.get $output_end) (i32.const 8192)) (then (call $flush))))

  ;; The next byte of input, 0 at its end. Who is asked for input should see what was written.
  (func $take (result i32)
    (if (i32.eq (global.get $input_at) (global.get $input_end)) (then
      (call $flush)
      (i32.store (i32.const 16) (i32.const 8192))
      (i32.store (i32.const 20) (i32.const 4096))
      (i32.store (i32.const 0) (i32.const 0))
      (drop (call $fd_read (i32.const 0) (i32.const 16) (i32.const 1) (i32.const 0)))
      (if (i32.eqz (i32.load (i32.const 0))) (then (return (i32.const 0))))
      (global.set $input_at (i32.const 8192))
      (global.set $input_end (i32.add (i32.const 8192) (i32.load (i32.const 0))))))
    (i32.load8_u (global.get $input_at))
    (global.set $input_at (i32.add (global.get $input_at) (i32.const 1))))

  (func $fail (param $text i32) (param $length i32)
    (call $flush)
    (call $write (i32.const 2) (local.get $text) (local.get $length))
    (call $proc_exit (i32.const 1)))

  ;; -- First pass ------------------------------------------------------------------------------

  ;; Makes the memory at least this long.
  (func $reach (param $end i64)
    (local $missing i64)
    (local.set $missing (i64.sub
      (i64.add (local.get $end) (i64.const 65535))
      (i64.shl (i64.extend_i32_u (memory.size)) (i64.const 16))))
    (if (i64.gt_s (local.get $missing) (i64.const 0)) (then
      (if (i32.eq (i32.const -1) (memory.grow
            (i32.wrap_i64 (i64.shr_u (local.get $missing) (i64.const 16)))))
        (then (call $fail (i32.const 192) (i32.const 32)))))))

  ;; The program: the first argument if there is one. What follows the arguments is free.
  (func $fetch (result i32)
    (local $count i32) (local $strings i32) (local $end i32)
    (drop (call $args_sizes_get (i32.const 0) (i32.const 4)))
    (local.set $count (i32.load (i32.const 0)))
    (local.set $strings
      (i32.add (global.get $args) (i32.mul (local.get $count) (i32.const 4))))
    (local.set $end (i32.add (local.get $strings) (i32.load (i32.const 4))))
    ;; Commands are at most as many as there are bytes; with their pairs five times as long.
    (call $reach (i64.add (i64.extend_i32_u (local.get $end))
      (i64.mul (i64.const 5) (i64.add (i64.const 4096)
        (i64.extend_i32_u (i32.load (i32.const 4)))))))
    (global.set $commands (local.get $end))
    (if (call $args_get (global.get $args) (local.get $strings))
      (then (call $proc_exit (i32.const 1))))
    (if (result i32) (i32.ge_u (local.get $count) (i32.const 2))
      (then (i32.load offset=4 (global.get $args)))
      (else (i32.const 512))))

  (func $is_command (param $byte i32) (result i32)
    (block $yes
      (br_if $yes (i32.lt_u (i32.sub (local.get $byte) (i32.const 43)) (i32.const 4)))  ;; + , - .
      (br_if $yes (i32.eq (local.get $byte) (i32.const 60)))   ;; <
      (br_if $yes (i32.eq (local.get $byte) (i32.const 62)))   ;; >
      (br_if $yes (i32.eq (local.get $byte) (i32.const 91)))   ;; [
      (br_if $yes (i32.eq (local.get $byte) (i32.const 93)))   ;; ]
      (return (i32.const 0)))
    (i32.const 1))

  ;; Copies the commands of a program.
  (func $copy_commands (param $program i32)
    (local $byte i32)
    (global.set $commands_end (global.get $commands))
    (loop $next
      (local.set $byte (i32.load8_u (local.get $program)))
      (if (call $is_command (local.get $byte)) (then
        (i32.store8 (global.get $commands_end) (local.get $byte))
        (global.set $commands_end (i32.add (global.get $commands_end) (i32.const 1)))))
      (local.set $program (i32.add (local.get $program) (i32.const 1)))
      (br_if $next (local.get $byte)))
    (global.set $pairs (global.get $commands_end)))

  ;; Where the pair of the command at this address is kept.
  (func $pair_of (param $command i32) (result i32)
    (i32.add (global.get $pairs)
      (i32.mul (i32.const 4) (i32.sub (local.get $command) (global.get $commands)))))

  ;; Pairs the brackets. Those still open are a list, linked through their places for pairs.
  (func $pair_brackets
    (local $command i32) (local $byte i32) (local $open i32) (local $before i32)
    (local.set $command (global.get $commands))
    (block $done
      (loop $next
        (br_if $done (i32.eq (local.get $command) (global.get $commands_end)))
        (local.set $byte (i32.load8_u (local.get $command)))
        (if (i32.eq (local.get $byte) (i32.const 91)) (then
          (i32.store (call $pair_of (local.get $command)) (local.get $open))
          (local.set $open (local.get $command))))
        (if (i32.eq (local.get $byte) (i32.const 93)) (then
          (if (i32.eqz (local.get $open))
            (then (call $fail (i32.const 64) (i32.const 33))))
          (local.set $before (i32.load (call $pair_of (local.get $open))))
          (i32.store (call $pair_of (local.get $open)) (local.get $command))
          (i32.store (call $pair_of (local.get $command)) (local.get $open))
          (local.set $open (local.get $before))))
        (local.set $command (i32.add (local.get $command) (i32.const 1)))
        (br $next)))
    (if (local.get $open) (then (call $fail (i32.const 64) (i32.const 33)))))

  ;; -- Second pass -----------------------------------------------------------------------------

  (func $run
    (local $command i32) (local $cell i32)
    (local.set $cell (global.get $tape))
    (local.set $command (global.get $commands))
    (loop $next
      (if (i32.eq (local.get $command) (global.get $commands_end)) (then (return)))
      (block $step
        (block $close (block $open (block $right (block $left
        (block $dot (block $minus (block $comma (block $plus
          ;; From '+' (43) to ']' (93), every other byte being no command.
          (br_table
            $plus $comma $minus $dot   $step $step $step $step $step $step $step $step $step
            $step $step $step $step    $left $step $right
            $step $step $step $step $step $step $step $step $step $step $step $step $step $step
            $step $step $step $step $step $step $step $step $step $step $step $step $step $step
            $open $step $close $step
            (i32.sub (i32.load8_u (local.get $command)) (i32.const 43))))

          ;; plus
          (i32.store8 (local.get $cell)
            (i32.add (i32.load8_u (local.get $cell)) (i32.const 1)))
          (br $step))
        ;; comma
        (i32.store8 (local.get $cell) (call $take))
        (br $step))
        ;; minus
        (i32.store8 (local.get $cell)
          (i32.sub (i32.load8_u (local.get $cell)) (i32.const 1)))
        (br $step))
        ;; dot
        (call $put (i32.load8_u (local.get $cell)))
        (br $step))
        ;; left
        (if (i32.eq (local.get $cell) (global.get $tape))
          (then (call $fail (i32.const 128) (i32.const 34))))
        (local.set $cell (i32.sub (local.get $cell) (i32.const 1)))
        (br $step))
        ;; right
        (local.set $cell (i32.add (local.get $cell) (i32.const 1)))
        (if (i32.eq (local.get $cell) (global.get $tape_end))
          (then (call $fail (i32.const 128) (i32.const 34))))
        (br $step))
        ;; open
        (if (i32.eqz (i32.load8_u (local.get $cell)))
          (then (local.set $command (i32.load (call $pair_of (local.get $command))))))
        (br $step))
        ;; close
        (if (i32.load8_u (local.get $cell))
          (then (local.set $command (i32.load (call $pair_of (local.get $command)))))))
      (local.set $command (i32.add (local.get $command) (i32.const 1)))
      (br $next)))

  (func (export "_start")
    (call $copy_commands (call $fetch))
    (call $pair_brackets)
    (call $run)
    (call $flush)))
