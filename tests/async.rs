//! Handlers that are futures, and bodies that stream, natively over real sockets.
#![cfg(not(target_os = "wasi"))]

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::{Future, pending, poll_fn};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mini_http::body::{AnyBody, Chunks, Reader};
use mini_http::http::{HeaderMap, Method, Request};
use mini_http::http_body::{Body as HttpBody, Frame};
use mini_http::{
    Bytes, CloseReason, Handle, Incoming, IncomingError, PeerAddr, Response, Result, Server, sleep,
    spawn,
};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const SOON: Duration = Duration::from_secs(10);

/// A server in a thread of its own.
struct Running {
    addr: SocketAddr,
    handle: Handle,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Running {
    fn start(serve: impl FnOnce(Server) -> Result<()> + Send + 'static) -> Self {
        Self::with(|_| {}, serve)
    }

    fn with(
        set: impl FnOnce(&mut Server),
        serve: impl FnOnce(Server) -> Result<()> + Send + 'static,
    ) -> Self {
        let mut server = Server::new("127.0.0.1:0").expect("a free port");
        set(&mut server);
        let (addr, handle) = (server.local_addr().expect("an address"), server.handle());
        let thread = Some(thread::spawn(move || serve(server)));
        Self {
            addr,
            handle,
            thread,
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addr).expect("the server listens");
        stream.set_read_timeout(Some(SOON)).expect("a timeout");
        stream.set_nodelay(true).expect("an option");
        stream
    }

    /// A connection on which this was sent.
    fn send(&self, request: &[u8]) -> TcpStream {
        let mut stream = self.connect();
        stream.write_all(request).expect("the server reads");
        stream
    }

    /// Stops the server.
    fn stop(mut self) {
        self.handle.stop();
        self.join();
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            thread.join().expect("no panic").expect("it ends well");
        }
    }
}

/// Reads until `is_enough`.
fn read_until(stream: &mut TcpStream, is_enough: impl Fn(&str) -> bool) -> String {
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&all).into_owned();
        if is_enough(&text) {
            return text;
        }
        match stream.read(&mut buffer) {
            Ok(0) => panic!("the stream ended after {text:?}"),
            Ok(length) => all.extend_from_slice(&buffer[..length]),
            Err(error) => panic!("{error} after {text:?}"),
        }
    }
}

fn ends_with(end: &str) -> impl Fn(&str) -> bool {
    move |text| text.ends_with(end)
}

async fn hello(_request: Request<Incoming>) -> Response<String> {
    Response::new("hello!".into())
}

fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n").into_bytes()
}

/// The next frame's data.
async fn next(body: &mut Incoming) -> Option<std::result::Result<Bytes, IncomingError>> {
    let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await?;
    Some(frame.map(|frame| frame.into_data().unwrap_or_default()))
}

/// A body that a function polls.
struct Polled<F>(F);

impl<F> Unpin for Polled<F> {}

impl<F, E> HttpBody for Polled<F>
where
    F: FnMut(&mut Context<'_>) -> Poll<Option<std::result::Result<Frame<Bytes>, E>>>,
{
    type Data = Bytes;
    type Error = E;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, E>>> {
        (self.0)(cx)
    }
}

#[test]
fn a_ready_handler_responds() {
    let server = Running::start(|server| server.serve_async(hello));
    let mut stream = server.send(GET);
    let response = read_until(&mut stream, ends_with("hello!"));
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
    assert!(response.contains("content-length: 6\r\n"), "{response}");
    stream.write_all(&GET.repeat(3)).expect("it persists");
    let all = read_until(&mut stream, |text| text.matches("hello!").count() == 3);
    assert_eq!(all.matches("200 OK").count(), 3);
    server.stop();
}

#[test]
fn sixteen_that_sleep_end_together_and_others_meanwhile() {
    let server = Running::start(|server| {
        server.serve_async(async |request: Request<Incoming>| {
            if request.uri().path() == "/sleep" {
                sleep(Duration::from_millis(200)).await;
            }
            hello(request).await
        })
    });
    let since = Instant::now();
    let mut sleeping: Vec<TcpStream> = (0..16).map(|_| server.send(&get("/sleep"))).collect();
    let mut other = server.connect();
    let mut times = Vec::new();
    while since.elapsed() < Duration::from_millis(150) {
        let before = Instant::now();
        other.write_all(GET).expect("it persists");
        read_until(&mut other, ends_with("hello!"));
        times.push(before.elapsed());
    }
    times.sort();
    let median = times[times.len() / 2];
    assert!(median < Duration::from_millis(20), "{times:?}");
    for stream in &mut sleeping {
        read_until(stream, ends_with("hello!"));
    }
    let took = since.elapsed();
    let most = Duration::from_millis(400);
    assert!(
        took >= Duration::from_millis(200) && took < most,
        "{took:?}"
    );
    server.stop();
}

/// A request is answered by another one, much later.
#[test]
fn a_long_poll_is_answered_by_another_request() {
    let server = Running::start(|server| {
        let waiting: RefCell<Vec<Waker>> = RefCell::default();
        let is_set = Cell::new(false);
        server.serve_async(async |request: Request<Incoming>| {
            if request.uri().path() == "/set" {
                is_set.set(true);
                waiting.take().into_iter().for_each(Waker::wake);
            } else {
                poll_fn(|cx| {
                    waiting.borrow_mut().push(cx.waker().clone());
                    if is_set.get() {
                        Poll::Ready(())
                    } else {
                        Poll::Pending
                    }
                })
                .await;
            }
            hello(request).await
        })
    });
    let mut polls: Vec<TcpStream> = (0..5).map(|_| server.send(&get("/wait"))).collect();
    polls[0]
        .set_read_timeout(Some(Duration::from_millis(50)))
        .expect("a timeout");
    let early = polls[0].read(&mut [0; 10]).expect_err("no response yet");
    assert!(matches!(
        early.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut
    ));
    polls[0].set_read_timeout(Some(SOON)).expect("a timeout");
    let mut setter = server.send(&get("/set"));
    read_until(&mut setter, ends_with("hello!"));
    for stream in &mut polls {
        read_until(stream, ends_with("hello!"));
    }
    server.stop();
}

#[test]
fn an_event_stream_is_not_held_back() {
    let (sender, receiver) = mpsc::channel::<&'static str>();
    let waker: Arc<Mutex<Option<Waker>>> = Arc::default();
    let shared = Arc::clone(&waker);
    let server = Running::start(move |server| {
        let receiver = Rc::new(receiver);
        server.serve_async(async |_| {
            let (receiver, shared) = (Rc::clone(&receiver), Arc::clone(&shared));
            let events = Polled(move |cx: &mut Context<'_>| {
                *shared.lock().expect("no panic") = Some(cx.waker().clone());
                match receiver.try_recv() {
                    Ok("end") => Poll::Ready(None),
                    Ok(event) => {
                        let frame = Frame::data(Bytes::from_static(event.as_bytes()));
                        Poll::Ready(Some(Ok::<_, Infallible>(frame)))
                    }
                    Err(_) => Poll::Pending,
                }
            });
            let response = Response::builder().header("Content-Type", "text/event-stream");
            response.body(events)
        })
    });
    let mut stream = server.send(GET);
    let head = read_until(&mut stream, ends_with("\r\n\r\n"));
    assert!(head.contains("transfer-encoding: chunked\r\n"), "{head}");
    for event in ["data: one\n\n", "data: two\n\n"] {
        sender.send(event).expect("it waits for events");
        waker
            .lock()
            .expect("no panic")
            .as_ref()
            .expect("polled")
            .wake_by_ref();
        let chunk = format!("{:x}\r\n{event}\r\n", event.len());
        assert_eq!(read_until(&mut stream, ends_with(&chunk)), chunk);
    }
    sender.send("end").expect("it waits for events");
    waker
        .lock()
        .expect("no panic")
        .as_ref()
        .expect("polled")
        .wake_by_ref();
    assert_eq!(read_until(&mut stream, ends_with("0\r\n\r\n")), "0\r\n\r\n");
    server.stop();
}

/// Many small pieces that are ready are one write: the client gets them in one read.
#[test]
fn what_is_ready_leaves_in_one_write() {
    let server = Running::start(|server| {
        server.serve_async(async |_| {
            let pieces = (0..100).map(|number| format!("{number},"));
            Response::new(Chunks::new(pieces))
        })
    });
    let mut stream = server.send(GET);
    let mut buffer = [0; 16 << 10];
    let length = stream.read(&mut buffer).expect("a response");
    let text = String::from_utf8_lossy(&buffer[..length]);
    assert!(text.ends_with("3\r\n99,\r\n0\r\n\r\n"), "{text}");
    server.stop();
}

#[test]
fn an_upload_streams_with_backpressure() {
    const LENGTH: usize = 32 << 20;
    let server = Running::start(|server| {
        server.serve_async(async |request: Request<Incoming>| {
            let mut body = request.into_body();
            body.limit(u64::MAX);
            // The client can't send much of it meanwhile.
            sleep(Duration::from_millis(300)).await;
            let mut length = 0;
            while let Some(data) = next(&mut body).await {
                length += data?.len();
            }
            Ok::<_, IncomingError>(Response::new(length.to_string()))
        })
    });
    let mut stream = server.connect();
    write!(
        stream,
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {LENGTH}\r\n\r\n"
    )
    .expect("the server reads");
    let since = Instant::now();
    stream
        .write_all(&vec![b'x'; LENGTH])
        .expect("the server reads on");
    assert!(
        since.elapsed() >= Duration::from_millis(250),
        "{:?}",
        since.elapsed()
    );
    let response = read_until(&mut stream, ends_with(&LENGTH.to_string()));
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    let peak = server.handle.counters().held_peak;
    assert!(peak <= 256 << 10, "{peak} bytes held");
    server.stop();
}

#[test]
fn an_echo_streams_both_ways() {
    const LENGTH: usize = 8 << 20;
    let server = Running::start(|server| {
        server.serve_async(async |mut request: Request<Incoming>| {
            request.body_mut().limit(u64::MAX);
            Response::new(request.into_body())
        })
    });
    let mut stream = server.connect();
    write!(
        stream,
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    .expect("the server reads");
    // Piece by piece, each when the one before has come back.
    for piece in ["one", "two", "three"] {
        write!(stream, "{:x}\r\n{piece}\r\n", piece.len()).expect("the server reads");
        read_until(&mut stream, ends_with(&format!("{piece}\r\n")));
    }
    let mut writer = stream.try_clone().expect("a second handle");
    let sender = thread::spawn(move || {
        for _ in 0..LENGTH / 1024 {
            writer.write_all(b"400\r\n").expect("the server reads");
            writer.write_all(&[b'x'; 1024]).expect("the server reads");
            writer.write_all(b"\r\n").expect("the server reads");
        }
        writer.write_all(b"0\r\n\r\n").expect("the server reads");
    });
    let mut all = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    while !all.ends_with(b"\r\n0\r\n\r\n") {
        let length = stream.read(&mut buffer).expect("an echo");
        assert!(length > 0, "the stream ended after {} bytes", all.len());
        all.extend_from_slice(&buffer[..length]);
    }
    sender.join().expect("no panic");
    assert_eq!(all.iter().filter(|&&byte| byte == b'x').count(), LENGTH);
    let peak = server.handle.counters().held_peak;
    assert!(peak <= 512 << 10, "{peak} bytes held");
    server.stop();
}

#[test]
fn continue_is_sent_when_the_body_is_polled_and_never_before() {
    const EXPECT: &str = "Host: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";
    let server = Running::start(|server| {
        server.serve_async(async |request: Request<Incoming>| {
            let target = request.uri().path().to_string();
            let mut body = request.into_body();
            if target == "/late" {
                sleep(Duration::from_millis(100)).await;
            }
            if target == "/small" {
                body.limit(2);
            }
            let data = if target == "/unread" {
                Bytes::new()
            } else {
                body.bytes().await?
            };
            Ok::<_, IncomingError>(Response::new(format!("got {}", data.len())))
        })
    });
    let mut late = server.send(format!("POST /late HTTP/1.1\r\n{EXPECT}").as_bytes());
    late.set_read_timeout(Some(Duration::from_millis(50)))
        .expect("a timeout");
    assert!(late.read(&mut [0; 10]).is_err());
    late.set_read_timeout(Some(SOON)).expect("a timeout");
    let interim = read_until(&mut late, ends_with("\r\n\r\n"));
    assert_eq!(interim, "HTTP/1.1 100 Continue\r\n\r\n");
    late.write_all(b"abc").expect("the server reads");
    read_until(&mut late, ends_with("got 3"));

    let mut unread = server.send(format!("POST /unread HTTP/1.1\r\n{EXPECT}").as_bytes());
    let all = rest(&mut unread);
    assert!(
        all.starts_with("HTTP/1.1 200 ") && all.ends_with("got 0"),
        "{all}"
    );
    assert!(all.contains("connection: close\r\n"), "{all}");

    let mut small = server.send(format!("POST /small HTTP/1.1\r\n{EXPECT}").as_bytes());
    let all = rest(&mut small);
    assert!(all.starts_with("HTTP/1.1 413 "), "{all}");
    server.stop();
}

/// All that comes up to the end of the stream.
fn rest(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).expect("no reset");
    String::from_utf8_lossy(&all).into_owned()
}

#[derive(Debug)]
struct Failed(IncomingError);

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the upload failed")
    }
}

impl std::error::Error for Failed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

#[test]
fn errors_that_a_handler_returns_become_their_status() {
    let server = Running::with(
        |server| {
            server.limits(|limits| {
                limits.max_body = 10;
                limits.rate_window = Duration::from_millis(200);
            });
        },
        |server| {
            server.serve_async(async |request: Request<Incoming>| {
                if request.uri().path() == "/io" {
                    return Err(std::io::Error::other("no disk: secret").into());
                }
                let data = request.into_body().bytes().await.map_err(Failed)?;
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>(Response::new(
                    data.len().to_string(),
                ))
            })
        },
    );
    let chunked = "Transfer-Encoding: chunked\r\n\r\n";
    for (target, rest_of_head, status) in [
        ("/", "Content-Length: 3\r\n\r\nabc".to_string(), 200),
        ("/", "Content-Length: 30\r\n\r\n".to_string(), 413),
        ("/", format!("{chunked}b\r\nhello world\r\n0\r\n\r\n"), 413),
        ("/", format!("{chunked}x\r\n"), 400),
        ("/", format!("{chunked}3\r\nab"), 408),
        ("/io", "\r\n".to_string(), 500),
    ] {
        let request =
            format!("POST {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{rest_of_head}");
        let response = rest(&mut server.send(request.as_bytes()));
        let start = format!("HTTP/1.1 {status} ");
        assert!(response.starts_with(&start), "{request}\n{response}");
        assert!(!response.contains("secret"), "{response}");
    }
    wait_until("all are closed", || server.handle.counters().active == 0);
    let counters = server.handle.counters();
    assert_eq!(counters.closed(CloseReason::HandlerFailed), 1);
    assert_eq!(counters.closed(CloseReason::TooLarge), 2);
    assert_eq!(counters.closed(CloseReason::BadRequest), 1);
    assert_eq!(counters.closed(CloseReason::BodyTimeout), 1);
    server.stop();
}

/// Counts those that are dropped.
struct Witness(Arc<AtomicUsize>);

impl Drop for Witness {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) -> Duration {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < SOON, "{what}");
        thread::sleep(Duration::from_millis(1));
    }
    since.elapsed()
}

fn reset(stream: TcpStream) {
    let socket = socket2::Socket::from(stream);
    socket.set_linger(Some(Duration::ZERO)).expect("an option");
}

#[test]
fn a_client_that_resets_ends_its_future_promptly() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&dropped);
    let server = Running::start(move |server| {
        server.serve_async(async |request: Request<Incoming>| {
            let witness = Witness(Arc::clone(&count));
            let mut body = request.into_body();
            match next(&mut body).await {
                Some(Err(error)) => assert!(error.is_gone()),
                Some(Ok(_)) | None => pending().await,
            }
            drop(witness);
            Response::new(String::new())
        })
    });
    let begun = || server.handle.counters().requests;
    let waiting = server.send(GET);
    let uploading = server.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n");
    wait_until("both requests begin", || begun() == 2);
    reset(waiting);
    let took = wait_until("its future is dropped", || {
        dropped.load(Ordering::SeqCst) == 1
    });
    assert!(took < Duration::from_secs(1), "{took:?}");
    reset(uploading);
    wait_until("its future is dropped", || {
        dropped.load(Ordering::SeqCst) == 2
    });
    let counters = || server.handle.counters();
    wait_until("both are closed", || counters().active == 0);
    assert_eq!(counters().closed(CloseReason::ClientGone), 2);
    server.stop();
}

/// Also where the server doesn't read: so much input waits behind the request that no more is kept, or the
/// client's stream has ended.
#[test]
fn a_client_that_resets_is_noticed_where_nothing_is_read() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&dropped);
    let server = Running::start(move |server| {
        server.serve_async(async |request: Request<Incoming>| {
            let _witness = Witness(Arc::clone(&count));
            pending::<()>().await;
            hello(request).await
        })
    });
    let mut full = server.send(GET);
    full.write_all(&GET.repeat(4_000))
        .expect("the system takes it");
    let ended = server.send(GET);
    ended.shutdown(Shutdown::Write).expect("a half-close");
    wait_until("both begin", || server.handle.counters().requests == 2);
    // The server has read what it keeps, and the end.
    thread::sleep(Duration::from_millis(100));
    for (number, stream) in [full, ended].into_iter().enumerate() {
        reset(stream);
        let is_dropped = || dropped.load(Ordering::SeqCst) == number + 1;
        let took = wait_until("its future is dropped", is_dropped);
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
    let counters = || server.handle.counters();
    wait_until("both are closed", || counters().active == 0);
    assert_eq!(counters().closed(CloseReason::ClientGone), 2);
    server.stop();
}

#[test]
fn a_half_closed_client_gets_its_response() {
    let server = Running::with(
        |server| {
            server.limits(|limits| limits.half_closed_timeout = Duration::from_millis(500));
        },
        |server| {
            server.serve_async(async |request: Request<Incoming>| {
                let wait = if request.uri().path() == "/long" {
                    20_000
                } else {
                    200
                };
                sleep(Duration::from_millis(wait)).await;
                hello(request).await
            })
        },
    );
    let mut short = server.send(GET);
    short.shutdown(Shutdown::Write).expect("a half-close");
    let all = rest(&mut short);
    assert!(all.ends_with("hello!"), "{all}");
    let since = Instant::now();
    let mut long = server.send(&get("/long"));
    long.shutdown(Shutdown::Write).expect("a half-close");
    assert_eq!(rest(&mut long), "");
    let took = since.elapsed();
    assert!(
        took >= Duration::from_millis(500) && took < Duration::from_secs(3),
        "{took:?}"
    );
    let counters = server.handle.counters();
    assert_eq!(counters.closed(CloseReason::HalfClosedTimeout), 1);
    server.stop();
}

#[test]
fn panics_cost_only_their_own_connection() {
    let server = Running::start(|server| {
        server.serve_async(async |request: Request<Incoming>| {
            let target = request.uri().path().to_string();
            sleep(Duration::from_millis(1)).await;
            assert_ne!(target, "/handler", "as asked");
            let count = if target == "/body" { 3 } else { 2 };
            let pieces = (0..count).map(|number| {
                assert_ne!(number, 2, "as asked");
                "piece"
            });
            Response::new(Chunks::new(pieces))
        })
    });
    let all = rest(&mut server.send(&get("/handler")));
    assert!(all.starts_with("HTTP/1.1 500 "), "{all}");
    let all = rest(&mut server.send(&get("/body")));
    assert!(all.ends_with("5\r\npiece\r\n5\r\npiece\r\n"), "{all}");
    read_until(&mut server.send(GET), ends_with("0\r\n\r\n"));
    wait_until("all are closed", || server.handle.counters().active == 0);
    let counters = server.handle.counters();
    assert_eq!(counters.closed(CloseReason::HandlerFailed), 1);
    assert_eq!(counters.closed(CloseReason::ResponseFailed), 1);
    server.stop();
}

#[test]
fn a_panic_that_is_not_caught_ends_the_server() {
    let mut server = Running::with(
        |server| {
            server.catch_panics(false);
        },
        |server| {
            server.serve_async(async |request: Request<Incoming>| {
                sleep(Duration::from_millis(1)).await;
                assert_ne!(request.uri().path(), "/panic", "as asked");
                pending::<()>().await;
                hello(request).await
            })
        },
    );
    let mut waiting = server.send(GET);
    let _panics = server.send(&get("/panic"));
    let thread = server.thread.take().expect("it runs");
    assert!(thread.join().is_err());
    assert_eq!(rest(&mut waiting), "");
    assert_eq!(server.handle.counters().active, 0);
}

#[test]
fn a_response_that_fails_is_seen_by_the_client() {
    let server = Running::start(|server| {
        server.serve_async(async |request: Request<Incoming>| {
            let mut pieces = 0;
            let body = Polled(move |_: &mut Context<'_>| {
                pieces += 1;
                Poll::Ready(Some(match pieces {
                    1 => Ok(Frame::data(Bytes::from_static(b"piece"))),
                    _ => Err("the disk is gone"),
                }))
            });
            let response = Response::builder();
            match request.uri().path() {
                "/length" => response.header("Content-Length", "10"),
                _ => response,
            }
            .body(body)
        })
    });
    let all = rest(&mut server.send(GET));
    assert!(all.ends_with("5\r\npiece\r\n"), "{all}");
    let all = rest(&mut server.send(&get("/length")));
    assert!(all.ends_with("\r\n\r\npiece"), "{all}");
    let mut old = server.send(b"GET / HTTP/1.0\r\n\r\n");
    let error = old.read_to_end(&mut Vec::new()).expect_err("a reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    wait_until("all are closed", || server.handle.counters().active == 0);
    assert_eq!(
        server.handle.counters().closed(CloseReason::ResponseFailed),
        3
    );
    server.stop();
}

#[test]
fn http_10_gets_a_stream_until_the_connection_closes() {
    let server = Running::start(|server| {
        server.serve_async(async |_| Response::new(Chunks::new(["one,", "two,", "three"])))
    });
    let all = rest(&mut server.send(b"GET / HTTP/1.0\r\n\r\n"));
    assert!(all.ends_with("\r\n\r\none,two,three"), "{all}");
    assert!(!all.contains("transfer-encoding"), "{all}");
    server.stop();
}

#[test]
fn where_there_is_no_body_nothing_is_polled() {
    let polls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&polls);
    let server = Running::start(move |server| {
        server.serve_async(async |request: Request<Incoming>| {
            let count = Arc::clone(&count);
            let body = Polled(move |_: &mut Context<'_>| {
                count.fetch_add(1, Ordering::SeqCst);
                Poll::Ready(None::<std::result::Result<_, Infallible>>)
            });
            let status = request.uri().path()[1..].parse().unwrap_or(200u16);
            Response::builder().status(status).body(body)
        })
    });
    let mut stream = server.connect();
    for (method, status) in [("GET", 204), ("GET", 205), ("GET", 304), ("HEAD", 200)] {
        write!(stream, "{method} /{status} HTTP/1.1\r\nHost: h\r\n\r\n").expect("it persists");
        let head = read_until(&mut stream, ends_with("\r\n\r\n"));
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
    }
    assert_eq!(polls.load(Ordering::SeqCst), 0);
    stream.write_all(&get("/200")).expect("it persists");
    read_until(&mut stream, ends_with("0\r\n\r\n"));
    assert_eq!(polls.load(Ordering::SeqCst), 1);
    server.stop();
}

#[test]
fn trailers_go_to_clients_that_take_them() {
    let server = Running::start(|server| {
        server.serve_async(async |_| {
            let mut frames = vec![Frame::data(Bytes::from_static(b"body"))];
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", "42".parse().expect("a value"));
            frames.insert(0, Frame::trailers(trailers));
            let body = Polled(move |_: &mut Context<'_>| {
                Poll::Ready(frames.pop().map(Ok::<_, Infallible>))
            });
            Response::new(body)
        })
    });
    let mut stream = server.send(b"GET / HTTP/1.1\r\nHost: h\r\nTE: trailers\r\n\r\n");
    read_until(
        &mut stream,
        ends_with("4\r\nbody\r\n0\r\nx-sum: 42\r\n\r\n"),
    );
    stream.write_all(GET).expect("it persists");
    read_until(&mut stream, ends_with("4\r\nbody\r\n0\r\n\r\n"));
    server.stop();
}

#[test]
fn a_stop_waits_for_requests_until_its_deadline() {
    let mut server = Running::start(|server| {
        server.serve_async(async |request: Request<Incoming>| {
            let millis = request.uri().path()[1..].parse().expect("a number");
            sleep(Duration::from_millis(millis)).await;
            hello(request).await
        })
    });
    let mut short = server.send(&get("/300"));
    let mut long = server.send(&get("/60000"));
    wait_until("both requests begin", || {
        server.handle.counters().requests == 2
    });
    let since = Instant::now();
    server.handle.stop_within(Duration::from_secs(1));
    let response = rest(&mut short);
    assert!(response.ends_with("hello!"), "{response}");
    assert!(response.contains("connection: close\r\n"), "{response}");
    assert_eq!(rest(&mut long), "");
    server.join();
    let took = since.elapsed();
    assert!(
        took >= Duration::from_secs(1) && took < Duration::from_secs(3),
        "{took:?}"
    );
    assert_eq!(server.handle.counters().closed(CloseReason::Stopped), 2);
}

#[test]
fn tasks_and_streams_end_by_themselves_when_the_server_stops() {
    let ended = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&ended);
    let mut server = Running::start(move |server| {
        let handle = server.handle();
        let (stopping, witness) = (handle.stopping(), Witness(Arc::clone(&count)));
        server.spawn(async move {
            stopping.await;
            drop(witness);
        });
        server.serve_async(async |_| {
            let (stopping, witness) = (handle.stopping(), Witness(Arc::clone(&count)));
            spawn(async move {
                stopping.await;
                drop(witness);
            });
            let mut stopping = handle.stopping();
            let body = Polled(move |cx: &mut Context<'_>| {
                let stopping = Pin::new(&mut stopping).poll(cx);
                stopping.map(|()| None::<std::result::Result<_, Infallible>>)
            });
            Response::new(body)
        })
    });
    let mut stream = server.send(GET);
    read_until(&mut stream, ends_with("\r\n\r\n"));
    let since = Instant::now();
    server.handle.stop();
    assert_eq!(rest(&mut stream), "0\r\n\r\n");
    server.join();
    assert!(
        since.elapsed() < Duration::from_secs(3),
        "{:?}",
        since.elapsed()
    );
    assert_eq!(ended.load(Ordering::SeqCst), 2);
}

#[test]
fn tasks_of_another_thread_are_a_clear_error() {
    let server = Server::new("127.0.0.1:0").expect("a free port");
    server.spawn(async {});
    let result = thread::spawn(move || server.serve_async(hello))
        .join()
        .expect("no panic");
    let error = result.expect_err("a task of another thread");
    assert_eq!(error.kind(), mini_http::ErrorKind::Setting);
    assert!(error.to_string().contains("thread"), "{error}");
}

/// No wake-up from another thread is lost: each is answered before the next one.
#[test]
fn wake_ups_from_other_threads_are_not_lost() {
    const THREADS: usize = 8;
    const ROUNDS: usize = 2_000;
    type Pending = Arc<Mutex<Option<(Waker, usize)>>>;
    let places: Vec<Pending> = (0..THREADS).map(|_| Pending::default()).collect();
    let shared = places.clone();
    let server = Running::start(move |server| {
        let done = Rc::new(Cell::new(0));
        for place in shared {
            let done = Rc::clone(&done);
            server.spawn(async move {
                for round in 1..=ROUNDS {
                    let mut is_first = true;
                    poll_fn(|cx| {
                        let mut place = place.lock().expect("no panic");
                        match &*place {
                            None if !is_first => Poll::Ready(()),
                            _ => {
                                is_first = false;
                                *place = Some((cx.waker().clone(), round));
                                Poll::Pending
                            }
                        }
                    })
                    .await;
                }
                done.set(done.get() + 1);
            });
        }
        server.serve_async(async |_| Response::new(done.get().to_string()))
    });
    let threads: Vec<JoinHandle<()>> = places
        .into_iter()
        .map(|place| {
            thread::spawn(move || {
                let mut last = 0;
                let since = Instant::now();
                while last < ROUNDS {
                    assert!(since.elapsed() < 3 * SOON, "round {last} is the last one");
                    let taken = place.lock().expect("no panic").take();
                    if let Some((waker, round)) = taken {
                        assert_eq!(round, last + 1);
                        last = round;
                        waker.wake();
                    } else {
                        thread::yield_now();
                    }
                }
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().expect("no wake-up is lost"));
    let all_done = || {
        let mut stream = server.send(b"GET / HTTP/1.0\r\n\r\n");
        rest(&mut stream).ends_with("\r\n\r\n8")
    };
    wait_until("all tasks end", all_done);
    server.stop();
}

#[test]
fn requests_beyond_the_limit_wait() {
    let server = Running::with(
        |server| {
            server.limits(|limits| limits.max_requests = 2);
        },
        |server| {
            let (now, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
            server.serve_async(async |_| {
                now.set(now.get() + 1);
                most.set(most.get().max(now.get()));
                sleep(Duration::from_millis(50)).await;
                now.set(now.get() - 1);
                Response::new(format!("most: {}", most.get()))
            })
        },
    );
    let since = Instant::now();
    let mut streams: Vec<TcpStream> = (0..6).map(|_| server.send(GET)).collect();
    for stream in &mut streams {
        let response = read_until(stream, |text| text.contains("most: "));
        assert!(!response.ends_with('3'), "{response}");
    }
    assert!(
        since.elapsed() >= Duration::from_millis(150),
        "{:?}",
        since.elapsed()
    );
    server.stop();
}

#[test]
fn a_dropped_body_is_drained_or_closes_the_connection() {
    let server = Running::start(|server| server.serve_async(hello));
    let mut short = server.connect();
    for _ in 0..3 {
        let post = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 50000\r\n\r\n";
        short.write_all(post).expect("it persists");
        short.write_all(&[b'x'; 50_000]).expect("it persists");
        let response = read_until(&mut short, ends_with("hello!"));
        assert!(!response.contains("connection: close"), "{response}");
    }
    let mut long = server.connect();
    let post = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5000000\r\n\r\n";
    long.write_all(post).expect("the server reads");
    long.write_all(&vec![b'x'; 5_000_000])
        .expect("it is read and dropped");
    let all = rest(&mut long);
    assert!(
        all.contains("connection: close\r\n") && all.ends_with("hello!"),
        "{all}"
    );
    server.stop();
}

#[test]
fn a_request_knows_its_peer() {
    let server = Running::start(|server| {
        server.serve_async(async |request: Request<Incoming>| {
            let peer = request.extensions().get::<PeerAddr>().copied();
            Response::new(
                peer.map(|PeerAddr(addr)| addr.to_string())
                    .unwrap_or_default(),
            )
        })
    });
    let mut stream = server.send(GET);
    let addr = stream.local_addr().expect("an address").to_string();
    read_until(&mut stream, ends_with(&format!("\r\n\r\n{addr}")));
    server.stop();
}

/// One handler returns bodies of any kind, and reads a file as it is sent.
#[test]
fn one_handler_returns_different_bodies() {
    let server = Running::start(|server| {
        server.serve_async(async |request: Request<Incoming>| {
            let body = match (request.method(), request.uri().path()) {
                (&Method::GET, "/whole") => AnyBody::from("whole"),
                (&Method::GET, "/file") => {
                    let file = std::fs::File::open("Cargo.toml")?;
                    let length = file.metadata()?.len();
                    AnyBody::from(Reader::sized(file, length))
                }
                (&Method::GET, _) => AnyBody::from(Chunks::new(["a", "b"])),
                _ => AnyBody::from(request.into_body()),
            };
            Ok::<_, std::io::Error>(Response::new(body))
        })
    });
    let mut stream = server.send(&get("/whole"));
    read_until(&mut stream, ends_with("whole"));
    let file = std::fs::read_to_string("Cargo.toml").expect("a file");
    stream.write_all(&get("/file")).expect("it persists");
    let response = read_until(&mut stream, ends_with(&file));
    assert!(
        response.contains(&format!("content-length: {}\r\n", file.len())),
        "{response}"
    );
    stream.write_all(&get("/chunks")).expect("it persists");
    read_until(&mut stream, ends_with("1\r\na\r\n1\r\nb\r\n0\r\n\r\n"));
    let post = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\necho";
    stream.write_all(post).expect("it persists");
    read_until(&mut stream, ends_with("echo"));
    server.stop();
}
