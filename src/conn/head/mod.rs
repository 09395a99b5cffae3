//! Parses the head of a request into a [`Head`].
//!
//! There are two paths. A head that arrives complete is split at its delimiters, and the types built
//! from the parts check them. If that fails, because the head is incomplete or malformed,
//! [`HeadScanner`] checks the grammar byte by byte. Only the scanner decides which fault a head
//! has, so the result doesn't depend on how the bytes arrive.

mod arena;
mod fields;
mod names;
mod protocols;
mod scanner;
mod target;
mod tokens;

pub(super) use arena::HeadArena;
pub(super) use protocols::name_protocol;
pub(super) use scanner::{HeadScanner, Scan};

use bytes::Bytes;
use http::Method;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use self::fields::ServerFields;
use self::names::{Common, Role};
use self::tokens::{FieldLine, RequestLine};

use super::framing::Framing;
use super::refusal::Refusal;
use crate::limits::Limits;
use crate::request::Request;

/// A valid request head.
#[derive(Debug)]
pub(super) struct Head {
    /// The request, without its body so far.
    pub(super) request: Request,
    /// How the end of the body is found.
    pub(super) framing: Framing,
    /// Whether the connection persists after this request (RFC 9112 §9.3).
    pub(super) persist: bool,
    /// Whether the client waits for `100 Continue` (RFC 9110 §10.1.1).
    pub(super) expects_continue: bool,
    /// Bytes of memory that the head takes, at most.
    pub(super) size: usize,
}

/// Parses the head at the front of `input`. Returns it and its length in bytes.
///
/// `None` means that the head is incomplete or malformed; [`HeadScanner`] finds out which.
pub(super) fn parse_whole(
    input: &[u8],
    limits: &Limits,
    arena: &mut HeadArena,
) -> Option<(Head, usize)> {
    let window = &input[..input.len().min(limits.max_head)];
    parse(window, limits, arena).ok()
}

/// Parses a head that the [`HeadScanner`] has found complete and grammatical. Checks what depends on
/// the meaning of its parts, such as `Host` and framing.
pub(super) fn parse_scanned(
    head: &[u8],
    limits: &Limits,
    arena: &mut HeadArena,
) -> Result<Head, Refusal> {
    parse(head, limits, arena).map(|(head, _)| head)
}

/// Parses the head at the front of `window`. An `Err` only means 'not accepted': it need not be the
/// head's first fault.
fn parse(window: &[u8], limits: &Limits, arena: &mut HeadArena) -> Result<(Head, usize), Refusal> {
    let HeadArena {
        block,
        lines,
        right_hosts,
    } = arena;
    // The scanner accepts the same grammar, as a fuzz target checks. If they ever differ, refuse.
    let (line, length) = tokens::split(window, limits, lines)
        .ok_or(Refusal::malformed("the head can't be parsed"))?;
    let head = &window[..length];

    // All parts of the request share one copy of the bytes.
    let shared = block.copy(head);
    let mut request = Request::new();
    request_line(&line, &shared, &mut request)?;
    let server_fields = gather(lines, &shared, request.headers_mut())?;
    let (fields, version) = (request.headers(), request.version());
    let size = block.pinned_by(length) + fields.capacity() * SIZE_OF_FIELD;

    if request.method() == Method::CONNECT {
        return Err(Refusal::not_implemented(
            "this server makes no tunnels (CONNECT)",
        ));
    }
    server_fields.check_host(version, right_hosts)?;
    let framing = if server_fields.framing {
        Framing::of_request(version, fields)?
    } else {
        Framing::None
    };
    let expects_continue = server_fields.expect
        && fields::expects_continue(version, fields)?
        && framing != Framing::None;
    let persist = server_fields.persists(version);
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
// Not inlined: in one function, the steps of `parse` compete for registers.
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

/// Puts the field lines into the request, and returns those that the server acts on.
#[inline(never)]
fn gather<'a>(
    lines: &[FieldLine],
    head: &'a Bytes,
    fields: &mut HeaderMap,
) -> Result<ServerFields<'a>, Refusal> {
    if lines.len() > fields.capacity() {
        fields.reserve(lines.len());
    }
    let mut server_fields = ServerFields::default();
    for line in lines {
        let value = HeaderValue::from_maybe_shared(head.slice(line.value()))
            .map_err(|_| Refusal::malformed("a field value has a control character"))?;
        let bytes = &head[line.value()];
        if let Some(common) = Common::find(&head[line.name().start..], line.name().len()) {
            if common.role != Role::None {
                server_fields.record(common.role, bytes);
            }
            fields.append(&common.name, value);
        } else {
            let name = HeaderName::from_bytes(&head[line.name()])
                .map_err(|_| Refusal::malformed("a field name is not a token"))?;
            server_fields.record(Role::of(&name), bytes);
            fields.append(name, value);
        }
    }
    Ok(server_fields)
}

/// Bytes that a field takes in a [`HeaderMap`](http::HeaderMap), about: its entry and its index.
const SIZE_OF_FIELD: usize = 112;

/// The most bytes that [`is_head_request`] needs: two empty lines, and `HEAD` with the space.
pub(super) const MAX_METHOD_END: usize = 9;

/// Whether a head, which may be malformed or incomplete, belongs to a HEAD request. Its response has
/// no body, even if it is a refusal.
pub(super) fn is_head_request(head: &[u8]) -> bool {
    // The scanner accepts two empty lines before a request line, ending with CRLF only.
    let mut rest = head;
    for _ in 0..2 {
        rest = rest.strip_prefix(b"\r\n").unwrap_or(rest);
    }
    rest.starts_with(b"HEAD ")
}

/// Whether a comma-separated list field contains `token`, in any case (RFC 9110 §5.6.1).
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
        let head = parse(text).expect("it is valid");
        assert_eq!(head.request.method(), "GET");
        assert_eq!(head.request.uri(), "/a?b");
        assert_eq!(head.request.headers()["x-y"], "z");
        assert_eq!(head.framing, Framing::None);
        assert!(!head.persist);
    }

    #[test]
    fn leaves_lenient_line_endings_to_the_scanner() {
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
    fn a_higher_minor_version_is_treated_as_1_1() {
        let head = b"GET / HTTP/1.7\r\nHost: h\r\n\r\n";
        let head = parse_scanned(head, &Limits::default(), &mut HeadArena::default());
        assert_eq!(
            head.expect("it is valid").request.version(),
            Version::HTTP_11
        );
    }

    #[test]
    fn recognises_a_head_request_by_its_first_bytes() {
        assert!(is_head_request(b"\r\nHEAD / HT"));
        assert!(!is_head_request(b"HEADS / HTTP/1.1\r\n"));
        assert!(!is_head_request(b"\r\n\nHEAD / HT"));
        assert!(!is_head_request(b""));
    }
}
