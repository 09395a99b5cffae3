//! The head of a request: from bytes to [`Head`].
//!
//! A head that arrives whole takes the short way: `httparse` tokenizes it, and what httparse is
//! lenient about (line ends) is checked. Everything else, a head in pieces or one with a fault,
//! goes through [`HeadScanner`], which is the strict grammar, byte by byte, and has the last word
//! on every fault; that is why a request is judged alike however its bytes arrive.

mod fields;
mod scanner;
mod target;

pub(super) use scanner::{HeadScanner, Scan};

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Version};

use self::fields::Present;

use super::fault::Fault;
use super::framing::Framing;
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
) -> Option<Result<(Head, usize), Fault>> {
    let window = &input[..input.len().min(limits.max_head)];
    let mut lines = [const { MaybeUninit::uninit() }; Limits::MAX_FIELDS];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(window, &mut lines[..limits.max_fields]) {
        Ok(httparse::Status::Complete(length)) => {
            let head = &window[..length];
            lines_end_with_crlf(head, &request, limits)
                .then(|| Ok((build(&request, head, arena)?, length)))
        }
        Ok(httparse::Status::Partial) | Err(_) => None,
    }
}

/// Parses a head that the [`HeadScanner`] has found whole and without fault.
pub(super) fn parse_scanned(
    head: &[u8],
    limits: &Limits,
    arena: &mut HeadArena,
) -> Result<Head, Fault> {
    let read_as_1_1 = with_known_version(head);
    match parse_whole(read_as_1_1.as_deref().unwrap_or(head), limits, arena) {
        Some(result) => result.map(|(head, _)| head),
        // The two grammars agree, as a fuzz target checks; if they should not, refuse.
        None => Err(Fault::malformed("the head can't be parsed")),
    }
}

/// The head with the version HTTP/1.1 in place of a higher minor version of 1, as which it is to
/// be read (RFC 9110 §2.5); httparse knows only 1.0 and 1.1. `None` if there is nothing to replace.
fn with_known_version(head: &[u8]) -> Option<Vec<u8>> {
    let end = head.iter().position(|&byte| byte == b'\r')?;
    let minor = end.checked_sub(1)?;
    matches!(head[minor], b'2'..=b'9').then(|| {
        let mut head = head.to_vec();
        head[minor] = b'1';
        head
    })
}

/// httparse takes a bare LF for a line's end, any number of empty lines before the request line,
/// and a request line of any length.
fn lines_end_with_crlf(head: &[u8], request: &httparse::Request<'_, '_>, limits: &Limits) -> bool {
    let is_crlf_before = |at: usize| at >= 2 && &head[at - 2..at] == b"\r\n";
    let Some(method) = request.method else {
        return false;
    };
    let end = match request.headers.first() {
        Some(first) => offset(head, first.name.as_bytes()),
        None => head.len() - 2,
    };
    offset(head, method.as_bytes()) == 0
        && head.ends_with(b"\r\n\r\n")
        && end <= limits.max_request_line + 2
        && is_crlf_before(end)
        && request
            .headers
            .iter()
            .all(|line| is_crlf_before(offset(head, line.name.as_bytes())))
}

/// Where `part` begins in `whole`, of which it is a slice.
fn offset(whole: &[u8], part: &[u8]) -> usize {
    part.as_ptr() as usize - whole.as_ptr() as usize
}

/// Makes the checked head from its tokens. Everything in it shares one copy of the bytes.
fn build(
    tokens: &httparse::Request<'_, '_>,
    head: &[u8],
    arena: &mut HeadArena,
) -> Result<Head, Fault> {
    let shared = arena.copy(head);
    let share = |part: &[u8]| -> Bytes {
        let start = offset(head, part);
        shared.slice(start..start + part.len())
    };
    let mut request = Request::new();

    let method = tokens.method.unwrap_or_default().as_bytes();
    *request.method_mut() =
        Method::from_bytes(method).map_err(|_| Fault::malformed("the method is not a token"))?;
    let version = match tokens.version {
        Some(0) => Version::HTTP_10,
        _ => Version::HTTP_11,
    };
    *request.version_mut() = version;
    let target = tokens.path.unwrap_or_default().as_bytes();
    *request.uri_mut() = target::parse(request.method(), target, share)?;

    let fields = request.headers_mut();
    fields.reserve(tokens.headers.len());
    let mut present = Present::default();
    for line in tokens.headers.iter() {
        let name = HeaderName::from_bytes(line.name.as_bytes())
            .map_err(|_| Fault::malformed("a field name is not a token"))?;
        let value = HeaderValue::from_maybe_shared(share(line.value))
            .map_err(|_| Fault::malformed("a field value has a control character"))?;
        present.note(&name, line.value);
        fields.append(name, value);
    }
    let size = arena.pinned_by(head.len()) + fields.capacity() * SIZE_OF_FIELD;

    if request.method() == Method::CONNECT {
        return Err(Fault::not_implemented(
            "this server makes no tunnels (CONNECT)",
        ));
    }
    let fields = request.headers();
    present.check_host(version)?;
    let framing = if present.framing {
        Framing::of_request(version, fields)?
    } else {
        Framing::None
    };
    let expects_continue =
        present.expect && fields::expects_continue(version, fields)? && framing != Framing::None;
    let persist = if present.connection {
        fields::persists(version, fields)
    } else {
        version >= Version::HTTP_11
    };
    Ok(Head {
        request,
        framing,
        persist,
        expects_continue,
        size,
    })
}

/// What a field takes in a [`HeaderMap`](http::HeaderMap), about: the entry, and its place in the
/// index.
const SIZE_OF_FIELD: usize = 112;

/// The most bytes that [`is_head_request`] must see: two empty lines, and `HEAD` with the space.
pub(super) const MAX_METHOD_END: usize = 9;

/// Whether a head that may be faulty or unfinished is that of a HEAD request, whose answer has no
/// body even when it is a refusal.
pub(super) fn is_head_request(head: &[u8]) -> bool {
    let start = head
        .iter()
        .position(|byte| !matches!(byte, b'\r' | b'\n'))
        .unwrap_or(0);
    head[start..].starts_with(b"HEAD ")
}

/// Whether a field with tokens between commas has `token` among them, whatever the case.
pub(super) fn has_token(fields: &HeaderMap, name: &header::HeaderName, token: &str) -> bool {
    fields::tokens(fields, name).any(|found| found.eq_ignore_ascii_case(token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(head: &str) -> Option<Result<Head, u16>> {
        let mut arena = HeadArena::default();
        parse_whole(head.as_bytes(), &Limits::default(), &mut arena).map(|result| {
            result
                .map(|(head, _)| head)
                .map_err(|fault| fault.status().as_u16())
        })
    }

    #[test]
    fn builds_a_request_from_shared_bytes() {
        let text = "GET /a?b HTTP/1.1\r\nHost: h\r\nX-Y:\t z \r\nConnection: Close\r\n\r\n";
        let head = parse(text).expect("it is whole").expect("it is right");
        assert_eq!(head.request.method(), "GET");
        assert_eq!(head.request.uri(), "/a?b");
        assert_eq!(head.request.headers()["x-y"], "z");
        assert_eq!(head.framing, Framing::None);
        assert!(!head.persist);
    }

    #[test]
    fn leaves_to_the_scanner_what_httparse_is_lenient_about() {
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
        assert!(!is_head_request(b""));
    }
}
