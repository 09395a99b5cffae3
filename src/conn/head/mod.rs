//! Parses the head of a request into a [`Head`].
//!
//! There are two paths. A head that arrives complete is parsed by `httparse`; `strict.rs` and the
//! types built from its parts refuse what `httparse` is too lenient about. If that fails, because the
//! head is incomplete or malformed, [`HeadLines`] checks it line by line: it finds the end of the
//! head, or the fault. Both paths accept the same heads, so the result doesn't depend on how the
//! bytes arrive. A fuzz target checks that.

mod fields;
mod lines;
mod names;
mod protocols;
mod strict;
mod target;

pub(super) use fields::{elements, has_token};
pub(super) use lines::{Checked, HeadLines};
pub(super) use protocols::name_protocol;

use std::mem::MaybeUninit;
use std::ops::Range;

use bytes::{Buf, Bytes};
use http::Method;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use self::fields::{LastHost, ServerFields};
use self::names::{Common, Role};
use self::strict::Parsed;

use super::framing::Framing;
use super::memory::HeadBlock;
use super::refusal::Refusal;
use crate::limits::Limits;
use crate::request::Request;

/// What the parser keeps between heads.
#[derive(Debug, Default)]
pub(super) struct HeadMemory {
    block: HeadBlock,
    last_host: LastHost,
}

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
    /// Whether it has the field `TE`.
    pub(super) has_te: bool,
    /// Whether it has the field `Upgrade`.
    pub(super) has_upgrade: bool,
    /// The length of the head in bytes.
    pub(super) length: usize,
}

impl Head {
    /// Bytes of memory that the head takes, at most.
    pub(super) fn size(&self) -> usize {
        // A field takes its entry in a [`HeaderMap`] and its index there: about this much.
        const SIZE_OF_FIELD: usize = 112;
        HeadBlock::pinned_by(self.length) + self.request.headers().capacity() * SIZE_OF_FIELD
    }
}

/// Parses the head at the front of `input`. CONNECT is refused unless `may_tunnel`.
///
/// `None` means that the head is incomplete or refused; [`HeadLines`] finds out which.
pub(super) fn parse_whole(
    input: &[u8],
    may_tunnel: bool,
    limits: &Limits,
    memory: &mut HeadMemory,
) -> Option<Head> {
    let window = &input[..input.len().min(limits.max_head)];
    parse(window, may_tunnel, limits, memory).ok()
}

/// Parses a head that [`HeadLines`] has found complete and grammatical. Checks what depends on the
/// meaning of its parts, such as `Host` and framing.
pub(super) fn parse_checked(
    input: &[u8],
    request_line: Range<usize>,
    end: usize,
    may_tunnel: bool,
    limits: &Limits,
    memory: &mut HeadMemory,
) -> Result<Head, Refusal> {
    let head = strict::with_known_version(&input[request_line.start..end], request_line.len());
    parse(&head, may_tunnel, limits, memory)
}

/// Parses the head at the front of `window`. An `Err` only means 'not accepted': it need not be the
/// head's first fault, which [`HeadLines`] finds.
fn parse(
    window: &[u8],
    may_tunnel: bool,
    limits: &Limits,
    memory: &mut HeadMemory,
) -> Result<Head, Refusal> {
    let mut fields = [const { MaybeUninit::uninit() }; Limits::MAX_FIELDS];
    // `HeadLines` accepts the same heads, as a fuzz target checks. If they ever differ, refuse.
    let parsed = strict::parse(window, limits, &mut fields).ok_or(UNPARSABLE)?;

    // All parts of the request share one copy of the bytes.
    let shared = memory.block.copy(parsed.bytes);
    let mut request = Request::new();
    let server_fields = gather(&parsed, &shared, request.headers_mut())?;
    request_line(&parsed, shared, &mut request)?;
    let (fields, version) = (request.headers(), request.version());

    if !may_tunnel && request.method() == Method::CONNECT {
        return Err(Refusal::no_tunnels());
    }
    server_fields.check_host(version, &mut memory.last_host)?;
    let framing = if server_fields.framing {
        Framing::of_request(version, fields)?
    } else {
        Framing::None
    };
    let expects_continue = server_fields.expect
        && fields::expects_continue(version, fields)?
        && framing != Framing::None;
    let persist = server_fields.persists(version);
    Ok(Head {
        request,
        framing,
        persist,
        expects_continue,
        has_te: server_fields.te,
        has_upgrade: server_fields.upgrade,
        length: parsed.bytes.len(),
    })
}

const UNPARSABLE: Refusal = Refusal::malformed("the head can't be parsed");

/// Puts the parts of the request line into the request.
fn request_line(
    parsed: &Parsed<'_, '_>,
    mut head: Bytes,
    request: &mut http::Request<Vec<u8>>,
) -> Result<(), Refusal> {
    let method = match parsed.method {
        b"GET" => Method::GET,
        other => Method::from_bytes(other)
            .map_err(|_| Refusal::malformed("the method is not a token"))?,
    };
    *request.version_mut() = parsed.version;
    // The target takes the head's bytes over, which costs less than sharing them once more.
    let Range { start, end } = parsed.range_of(parsed.target);
    head.truncate(end);
    head.advance(start);
    target::parse(&method, head, request.uri_mut())?;
    *request.method_mut() = method;
    Ok(())
}

/// Puts the field lines into `fields`, and returns those that the server acts on.
#[inline(never)]
fn gather<'b>(
    parsed: &Parsed<'_, 'b>,
    head: &Bytes,
    fields: &mut HeaderMap,
) -> Result<ServerFields<'b>, Refusal> {
    let mut server_fields = ServerFields::default();
    for field in parsed.fields {
        let value = match field.value {
            [] => HeaderValue::from_static(""),
            bytes => HeaderValue::from_maybe_shared(head.slice(parsed.range_of(bytes)))
                .map_err(|_| Refusal::malformed("a field value has a control character"))?,
        };
        let line = parsed.line(field).ok_or(UNPARSABLE)?;
        let name = field.name.as_bytes();
        let (name, role) = match Common::find(line, name.len()) {
            Some(common) => (common.name.clone(), common.role),
            None => {
                let name = HeaderName::from_bytes(name)
                    .map_err(|_| Refusal::malformed("a field name is not a token"))?;
                let role = Role::of(&name);
                (name, role)
            }
        };
        server_fields.record(role, field.value);
        fields.append(name, value);
    }
    Ok(server_fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Version;

    fn parse(head: &str) -> Option<Head> {
        let mut memory = HeadMemory::default();
        parse_whole(head.as_bytes(), true, &Limits::default(), &mut memory)
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
        let (limits, memory) = (&Limits::default(), &mut HeadMemory::default());
        assert!(parse_whole(input, true, limits, memory).is_none());
        let head = parse_checked(input, 2..16, input.len(), true, limits, memory);
        assert_eq!(
            head.expect("it is valid").request.version(),
            Version::HTTP_11
        );
    }
}
