//! The request target: its form by the method (RFC 9112 §3.2), then [`Uri`].

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{Method, Uri};

use super::fields::Authority;
use crate::conn::grammar::{PATH, QUERY, find};
use crate::conn::refusal::Refusal;

/// Parses `target`, of which `share` gives the bytes to be kept.
///
/// The form is checked before [`Uri`] sees it, because `Uri` takes more than the RFC: a bare word
/// for an authority, a fragment, quotes and braces in a path.
pub(super) fn parse(
    method: &Method,
    target: &[u8],
    share: impl FnOnce() -> Bytes,
) -> Result<Uri, Refusal> {
    let is_right = match target {
        _ if method == Method::CONNECT => is_authority_form(target),
        b"/" => return Ok(Uri::default()),
        [b'/', ..] => is_path_and_query(target),
        b"*" => method == Method::OPTIONS,
        _ => is_absolute_form(target),
    };
    if !is_right {
        return Err(Refusal::malformed(
            "the request target is malformed or not for this method",
        ));
    }
    let uri = match target {
        [b'/', ..] => PathAndQuery::from_maybe_shared(share()).map(Uri::from),
        _ => Uri::from_maybe_shared(share()),
    };
    uri.map_err(|_| Refusal::malformed("the request target is not a URI"))
}

/// `authority-form`: a host and a port, for CONNECT alone (RFC 9112 §3.2.3).
fn is_authority_form(target: &[u8]) -> bool {
    Authority::parse(target).is_some_and(|authority| {
        !authority.host.is_empty() && authority.port.is_some_and(|port| !port.is_empty())
    })
}

/// `absolute-form` with the schemes this server can be the origin of. User information in it "is
/// likely being used to obscure the authority" (RFC 9110 §4.2.4) and is refused, as an empty host
/// is (§4.2.1).
fn is_absolute_form(target: &[u8]) -> bool {
    let after_scheme = [&b"http://"[..], b"https://"]
        .into_iter()
        .find_map(|scheme| {
            let (start, rest) = target.split_at_checked(scheme.len())?;
            start.eq_ignore_ascii_case(scheme).then_some(rest)
        });
    let Some(rest) = after_scheme else {
        return false;
    };
    let end = rest
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?'))
        .unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    Authority::parse(authority).is_some_and(|authority| !authority.host.is_empty())
        && is_path_and_query(path)
}

fn is_path_and_query(bytes: &[u8]) -> bool {
    // Most targets have no query.
    if PATH.contains_all(bytes) {
        return true;
    }
    find(b'?', bytes).is_some_and(|end| {
        let (path, query) = bytes.split_at(end);
        PATH.contains_all(path) && QUERY.contains_all(query)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(method: &str, target: &str) -> bool {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let bytes = target.as_bytes();
        parse(&method, bytes, || Bytes::copy_from_slice(bytes)).is_ok()
    }

    #[test]
    fn each_form_has_its_methods() {
        for (method, target) in [
            ("GET", "/"),
            ("GET", "//a//b"),
            ("GET", "/[a]|b?c[]={d}"),
            ("GET", "/a%20b;c=d?e=f&g=/?:@"),
            ("GET", "/100%"),
            ("GET", "/a%zz%2"),
            ("GET", "/a^b?q=100%&%zz=a\\b"),
            ("GET", "http://a/%?%\\"),
            ("get", "/?"),
            ("GET", "http://a"),
            ("GET", "HTTP://a:80/b?c"),
            ("POST", "https://[::1]:8080/"),
            ("GET", "http://a?b"),
            ("OPTIONS", "*"),
            ("OPTIONS", "/"),
            ("CONNECT", "a:443"),
            ("CONNECT", "[::1]:443"),
        ] {
            assert!(accepts(method, target), "{method} {target}");
        }
        for (method, target) in [
            ("GET", "*"),
            ("GET", "x"),
            ("GET", "a:443"),
            ("GET", "/a#b"),
            ("GET", "/\"<>"),
            ("GET", "/{a}"),
            ("GET", "/a\\b"),
            ("GET", "/a`b"),
            ("GET", "/a\\b?"),
            ("GET", "http://a%zz/"),
            ("GET", "ftp://a/"),
            ("GET", "http:/a"),
            ("GET", "http:///a"),
            ("GET", "http://u@a/"),
            ("GET", "http://a:b/"),
            ("GET", "http://:80/"),
            ("GET", "http://a#b"),
            ("GET", "http://["),
            ("CONNECT", "/"),
            ("CONNECT", "a"),
            ("CONNECT", "a:"),
            ("CONNECT", ":443"),
            ("CONNECT", "[::1]"),
            ("CONNECT", "http://a:443"),
        ] {
            assert!(!accepts(method, target), "{method} {target}");
        }
    }

    #[test]
    fn what_passes_is_a_uri_for_http_and_stays_as_it_came() {
        // Every byte that the tables let through must be one that `Uri` takes.
        for byte in 0..=u8::MAX {
            for (set, start) in [(&PATH, "/"), (&QUERY, "/?"), (&PATH, "http://a/")] {
                let target = [start.as_bytes(), &[byte], b"b"].concat();
                let parsed = parse(&Method::GET, &target, || Bytes::copy_from_slice(&target));
                let is_taken = set.contains(byte) || byte == b'?';
                let came = parsed.ok().map(|uri| uri.to_string().into_bytes());
                assert_eq!(came, is_taken.then_some(target), "{start}{byte:#x}");
            }
        }
    }

    #[test]
    fn a_uri_holds_all_of_a_query_and_in_a_path_all_but_the_grave_accent() {
        let is_held = |byte: &u8| PathAndQuery::try_from(&[b'/', *byte][..]).is_ok();
        let lacking: Vec<u8> = (0..=u8::MAX)
            .filter(|byte| QUERY.contains(*byte) && !is_held(byte))
            .collect();
        assert_eq!(lacking, b"`");
    }
}
