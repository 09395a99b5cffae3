//! What a client is going to do, and the program at the other end of its connection.

use std::time::Duration;

use wasip1_poll::fake::Rng;

use crate::event_loop::seeds::requests::pattern;
use crate::event_loop::seeds::streams::{Part, Wait};
use crate::limits::Limits;

/// A client and the program that uses its connection.
#[derive(Debug)]
pub(super) struct Plan {
    /// Its index among the clients.
    pub(super) number: u64,
    /// How many requests come before the one that asks for an upgrade.
    pub(super) before: usize,
    pub(super) opening: Opening,
    /// The client doesn't wait for the response before it sends bytes of the new protocol.
    pub(super) is_early: bool,
    /// What it sends after the request.
    pub(super) sends: Vec<u8>,
    /// It sends at most this much at once, at intervals below this one.
    pub(super) piece: usize,
    pub(super) pause: Duration,
    pub(super) taking: Taking,
    /// How much the system takes for the client.
    pub(super) room: usize,
    pub(super) ending: Ending,
    /// The client ends its stream, at the latest, when it sees the end of the server's.
    pub(super) follows: bool,
    pub(super) user: User,
}

/// What the handler does with the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// It responds with 101 to `Upgrade`.
    Upgrade,
    /// It responds with 200 to CONNECT.
    Connect,
    /// It takes the upgrade, and responds with 200 to `Upgrade`.
    Otherwise,
    /// It takes the upgrade, and responds with 403 to CONNECT.
    Refused,
    /// It takes the upgrade, and forgets the field `Upgrade` in 101.
    NoField,
    /// It responds with 101, and has not taken the upgrade, or has dropped it.
    Untaken,
    Dropped,
    /// It responds with 200 to CONNECT, and has not taken the upgrade.
    NoTunnel,
}

/// How the client takes what is sent to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taking {
    /// It takes everything at once.
    Prompt,
    /// It takes at most this many bytes at a time, every 5 ms.
    Slow(usize),
    /// It takes nothing more after this many bytes.
    Stalls(usize),
}

/// How the client ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// It ends its stream after its last byte.
    HalfCloses,
    Stays,
    /// It resets the connection this long after it has connected.
    Resets(Duration),
}

/// The program.
#[derive(Debug)]
pub(super) struct User {
    /// The handler waits before it responds.
    pub(super) responds_after: Option<Wait>,
    /// Nothing is read before this.
    pub(super) reads_after: Duration,
    /// The length of its buffer.
    pub(super) buffer: usize,
    /// It waits before each read.
    pub(super) pause: Option<Wait>,
    /// It reads no more than this much; all, if there is none.
    pub(super) reads: Option<usize>,
    pub(super) writes: Vec<Part>,
    pub(super) end: End,
}

/// What follows what was written. The connection is dropped when reading has ended, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The output is closed.
    Closes,
    /// The output is left open.
    Leaves,
    /// The output is closed when the server stops.
    ClosesAtStop,
    /// The connection is dropped, which also ends reading.
    Drops,
}

impl Opening {
    pub(super) fn is_connect(self) -> bool {
        matches!(self, Self::Connect | Self::Refused | Self::NoTunnel)
    }

    pub(super) fn upgrades(self) -> bool {
        matches!(self, Self::Upgrade | Self::Connect)
    }

    /// What the client gets.
    pub(super) fn status(self) -> u16 {
        match self {
            Self::Upgrade => 101,
            Self::Connect | Self::Otherwise => 200,
            Self::Refused => 403,
            Self::NoField | Self::Untaken | Self::Dropped => 500,
            Self::NoTunnel => 501,
        }
    }

    fn random(rng: &mut Rng) -> Self {
        match rng.below(20) {
            0..12 => Self::Upgrade,
            12..15 => Self::Connect,
            15 => Self::Otherwise,
            16 => Self::Refused,
            17 => Self::NoField,
            18 => rng.pick(&[Self::Untaken, Self::Dropped]),
            _ => Self::NoTunnel,
        }
    }
}

impl Plan {
    pub(super) fn random(rng: &mut Rng, number: u64) -> Self {
        let opening = Opening::random(rng);
        let length = match opening.upgrades() {
            true => length(rng),
            // Without an upgrade, these bytes would be parsed as a request.
            false => 0,
        };
        let piece = rng.pick(&[7, 300, 5_000, 1 << 20]);
        let resets = Ending::Resets(Duration::from_micros(rng.below(500_000)));
        let halves = Ending::HalfCloses;
        let taking = match rng.below(10) {
            0..6 => Taking::Prompt,
            6..8 => Taking::Slow(1_000 + rng.below(30_000) as usize),
            _ => Taking::Stalls(rng.below(30_000) as usize),
        };
        Self {
            number,
            before: rng.pick(&[0, 0, 0, 1, 3]),
            opening,
            is_early: rng.chance(400),
            sends: pattern(2 * number, length),
            // Only short streams are sent in the smallest pieces.
            piece: piece.max(length / 60),
            pause: Duration::from_micros(rng.pick(&[1, 2_000, 20_000])),
            taking,
            room: match taking {
                Taking::Prompt => rng.pick(&[5_000, 1 << 20]),
                Taking::Slow(most) => 3 * most,
                Taking::Stalls(_) => STALLED,
            },
            ending: rng.pick(&[halves, halves, halves, Ending::Stays, Ending::Stays, resets]),
            follows: rng.chance(700),
            user: User::random(rng),
        }
    }

    /// The client's bytes up to the new protocol.
    pub(super) fn heads(&self) -> Vec<u8> {
        let mut heads = b"GET /plain HTTP/1.1\r\nHost: h\r\n\r\n".repeat(self.before);
        let number = self.number;
        let last = match self.opening.is_connect() {
            true => format!("CONNECT h:{number} HTTP/1.1\r\nHost: h:{number}\r\n\r\n"),
            false => format!(
                "GET /{number} HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
            ),
        };
        heads.extend(last.into_bytes());
        heads
    }

    /// All that the program writes, if it comes to that.
    pub(super) fn writes(&self) -> Vec<u8> {
        pattern(2 * self.number + 1, self.user.length())
    }
}

impl User {
    fn random(rng: &mut Rng) -> Self {
        Self {
            responds_after: rng.chance(300).then(|| Wait::random(rng)),
            reads_after: Duration::from_millis(rng.pick(&[0, 0, 0, 10, 300])),
            buffer: rng.pick(&[100, 5_000, 100_000]),
            pause: rng.pick(&[None, None, Some(Wait::Yield), Some(PAUSE)]),
            reads: rng.chance(250).then(|| rng.below(100_000) as usize),
            writes: writes(rng),
            end: match rng.below(10) {
                0..5 => End::Closes,
                5..7 => End::Leaves,
                7..9 => End::ClosesAtStop,
                _ => End::Drops,
            },
        }
    }

    pub(super) fn length(&self) -> usize {
        let lengths = self.writes.iter().map(|part| match part {
            Part::Wait(_) => 0,
            Part::Data(length) => *length,
        });
        lengths.sum()
    }
}

/// How many bytes the system takes for a client that reads nothing itself: more than the heads of its responses.
pub(super) const STALLED: usize = 5_000;

/// The wait of a program that reads slowly.
const PAUSE: Wait = Wait::Sleep(Duration::from_millis(2));

/// How much a client sends: also more than there is room for anywhere.
fn length(rng: &mut Rng) -> usize {
    let most = rng.pick(&[1, 200, 200, 20_000, 300_000]);
    rng.below(most) as usize
}

fn writes(rng: &mut Rng) -> Vec<Part> {
    let count = rng.pick(&[0, 1, 5, 20, 20]);
    let size = rng.pick(&[2, 300, 5_000, 19_000]);
    let part = |_| match rng.below(4) {
        0 => Part::Wait(Wait::random(rng)),
        _ => Part::Data(rng.below(size) as usize),
    };
    (0..count).map(part).collect()
}

/// Limits of which those of HTTP are so strict that no upgraded connection would outlive them.
pub(super) fn limits(rng: &mut Rng) -> Limits {
    let millis = |from, to, rng: &mut Rng| Duration::from_millis(from + rng.below(to - from));
    let mut limits = Limits {
        idle_timeout: millis(200, 600, rng),
        // Long enough for each head that a client sends.
        head_timeout: millis(3_000, 5_000, rng),
        min_rate: 1 << 20,
        rate_window: millis(300, 900, rng),
        linger_timeout: millis(200, 1_500, rng),
        handler_timeout: rng.pick(&[None, Some(Duration::from_secs(3))]),
        half_closed_timeout: Duration::from_secs(3),
        ..Limits::default()
    };
    if rng.chance(150) {
        limits.max_held = 20_000 + rng.below(300_000) as usize;
    }
    limits
}
