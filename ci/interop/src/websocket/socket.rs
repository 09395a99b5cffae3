//! A minimal WebSocket client (RFC 6455), which sends and reads one frame at a time.

use std::net::SocketAddr;

use crate::client::{Client, Response, same};
use crate::{Outcome, ensure};

/// The opcodes (section 5.2).
pub(super) const CONTINUATION: u8 = 0;
pub(super) const TEXT: u8 = 1;
pub(super) const BINARY: u8 = 2;
pub(super) const CLOSE: u8 = 8;
pub(super) const PING: u8 = 9;
pub(super) const PONG: u8 = 10;

/// The bit of the first byte that marks the last frame of a message.
const LAST: u8 = 0x80;

/// The bit of the second byte that marks a masked frame.
const MASKED: u8 = 0x80;

/// A client must mask its frames (section 5.3). In a test, any four bytes will do.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// The key of the RFC's example (section 1.3), and what the server must return for it.
pub(super) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub(super) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// An open WebSocket.
pub(super) struct Socket {
    client: Client,
}

impl Socket {
    /// Connects, and opens a WebSocket.
    pub(super) fn open(address: SocketAddr) -> Outcome<Self> {
        Self::open_with(Client::connect(address)?, &[])
    }

    /// Opens one on a connection. Sends `early` right after the request.
    pub(super) fn open_with(mut client: Client, early: &[u8]) -> Outcome<Self> {
        let mut sent = request(KEY).into_bytes();
        sent.extend_from_slice(early);
        client.send(&sent)?;
        check_open(&client.any_response()?, ACCEPT)?;
        Ok(Self { client })
    }

    /// Sends a message in one frame.
    pub(super) fn send(&mut self, opcode: u8, payload: &[u8]) -> Outcome {
        self.client.send(frame(opcode, payload))
    }

    /// Sends any bytes.
    pub(super) fn send_raw(&mut self, bytes: &[u8]) -> Outcome {
        self.client.send(bytes)
    }

    /// Fails unless the next frame is this complete message.
    pub(super) fn expect(&mut self, opcode: u8, payload: &[u8]) -> Outcome {
        let (first, came) = self.receive()?;
        ensure!(
            first == LAST | opcode,
            "a frame begins with {first:#04x} instead of {:#04x}",
            LAST | opcode
        );
        same(&came, payload)
    }

    /// Fails unless a message comes back.
    pub(super) fn echo(&mut self, opcode: u8, payload: &[u8]) -> Outcome {
        self.send(opcode, payload)?;
        self.expect(opcode, payload)
            .map_err(|why| format!("{} bytes with opcode {opcode}: {why}", payload.len()))
    }

    /// The underlying connection.
    pub(super) fn into_client(self) -> Client {
        self.client
    }

    /// Reads a frame: its first byte, and its payload.
    fn receive(&mut self) -> Outcome<(u8, Vec<u8>)> {
        let head = self.client.take(2)?;
        ensure!(head[1] & MASKED == 0, "a server's frame is masked");
        let more = match head[1] {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let length = match more {
            0 => usize::from(head[1]),
            _ => self
                .client
                .take(more)?
                .iter()
                .fold(0, |length, byte| length << 8 | usize::from(*byte)),
        };
        Ok((head[0], self.client.take(length)?))
    }
}

/// An opening handshake.
pub(super) fn request(key: &str) -> String {
    format!(
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    )
}

/// Fails unless the response opens the WebSocket.
pub(super) fn check_open(response: &Response, accept: &str) -> Outcome {
    let is_open = response.status == 101
        && response.values("Upgrade").eq(["websocket"])
        && response
            .values("Connection")
            .all(|it| it.eq_ignore_ascii_case("upgrade"))
        && response.values("Connection").count() == 1
        && response.values("Sec-WebSocket-Accept").eq([accept]);
    ensure!(
        is_open,
        "no WebSocket with {accept} is opened by:\n{}",
        response.head
    );
    Ok(())
}

/// A message in one masked frame.
pub(super) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = part(opcode, payload);
    frame[0] |= LAST;
    frame
}

/// A masked frame that isn't the last one of its message.
pub(super) fn part(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = head(opcode, payload.len());
    frame.extend_from_slice(&MASK);
    let mask = MASK.iter().cycle();
    frame.extend(payload.iter().zip(mask).map(|(byte, mask)| byte ^ mask));
    frame
}

/// The head of a masked frame of this length, up to its mask.
pub(super) fn head(opcode: u8, length: usize) -> Vec<u8> {
    let mut head = vec![opcode];
    match length {
        0..=125 => head.push(MASKED | length as u8),
        126..=0xffff => {
            head.push(MASKED | 126);
            head.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            head.push(MASKED | 127);
            head.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_those_of_the_rfc() {
        // The masked examples of section 5.7.
        let hello = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
        assert_eq!(frame(TEXT, b"Hello"), hello);
        assert_eq!(frame(PONG, b"Hello")[..2], [0x8a, 0x85]);
        assert_eq!(part(TEXT, b"Hel")[..2], [0x01, 0x83]);
        // The RFC's lengths, with the mask bit.
        assert_eq!(head(BINARY, 125), [2, 0xfd]);
        assert_eq!(head(BINARY, 256), [2, 0xfe, 1, 0]);
        assert_eq!(head(BINARY, 65_535), [2, 0xfe, 0xff, 0xff]);
        assert_eq!(head(BINARY, 65_536), [2, 0xff, 0, 0, 0, 0, 0, 1, 0, 0]);
    }
}
