//! [`Server`]: a server under test, as a child process with an address, a process id and a log.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::{Outcome, Program, Runtime, ensure};

/// How long a server may take from its start to its first accepted connection. A runtime compiles
/// the module first, at idle priority if other checks run beside this one.
const START: Duration = Duration::from_secs(300);

/// A running server. When this is dropped, the server is killed, and its log is deleted unless [`Server::keep_log`]
/// was called.
#[derive(Debug)]
pub struct Server {
    /// The runtime.
    pub runtime: Runtime,
    /// The address at which it listens.
    pub address: SocketAddr,
    child: Child,
    log: PathBuf,
    keep_log: bool,
}

impl Server {
    /// Starts a program on a free port, with `env` in its environment. Returns when it accepts
    /// connections. (In a runtime the host listens before the module runs, so the first response may take
    /// longer.)
    ///
    /// # Errors
    /// It ends at once, or doesn't listen in time. The message has its log.
    pub fn start(program: &Program, env: &[(&str, &str)]) -> Outcome<Self> {
        Self::with_command(program.runtime, |address| {
            program.command(&address.to_string(), env)
        })
    }

    /// Like [`Server::start`], for any command. `command` makes it for an address.
    ///
    /// # Errors
    /// As there, and those of `command`.
    pub fn with_command(
        runtime: Runtime,
        command: impl Fn(SocketAddr) -> Outcome<Command>,
    ) -> Outcome<Self> {
        let mut tries = 0;
        loop {
            tries += 1;
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, Runtime::free_port()?));
            match Self::spawn(runtime, address, command(address)?) {
                // Another process may have taken the port in the meantime.
                Err(e) if tries < 5 && e.contains("in use") => {}
                outcome => return outcome,
            }
        }
    }

    /// Starts a command that serves at this address.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn spawn(runtime: Runtime, address: SocketAddr, mut command: Command) -> Outcome<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let log = format!("interop-{}-{number}-{runtime}.log", std::process::id());
        let log = std::env::temp_dir().join(log);
        let file = File::create(&log).map_err(|e| format!("{}: {e}", log.display()))?;
        let error_file = file
            .try_clone()
            .map_err(|e| format!("{}: {e}", log.display()))?;
        if runtime.forks() {
            command.process_group(0);
        }
        let child = command
            // See ci/lib.sh.
            .env_remove("RUST_BACKTRACE")
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(error_file)
            .spawn()
            .map_err(|e| {
                let _ = fs::remove_file(&log);
                format!("{command:?}: {e}")
            })?;
        let mut server = Self {
            runtime,
            address,
            child,
            log,
            keep_log: false,
        };
        let started = Instant::now();
        loop {
            if let Some(status) = server.ended() {
                return Err(format!(
                    "{command:?} ended ({status}):\n{}",
                    server.log_end(30)
                ));
            }
            // Connecting is enough in most runtimes: the listener's backlog accepts it.
            let tried = TcpStream::connect_timeout(&address, Duration::from_secs(1));
            let takes = |stream| !runtime.drops_early() || responds(stream);
            if tried.is_ok_and(takes) && server.ended().is_none() {
                return Ok(server);
            }
            ensure!(
                started.elapsed() < START,
                "{command:?} didn't listen at {address} in time:\n{}",
                server.log_end(30)
            );
            sleep(Duration::from_millis(10));
        }
    }

    /// The id of the process that serves: natively the program's, otherwise the runtime's.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Stops the process for this time, as a busy machine may do.
    ///
    /// # Errors
    /// Those of the system.
    pub fn suspend(&self, time: Duration) -> Outcome {
        self.signal("-STOP")?;
        sleep(time);
        self.signal("-CONT")
    }

    /// Sends a signal to the process, like `-TERM`.
    ///
    /// # Errors
    /// Those of the system.
    pub fn signal(&self, signal: &str) -> Outcome {
        let sent = Command::new("kill")
            .args([signal, &self.pid().to_string()])
            .status()
            .map_err(|e| format!("kill: {e}"))?;
        ensure!(sent.success(), "kill {signal}: {sent}");
        Ok(())
    }

    /// The URL of a path, which begins with a slash.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Its exit status, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits until it has ended without an error. Returns how long that took. The time in which it was ready to run and
    /// other processes had the processor doesn't count towards `most`.
    ///
    /// # Errors
    /// It goes on, or ends with an error.
    pub fn ends_within(&mut self, most: Duration) -> Outcome<Duration> {
        let since = Instant::now();
        let mut busy = Busy::begin(self);
        loop {
            if let Some(status) = self.ended() {
                let log = self.log_end(5);
                ensure!(status.success(), "it ended with {status}:\n{log}");
                return Ok(since.elapsed());
            }
            ensure!(
                since.elapsed() < most + busy.so_far(self),
                "it should have ended within {most:.1?}, and goes on"
            );
            sleep(Duration::from_millis(5));
        }
    }

    /// Fails if it has ended.
    ///
    /// # Errors
    /// With the last lines of its log.
    pub fn check_alive(&mut self) -> Outcome {
        match self.ended() {
            None => Ok(()),
            Some(status) => Err(format!("it ended ({status}):\n{}", self.log_end(30))),
        }
    }

    /// What it has written to its standard output and error so far.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The last lines of that.
    #[must_use]
    pub fn log_end(&self, lines: usize) -> String {
        let log = self.log();
        let all: Vec<_> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// Fails if the log has a warning, an error or a panic. No client of these tests may cause one.
    ///
    /// # Errors
    /// With the first of these lines.
    pub fn check_log(&self) -> Outcome {
        self.check_log_but(&[])
    }

    /// Like [`Server::check_log`], but ignores lines that contain one of these texts.
    ///
    /// # Errors
    /// As there.
    pub fn check_log_but(&self, expected: &[&str]) -> Outcome {
        let log = self.log();
        let is_expected = |line: &str| expected.iter().any(|words| line.contains(words));
        let bad = log.lines().filter(|line| is_complaint(line));
        let bad: Vec<_> = bad.filter(|line| !is_expected(line)).collect();
        ensure!(
            bad.is_empty(),
            "its log complains {} times:\n{}",
            bad.len(),
            bad[..bad.len().min(10)].join("\n")
        );
        Ok(())
    }

    /// Keeps the log when the server is dropped. Returns its path.
    pub fn keep_log(&mut self) -> String {
        self.keep_log = true;
        self.log.display().to_string()
    }

    /// The processor time that it has used so far, in ticks (of 10 ms on Linux).
    ///
    /// # Errors
    /// Where there is no `/proc/PID/stat`: on anything but Linux.
    pub fn cpu_ticks(&self) -> Outcome<u64> {
        let path = format!("/proc/{}/stat", self.pid());
        let stat = fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
        ticks(&stat).ok_or_else(|| format!("{path} isn't understood: {stat}"))
    }
}

impl Server {
    /// How long its main thread, which is the one that serves, has been ready to run while
    /// other processes had the processor.
    ///
    /// # Errors
    /// Where there is no `/proc/PID/schedstat`: on anything but Linux.
    fn queued(&self) -> Outcome<Duration> {
        queued_of(&format!("/proc/{}/schedstat", self.pid()))
    }
}

/// How long a server, or the thread of the check that waits for it, was ready to run while other processes had the
/// processor.
#[derive(Debug)]
pub struct Busy {
    begun: Duration,
    own: Duration,
    last: Duration,
}

impl Busy {
    /// From now on.
    #[must_use]
    pub fn begin(server: &Server) -> Self {
        // Where it isn't known, it counts as none.
        let begun = server.queued().unwrap_or_default();
        Self {
            begun,
            own: own_queued(),
            last: begun,
        }
    }

    /// So far, or up to the server's end. To be called in the same thread.
    pub fn so_far(&mut self, server: &Server) -> Duration {
        self.last = server.queued().unwrap_or(self.last);
        let own = own_queued().saturating_sub(self.own);
        self.last.saturating_sub(self.begun) + own
    }
}

/// The same of this thread.
fn own_queued() -> Duration {
    queued_of("/proc/thread-self/schedstat").unwrap_or_default()
}

fn queued_of(path: &str) -> Outcome<Duration> {
    let stat = fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))?;
    let nanos = stat
        .split_whitespace()
        .nth(1)
        .and_then(|nanos| nanos.parse().ok());
    nanos
        .map(Duration::from_nanos)
        .ok_or_else(|| format!("{path} isn't understood: {stat}"))
}

/// The time that a server has for something, without the time in which other processes keep it waiting.
#[derive(Debug)]
pub struct Deadline<'a> {
    server: &'a Server,
    since: Instant,
    most: Duration,
    busy: Busy,
}

impl<'a> Deadline<'a> {
    /// From now on.
    #[must_use]
    pub fn new(server: &'a Server, most: Duration) -> Self {
        Self {
            server,
            since: Instant::now(),
            most,
            busy: Busy::begin(server),
        }
    }

    /// Whether the time is over.
    pub fn is_over(&mut self) -> bool {
        self.since.elapsed() > self.most + self.busy.so_far(self.server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // An error means that it has ended by itself.
        if self.runtime.forks() {
            let group = format!("-{}", self.child.id());
            let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !self.keep_log {
            let _ = fs::remove_file(&self.log);
        }
    }
}

/// The peak memory of a process so far, in MiB.
///
/// # Errors
/// Where there is no `/proc/PID/status`: on anything but Linux.
pub fn peak_memory(pid: u32) -> Outcome<u64> {
    Ok(memory(pid, "VmHWM:")? >> 10)
}

/// The memory that a process has now, in KiB.
///
/// # Errors
/// As [`peak_memory`].
pub fn memory_now(pid: u32) -> Outcome<u64> {
    memory(pid, "VmRSS:")
}

fn memory(pid: u32, name: &str) -> Outcome<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.ok_or_else(|| format!("{path} has no {name}"))
}

/// Whether there is a response on a connection; it may just be dropped.
fn responds(mut stream: TcpStream) -> bool {
    let ask = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.set_read_timeout(Some(START)).is_ok()
        && stream.write_all(ask).is_ok()
        && stream.read(&mut [0]).is_ok_and(|count| count > 0)
}

/// Whether a line of a server's log reports a problem. `env_logger` begins a line with the
/// level in brackets. The other patterns are those of Rust and of the runtimes.
fn is_complaint(line: &str) -> bool {
    let head = line.split_once(']').map_or("", |(head, _)| head);
    head.starts_with('[') && (head.contains("WARN") || head.contains("ERROR"))
        || line.starts_with("Error")
        || line.contains("panicked at")
        || line.contains("wasm trap")
}

/// The sum of utime and stime, the 14th and 15th fields of `/proc/PID/stat`. The second field is a name in
/// parentheses, which may contain anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_the_fourteenth_and_fifteenth_field() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 31 11 0 0 20 0 1 0 5 6 7";
        assert_eq!(ticks(stat), Some(42));
        assert_eq!(ticks("7 (a) S 1"), None);
    }

    #[test]
    fn problems_in_a_log_are_recognised() {
        assert!(is_complaint(
            "[WARN  mini_http::server] fd 3 is no listener"
        ));
        assert!(is_complaint("[2026-01-01T00:00:00Z ERROR mini_http] no"));
        assert!(is_complaint("Error: Os { code: 8 }"));
        assert!(is_complaint("thread 'main' panicked at src/lib.rs:1:1:"));
        assert!(!is_complaint(
            "[DEBUG mini_http::conn] #3 head: \"X-Level: WARN ERROR\""
        ));
        assert!(!is_complaint("hello!"));
    }
}
