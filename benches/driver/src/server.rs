//! One of the compared servers: a process, its processor time and its memory.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use interop::{Outcome, Runtime, Server};
use nix::sys::signal::{Signal, kill};
use nix::sys::time::TimeValLike;
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

/// A server that is compared.
#[derive(Debug)]
pub(crate) struct ServerProcess {
    pub(crate) name: String,
    server: Server,
}

/// Processor time used so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cpu {
    /// Of all threads, in nanoseconds.
    pub(crate) total: Duration,
    /// `utime` and `stime` of `/proc/PID/stat`, in ticks of 10 ms.
    pub(crate) ticks: u64,
}

impl ServerProcess {
    /// Starts it, on the cores of this process.
    pub(crate) fn start(
        name: &str,
        runtime: Runtime,
        command: impl Fn(SocketAddr) -> Outcome<Command>,
    ) -> Outcome<Self> {
        let server = Server::with_command(runtime, command);
        Ok(Self {
            name: name.into(),
            server: server.map_err(|why| format!("{name}: {why}"))?,
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// Fails if the process has ended. The error has the end of its output.
    pub(crate) fn check_alive(&mut self) -> Outcome {
        self.server.check_alive()
    }

    pub(crate) fn cpu(&self) -> Outcome<Cpu> {
        let clock = clock_getcpuclockid(self.pid()).and_then(|clock| clock.now());
        let clock = clock.map_err(|e| format!("{}: its clock: {e}", self.name))?;
        Ok(Cpu {
            total: Duration::from_nanos(u64::try_from(clock.num_nanoseconds()).unwrap_or(0)),
            ticks: self.server.cpu_ticks()?,
        })
    }

    /// Resident memory in bytes: `VmRSS`.
    pub(crate) fn resident(&self) -> Outcome<u64> {
        self.status_bytes("VmRSS:")
    }

    /// The peak of resident memory in bytes: `VmHWM`.
    pub(crate) fn peak_resident(&self) -> Outcome<u64> {
        self.status_bytes("VmHWM:")
    }

    /// Pauses the process (SIGSTOP), so that it doesn't use the core while others are measured.
    pub(crate) fn pause(&self) {
        // This fails for a process that has ended, which other checks report.
        let _ = kill(self.pid(), Signal::SIGSTOP);
    }

    /// Resumes the process (SIGCONT).
    pub(crate) fn resume(&self) {
        let _ = kill(self.pid(), Signal::SIGCONT);
    }

    fn status_bytes(&self, field: &str) -> Outcome<u64> {
        let path = format!("/proc/{}/status", self.server.pid());
        let status = fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.and_then(|line| line.trim().strip_suffix("kB"));
        let kib: u64 = kib
            .and_then(|kib| kib.trim().parse().ok())
            .ok_or(format!("{path} has no {field}"))?;
        Ok(kib << 10)
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.server.pid()).unwrap_or(0))
    }
}

impl Cpu {
    /// The processor time used since `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            total: self.total.saturating_sub(before.total),
            ticks: self.ticks - before.ticks,
        }
    }
}
