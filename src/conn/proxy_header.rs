//! The header of the PROXY protocol, versions 1 and 2, in which a proxy sends the address of its client. It precedes
//! the first request.
//!
//! The crate `ppp` parses complete headers. This module decides when a header is complete, and refuses malformed ones
//! that the crate accepts.

use std::net::SocketAddr;

use crate::log::debug;
use ppp::{PartialResult, v1, v2};

use super::{CloseReason, Connection, Context};
use crate::log_text::Escaped;

/// Reads the header at the front of `input`, as [`ReadProxyHeader`](super::shared::ReadProxyHeader).
pub(crate) fn read(connection: &mut Connection, cx: &mut Context<'_>, input: &mut &[u8]) -> bool {
    let id = connection.id;
    match parse(input, cx.limits.max_proxy_header) {
        Ok(None) => false,
        Ok(Some((length, sender))) => {
            *input = &input[length..];
            match sender {
                Sender::Client(client) => connection.peer = client,
                Sender::Proxy => {}
            }
            debug!(target: "mini_http", "conn {id}: PROXY header: {sender}");
            connection.state.proxy_header_done();
            true
        }
        Err(fault) => {
            debug!(
                target: "mini_http",
                "conn {id}: closing without a response: {fault}: {}", Escaped(input)
            );
            let reason = CloseReason::BadProxyHeader;
            connection.state.last_response_queued(reason);
            true
        }
    }
}

/// The sender of what follows the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sender {
    /// A client. The proxy may not know its address, or it may have none: then the proxy's isn't put in its place,
    /// because a server may trust that.
    Client(Option<SocketAddr>),
    /// The proxy itself, for instance to find out if the server is alive.
    Proxy,
}

/// The longest header of version 1, with its CRLF.
const LONGEST_LINE: usize = 107;

/// The length of what precedes the addresses in version 2.
const FIXED: usize = 16;

/// Where the version and command are in a header of version 2, and where its length is.
const COMMAND: usize = 12;
const LENGTH: usize = 14;

/// The header at the front of `input`, with its length. `None` while it isn't complete.
///
/// # Errors
/// It is no header, whatever follows.
fn parse(input: &[u8], longest: usize) -> Result<Option<(usize, Sender)>, &'static str> {
    let begins = |signature: &[u8]| {
        let compared = signature.len().min(input.len());
        input[..compared] == signature[..compared]
    };
    if begins(v2::PROTOCOL_PREFIX) {
        parse_v2(input, longest)
    } else if begins(b"PROXY ") {
        parse_v1(input, longest)
    } else {
        Err("there is no PROXY header")
    }
}

fn parse_v1(input: &[u8], longest: usize) -> Result<Option<(usize, Sender)>, &'static str> {
    let longest = longest.min(LONGEST_LINE);
    let seen = &input[..input.len().min(longest)];
    let end = seen.iter().position(|byte| !matches!(byte, b' '..=b'~'));
    let Some(end) = end else {
        return match seen.len() == longest {
            true => Err("the line of the PROXY header is too long"),
            false => Ok(None),
        };
    };
    match &seen[end..] {
        [b'\r', b'\n', ..] => {}
        [b'\r'] if end + 1 < longest => return Ok(None),
        [b'\r'] => return Err("the line of the PROXY header is too long"),
        _ => return Err("the line of the PROXY header has a control character"),
    }
    let (line, length) = (&seen[..end], end + 2);
    // What follows this word is to be ignored (section 2.1). The crate permits only four words there.
    let rest = line.strip_prefix(b"PROXY UNKNOWN");
    if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b" ")) {
        return Ok(Some((length, Sender::Client(None))));
    }
    // `parse` of std permits this sign before a port.
    if line.contains(&b'+') {
        return Err("the line of the PROXY header is malformed");
    }
    let header = v1::Header::try_from(&seen[..length]);
    let header = header.map_err(|_| "the line of the PROXY header is malformed")?;
    let client = match header.addresses {
        v1::Addresses::Unknown => None,
        v1::Addresses::Tcp4(it) => Some((it.source_address, it.source_port).into()),
        v1::Addresses::Tcp6(it) => Some((it.source_address, it.source_port).into()),
    };
    Ok(Some((length, Sender::Client(client))))
}

fn parse_v2(input: &[u8], longest: usize) -> Result<Option<(usize, Sender)>, &'static str> {
    let Some(&[high, low]) = input.get(LENGTH..FIXED) else {
        return Ok(None);
    };
    let length = FIXED + usize::from(u16::from_be_bytes([high, low]));
    if length > longest {
        return Err("the PROXY header is longer than max_proxy_header");
    }
    // The family and the addresses of a connection of the proxy's own don't matter.
    if input[COMMAND] == v2::Version::Two | v2::Command::Local {
        return Ok((input.len() >= length).then_some((length, Sender::Proxy)));
    }
    let header = match v2::Header::try_from(input) {
        Err(error) if error.is_incomplete() => return Ok(None),
        Err(v2::ParseError::Version(_)) => return Err("the PROXY header has an unknown version"),
        Err(v2::ParseError::Command(_)) => return Err("the PROXY header has an unknown command"),
        Err(v2::ParseError::AddressFamily(_) | v2::ParseError::Protocol(_)) => {
            return Err("the PROXY header has an unknown address family or protocol");
        }
        Err(_) => return Err("the PROXY header is too short for its addresses"),
        Ok(header) => header,
    };
    check_tlvs(&header)?;
    let client = match header.addresses {
        // The addresses of a family don't count either if the transport is unspecified (section 2.2).
        _ if header.protocol == v2::Protocol::Unspecified => None,
        v2::Addresses::Unspecified | v2::Addresses::Unix(_) => None,
        v2::Addresses::IPv4(it) => Some((it.source_address, it.source_port).into()),
        v2::Addresses::IPv6(it) => Some((it.source_address, it.source_port).into()),
    };
    Ok(Some((length, Sender::Client(client))))
}

/// Checks the additional fields: their lengths, and the checksum if there is one. The others are ignored. Without
/// an address family it isn't known where they begin.
fn check_tlvs(header: &v2::Header<'_>) -> Result<(), &'static str> {
    if header.addresses == v2::Addresses::Unspecified {
        return Ok(());
    }
    let bytes = header.as_bytes();
    let mut at = bytes.len() - header.tlv_bytes().len();
    for field in header.tlvs() {
        let field = field.map_err(|_| "a field of the PROXY header is longer than the header")?;
        let value = at + 3;
        at = value + field.value.len();
        if field.kind == v2::Type::CRC32C as u8 {
            let sum: Result<[u8; 4], _> = (*field.value).try_into();
            let is_right = sum.is_ok_and(|sum| u32::from_be_bytes(sum) == crc32c(bytes, value));
            if !is_right {
                return Err("the checksum of the PROXY header is wrong");
            }
        }
    }
    Ok(())
}

/// The CRC32C of a header. The four bytes from `sum` on, where it is stored, count as zeros.
fn crc32c(header: &[u8], sum: usize) -> u32 {
    // Castagnoli's polynomial, with its bits reversed (RFC 3720 appendix B.4).
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let crc = header.iter().enumerate().fold(!0, |crc, (at, byte)| {
        let byte = if (sum..sum + 4).contains(&at) {
            0
        } else {
            *byte
        };
        (0..8).fold(crc ^ u32::from(byte), |crc: u32, _| {
            (crc >> 1) ^ (POLYNOMIAL & (crc & 1).wrapping_neg())
        })
    });
    !crc
}

impl std::fmt::Display for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Client(Some(address)) => write!(f, "the client is {address}"),
            Self::Client(None) => f.write_str("the client's address is not known"),
            Self::Proxy => f.write_str("a connection of the proxy's own"),
        }
    }
}

#[cfg(test)]
mod tests;
