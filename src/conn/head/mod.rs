//! The head of a request: from bytes to [`Head`].
//!
//! A head that arrives whole is parsed by `httparse`, and its parts by the types that are made of them
//! (`strict.rs` lists what is checked beside). A head in pieces or with a fault is judged line by line
//! first ([`HeadLines`]): that finds its end, or says what is wrong. The two accept the same heads, so
//! the verdict doesn't depend on how a head arrives. A fuzz target checks that.

mod arena;
mod fields;
mod lines;
mod names;
mod protocols;
mod strict;
mod target;

pub(super) use arena::HeadArena;
pub(super) use lines::{HeadLines, Judged};
pub(super) use protocols::name_protocol;

use std::mem::MaybeUninit;
use std::ops::Range;

use bytes::Bytes;
use http::Method;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use self::fields::ActedUpon;
use self::names::{Common, Role};
use self::strict::Parsed;

use super::framing::Framing;
use super::refusal::Refusal;
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

/// Parses the head at the front of `input`, if all of it is there and it is without fault; returns
/// it and its length in bytes.
///
/// `None` says no more than that the head is not accepted: it may be unfinished or have a fault. Ask
/// [`HeadLines`].
pub(super) fn parse_whole(
    input: &[u8],
    limits: &Limits,
    arena: &mut HeadArena,
) -> Option<(Head, usize)> {
    let window = &input[..input.len().min(limits.max_head)];
    parse(window, limits, arena).ok()
}

/// Parses a head that is whole and without fault by [`HeadLines`], and judges what its parts mean.
pub(super) fn parse_judged(
    input: &[u8],
    request_line: Range<usize>,
    end: usize,
    limits: &Limits,
    arena: &mut HeadArena,
) -> Result<Head, Refusal> {
    let head = strict::with_known_version(&input[request_line.start..end], request_line.len());
    parse(&head, limits, arena).map(|(head, _)| head)
}

/// Parses the head at the front of `window`. An `Err` only means 'not accepted'. It need not be the
/// first fault: [`HeadLines`] finds that one.
fn parse(window: &[u8], limits: &Limits, arena: &mut HeadArena) -> Result<(Head, usize), Refusal> {
    let HeadArena { block, right_hosts } = arena;
    let mut fields = [const { MaybeUninit::uninit() }; Limits::MAX_FIELDS];
    // A fuzz target checks that both accept the same; if they should not, refuse.
    let parsed = strict::parse(window, limits, &mut fields)
        .ok_or(Refusal::malformed("the head can't be parsed"))?;
    let length = parsed.bytes().len();

    // Everything in the request shares one copy of the bytes.
    let shared = block.copy(parsed.bytes());
    let mut request = Request::new();
    request_line(&parsed, &shared, &mut request)?;
    let acted_upon = gather(&parsed, &shared, request.headers_mut())?;
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

/// Puts the fields into the map.
#[inline(never)]
fn gather<'a>(
    parsed: &Parsed<'_, '_>,
    head: &'a Bytes,
    fields: &mut HeaderMap,
) -> Result<ActedUpon<'a>, Refusal> {
    if parsed.field_count() > fields.capacity() {
        fields.reserve(parsed.field_count());
    }
    let mut acted_upon = ActedUpon::default();
    for (name, place) in parsed.fields() {
        let bytes = &head[place.clone()];
        let value = HeaderValue::from_maybe_shared(head.slice(place))
            .map_err(|_| Refusal::malformed("a field value has a control character"))?;
        if let Some(common) = Common::find(&head[name.start..], name.len()) {
            if common.role != Role::None {
                acted_upon.note(common.role, bytes);
            }
            fields.append(&common.name, value);
        } else {
            let name = HeaderName::from_bytes(&head[name])
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
    fn a_later_minor_version_is_read_as_1_1() {
        let input = b"\r\nGET / HTTP/1.7\r\nHost: h\r\n\r\n";
        assert!(parse_whole(input, &Limits::default(), &mut HeadArena::default()).is_none());
        let (line, arena) = (2..16, &mut HeadArena::default());
        let head = parse_judged(input, line, input.len(), &Limits::default(), arena);
        assert_eq!(
            head.expect("it is right").request.version(),
            Version::HTTP_11
        );
    }
}
