//! The server's API, natively, over real sockets.
#![cfg(not(target_os = "wasi"))]

#[path = "common/in_thread.rs"]
mod in_thread;

use std::borrow::Cow;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use mini_http::{CloseReason, ErrorKind, Response, Server};

use self::in_thread::{start, stop};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

/// Sends `request` and reads to the end of the stream.
fn exchange(addr: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(addr).expect("the server listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("a timeout");
    stream.write_all(request).expect("the server reads");
    let mut response = String::new();
    stream
        .read_to_string(&mut response)
        .expect("the server responds and closes");
    response
}

fn server() -> Server {
    Server::new("127.0.0.1:0").expect("a free port")
}

#[test]
#[expect(
    clippy::len_zero,
    clippy::unwrap_used,
    reason = "a user's program, as it was written"
)]
fn a_program_for_version_0_1_still_runs() {
    let (addr, handle, thread) = start(server(), |server| {
        server.start(|request| {
            let resp = if request.body().len() > 0 {
                request.body().to_vec()
            } else {
                b"hello!".to_vec()
            };
            Response::builder()
                .status(200)
                .header("X-What-Up", "Nothin")
                .body(resp)
                .unwrap()
        })
    });
    let response = exchange(addr, GET);
    assert!(
        response.starts_with("HTTP/1.1 200 OK\r\nx-what-up: Nothin\r\n"),
        "{response}"
    );
    assert!(response.ends_with("\r\n\r\nhello!"), "{response}");
    stop(&handle, thread);
    let counters = handle.counters();
    assert_eq!(
        (counters.accepted, counters.active, counters.requests),
        (1, 0, 1)
    );
    assert_eq!(counters.closed(CloseReason::ClientAskedClose), 1);
}

#[test]
fn a_bad_address_or_one_in_use_is_an_error_that_says_so() {
    for bad in [
        "",
        "nowhere",
        "127.0.0.1",
        "127.0.0.1:99999",
        "no.such.host.invalid:80",
    ] {
        let error = Server::new(bad).expect_err(bad);
        assert_eq!(error.kind(), ErrorKind::Address, "{bad}: {error}");
    }
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = taken.local_addr().expect("an address").to_string();
    let error = Server::new(&addr).expect_err("taken");
    assert_eq!(error.kind(), ErrorKind::Address);
    assert!(error.to_string().contains(&addr), "{error}");
    assert!(std::error::Error::source(&error).is_some());
}

#[test]
fn a_setting_out_of_range_is_an_error_at_the_start() {
    let mut server = server();
    server.limits(|limits| limits.max_head = 0);
    let error = server
        .start(|_| Response::default())
        .expect_err("no head at all");
    assert_eq!(error.kind(), ErrorKind::Setting);
}

#[test]
fn a_server_takes_any_listener_and_any_type_of_body() {
    fn responds_with<B: mini_http::Body + Clone + Send + 'static>(body: B, expected: &str) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let mut server = Server::from_listener(listener).expect("a listener");
        server.tcp_nodelay(true).tcp_nodelay(false);
        let (addr, handle, thread) = start(server, move |server| {
            server.serve(move |_| Response::new(body.clone()))
        });
        let response = exchange(addr, GET);
        assert!(
            response.ends_with(&format!("\r\n\r\n{expected}")),
            "{response}"
        );
        stop(&handle, thread);
    }
    responds_with("str", "str");
    responds_with(&b"slice"[..], "slice");
    responds_with(String::from("string"), "string");
    responds_with(bytes::Bytes::from_static(b"bytes"), "bytes");
    responds_with(b"vec".to_vec(), "vec");
    responds_with(Box::<[u8]>::from(&b"box"[..]), "box");
    responds_with(Arc::<[u8]>::from(&b"arc"[..]), "arc");
    responds_with(Cow::Borrowed("borrowed str"), "borrowed str");
    responds_with(Cow::<str>::Owned("owned str".to_owned()), "owned str");
    responds_with(Cow::Borrowed(&b"borrowed"[..]), "borrowed");
    responds_with(Cow::<[u8]>::Owned(b"owned".to_vec()), "owned");
    responds_with((), "");
}

#[test]
fn a_stopped_server_cannot_start_again() {
    let (addr, handle, thread) = start(server(), |server| {
        server.serve(|_| Response::new("once"))?;
        assert!(server.local_addr().is_ok());
        server.serve(|_| Response::new("twice"))
    });
    assert!(exchange(addr, GET).ends_with("once"));
    handle.stop();
    let error = thread
        .join()
        .expect("no panic")
        .expect_err("it was stopped");
    assert_eq!(error.kind(), ErrorKind::Setting);
    assert!(error.to_string().contains("make a new one"), "{error}");
    let refused = TcpStream::connect(addr).expect_err("the listener is closed");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[test]
fn a_handler_can_stop_the_server() {
    let server = server();
    let (addr, handle, thread) = start(server, |server| {
        let handle = server.handle();
        server.serve(move |_| {
            handle.stop();
            Response::new("bye")
        })
    });
    let response = exchange(addr, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(
        response.contains("connection: close\r\n") && response.ends_with("bye"),
        "{response}"
    );
    thread.join().expect("no panic").expect("it ends well");
    assert_eq!(handle.counters().closed(CloseReason::Stopped), 1);
}

#[test]
fn a_panic_becomes_a_500_or_ends_the_server_as_configured() {
    let panics = |request: mini_http::Request| match request.uri().path() {
        "/panic" => panic!("as asked"),
        _ => Response::new("fine"),
    };
    let request = b"GET /panic HTTP/1.1\r\nHost: h\r\n\r\n";
    let (addr, handle, thread) = start(server(), move |server| server.serve(panics));
    let response = exchange(addr, request);
    assert!(response.starts_with("HTTP/1.1 500 "), "{response}");
    assert!(exchange(addr, GET).ends_with("fine"));
    stop(&handle, thread);

    let mut server = server();
    server.catch_panics(false);
    let (addr, _, thread) = start(server, move |server| server.serve(panics));
    let mut stream = TcpStream::connect(addr).expect("the server listens");
    stream.write_all(request).expect("the server reads");
    assert!(thread.join().is_err());
}

#[test]
fn without_socket_activation_the_error_has_advice() {
    let error = Server::preopened().expect_err("systemd has passed nothing");
    assert_eq!(error.kind(), ErrorKind::NoListener);
    assert!(error.to_string().contains("LISTEN_FDS"), "{error}");
}

/// systemd passes sockets from fd 3 on, and says so in the environment of the process. Here the process is this
/// test program once more, which runs only this test, in the other role.
#[cfg(target_os = "linux")]
fn activated(test: &str, sockets: [std::os::fd::OwnedFd; 2]) -> std::process::Command {
    let [first, second] = sockets.map(std::process::Stdio::from);
    let mut command = std::process::Command::new("sh");
    command
        .arg("-c")
        .arg(
            "export LISTEN_PID=$$ LISTEN_FDS=2
            exec \"$0\" \"$@\" 3<&0 4<&2 </dev/null 2>/dev/null",
        )
        .arg(std::env::current_exe().expect("a path"))
        .args(["--exact", test])
        .env(IS_ACTIVATED, "")
        .stdin(first)
        .stdout(std::process::Stdio::null())
        .stderr(second);
    command
}

#[cfg(target_os = "linux")]
const IS_ACTIVATED: &str = "MINI_HTTP_TEST_IS_ACTIVATED";

#[cfg(target_os = "linux")]
fn is_activated() -> bool {
    std::env::var_os(IS_ACTIVATED).is_some()
}

#[cfg(target_os = "linux")]
fn two_listeners() -> ([SocketAddr; 2], [std::os::fd::OwnedFd; 2]) {
    let listener = |_| TcpListener::bind("127.0.0.1:0").expect("a free port");
    let listeners = [(); 2].map(listener);
    let addrs = std::array::from_fn(|at| listeners[at].local_addr().expect("an address"));
    (addrs, listeners.map(Into::into))
}

#[test]
#[cfg(target_os = "linux")]
fn sockets_of_systemd_are_served() {
    if is_activated() {
        let server = Server::preopened().expect("the sockets of systemd");
        let again = Server::preopened().expect_err("they are in use");
        assert_eq!(again.kind(), ErrorKind::NoListener);
        let served = server.serve(|_| Response::new("Hello!"));
        return served.expect("it is killed before it ends");
    }
    let (addrs, sockets) = two_listeners();
    let child = activated("sockets_of_systemd_are_served", sockets).spawn();
    let _child = KilledAtTheEnd(child.expect("sh starts"));
    for addr in addrs {
        let response = exchange(addr, GET);
        assert!(response.ends_with("Hello!"), "{response}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn each_socket_of_systemd_can_have_a_server_of_its_own() {
    if is_activated() {
        let other = Server::from_fd(5).expect_err("there are two");
        assert!(other.to_string().contains("2 sockets"), "{other}");
        let [fourth, third] = [4, 3].map(|fd| Server::from_fd(fd).expect("a socket"));
        let again = Server::from_fd(3).expect_err("it is in use");
        assert_eq!(again.kind(), ErrorKind::NoListener);
        assert!(again.to_string().contains("in use"), "{again}");
        std::thread::spawn(move || fourth.serve(|_| Response::new("fourth")));
        let served = third.serve(|_| Response::new("third"));
        return served.expect("it is killed before it ends");
    }
    let (addrs, sockets) = two_listeners();
    let name = "each_socket_of_systemd_can_have_a_server_of_its_own";
    let child = activated(name, sockets).spawn();
    let _child = KilledAtTheEnd(child.expect("sh starts"));
    for (addr, expected) in addrs.into_iter().zip(["third", "fourth"]) {
        let response = exchange(addr, GET);
        assert!(response.ends_with(expected), "{response}");
    }
}

/// As by a socket unit with `Accept=yes`: accepting from it would fail again and again.
#[test]
#[cfg(target_os = "linux")]
fn a_passed_connection_is_not_a_listener() {
    use std::os::unix::net::UnixStream;
    if is_activated() {
        for fd in [3, 4] {
            let error = Server::from_fd(fd).expect_err("a connection");
            assert_eq!(error.kind(), ErrorKind::NoListener);
            assert!(error.to_string().contains("not a listening"), "{error}");
        }
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let tcp = TcpStream::connect(listener.local_addr().expect("an address"));
    let (unix, _peer) = UnixStream::pair().expect("two sockets");
    let sockets = [tcp.expect("it listens").into(), unix.into()];
    let ended = activated("a_passed_connection_is_not_a_listener", sockets).status();
    assert!(ended.expect("sh starts").success());
}

/// Kills the process when the test ends, also when it fails.
#[cfg(target_os = "linux")]
struct KilledAtTheEnd(std::process::Child);

#[cfg(target_os = "linux")]
impl Drop for KilledAtTheEnd {
    fn drop(&mut self) {
        self.0.kill().expect("it runs");
        self.0.wait().expect("it ends");
    }
}
