;; A hostile server for tests: it keeps every connection that it accepts. When accepting fails it closes one and
;; accepts another. Its exit code is the error of the failure, or 1 if it didn't fail after COUNT connections, or if
;; another couldn't be accepted after that.
(module
  (import "wasi_snapshot_preview1" "sock_accept" (func $accept (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (local $count i32)
    (local $errno i32)
    (loop $next
      (local.set $errno (call $accept (i32.const 3) (i32.const 0) (i32.const 8)))
      (if (i32.eqz (local.get $errno))
        (then
          (local.set $count (i32.add (local.get $count) (i32.const 1)))
          (br $next))))
    (if (i32.ne (local.get $count) (i32.const COUNT)) (then (call $exit (i32.const 1))))
    (drop (call $close (i32.load (i32.const 8))))
    (if (call $accept (i32.const 3) (i32.const 0) (i32.const 8)) (then (call $exit (i32.const 1))))
    (call $exit (local.get $errno))))
