;; A server for tests. It accepts connections one after the other, and does what the first byte says:
;; T traps, X exits with 7, S spins, G takes more and more memory, C closes the listener, and anything else is
;; sent back. After C it serves the same connection again.
(module
  (import "wasi_snapshot_preview1" "sock_accept" (func $accept (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func $grow
    (loop $more
      (if (i32.ne (memory.grow (i32.const 16)) (i32.const -1)) (then (br $more))))
    unreachable)
  (func $serve (param $fd i32)
    (local $byte i32)
    ;; One buffer at 64: pointer 1024, length 512.
    (i32.store (i32.const 64) (i32.const 1024))
    (i32.store (i32.const 68) (i32.const 512))
    (if (call $read (local.get $fd) (i32.const 64) (i32.const 1) (i32.const 16)) (then (return)))
    (if (i32.eqz (i32.load (i32.const 16))) (then (return)))
    (local.set $byte (i32.load8_u (i32.const 1024)))
    (if (i32.eq (local.get $byte) (i32.const 84)) (then unreachable))
    (if (i32.eq (local.get $byte) (i32.const 88)) (then (call $exit (i32.const 7))))
    (if (i32.eq (local.get $byte) (i32.const 83)) (then (loop $spin (br $spin))))
    (if (i32.eq (local.get $byte) (i32.const 71)) (then (call $grow)))
    (if (i32.eq (local.get $byte) (i32.const 67)) (then (drop (call $close (i32.const 3)))))
    (i32.store (i32.const 68) (i32.load (i32.const 16)))
    (drop (call $write (local.get $fd) (i32.const 64) (i32.const 1) (i32.const 16)))
    (if (i32.eq (local.get $byte) (i32.const 67)) (then (call $serve (local.get $fd)))))
  (func (export "_start")
    (loop $next
      ;; If accepting fails, the server ends, as most servers do.
      (if (call $accept (i32.const 3) (i32.const 0) (i32.const 8)) (then (return)))
      (call $serve (i32.load (i32.const 8)))
      (drop (call $close (i32.load (i32.const 8))))
      (br $next))))
