//! Clients that misbehave, or disappear.

use std::io;
use std::task::Context;

use mini_http::body::AnyBody;
use mini_http::http::Request;
use mini_http::{Response, Server};

use super::*;

/// The longest ping: with a head of two bytes, and a mask of zeros.
const PING: [u8; 6 + 125] = {
    let mut ping = [0; 6 + 125];
    [ping[0], ping[1]] = [0x89, 0x80 | 125];
    ping
};

struct Client {
    /// What it sends. Then it is silent.
    input: Vec<u8>,
    /// How much of that was read.
    read: usize,
    /// What it has taken.
    output: Vec<u8>,
    takes: bool,
}

impl Client {
    fn new(input: &[u8]) -> Self {
        Self {
            input: input.into(),
            read: 0,
            output: Vec::new(),
            takes: true,
        }
    }
}

impl AsyncRead for Client {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let rest = &self.input[self.read..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.read += count;
        match count {
            0 => Poll::Pending,
            count => Poll::Ready(Ok(count)),
        }
    }
}

impl AsyncWrite for Client {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !self.takes {
            return Poll::Pending;
        }
        self.output.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What the client has taken when its WebSocket ends. In virtual time.
fn output(client: Client) -> Vec<u8> {
    let server = Server::new("127.0.0.1:0").expect("a port");
    let mut stopping = server.handle().stopping();
    let handler = async move |_| {
        let mut socket = Socket::new(client).await;
        let end = socket.next(&mut stopping, std::future::pending::<()>());
        assert!(matches!(end.await, Ok(Event::End)));
        let output = std::mem::take(&mut socket.stream.get_mut().output);
        Response::new(AnyBody::from(output))
    };
    mini_http::test::run(handler, Request::new(()))
        .into_body()
        .into()
}

#[test]
fn a_client_learns_what_was_wrong() {
    for (frame, code) in [
        // A text with the byte 255; not masked; a bit that no extension defines; a fragment of nothing; too long.
        (&b"\x81\x81\0\0\0\0\xff"[..], 1007_u16),
        (b"\x81\x02hi", 1002),
        (b"\xc1\x80\0\0\0\0", 1002),
        (b"\x80\x80\0\0\0\0", 1002),
        (b"\x82\xff\0\0\0\0\0\x40\0\x01\0\0\0\0", 1009),
    ] {
        let close = [&[0x88, 2][..], &code.to_be_bytes()].concat();
        assert_eq!(output(Client::new(frame)), close, "{frame:?}");
    }
}

#[test]
fn a_client_that_is_silent_for_long_has_gone() {
    assert_eq!(output(Client::new(b"")), [0x89, 0]);
    // With a pong it is there for another minute.
    let pong = b"\x8a\x80\0\0\0\0";
    assert_eq!(output(Client::new(pong)), [0x89, 0]);
}

/// However many pings it sends.
#[test]
fn pongs_that_are_not_taken_are_bounded() {
    const PINGS: usize = 2 * MAX_WAITING / PING.len();
    let client = Client {
        takes: false,
        ..Client::new(&PING.repeat(PINGS))
    };
    let mut socket = Socket::new(client).now_or_never().expect("no handshake");
    for _ in 0..PINGS {
        let ping = socket.stream.next().now_or_never();
        assert!(matches!(ping, Some(Some(Ok(Message::Ping(_))))));
    }
    socket.stream.get_mut().takes = true;
    assert!(socket.stream.next().now_or_never().is_none());
    let taken = socket.stream.get_ref().output.len();
    // The last ping has its pong in any case.
    let is_bounded = taken > 0 && taken <= MAX_WAITING + PING.len();
    assert!(is_bounded, "{taken} bytes waited");
}
