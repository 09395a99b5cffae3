//! A server in a process of its own, and requests to it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::{ROLE, SOON};

/// A child, which is killed when this is dropped.
pub(crate) struct Process {
    pub(crate) child: Child,
    out: BufReader<ChildStdout>,
}

impl Process {
    pub(crate) fn start(role: &str, env: &[(&str, String)]) -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut child = Command::new(program)
            .args(["--exact", "child", "--nocapture"])
            .env(ROLE, role)
            .env_remove("NOTIFY_SOCKET")
            .env_remove("WATCHDOG_USEC")
            .env_remove("WATCHDOG_PID")
            .envs(env.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let out = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, out }
    }

    /// Reads its output up to a line with this word, and returns the rest of the line.
    pub(crate) fn said(&mut self, word: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert_ne!(self.out.read_line(&mut line).expect("text"), 0, "no {word}");
            if let Some((_, rest)) = line.trim_end().split_once(word) {
                return rest.trim().into();
            }
        }
    }

    pub(crate) fn address(&mut self) -> SocketAddr {
        let port: u16 = self.said("port ").parse().expect("a number");
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    pub(crate) fn signal(&self, signal: i32) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill")
            .args([format!("-{signal}"), pid])
            .status();
        assert!(sent.expect("kill").success());
    }

    /// Waits until it has got the signals that were sent. Where that isn't known, it waits for a while.
    pub(crate) fn await_signals(&self) {
        let since = Instant::now();
        let status = format!("/proc/{}/status", self.child.id());
        let is_pending = |status: &str| {
            let mut sets = status.lines().filter_map(|line| {
                let set = line.strip_prefix("ShdPnd:");
                set.or_else(|| line.strip_prefix("SigPnd:"))
            });
            sets.any(|set| set.trim().bytes().any(|digit| digit != b'0'))
        };
        while std::fs::read_to_string(&status).is_ok_and(|it| is_pending(&it)) {
            assert!(since.elapsed() < SOON, "it doesn't get its signals");
            thread::sleep(Duration::from_millis(5));
        }
        thread::sleep(Duration::from_millis(100));
    }

    pub(crate) fn ended_within(&mut self, most: Duration) -> ExitStatus {
        let since = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(since.elapsed() < most, "it doesn't end");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    stream
}

pub(crate) fn work(address: SocketAddr, millis: u64) -> TcpStream {
    let mut stream = connect(address);
    let request = format!("GET /work?{millis} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    stream
}

pub(crate) fn rest(mut stream: TcpStream) -> String {
    let mut all = String::new();
    stream.read_to_string(&mut all).expect("no reset");
    all
}
