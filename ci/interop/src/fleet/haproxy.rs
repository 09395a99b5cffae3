//! [`HaProxy`]: its runtime API drains instances, and its health checks find those that serve again.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::instances::{Instances, NAMES};
use super::proxy::Proxy;
use super::{configuration, system_program};
use crate::curl::Scratch;
use crate::{Outcome, Runtime, Server, ensure};

/// How long it may take to see what an instance does: it checks once a second. The rest is for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The columns of `show stat`.
const SESSIONS: usize = 4;
const STATUS: usize = 17;

/// HAProxy.
#[derive(Debug)]
pub(super) struct HaProxy {
    server: Server,
    folder: Scratch,
}

impl HaProxy {
    pub(super) fn start(instances: &Instances) -> Outcome<Box<dyn Proxy>> {
        let folder = Scratch::new()?;
        let server = Server::with_command(Runtime::Native, |address| {
            let mut changes = vec![
                ("    user haproxy\n    group haproxy\n", String::new()),
                ("/run/haproxy/admin.sock", folder.file("admin.sock")),
                ("127.0.0.1:8080", address.to_string()),
            ];
            let ports = [
                "127.0.0.1:3001",
                "127.0.0.1:3002",
                "127.0.0.1:3003",
                "127.0.0.1:3004",
            ];
            for (port, address) in ports.into_iter().zip(instances.addresses()) {
                changes.push((port, address.to_string()));
            }
            let path = folder.write("haproxy.cfg", configuration("haproxy.cfg", &changes)?)?;
            let mut command = Command::new(system_program("haproxy"));
            command.args(["-db", "-f", &path]);
            Ok(command)
        })?;
        let proxy = Self { server, folder };
        for instance in 0..NAMES.len() {
            proxy.wait(instance, |_, status| status.starts_with("UP"))?;
        }
        Ok(Box::new(proxy))
    }

    fn set_state(&self, instance: usize, state: &str) -> Outcome {
        let said = self.say(&format!(
            "set server instances/{} state {state}",
            NAMES[instance]
        ))?;
        ensure!(said.trim().is_empty(), "HAProxy: {said}");
        Ok(())
    }

    /// Waits until a condition holds for the number of sessions and the status of an instance.
    fn wait(&self, instance: usize, is_so: impl Fn(u32, &str) -> bool) -> Outcome {
        let since = Instant::now();
        loop {
            let all = self.say("show stat")?;
            let begin = format!("instances,{},", NAMES[instance]);
            let line = all.lines().find(|line| line.starts_with(&begin));
            let columns: Vec<_> = line.unwrap_or_default().split(',').collect();
            ensure!(
                columns.len() > STATUS,
                "HAProxy doesn't know {begin}: {all}"
            );
            let sessions = columns[SESSIONS].parse().unwrap_or(u32::MAX);
            if is_so(sessions, columns[STATUS]) {
                return Ok(());
            }
            ensure!(since.elapsed() < PATIENCE, "HAProxy shows {line:?}");
            sleep(Duration::from_millis(20));
        }
    }

    /// Sends a command to its runtime API. Returns the reply.
    fn say(&self, command: &str) -> Outcome<String> {
        let talk = || {
            let mut socket = self.connect()?;
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.write_all(format!("{command}\n").as_bytes())?;
            let mut said = String::new();
            socket.read_to_string(&mut said)?;
            Ok(said)
        };
        talk().map_err(|e: io::Error| format!("HAProxy's runtime API: {e}"))
    }

    /// Connects to its runtime API. It serves clients a moment before the socket has its name.
    fn connect(&self) -> io::Result<UnixStream> {
        let since = Instant::now();
        loop {
            match UnixStream::connect(self.folder.file("admin.sock")) {
                Err(e) if e.kind() == io::ErrorKind::NotFound && since.elapsed() < PATIENCE => {
                    sleep(Duration::from_millis(20));
                }
                outcome => return outcome,
            }
        }
    }
}

impl Proxy for HaProxy {
    fn address(&self) -> SocketAddr {
        self.server.address
    }

    fn drain(&mut self, instance: usize) -> Outcome {
        self.set_state(instance, "drain")?;
        self.wait(instance, |sessions, _| sessions == 0)
    }

    fn readmit(&mut self, instance: usize) -> Outcome {
        self.set_state(instance, "ready")?;
        self.wait(instance, |_, status| status.starts_with("UP"))
    }

    fn check(&mut self) -> Outcome {
        self.server.check_alive()
    }
}
