//! [`Client`]: a raw connection that sends any bytes and reads responses.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};

use crate::{Outcome, ensure};

/// How long a client waits for a connection, for room to write, or for a response. Long, because some checks run at
/// idle priority beside others: a program that needs a second of processor time may then get it only within minutes.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A connection under full control.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    /// Bytes that were read, but are not yet part of a response.
    buffer: Vec<u8>,
    /// Whether anything came since it last sent.
    has_received: bool,
    /// How long it pauses after each read.
    pause: Duration,
}

/// A response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The head as it was received, without the empty line.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// The values of a field, in their order.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        values(&self.head, name)
    }

    /// Fails unless the status is 200 and the body is this one.
    ///
    /// # Errors
    /// What was received instead.
    pub fn check(&self, body: &[u8]) -> Outcome {
        ensure!(
            self.status == 200,
            "the response is {}:\n{}",
            self.status,
            self.head
        );
        same(&self.body, body)
    }
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// Those of the system, and when it takes longer than [`PATIENCE`].
    pub fn connect(address: SocketAddr) -> Outcome<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)
            .map_err(|e| format!("connecting: {e}"))?;
        Self::set_up(stream)
    }

    /// Connects with such a small receive buffer, and reads so slowly, that many of the server's writes are short.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub fn connect_slow(address: SocketAddr) -> Outcome<Self> {
        let connect = || -> io::Result<Socket> {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
            // Before connecting, because it limits TCP's window.
            socket.set_recv_buffer_size(4096)?;
            socket.connect_timeout(&address.into(), PATIENCE)?;
            Ok(socket)
        };
        let socket = connect().map_err(|e| format!("connecting: {e}"))?;
        Ok(Self {
            pause: Duration::from_micros(100),
            ..Self::set_up(socket.into())?
        })
    }

    fn set_up(stream: TcpStream) -> Outcome<Self> {
        let set_up = || -> io::Result<()> {
            // So that separate writes arrive separately.
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))
        };
        set_up().map_err(|e| format!("setting up a socket: {e}"))?;
        Ok(Self {
            stream,
            buffer: Vec::new(),
            has_received: false,
            pause: Duration::ZERO,
        })
    }

    /// Its own address.
    ///
    /// # Errors
    /// Those of the system.
    pub fn address(&self) -> Outcome<SocketAddr> {
        self.stream
            .local_addr()
            .map_err(|e| format!("the address of a client: {e}"))
    }

    /// Sends all these bytes.
    ///
    /// # Errors
    /// Those of the system, and when there is no room for longer than [`PATIENCE`].
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> Outcome {
        self.has_received = false;
        self.stream
            .write_all(bytes.as_ref())
            .map_err(|e| format!("sending: {e}"))
    }

    /// The same connection, so that another thread can send while this one reads.
    ///
    /// # Errors
    /// Those of the system.
    pub fn sender(&self) -> Outcome<TcpStream> {
        self.stream.try_clone().map_err(|e| format!("cloning: {e}"))
    }

    /// Whether anything came since it last sent.
    #[must_use]
    pub fn has_received(&self) -> bool {
        self.has_received
    }

    /// Whether the server has neither closed the connection nor sent anything, as far as is known here.
    #[must_use]
    pub fn is_open(&self) -> bool {
        let is_silent = |e: io::Error| e.kind() == io::ErrorKind::WouldBlock;
        self.buffer.is_empty() && self.peek().is_err_and(is_silent)
    }

    /// Whether the server has closed the connection, and everything that it had sent was read.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.buffer.is_empty() && self.peek().is_ok_and(|count| count == 0)
    }

    fn peek(&self) -> io::Result<usize> {
        self.stream.set_nonblocking(true)?;
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false)?;
        peeked
    }

    /// Reads the next final response, to a request other than HEAD. Skips interim responses (1xx).
    ///
    /// # Errors
    /// When none comes, or it isn't one.
    pub fn response(&mut self) -> Outcome<Response> {
        loop {
            let response = self.any_response()?;
            if response.status >= 200 {
                return Ok(response);
            }
        }
    }

    /// Reads the next response, interim or final, to a request other than HEAD.
    ///
    /// # Errors
    /// When none comes, or it isn't one.
    pub fn any_response(&mut self) -> Outcome<Response> {
        let Response { status, head, .. } = self.response_head()?;
        let lengths: Vec<_> = values(&head, "content-length").collect();
        let length: Option<usize> = match lengths[..] {
            [] => None,
            [length] => Some(
                length
                    .parse()
                    .map_err(|e| format!("Content-Length '{length}': {e}"))?,
            ),
            _ => return Err(format!("several Content-Length in {head:?}")),
        };
        let length = if matches!(status, 100..200 | 204 | 304) {
            ensure!(
                length.is_none() || status == 304,
                "a Content-Length in a {status}"
            );
            0
        } else {
            length.ok_or_else(|| format!("no Content-Length in {head:?}"))?
        };
        let body = self.take(length).map_err(|why| format!("a body: {why}"))?;
        Ok(Response { status, head, body })
    }

    /// Reads the head of the next response. For a HEAD request, this is the whole response.
    ///
    /// # Errors
    /// When none comes, or it isn't one.
    pub fn response_head(&mut self) -> Outcome<Response> {
        let end = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end;
            }
            ensure!(
                self.read_more()? > 0,
                "the connection ended where the head of a response should be; before that came {:?}",
                String::from_utf8_lossy(&self.buffer)
            );
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.drain(..end + 4);
        let status = head
            .strip_prefix("HTTP/1.")
            .and_then(|rest| rest.get(2..5)?.parse().ok())
            .ok_or_else(|| format!("this is not a response: {head:?}"))?;
        Ok(Response {
            status,
            head,
            body: Vec::new(),
        })
    }

    /// Reads exactly this many bytes.
    ///
    /// # Errors
    /// When the connection ends before, or nothing comes for longer than [`PATIENCE`].
    pub fn take(&mut self, count: usize) -> Outcome<Vec<u8>> {
        while self.buffer.len() < count {
            ensure!(
                self.read_more()? > 0,
                "the connection ended after {} of {count} bytes",
                self.buffer.len()
            );
        }
        Ok(self.buffer.drain(..count).collect())
    }

    /// Reads to the end of these bytes, and drops all up to there.
    ///
    /// # Errors
    /// When the connection ends before, or nothing comes for longer than [`PATIENCE`].
    pub fn read_until(&mut self, end: &[u8]) -> Outcome {
        loop {
            if let Some(start) = find(&self.buffer, end) {
                self.buffer.drain(..start + end.len());
                return Ok(());
            }
            let so_far = String::from_utf8_lossy(&self.buffer).into_owned();
            ensure!(
                self.read_more()? > 0,
                "the connection ended after {so_far:?}"
            );
        }
    }

    /// Reads all that comes up to the end of the stream.
    ///
    /// # Errors
    /// When the connection is reset, or nothing comes for longer than [`PATIENCE`].
    pub fn rest(&mut self) -> Outcome<Vec<u8>> {
        while self.read_more()? > 0 {}
        Ok(std::mem::take(&mut self.buffer))
    }

    /// Reads once into the buffer. Returns 0 at the end of the stream.
    fn read_more(&mut self) -> Outcome<usize> {
        let mut chunk = [0; 16 * 1024];
        let count = loop {
            match self.stream.read(&mut chunk) {
                // Linux interrupts a read with a timeout when the process is stopped and goes on.
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                result => break result.map_err(|e| format!("reading: {e}"))?,
            }
        };
        self.buffer.extend_from_slice(&chunk[..count]);
        self.has_received |= count > 0;
        std::thread::sleep(self.pause);
        Ok(count)
    }

    /// Reads and drops at most `limit` bytes, for at most the given time. Returns how many came. An error
    /// counts as the end of the stream.
    pub fn swallow(&mut self, limit: usize, time: Duration) -> usize {
        let end = Instant::now() + time;
        let mut total = 0;
        let mut chunk = [0; 16 * 1024];
        while total < limit {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || self.stream.set_read_timeout(Some(left)).is_err() {
                break;
            }
            let room = chunk.len().min(limit - total);
            match self.stream.read(&mut chunk[..room]) {
                Ok(0) | Err(_) => break,
                Ok(count) => total += count,
            }
        }
        // Setting it has worked before, with another value.
        let _ = self.stream.set_read_timeout(Some(PATIENCE));
        total
    }

    /// Fails unless the server closes the connection now, without a reset and without sending more.
    ///
    /// # Errors
    /// With what came instead.
    pub fn check_end(&mut self) -> Outcome {
        let count = self.read_more()?;
        ensure!(
            count == 0 && self.buffer.is_empty(),
            "where the connection should end came {:?}",
            String::from_utf8_lossy(&self.buffer)
        );
        Ok(())
    }

    /// Shuts down sending. Responses can still be read.
    ///
    /// # Errors
    /// Those of the system.
    pub fn half_close(&mut self) -> Outcome {
        self.stream
            .shutdown(Shutdown::Write)
            .map_err(|e| format!("half-closing: {e}"))
    }

    /// Resets the connection (RST).
    ///
    /// # Errors
    /// Those of the system.
    pub fn reset(self) -> Outcome {
        SockRef::from(&self.stream)
            .set_linger(Some(Duration::ZERO))
            .map_err(|e| format!("setting SO_LINGER: {e}"))
        // With this option, closing resets the connection.
    }
}

/// The values of a field in a head.
fn values<'a>(head: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    head.lines().skip(1).filter_map(move |line| {
        let (field, value) = line.split_once(':')?;
        field.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

/// Where `needle` begins.
fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

/// Fails unless both are the same bytes. The error says where they begin to differ, and shows only a few bytes.
///
/// # Errors
/// With the difference.
pub fn same(got: &[u8], expected: &[u8]) -> Outcome {
    if got == expected {
        return Ok(());
    }
    let first = got.iter().zip(expected).take_while(|(a, b)| a == b).count();
    let shown = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
    Err(format!(
        "{} bytes came where {} should; they differ from byte {first} on: {:?}, should be {:?}",
        got.len(),
        expected.len(),
        shown(&got[first..]),
        shown(&expected[first..])
    ))
}

/// A checksum (FNV-1a, 64 bits).
#[must_use]
pub fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// A client, and the other end of its connection.
    fn pair() -> (Client, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let client = Client::connect(listener.local_addr().expect("bound")).expect("listening");
        (client, listener.accept().expect("connected").0)
    }

    #[test]
    fn responses_are_read_one_after_the_other() {
        let (mut client, mut server) = pair();
        let sent = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nabHTTP/1.1 404 \
                    Not Found\r\nContent-Length: 0\r\nX: 1\r\nx: 2\r\n\r\n";
        server.write_all(sent.as_bytes()).expect("room");
        drop(server);
        client
            .response()
            .expect("the first")
            .check(b"ab")
            .expect("as sent");
        let second = client.response().expect("the second");
        assert_eq!((second.status, second.body.len()), (404, 0));
        assert_eq!(second.values("X").collect::<Vec<_>>(), ["1", "2"]);
        client.check_end().expect("the end");
        assert!(client.response().is_err());
    }

    #[test]
    fn ambiguous_or_truncated_responses_are_errors() {
        for sent in [
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",
            "HTTP/1.1 200 OK\r\n\r\nab",
            "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
            "hello!\r\n\r\n",
        ] {
            let (mut client, mut server) = pair();
            server.write_all(sent.as_bytes()).expect("room");
            drop(server);
            assert!(client.response().is_err(), "{sent:?}");
        }
    }

    #[test]
    fn the_end_of_a_connection_is_seen_without_reading() {
        let (mut client, mut server) = pair();
        assert!(client.is_open() && !client.has_ended());
        server.write_all(b"x").expect("room");
        drop(server);
        client.stream.peek(&mut [0]).expect("what was sent");
        assert!(!client.is_open() && !client.has_ended());
        client.take(1).expect("what was sent");
        client.stream.peek(&mut [0]).expect("the end");
        assert!(!client.is_open() && client.has_ended());
    }

    #[test]
    fn a_reset_reaches_the_peer_as_a_reset() {
        let (mut client, mut server) = pair();
        client.send("x").expect("room");
        client.reset().expect("a socket");
        let mut all = Vec::new();
        let error = server.read_to_end(&mut all).expect_err("no orderly end");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
}
