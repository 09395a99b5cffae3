//! A server as a service, in a process of its own: signals stop it, its sockets can be copied, and it reports to
//! systemd.
#![cfg(unix)]
#![allow(
    clippy::print_stdout,
    reason = "a child says what it does, and a test reads it"
)]

mod process;
#[path = "../common/quiet.rs"]
mod quiet;
mod systemd;

use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::thread;
use std::time::Duration;

use mini_http::{ErrorKind, Request, Response, Server};

use self::process::{Process, rest, work};

const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;
const SOON: Duration = Duration::from_secs(30);
/// In the environment of a child: what it does.
const ROLE: &str = "SERVICE_TEST_ROLE";
const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

/// What children of the tests do. In other runs it does nothing.
#[test]
fn child() {
    match std::env::var(ROLE).as_deref() {
        Ok("once") => serve(),
        Ok("twice") => {
            serve();
            serve();
        }
        Ok("goes on") => {
            serve();
            println!("stopped");
            thread::sleep(SOON);
        }
        Ok("workers") => serve_by_two(),
        Ok("several") => {
            let ended_early = bind();
            ended_early.stop_on_signals().expect("signal handlers");
            drop(ended_early);
            let other = bind();
            other.stop_on_signals().expect("signal handlers");
            thread::scope(|scope| {
                scope.spawn(|| other.start(|_| Response::new(Vec::new())));
                serve();
            });
        }
        _ => {}
    }
}

fn bind() -> Server {
    Server::new("127.0.0.1:0").expect("a free port")
}

/// A server whose `/work?MS` takes this time. It prints its port.
fn serve() {
    let mut server = bind();
    server.notify_systemd();
    server.stop_on_signals().expect("signal handlers");
    println!("port {}", server.local_addr().expect("an address").port());
    server.start(handle).expect("it ends well");
}

/// The same with two workers, of which only the second one takes time. It is on a thread of its own.
fn serve_by_two() {
    let mut server = bind();
    server.workers(2).notify_systemd();
    server.stop_on_signals().expect("signal handlers");
    println!("port {}", server.local_addr().expect("an address").port());
    let ended = server.start_each(|| {
        let is_second = thread::current().name() == Some("mini_http-2");
        move |request| match is_second {
            true => handle(request),
            false => Response::new(b"first".to_vec()),
        }
    });
    ended.expect("it ends well");
}

fn handle(request: Request) -> Response<Vec<u8>> {
    if let Some(millis) = request.uri().query().and_then(|it| it.parse().ok()) {
        println!("working");
        thread::sleep(Duration::from_millis(millis));
    }
    Response::new(b"hello!".to_vec())
}

#[test]
fn each_signal_stops_it_and_no_request_is_lost() {
    for signal in [SIGTERM, SIGINT] {
        let mut server = Process::start("once", &[]);
        let address = server.address();
        let slow = work(address, 300);
        server.said("working");
        server.signal(signal);
        let response = rest(slow);
        assert!(response.ends_with("hello!"), "{response}");
        assert!(response.contains("connection: close\r\n"), "{response}");
        let status = server.ended_within(SOON);
        assert_eq!(status.code(), Some(0), "{status}");
    }
}

#[test]
fn the_second_signal_ends_it_at_once() {
    for (first, second) in [(SIGTERM, SIGTERM), (SIGINT, SIGINT), (SIGINT, SIGTERM)] {
        let mut server = Process::start("once", &[]);
        let address = server.address();
        let _slow = work(address, 60_000);
        server.said("working");
        server.signal(first);
        // Signals of one kind that come at the same time are one signal.
        server.await_signals();
        assert!(
            server.child.try_wait().expect("a child").is_none(),
            "the first one ended it"
        );
        server.signal(second);
        let status = server.ended_within(SOON);
        assert_eq!(status.signal(), Some(second), "{status}");
    }
}

#[test]
fn when_the_server_has_stopped_a_signal_ends_the_process() {
    let mut server = Process::start("goes on", &[]);
    server.address();
    server.signal(SIGTERM);
    server.said("stopped");
    server.signal(SIGTERM);
    let status = server.ended_within(SOON);
    assert_eq!(status.signal(), Some(SIGTERM), "{status}");
}

#[test]
fn the_next_server_of_the_process_is_stopped_by_a_first_signal_too() {
    let mut server = Process::start("twice", &[]);
    for _ in 0..2 {
        let address = server.address();
        let slow = work(address, 300);
        server.said("working");
        server.signal(SIGTERM);
        assert!(rest(slow).ends_with("hello!"));
    }
    assert_eq!(server.ended_within(SOON).code(), Some(0));
}

#[test]
fn a_signal_stops_all_servers_of_the_process() {
    let mut server = Process::start("several", &[]);
    let address = server.address();
    let slow = work(address, 100);
    server.said("working");
    server.signal(SIGTERM);
    assert!(rest(slow).ends_with("hello!"));
    assert_eq!(server.ended_within(SOON).code(), Some(0));
}

#[test]
fn listening_sockets_can_be_copied_until_the_server_starts() {
    let server = bind();
    let address = server.local_addr().expect("an address");
    let mut copies = server.listening_fds().expect("a copy");
    assert_eq!(server.listening_fds().expect("another one").len(), 1);
    let copy = copies.pop().expect("one socket");
    assert!(copies.is_empty() && copy.as_raw_fd() > 2);
    let handle = server.handle();
    let thread = thread::spawn(move || {
        server
            .start(|_| Response::new(b"hello!".to_vec()))
            .expect("it ends well");
        server
    });
    assert!(rest(work(address, 0)).ends_with("hello!"));
    handle.stop();
    let server = thread.join().expect("no panic");
    let error = server.listening_fds().expect_err("they are closed");
    assert_eq!(error.kind(), ErrorKind::NoListener);

    // The successor serves what has come in between.
    let waiting = work(address, 0);
    let successor = Server::from_listener(copy.into()).expect("a listener");
    let handle = successor.handle();
    let thread = thread::spawn(move || successor.start(|_| Response::new(b"hello!".to_vec())));
    assert!(rest(waiting).ends_with("hello!"));
    handle.stop();
    thread.join().expect("no panic").expect("it ends well");
}

#[test]
fn the_file_of_a_copied_unix_socket_stays() {
    let path = std::env::temp_dir().join(format!("mini_http-copied-{}", std::process::id()));
    let server = Server::new(&format!("unix:{}", path.display())).expect("a free path");
    let copy = server.listening_fds().expect("a copy").pop();
    server.handle().stop();
    let ended = server.start(|_| Response::new(Vec::new()));
    ended.expect("it ends well");
    drop(server);
    let client = std::os::unix::net::UnixStream::connect(&path);
    client.expect("the copy still listens");
    drop(copy);
    std::fs::remove_file(&path).expect("the file is there");
}
