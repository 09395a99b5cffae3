//! [`Garbage`]: sockets that wazero leaves to Go's garbage collector to close.

use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Connections that the module has closed. Their sockets stay open until the next collection.
#[derive(Debug)]
pub struct Garbage {
    sockets: Vec<TcpStream>,
    schedule: Schedule,
    collected: Instant,
    /// Connections accepted since then.
    accepted: usize,
}

/// When there is a collection: whichever comes first.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// This long after the last one. Go lets at most two minutes pass.
    pub every: Duration,
    /// When this many connections were accepted since the last one, which stands for the memory that
    /// a program takes meanwhile.
    pub accepts: usize,
}

impl Default for Schedule {
    /// About as wazero with GOGC=1.
    fn default() -> Self {
        Self {
            every: Duration::from_millis(250),
            accepts: 256,
        }
    }
}

impl Garbage {
    pub fn new(schedule: Schedule) -> Self {
        Self {
            sockets: Vec::new(),
            schedule,
            collected: Instant::now(),
            accepted: 0,
        }
    }

    pub fn add(&mut self, socket: TcpStream) {
        self.sockets.push(socket);
    }

    pub fn accepted(&mut self) {
        self.accepted += 1;
    }

    /// Closes all of them, if it is time.
    pub fn collect(&mut self) {
        let Schedule { every, accepts } = self.schedule;
        if self.accepted >= accepts || self.collected.elapsed() >= every {
            self.sockets.clear();
            self.accepted = 0;
            self.collected = Instant::now();
        }
    }
}
