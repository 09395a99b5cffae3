//! Checks WebSockets with a minimal client: the handshake, messages of many sizes, pings, closing, and clients that
//! break the rules. The servers are those of `examples/hyper`; the check `upgrade` runs the same cases on another one.

mod socket;

use std::net::SocketAddr;

use crate::client::{Client, PATIENCE};
use crate::random::Random;
use crate::wait::within;
use crate::{Outcome, Program, Report, Runtime, Server, ensure, shim_programs};
use socket::{
    ACCEPT, BINARY, CLOSE, CONTINUATION, KEY, PING, PONG, Socket, TEXT, check_open, frame, head,
    part, request,
};

/// Checks it on each of these runtimes.
#[must_use]
pub fn run(runtimes: &[Runtime]) -> Report {
    let mut report = Report::new("WebSocket", runtimes);
    for &runtime in runtimes {
        check(&mut report, runtime);
    }
    report
}

/// Adds its rows to a report.
pub fn check(report: &mut Report, runtime: Runtime) {
    for (case, outcome) in check_program(&shim_programs::build(runtime, "websocket"), |_| true) {
        report.add(&case, runtime, outcome);
    }
}

/// The case for servers that have nothing but a WebSocket.
pub const NO_HANDSHAKE: &str = "no handshake";

/// The outcome of each case that is wanted with this program. One server serves all cases.
pub fn check_program(
    program: &Outcome<Program>,
    is_wanted: impl Fn(&str) -> bool,
) -> Vec<(String, Outcome<String>)> {
    let program = program.as_ref().map_err(Clone::clone);
    let mut server = program.and_then(|it| Server::start(it, &[]));
    let one = |&(case, check): &(&str, Check)| {
        let outcome = match &mut server {
            Err(why) => Err(why.clone()),
            Ok(server) => check(server.address)
                // That it still serves is part of every case.
                .and_then(|()| Socket::open(server.address)?.echo(TEXT, b"still there?"))
                .and_then(|()| server.check_alive())
                .and_then(|()| server.check_log()),
        };
        let case = format!("websocket: {case}");
        (case, outcome.map(|()| "ok".into()))
    };
    let wanted = CASES.iter().filter(|(case, _)| is_wanted(case));
    wanted.map(one).collect()
}

type Check = fn(SocketAddr) -> Outcome;

const CASES: &[(&str, Check)] = &[
    ("handshake", handshake),
    (NO_HANDSHAKE, no_handshake),
    ("echo of 0 B to 1 MB", sizes),
    ("a frame with the handshake", early),
    ("a frame byte by byte", byte_by_byte),
    ("fragments, a ping between", fragments),
    ("ping", ping),
    ("close", close),
    ("an end without a close frame", end),
    ("not masked", not_masked),
    ("a message that is too large", too_large),
    ("100 that take turns", many),
    ("100 resets", resets),
    ("too many that announce 4 MiB", too_many),
];

fn handshake(address: SocketAddr) -> Outcome {
    // The second is the base64 of the bytes 0 to 15.
    let others = "Bz3qJYTGdOe8gUSpLosEdiLKDrk=";
    for (key, accept) in [(KEY, ACCEPT), ("AAECAwQFBgcICQoLDA0ODw==", others)] {
        let mut client = Client::connect(address)?;
        client.send(request(key))?;
        check_open(&client.any_response()?, accept)?;
    }
    Ok(())
}

/// A request that isn't a valid opening handshake gets 426, and the connection stays open.
fn no_handshake(address: SocketAddr) -> Outcome {
    let right = request(KEY);
    let mut client = Client::connect(address)?;
    for wrong in [
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        right.replace("Version: 13", "Version: 12"),
        right.replace(KEY, "short"),
        right.replace("Upgrade: websocket", "Upgrade: h2c"),
        right.replace("keep-alive, Upgrade", "keep-alive"),
        right.replace("GET", "DELETE"),
    ] {
        client.send(&wrong)?;
        let response = client.response()?;
        let says_how = response.values("Sec-WebSocket-Version").eq(["13"]);
        ensure!(
            response.status == 426 && says_how,
            "the response to {wrong:?} is:\n{}",
            response.head
        );
    }
    Socket::open_with(client, &[])?.echo(TEXT, b"after all")
}

/// Lengths around the limits of the three forms of a length, and one that takes many reads.
fn sizes(address: SocketAddr) -> Outcome {
    let mut random = Random::new(1);
    let mut socket = Socket::open(address)?;
    for size in [0, 1, 125, 126, 65_535, 65_536, 1_000_000] {
        socket.echo(BINARY, &random.bytes(size))?;
        socket.echo(TEXT, "x".repeat(size).as_bytes())?;
    }
    Ok(())
}

/// hyper has read the frame together with the request, and must pass it on.
fn early(address: SocketAddr) -> Outcome {
    let client = Client::connect(address)?;
    let mut socket = Socket::open_with(client, &frame(TEXT, b"early"))?;
    socket.expect(TEXT, b"early")
}

fn byte_by_byte(address: SocketAddr) -> Outcome {
    let mut socket = Socket::open(address)?;
    let message = "0123456789".repeat(20);
    for byte in frame(TEXT, message.as_bytes()) {
        socket.send_raw(&[byte])?;
    }
    socket.expect(TEXT, message.as_bytes())
}

fn fragments(address: SocketAddr) -> Outcome {
    let mut socket = Socket::open(address)?;
    socket.send_raw(&part(TEXT, b"one, "))?;
    socket.send(PING, b"between")?;
    socket.expect(PONG, b"between")?;
    socket.send_raw(&part(CONTINUATION, b"two, "))?;
    socket.send(CONTINUATION, b"three")?;
    socket.expect(TEXT, b"one, two, three")
}

fn ping(address: SocketAddr) -> Outcome {
    let mut socket = Socket::open(address)?;
    for payload in [&b""[..], b"are you there?", &[b'x'; 125]] {
        socket.send(PING, payload)?;
        socket.expect(PONG, payload)?;
    }
    // An unsolicited pong gets no response.
    socket.send(PONG, b"unasked")?;
    socket.echo(TEXT, b"after it")
}

/// The close frame comes back with its code, and then the connection is closed.
fn close(address: SocketAddr) -> Outcome {
    let mut socket = Socket::open(address)?;
    socket.echo(TEXT, b"a message")?;
    // 1000: normal closure.
    let normal = 1000_u16.to_be_bytes();
    socket.send(CLOSE, &normal)?;
    socket.expect(CLOSE, &normal)?;
    socket.into_client().check_end()
}

/// What was sent before is served.
fn end(address: SocketAddr) -> Outcome {
    let mut socket = Socket::open(address)?;
    socket.send(TEXT, b"the last")?;
    let mut client = socket.into_client();
    client.half_close()?;
    let came = client.swallow(usize::MAX, PATIENCE);
    // The frame's head has two bytes.
    ensure!(
        came == 2 + 8,
        "{came} bytes came instead of the last message"
    );
    Ok(())
}

/// RFC 6455 §5.1: the server must close the connection.
fn not_masked(address: SocketAddr) -> Outcome {
    ends_at(address, b"\x81\x02hi")
}

/// The frame is refused because of its head, before its payload arrives. The example permits 4 MiB; the library that
/// it uses would permit more.
fn too_large(address: SocketAddr) -> Outcome {
    let mut sent = head(BINARY, (4 << 20) + 1);
    // The mask.
    sent.extend([0; 4]);
    ends_at(address, &sent)
}

/// Fails unless the server closes the connection after these bytes, without sending data. A reset is permitted, too.
fn ends_at(address: SocketAddr, bytes: &[u8]) -> Outcome {
    let mut socket = Socket::open(address)?;
    socket.send_raw(bytes)?;
    let mut client = socket.into_client();
    let start = std::time::Instant::now();
    // Only a close frame, with a code and a reason, may come.
    let came = client.swallow(usize::MAX, PATIENCE);
    ensure!(start.elapsed() < PATIENCE, "the connection doesn't end");
    ensure!(came <= 2 + 125, "{came} bytes came");
    Ok(())
}

fn many(address: SocketAddr) -> Outcome {
    let mut sockets = Vec::new();
    for _ in 0..100 {
        sockets.push(Socket::open(address)?);
    }
    for round in 0..3 {
        let text = |number: usize| format!("{number} in round {round}");
        for (number, socket) in sockets.iter_mut().enumerate() {
            socket.send(TEXT, text(number).as_bytes())?;
        }
        for (number, socket) in sockets.iter_mut().enumerate() {
            socket.expect(TEXT, text(number).as_bytes())?;
        }
    }
    Ok(())
}

/// Clients that disappear within a frame, with a message unread.
fn resets(address: SocketAddr) -> Outcome {
    for _ in 0..100 {
        let mut socket = Socket::open(address)?;
        socket.send(TEXT, b"unread")?;
        socket.send_raw(&frame(TEXT, b"unfinished")[..7])?;
        socket.into_client().reset()?;
    }
    Ok(())
}

/// The library that the examples use reserves memory for a message when its head arrives. So they bound the number of
/// WebSockets: they permit 128.
fn too_many(address: SocketAddr) -> Outcome {
    const COUNT: usize = 140;
    let mut announced = head(BINARY, 4 << 20);
    // The mask.
    announced.extend([0; 4]);
    let (mut clients, mut refused) = (Vec::new(), 0);
    for _ in 0..COUNT {
        let mut client = Client::connect(address)?;
        client.send(request(KEY))?;
        match client.any_response()?.status {
            101 => client.send(&announced)?,
            503 => refused += 1,
            status => return Err(format!("a handshake gets {status}")),
        }
        clients.push(client);
    }
    ensure!(
        (1..COUNT).contains(&refused),
        "{refused} of {COUNT} are refused"
    );
    drop(clients);
    // When the server has seen that they have gone, there is room again.
    let open = within(PATIENCE, || Socket::open(address).ok());
    open.map(drop)
        .ok_or_else(|| "no room for another one".into())
}
