//! The random plan of one client: what it sends, how it reads, and how its connection ends.

use std::rc::Rc;
use std::time::Duration;

use wasip1_poll::fake::Rng;

use super::requests::Planned;
use super::streams;
use crate::limits::Limits;

/// What one client does with its connection.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) requests: Vec<Rc<Planned>>,
    /// It sends nothing for this long after it has connected.
    pub(super) begins_after: Duration,
    pub(super) manner: Manner,
    /// It stops sending after this many bytes.
    pub(super) most_sent: usize,
    pub(super) reading: Reading,
    pub(super) ending: Ending,
    /// It goes on sending after the server's last response.
    pub(super) is_stubborn: bool,
}

/// The kind of handlers in a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// They are called with complete requests, and return complete responses.
    Whole,
    /// They are futures, and bodies stream.
    Streams,
}

/// How requests are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// Each after the response to the one before, in pieces of at most this many bytes.
    Turns(usize),
    /// Without waiting for responses, in pieces of at most this many bytes.
    Stream(usize),
    /// Without waiting for responses, a byte at a time, and more slowly than the limits allow.
    Drip,
}

/// How responses are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// At once, with room for all.
    Prompt,
    /// This many bytes at a time, with room for three times as many.
    Slow { most: usize, every: Duration },
    /// Slower than the limits allow.
    TooSlow { most: usize, every: Duration },
    /// Not at all.
    Never,
}

impl Reading {
    pub(super) fn is_good(self) -> bool {
        matches!(self, Self::Prompt | Self::Slow { .. })
    }
}

/// How the client's connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    HalfCloses,
    Stays,
    /// This long after it has connected.
    Resets(Duration),
    /// Its file descriptor is closed behind the server's back, this long after it has connected.
    Stolen(Duration),
}

impl Plan {
    pub(super) fn random(rng: &mut Rng, limits: &Limits, numbers: &mut u64, kind: Kind) -> Self {
        let count = match rng.below(10) {
            0 if kind == Kind::Whole => 100 + rng.below(200),
            _ => 1 + rng.below(6),
        };
        let requests = (0..count).map(|_| {
            *numbers += 1;
            let request = match count {
                _ if kind == Kind::Streams => streams::request(rng, *numbers, limits.max_body),
                0..10 => Planned::random(rng, *numbers, limits.max_body),
                _ => Planned::get(*numbers, 20),
            };
            Rc::new(request)
        });
        let requests: Vec<Rc<Planned>> = requests.collect();
        let all: usize = requests.iter().map(|request| request.wire.len()).sum();
        let at = Duration::from_micros(rng.below(300_000));
        let (resets, stolen) = (Ending::Resets(at), Ending::Stolen(at));
        let halves = Ending::HalfCloses;
        let piece = rng.pick(&[7, 100, 5_000, 1 << 20]);
        let manner = match rng.below(20) {
            0..9 => Manner::Turns(piece),
            9..19 => Manner::Stream(piece),
            _ => Manner::Drip,
        };
        let waits = requests.iter().any(|request| request.held_back.is_some());
        let manner = match manner {
            Manner::Stream(piece) if waits => Manner::Turns(piece),
            manner => manner,
        };
        let least = limits.min_rate as usize;
        let every = Duration::from_millis(5);
        let reading = match rng.below(20) {
            0..14 => Reading::Prompt,
            14..17 => {
                let most = 1_000 + rng.below(9_000) as usize;
                Reading::Slow { most, every }
            }
            17 => {
                let every = Duration::from_millis(100);
                let most = 1 + least / 40;
                Reading::TooSlow { most, every }
            }
            _ => Reading::Never,
        };
        let begins_after = match rng.below(5) {
            0 => Duration::from_micros(rng.below(450_000)),
            _ => Duration::ZERO,
        };
        Self {
            requests,
            begins_after,
            manner,
            most_sent: match rng.below(6) {
                0 => rng.below(all as u64) as usize,
                _ => all,
            },
            reading,
            ending: rng.pick(&[
                halves,
                halves,
                halves,
                Ending::Stays,
                Ending::Stays,
                Ending::Stays,
                resets,
                stolen,
            ]),
            is_stubborn: rng.chance(300),
        }
    }

    /// The plan of a client whose request stops the server.
    pub(super) fn stop(number: u64) -> Self {
        let request = Planned::stop(number);
        Self {
            most_sent: request.wire.len(),
            requests: vec![Rc::new(request)],
            begins_after: Duration::ZERO,
            manner: Manner::Turns(1 << 20),
            reading: Reading::Prompt,
            ending: Ending::Stays,
            is_stubborn: false,
        }
    }

    /// Where each request begins and ends in the client's stream.
    pub(super) fn spans(&self) -> Vec<(usize, usize)> {
        let mut at = 0;
        let span = |request: &Rc<Planned>| {
            let begin = at;
            at += request.wire.len();
            (begin, at)
        };
        self.requests.iter().map(span).collect()
    }
}
