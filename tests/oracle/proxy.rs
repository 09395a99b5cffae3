//! Checks headers of the PROXY protocol: for any bytes, in any pieces, the connection takes what the parser in this
//! file takes, and what follows is treated as on a connection without a header.

use super::choices::Choices;
use mini_http::conn::state::Reading;
use mini_http::conn::{CheckedConnection, Connection, Step};
use mini_http::{CloseReason, Instant, Limits, Response};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub(crate) fn check(data: &[u8]) {
    let (bytes, mut choices) = Choices::split(data);
    let ends = choices.next() & 1 != 0;
    let expected = read_header(bytes);
    let mut connection = behind_proxy();
    let mut left = bytes;
    let mut output = Vec::new();
    while !left.is_empty() {
        let length = match choices.next() {
            0 => left.len(),
            choice => usize::from(choice).min(left.len()),
        };
        let (piece, behind) = left.split_at(length);
        left = behind;
        output.extend(feed(&mut connection, piece));
    }
    let state = connection.connection.state();
    match expected {
        Header::Truncated => {
            assert_eq!(
                state.reading(),
                Reading::ProxyHeader,
                "doesn't wait for the rest"
            );
            assert!(output.is_empty());
            if ends {
                connection.call(Connection::handle_end_of_input);
                let reason = match bytes.is_empty() {
                    true => CloseReason::ClientClosed,
                    false => CloseReason::BadProxyHeader,
                };
                assert_eq!(connection.connection.state().close_reason(), Some(reason));
            }
        }
        Header::Bad => {
            assert_eq!(state.close_reason(), Some(CloseReason::BadProxyHeader));
            assert!(output.is_empty(), "a response to an invalid header");
        }
        Header::Whole { length, peer } => {
            assert_eq!(connection.connection.peer(), peer);
            let mut other = CheckedConnection::new(Limits::default(), Instant::default());
            let wanted = feed(&mut other, &bytes[length..]);
            assert!(output == wanted, "the rest is treated differently");
            let other = other.connection.state();
            assert_eq!(state.reading(), other.reading());
            assert_eq!(state.close_reason(), other.close_reason());
        }
    }
    silence(connection);
}

const OWN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 80);

fn behind_proxy() -> CheckedConnection {
    CheckedConnection::behind_proxy(Limits::default(), Instant::default(), Some(OWN))
}

/// Passes the input to the connection. Returns the status lines of the responses: the texts of refusals may depend on
/// where the input was cut. (A body ends with a line end, so that the next status line begins a line.)
fn feed(checked: &mut CheckedConnection, mut input: &[u8]) -> Vec<u8> {
    while checked
        .call(|connection, cx| connection.handle_input(cx, &mut input))
        .is_some()
    {
        checked.call(|connection, cx| connection.respond(cx, Response::new("hello\n")));
    }
    let output = checked.call(Connection::take_output);
    let text = String::from_utf8_lossy(&output);
    let lines = text.lines().filter(|line| line.starts_with("HTTP/1.1 "));
    lines
        .flat_map(|line| [line, "\n"])
        .collect::<String>()
        .into_bytes()
}

/// The client does nothing more: the connection must end by itself.
fn silence(mut checked: CheckedConnection) {
    for _ in 0..100 {
        let _ = checked.call(Connection::take_output);
        if let Step::Close(_) = checked.call(Connection::poll_step) {
            assert_eq!(checked.shared.held(), 0, "closed, but holds memory");
            return;
        }
        checked.now = checked.connection.poll_timeout().expect("a deadline");
        checked.call(Connection::handle_timeout);
    }
    panic!("a silent client's connection never ends");
}

/// What the bytes begin with.
#[derive(Debug)]
enum Header {
    /// The beginning of a header.
    Truncated,
    Bad,
    Whole {
        length: usize,
        peer: Option<SocketAddr>,
    },
}

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn read_header(bytes: &[u8]) -> Header {
    let is_truncated = |begin: &[u8]| bytes.len() < begin.len() && begin.starts_with(bytes);
    if is_truncated(b"PROXY ") || is_truncated(SIGNATURE) {
        Header::Truncated
    } else if bytes.starts_with(b"PROXY ") {
        read_line(bytes)
    } else if bytes.starts_with(SIGNATURE) {
        read_binary(bytes)
    } else {
        Header::Bad
    }
}

fn read_line(bytes: &[u8]) -> Header {
    let end = bytes.iter().position(|byte| *byte < b' ' || *byte > b'~');
    let Some(end) = end.filter(|end| *end <= 105) else {
        return match end.is_none() && bytes.len() < 107 {
            true => Header::Truncated,
            false => Header::Bad,
        };
    };
    if bytes[end..] == *b"\r" {
        return Header::Truncated;
    }
    if !bytes[end..].starts_with(b"\r\n") {
        return Header::Bad;
    }
    let line = String::from_utf8_lossy(&bytes[..end]);
    let words: Vec<_> = line.split(' ').collect();
    let number = |text: &str| -> Option<u16> {
        let number: u16 = text.parse().ok()?;
        (number.to_string() == text).then_some(number)
    };
    let address = |text: &str| -> Option<IpAddr> {
        match words[1] {
            "TCP4" => Some(text.parse::<Ipv4Addr>().ok()?.into()),
            _ => Some(text.parse::<Ipv6Addr>().ok()?.into()),
        }
    };
    let peer = match words[1..] {
        ["UNKNOWN", ..] => Some(None),
        ["TCP4" | "TCP6", from, to, port, other] => (|| {
            address(to)?;
            number(other)?;
            Some(Some(SocketAddr::new(address(from)?, number(port)?)))
        })(),
        _ => None,
    };
    match peer {
        Some(peer) => Header::Whole {
            length: end + 2,
            peer,
        },
        None => Header::Bad,
    }
}

fn read_binary(bytes: &[u8]) -> Header {
    let Some(fixed) = bytes.get(12..16) else {
        return Header::Truncated;
    };
    let length = usize::from(fixed[2]) * 256 + usize::from(fixed[3]);
    let addresses = match (fixed[0], fixed[1]) {
        (0x20, _) => None,
        (0x21, 0x00..=0x02) => Some(0),
        (0x21, 0x10..=0x12) => Some(12),
        (0x21, 0x20..=0x22) => Some(36),
        (0x21, 0x30..=0x32) => Some(216),
        _ => return Header::Bad,
    };
    if 16 + length > 4096 || addresses.is_some_and(|addresses| length < addresses) {
        return Header::Bad;
    }
    let Some(rest) = bytes.get(16..16 + length) else {
        return Header::Truncated;
    };
    let port = |at: usize| u16::from_be_bytes([rest[at], rest[at + 1]]);
    let v6 = || rest.first_chunk::<16>().map(|it| Ipv6Addr::from(*it));
    let peer = match addresses {
        None => Some(OWN),
        // The transport is unspecified.
        Some(_) if fixed[1] & 0x0f == 0 => None,
        Some(12) => Some((Ipv4Addr::new(rest[0], rest[1], rest[2], rest[3]), port(8)).into()),
        Some(36) => v6().map(|address| (address, port(32)).into()),
        Some(_) => None,
    };
    let is_good = match addresses {
        None | Some(0) => true,
        Some(addresses) => are_good(&bytes[..16 + length], 16 + addresses),
    };
    match is_good {
        true => Header::Whole {
            length: 16 + length,
            peer,
        },
        false => Header::Bad,
    }
}

/// Whether the fields from here on fill the header, and the checksums are right.
fn are_good(header: &[u8], mut at: usize) -> bool {
    while at < header.len() {
        let Some([kind, high, low]) = header.get(at..at + 3) else {
            return false;
        };
        let length = usize::from(*high) * 256 + usize::from(*low);
        let Some(value) = header.get(at + 3..at + 3 + length) else {
            return false;
        };
        if *kind == 3 {
            let mut zeroed = header.to_vec();
            zeroed[at + 3..at + 3 + length].fill(0);
            if length != 4 || *value != checksum(&zeroed).to_be_bytes() {
                return false;
            }
        }
        at += 3 + length;
    }
    true
}

/// CRC32C by polynomial division, from the highest bit on.
fn checksum(bytes: &[u8]) -> u32 {
    let mut remainder = u32::MAX;
    for byte in bytes {
        remainder ^= u32::from(byte.reverse_bits()) << 24;
        for _ in 0..8 {
            let carries = remainder & (1 << 31) != 0;
            remainder <<= 1;
            if carries {
                remainder ^= 0x1edc_6f41;
            }
        }
    }
    !remainder.reverse_bits()
}
