//! The load of the scenario `fan-out`: event streams, and a connection that publishes.
//!
//! The client never sleeps while a message is on its way: otherwise the server would have to wake it again and again,
//! at the server's expense.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use interop::{Outcome, ensure};

use super::wrk::Measured;

/// Open streams, and the connection on which messages are published.
pub(super) struct Streams {
    streams: Vec<TcpStream>,
    publisher: interop::Client,
    /// The first message with its chunk framing. All others must be the same.
    chunk: Vec<u8>,
}

/// If a message doesn't arrive within this time, it never does.
const PATIENCE: Duration = Duration::from_secs(20);
/// More than the head of a response, and than a message.
const ROOM: usize = 1024;

impl Streams {
    /// Opens this many streams, and publishes the first message.
    pub(super) fn open(address: SocketAddr, count: usize) -> Outcome<Self> {
        let streams = (0..count).map(|_| open(address)).collect::<Outcome<_>>()?;
        let mut all = Self {
            streams,
            publisher: interop::Client::connect(address)?,
            chunk: Vec::new(),
        };
        all.publish()?;
        let first = all.streams.first().ok_or("no streams")?;
        let mut buffer = [0; ROOM];
        let count = read(first, &mut buffer)?;
        all.chunk = buffer[..count].to_vec();
        ensure!(all.chunk.ends_with(b"\n\n\r\n"), "{:?}", all.chunk);
        all.receive(1)?;
        Ok(all)
    }

    /// Publishes one message after the other, each when all streams have the one before. What is counted is a message
    /// on one stream.
    pub(super) fn run(&mut self, duration: Duration) -> Outcome<Measured> {
        let start = Instant::now();
        let mut times = Vec::new();
        while start.elapsed() < duration {
            let published = Instant::now();
            self.publish()?;
            self.receive(0)?;
            times.push(published.elapsed());
        }
        Ok(Measured::of(times, self.streams.len(), start.elapsed()))
    }

    fn publish(&mut self) -> Outcome {
        self.publisher
            .send("POST /publish HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    }

    /// Receives a message on the streams from this index on, and the response to the request that published it.
    fn receive(&mut self, from: usize) -> Outcome {
        let mut buffer = [0; ROOM];
        for stream in &self.streams[from..] {
            let count = read(stream, &mut buffer)?;
            ensure!(
                buffer[..count] == self.chunk,
                "a stream got another message than expected"
            );
        }
        self.publisher.response()?.check(b"")
    }
}

/// Opens a stream.
fn open(address: SocketAddr) -> Outcome<TcpStream> {
    let mut stream = TcpStream::connect(address).map_err(|e| format!("connecting: {e}"))?;
    stream
        .set_nonblocking(true)
        .and_then(|()| stream.write_all(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n"))
        .map_err(|e| format!("a stream: {e}"))?;
    let mut buffer = [0; ROOM];
    let count = read(&stream, &mut buffer)?;
    let head = String::from_utf8_lossy(&buffer[..count]);
    let is_head = head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n");
    ensure!(is_head, "no stream begins with {head:?}");
    Ok(stream)
}

/// Reads once, as soon as something is there.
fn read(mut stream: &TcpStream, buffer: &mut [u8]) -> Outcome<usize> {
    let start = Instant::now();
    loop {
        match stream.read(buffer) {
            Ok(0) => return Err("a stream has ended".into()),
            Ok(count) => return Ok(count),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(format!("a stream: {error}")),
        }
        ensure!(start.elapsed() < PATIENCE, "a stream has no message");
    }
}
