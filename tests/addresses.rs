//! Several addresses, and Unix domain sockets, natively.
#![cfg(not(target_os = "wasi"))]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mini_http::{ErrorKind, Response, Result, Server};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
const SOON: Duration = Duration::from_secs(30);

/// A server in a thread, which responds with the peer's address.
struct Running {
    handle: mini_http::Handle,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Running {
    fn start(server: Server) -> Self {
        let handle = server.handle();
        let thread = thread::spawn(move || {
            server.start(|request| Response::new(format!("{:?}", request.peer_addr()).into_bytes()))
        });
        Self {
            handle,
            thread: Some(thread),
        }
    }
}

/// Stops it, and waits for its end.
impl Drop for Running {
    fn drop(&mut self) {
        self.handle.stop();
        let ended = self.thread.take().expect("it runs").join();
        ended.expect("no panic").expect("it ends well");
    }
}

/// The body of the response.
fn get(mut stream: impl Read + Write) -> String {
    stream.write_all(GET).expect("the server reads");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("a response");
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    let (_, body) = response.split_once("\r\n\r\n").expect("a head");
    body.to_owned()
}

fn get_at(addr: SocketAddr) -> String {
    let stream = TcpStream::connect(addr).expect("it listens");
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    let own = stream.local_addr().expect("an address");
    let seen = get(stream);
    assert_eq!(seen, format!("{:?}", Some(own)));
    seen
}

fn has_v6() -> bool {
    TcpListener::bind("[::1]:0").is_ok()
}

#[test]
fn localhost_is_both_families_on_one_port() {
    let server = Server::new("localhost:0").expect("a free port");
    let addrs = server.local_addrs().expect("addresses");
    assert_eq!(addrs[0], server.local_addr().expect("the first"));
    assert_eq!(addrs.len(), 1 + usize::from(has_v6()), "{addrs:?}");
    let port = addrs[0].port();
    let wanted = [format!("127.0.0.1:{port}"), format!("[::1]:{port}")];
    for (addr, wanted) in addrs.iter().zip(wanted) {
        assert_eq!(addr.to_string(), wanted);
    }
    let _running = Running::start(server);
    for addr in addrs {
        get_at(addr);
    }
}

#[test]
fn a_port_that_is_taken_in_one_family_is_an_error() {
    if !has_v6() {
        return;
    }
    let taken = TcpListener::bind("[::1]:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port();
    let error = Server::new(&format!("localhost:{port}")).expect_err("it is taken");
    assert_eq!(error.kind(), ErrorKind::Address);
    let text = format!(
        "can't listen on localhost:{port}, which is [::1]:{port}; stop what listens there, or use another port"
    );
    assert_eq!(error.to_string(), text);
    // What was bound before the failure is free again.
    TcpListener::bind(("127.0.0.1", port)).expect("a free port");
}

#[test]
fn an_address_is_added() {
    let mut server = Server::new("127.0.0.1:0").expect("a free port");
    server.and_listen("127.0.0.1:0").expect("a free port");
    let addrs = server.local_addrs().expect("addresses");
    assert_eq!(addrs.len(), 2);
    assert_ne!(addrs[0].port(), addrs[1].port());
    let used = server.and_listen(&addrs[0].to_string());
    assert_eq!(used.expect_err("it is in use").kind(), ErrorKind::Address);
    assert_eq!(
        server.and_listen("x").expect_err("nonsense").kind(),
        ErrorKind::Address
    );
    // A failure changes nothing.
    assert_eq!(server.local_addrs().expect("addresses"), addrs);
    let running = Running::start(server);
    for &addr in &addrs {
        get_at(addr);
    }
    drop(running);
    for addr in addrs {
        TcpListener::bind(addr).expect("a server that has stopped closes all its sockets");
    }
}

/// The wildcard is bound anew for an address of IPv4, and once more if that address can't be added.
#[test]
fn a_wildcard_still_takes_ipv4_after_an_address_could_not_be_added() {
    if !has_v6() {
        return;
    }
    let mut server = Server::new("[::]:0").expect("a free port");
    let addrs = server.local_addrs().expect("addresses");
    let addr = SocketAddr::from(([127, 0, 0, 1], addrs[0].port()));
    if TcpStream::connect(addr).is_err() {
        // Not on this system.
        return;
    }
    // No system has this address (RFC 5737).
    let missing = format!("192.0.2.1:{}", addr.port());
    let error = server.and_listen(&missing).expect_err("it isn't ours");
    assert!(error.to_string().contains(&missing), "{error}");
    assert_eq!(server.local_addrs().expect("addresses"), addrs);
    let _running = Running::start(server);
    get(TcpStream::connect(addr).expect("it listens"));
}

#[test]
fn the_wildcards_of_both_families_can_have_one_port() {
    if !has_v6() {
        return;
    }
    for [first, second] in [
        ["0.0.0.0", "[::]"],
        ["[::]", "0.0.0.0"],
        ["[::]", "127.0.0.1"],
    ] {
        let mut server = Server::new(&format!("{first}:0")).expect("a free port");
        let port = server.local_addr().expect("an address").port();
        server
            .and_listen(&format!("{second}:{port}"))
            .expect("they don't collide");
        let addrs: Vec<_> = server.local_addrs().expect("addresses");
        let addrs: Vec<_> = addrs.iter().map(ToString::to_string).collect();
        assert_eq!(
            addrs,
            [format!("{first}:{port}"), format!("{second}:{port}")]
        );
        let _running = Running::start(server);
        // Not as ::ffff:127.0.0.1.
        assert!(get_at(([127, 0, 0, 1], port).into()).contains("127.0.0.1"));
        get_at((std::net::Ipv6Addr::LOCALHOST, port).into());
    }
}

/// `[::]` as the only address also takes IPv4 connections.
#[cfg(target_os = "linux")]
#[test]
fn the_wildcard_of_ipv6_alone_takes_ipv4_too() {
    if !has_v6() {
        return;
    }
    let server = Server::new("[::]:0").expect("a free port");
    let port = server.local_addr().expect("an address").port();
    let _running = Running::start(server);
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    assert!(get(stream).contains("::ffff:127.0.0.1"));
}

#[cfg(unix)]
mod unix {
    use super::*;
    use mini_http::http_body::{Body as HttpBody, Frame};
    use mini_http::{Bytes, CloseReason};
    use std::os::fd::OwnedFd;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::path::PathBuf;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    /// A path that no other test has. The file is removed at the end.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let name = format!("mh-{}-{name}.sock", std::process::id());
            Self(std::env::temp_dir().join(name))
        }

        fn addr(&self) -> String {
            format!("unix:{}", self.0.display())
        }

        fn connect(&self) -> UnixStream {
            let stream = UnixStream::connect(&self.0).expect("it listens");
            stream.set_read_timeout(Some(SOON)).expect("a timeout");
            stream
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    #[test]
    fn a_unix_socket_is_served_and_removed() {
        let scratch = Scratch::new("served");
        let server = Server::new(&scratch.addr()).expect("a free path");
        assert_eq!(server.local_addrs().expect("no address"), []);
        let error = server.local_addr().expect_err("no address");
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let running = Running::start(server);
        assert_eq!(get(scratch.connect()), "None");
        drop(running);
        assert!(!scratch.0.exists());
    }

    #[test]
    fn a_server_that_is_dropped_removes_its_socket() {
        let scratch = Scratch::new("dropped");
        let server = Server::new(&scratch.addr()).expect("a free path");
        assert!(scratch.0.exists());
        drop(server);
        assert!(!scratch.0.exists());
    }

    #[test]
    fn a_unix_socket_beside_tcp() {
        let scratch = Scratch::new("beside");
        let mut server = Server::new("localhost:0").expect("a free port");
        server.and_listen(&scratch.addr()).expect("a free path");
        let addrs = server.local_addrs().expect("addresses");
        let running = Running::start(server);
        assert_eq!(get(scratch.connect()), "None");
        for addr in addrs {
            get_at(addr);
        }
        drop(running);
        assert!(!scratch.0.exists());
    }

    #[test]
    fn the_mode_of_a_unix_socket_can_be_set() {
        let scratch = Scratch::new("mode");
        let mode = || {
            let file = std::fs::metadata(&scratch.0).expect("the file");
            file.permissions().mode() & 0o777
        };
        let mut server = Server::new(&scratch.addr()).expect("a free path");
        assert_eq!(mode(), 0o600);
        server.unix_mode(0o660).expect("the owner may");
        assert_eq!(mode(), 0o660);
    }

    /// The server doesn't remove a file that it hasn't made.
    #[test]
    fn a_listener_of_the_user_is_served_and_not_removed() {
        let scratch = Scratch::new("own");
        let listener = UnixListener::bind(&scratch.0).expect("a free path");
        let running = Running::start(Server::from_unix_listener(listener));
        assert_eq!(get(scratch.connect()), "None");
        drop(running);
        assert!(scratch.0.exists());
    }

    #[test]
    fn a_unix_listener_converted_to_tcp_is_recognised() {
        let scratch = Scratch::new("converted");
        let listener = UnixListener::bind(&scratch.0).expect("a free path");
        let converted = TcpListener::from(OwnedFd::from(listener));
        let running = Running::start(Server::from_listener(converted).expect("a listener"));
        assert_eq!(get(scratch.connect()), "None");
        drop(running);
    }

    /// Keep-alive probes, which the server turns on for an asynchronous handler that waits, exist for TCP only.
    #[test]
    fn an_asynchronous_handler_sees_that_its_client_is_gone() {
        use std::sync::mpsc;
        struct Dropped(mpsc::Sender<()>);
        impl Drop for Dropped {
            fn drop(&mut self) {
                self.0.send(()).expect("the test waits");
            }
        }
        let scratch = Scratch::new("lost");
        let mut server = Server::new(&scratch.addr()).expect("a free path");
        server.limits(|limits| limits.half_closed_timeout = Duration::from_millis(200));
        let handle = server.handle();
        let (dropped, gone) = mpsc::channel();
        let (entered, begun) = mpsc::channel();
        let thread = thread::spawn(move || {
            server.serve_async(move |_| {
                let dropped = Dropped(dropped.clone());
                entered.send(()).expect("the test waits");
                async move {
                    mini_http::sleep(Duration::from_secs(60)).await;
                    drop(dropped);
                    Response::new("late".to_owned())
                }
            })
        });
        let mut client = scratch.connect();
        client.write_all(GET).expect("the server reads");
        begun.recv_timeout(SOON).expect("the handler runs");
        // The client has no unread input, so this isn't a reset, but the end of the stream.
        drop(client);
        gone.recv_timeout(SOON).expect("the future is dropped");
        handle.stop();
        thread.join().expect("no panic").expect("it ends well");
        let counters = handle.counters();
        assert_eq!(counters.closed(CloseReason::HalfClosedTimeout), 1);
    }

    /// `Connection: close` with more input after it: the server lingers, and the client gets its response.
    #[test]
    fn the_last_response_is_received_whatever_follows() {
        let scratch = Scratch::new("linger");
        let _running = Running::start(Server::new(&scratch.addr()).expect("a free path"));
        let mut client = scratch.connect();
        client.write_all(GET).expect("the server reads");
        client
            .write_all(&[b'x'; 100_000])
            .expect("the server reads on");
        let mut response = String::new();
        client.read_to_string(&mut response).expect("no reset");
        assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    }

    #[test]
    fn limits_hold_for_unix_sockets() {
        let scratch = Scratch::new("limits");
        let mut server = Server::new(&scratch.addr()).expect("a free path");
        server.limits(|limits| {
            limits.idle_timeout = Duration::from_millis(600);
            limits.head_timeout = Duration::from_millis(600);
            limits.max_body = 10;
        });
        let _running = Running::start(server);
        let mut idle = scratch.connect();
        assert_eq!(idle.read(&mut [0; 10]).expect("the end"), 0);
        for (request, status) in [
            ("GET / HTTP/1.1\r\n", "408"),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n",
                "413",
            ),
        ] {
            let mut client = scratch.connect();
            client
                .write_all(request.as_bytes())
                .expect("the server reads");
            let mut response = String::new();
            client.read_to_string(&mut response).expect("a response");
            assert!(
                response.starts_with(&format!("HTTP/1.1 {status} ")),
                "{response}"
            );
        }
    }

    /// There is no reset: it looks like the end of the response.
    #[test]
    fn a_response_that_fails_ends_with_its_connection() {
        let scratch = Scratch::new("fails");
        let server = Server::new(&scratch.addr()).expect("a free path");
        let handle = server.handle();
        let thread =
            thread::spawn(move || server.serve_async(|_| async { Response::new(Failing(0)) }));
        let mut client = scratch.connect();
        client
            .write_all(b"GET / HTTP/1.0\r\n\r\n")
            .expect("the server reads");
        let mut response = String::new();
        client.read_to_string(&mut response).expect("no reset");
        assert!(response.ends_with("\r\n\r\nsome"), "{response}");
        handle.stop();
        thread.join().expect("no panic").expect("it ends well");
    }

    /// A body that fails once its first part has left.
    struct Failing(u8);

    impl HttpBody for Failing {
        type Data = Bytes;
        type Error = std::io::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
            self.0 += 1;
            match self.0 {
                1 => Poll::Ready(Some(Ok(Frame::data(Bytes::from("some"))))),
                2 => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                _ => Poll::Ready(Some(Err(std::io::Error::other("the disk is gone")))),
            }
        }
    }
}
