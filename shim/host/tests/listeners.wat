;; Shows what it was started with, and serves once on each of its listeners. On stdout: its environment, each
;; variable with a NUL behind it, then a line with a character for each descriptor from 3 to 8: its type as a
;; digit (3 is a directory, 6 a socket), or `-` where there is none. A connection gets the number of its listener.
(module
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $environ (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_fdstat_get" (func $stat (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_accept" (func $accept (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
  (memory (export "memory") 2)
  (func $print (param $fd i32) (param $from i32) (param $length i32)
    (i32.store (i32.const 0) (local.get $from))
    (i32.store (i32.const 4) (local.get $length))
    (if (call $write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable)))
  ;; One character.
  (func $put (param $fd i32) (param $char i32)
    (i32.store8 (i32.const 16) (local.get $char))
    (call $print (local.get $fd) (i32.const 16) (i32.const 1)))
  ;; The type of a descriptor, or -3, which makes it a `-`.
  (func $type (param $fd i32) (result i32)
    (if (call $stat (local.get $fd) (i32.const 64)) (then (return (i32.const -3))))
    (i32.load8_u (i32.const 64)))
  (func $serve (param $fd i32)
    (if (call $accept (local.get $fd) (i32.const 0) (i32.const 24)) (then unreachable))
    (call $put (i32.load (i32.const 24)) (i32.add (local.get $fd) (i32.const 48)))
    (drop (call $close (i32.load (i32.const 24)))))
  (func (export "_start")
    (local $fd i32)
    (drop (call $sizes (i32.const 32) (i32.const 36)))
    (drop (call $environ (i32.const 1024) (i32.const 65536)))
    (call $print (i32.const 1) (i32.const 65536) (i32.load (i32.const 36)))
    (local.set $fd (i32.const 3))
    (loop $next
      (call $put (i32.const 1) (i32.add (call $type (local.get $fd)) (i32.const 48)))
      (local.set $fd (i32.add (local.get $fd) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $fd) (i32.const 9))))
    (call $put (i32.const 1) (i32.const 10))
    (local.set $fd (i32.const 3))
    (loop $next
      (if (i32.eq (call $type (local.get $fd)) (i32.const 6)) (then (call $serve (local.get $fd))))
      (local.set $fd (i32.add (local.get $fd) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $fd) (i32.const 9))))))
