//! [`Upstream`]: the server behind the proxy, which does what the path of a request says.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::Outcome;
use crate::client::{PATIENCE, checksum};

/// The length of the large bodies.
pub(super) const LARGE: usize = 10_000_000;
/// How many pieces `/slow` has.
pub(super) const PIECES: usize = 4;

/// How long an event may take. The proxy itself gives up after a minute.
const SEEN_WITHIN: Duration = Duration::from_secs(30);

/// A server in threads, which live as long as the process.
pub(super) struct Upstream {
    pub(super) address: SocketAddr,
    events: Mutex<Receiver<Event>>,
    /// For each message, `/slow` sends its next piece, or `/late` its response.
    go_on: Sender<()>,
}

/// What the threads share.
#[derive(Clone)]
struct Shared {
    events: Sender<Event>,
    may_go_on: Arc<Mutex<Receiver<()>>>,
}

impl Shared {
    fn wait(&self) -> io::Result<()> {
        let messages = self
            .may_go_on
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let message = messages.recv_timeout(PATIENCE);
        message.map_err(|_| io::ErrorKind::TimedOut.into())
    }
}

/// What happens to requests for `/silent` and `/endless`.
#[derive(Debug, PartialEq)]
enum Event {
    Begins,
    Ends,
}

impl Upstream {
    pub(super) fn start() -> Outcome<Self> {
        let listen = || {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            Ok((listener.local_addr()?, listener))
        };
        let (address, listener) = listen().map_err(|e: io::Error| e.to_string())?;
        let (sender, events) = channel();
        let (go_on, may_go_on) = channel();
        let shared = Shared {
            events: sender,
            may_go_on: Arc::new(Mutex::new(may_go_on)),
        };
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                // A connection that fails just ends.
                thread::spawn(move || serve(stream, &shared));
            }
        });
        Ok(Self {
            address,
            events: Mutex::new(events),
            go_on,
        })
    }

    /// Has `/slow` send its next piece, or `/late` respond.
    pub(super) fn go_on(&self) {
        // The receiver lives as long as the process.
        let _ = self.go_on.send(());
    }

    pub(super) fn await_begin(&self) -> Outcome {
        self.await_event(&Event::Begins)
    }

    /// Waits until the connection of a client that is gone has ended.
    pub(super) fn await_end(&self) -> Outcome {
        self.await_event(&Event::Ends)
    }

    fn await_event(&self, event: &Event) -> Outcome {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        match events.recv_timeout(SEEN_WITHIN) {
            Ok(came) if came == *event => Ok(()),
            other => Err(format!("upstream: {other:?} instead of {event:?}")),
        }
    }
}

/// The body of `/down`.
pub(super) fn pattern() -> Vec<u8> {
    (0..LARGE).map(|at| (at / 251 + at) as u8).collect()
}

fn serve(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let (head, mut body) = head(&mut stream)?;
    let target = head.split(' ').nth(1).unwrap_or_default();
    match target.split('?').next().unwrap_or_default() {
        "/down" => respond(&mut stream, "", &pattern()),
        "/up" => {
            let mut rest = vec![0; LARGE - body.len()];
            stream.read_exact(&mut rest)?;
            body.extend(rest);
            respond(&mut stream, "", checksum(&body).to_string().as_bytes())
        }
        "/both" => {
            // Without the field it responds before it has the body.
            if head.contains("x-wait") {
                while !body.ends_with(b"0\r\n\r\n") {
                    more(&mut stream, &mut body)?;
                }
            }
            stream.write_all(CHUNKED)?;
            // The chunks go back as they are.
            while !body.ends_with(b"0\r\n\r\n") {
                stream.write_all(&body)?;
                body.clear();
                more(&mut stream, &mut body)?;
            }
            stream.write_all(&body)
        }
        "/slow" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n")?;
            for _ in 0..PIECES {
                shared.wait()?;
                stream.write_all(b"piece")?;
            }
            Ok(())
        }
        "/late" => {
            shared.wait()?;
            respond(&mut stream, "", b"late")
        }
        "/fields" => {
            let fields =
                "X-Upstream: told\r\nX-Hop: 1\r\nConnection: x-hop\r\nKeep-Alive: timeout=5\r\n";
            respond(&mut stream, fields, head.as_bytes())
        }
        "/dies" => Ok(()),
        "/nonsense" => stream.write_all(b"this is not HTTP\r\n\r\n"),
        // To a protocol for which the client hasn't asked.
        "/switches" => stream.write_all(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        ),
        "/truncated" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789")
        }
        "/truncated-chunks" => {
            stream.write_all(CHUNKED)?;
            stream.write_all(b"a\r\n0123456789\r\n")
        }
        silent => {
            if silent == "/endless" {
                stream.write_all(CHUNKED)?;
                stream.write_all(b"a\r\n0123456789\r\n")?;
            }
            let _ = shared.events.send(Event::Begins);
            // The end may be a reset.
            while stream.read(&mut [0; 1024]).is_ok_and(|count| count > 0) {}
            let _ = shared.events.send(Event::Ends);
            Ok(())
        }
    }
}

const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// The head of a request, and what has come behind it.
fn head(stream: &mut TcpStream) -> io::Result<(String, Vec<u8>)> {
    let mut all = Vec::new();
    loop {
        more(stream, &mut all)?;
        if let Some(end) = all.windows(4).position(|window| window == b"\r\n\r\n") {
            let body = all.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&all).into_owned(), body));
        }
    }
}

fn more(stream: &mut TcpStream, all: &mut Vec<u8>) -> io::Result<()> {
    let mut buffer = [0; 16 << 10];
    match stream.read(&mut buffer)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        count => {
            all.extend_from_slice(&buffer[..count]);
            Ok(())
        }
    }
}

fn respond(stream: &mut TcpStream, fields: &str, body: &[u8]) -> io::Result<()> {
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\n{fields}Content-Length: {length}\r\n\r\n"
    )?;
    stream.write_all(body)
}
