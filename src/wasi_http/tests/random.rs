//! Random handlers, bodies and hosts: for each seed, all futures and tasks are dropped at the end, there is one
//! response, and its body is complete only if it has the stated length.

use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::ends::yield_once;
use super::*;
use crate::executor::{sleep, spawn};
use crate::incoming::Incoming;
use wasip1_poll::fake::Rng;

/// What the body of a response does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    Data(usize),
    Empty,
    Trailers,
    Sleep(u64),
    Yield,
    Fail,
    Hang,
}

/// What the handler does before it responds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    ReadFrame,
    ReadAll,
    Limit(u64),
    DropBody,
    Sleep(u64),
    Yield,
    Spawn { hangs: bool },
    Fail,
    Hang,
}

/// What a seed stands for, without the request's body.
#[derive(Clone, Debug)]
struct Plan {
    acts: Vec<Act>,
    pieces: Vec<Piece>,
    /// The exact size hint.
    hint: Option<u64>,
    /// `Content-Length` of the response.
    stated: Option<u64>,
    status: u16,
    method: Method,
    /// `Content-Length` of the request.
    announced: Option<&'static str>,
    /// In milliseconds.
    gone_at: Option<u64>,
    room: usize,
    room_after_wait: usize,
}

impl Plan {
    fn new(rng: &mut Rng) -> Self {
        use Act::*;
        let acts = (0..rng.below(5)).map(|_| {
            let sleep = rng.below(40);
            rng.pick(&[
                ReadFrame,
                ReadFrame,
                ReadAll,
                Limit(3),
                DropBody,
                Sleep(sleep),
                Yield,
                Spawn { hangs: false },
                Spawn { hangs: true },
                Fail,
                Hang,
            ])
        });
        let acts = acts.collect();
        let pieces = (0..rng.below(7)).map(|_| {
            let (data, sleep) = (rng.pick(&[1, 2, 3, 9_000, 70_000]), rng.below(40));
            let data = Piece::Data(data);
            rng.pick(&[
                data,
                data,
                data,
                data,
                Piece::Empty,
                Piece::Trailers,
                Piece::Sleep(sleep),
                Piece::Yield,
                Piece::Fail,
                Piece::Hang,
            ])
        });
        let pieces: Vec<_> = pieces.collect();
        let data = |piece: &Piece| match piece {
            Piece::Data(length) => *length as u64,
            _ => 0,
        };
        let length: u64 = pieces.iter().map(data).sum();
        let around = |rng: &mut Rng| {
            let lengths = [
                None,
                None,
                Some(length),
                Some(length),
                Some(length + 1),
                Some(length.saturating_sub(1)),
                Some(0),
            ];
            rng.pick(&lengths)
        };
        Self {
            acts,
            hint: around(rng),
            stated: around(rng),
            pieces,
            status: rng.pick(&[200, 200, 200, 200, 204, 205, 304, 404, 101, 103, 999]),
            method: [Method::GET, Method::POST, Method::HEAD, Method::CONNECT]
                [rng.below(4) as usize]
                .clone(),
            announced: rng.pick(&[
                None,
                Some("0"),
                Some("4"),
                Some("6"),
                Some("x"),
                Some("99999999999999999999"),
            ]),
            gone_at: (rng.below(4) == 0).then(|| rng.below(60)),
            room: rng.pick(&[0, 1, 3, 5_000, 100_000, usize::MAX]),
            room_after_wait: rng.pick(&[64, 5_000, 100_000, usize::MAX]),
        }
    }

    fn upload(rng: &mut Rng) -> Vec<Step> {
        let mut steps = Vec::new();
        for _ in 0..rng.below(6) {
            steps.push(match rng.below(3) {
                0 => Step::Pause,
                _ => Step::Part(rng.pick(&["a", "bc", "def"])),
            });
        }
        steps.push(match rng.below(4) {
            0 => Step::Fail,
            1 => Step::End(&[("x-t", "1")]),
            _ => Step::End(&[]),
        });
        steps
    }
}

/// The body of the response.
struct Planned {
    pieces: VecDeque<Piece>,
    sleep: Option<crate::Sleep>,
    hint: Option<u64>,
    _alive: Alive,
}

impl http_body::Body for Planned {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            if let Some(sleep) = &mut self.sleep {
                if Pin::new(sleep).poll(cx).is_pending() {
                    return Poll::Pending;
                }
                self.sleep = None;
            }
            if self.pieces.front() == Some(&Piece::Hang) {
                return Poll::Pending;
            }
            let frame = match self.pieces.pop_front() {
                None => return Poll::Ready(None),
                Some(Piece::Data(length)) => Frame::data(Bytes::from(vec![b'x'; length])),
                Some(Piece::Empty) => Frame::data(Bytes::new()),
                Some(Piece::Trailers) => Frame::trailers(fields(&[("x-t", "1")])),
                Some(Piece::Sleep(millis)) => {
                    self.sleep = Some(sleep(Duration::from_millis(millis)));
                    continue;
                }
                Some(Piece::Yield) => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Some(Piece::Fail) => return Poll::Ready(Some(Err("as asked".into()))),
                Some(Piece::Hang) => return Poll::Pending,
            };
            return Poll::Ready(Some(Ok(frame)));
        }
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.hint.map_or_else(
            http_body::SizeHint::default,
            http_body::SizeHint::with_exact,
        )
    }
}

async fn handler(
    plan: Plan,
    alive: (Alive, Alive, Rc<Cell<usize>>),
    request: Request<Incoming>,
) -> Result<Response<Planned>, BoxError> {
    let (_alive, in_body, count) = alive;
    let mut body = Some(request.into_body());
    for act in plan.acts {
        match act {
            Act::ReadFrame => {
                if let Some(body) = &mut body {
                    let frame =
                        poll_fn(|cx| http_body::Body::poll_frame(Pin::new(&mut *body), cx)).await;
                    frame.transpose()?;
                }
            }
            Act::ReadAll => {
                if let Some(body) = body.take() {
                    body.bytes().await?;
                }
            }
            Act::Limit(bytes) => {
                if let Some(body) = &mut body {
                    body.limit(bytes);
                }
            }
            Act::DropBody => body = None,
            Act::Sleep(millis) => sleep(Duration::from_millis(millis)).await,
            Act::Yield => yield_once().await,
            Act::Spawn { hangs } => {
                let alive = Alive::new(&count);
                spawn(async move {
                    sleep(Duration::from_millis(5)).await;
                    if hangs {
                        pending::<()>().await;
                    }
                    drop(alive);
                });
            }
            Act::Fail => return Err("as asked".into()),
            Act::Hang => pending().await,
        }
    }
    let mut response = Response::builder().status(plan.status);
    if let Some(stated) = plan.stated {
        response = response.header("content-length", stated);
    }
    Ok(response.body(Planned {
        pieces: plan.pieces.into(),
        sleep: None,
        hint: plan.hint,
        _alive: in_body,
    })?)
}

fn check(seed: u64) {
    let mut rng = Rng::new(seed);
    let plan = Plan::new(&mut rng);
    let upload = Plan::upload(&mut rng);
    let text = format!("seed {seed}: {plan:?}");
    let mut host = Scripted::new(upload);
    (host.room, host.room_after_wait) = (plan.room, plan.room_after_wait);
    if let Some(millis) = plan.gone_at {
        host.gone_at = Instant::from_nanos(millis * 1_000_000);
    }
    host.tick = Duration::from_micros(10);
    let alive = Rc::new(Cell::new(0));
    let (count, handled) = (Rc::clone(&alive), plan.clone());
    let exported = Exported::serve_async(move |request| {
        let alive = (Alive::new(&count), Alive::new(&count), Rc::clone(&count));
        handler(handled.clone(), alive, request)
    });
    let asked = asked(plan.method.clone(), plan.announced);
    let ran = catch_unwind(AssertUnwindSafe(|| run(exported, asked, host)));
    let host = match ran {
        Ok(host) => host,
        Err(_) => panic!("{text}"),
    };
    assert_eq!(alive.get(), 0, "{text}");
    let status = host.status();
    assert!(!(100..200).contains(&status), "{text}");
    if plan.method == Method::HEAD || [204, 304].contains(&status) {
        assert!(!host.has_body, "{text}");
    }
    let stated = host
        .field(header::CONTENT_LENGTH)
        .map(|it| it.parse::<u64>().expect("a number"));
    match host.end {
        None => assert!(!host.has_body || plan.gone_at.is_some(), "{text}"),
        Some(End::Complete) => {
            if let Some(stated) = stated {
                assert_eq!(host.written.len() as u64, stated, "{text}");
                assert!(host.trailers.is_none(), "{text}");
            }
        }
        Some(End::Aborted) => {
            if let Some(stated) = stated {
                assert!((host.written.len() as u64) < stated, "{text}");
            }
        }
    }
}

/// They take a second natively. A hundred times as many have found nothing more.
const SEEDS: u64 = 2_000;

#[test]
fn what_must_hold_holds_for_each_seed() {
    (0..SEEDS).for_each(check);
}
