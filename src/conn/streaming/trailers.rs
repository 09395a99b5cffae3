//! Trailer sections (RFC 9110 §6.5): those of requests are parsed, those of responses are written.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::conn::encode;
use crate::conn::grammar::trim_ows;

/// Parses a complete trailer section, whose grammar the decoder of chunks has checked. `None` if it has no
/// field.
pub(super) fn parse(section: &[u8]) -> Option<HeaderMap> {
    let mut fields = HeaderMap::new();
    for line in section.split(|&byte| byte == b'\n') {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else {
            continue;
        };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        let value = trim_ows(value.strip_suffix(b"\r").unwrap_or(value));
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        {
            fields.append(name, value);
        }
    }
    (!fields.is_empty()).then_some(fields)
}

/// Appends the field lines of a trailer section to `out`, without those that mustn't be in one: they
/// decide about framing, routing or how the body is read (RFC 9110 §6.5.1).
pub(super) fn write(out: &mut Vec<u8>, trailers: &HeaderMap) {
    for (name, value) in trailers {
        if !is_forbidden(name) {
            encode::field(out, name.as_str().as_bytes(), value.as_bytes());
        }
    }
}

/// Removes the fields that mustn't be in a trailer section.
#[cfg(feature = "wasi-http")]
pub(crate) fn keep_valid(trailers: &mut HeaderMap) {
    let forbidden: Vec<HeaderName> = trailers
        .keys()
        .filter(|name| is_forbidden(name))
        .cloned()
        .collect();
    for name in forbidden {
        trailers.remove(name);
    }
}

fn is_forbidden(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::AUTHORIZATION
            | header::CACHE_CONTROL
            | header::CONNECTION
            | header::CONTENT_ENCODING
            | header::CONTENT_LENGTH
            | header::CONTENT_RANGE
            | header::CONTENT_TYPE
            | header::DATE
            | header::HOST
            | header::LOCATION
            | header::MAX_FORWARDS
            | header::SET_COOKIE
            | header::TE
            | header::TRAILER
            | header::TRANSFER_ENCODING
            | header::UPGRADE
            | header::VARY
            | header::WWW_AUTHENTICATE
    )
}
