//! The script of an asynchronous handler: the random plan of what it does with its request.

use std::time::Duration;

use wasip1_poll::fake::Rng;

use crate::conn::CloseReason;
use crate::event_loop::seeds::requests::{Act, HeldBack, Planned, chunked, head, pattern};
use crate::event_loop::seeds::responses::{Framing, Response};
use crate::limits::Limits;

/// What a handler does, one after the other.
#[derive(Clone, Debug)]
pub(in crate::event_loop::seeds) struct Script {
    pub(super) beside: Beside,
    pub(super) take: Take,
    /// The handler's own limit of the body.
    pub(super) limit: Option<u64>,
    /// The handler's own minimum rate.
    pub(super) rate: Option<u32>,
    pub(super) waits: Vec<Wait>,
    pub(super) outcome: Outcome,
    pub(super) hint: Hint,
    pub(super) parts: Vec<Part>,
    pub(super) end: End,
    /// The request says `TE: trailers`.
    pub(super) wants_trailers: bool,
}

/// A task that the handler spawns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beside {
    Nothing,
    Sleeper(Duration),
    /// Until the server stops.
    Stopping,
    Endless,
    Panics,
}

/// What becomes of the request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Take {
    /// It is dropped at once.
    Nothing,
    /// It is dropped with the response's body, and never polled.
    Keep,
    /// All of it in one piece.
    All,
    /// Frame by frame, with a wait before each.
    Frames(Wait),
    /// It is dropped after this many frames.
    Some(usize),
    /// All of it, by a task; the handler waits for that.
    Task,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::event_loop::seeds) enum Wait {
    /// The future wakes itself.
    Yield,
    Sleep(Duration),
    /// A task wakes it after this time, this many times.
    Ring(Duration, u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Response,
    Error,
    Panic,
    Never,
}

/// How the response announces its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hint {
    Unknown,
    Exact(u64),
    /// By `Content-Length`.
    Field(u64),
}

/// A step of a body that is being made, or of a program that writes to an upgraded connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::event_loop::seeds) enum Part {
    Wait(Wait),
    Data(usize),
}

/// What comes after the response's last part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Complete,
    Trailers,
    Error,
    Panic,
    Never,
}

impl Script {
    /// The response, if it comes, is complete.
    pub(in crate::event_loop::seeds) fn is_complete(&self, planned: &Planned) -> bool {
        let length = planned.response.len() as u64;
        let is_true = match self.hint {
            Hint::Unknown => true,
            Hint::Exact(announced) | Hint::Field(announced) => announced == length,
        };
        self.outcome != Outcome::Response
            || !planned.may_have_body()
            || self.exceeds_limit(planned)
            || is_true && matches!(self.end, End::Complete | End::Trailers)
    }

    /// The response's head says that there is no body. So the response looks complete, even if its body fails.
    pub(in crate::event_loop::seeds) fn announces_nothing(&self) -> bool {
        matches!(self.hint, Hint::Exact(0) | Hint::Field(0))
    }

    /// Whether the handler and the response both end.
    pub(super) fn ends(&self, planned: &Planned) -> bool {
        match self.outcome {
            Outcome::Never => false,
            Outcome::Response => !planned.may_have_body() || self.end != End::Never,
            Outcome::Error | Outcome::Panic => true,
        }
    }

    /// Checks whether a response may look complete, and its trailers: only bodies that stream differ there.
    pub(in crate::event_loop::seeds) fn check(&self, planned: &Planned, response: &Response) {
        assert!(
            self.is_complete(planned) || self.announces_nothing(),
            "the response to {} looks complete: {self:?}",
            planned.number
        );
        let has_trailers = self.end == End::Trailers && self.wants_trailers;
        let is_chunked = response.framing == Framing::Chunked && planned.may_have_body();
        let expected = (has_trailers && is_chunked).then_some(planned.number);
        assert_eq!(
            response.last, expected,
            "the trailers of {}",
            planned.number
        );
    }

    /// The handler gets 413, because the body is longer than it has allowed.
    pub(super) fn exceeds_limit(&self, planned: &Planned) -> bool {
        let length = planned.body.len() as u64;
        self.takes_all() && self.limit.is_some_and(|limit| limit < length)
    }

    /// The handler takes all of the request's body.
    pub(super) fn takes_all(&self) -> bool {
        matches!(self.take, Take::All | Take::Frames(_) | Take::Task)
    }

    /// The handler never polls the request's body.
    pub(super) fn never_polls_body(&self) -> bool {
        matches!(self.take, Take::Nothing | Take::Keep | Take::Some(0))
    }

    /// All its waits, one after the other, in nanoseconds, and their number.
    pub(super) fn duration(&self, body: usize) -> (u64, u64) {
        let parts = self.parts.iter().filter_map(|part| match part {
            Part::Wait(wait) => Some(*wait),
            Part::Data(_) => None,
        });
        let (mut all, mut count) = (0, 1);
        for wait in self.waits.iter().copied().chain(parts) {
            all += wait.nanos();
            count += 1;
        }
        if let Take::Frames(wait) = self.take {
            // A frame may be as small as a piece that the client sends: 7 bytes of a short request, a fortieth of a
            // long one.
            let frames = 42 + body as u64 / 7;
            all += wait.nanos() * frames;
            count += frames;
        }
        (all, count)
    }

    pub(super) fn parts_count(&self) -> u64 {
        self.parts.len() as u64
    }

    fn random(rng: &mut Rng) -> Self {
        let short = Duration::from_micros(rng.below(8_000));
        Self {
            beside: match rng.below(30) {
                0 => Beside::Sleeper(Duration::from_millis(rng.below(400))),
                1 => Beside::Stopping,
                2 => Beside::Endless,
                3 => Beside::Panics,
                _ => Beside::Nothing,
            },
            take: match rng.below(12) {
                0 => Take::Nothing,
                1 => Take::Keep,
                2 => Take::Some(rng.below(3) as usize),
                3..5 => Take::Task,
                5..7 => Take::Frames(Wait::Sleep(short)),
                7..9 => Take::Frames(Wait::Yield),
                _ => Take::All,
            },
            limit: None,
            rate: rng.pick(&[None, None, None, Some(0), Some(1), Some(1 << 20)]),
            waits: waits(rng),
            outcome: match rng.below(30) {
                0 => Outcome::Never,
                1 => Outcome::Panic,
                2 => Outcome::Error,
                _ => Outcome::Response,
            },
            hint: Hint::Unknown,
            parts: parts(rng),
            end: match rng.below(20) {
                0 => End::Error,
                1 => End::Panic,
                2 => End::Never,
                3..6 => End::Trailers,
                _ => End::Complete,
            },
            wants_trailers: rng.chance(300),
        }
    }
}

impl Wait {
    pub(in crate::event_loop::seeds) fn nanos(self) -> u64 {
        match self {
            Self::Yield => 0,
            Self::Sleep(time) | Self::Ring(time, _) => time.as_nanos() as u64,
        }
    }

    pub(in crate::event_loop::seeds) fn random(rng: &mut Rng) -> Self {
        let longest = rng.pick(&[1, 3_000, 100_000]);
        let time = Duration::from_micros(rng.below(longest));
        match rng.below(3) {
            0 => Self::Yield,
            1 => Self::Sleep(time),
            _ => Self::Ring(time, 1 + rng.below(3) as u8),
        }
    }
}

/// A request whose handler follows a script.
pub(in crate::event_loop::seeds) fn request(rng: &mut Rng, number: u64, max_body: u64) -> Planned {
    let mut planned = match rng.below(20) {
        0..10 => Planned::get(number, 0),
        10..13 => with_body(rng, number),
        _ => Planned::random(rng, number, max_body),
    };
    let mut script = Script::random(rng);
    if planned.body.len() >= 200_000 && rng.chance(500) {
        script.take = rng.pick(&[Take::Nothing, Take::Keep, Take::Some(0)]);
    }
    if planned.is_refused() {
        // If the fault is in the body, the handler gets it as an error, and returns that.
        (script.take, script.outcome) = (Take::All, Outcome::Response);
    }
    match planned.act {
        Act::Panic => script.outcome = Outcome::Panic,
        Act::RespondAndClose => script.outcome = Outcome::Response,
        Act::Respond | Act::Stop | Act::Nothing => {}
    }
    let length = script.parts.iter().map(|part| match part {
        Part::Data(length) => *length,
        Part::Wait(_) => 0,
    });
    planned.response = pattern(number, length.sum());
    script.hint = hint(rng, planned.response.len() as u64);
    if script.wants_trailers
        && !planned.wire.starts_with(b"POST")
        && planned.wire.ends_with(b"\r\n\r\n")
    {
        let end = planned.wire.len() - 2;
        planned.wire.truncate(end);
        planned.wire.extend_from_slice(b"TE: trailers\r\n\r\n");
    } else {
        script.wants_trailers = false;
    }
    if !planned.is_refused() {
        let limit = own_limit(rng, planned.body.len() as u64);
        // If the handler takes only a part, and the limit is below the length, it depends on how the input is cut
        // whether that part exceeds the limit.
        script.limit = limit.filter(|&it| {
            script.takes_all() || script.never_polls_body() || it >= planned.body.len() as u64
        });
        set_status(rng, &script, &mut planned);
    }
    planned.held_back = held_back(rng, &planned);
    planned.script = Some(script);
    planned
}

fn own_limit(rng: &mut Rng, length: u64) -> Option<u64> {
    match rng.below(10) {
        0 if length > 0 => Some(rng.below(length)),
        1 => Some(length),
        2 => Some(length + 1 + rng.below(1 << 30)),
        _ => None,
    }
}

fn set_status(rng: &mut Rng, script: &Script, planned: &mut Planned) {
    if script.exceeds_limit(planned) {
        planned.status = 413;
        planned.last = Some(CloseReason::TooLarge);
    } else if matches!(script.outcome, Outcome::Error | Outcome::Panic) {
        planned.status = 500;
        planned.last = Some(CloseReason::HandlerFailed);
    } else {
        planned.status = rng.pick(&[200, 200, 200, 200, 200, 200, 200, 204, 205, 304]);
    }
}

/// Half of the clients that ask for `100 Continue` wait for it.
fn held_back(rng: &mut Rng, planned: &Planned) -> Option<HeldBack> {
    let mut ends = planned.wire.windows(4);
    let head = ends.position(|bytes| bytes == b"\r\n\r\n")? + 4;
    let patience = Duration::from_millis(rng.pick(&[1, 30, 1_000, 1_000]));
    (planned.asks() && rng.chance(500)).then_some(HeldBack { head, patience })
}

/// A body that is full of requests.
fn with_body(rng: &mut Rng, number: u64) -> Planned {
    let length = rng.pick(&[100, 3_000, 60_000, 70_000, 200_000, 200_000]);
    let request = b"GET /0 HTTP/1.1\r\nHost: h\r\n\r\n";
    let body: Vec<u8> = request.iter().copied().cycle().take(length).collect();
    let expect = rng.pick(&["", "Expect: 100-continue\r\n"]);
    let (fields, coded) = match rng.chance(500) {
        true => (format!("Content-Length: {length}\r\n"), body.clone()),
        false => ("Transfer-Encoding: chunked\r\n".into(), chunked(rng, &body)),
    };
    let mut wire = head("POST", number, "HTTP/1.1", &format!("{expect}{fields}"));
    wire.extend_from_slice(&coded);
    Planned {
        wire,
        body,
        ..Planned::get(number, 0)
    }
}

/// Limits that only matter where bodies stream.
pub(in crate::event_loop::seeds) fn limits(rng: &mut Rng, limits: &mut Limits) {
    limits.max_body = 1 << 18;
    limits.max_requests = rng.pick(&[1, 3, 10_000, 10_000, 10_000, 10_000]);
    limits.half_closed_timeout = Duration::from_millis(rng.pick(&[150, 400, 30_000]));
    if rng.chance(200) {
        limits.handler_timeout = Some(Duration::from_millis(50 + rng.below(500)));
    }
}

fn waits(rng: &mut Rng) -> Vec<Wait> {
    let count = rng.pick(&[0, 0, 1, 3]);
    (0..count).map(|_| Wait::random(rng)).collect()
}

fn parts(rng: &mut Rng) -> Vec<Part> {
    if rng.chance(150) {
        // More than all buffers together have room for.
        return vec![Part::Data(18_000); 22];
    }
    let count = rng.pick(&[0, 1, 1, 3, 20]);
    let size = rng.pick(&[10, 1_000, 18_000]);
    let part = |_| match rng.below(3) {
        0 => Part::Wait(Wait::random(rng)),
        _ => Part::Data(rng.below(size) as usize),
    };
    (0..count).map(part).collect()
}

fn hint(rng: &mut Rng, length: u64) -> Hint {
    let lie = match rng.below(30) {
        0 => length + 1 + rng.below(1_000),
        1 => length.saturating_sub(1 + rng.below(length + 1)),
        _ => length,
    };
    match rng.below(3) {
        0 => Hint::Unknown,
        1 => Hint::Exact(lie),
        _ => Hint::Field(lie),
    }
}
