//! The state of the server under attack: its own counters ([`Stats`]), and its memory and open files according to
//! the system.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use crate::client::Client;
use crate::server::Deadline;
use crate::{Outcome, Server, ensure};

/// How long the server may need to notice that a client has gone.
const CLEARED_WITHIN: Duration = Duration::from_secs(3);

/// The counters of the example `stats`, by name.
#[derive(Debug, Clone)]
pub(super) struct Stats(BTreeMap<String, u64>);

impl Stats {
    /// Requests `/stats`, on a connection of its own.
    ///
    /// # Errors
    /// There is no response, or a wrong one.
    pub(super) fn ask(address: SocketAddr) -> Outcome<Self> {
        let mut client = Client::connect(address)?;
        client.send("GET /stats HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
        let stats = Self::read(&mut client)?;
        client.check_end()?;
        Ok(stats)
    }

    /// Requests `/stats` on a connection that persists.
    ///
    /// # Errors
    /// When it doesn't respond.
    pub(super) fn ask_on(client: &mut Client) -> Outcome<Self> {
        client.send("GET /stats HTTP/1.1\r\nHost: x\r\n\r\n")?;
        Self::read(client)
    }

    fn read(client: &mut Client) -> Outcome<Self> {
        let response = client.response()?;
        ensure!(response.status == 200, "/stats is {}", response.head);
        let text = String::from_utf8_lossy(&response.body);
        let lines = text.lines().filter_map(|line| line.rsplit_once(' '));
        let counters = lines.map(|(name, value)| Ok((name.to_owned(), value.parse()?)));
        let counters: Result<_, std::num::ParseIntError> = counters.collect();
        Ok(Self(counters.map_err(|e| format!("{text}: {e}"))?))
    }

    /// Repeats the request until `count` connections were closed for this reason. Returns how many requests it took.
    ///
    /// # Errors
    /// It took too long.
    pub(super) fn ask_until_closed(server: &Server, reason: &str, count: usize) -> Outcome<usize> {
        let mut deadline = Deadline::new(server, CLEARED_WITHIN);
        for asked in 1.. {
            let closed = Self::ask(server.address)?.closed(reason);
            if closed >= count as u64 {
                return Ok(asked);
            }
            ensure!(
                !deadline.is_over(),
                "after {CLEARED_WITHIN:?}, {closed} connections are closed for {reason}, and not {count}"
            );
            thread::sleep(Duration::from_millis(20));
        }
        unreachable!("the loop has no end of its own")
    }

    /// Repeats the request until there are no other connections and no memory is held. Also returns how many requests
    /// it took.
    ///
    /// # Errors
    /// It took too long.
    pub(super) fn ask_until_alone(server: &Server) -> Outcome<(Self, u64)> {
        let mut deadline = Deadline::new(server, CLEARED_WITHIN);
        for asked in 1.. {
            let stats = Self::ask(server.address)?;
            let (open, held) = (stats.get("active"), stats.get("held"));
            // The request's own connection may hold a buffer or two.
            if open == 1 && held < 1 << 16 {
                return Ok((stats, asked));
            }
            ensure!(
                !deadline.is_over(),
                "{CLEARED_WITHIN:?} after the last client has gone, {} connections are open and {held} bytes held",
                open - 1
            );
            thread::sleep(Duration::from_millis(100));
        }
        unreachable!("the loop has no end of its own")
    }

    /// A counter; 0 if there is none of this name.
    #[must_use]
    pub(super) fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// Connections closed for this reason.
    #[must_use]
    pub(super) fn closed(&self, reason: &str) -> u64 {
        self.get(&format!("closed {reason}"))
    }

    /// All reasons with their counts.
    pub(super) fn reasons(&self) -> impl Iterator<Item = (&str, u64)> {
        let closed = self
            .0
            .iter()
            .map(|(name, count)| (name.strip_prefix("closed "), *count));
        closed.filter_map(|(reason, count)| Some((reason?, count)))
    }
}

/// How many files and sockets a process has open.
///
/// # Errors
/// There is no `/proc/PID/fd`, as on systems other than Linux.
pub(super) fn open_files(pid: u32) -> Outcome<usize> {
    let path = format!("/proc/{pid}/fd");
    let entries = fs::read_dir(&path).map_err(|e| format!("{path}: {e}"))?;
    Ok(entries.count())
}
