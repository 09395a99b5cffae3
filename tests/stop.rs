//! Stopping a server, natively, over real sockets: no request that has arrived is lost, and stopping takes no longer
//! than necessary.
#![cfg(not(target_os = "wasi"))]

#[path = "common/quiet.rs"]
mod quiet;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mini_http::{CloseReason, Counters, Handle, Request, Response, Server};

use self::quiet::{check, in_a_quiet_moment};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const STOP: &[u8] = b"GET /stop HTTP/1.1\r\nHost: h\r\n\r\n";
const SOON: Duration = Duration::from_secs(30);

/// A server in a thread of its own.
struct Running {
    addr: SocketAddr,
    handle: Handle,
    thread: JoinHandle<()>,
    /// Receives a message when the handler has begun to work on `/stop`.
    is_working: mpsc::Receiver<()>,
    /// A message ends that work.
    end_work: mpsc::Sender<()>,
}

impl Running {
    /// `/stop` works for as long as the test says, and stops the server; `/large` gets 8 MiB.
    fn start() -> Self {
        Self::of(Server::new("127.0.0.1:0").expect("a free port"))
    }

    fn of(server: Server) -> Self {
        let (addr, handle) = (server.local_addr().expect("an address"), server.handle());
        let (working, is_working) = mpsc::channel();
        let (end_work, may_end) = mpsc::channel();
        let stops = handle.clone();
        let handler = move |request: Request| match request.uri().path() {
            "/stop" => {
                // The test may have dropped the receiver.
                let _ = working.send(());
                let _ = may_end.recv_timeout(SOON);
                stops.stop();
                Response::new(b"stopping".to_vec())
            }
            "/large" => Response::new(vec![b'x'; 8 << 20]),
            _ => Response::new(b"hello!".to_vec()),
        };
        let thread = thread::spawn(move || server.start(handler).expect("it ends well"));
        Self {
            addr,
            handle,
            thread,
            is_working,
            end_work,
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addr).expect("the server listens");
        stream.set_read_timeout(Some(SOON)).expect("a timeout");
        stream
    }

    /// A connection on which a request was served.
    fn kept(&self) -> TcpStream {
        let mut stream = self.connect();
        stream.write_all(GET).expect("the server reads");
        assert!(response(&mut stream).ends_with("hello!"));
        stream
    }

    /// Waits until the server has stopped. Returns how long that took, and the counters.
    fn end(self) -> (Duration, Counters) {
        let since = Instant::now();
        self.thread.join().expect("no panic");
        (since.elapsed(), self.handle.counters())
    }
}

/// One small response.
fn response(stream: &mut TcpStream) -> String {
    let mut buffer = [0; 4096];
    let length = stream.read(&mut buffer).expect("a response");
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

/// Everything up to the end of the stream.
fn rest(stream: &mut TcpStream) -> String {
    let mut all = String::new();
    stream.read_to_string(&mut all).expect("no reset");
    all
}

fn is_last(response: &str) -> bool {
    response.starts_with("HTTP/1.1 200 ") && response.contains("connection: close\r\n")
}

#[test]
fn requests_that_arrive_while_the_handler_stops_the_server_are_served() {
    let server = Running::start();
    let mut stopper = server.connect();
    let mut others: Vec<TcpStream> = (0..3).map(|_| server.kept()).collect();
    stopper.write_all(STOP).expect("the server reads");
    server.is_working.recv().expect("it works");
    others.extend((0..4).map(|_| server.connect()));
    for other in &mut others {
        other.write_all(GET).expect("the server reads");
    }
    server.end_work.send(()).expect("it works");
    assert!(is_last(&rest(&mut stopper)));
    for other in &mut others {
        let response = rest(other);
        assert!(
            is_last(&response) && response.ends_with("hello!"),
            "{response}"
        );
    }
    drop((stopper, others));
    let (_, counters) = server.end();
    assert_eq!((counters.requests, counters.accepted), (3 + 8, 8));
    assert_eq!(counters.closed(CloseReason::Stopped), 8);
}

#[test]
fn all_complete_requests_of_a_pipeline_are_served() {
    let server = Running::start();
    let (mut stopper, mut whole, mut cut) = (server.connect(), server.kept(), server.kept());
    stopper.write_all(STOP).expect("the server reads");
    server.is_working.recv().expect("it works");
    whole.write_all(&GET.repeat(3_000)).expect("room");
    cut.write_all(&[GET, GET, &GET[..20]].concat())
        .expect("room");
    server.end_work.send(()).expect("it works");
    let got = rest(&mut whole);
    assert_eq!(got.matches("HTTP/1.1 200 ").count(), 3_000);
    assert_eq!(got.matches("connection: close\r\n").count(), 1);
    let last = got.rfind("HTTP/1.1 ").expect("a response");
    assert!(is_last(&got[last..]), "{}", &got[last..]);
    let got = rest(&mut cut);
    assert_eq!(got.matches("HTTP/1.1 200 ").count(), 2);
    let last = got.rfind("HTTP/1.1 ").expect("a response");
    assert!(got[last..].starts_with("HTTP/1.1 503 "), "{}", &got[last..]);
    assert!(
        got[last..].contains("connection: close\r\n"),
        "{}",
        &got[last..]
    );
}

#[test]
fn new_connections_are_refused_while_a_slow_download_drains() {
    let server = Running::start();
    let mut slow = server.connect();
    slow.write_all(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n")
        .expect("the server reads");
    let mut buffer = vec![0; 1 << 20];
    slow.read_exact(&mut buffer).expect("it begins");
    server.handle.stop();
    let since = Instant::now();
    while TcpStream::connect(server.addr).is_ok() {
        assert!(since.elapsed() < SOON, "the listener is open");
        thread::sleep(Duration::from_millis(5));
    }
    for _ in 0..5 {
        let refused = TcpStream::connect(server.addr).expect_err("the listener is closed");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        slow.read_exact(&mut buffer).expect("it goes on");
        thread::sleep(Duration::from_millis(100));
    }
    let rest = rest(&mut slow);
    assert!(
        rest.len() > (8 << 20) - (6 << 20),
        "{} bytes were left",
        rest.len()
    );
    server.end();
}

#[test]
fn stopping_does_not_wait_long_for_a_client_that_doesnt_close() {
    in_a_quiet_moment(|| {
        let server = Running::start();
        // One lingers already, one is idle.
        let mut lingers = server.connect();
        lingers
            .write_all(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            .expect("the server reads");
        assert!(is_last(&rest(&mut lingers)));
        let idle = server.kept();
        server.handle.stop();
        let (took, _) = server.end();
        drop((lingers, idle));
        check(took < Duration::from_millis(1_500), || {
            format!("{took:?} to stop")
        })
    });
}

#[test]
fn an_idle_connection_is_served_during_the_grace_period() {
    in_a_quiet_moment(|| {
        let server = Running::start();
        let (mut early, mut fresh, mut late) = (server.kept(), server.connect(), server.kept());
        // So that all are accepted.
        while server.handle.counters().accepted < 3 {
            thread::sleep(Duration::from_millis(5));
        }
        let since = Instant::now();
        server.handle.stop();
        thread::sleep(Duration::from_millis(200));
        let mut responses = Vec::new();
        for stream in [&mut early, &mut fresh] {
            // It fails if the server has closed the connection already.
            let _ = stream.write_all(GET);
            let mut response = String::new();
            let _ = stream.read_to_string(&mut response);
            responses.push(response);
        }
        let served = since.elapsed();
        assert_eq!(rest(&mut late), "");
        let closed = since.elapsed();
        drop((early, fresh, late));
        server.end();
        check(responses.iter().all(|it| is_last(it)), || {
            format!("{responses:?} after {served:?}")
        })?;
        check(closed < Duration::from_millis(800), || {
            format!("{closed:?} until it closed")
        })
    });
}

/// The server accepts the connections that wait, serves them, and ends.
#[test]
fn a_server_that_is_stopped_before_it_starts_serves_waiting_connections() {
    in_a_quiet_moment(stop_before_the_start);
}

fn stop_before_the_start() -> Result<(), String> {
    let server = Server::new("127.0.0.1:0").expect("a free port");
    let addr = server.local_addr().expect("an address");
    let mut early = TcpStream::connect(addr).expect("the system takes it");
    early.write_all(GET).expect("room");
    server.handle().stop();
    let running = Running::of(server);
    assert!(is_last(&rest(&mut early)));
    drop(early);
    let (took, counters) = running.end();
    assert_eq!(counters.requests, 1);
    check(took < Duration::from_secs(1), || {
        format!("{took:?} to stop")
    })
}

/// Counts the outcomes of requests, each on a connection of its own.
#[derive(Debug, Default)]
struct Tried {
    served: u64,
    /// The system has refused the connection.
    refused: u64,
    /// The connection was reset.
    dropped: u64,
}

/// Sends requests, each on a connection of its own, until `is_over`.
fn clients(addr: SocketAddr, is_over: &AtomicBool) -> Tried {
    let mut tried = Tried::default();
    while !is_over.load(Ordering::Relaxed) {
        let Ok(mut stream) = TcpStream::connect(addr) else {
            tried.refused += 1;
            thread::sleep(Duration::from_millis(1));
            continue;
        };
        let mut exchange = || {
            stream.set_read_timeout(Some(SOON))?;
            stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")?;
            let mut response = String::new();
            stream.read_to_string(&mut response)?;
            Ok(response)
        };
        match exchange() {
            Ok(response) => {
                assert!(
                    is_last(&response) && response.ends_with("hello!"),
                    "{response:?}"
                );
                tried.served += 1;
            }
            Err(error) => {
                let is_drop = matches!(
                    std::io::Error::kind(&error),
                    ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
                );
                assert!(is_drop, "{error}");
                tried.dropped += 1;
            }
        }
    }
    tried
}

/// Runs ten servers, one after the other, with four clients. Returns how many connections the servers have accepted,
/// and the outcomes at the clients.
fn restarts(addr: SocketAddr, server: impl Fn() -> Server) -> (u64, Tried) {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let trying: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| clients(addr, &is_over)))
            .collect();
        let mut accepted = 0;
        for _ in 0..10 {
            let running = Running::of(server());
            // Some clients are served, and some requests are under way.
            let since = Instant::now();
            while running.handle.counters().accepted < 12 && since.elapsed() < SOON {
                thread::sleep(Duration::from_millis(1));
            }
            thread::sleep(Duration::from_millis(50));
            running.handle.stop();
            let (_, counters) = running.end();
            assert_eq!(counters.requests, counters.accepted);
            accepted += counters.accepted;
        }
        // A shared listener outlives the servers. Without one more server, clients that wait there would never finish.
        let last = Running::of(server());
        is_over.store(true, Ordering::Relaxed);
        let tried = trying.into_iter().map(|it| it.join().expect("no panic"));
        let tried = tried.fold(Tried::default(), |all, it| Tried {
            served: all.served + it.served,
            refused: all.refused + it.refused,
            dropped: all.dropped + it.dropped,
        });
        last.handle.stop();
        let (_, counters) = last.end();
        (accepted + counters.accepted, tried)
    })
}

/// The next server has the same listening socket, and serves the connections that came too late for the last one.
#[test]
fn ten_restarts_on_a_shared_listener_lose_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("an address");
    let (accepted, tried) = restarts(addr, || {
        Server::from_listener(listener.try_clone().expect("a copy")).expect("a listener")
    });
    let lost = tried.refused + tried.dropped;
    assert_eq!((tried.served, lost), (accepted, 0));
    assert!(accepted > 100, "{accepted} connections are too few to tell");
}

/// Each server binds the port again. The system may refuse connections in between, or reset those that wait. But
/// each connection that a server has accepted is served.
#[test]
#[cfg(unix)]
fn ten_restarts_lose_nothing_that_was_accepted() {
    let first = Server::new("127.0.0.1:0").expect("a free port");
    let addr = first.local_addr().expect("an address");
    let first = std::cell::RefCell::new(Some(first));
    let (accepted, tried) = restarts(addr, || {
        let taken = first.borrow_mut().take();
        taken.unwrap_or_else(|| Server::new(&addr.to_string()).expect("the port is free again"))
    });
    assert_eq!(tried.served, accepted, "{tried:?}");
    // For each restart, a client may connect in the moment between the last accept and the close.
    assert!(tried.dropped <= 10, "{tried:?}");
    assert!(accepted > 100, "{accepted} connections are too few to tell");
}
