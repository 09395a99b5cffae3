//! [`Clients`]: the connections to one server, and an epoll loop that sends requests on them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use interop::Outcome;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use super::client::{Client, get};
use super::random::Random;
use super::{Measured, PATIENCE, Plan};

/// Connections to one server.
#[derive(Debug)]
pub(super) struct Clients {
    address: SocketAddr,
    epoll: Epoll,
    clients: Vec<Client>,
    events: Vec<EpollEvent>,
    buffer: Vec<u8>,
    random: Random,
    /// Determines which connection is sampled next.
    sample: usize,
}

/// The longest that opening all connections may take.
const OPENING: Duration = Duration::from_secs(120);

impl Clients {
    pub(super) fn new(address: SocketAddr) -> Outcome<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(|e| e.to_string())?;
        Ok(Self {
            address,
            epoll,
            clients: Vec::new(),
            events: vec![EpollEvent::empty(); 256],
            buffer: vec![0; 64 << 10],
            random: Random::new(),
            sample: 0,
        })
    }

    /// Opens `count` connections, `at_once` at a time, and sends `request` once on each.
    pub(super) fn open(&mut self, count: usize, at_once: usize, request: &[u8]) -> Outcome {
        let end = Instant::now() + OPENING;
        let mut left = count;
        while left > 0 {
            if Instant::now() >= end {
                return Err(format!(
                    "{left} of {count} connections aren't opened in {OPENING:?}"
                ));
            }
            let first = self.clients.len();
            for _ in 0..left.min(at_once) {
                let mut client = Client::connect(self.address)?;
                let event = EpollEvent::new(EpollFlags::EPOLLIN, self.clients.len() as u64);
                self.epoll
                    .add(client.stream(), event)
                    .map_err(|e| format!("epoll: {e}"))?;
                client.ask(request)?;
                self.clients.push(client);
            }
            left -= self.clients.len() - first;
            self.await_responses(first..self.clients.len())?;
        }
        Ok(())
    }

    /// Sends a request on a connection of its own. Returns the body of the response.
    pub(super) fn ask(&mut self, path: &str) -> Outcome<String> {
        let mut client = interop::Client::connect(self.address)?;
        client.send(format!(
            "GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"
        ))?;
        let response = client.response()?;
        Ok(String::from_utf8_lossy(&response.body).into_owned())
    }

    /// Runs `plan`. At the end, all responses have been received.
    pub(super) fn run(&mut self, plan: Plan) -> Outcome<Measured> {
        let mut measured = Measured::default();
        let start = Instant::now();
        let end = start + plan.duration;
        for client in &mut self.clients[..plan.busy] {
            client.ask(get())?;
        }
        let mut pending = plan.busy;
        let mut sampled = None;
        let mut sample_at = plan.sample_every.map(|every| start + self.pause(every));
        loop {
            let now = Instant::now();
            if now >= end && pending == 0 {
                break;
            }
            if sampled.is_none() && now < end && sample_at.is_some_and(|at| now >= at) {
                let index = self.next_sample(plan.busy);
                self.clients[index].ask(get())?;
                sampled = Some(index);
                pending += 1;
            }
            let until = match sample_at {
                Some(at) if sampled.is_none() && at < end => at,
                _ if now < end => end,
                _ => end + PATIENCE,
            };
            self.wait(if plan.spin { now } else { until })?;
            let events = std::mem::take(&mut self.events);
            for event in &events {
                let index = event.data() as usize;
                let Some(took) = self.clients[index].response(&mut self.buffer)? else {
                    continue;
                };
                pending -= 1;
                measured.requests += 1;
                if sampled == Some(index) {
                    sampled = None;
                    measured.samples.push(took);
                    sample_at = plan
                        .sample_every
                        .map(|every| Instant::now() + self.pause(every));
                } else {
                    measured.busy.push(took);
                    if Instant::now() < end {
                        self.clients[index].ask(get())?;
                        pending += 1;
                    }
                }
            }
            self.events = events;
            if Instant::now() >= end + PATIENCE {
                return Err(format!("{pending} requests have no response"));
            }
        }
        measured.elapsed = start.elapsed();
        measured.busy.sort_unstable();
        measured.samples.sort_unstable();
        Ok(measured)
    }

    /// Fails if one of the connections was closed.
    pub(super) fn check(&mut self) -> Outcome {
        self.run(Plan {
            busy: 0,
            duration: Duration::ZERO,
            sample_every: None,
            spin: false,
        })?;
        let mut byte = [0];
        for client in &self.clients {
            client.check_open(&mut byte)?;
        }
        Ok(())
    }

    fn await_responses(&mut self, range: std::ops::Range<usize>) -> Outcome {
        let end = Instant::now() + PATIENCE;
        let mut pending = range.len();
        while pending > 0 {
            self.wait(end)?;
            let events = std::mem::take(&mut self.events);
            for event in &events {
                let index = event.data() as usize;
                if self.clients[index].response(&mut self.buffer)?.is_some() {
                    pending -= 1;
                }
            }
            self.events = events;
            if pending > 0 && Instant::now() >= end {
                return Err(format!(
                    "with {} connections, {pending} of {} requests have no response",
                    self.clients.len(),
                    range.len()
                ));
            }
        }
        Ok(())
    }

    /// Waits for events, and stores them in `self.events`.
    fn wait(&mut self, until: Instant) -> Outcome {
        const ROOM: usize = 256;
        let left = until.saturating_duration_since(Instant::now());
        // epoll counts milliseconds. So a sample may be late by one, but its moment is random anyway.
        let timeout = u16::try_from(left.as_millis()).unwrap_or(u16::MAX);
        self.events.resize(ROOM, EpollEvent::empty());
        let count = match self.epoll.wait(&mut self.events, timeout) {
            Ok(count) => count,
            Err(nix::errno::Errno::EINTR) => 0,
            Err(e) => return Err(format!("epoll: {e}")),
        };
        self.events.truncate(count);
        Ok(())
    }

    /// A random pause before a sample: from a tenth of `every` to `every`.
    fn pause(&mut self, every: Duration) -> Duration {
        let least = every / 10;
        let more = u64::try_from((every - least).as_nanos()).unwrap_or(u64::MAX);
        least + Duration::from_nanos(self.random.below(more))
    }

    /// The next idle connection to sample: one that hasn't been sampled for long, and isn't next to the one before.
    fn next_sample(&mut self, busy: usize) -> usize {
        let idle = self.clients.len() - busy;
        // Steps by the golden ratio spread them evenly.
        self.sample = (self.sample + ((idle * 618 / 1000) | 1)) % idle;
        busy + self.sample
    }
}
