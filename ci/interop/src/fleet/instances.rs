//! [`Instances`]: four processes of the example `service`, which can be restarted.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use crate::server::memory_now;
use crate::{Client, Outcome, Runtime, Server};

/// The names of the instances: the proxies' configurations have them too.
pub(super) const NAMES: [&str; 4] = ["one", "two", "three", "four"];

/// How long an instance may take to stop: half a second for requests under way, a second for clients that don't close,
/// and the rest for a busy machine.
const STOPS_WITHIN: Duration = Duration::from_secs(15);

/// The instances.
#[derive(Debug)]
pub(super) struct Instances {
    runtime: Runtime,
    program: PathBuf,
    addresses: Vec<SocketAddr>,
    servers: Vec<Server>,
    /// What those that have ended have logged.
    logs: String,
}

impl Instances {
    pub(super) fn start(runtime: Runtime, program: PathBuf) -> Outcome<Self> {
        let mut instances = Self {
            runtime,
            program,
            addresses: Vec::new(),
            servers: Vec::new(),
            logs: String::new(),
        };
        for name in NAMES {
            let server = Server::with_command(runtime, |address| {
                instances
                    .runtime
                    .command(&instances.program, &address.to_string(), &env(name))
            })?;
            instances.addresses.push(server.address);
            instances.servers.push(server);
        }
        for address in &instances.addresses {
            check_serves(*address)?;
        }
        Ok(instances)
    }

    pub(super) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Tells an instance to stop, and waits until it has ended.
    pub(super) fn stop(&mut self, number: usize) -> Outcome {
        if self.runtime == Runtime::Native {
            self.servers[number].signal("-TERM")?;
        } else {
            // A module gets no signals.
            let mut client = Client::connect(self.addresses[number])?;
            client.send("POST /private/stop HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
            client.response()?.check(b"stopping\n")?;
        }
        let ended = self.servers[number].ends_within(STOPS_WITHIN);
        ended.map_err(|why| format!("{}: {why}", NAMES[number]))?;
        self.servers[number].check_log()?;
        self.keep_log(number);
        Ok(())
    }

    /// Starts an instance again that has ended.
    pub(super) fn restart(&mut self, number: usize) -> Outcome {
        let address = self.addresses[number];
        let command =
            self.runtime
                .command(&self.program, &address.to_string(), &env(NAMES[number]))?;
        self.servers[number] = Server::spawn(self.runtime, address, command)?;
        check_serves(address)
    }

    /// Kills an instance, after it has been stopped by SIGSTOP for this time: so some requests are under way.
    pub(super) fn kill(&mut self, number: usize, stopped: Duration) -> Outcome {
        self.servers[number].signal("-STOP")?;
        sleep(stopped);
        self.servers[number].signal("-KILL")?;
        while self.servers[number].ended().is_none() {
            sleep(Duration::from_millis(5));
        }
        self.keep_log(number);
        Ok(())
    }

    /// Stops the process of an instance for this time.
    pub(super) fn suspend(&self, number: usize, time: Duration) -> Outcome {
        self.servers[number].suspend(time)
    }

    fn keep_log(&mut self, number: usize) {
        self.logs += &self.servers[number].log();
    }

    /// What all have logged so far.
    pub(super) fn log(&self) -> Outcome<String> {
        let mut log = self.logs.clone();
        for server in &self.servers {
            server.check_log()?;
            log += &server.log();
        }
        Ok(log)
    }

    /// The median of the instances' memory, in MiB.
    pub(super) fn memory(&self) -> Outcome<f64> {
        let mut all = Vec::new();
        for server in &self.servers {
            all.push(memory_now(server.pid())?);
        }
        all.sort_unstable();
        Ok(f64::from(u32::try_from(all[all.len() / 2]).unwrap_or(u32::MAX)) / 1024.0)
    }
}

fn env(name: &str) -> [(&str, &str); 2] {
    [("INSTANCE", name), ("RUST_LOG", "info")]
}

/// Waits for a response to a health check. A runtime listens before its program runs, so connecting isn't enough.
fn check_serves(address: SocketAddr) -> Outcome {
    let mut client = Client::connect(address)?;
    client.send("GET /private/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
    client.response()?.check(b"ok\n")
}
