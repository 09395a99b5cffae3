//! The fields that the server itself acts on: `Host`, framing, `Connection` and `Expect`.

use std::net::Ipv6Addr;

use http::Version;
use http::header::{self, HeaderMap, HeaderName};

use super::names::Role;
use crate::conn::grammar::{Quoting, REG_NAME, trim_ows};
use crate::conn::refusal::Refusal;

/// Which of the fields that the server acts on are present. Recorded while the field lines are
/// collected: most requests have only `Host`, so the map need not be searched for the others.
#[derive(Debug, Default)]
pub(super) struct ServerFields<'a> {
    host: Option<&'a [u8]>,
    host_is_repeated: bool,
    /// `Content-Length` or `Transfer-Encoding` is present.
    pub(super) framing: bool,
    /// `Expect` is present.
    pub(super) expect: bool,
    /// `TE` is present.
    pub(super) te: bool,
    /// `Upgrade` is present.
    pub(super) upgrade: bool,
    /// `Connection` contains `close`.
    close: bool,
    /// `Connection` contains `keep-alive`.
    keep_alive: bool,
}

impl<'a> ServerFields<'a> {
    /// Records a field line.
    pub(super) fn record(&mut self, role: Role, value: &'a [u8]) {
        match role {
            Role::Host => {
                self.host_is_repeated |= self.host.is_some();
                self.host = Some(value);
            }
            Role::Framing => self.framing = true,
            Role::Connection => self.record_connection(value),
            Role::Expect => self.expect = true,
            Role::Te => self.te = true,
            Role::Upgrade => self.upgrade = true,
            Role::None => {}
        }
    }

    fn record_connection(&mut self, value: &[u8]) {
        // Browsers send this alone: then it need not be searched for separators.
        if value.eq_ignore_ascii_case(b"keep-alive") {
            self.keep_alive = true;
            return;
        }
        for option in elements_of_line(value) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    /// Checks `Host`: exactly one in HTTP/1.1, at most one in HTTP/1.0, and well-formed. It may be
    /// empty (RFC 9112 §3.2, RFC 9110 §7.2).
    pub(super) fn check_host(&self, version: Version, last: &mut LastHost) -> Result<(), Refusal> {
        if self.host_is_repeated {
            return Err(Refusal::malformed("Host is given more than once"));
        }
        let Some(host) = self.host else {
            return match version {
                Version::HTTP_10 => Ok(()),
                _ => Err(Refusal::malformed("Host is missing")),
            };
        };
        if host.is_empty() || last.is_valid(host) {
            return Ok(());
        }
        Err(Refusal::malformed(
            "Host is not a host with an optional port",
        ))
    }

    /// Whether the connection persists (RFC 9112 §9.3): in HTTP/1.1 unless `close` is given, in
    /// HTTP/1.0 only with `keep-alive`.
    pub(super) fn persists(&self, version: Version) -> bool {
        !self.close && (version >= Version::HTTP_11 || self.keep_alive)
    }
}

/// The last valid `Host`. Nearly all requests to a server have the same, and to compare it takes a quarter of the
/// instructions that checking it takes.
#[derive(Debug, Default)]
pub(super) struct LastHost(Vec<u8>);

impl LastHost {
    /// The longest value that is kept: a longer one is no name (RFC 1035 §2.3.4) with a port.
    const MAX_LENGTH: usize = 262;

    /// Whether this is a host with an optional port.
    fn is_valid(&mut self, host: &[u8]) -> bool {
        if self.0 == host {
            return true;
        }
        let is_valid = is_authority(host);
        if is_valid && host.len() <= Self::MAX_LENGTH {
            self.0.clear();
            self.0.extend_from_slice(host);
        }
        is_valid
    }
}

/// Whether the client expects `100 Continue`. `Expect` is ignored in HTTP/1.0; any other expectation
/// is refused with 417 (RFC 9110 §10.1.1).
pub(super) fn expects_continue(version: Version, fields: &HeaderMap) -> Result<bool, Refusal> {
    if version < Version::HTTP_11 {
        return Ok(false);
    }
    let mut expects = false;
    for expectation in elements(fields, &header::EXPECT).filter(|element| !element.is_empty()) {
        if !expectation.eq_ignore_ascii_case(b"100-continue") {
            return Err(Refusal::expectation());
        }
        expects = true;
    }
    if expects {
        Ok(true)
    } else {
        Err(Refusal::expectation())
    }
}

/// Whether a list field contains `token`, in any case.
pub(in crate::conn) fn has_token(fields: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    // Nearly all heads lack the field: then there is nothing to go through.
    fields.contains_key(name)
        && elements(fields, name).any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
}

/// The elements of a list field (RFC 9110 §5.6.1), across all its field lines.
pub(in crate::conn) fn elements<'a>(
    fields: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a [u8]> {
    let lines = fields.get_all(name).iter();
    lines.flat_map(|line| elements_of_line(line.as_bytes()))
}

/// The elements of one field line of a list field. A comma in a quoted string is a part of its element.
fn elements_of_line(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoting = Quoting::Outside;
    let is_separator = move |byte: &u8| {
        quoting = quoting.after(char::from(*byte));
        *byte == b',' && quoting == Quoting::Outside
    };
    line.split(is_separator).map(trim_ows)
}

/// Whether these are a host and an optional port, `uri-host [ ":" port ]` (RFC 9110 §7.2, RFC 3986
/// §3.2.2), without user information. The host must not be empty; the port may be.
pub(super) fn is_authority(bytes: &[u8]) -> bool {
    let (host, port) = split_port(bytes);
    let is_host = match host {
        [] => false,
        [b'[', literal @ .., b']'] => is_ip_literal(literal),
        _ => REG_NAME.contains_encoded(host),
    };
    is_host && port.is_none_or(is_port)
}

/// Splits off the port: the digits at the end, if a colon precedes them.
pub(super) fn split_port(authority: &[u8]) -> (&[u8], Option<&[u8]>) {
    match authority.iter().rposition(|byte| !byte.is_ascii_digit()) {
        Some(at) if authority[at] == b':' => (&authority[..at], Some(&authority[at + 1..])),
        Some(_) | None => (authority, None),
    }
}

/// Whether a `port = *DIGIT` (RFC 3986 §3.2.3) is at most 65535.
fn is_port(digits: &[u8]) -> bool {
    let add = |number: u32, digit: &u8| {
        number
            .saturating_mul(10)
            .saturating_add(u32::from(digit - b'0'))
    };
    digits.len() < 5 || digits.iter().fold(0, add) <= u32::from(u16::MAX)
}

/// The text between brackets: an IPv6 address, or `IPvFuture` (RFC 3986 §3.2.2).
// Not inlined: parsing an address takes all registers, and most hosts are names.
#[inline(never)]
fn is_ip_literal(bytes: &[u8]) -> bool {
    match bytes {
        [b'v' | b'V', future @ ..] => {
            let Some(dot) = future.iter().position(|&byte| byte == b'.') else {
                return false;
            };
            let (version, address) = (&future[..dot], &future[dot + 1..]);
            let is_allowed = |byte: &u8| *byte == b':' || REG_NAME.contains(*byte);
            !version.is_empty()
                && version.iter().all(u8::is_ascii_hexdigit)
                && !address.is_empty()
                && address.iter().all(is_allowed)
        }
        _ => std::str::from_utf8(bytes).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn an_authority_is_a_host_with_an_optional_port() {
        for valid in [
            "a",
            "a.b:80",
            "127.0.0.1:3000",
            "[::1]",
            "[::1]:80",
            "a:",
            "[v1.a:b]",
            "%61",
            "12:34",
            "1234",
            "a:0000065535",
        ] {
            assert!(is_authority(valid.as_bytes()), "{valid}");
        }
        for invalid in [
            "a b",
            "a/b",
            "u@a",
            "a:b",
            "a:80:80",
            "[::1",
            "::1]",
            "[a]",
            "[::1]x",
            "a:65536",
            "a:99999999999999999999",
            "[]",
            "[",
            "[a]:x",
            "[v1.]",
            "[v.a]",
            "a\"",
            "%6",
            "a?b",
            "a#b",
            "[::1%25eth0]",
            "<a>",
            "",
            ":80",
        ] {
            assert!(!is_authority(invalid.as_bytes()), "{invalid}");
        }
    }

    #[test]
    fn host_is_given_once_and_is_a_host_with_an_optional_port() {
        let mut last = LastHost::default();
        let mut check = |hosts: &[&str], version| {
            let mut fields = ServerFields::default();
            for host in hosts {
                fields.record(Role::Host, host.as_bytes());
            }
            fields.check_host(version, &mut last).is_ok()
        };
        for (hosts, in_1_0, in_1_1) in [
            (&["a:80"][..], true, true),
            (&[""], true, true),
            (&[], true, false),
            (&["a"], true, true),
            (&["a", "a"], false, false),
            (&["A"], true, true),
            (&["a b"], false, false),
            (&["a:8x"], false, false),
            (&[":80"], false, false),
        ] {
            assert_eq!(check(hosts, Version::HTTP_10), in_1_0, "{hosts:?}");
            assert_eq!(check(hosts, Version::HTTP_11), in_1_1, "{hosts:?}");
        }
    }

    #[test]
    fn the_last_valid_host_is_kept_unless_it_is_long() {
        let mut last = LastHost::default();
        assert!(last.is_valid(b"a:80") && !last.is_valid(b"a b"));
        assert_eq!(last.0, b"a:80");
        let long = [b'a'; LastHost::MAX_LENGTH + 1];
        assert!(last.is_valid(&long));
        assert_eq!(last.0, b"a:80");
        assert!(last.is_valid(&long[1..]));
        assert_eq!(last.0, long[1..]);
    }

    #[test]
    fn tokens_are_found_in_all_lines_and_in_any_case() {
        let mut fields = ServerFields::default();
        fields.record(Role::Connection, b"x,  Keep-Alive");
        assert!(fields.persists(Version::HTTP_10));
        fields.record(Role::Connection, b"CLOSE ,");
        assert!(!fields.persists(Version::HTTP_10));
        assert!(!fields.persists(Version::HTTP_11));
    }

    /// For all lists alike: what is in a quoted string is no element (RFC 9110 §5.6.4).
    #[test]
    fn a_comma_in_a_quoted_string_separates_nothing() {
        for (line, expected) in [
            (r#"",trailers,""#, &[r#"",trailers,""#][..]),
            (r#"a;b="c, trailers" , d"#, &[r#"a;b="c, trailers""#, "d"]),
            (r#"a="\", b"#, &[r#"a="\", b"#]),
            (r#"a="\"," , b"#, &[r#"a="\",""#, "b"]),
            (r#"a="\\", b"#, &[r#"a="\\""#, "b"]),
            (r#"a\", b", c"#, &[r#"a\", b""#, "c"]),
            // Without its end, a quoted string goes on to the end of the line.
            (r#"a, ", trailers"#, &["a", r#"", trailers"#]),
            ("a,, b", &["a", "", "b"]),
        ] {
            let elements: Vec<_> = elements_of_line(line.as_bytes()).collect();
            let expected: Vec<_> = expected.iter().map(|it| it.as_bytes()).collect();
            assert_eq!(elements, expected, "{line}");
        }
        let mut fields = ServerFields::default();
        fields.record(Role::Connection, br#"",close,""#);
        assert!(fields.persists(Version::HTTP_11));
    }

    #[test]
    fn the_only_expectation_is_100_continue() {
        let expects = |version, value: &'static str| {
            let mut fields = HeaderMap::new();
            fields.append(header::EXPECT, HeaderValue::from_static(value));
            expects_continue(version, &fields).map_err(|fault| fault.status().as_u16())
        };
        assert_eq!(expects(Version::HTTP_11, "100-Continue"), Ok(true));
        assert_eq!(expects(Version::HTTP_10, "100-continue"), Ok(false));
        for other in ["", "100-continue, x", "200-ok", "100-continue;a=b"] {
            assert_eq!(expects(Version::HTTP_11, other), Err(417), "{other}");
        }
    }
}
