//! Signals to the program.

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
    fn start(test: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("signals-{test}.wasm"));
        std::fs::write(&path, wat::parse_str(include_str!("guest.wat")).unwrap()).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_wasip1-host"))
            .args(["--no-cache", "--grace=60s", "--listen=127.0.0.1:0"])
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
        let mut program = Program::start(&format!("first-{}", signal.as_raw()));
        let mut idle = program.connect();
        sleep(A_MOMENT);
        program.signal(signal);
        assert_eq!(idle.read(&mut [0; 9]).unwrap(), 0);
        assert_eq!(program.ends(), Some(0));
        assert!(TcpStream::connect(program.address).is_err());
    }
}

#[test]
fn the_second_signal_stops_at_once() {
    let mut program = Program::start("second");
    // The guest spins.
    program.connect().write_all(b"S").unwrap();
    sleep(A_MOMENT);
    program.signal(Signal::TERM);
    assert!(program.runs());
    program.signal(Signal::TERM);
    // What a shell shows for a process that SIGTERM has ended.
    assert_eq!(program.ends(), Some(128 + 15));
}
