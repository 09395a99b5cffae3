//! Parses the head of a request into a [`Head`].
//!
//! There are two paths. A head that arrives complete is parsed by `httparse`; `strict.rs` and the
//! types built from its parts refuse what `httparse` is too lenient about. If that fails, because the
//! head is incomplete or malformed, [`HeadLines`] checks it line by line: it finds the end of the
//! head, or the fault. Both paths accept the same heads, so the result doesn't depend on how the
//! bytes arrive. A fuzz target checks that.

mod arena;
mod fields;
mod lines;
mod names;
mod protocols;
mod strict;
mod target;

pub(super) use arena::HeadArena;
pub(super) use lines::{Checked, HeadLines};
pub(super) use protocols::name_protocol;

use std::mem::MaybeUninit;
use std::ops::Range;

use bytes::Bytes;
use http::Method;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use self::fields::ServerFields;
use self::names::{Common, Role};
use self::strict::Parsed;

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
/// `None` means that the head is incomplete or malformed; [`HeadLines`] finds out which.
pub(super) fn parse_whole(
    input: &[u8],
    limits: &Limits,
    arena: &mut HeadArena,
) -> Option<(Head, usize)> {
    let window = &input[..input.len().min(limits.max_head)];
    parse(window, limits, arena).ok()
}

/// Parses a head that [`HeadLines`] has found complete and grammatical. Checks what depends on the
/// meaning of its parts, such as `Host` and framing.
pub(super) fn parse_checked(
    input: &[u8],
    request_line: Range<usize>,
    end: usize,
    limits: &Limits,
    arena: &mut HeadArena,
) -> Result<Head, Refusal> {
    let head = strict::with_known_version(&input[request_line.start..end], request_line.len());
    parse(&head, limits, arena).map(|(head, _)| head)
}

/// Parses the head at the front of `window`. An `Err` only means 'not accepted': it need not be the
/// head's first fault, which [`HeadLines`] finds.
fn parse(window: &[u8], limits: &Limits, arena: &mut HeadArena) -> Result<(Head, usize), Refusal> {
    let HeadArena { block, valid_hosts } = arena;
    let mut fields = [const { MaybeUninit::uninit() }; Limits::MAX_FIELDS];
    // `HeadLines` accepts the same heads, as a fuzz target checks. If they ever differ, refuse.
    let parsed = strict::parse(window, limits, &mut fields)
        .ok_or(Refusal::malformed("the head can't be parsed"))?;
    let length = parsed.bytes().len();

    // All parts of the request share one copy of the bytes.
    let shared = block.copy(parsed.bytes());
    let mut request = Request::new();
    request_line(&parsed, &shared, &mut request)?;
    let server_fields = gather(&parsed, &shared, request.headers_mut())?;
    let (fields, version) = (request.headers(), request.version());
    let size = block.pinned_by(length) + fields.capacity() * SIZE_OF_FIELD;

    if request.method() == Method::CONNECT {
        return Err(Refusal::not_implemented(
            "this server makes no tunnels (CONNECT)",
        ));
    }
    server_fields.check_host(version, valid_hosts)?;
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
    parsed: &Parsed<'_, '_>,
    head: &Bytes,
    request: &mut http::Request<Vec<u8>>,
) -> Result<(), Refusal> {
    *request.method_mut() = match &head[parsed.method.clone()] {
        b"GET" => Method::GET,
        other => Method::from_bytes(other)
            .map_err(|_| Refusal::malformed("the method is not a token"))?,
    };
    *request.version_mut() = parsed.version;
    let target = || parsed.target.clone();
    *request.uri_mut() = target::parse(request.method(), &head[target()], || head.slice(target()))?;
    Ok(())
}

/// Puts the field lines into the request, and returns those that the server acts on.
#[inline(never)]
fn gather<'a>(
    parsed: &Parsed<'_, '_>,
    head: &'a Bytes,
    fields: &mut HeaderMap,
) -> Result<ServerFields<'a>, Refusal> {
    if parsed.field_count() > fields.capacity() {
        fields.reserve(parsed.field_count());
    }
    let mut server_fields = ServerFields::default();
    for (name, value) in parsed.fields() {
        let bytes = &head[value.clone()];
        let value = HeaderValue::from_maybe_shared(head.slice(value))
            .map_err(|_| Refusal::malformed("a field value has a control character"))?;
        if let Some(common) = Common::find(&head[name.start..], name.len()) {
            if common.role != Role::None {
                server_fields.record(common.role, bytes);
            }
            fields.append(&common.name, value);
        } else {
            let name = HeaderName::from_bytes(&head[name])
                .map_err(|_| Refusal::malformed("a field name is not a token"))?;
            server_fields.record(Role::of(&name), bytes);
            fields.append(name, value);
        }
    }
    Ok(server_fields)
}

/// Bytes that a field takes in a [`HeaderMap`](http::HeaderMap), about: its entry and its index.
const SIZE_OF_FIELD: usize = 112;

/// Whether a comma-separated list field contains `token`, in any case (RFC 9110 §5.6.1).
pub(super) fn has_token(fields: &HeaderMap, name: &header::HeaderName, token: &str) -> bool {
    // Nearly all requests lack it: then there is nothing to go through.
    fields.contains_key(name)
        && fields::tokens(fields, name).any(|found| found.eq_ignore_ascii_case(token.as_bytes()))
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
    fn a_later_minor_version_is_treated_as_1_1() {
        let input = b"\r\nGET / HTTP/1.7\r\nHost: h\r\n\r\n";
        assert!(parse_whole(input, &Limits::default(), &mut HeadArena::default()).is_none());
        let (line, arena) = (2..16, &mut HeadArena::default());
        let head = parse_checked(input, line, input.len(), &Limits::default(), arena);
        assert_eq!(
            head.expect("it is valid").request.version(),
            Version::HTTP_11
        );
    }
}
