//! Tests of streaming mode, in virtual time: the handler returns a future for each request.

use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::task::{Poll, Waker};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};

use super::*;
use crate::body::AnyBody;
use crate::executor::{Sleep, sleep};
use crate::incoming::IncomingError;

/// Runtimes whose poll checks sockets. In the others, the poller has to check the sockets every few milliseconds.
const NOT_BLIND: [Personality; 2] = [Personality::WASI_COMMON, Personality::STRICT];

/// What happens to the futures of requests.
#[derive(Default)]
struct Diary {
    begun: Cell<usize>,
    /// When futures were dropped before they had ended, in virtual milliseconds.
    dropped: RefCell<Vec<u64>>,
}

/// Writes into the diary if it is dropped before the future has ended.
struct Witness {
    diary: Rc<Diary>,
    fake: Fake,
}

impl Witness {
    fn new(diary: &Rc<Diary>, fake: &Fake) -> Self {
        diary.begun.set(diary.begun.get() + 1);
        let (diary, fake) = (Rc::clone(diary), fake.clone());
        Self { diary, fake }
    }

    /// The future has ended.
    fn end(self) {
        std::mem::forget(self);
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        let now = self.fake.now() / 1_000_000;
        self.diary.dropped.borrow_mut().push(now);
    }
}

/// A body of `count` events, with an interval between them.
struct Events {
    left: usize,
    interval: Duration,
    sleep: Sleep,
    polls: Rc<Cell<usize>>,
}

impl Events {
    fn new(count: usize, interval: Duration) -> Self {
        Self {
            left: count,
            interval,
            sleep: sleep(Duration::ZERO),
            polls: Rc::default(),
        }
    }
}

impl HttpBody for Events {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, &'static str>>> {
        self.polls.set(self.polls.get() + 1);
        if self.left == 0 {
            return Poll::Ready(None);
        }
        std::task::ready!(Pin::new(&mut self.sleep).poll(cx));
        self.left -= 1;
        self.sleep = sleep(self.interval);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"event\n")))))
    }
}

/// A body without an end, in pieces of 10,000 bytes. It counts the pieces.
struct Endless(Rc<Cell<usize>>);

impl HttpBody for Endless {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, &'static str>>> {
        self.0.set(self.0.get() + 1);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 10_000])))))
    }
}

type Request = http::Request<Incoming>;

impl Bench {
    /// Runs the server in streaming mode until it has been stopped.
    fn serve<F>(&self, handler: impl FnMut(Request) -> F) -> Counters
    where
        F: Future<Output: IntoResponse>,
    {
        self.serve_beside(Vec::new(), handler)
    }

    fn serve_beside<F>(&self, tasks: Vec<Task>, handler: impl FnMut(Request) -> F) -> Counters
    where
        F: Future<Output: IntoResponse>,
    {
        let reactor = Wasip1Reactor::new(self.fake.clone(), [self.listener]).expect("a listener");
        serve_async(reactor, handler, tasks, &self.settings, &self.handle)
            .expect("the server ends without an error");
        self.check()
    }
}

fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n").into_bytes()
}

async fn hello(_: Request) -> Response<String> {
    Response::new("hello!".to_string())
}

/// Responds after the time in the target, in milliseconds.
async fn later(request: Request) -> Response<String> {
    let millis = request.uri().path()[1..].parse().unwrap_or_default();
    sleep(Duration::from_millis(millis)).await;
    Response::new("hello!".to_string())
}

fn text(client: &Client) -> String {
    String::from_utf8_lossy(&client.receive()).into_owned()
}

#[test]
fn every_request_gets_a_response_if_the_handler_is_ready_at_once() {
    for personality in ALL {
        let bench = Bench::new(personality);
        let clients: Vec<Client> = (0..20).map(|_| bench.client()).collect();
        for (number, client) in clients.iter().enumerate() {
            for request in 0..5 {
                let client = client.clone();
                bench.at(number as u64 + request * 100, move |_| client.send(GET));
            }
        }
        bench.stop_at(1000);
        let counters = bench.serve(hello);
        assert_eq!(counters.requests, 100);
        for client in &clients {
            assert_eq!(count_ok(client), 5);
        }
    }
}

#[test]
fn requests_sleep_concurrently_and_others_are_served_meanwhile() {
    for personality in ALL {
        let bench = Bench::new(personality);
        let sleeping: Vec<Client> = (0..16).map(|_| bench.client()).collect();
        sleeping.iter().for_each(|client| client.send(&get("/200")));
        let other = bench.client();
        for step in 1..20 {
            let (sender, receiver) = (other.clone(), other.clone());
            bench.at(step * 10, move |_| sender.send(GET));
            bench.at(step * 10 + 5, move |_| assert_eq!(count_ok(&receiver), 1));
        }
        let early = sleeping.clone();
        bench.at(199, move |_| {
            assert_eq!(early.iter().map(count_ok).sum::<usize>(), 0);
        });
        bench.at(215, move |_| {
            assert_eq!(sleeping.iter().map(count_ok).sum::<usize>(), 16);
        });
        bench.stop_at(300);
        bench.serve(later);
    }
}

#[test]
fn the_responses_to_a_pipeline_are_in_order() {
    let bench = Bench::new(Personality::WASI_COMMON);
    let client = bench.client();
    client.send(&[get("/30"), get("/0"), get("/10"), get("/20")].concat());
    let early = client.clone();
    bench.at(25, move |_| assert!(early.receive().is_empty()));
    bench.stop_at(200);
    bench.serve(|request: Request| async move {
        let target = request.uri().path().to_string();
        let _ = later(request).await;
        Response::new(target)
    });
    let all = text(&client);
    let bodies: Vec<&str> = all.matches("\r\n\r\n/").collect();
    assert_eq!(bodies.len(), 4, "{all}");
    let places = ["/30", "/0", "/10", "/20"].map(|target| all.find(&format!("\r\n\r\n{target}")));
    assert!(places.is_sorted() && places[0].is_some(), "{all}");
}

#[test]
fn a_reset_drops_the_future_promptly() {
    for personality in ALL {
        let bench = Bench::new(personality);
        let (client, other) = (bench.client(), bench.client());
        client.send(GET);
        other.send(GET);
        bench.at(50, move |_| client.reset());
        let diary = Rc::new(Diary::default());
        let late = Rc::clone(&diary);
        bench.at(60, move |_| assert_eq!(late.dropped.borrow().len(), 1));
        bench.at(70, move |_| other.reset());
        bench.stop_at(100);
        let fake = bench.fake.clone();
        let counters = bench.serve(|_| {
            let witness = Witness::new(&diary, &fake);
            async move {
                pending::<()>().await;
                witness.end();
                Response::new("never".to_string())
            }
        });
        assert_eq!(diary.dropped.borrow().len(), 2);
        assert_eq!(counters.closed(CloseReason::ClientGone), 2);
    }
}

#[test]
fn a_half_closed_connection_gets_its_response_without_extra_waits() {
    for personality in NOT_BLIND {
        let bench = Bench::new(personality);
        let client = bench.client();
        client.send(&get("/20000"));
        client.end();
        let polls = Rc::new(Cell::new(0));
        let before = Rc::clone(&polls);
        bench.at(1_000, move |fake| before.set(fake.counts().polls));
        bench.at(19_000, move |fake| {
            let waits = fake.counts().polls - polls.get();
            assert!(waits <= 4, "{waits} waits in 18 s");
        });
        bench.at(20_100, move |_| {
            assert_eq!(count_ok(&client), 1);
            assert!(client.is_closed());
        });
        bench.stop_at(21_000);
        let counters = bench.serve(later);
        assert_eq!(counters.closed(CloseReason::ClientClosed), 1);
    }
}

#[test]
fn a_half_closed_connection_is_closed_at_its_timeout() {
    let mut bench = Bench::new(Personality::WASI_COMMON);
    bench.settings.limits.half_closed_timeout = Duration::from_secs(3);
    let client = bench.client();
    client.send(&get("/20000"));
    client.end();
    let early = client.clone();
    bench.at(2_900, move |_| assert!(!early.is_closed()));
    bench.at(3_200, move |_| assert!(client.is_closed()));
    bench.stop_at(4_000);
    let counters = bench.serve(later);
    assert_eq!(counters.closed(CloseReason::HalfClosedTimeout), 1);
}

/// When enough input is kept, the connection must not be registered for reading: a level-triggered poll would report
/// the rest of the input again and again.
#[test]
fn input_behind_a_waiting_request_is_kept_up_to_a_bound_without_extra_waits() {
    for personality in NOT_BLIND {
        let bench = Bench::new(personality);
        let client = bench.client();
        client.send(&get("/20000"));
        let sender = client.clone();
        bench.at(10, move |_| sender.send(&GET.repeat(10_000)));
        let polls = Rc::new(Cell::new(0));
        let (before, unread) = (Rc::clone(&polls), client.clone());
        bench.at(1_000, move |fake| {
            before.set(fake.counts().polls);
            let read = GET.len() * 10_000 - unread.unread();
            assert!(read > 0 && read <= 64 << 10, "{read}");
        });
        bench.at(19_000, move |fake| {
            let waits = fake.counts().polls - polls.get();
            assert!(waits <= 4, "{waits} waits in 18 s");
        });
        client.set_room(1 << 30);
        bench.stop_at(30_000);
        let counters = bench.serve(later);
        assert_eq!(counters.requests, 10_001);
        assert_eq!(count_ok(&client), 10_001);
    }
}

#[test]
fn an_event_stream_is_not_held_back() {
    for personality in ALL {
        let bench = Bench::new(personality);
        let client = bench.client();
        client.send(GET);
        for step in 0..10 {
            let client = client.clone();
            bench.at(step * 100 + 50, move |_| {
                let text = text(&client);
                assert_eq!(text.matches("event\n").count(), 1, "{step}: {text}");
                assert_eq!(text.ends_with("0\r\n\r\n"), step == 9, "{step}: {text}");
            });
        }
        bench.stop_at(1_200);
        bench.serve(async |_: Request| Response::new(Events::new(10, Duration::from_millis(100))));
    }
}

#[test]
fn a_body_is_polled_only_while_there_is_room() {
    let bench = Bench::new(Personality::WASI_COMMON);
    let client = bench.client();
    client.set_room(50_000);
    client.send(GET);
    let pieces = Rc::new(Cell::new(0));
    let early = Rc::clone(&pieces);
    bench.at(100, move |_| {
        // The server collected 64 KiB for the first write. The client's system took 50,000 bytes of it, so there was
        // room again.
        let most = (50_000 + 2 * (64 << 10) + 10_000) / 10_000;
        assert!(early.get() <= most, "{} pieces", early.get());
    });
    let (taker, before) = (client.clone(), Rc::clone(&pieces));
    bench.at(200, move |_| {
        before.set(0);
        let _ = taker.receive();
    });
    let late = Rc::clone(&pieces);
    bench.at(300, move |_| {
        assert!((4..=8).contains(&late.get()), "{}", late.get())
    });
    bench.at(400, move |_| client.reset());
    bench.stop_at(500);
    let counters = bench.serve(async |_: Request| Response::new(Endless(Rc::clone(&pieces))));
    assert_eq!(counters.closed(CloseReason::ClientGone), 1);
}

#[test]
fn an_upload_is_read_only_as_the_handler_takes_it() {
    for personality in ALL {
        let bench = Bench::new(personality);
        let client = bench.client();
        client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n");
        client.send(&vec![b'x'; 1_000_000]);
        let early = client.clone();
        bench.at(100, move |_| {
            let read = 1_000_000 - early.unread();
            assert!(read <= 128 << 10, "{read} bytes wait");
        });
        bench.stop_at(1_000);
        let counters = bench.serve(async |request: Request| {
            sleep(Duration::from_millis(200)).await;
            let mut body = request.into_body();
            let mut length = 0;
            while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                length += frame?.into_data().map_or(0, |data| data.len());
            }
            Ok::<_, IncomingError>(Response::new(length.to_string()))
        });
        let text = text(&client);
        assert!(text.ends_with("\r\n\r\n1000000"), "{text}");
        assert!(counters.held_peak <= 200_000, "{}", counters.held_peak);
    }
}

#[test]
fn requests_beyond_the_limit_wait_and_are_served_in_order() {
    for personality in NOT_BLIND {
        let mut bench = Bench::new(personality);
        bench.settings.limits.max_requests = 2;
        let clients: Vec<Client> = (0..6).map(|_| bench.client()).collect();
        for (number, client) in clients.iter().enumerate() {
            let client = client.clone();
            bench.at(number as u64, move |_| {
                client.send(&get(&format!("/100?{number}")))
            });
        }
        for (millis, served) in [(90, 0), (150, 2), (250, 4), (350, 6)] {
            let clients = clients.clone();
            bench.at(millis, move |_| {
                let got = clients
                    .iter()
                    .filter(|client| client.written_at() > 0)
                    .count();
                assert_eq!(got, served, "after {millis} ms");
            });
        }
        // The requests that wait cause no waits of the loop.
        let polls = Rc::new(Cell::new(0));
        let before = Rc::clone(&polls);
        bench.at(120, move |fake| before.set(fake.counts().polls));
        bench.at(190, move |fake| {
            let waits = fake.counts().polls - polls.get();
            assert!(waits <= 3, "{waits} waits in 70 ms");
        });
        bench.stop_at(500);
        let seen = RefCell::new(Vec::new());
        bench.serve(|request: Request| {
            seen.borrow_mut()
                .push(request.uri().query().unwrap_or_default().to_string());
            later(request)
        });
        assert_eq!(*seen.borrow(), ["0", "1", "2", "3", "4", "5"]);
    }
}

#[test]
fn when_a_client_goes_a_waiting_request_may_begin() {
    let mut bench = Bench::new(Personality::WASI_COMMON);
    bench.settings.limits.max_requests = 1;
    let (first, second) = (bench.client(), bench.client());
    first.send(&get("/100000"));
    let late = second.clone();
    bench.at(10, move |_| late.send(&get("/0")));
    bench.at(100, move |_| first.reset());
    bench.at(120, move |_| assert_eq!(count_ok(&second), 1));
    bench.stop_at(200);
    bench.serve(later);
}

#[test]
fn a_panic_closes_one_connection_only() {
    for personality in ALL {
        let bench = Bench::new(personality);
        let clients: Vec<Client> = (0..5).map(|_| bench.client()).collect();
        let targets = ["/call", "/poll", "/body", "/late-body", "/drop"];
        for (client, target) in clients.iter().zip(targets) {
            client.send(&get(target));
        }
        let other = bench.client();
        let late = other.clone();
        bench.at(50, move |_| late.send(GET));
        bench.stop_at(100);
        let counters = bench.serve(|request: Request| {
            let target = request.uri().path().to_string();
            assert_ne!(target, "/call", "as asked");
            async move {
                let bomb = Bomb(target == "/drop");
                sleep(Duration::from_millis(1)).await;
                assert_ne!(target, "/poll", "as asked");
                drop(bomb);
                let (pieces, count) = match &*target {
                    "/body" => (0, 9),
                    "/late-body" => (3, 9),
                    _ => (9, 2),
                };
                let pieces = (0..count).map(move |number| {
                    assert_ne!(number, pieces, "as asked");
                    "piece"
                });
                Response::new(AnyBody::from(crate::body::Chunks::new(pieces)))
            }
        });
        let texts: Vec<String> = clients.iter().map(text).collect();
        for (text, status) in texts.iter().zip([500, 500, 200, 200, 500]) {
            assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
        }
        for text in &texts[2..4] {
            assert!(!text.ends_with("0\r\n\r\n"), "{text}");
        }
        assert_eq!(texts[3].matches("piece").count(), 3);
        assert_eq!(count_ok(&other), 1);
        assert_eq!(counters.closed(CloseReason::HandlerFailed), 3);
        assert_eq!(counters.closed(CloseReason::ResponseFailed), 2);
    }
}

/// Panics when it is dropped, if it holds `true`.
struct Bomb(bool);

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(!self.0, "as asked");
    }
}

/// The panic is also caught if the future is dropped because its client has reset the connection.
#[test]
fn a_future_that_panics_when_it_is_dropped_harms_no_other_connection() {
    let bench = Bench::new(Personality::WASI_COMMON);
    let (client, other) = (bench.client(), bench.client());
    client.send(GET);
    bench.at(10, move |_| client.reset());
    let late = other.clone();
    bench.at(20, move |_| late.send(&get("/hello")));
    bench.stop_at(100);
    bench.serve(|request: Request| async move {
        if request.uri().path() == "/" {
            let _bomb = Bomb(true);
            pending::<()>().await;
        }
        Response::new("hello!".to_string())
    });
    assert_eq!(count_ok(&other), 1);
}

#[test]
fn a_future_that_always_wakes_itself_does_not_starve_others() {
    for personality in ALL {
        let bench = Bench::new(personality);
        let (busy, other) = (bench.client(), bench.client());
        busy.send(&get("/busy"));
        for step in 1..10 {
            let other = other.clone();
            bench.at(step * 10, move |_| {
                other.send(GET);
                let next = other.clone();
                other.fake().after(Duration::from_millis(5), move |_| {
                    assert_eq!(count_ok(&next), 1);
                });
            });
        }
        bench.at(150, move |_| busy.reset());
        bench.stop_at(200);
        let fake = bench.fake.clone();
        let counters = bench.serve(|request: Request| {
            let fake = fake.clone();
            async move {
                if request.uri().path() == "/busy" {
                    poll_fn(|cx| {
                        fake.work(Duration::from_micros(10));
                        cx.waker().wake_by_ref();
                        Poll::<()>::Pending
                    })
                    .await;
                }
                Response::new("hello!".to_string())
            }
        });
        assert_eq!(counters.closed(CloseReason::ClientGone), 1);
    }
}

#[test]
fn tasks_run_beside_requests_and_end_with_the_server() {
    let bench = Bench::new(Personality::WASI_COMMON);
    let client = bench.client();
    client.send(GET);
    bench.stop_at(100);
    let ticks = Rc::new(Cell::new(0));
    let count = Rc::clone(&ticks);
    let stopping = bench.handle.stopping();
    let ended = Rc::new(Cell::new(false));
    let end = Rc::clone(&ended);
    let tasks: Vec<Task> = vec![
        Box::pin(async move {
            for _ in 0..9 {
                sleep(Duration::from_millis(10)).await;
                count.set(count.get() + 1);
            }
        }),
        Box::pin(async move {
            stopping.await;
            end.set(true);
        }),
        Box::pin(async { panic!("as asked") }),
    ];
    bench.serve_beside(tasks, hello);
    assert_eq!(ticks.get(), 9);
    assert!(ended.get());
    // The stop took no longer than the grace of the client that connected last.
    assert!(bench.fake.now() < 2_000_000_000, "{}", bench.fake.now());
    assert_eq!(count_ok(&client), 1);
}

#[test]
fn a_stop_lets_requests_and_tasks_go_on_until_its_deadline() {
    for personality in ALL {
        let bench = Bench::new(personality);
        let (short, long, stream) = (bench.client(), bench.client(), bench.client());
        short.send(&get("/2000"));
        long.send(&get("/20000"));
        stream.send(&get("/events"));
        let (listener, handle) = (bench.listener, bench.handle.clone());
        bench.at(100, move |fake| {
            handle.stop_within(Duration::from_secs(5));
            let _ = fake.connect(listener);
        });
        let diary = Rc::new(Diary::default());
        let witness = Witness::new(&diary, &bench.fake);
        let tasks: Vec<Task> = vec![Box::pin(async move {
            let _witness = witness;
            pending::<()>().await;
        })];
        let counters = bench.serve_beside(tasks, |request: Request| async move {
            if request.uri().path() == "/events" {
                let events = Events::new(1_000, Duration::from_millis(100));
                return Response::new(AnyBody::new(events));
            }
            later(request).await.map(AnyBody::from)
        });
        let text = text(&short);
        assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
        assert!(text.contains("connection: close\r\n"), "{text}");
        assert!(long.receive().is_empty());
        assert_eq!(*diary.dropped.borrow(), [5100]);
        let events = super::streaming::text(&stream);
        let count = events.matches("event").count();
        assert!((45..=53).contains(&count), "{count}");
        assert!(!events.ends_with("0\r\n\r\n"));
        // One of them was idle.
        assert_eq!(counters.closed(CloseReason::Stopped), 4);
    }
}

#[test]
fn with_whole_bodies_a_stop_has_a_deadline_too() {
    let bench = Bench::new(Personality::WASI_COMMON);
    let client = bench.client();
    client.set_room(1_000);
    client.send(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n");
    for step in 1..100 {
        let client = client.clone();
        bench.at(step * 1_000, move |_| drop(client.receive_at_most(900)));
    }
    let handle = bench.handle.clone();
    let (listener, closed) = (bench.listener, client.clone());
    bench.at(1_500, move |fake| {
        handle.stop();
        let _ = fake.connect(listener);
    });
    bench.at(31_000, move |_| assert!(!closed.is_closed()));
    bench.run();
    assert!(
        (31_500_000_000..32_000_000_000).contains(&bench.fake.now()),
        "{}",
        bench.fake.now()
    );
}

#[test]
fn requests_that_wait_cause_no_waits_of_the_loop() {
    let bench = Bench::new(Personality::WASI_COMMON);
    let clients: Vec<Client> = (0..200).map(|_| bench.client()).collect();
    clients
        .iter()
        .for_each(|client| client.send(&get("/60000")));
    let polls = Rc::new(Cell::new(0));
    let before = Rc::clone(&polls);
    bench.at(1_000, move |fake| before.set(fake.counts().polls));
    bench.at(59_000, move |fake| {
        let waits = fake.counts().polls - polls.get();
        assert!(waits <= 3, "{waits} waits in a minute");
    });
    bench.stop_at(62_000);
    bench.serve(later);
    assert_eq!(clients.iter().map(count_ok).sum::<usize>(), 200);
}

/// A waker of an earlier request wakes the next request of the same connection. This has no effect.
#[test]
fn late_wakers_do_no_harm() {
    let bench = Bench::new(Personality::WASI_COMMON);
    let (client, gone) = (bench.client(), bench.client());
    client.send(&get("/keep"));
    gone.send(&get("/keep"));
    let again = client.clone();
    bench.at(10, move |_| {
        again.send(&get("/50"));
        gone.reset();
    });
    let wakers: Rc<RefCell<Vec<Waker>>> = Rc::default();
    for millis in [5, 20, 30, 100] {
        let wakers = Rc::clone(&wakers);
        bench.at(millis, move |_| {
            wakers.borrow().iter().for_each(Waker::wake_by_ref)
        });
    }
    bench.stop_at(200);
    bench.serve(|request: Request| {
        let wakers = Rc::clone(&wakers);
        async move {
            if request.uri().path() == "/keep" {
                poll_fn(|cx| {
                    wakers.borrow_mut().push(cx.waker().clone());
                    Poll::Ready(())
                })
                .await;
            }
            later(request).await
        }
    });
    assert_eq!(count_ok(&client), 2);
}

/// The reactor has no sockets to poll: the only connection isn't read, because enough input is kept, and the listener
/// is paused, because the limit of connections is reached.
#[test]
fn a_wait_for_a_timer_alone_is_not_a_poll_without_subscriptions() {
    for personality in ALL {
        let mut bench = Bench::new(personality);
        bench.settings.limits.max_connections = 1;
        let (client, other) = (bench.client(), bench.client());
        client.send(&get("/5000"));
        let sender = client.clone();
        bench.at(10, move |_| sender.send(&GET.repeat(4_000)));
        other.send(GET);
        client.set_room(1 << 30);
        bench.stop_at(20_000);
        bench.serve(later);
        assert_eq!((count_ok(&client), count_ok(&other)), (4_001, 1));
    }
}

/// This holds whether or not the request's body has arrived, and whether or not the handler has waited for it.
#[test]
fn a_panic_within_a_request_gets_500() {
    for personality in ALL {
        let bench = Bench::new(personality);
        let requests = [
            ("/unread", ""),
            ("/unread", "ab"),
            ("/read", "ab"),
            ("/read", "abc"),
        ];
        let clients = requests.map(|(target, body)| {
            let client = bench.client();
            let head = format!("POST {target} HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n");
            client.send(format!("{head}{body}").as_bytes());
            client
        });
        bench.stop_at(100);
        let counters = bench.serve(|request: Request| async move {
            let reads = request.uri().path() == "/read";
            let mut body = request.into_body();
            if reads {
                let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
                assert!(frame.is_none(), "as asked");
            }
            panic!("as asked");
            #[expect(unreachable_code, reason = "the type of the handler")]
            hello(http::Request::new(body)).await
        });
        for client in clients {
            let text = text(&client);
            assert!(text.starts_with("HTTP/1.1 500 "), "{text}");
        }
        assert_eq!(counters.closed(CloseReason::HandlerFailed), 4);
    }
}

/// A new task is polled even if a connection always has more to do.
#[test]
fn a_busy_future_does_not_keep_a_new_task_from_its_first_poll() {
    let bench = Bench::new(Personality::WASI_COMMON);
    let (busy, client) = (bench.client(), bench.client());
    busy.send(&get("/busy"));
    bench.at(10, move |_| client.send(&get("/spawn")));
    let ran = Rc::new(Cell::new(false));
    let early = Rc::clone(&ran);
    bench.at(50, move |_| assert!(early.get()));
    bench.at(60, move |_| busy.reset());
    bench.stop_at(100);
    let fake = bench.fake.clone();
    bench.serve(|request: Request| {
        let (fake, ran) = (fake.clone(), Rc::clone(&ran));
        async move {
            if request.uri().path() == "/spawn" {
                crate::executor::spawn(async move { ran.set(true) });
            } else {
                poll_fn(|cx| {
                    fake.work(Duration::from_micros(10));
                    cx.waker().wake_by_ref();
                    Poll::<()>::Pending
                })
                .await;
            }
            hello(request).await
        }
    });
}
