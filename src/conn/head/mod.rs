//! The head of a request: from bytes to [`Head`].
//!
//! A head that arrives whole takes the fast way: it is taken apart at its delimiters, and the types
//! that are made of the parts are strict. Everything else, a head in pieces or one with a fault,
//! goes through [`HeadScanner`], which is the strict grammar, byte by byte, and has the last word
//! on every fault; that is why a request is judged alike however its bytes arrive.

mod fields;
mod names;
mod protocols;
mod scanner;
mod target;
mod tokens;

pub(super) use fields::RightHosts;
pub(super) use protocols::name_protocol;
pub(super) use scanner::{HeadScanner, Scan};
pub(super) use tokens::FieldLine;

use bytes::Bytes;
use http::Method;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use self::fields::ActedUpon;
use self::names::{Common, Role};
use self::tokens::RequestLine;

use super::framing::Framing;
use super::refusal::Refusal;
use super::shared::HeadArena;
use crate::limits::Limits;
use crate::request::Request;

/// A request's head, checked.
#[derive(Debug)]
pub(super) struct Head {
    /// The request, still without its body.
    pub(super) request: Request,
    /// How the body ends.
    pub(super) framing: Framing,
    /// Whether the connection persists behind this request (RFC 9112 §9.3).
    pub(super) persist: bool,
    /// Whether the client waits for `100 Continue` (RFC 9110 §10.1.1).
    pub(super) expects_continue: bool,
    /// Bytes of memory that it takes, at most.
    pub(super) size: usize,
}

/// Parses the head at the front of `input`, if all of it is there and it is without fault; gives
/// it and its length in bytes.
///
/// `None` says nothing: the head may be unfinished or faulty. Ask the [`HeadScanner`].
pub(super) fn parse_whole(
    input: &[u8],
    limits: &Limits,
    arena: &mut HeadArena,
) -> Option<(Head, usize)> {
    let window = &input[..input.len().min(limits.max_head)];
    parse(window, limits, arena).ok()
}

/// Parses a head that the [`HeadScanner`] has found whole and without fault, and judges what its
/// parts mean.
pub(super) fn parse_scanned(
    head: &[u8],
    limits: &Limits,
    arena: &mut HeadArena,
) -> Result<Head, Refusal> {
    parse(head, limits, arena).map(|(head, _)| head)
}

/// Parses the head at the front of `window`. Unless it is a right one, the fault means nothing: it
/// may stand behind another.
fn parse(window: &[u8], limits: &Limits, arena: &mut HeadArena) -> Result<(Head, usize), Refusal> {
    let HeadArena {
        block,
        lines,
        right_hosts,
    } = arena;
    // The scanner's grammar and this one agree, as a fuzz target checks; if they should not, refuse.
    let (line, length) = tokens::split(window, limits, lines)
        .ok_or(Refusal::malformed("the head can't be parsed"))?;
    let head = &window[..length];

    // Everything in the request shares one copy of the bytes.
    let shared = block.copy(head);
    let mut request = Request::new();
    request_line(&line, &shared, &mut request)?;
    let acted_upon = gather(lines, &shared, request.headers_mut())?;
    let (fields, version) = (request.headers(), request.version());
    let size = block.pinned_by(length) + fields.capacity() * SIZE_OF_FIELD;

    if request.method() == Method::CONNECT {
        return Err(Refusal::not_implemented(
            "this server makes no tunnels (CONNECT)",
        ));
    }
    acted_upon.check_host(version, right_hosts)?;
    let framing = if acted_upon.framing {
        Framing::of_request(version, fields)?
    } else {
        Framing::None
    };
    let expects_continue =
        acted_upon.expect && fields::expects_continue(version, fields)? && framing != Framing::None;
    let persist = acted_upon.persists(version);
    let head = Head {
        request,
        framing,
        persist,
        expects_continue,
        size,
    };
    Ok((head, length))
}

/// Puts the parts of the request line into the request.
// Inlined, the steps of `parse` take each other's registers.
#[inline(never)]
fn request_line(
    line: &RequestLine<'_>,
    head: &Bytes,
    request: &mut http::Request<Vec<u8>>,
) -> Result<(), Refusal> {
    *request.method_mut() = match line.method {
        b"GET" => Method::GET,
        other => Method::from_bytes(other)
            .map_err(|_| Refusal::malformed("the method is not a token"))?,
    };
    *request.version_mut() = line.version;
    let start = line.method.len() + 1;
    let share = || head.slice(start..start + line.target.len());
    *request.uri_mut() = target::parse(request.method(), line.target, share)?;
    Ok(())
}

/// Puts the fields into the map.
#[inline(never)]
fn gather<'a>(
    lines: &[FieldLine],
    head: &'a Bytes,
    fields: &mut HeaderMap,
) -> Result<ActedUpon<'a>, Refusal> {
    if lines.len() > fields.capacity() {
        fields.reserve(lines.len());
    }
    let mut acted_upon = ActedUpon::default();
    for line in lines {
        let value = HeaderValue::from_maybe_shared(head.slice(line.value()))
            .map_err(|_| Refusal::malformed("a field value has a control character"))?;
        let bytes = &head[line.value()];
        if let Some(common) = Common::find(&head[line.name().start..], line.name().len()) {
            if common.role != Role::None {
                acted_upon.note(common.role, bytes);
            }
            fields.append(&common.name, value);
        } else {
            let name = HeaderName::from_bytes(&head[line.name()])
                .map_err(|_| Refusal::malformed("a field name is not a token"))?;
            acted_upon.note(Role::of(&name), bytes);
            fields.append(name, value);
        }
    }
    Ok(acted_upon)
}

/// What a field takes in a [`HeaderMap`](http::HeaderMap), about: the entry, and its place in the
/// index.
const SIZE_OF_FIELD: usize = 112;

/// The most bytes that [`is_head_request`] must see: two empty lines, and `HEAD` with the space.
pub(super) const MAX_METHOD_END: usize = 9;

/// Whether a head that may be faulty or unfinished is that of a HEAD request, whose answer has no
/// body even when it is a refusal.
pub(super) fn is_head_request(head: &[u8]) -> bool {
    // As many empty lines as the scanner takes before a request line, and no other line ends.
    let mut rest = head;
    for _ in 0..2 {
        rest = rest.strip_prefix(b"\r\n").unwrap_or(rest);
    }
    rest.starts_with(b"HEAD ")
}

/// Whether a field with tokens between commas has `token` among them, whatever the case.
pub(super) fn has_token(fields: &HeaderMap, name: &header::HeaderName, token: &str) -> bool {
    fields::tokens(fields, name).any(|found| found.eq_ignore_ascii_case(token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Version;

    fn parse(head: &str) -> Option<Head> {
        let mut arena = HeadArena::default();
        parse_whole(head.as_bytes(), &Limits::default(), &mut arena).map(|(head, _)| head)
    }

    #[test]
    fn builds_a_request_from_shared_bytes() {
        let text = "GET /a?b HTTP/1.1\r\nHost: h\r\nX-Y:\t z \r\nConnection: Close\r\n\r\n";
        let head = parse(text).expect("it is right");
        assert_eq!(head.request.method(), "GET");
        assert_eq!(head.request.uri(), "/a?b");
        assert_eq!(head.request.headers()["x-y"], "z");
        assert_eq!(head.framing, Framing::None);
        assert!(!head.persist);
    }

    #[test]
    fn leaves_to_the_scanner_what_others_are_lenient_about() {
        for lenient in [
            "GET / HTTP/1.1\nHost: h\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\n\n",
            "GET / HTTP/1.1\r\nA: b\nHost: h\r\n\r\n",
            "GET / HTTP/1.0\n\r\n",
            "GET / HTTP/1.0\r\n\n",
            "\r\nGET / HTTP/1.0\r\n\r\n",
            "\nGET / HTTP/1.0\r\n\r\n",
        ] {
            assert!(parse(lenient).is_none(), "{lenient:?}");
        }
    }

    #[test]
    fn a_higher_minor_version_is_read_as_1_1() {
        let head = b"GET / HTTP/1.7\r\nHost: h\r\n\r\n";
        let head = parse_scanned(head, &Limits::default(), &mut HeadArena::default());
        assert_eq!(
            head.expect("it is right").request.version(),
            Version::HTTP_11
        );
    }

    #[test]
    fn knows_a_head_request_by_its_first_bytes() {
        assert!(is_head_request(b"\r\nHEAD / HT"));
        assert!(!is_head_request(b"HEADS / HTTP/1.1\r\n"));
        assert!(!is_head_request(b"\r\n\nHEAD / HT"));
        assert!(!is_head_request(b""));
    }
}
