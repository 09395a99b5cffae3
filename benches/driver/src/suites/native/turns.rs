//! Turns: a server is loaded briefly, and the floor right before or after it, in the same round. So what disturbs one
//! also disturbs the other.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::Duration;

use interop::Outcome;

use super::fan_out::Streams;
use super::program::Program;
use super::sockets::Sockets;
use super::wrk::{self, Kind, Measured};
use crate::load::Load;
use crate::server::ServerProcess;

/// A running server, with its idle connections. It is stopped (SIGSTOP), except in its turns.
pub(super) struct Contestant {
    pub(super) name: String,
    process: ServerProcess,
    idle: Option<Load>,
}

/// What to do in a turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) kind: Kind,
    pub(super) connections: usize,
    pub(super) duration: Duration,
}

/// The results of a turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    /// Processor time for a request, in microseconds.
    pub(super) cpu: f64,
    /// Requests a second.
    pub(super) rate: f64,
    /// In milliseconds.
    pub(super) p99: f64,
}

/// How long the server may take to handle the ends of the clients' connections.
const REST: Duration = Duration::from_millis(15);

/// The clients of a turn. What opening and closing their connections costs isn't counted, except with wrk.
enum Clients {
    Wrk,
    Streams(Streams),
    Sockets(Sockets),
}

impl Clients {
    fn open(address: SocketAddr, plan: Plan) -> Outcome<Self> {
        Ok(match plan.kind {
            Kind::FanOut => Self::Streams(Streams::open(address, plan.connections)?),
            Kind::WebSocket => Self::Sockets(Sockets::open(address, plan.connections)?),
            _ => Self::Wrk,
        })
    }

    fn run(&mut self, address: SocketAddr, plan: Plan) -> Outcome<Measured> {
        match self {
            Self::Wrk => wrk::run(address, plan.kind, plan.connections, plan.duration),
            Self::Streams(streams) => streams.run(plan.duration),
            Self::Sockets(sockets) => sockets.run(plan.duration),
        }
    }
}

impl Contestant {
    /// Starts it, with this many idle connections, on each of which one request was served.
    pub(super) fn start(program: &Program, idle: usize) -> Outcome<Self> {
        let process = program.start()?;
        let mut contestant = Self {
            name: program.name.clone(),
            process,
            idle: None,
        };
        if idle > 0 {
            let opened = Load::new(contestant.process.address()).and_then(|mut load| {
                load.open(idle, 64, 0)?;
                Ok(load)
            });
            contestant.idle = Some(contestant.explained(opened)?);
        }
        contestant.process.pause();
        Ok(contestant)
    }

    /// Loads it.
    pub(super) fn play(&mut self, plan: Plan) -> Outcome<Turn> {
        self.process.resume();
        let address = self.process.address();
        let opened = Clients::open(address, plan);
        let mut clients = self.explained(opened)?;
        let before = self.process.cpu()?;
        let measured = clients.run(address, plan);
        let measured = self.explained(measured)?;
        sleep(REST);
        let used = self.process.cpu()?.since(before);
        drop(clients);
        if matches!(plan.kind, Kind::FanOut | Kind::WebSocket) {
            sleep(REST);
        }
        if let Some(idle) = &mut self.idle {
            let open = idle.check();
            self.explained(open)?;
        }
        self.process.pause();
        Ok(Turn {
            cpu: used.total.as_secs_f64() * 1e6 / measured.requests,
            rate: measured.requests / measured.elapsed.as_secs_f64(),
            p99: measured.p99.as_secs_f64() * 1e3,
        })
    }

    /// The most memory that was ever resident, in MiB.
    pub(super) fn peak(&self) -> Outcome<f64> {
        Ok(self.process.peak_resident()? as f64 / f64::from(1 << 20))
    }

    /// Replaces an error by the last lines of the server's log, if it has ended.
    fn explained<T>(&mut self, outcome: Outcome<T>) -> Outcome<T> {
        outcome.map_err(|why| match self.process.check_alive() {
            Ok(()) => why,
            Err(words) => format!("{words} ({why})"),
        })
    }
}
