//! The program: its signals, its arguments, what it prints, and its exit codes.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Longer than it takes the program to notice a signal, and the guest to read a byte.
const A_MOMENT: Duration = Duration::from_millis(300);

/// The program with the guest that serves and misbehaves on request.
struct Program {
    child: Child,
    address: SocketAddr,
}

impl Program {
    fn start(test: &str, options: &[&str]) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("program-{test}.wasm"));
        std::fs::write(&path, wat::parse_str(include_str!("guest.wat")).unwrap()).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_wasip1-host"))
            .args(["--no-cache", "--grace=60s", "--listen=127.0.0.1:0"])
            .args(options)
            .arg(path)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        stderr.read_line(&mut line).unwrap();
        let (_, address) = line.trim_end().split_once("listening on ").unwrap();
        // Keeps reading: if the pipe were closed or full, the program would fail or block when it prints more.
        std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
        let program = Self {
            child,
            address: address.parse().unwrap(),
        };
        // It listens before the guest runs.
        let mut client = program.connect();
        client.write_all(b"hello").unwrap();
        assert_eq!(client.read(&mut [0; 9]).unwrap(), 5);
        program
    }

    fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(self.address).unwrap();
        let patience = Some(Duration::from_secs(20));
        client.set_read_timeout(patience).unwrap();
        client
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        sleep(A_MOMENT);
    }

    fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Its exit code, if it ends within ten seconds.
    fn ends(&mut self) -> Option<i32> {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(10) {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            sleep(Duration::from_millis(10));
        }
        None
    }
}

impl Drop for Program {
    /// When a test fails, it leaves no process behind.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_first_signal_drains() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut program = Program::start(&format!("first-{}", signal.as_raw()), &[]);
        let mut idle = program.connect();
        sleep(A_MOMENT);
        program.signal(signal);
        assert_eq!(idle.read(&mut [0; 9]).unwrap(), 0);
        assert_eq!(program.ends(), Some(0));
        assert!(TcpStream::connect(program.address).is_err());
    }
}

/// There may be clients as soon as it listens. Often, because the moment in which a signal would be lost is short.
#[test]
fn a_signal_drains_even_before_the_guest_runs() {
    let module = module("at-once", include_str!("guest.wat"));
    for _ in 0..20 {
        let mut child = Command::new(env!("CARGO_BIN_EXE_wasip1-host"))
            .args(["--no-cache", "--listen=127.0.0.1:0"])
            .arg(&module)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{line}");
    }
}

#[test]
fn the_second_signal_stops_at_once() {
    let mut program = Program::start("second", &[]);
    // The guest spins.
    program.connect().write_all(b"S").unwrap();
    sleep(A_MOMENT);
    program.signal(Signal::TERM);
    assert!(program.runs());
    program.signal(Signal::TERM);
    // What a shell shows for a process that SIGTERM has ended.
    assert_eq!(program.ends(), Some(128 + 15));
}

/// A module of its own for each test, which run at once.
fn module(test: &str, wat: &str) -> std::path::PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("program-{test}.wasm"));
    std::fs::write(&path, wat::parse_str(wat).unwrap()).unwrap();
    path
}

/// Runs a guest that ends.
fn run(options: &[&str], module: &Path) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_wasip1-host"))
        .arg("--no-cache")
        .args(options)
        .arg(module)
        .output()
        .unwrap()
}

#[test]
fn exit_codes_pass_through() {
    for (exit, code) in [(0, 0), (125, 125), (126, 126), (255, 255), (-1, 255)] {
        let wat = format!(
            r#"(module
                (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
                (memory (export "memory") 1)
                (func (export "_start") (call $exit (i32.const {exit}))))"#
        );
        let module = module(&format!("exit{exit}"), &wat);
        let output = run(&["--trace", "--listen=127.0.0.1:0"], &module);
        assert_eq!(output.status.code(), Some(code));
        // It isn't a trap, after which the instance would be restarted.
        let printed = String::from_utf8(output.stderr).unwrap();
        let traced = format!("instance 0: proc_exit({exit})\n");
        assert_eq!(printed.matches(&traced).count(), 1, "{printed}");
    }
}

#[test]
fn a_module_that_starts_with_more_memory_than_the_limit_is_refused() {
    let wat =
        r#"(module (memory (export "memory") 17) (table 100 funcref) (func (export "_start")))"#;
    let module = module("initial", wat);
    let (memory, table) = (17 * 65536, 100 * 8);
    let least = memory + table;
    let limited = |limit: usize| {
        let limit = format!("--memory={limit}");
        run(&[&limit, "--listen=127.0.0.1:0"], &module)
    };
    for limit in [0, 65536, memory, least - 1] {
        let output = limited(limit);
        assert_eq!(output.status.code(), Some(1));
        // This is all: nothing listens, and nothing is restarted.
        assert_eq!(
            String::from_utf8(output.stderr).unwrap(),
            format!(
                "wasip1-host: the module's initial memory has {memory} bytes, and its table {table}, but the memory \
                 limit is {limit} bytes: set --memory to {least} or more\n"
            )
        );
    }
    assert_eq!(limited(least).status.code(), Some(0));
}

#[test]
fn it_serves_on_when_nothing_reads_its_log() {
    let wat = r#"(module (memory (export "memory") 1) (func (export "_start") unreachable))"#;
    let mut child = Command::new(env!("CARGO_BIN_EXE_wasip1-host"))
        .args(["--no-cache", "--listen=127.0.0.1:0"])
        .arg(module("unread", wat))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // From now on each line that it prints fails.
    drop(child.stderr.take());
    // It restarts as often as otherwise, and its exit code is that of a trap.
    let start = Instant::now();
    assert_eq!(child.wait().unwrap().code(), Some(134));
    assert!(start.elapsed() > Duration::from_secs(1));
}

/// Waits for the standard input, reads one byte, and waits again. Exits with 7 if it alone was reported both times.
const WAITS_FOR_INPUT: &str = r#"(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  ;; The list is at 0: reading from 0, and the monotonic clock in 20 s. The events are at 128.
  (func $is_reported (result i32)
    (i32.store8 (i32.const 8) (i32.const 1))
    (i32.store (i32.const 64) (i32.const 1))
    (i64.store (i32.const 72) (i64.const 20000000000))
    (if (call $poll (i32.const 0) (i32.const 128) (i32.const 2) (i32.const 256)) (then unreachable))
    (i32.and
      (i32.eq (i32.load (i32.const 256)) (i32.const 1))
      (i32.eq (i32.load8_u (i32.const 138)) (i32.const 1))))
  (func (export "_start")
    (if (i32.eqz (call $is_reported)) (then (call $exit (i32.const 1))))
    (i32.store (i32.const 512) (i32.const 1024))
    (i32.store (i32.const 516) (i32.const 1))
    (if (call $read (i32.const 0) (i32.const 512) (i32.const 1) (i32.const 520)) (then unreachable))
    (if (i32.eqz (call $is_reported)) (then (call $exit (i32.const 2))))
    (call $exit (i32.const 7))))"#;

#[test]
fn input_that_is_left_is_reported_again() {
    let module = module("input", WAITS_FOR_INPUT);
    let file = Stdio::from(std::fs::File::open(&module).unwrap());
    for (what, stdin) in [
        ("a pipe", Stdio::piped()),
        ("a file", file),
        ("no input", Stdio::null()),
    ] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_wasip1-host"))
            .arg("--no-cache")
            .arg(&module)
            .stdin(stdin)
            .spawn()
            .unwrap();
        // The pipe stays open, so its end is not what is reported.
        let mut pipe = child.stdin.take();
        if let Some(pipe) = &mut pipe {
            pipe.write_all(b"ab").unwrap();
        }
        assert_eq!(child.wait().unwrap().code(), Some(7), "{what}");
    }
}

#[test]
fn wrong_arguments_are_refused() {
    use std::os::unix::ffi::OsStrExt;
    let name = std::ffi::OsStr::from_bytes(b"\xff.wasm");
    let output = run(&[], Path::new(name));
    assert_eq!(output.status.code(), Some(2));
    let printed = String::from_utf8(output.stderr).unwrap();
    assert_eq!(printed, "wasip1-host: \"\\xFF.wasm\" isn't UTF-8\n");
}

#[cfg(target_os = "linux")]
#[test]
fn clients_of_the_metrics_take_few_descriptors() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let program = Program::start("metrics", &["--metrics", &address.to_string()]);
    let connect = |request: &[u8]| {
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(request).unwrap();
        client
    };
    // They never complete their requests.
    let _slow: Vec<TcpStream> = (0..100).map(|_| connect(b"GET /metr")).collect();
    let mut client = connect(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    sleep(A_MOMENT);
    let descriptors = format!("/proc/{}/fd", program.child.id());
    let open = std::fs::read_dir(descriptors).unwrap().count();
    assert!((64..=84).contains(&open), "{open}");
    // A client that completes its request is served when their time is over.
    client
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    assert!(text.contains("wasip1_accepted_total"), "{text}");
}
