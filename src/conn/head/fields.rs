//! The fields of a head that decide what the server does with the request.

use std::net::Ipv6Addr;

use http::Version;
use http::header::{self, HeaderMap, HeaderName};

use super::names::Role;
use crate::conn::grammar::{REG_NAME, find, trim_ows};
use crate::conn::refusal::Refusal;

/// Which of the fields that the server acts upon are there, noted while they are gathered: most
/// requests have only `Host`, and need not be searched for the others.
#[derive(Debug, Default)]
pub(super) struct ActedUpon<'a> {
    host: Option<&'a [u8]>,
    host_is_repeated: bool,
    /// `Content-Length` or `Transfer-Encoding`.
    pub(super) framing: bool,
    pub(super) expect: bool,
    /// The tokens of `Connection` that say whether it persists.
    close: bool,
    keep_alive: bool,
}

impl<'a> ActedUpon<'a> {
    /// Takes note of a field line.
    pub(super) fn note(&mut self, role: Role, value: &'a [u8]) {
        match role {
            Role::Host => {
                self.host_is_repeated |= self.host.is_some();
                self.host = Some(value);
            }
            Role::Framing => self.framing = true,
            Role::Connection => {
                for token in elements(value) {
                    self.close |= token.eq_ignore_ascii_case(b"close");
                    self.keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            Role::Expect => self.expect = true,
            Role::None => {}
        }
    }

    /// `Host`: once in HTTP/1.1, at most once in HTTP/1.0, and well-formed; it may be empty
    /// (RFC 9112 §3.2, RFC 9110 §7.2). `known` are some that were right.
    pub(super) fn check_host(
        &self,
        version: Version,
        known: &mut RightHosts,
    ) -> Result<(), Refusal> {
        if self.host_is_repeated {
            return Err(Refusal::malformed("Host is given more than once"));
        }
        let Some(host) = self.host else {
            return match version {
                Version::HTTP_10 => Ok(()),
                _ => Err(Refusal::malformed("Host is missing")),
            };
        };
        if host.is_empty() || known.contains(host) {
            return Ok(());
        }
        if Authority::parse(host).is_none_or(|authority| authority.host.is_empty()) {
            return Err(Refusal::malformed(
                "Host is not a host with an optional port",
            ));
        }
        known.remember(host);
        Ok(())
    }

    /// Whether the connection persists (RFC 9112 §9.3): in HTTP/1.1 unless told to close, in
    /// HTTP/1.0 only if asked to be kept.
    pub(super) fn persists(&self, version: Version) -> bool {
        !self.close && (version >= Version::HTTP_11 || self.keep_alive)
    }
}

/// The last few `Host`s that were right, which need not be looked at again: a server has few names,
/// and most clients use one of them.
#[derive(Debug, Default)]
pub(in crate::conn) struct RightHosts {
    all: [Vec<u8>; Self::COUNT],
    /// The one that was remembered first of all.
    oldest: usize,
}

impl RightHosts {
    const COUNT: usize = 4;
    /// The longest that is remembered: a host name has at most 253 bytes (RFC 1035 §2.3.4).
    const MAX_LENGTH: usize = 260;

    fn contains(&self, host: &[u8]) -> bool {
        self.all.iter().any(|known| known == host)
    }

    fn remember(&mut self, host: &[u8]) {
        if host.len() <= Self::MAX_LENGTH {
            let place = &mut self.all[self.oldest];
            place.clear();
            place.extend_from_slice(host);
            self.oldest = (self.oldest + 1) % Self::COUNT;
        }
    }
}

/// `Expect`: `100-continue`, which HTTP/1.0 must not be given (RFC 9110 §10.1.1).
pub(super) fn expects_continue(version: Version, fields: &HeaderMap) -> Result<bool, Refusal> {
    if version < Version::HTTP_11 {
        return Ok(false);
    }
    let mut tokens = tokens(fields, &header::EXPECT).filter(|token| !token.is_empty());
    match tokens.next() {
        None => Err(Refusal::expectation()),
        Some(first) => {
            let is_continue = |token: &[u8]| token.eq_ignore_ascii_case(b"100-continue");
            if is_continue(first) && tokens.all(is_continue) {
                Ok(true)
            } else {
                Err(Refusal::expectation())
            }
        }
    }
}

/// The elements of a field that is a list (RFC 9110 §5.6.1), over all its lines.
pub(super) fn tokens<'a>(
    fields: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a [u8]> {
    let lines = fields.get_all(name).iter();
    lines.flat_map(|line| elements(line.as_bytes()))
}

/// The elements of one line of such a field.
fn elements(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|&byte| byte == b',').map(trim_ows)
}

/// `uri-host [ ":" port ]` (RFC 9110 §7.2, RFC 3986 §3.2.2), without user information.
#[derive(Clone, Copy, Debug)]
pub(super) struct Authority<'a> {
    /// A name, an IPv4 address, or what stands between brackets; may be empty.
    pub(super) host: &'a [u8],
    /// What stands behind the colon; may be empty.
    pub(super) port: Option<&'a [u8]>,
}

impl<'a> Authority<'a> {
    /// Takes the bytes apart if both parts are well-formed.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (host, after) = match bytes {
            [b'[', literal @ ..] => {
                let end = find(b']', literal)?;
                let host = &literal[..end];
                (is_ip_literal(host).then_some(host)?, &literal[end + 1..])
            }
            _ => {
                let (host, after) = bytes.split_at(find(b':', bytes).unwrap_or(bytes.len()));
                let is_name = REG_NAME.contains_encoded(host);
                (is_name.then_some(host)?, after)
            }
        };
        let port = match after {
            [] => None,
            [b':', port @ ..] => Some(is_port(port).then_some(port)?),
            _ => return None,
        };
        Some(Self { host, port })
    }
}

/// `port = *DIGIT`, and a port that exists.
fn is_port(digits: &[u8]) -> bool {
    let add = |number: u32, digit: &u8| {
        number
            .saturating_mul(10)
            .saturating_add(u32::from(digit - b'0'))
    };
    let exists = || digits.iter().fold(0, add) <= u32::from(u16::MAX);
    digits.iter().all(u8::is_ascii_digit) && (digits.len() < 5 || exists())
}

/// What stands between the brackets: an IPv6 address, or `IPvFuture`.
fn is_ip_literal(bytes: &[u8]) -> bool {
    match bytes {
        [b'v' | b'V', future @ ..] => {
            let Some(dot) = future.iter().position(|&byte| byte == b'.') else {
                return false;
            };
            let (version, address) = (&future[..dot], &future[dot + 1..]);
            let is_allowed =
                |byte: &u8| *byte == b':' || (REG_NAME.contains(*byte) && *byte != b'%');
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
    fn authorities() {
        for right in [
            "a",
            "a.b:80",
            "127.0.0.1:3000",
            "[::1]",
            "[::1]:80",
            "a:",
            "[v1.a:b]",
            "%61",
        ] {
            assert!(Authority::parse(right.as_bytes()).is_some(), "{right}");
        }
        for wrong in [
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
            "[v1.]",
            "[v.a]",
            "a\"",
            "%6",
            "a?b",
            "a#b",
            "[::1%25eth0]",
            "<a>",
        ] {
            assert!(Authority::parse(wrong.as_bytes()).is_none(), "{wrong}");
        }
    }

    #[test]
    fn hosts_that_were_right_stay_right_and_others_are_looked_at() {
        let mut known = RightHosts::default();
        let mut check = |host: &str| {
            let mut fields = ActedUpon::default();
            fields.note(Role::Host, host.as_bytes());
            let is_right = fields.check_host(Version::HTTP_11, &mut known).is_ok();
            let remembered = known
                .all
                .each_ref()
                .map(|host| String::from_utf8_lossy(host));
            (is_right, remembered.join(" "))
        };
        for (host, is_right, remembered) in [
            ("a b", false, "   "),
            ("a:80", true, "a:80   "),
            ("a:80", true, "a:80   "),
            ("a:8x", false, "a:80   "),
            ("a:8", true, "a:80 a:8  "),
            ("a:80", true, "a:80 a:8  "),
            ("", true, "a:80 a:8  "),
            (":80", false, "a:80 a:8  "),
            ("b", true, "a:80 a:8 b "),
            ("c", true, "a:80 a:8 b c"),
            ("d", true, "d a:8 b c"),
            ("a:8", true, "d a:8 b c"),
            ("a:80", true, "d a:80 b c"),
        ] {
            assert_eq!(check(host), (is_right, remembered.to_owned()), "{host}");
        }
        let long = "a".repeat(RightHosts::MAX_LENGTH + 1);
        assert_eq!(check(&long), (true, "d a:80 b c".to_owned()));
    }

    #[test]
    fn tokens_are_found_over_all_lines_whatever_the_case() {
        let mut fields = ActedUpon::default();
        fields.note(Role::Connection, b"x,  Keep-Alive");
        assert!(fields.persists(Version::HTTP_10));
        fields.note(Role::Connection, b"CLOSE ,");
        assert!(!fields.persists(Version::HTTP_10));
        assert!(!fields.persists(Version::HTTP_11));
    }

    #[test]
    fn expectations() {
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
