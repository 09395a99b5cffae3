//! Properties of the public API's types: what is `Send`, what a handler may borrow, and errors.

use std::net::SocketAddr;

use mini_http::{
    Counters, Error, Handle, Incoming, IncomingError, PeerAddr, Request, Server, Sleep, Stopping,
    Upgrade, Upgraded,
};

#[test]
fn public_types_are_send_and_sync() {
    fn is_send_and_sync<T: Send + Sync>() {}
    is_send_and_sync::<Server>();
    is_send_and_sync::<Request>();
    is_send_and_sync::<Error>();
    is_send_and_sync::<Handle>();
    is_send_and_sync::<Counters>();
    is_send_and_sync::<IncomingError>();
    is_send_and_sync::<PeerAddr>();
}

/// A handler may pass a request's body, or the future of all of it, to another thread.
#[test]
fn a_body_may_cross_threads() {
    fn is_send<T: Send>(_: &T) {}
    fn is_send_and_unpin<T: Send + Unpin + 'static>(_: &T) {}
    fn is_copy<T: Copy>() {}
    let incoming = Incoming::empty();
    is_send_and_unpin(&incoming);
    is_send(&incoming.bytes());
    is_copy::<PeerAddr>();
}

/// A handler may pass what it waits for to another thread or executor.
#[test]
fn futures_may_cross_threads() {
    fn is_send_sync_and_unpin<T: Send + Sync + Unpin + 'static>() {}
    is_send_sync_and_unpin::<Sleep>();
    is_send_sync_and_unpin::<Stopping>();
    is_send_sync_and_unpin::<Upgrade>();
    is_send_sync_and_unpin::<Upgraded>();
}

#[test]
fn a_request_for_a_test_can_have_a_peer() {
    let request = Request::from(mini_http::http::Request::new(Vec::new()));
    assert_eq!(request.peer_addr(), None);
    let peer = SocketAddr::from(([192, 0, 2, 1], 4711));
    assert_eq!(request.with_peer_addr(peer).peer_addr(), Some(peer));
}

/// A handler may borrow values that live longer than the call of `serve`.
#[cfg(not(target_os = "wasi"))]
#[test]
fn a_handler_may_borrow() {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    let mut seen = 0;
    let server = Server::new("127.0.0.1:0").expect("a free port");
    let (addr, handle) = (server.local_addr().expect("an address"), server.handle());
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut stream = TcpStream::connect(addr).expect("the server listens");
            let request = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
            stream.write_all(request).expect("the server reads");
            let mut response = String::new();
            stream.read_to_string(&mut response).expect("a response");
            handle.stop();
        });
        let result = server.serve(|_| {
            seen += 1;
            mini_http::Response::new("fine")
        });
        result.expect("the server ends well");
    });
    assert_eq!(seen, 1);
}

#[cfg(unix)]
#[test]
fn a_descriptor_that_systemd_has_not_passed_is_an_error_with_advice() {
    let error = Server::from_fd(3).expect_err("systemd has passed nothing");
    assert_eq!(error.kind(), mini_http::ErrorKind::NoListener);
    assert!(
        error.to_string().contains("Server::from_listener"),
        "{error}"
    );
}
