//! Clients that would keep their thread for as long as they like.

use super::*;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

/// A client's socket, and the server's.
fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let client = TcpStream::connect(listener.local_addr().expect("an address"));
    let (socket, _) = listener.accept().expect("a client");
    (client.expect("it listens"), socket)
}

/// The server's, and that of a client that trusts it.
fn configurations() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = signing_key.serialize_der().try_into().expect("a key");
    let server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key);
    let mut trusted = RootCertStore::empty();
    trusted.add(cert.der().clone()).expect("a certificate");
    let client = ClientConfig::builder().with_root_certificates(trusted);
    (
        Arc::new(server.expect("a valid certificate")),
        Arc::new(client.with_no_client_auth()),
    )
}

/// A client that sends a byte of a record now and then, so that no read times out.
#[test]
fn a_deadline_holds_although_there_is_input() {
    let limits = limits(|limits| limits.idle_timeout = Duration::from_millis(1));
    let (mut client, socket) = sockets();
    let mut shared = Shared::new();
    let clock = Clock(std::time::Instant::now());
    let http = Connection::new(1, None, &mut clock.context(&limits, &mut shared));
    let (server, _) = configurations();
    let mut link = Link {
        socket,
        tls: ServerConnection::new(server).expect("a valid configuration"),
        http,
        handler: |_| Response::new(Vec::new()),
        limits: &limits,
    };
    let mut cx = clock.context(&limits, &mut shared);
    assert_eq!(link.http.poll_step(&mut cx), Step::Wait);
    thread::sleep(Duration::from_millis(10));
    client.write_all(&[22]).expect("the socket is open");
    link.receive(&clock, &mut shared).expect("a byte");
    let mut cx = clock.context(&limits, &mut shared);
    let closed = Step::Close(CloseReason::IdleTimeout);
    assert_eq!(link.http.poll_step(&mut cx), closed);
}

/// It takes a little again and again, so that no single write times out.
#[test]
fn a_client_that_takes_its_response_too_slowly_is_dropped() {
    let limits = limits(|limits| {
        limits.rate_window = Duration::from_millis(500);
        limits.min_rate = 64 << 20;
    });
    let (mut client, socket) = sockets();
    let (server, config) = configurations();
    let thread = thread::spawn(move || {
        let peer = socket.peer_addr()?;
        let tls = ServerConnection::new(server).expect("a valid configuration");
        let respond = |_| Response::new(vec![b'x'; 64 << 20]);
        serve((1, peer), socket, tls, &limits, respond)
    });
    let name = "localhost".try_into().expect("a name");
    let mut tls = ClientConnection::new(config, name).expect("a valid configuration");
    let request = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    tls.writer().write_all(request).expect("a short request");
    while tls.is_handshaking() || tls.wants_write() {
        tls.complete_io(&mut client).expect("a handshake");
    }
    let mut buffer = vec![0; 256 << 10];
    while !thread.is_finished() {
        let _ = client.read(&mut buffer);
        thread::sleep(Duration::from_millis(50));
    }
    let error = thread.join().expect("no panic").expect_err("too slow");
    let is_late = [ErrorKind::TimedOut, ErrorKind::WouldBlock].contains(&error.kind());
    assert!(is_late, "{error}");
}

fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits);
    limits
}
