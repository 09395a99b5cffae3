//! [`Client`]: one connection of the load generator.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use interop::{Outcome, ensure};

/// The request of all runs.
pub(crate) fn get() -> &'static [u8] {
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
}

/// A request with a body of this length.
pub(crate) fn post(length: usize) -> Vec<u8> {
    let mut request =
        format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n")
            .into_bytes();
    request.resize(request.len() + length, b'x');
    request
}

/// A persistent connection with at most one outstanding request.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    /// When the last request was sent.
    sent: Instant,
    /// The length of a response. It is known after the first one; all have the same.
    length: Option<usize>,
    received: usize,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Outcome<Self> {
        let stream = TcpStream::connect(address).map_err(|e| format!("connect: {e}"))?;
        stream
            .set_nodelay(true)
            .and_then(|()| stream.set_nonblocking(true))
            .map_err(|e| format!("a client's socket: {e}"))?;
        Ok(Self {
            stream,
            sent: Instant::now(),
            length: None,
            received: 0,
        })
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends a complete request.
    pub(crate) fn ask(&mut self, request: &[u8]) -> Outcome {
        self.sent = Instant::now();
        self.received = 0;
        match self.stream.write(request) {
            Ok(written) if written == request.len() => return Ok(()),
            Ok(written) => self.send_rest(&request[written..]),
            Err(e) => Err(e),
        }
        .map_err(|e| format!("a request can't be sent: {e}"))
    }

    /// Sends the rest of a request that doesn't fit into the socket's buffer.
    fn send_rest(&mut self, rest: &[u8]) -> std::io::Result<()> {
        self.stream.set_nonblocking(false)?;
        self.stream.set_write_timeout(Some(super::PATIENCE))?;
        self.stream.write_all(rest)?;
        self.stream.set_nonblocking(true)
    }

    /// Reads available bytes of the response. Returns how long it took, if it is complete.
    pub(crate) fn response(&mut self, buffer: &mut [u8]) -> Outcome<Option<Duration>> {
        let count = match self.stream.read(&mut buffer[self.received..]) {
            Ok(0) => return Err("a connection was closed".into()),
            Ok(count) => count,
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(e) => return Err(format!("a response can't be read: {e}")),
        };
        let received = self.received + count;
        if self.received == 0 {
            let ok = b"HTTP/1.1 200 ";
            ensure!(
                count >= ok.len() && buffer.starts_with(ok),
                "a response isn't 200: {}",
                String::from_utf8_lossy(&buffer[..count.min(100)])
            );
            if self.length.is_none() {
                self.length = Some(length(&buffer[..count])?);
            }
        }
        self.received = received;
        match self.length {
            Some(length) if received > length => Err("there is more than one response".into()),
            Some(length) if received == length => Ok(Some(self.sent.elapsed())),
            _ => Ok(None),
        }
    }

    /// Fails if the server has closed it.
    pub(crate) fn check_open(&self, byte: &mut [u8; 1]) -> Outcome {
        match self.stream.peek(byte) {
            Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(()),
            Ok(_) | Err(_) => Err("an idle connection was closed".into()),
        }
    }
}

/// The length of a response whose head is complete. (It is small, so it comes in one piece.)
fn length(response: &[u8]) -> Outcome<usize> {
    let text = String::from_utf8_lossy(response);
    let (head, _) = text
        .split_once("\r\n\r\n")
        .ok_or("the head is incomplete")?;
    let body = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().ok())?
    });
    let body = body.ok_or_else(|| format!("no Content-Length in {head}"))?;
    Ok(head.len() + 4 + body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_responses_length_is_that_of_its_head_and_its_body() {
        let response = b"HTTP/1.1 200 OK\r\ncontent-LENGTH: 5\r\n\r\nhel";
        assert_eq!(length(response), Ok(response.len() + 2));
        assert!(length(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
