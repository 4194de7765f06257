;; Counts lines, words and bytes of files, as `wc` does; of standard input, if no file is named.
;;
;;     sarsen run --dir . examples/wasi/wc.wat README.md ARCHITECTURE.md
;;
;; Shows how a program finds its files: it has no file system, only directories that were opened for
;; it, at descriptors 3, 4, … Each has a name; a path that starts with it is looked up there.
(module
  (import "wasi_snapshot_preview1" "args_sizes_get"
    (func $args_sizes_get (param $count i32) (param $bytes i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get"
    (func $args_get (param $pointers i32) (param $strings i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_get"
    (func $fd_prestat_get (param $fd i32) (param $prestat i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_dir_name"
    (func $fd_prestat_dir_name (param $fd i32) (param $name i32) (param $length i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param $fd i32) (param $lookup i32) (param $path i32) (param $length i32)
      (param $open i32) (param $rights i64) (param $inheriting i64) (param $flags i32)
      (param $opened i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read"
    (func $fd_read (param $fd i32) (param $iovecs i32) (param $count i32) (param $read i32)
      (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param $fd i32) (param $iovecs i32) (param $count i32) (param $written i32)
      (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param $fd i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param $code i32)))

  ;; 0 results of calls   16 iovec   64 texts   128 a directory's name   4352 a line of output
  ;; 65536 what was read (64 KiB)   131072 arguments: pointers, then strings
  (memory (export "memory") 3)
  (data (i32.const 64) "wc: ")
  (data (i32.const 72) ": cannot open\n")
  (data (i32.const 96) "total")
  (global $buffer i32 (i32.const 65536))
  (global $buffer_size i32 (i32.const 65536))
  (global $args i32 (i32.const 131072))

  ;; Counts of the current file, and of all.
  (global $lines (mut i64) (i64.const 0))
  (global $words (mut i64) (i64.const 0))
  (global $bytes (mut i64) (i64.const 0))
  (global $all_lines (mut i64) (i64.const 0))
  (global $all_words (mut i64) (i64.const 0))
  (global $all_bytes (mut i64) (i64.const 0))
  (global $status (mut i32) (i32.const 0))

  ;; -- Strings ---------------------------------------------------------------------------------

  (func $length (param $string i32) (result i32)
    (local $end i32)
    (local.set $end (local.get $string))
    (loop $next
      (if (i32.load8_u (local.get $end)) (then
        (local.set $end (i32.add (local.get $end) (i32.const 1)))
        (br $next))))
    (i32.sub (local.get $end) (local.get $string)))

  ;; Whether the first `$length` bytes of two strings are equal.
  (func $starts_with (param $string i32) (param $start i32) (param $length i32) (result i32)
    (loop $next
      (if (i32.eqz (local.get $length)) (then (return (i32.const 1))))
      (if (i32.ne (i32.load8_u (local.get $string)) (i32.load8_u (local.get $start)))
        (then (return (i32.const 0))))
      (local.set $string (i32.add (local.get $string) (i32.const 1)))
      (local.set $start (i32.add (local.get $start) (i32.const 1)))
      (local.set $length (i32.sub (local.get $length) (i32.const 1)))
      (br $next))
    (unreachable))

  (func $write (param $fd i32) (param $text i32) (param $length i32)
    (i32.store (i32.const 16) (local.get $text))
    (i32.store (i32.const 20) (local.get $length))
    (if (call $fd_write (local.get $fd) (i32.const 16) (i32.const 1) (i32.const 0))
      (then (call $proc_exit (i32.const 1)))))

  ;; -- Files -----------------------------------------------------------------------------------

  ;; Opens a file by its path for reading. Returns its descriptor, or -1.
  (func $open (param $path i32) (result i32)
    (local $fd i32) (local $name_length i32) (local $rest i32)
    (local.set $fd (i32.const 3))
    (loop $next_directory
      (if (call $fd_prestat_get (local.get $fd) (i32.const 0))
        (then (return (i32.const -1))))  ;; there are no more
      (local.set $name_length (i32.load (i32.const 4)))
      (if (i32.eqz (call $fd_prestat_dir_name
            (local.get $fd) (i32.const 128) (local.get $name_length)))
        (then
          (local.set $rest
            (call $below (local.get $path) (i32.const 128) (local.get $name_length)))
          (if (local.get $rest) (then
            (if (i32.eqz (call $path_open (local.get $fd)
                  (i32.const 1)     ;; follow links
                  (local.get $rest) (call $length (local.get $rest))
                  (i32.const 0)     ;; neither create nor truncate
                  (i64.const 0x2)   ;; the right to read
                  (i64.const 0) (i32.const 0) (i32.const 0)))
              (then (return (i32.load (i32.const 0)))))))))
      (local.set $fd (i32.add (local.get $fd) (i32.const 1)))
      (br $next_directory))
    (unreachable))

  ;; The path as seen from the directory of this name, or 0 if it is not below that.
  (func $below (param $path i32) (param $name i32) (param $length i32) (result i32)
    ;; From the current directory, a relative path is seen as it is.
    (if (i32.and (i32.eq (local.get $length) (i32.const 1))
                 (i32.eq (i32.load8_u (local.get $name)) (i32.const 46)))  ;; .
      (then (return (local.get $path))))
    (if (i32.eqz (call $starts_with (local.get $path) (local.get $name) (local.get $length)))
      (then (return (i32.const 0))))
    (local.set $path (i32.add (local.get $path) (local.get $length)))
    ;; The name `/` has its slash; any other must be followed by one.
    (if (i32.eq (i32.load8_u (local.get $path)) (i32.const 47))
      (then (return (i32.add (local.get $path) (i32.const 1)))))
    (select (local.get $path) (i32.const 0) (i32.eq (local.get $length) (i32.const 1))))

  ;; -- Counting --------------------------------------------------------------------------------

  ;; Counts the rest of a descriptor into $lines, $words, $bytes.
  (func $count (param $fd i32)
    (local $at i32) (local $end i32) (local $byte i32) (local $in_word i32)
    (global.set $lines (i64.const 0))
    (global.set $words (i64.const 0))
    (global.set $bytes (i64.const 0))
    (loop $next_buffer
      (i32.store (i32.const 16) (global.get $buffer))
      (i32.store (i32.const 20) (global.get $buffer_size))
      (if (call $fd_read (local.get $fd) (i32.const 16) (i32.const 1) (i32.const 0))
        (then (global.set $status (i32.const 1)) (return)))
      (local.set $at (global.get $buffer))
      (local.set $end (i32.add (local.get $at) (i32.load (i32.const 0))))
      (if (i32.eq (local.get $at) (local.get $end)) (then (return)))
      (global.set $bytes (i64.add (global.get $bytes) (i64.load32_u (i32.const 0))))
      (loop $next_byte
        (local.set $byte (i32.load8_u (local.get $at)))
        (if (i32.eq (local.get $byte) (i32.const 10))
          (then (global.set $lines (i64.add (global.get $lines) (i64.const 1)))))
        ;; A space, or one of tab, newline, vertical tab, form feed, return (9 to 13).
        (if (i32.or (i32.eq (local.get $byte) (i32.const 32))
                    (i32.lt_u (i32.sub (local.get $byte) (i32.const 9)) (i32.const 5)))
          (then (local.set $in_word (i32.const 0)))
          (else
            (if (i32.eqz (local.get $in_word))
              (then (global.set $words (i64.add (global.get $words) (i64.const 1)))))
            (local.set $in_word (i32.const 1))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br_if $next_byte (i32.lt_u (local.get $at) (local.get $end))))
      (br $next_buffer)))

  ;; -- Output ----------------------------------------------------------------------------------

  ;; A number in 8 columns, or more if it needs them, at `$at`. Returns where it ends.
  (func $put_number (param $at i32) (param $number i64) (result i32)
    (local $digit i32) (local $end i32)
    (local.set $digit (i32.const 4600))  ;; digits are made from the right, below this address
    (loop $next
      (local.set $digit (i32.sub (local.get $digit) (i32.const 1)))
      (i32.store8 (local.get $digit)
        (i32.add (i32.const 48) (i32.wrap_i64 (i64.rem_u (local.get $number) (i64.const 10)))))
      (local.set $number (i64.div_u (local.get $number) (i64.const 10)))
      (br_if $next (i64.ne (local.get $number) (i64.const 0))))
    (loop $pad
      (if (i32.gt_u (local.get $digit) (i32.const 4592)) (then
        (local.set $digit (i32.sub (local.get $digit) (i32.const 1)))
        (i32.store8 (local.get $digit) (i32.const 32))
        (br $pad))))
    (local.set $end
      (i32.add (local.get $at) (i32.sub (i32.const 4600) (local.get $digit))))
    (memory.copy (local.get $at) (local.get $digit)
      (i32.sub (i32.const 4600) (local.get $digit)))
    (local.get $end))

  ;; One line of the result. No name is 0.
  (func $report (param $lines i64) (param $words i64) (param $bytes i64) (param $name i32)
    (local $end i32)
    (local.set $end (call $put_number (i32.const 4352) (local.get $lines)))
    (local.set $end (call $put_number (local.get $end) (local.get $words)))
    (local.set $end (call $put_number (local.get $end) (local.get $bytes)))
    (i32.store8 (local.get $end) (i32.const 32))
    (call $write (i32.const 1) (i32.const 4352)
      (i32.sub (i32.add (local.get $end) (i32.ne (local.get $name) (i32.const 0)))
               (i32.const 4352)))
    (if (local.get $name)
      (then (call $write (i32.const 1) (local.get $name) (call $length (local.get $name)))))
    (i32.store8 (i32.const 4352) (i32.const 10))
    (call $write (i32.const 1) (i32.const 4352) (i32.const 1)))

  ;; -- The program -----------------------------------------------------------------------------

  (func $count_file (param $path i32)
    (local $fd i32)
    (local.set $fd (call $open (local.get $path)))
    (if (i32.eq (local.get $fd) (i32.const -1)) (then
      (call $write (i32.const 2) (i32.const 64) (i32.const 4))
      (call $write (i32.const 2) (local.get $path) (call $length (local.get $path)))
      (call $write (i32.const 2) (i32.const 72) (i32.const 14))
      (global.set $status (i32.const 1))
      (return)))
    (call $count (local.get $fd))
    (drop (call $fd_close (local.get $fd)))
    (call $report
      (global.get $lines) (global.get $words) (global.get $bytes) (local.get $path))
    (global.set $all_lines (i64.add (global.get $all_lines) (global.get $lines)))
    (global.set $all_words (i64.add (global.get $all_words) (global.get $words)))
    (global.set $all_bytes (i64.add (global.get $all_bytes) (global.get $bytes))))

  ;; Fetches the arguments to $args. Returns how many there are.
  (func $fetch_args (result i32)
    (local $missing i32)
    (drop (call $args_sizes_get (i32.const 0) (i32.const 4)))
    (local.set $missing (i32.sub
      (i32.add (global.get $args)
        (i32.add (i32.mul (i32.load (i32.const 0)) (i32.const 4)) (i32.load (i32.const 4))))
      (i32.mul (memory.size) (i32.const 65536))))
    (if (i32.gt_s (local.get $missing) (i32.const 0)) (then
      (if (i32.eq (i32.const -1) (memory.grow
            (i32.add (i32.const 1) (i32.shr_u (local.get $missing) (i32.const 16)))))
        (then (call $proc_exit (i32.const 1))))))
    (drop (call $args_get (global.get $args)
      (i32.add (global.get $args) (i32.mul (i32.load (i32.const 0)) (i32.const 4)))))
    (i32.load (i32.const 0)))

  (func (export "_start")
    (local $args i32) (local $arg i32)
    (local.set $args (call $fetch_args))
    (if (i32.lt_u (local.get $args) (i32.const 2))
      (then
        (call $count (i32.const 0))
        (call $report (global.get $lines) (global.get $words) (global.get $bytes) (i32.const 0)))
      (else
        (local.set $arg (i32.const 1))
        (loop $next
          (call $count_file (i32.load
            (i32.add (global.get $args) (i32.mul (local.get $arg) (i32.const 4)))))
          (local.set $arg (i32.add (local.get $arg) (i32.const 1)))
          (br_if $next (i32.lt_u (local.get $arg) (local.get $args))))
        (if (i32.gt_u (local.get $args) (i32.const 2)) (then
          (call $report (global.get $all_lines) (global.get $all_words) (global.get $all_bytes)
            (i32.const 96))))))
    (call $proc_exit (global.get $status))))
