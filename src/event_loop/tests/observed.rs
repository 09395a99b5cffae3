//! Events of responses: one for each, whatever happens to the request, and the same however its bytes arrive.

mod panics;

use std::sync::{Arc, Mutex};

use super::*;
use crate::body::{AnyBody, Chunks};
use crate::conn::{CustomRefusal, Refusal};
use crate::executor::sleep;
use crate::incoming::IncomingError;
use crate::incoming::{Incoming, with_conversion};
use crate::observe::{Callback, Chain, ResponseEvent};

/// What the tests look at in an event.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    request: String,
    status: Option<u16>,
    /// The bytes received, the bytes sent, and how many of the latter are of the response's body.
    bytes: (u64, u64, u64),
    refusal: Option<CloseReason>,
    close: Option<CloseReason>,
    is_complete: bool,
    /// The time until the handler is called, the time in the handler, and the duration of it all, in virtual
    /// milliseconds.
    times: (Option<u64>, Option<u64>, u64),
}

impl Seen {
    fn of(event: &ResponseEvent<'_>) -> Self {
        let millis = |time: Duration| u64::try_from(time.as_millis()).expect("short");
        Self {
            request: format!(
                "{} {} {:?}",
                event.method(),
                event.target_bytes().escape_ascii(),
                event.version()
            ),
            status: event.status().map(|status| status.as_u16()),
            bytes: (event.bytes_in(), event.bytes_out(), event.body_bytes_out()),
            refusal: event.refusal().map(|refusal| refusal.reason()),
            close: event.close_reason(),
            is_complete: event.is_complete(),
            times: (
                event.until_handler().map(millis),
                event.handler_time().map(millis),
                millis(event.duration()),
            ),
        }
    }

    /// Without what depends on when bytes arrive.
    fn without_times(mut self) -> Self {
        self.times = (None, None, 0);
        self
    }
}

type Events = Arc<Mutex<Vec<Seen>>>;

impl Bench {
    fn observed(personality: Personality) -> (Self, Events) {
        let mut bench = Self::new(personality);
        let events = Events::default();
        let seen = Arc::clone(&events);
        let sink = Callback(move |event: &ResponseEvent<'_>| {
            seen.lock().expect("not poisoned").push(Seen::of(event));
        });
        bench.settings.sink = Some(Arc::new(Chain { sink, rest: None }));
        (bench, events)
    }

    fn run_async(&self) -> Counters {
        let reactor = Wasip1Reactor::new(self.fake.clone(), [self.listener]).expect("a listener");
        let handler = with_conversion(handle);
        serve_async(reactor, handler, Vec::new(), &self.settings, &self.handle)
            .expect("the server ends without an error");
        self.check()
    }

    fn run_as(&self, mode: RunMode) -> Counters {
        match mode {
            RunMode::Whole => self.run(),
            RunMode::Async => self.run_async(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RunMode {
    Whole,
    Async,
}

const MODES: [RunMode; 2] = [RunMode::Whole, RunMode::Async];

async fn handle(
    request: http::Request<Incoming>,
) -> std::result::Result<Response<AnyBody>, IncomingError> {
    let target = request.uri().path().to_owned();
    let body = request.into_body().bytes().await?;
    Ok(Response::new(match target.as_str() {
        "/panic" => panic!("as asked"),
        "/chunks" => Chunks::new(["ab", "c"]).into(),
        "/large" => vec![b'x'; 1 << 20].into(),
        "/late" => {
            sleep(Duration::from_millis(300)).await;
            "late".into()
        }
        _ => {
            drop(body);
            "hello!".into()
        }
    }))
}

fn taken(events: &Events) -> Vec<Seen> {
    std::mem::take(&mut events.lock().expect("not poisoned"))
}

/// The events of a connection with these bytes, of which the second part comes later.
fn events_of(mode: RunMode, bytes: &'static [u8], split: usize) -> Vec<Seen> {
    let (bench, events) = Bench::observed(Personality::STRICT);
    let client = bench.client();
    client.send(&bytes[..split]);
    let (first, second) = (client.clone(), client);
    bench.at(10, move |_| first.send(&bytes[split..]));
    bench.at(50, move |_| second.end());
    bench.stop_at(100);
    bench.run_as(mode);
    taken(&events)
        .into_iter()
        .map(Seen::without_times)
        .collect()
}

/// How many bytes a response with the body `hello!` has, and how many of them are of the body.
const HELLO: (u64, u64) = (81, 6);

#[test]
fn an_event_is_the_same_however_the_input_is_cut() {
    let h11 = "Some(HTTP/1.1)";
    let hello = |request: String, received: usize| Seen {
        request,
        status: Some(200),
        bytes: (received as u64, HELLO.0, HELLO.1),
        refusal: None,
        close: None,
        is_complete: true,
        times: (None, None, 0),
    };
    let posted = b"POST /a?b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n12345";
    let chunked = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nt: u\r\n\r\n";
    let asks = b"PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok";
    let last = b"GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    let three: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\nHEAD /3 HTTP/1.0\r\n\r\n";
    let continued = Seen {
        bytes: (asks.len() as u64, HELLO.0 + 25, HELLO.1),
        ..hello(format!("PUT / {h11}"), asks.len())
    };
    let closed = Seen {
        close: Some(CloseReason::ClientAskedClose),
        bytes: (last.len() as u64, HELLO.0 + 19, HELLO.1),
        ..hello(format!("GET /last {h11}"), last.len())
    };
    let head = Seen {
        close: Some(CloseReason::Http10),
        bytes: (20, HELLO.0 - 6 + 19, 0),
        ..hello("HEAD /3 Some(HTTP/1.0)".into(), 0)
    };
    let cases: [(&'static [u8], Vec<Seen>); 6] = [
        (GET, vec![hello(format!("GET / {h11}"), GET.len())]),
        (
            posted,
            vec![hello(format!("POST /a?b {h11}"), posted.len())],
        ),
        (chunked, vec![hello(format!("POST / {h11}"), chunked.len())]),
        (asks, vec![continued]),
        (last, vec![closed]),
        (
            three,
            vec![
                hello(format!("GET / {h11}"), GET.len()),
                // The empty line before it counts.
                hello(format!("GET /2 {h11}"), GET.len() + 3),
                head,
            ],
        ),
    ];
    for (bytes, expected) in cases {
        for mode in MODES {
            for split in 1..=bytes.len() {
                let events = events_of(mode, bytes, split);
                assert_eq!(
                    events,
                    expected,
                    "{mode:?}, {split} of {}",
                    bytes.escape_ascii()
                );
            }
        }
    }
}

#[test]
fn a_refused_request_has_one_event_with_what_is_known_of_it() {
    use CloseReason::{BadRequest, IncompleteRequest, TooLarge};
    let h11 = "Some(HTTP/1.1)";
    let cases: [(&'static [u8], String, u16, CloseReason); 10] = [
        (
            b"CONNECT a:443 HTTP/1.1\r\nHost: h\r\n\r\n",
            format!("CONNECT a:443 {h11}"),
            501,
            BadRequest,
        ),
        (
            b"GET /a HTTP/1.1\r\nHost : h\r\n\r\n",
            format!("GET /a {h11}"),
            400,
            BadRequest,
        ),
        (
            b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET /a b None".into(),
            400,
            BadRequest,
        ),
        (
            b"GET http://u:p@h/ HTTP/1.1\r\nHost: h\r\n\r\n",
            format!("GET http://***@h/ {h11}"),
            400,
            BadRequest,
        ),
        (
            b"\x16\x03\x01\x02\x00",
            " \\x16 None".into(),
            400,
            BadRequest,
        ),
        (
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "PRI * Some(HTTP/2.0)".into(),
            505,
            BadRequest,
        ),
        (
            b"GET /a HTTP/1.1\r\nHost: h\r\n",
            format!("GET /a {h11}"),
            400,
            IncompleteRequest,
        ),
        (
            b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc",
            format!("POST /a {h11}"),
            400,
            IncompleteRequest,
        ),
        (
            b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999\r\n\r\nabc",
            format!("POST /a {h11}"),
            413,
            TooLarge,
        ),
        (
            b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
            format!("POST /a {h11}"),
            400,
            BadRequest,
        ),
    ];
    for (bytes, request, status, reason) in cases {
        for mode in MODES {
            let whole = events_of(mode, bytes, bytes.len());
            for split in 1..=bytes.len() {
                let events = events_of(mode, bytes, split);
                let what = format!("{mode:?}, {split} of {}", bytes.escape_ascii());
                let [event] = &events[..] else {
                    panic!("{} events: {what}", events.len());
                };
                assert_eq!(event.request, request, "{what}");
                assert_eq!(event.status, Some(status), "{what}");
                assert_eq!(
                    (event.refusal, event.close),
                    (Some(reason), Some(reason)),
                    "{what}"
                );
                assert!(event.is_complete && event.bytes.1 > event.bytes.2, "{what}");
                assert!(event.bytes.0 <= bytes.len() as u64, "{what}");
                assert_eq!(events, whole, "{what}");
            }
        }
    }
}

#[test]
fn each_request_has_one_event_in_every_runtime() {
    for personality in ALL {
        for mode in MODES {
            let (bench, events) = Bench::observed(personality);
            let clients = bench.clients_that_send();
            bench.stop_at(1000);
            let counters = bench.run_as(mode);
            let events = taken(&events);
            assert_eq!(events.len(), 100);
            assert!(
                events
                    .iter()
                    .all(|event| event.status == Some(200) && event.is_complete)
            );
            let out: u64 = events.iter().map(|event| event.bytes.1).sum();
            assert_eq!(
                out,
                clients
                    .iter()
                    .map(|client| client.receive().len() as u64)
                    .sum()
            );
            assert_eq!((counters.responses(2), counters.bytes_out()), (100, out));
            assert_eq!(counters.bytes_in(), 100 * GET.len() as u64);
            assert_eq!(counters.handler_times().count(), 100);
        }
    }
}

#[test]
fn a_response_that_is_given_up_has_one_event() {
    for mode in MODES {
        let (bench, events) = Bench::observed(Personality::STRICT);
        let (reset, silent) = (bench.client(), bench.client());
        for client in [&reset, &silent] {
            client.set_room(10_000);
            client
                .send(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n");
        }
        bench.at(20, move |_| reset.reset());
        bench.stop_at(60_000);
        let counters = bench.run_as(mode);
        drop(silent);
        let events = taken(&events);
        let closes: Vec<_> = events
            .iter()
            .filter(|event| event.request.starts_with("GET /large"))
            .map(|event| (event.status, event.close, event.is_complete))
            .collect();
        assert_eq!(closes.len(), 2, "{events:?}");
        assert!(
            closes
                .iter()
                .all(|(status, _, whole)| *status == Some(200) && !whole)
        );
        assert!(matches!(
            closes[0].1,
            Some(CloseReason::IoError | CloseReason::ClientGone)
        ));
        assert_eq!(closes[1].1, Some(CloseReason::WriteTimeout));
        assert!(
            events.iter().all(|event| event.bytes.1 <= 10_000),
            "{events:?}"
        );
        assert_eq!(counters.held, 0);
    }
}

#[test]
fn an_asynchronous_request_without_a_response_has_an_event_without_a_status() {
    let (bench, events) = Bench::observed(Personality::STRICT);
    let (gone, stays) = (bench.client(), bench.client());
    gone.send(b"GET /late HTTP/1.1\r\nHost: h\r\n\r\n");
    stays.send(b"GET /late HTTP/1.1\r\nHost: h\r\n\r\n");
    bench.at(100, move |_| gone.reset());
    bench.stop_at(1000);
    bench.run_async();
    let events = taken(&events);
    assert_eq!(events.len(), 2, "{events:?}");
    assert_eq!(events[0].status, None);
    assert_eq!(events[0].close, Some(CloseReason::ClientGone));
    assert_eq!((events[0].bytes.1, events[0].is_complete), (0, false));
    assert_eq!(events[0].times.1, None);
    assert_eq!(events[1].status, Some(200));
    let (until_handler, in_handler, all) = events[1].times;
    assert_eq!(until_handler, Some(0));
    assert!(
        (300..310).contains(&in_handler.expect("a time")),
        "{:?}",
        events[1]
    );
    assert!(all >= 300);
}

#[test]
fn a_slow_head_and_a_slow_body_count_from_the_first_byte() {
    for mode in MODES {
        let (bench, events) = Bench::observed(Personality::STRICT);
        let client = bench.client();
        let bytes = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n12345";
        for (step, part) in bytes.chunks(10).enumerate() {
            let client = client.clone();
            bench.at(step as u64 * 100, move |_| client.send(part));
        }
        bench.stop_at(1000);
        bench.run_as(mode);
        let events = taken(&events);
        assert_eq!(events.len(), 1);
        assert!((495..520).contains(&events[0].times.2), "{events:?}");
        assert_eq!(events[0].bytes, (bytes.len() as u64, HELLO.0, HELLO.1));
    }
}

#[test]
fn a_chunked_response_counts_with_its_framing() {
    let (bench, events) = Bench::observed(Personality::STRICT);
    let (client, old) = (bench.client(), bench.client());
    client.send(b"GET /chunks HTTP/1.1\r\nHost: h\r\n\r\n");
    old.send(b"GET /chunks HTTP/1.0\r\n\r\n");
    bench.stop_at(100);
    bench.run_async();
    let events = taken(&events);
    let received = [client.receive().len() as u64, old.receive().len() as u64];
    for (event, received) in events.iter().zip(received) {
        assert_eq!(
            (event.bytes.1, event.is_complete),
            (received, true),
            "{event:?}"
        );
    }
    assert_eq!((events[0].bytes.2, events[1].bytes.2), (18, 3));
    assert_eq!(events[1].close, Some(CloseReason::Http10));
}

#[test]
fn refusals_can_have_the_look_of_the_application() {
    for mode in MODES {
        let (mut bench, events) = Bench::observed(Personality::STRICT);
        bench.settings.on_refusal = Some(Arc::new(CustomRefusal(|refusal: &Refusal| {
            let response = Response::builder()
                .header("Access-Control-Allow-Origin", "*")
                .header("Connection", "keep-alive");
            let body = format!("{{\"status\":{}}}", refusal.status().as_u16());
            response.body(body).expect("a valid response")
        })));
        let client = bench.client();
        client.send(b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999\r\n\r\n");
        bench.stop_at(100);
        bench.run_as(mode);
        let text = String::from_utf8_lossy(&client.receive()).into_owned();
        assert!(text.starts_with("HTTP/1.1 413 "), "{text}");
        assert!(
            text.contains("\r\naccess-control-allow-origin: *\r\n"),
            "{text}"
        );
        assert!(text.ends_with("content-length: 14\r\nconnection: close\r\n\r\n{\"status\":413}"));
        let events = taken(&events);
        assert_eq!(events[0].bytes.1, text.len() as u64);
        assert_eq!(events[0].bytes.2, 14);
    }
}
