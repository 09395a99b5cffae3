//! Parses the request target: checks that its form suits the method (RFC 9112 §3.2), then makes a
//! [`Uri`] of it.

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{Method, Uri};

use super::fields::{is_authority, split_port};
use crate::conn::grammar::{PATH, QUERY, find};
use crate::conn::refusal::Refusal;

/// Parses `target`, and puts it into `uri`, which is `/` before.
///
/// The form is checked first because `Uri` accepts more than the RFC: a bare word as an authority,
/// fragments, and quotes and braces in a path.
pub(super) fn parse(method: &Method, target: Bytes, uri: &mut Uri) -> Result<(), Refusal> {
    let is_valid = match &*target {
        bytes if method == Method::CONNECT => is_authority_form(bytes),
        b"/" => return Ok(()),
        bytes @ [b'/', ..] => is_path_and_query(bytes),
        b"*" => method == Method::OPTIONS,
        bytes => is_absolute_form(bytes),
    };
    if !is_valid {
        return Err(Refusal::malformed(
            "the request target is malformed or not for this method",
        ));
    }
    let not_a_uri = |_| Refusal::malformed("the request target is not a URI");
    *uri = match target.first() {
        Some(b'/') => PathAndQuery::from_maybe_shared(target)
            .map_err(not_a_uri)?
            .into(),
        Some(_) | None => Uri::from_maybe_shared(target).map_err(not_a_uri)?,
    };
    Ok(())
}

/// `authority-form`: a host and a port, only for CONNECT (RFC 9112 §3.2.3).
fn is_authority_form(target: &[u8]) -> bool {
    let (_, port) = split_port(target);
    is_authority(target) && port.is_some_and(|port| !port.is_empty())
}

/// `absolute-form` (RFC 9112 §3.2.2) with the scheme `http` or `https`. Refused are an empty host
/// (RFC 9110 §4.2.1) and user information, which "is likely being used to obscure the authority"
/// (§4.2.4).
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
    is_authority(authority) && is_path_and_query(path)
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

    fn parsed(method: &str, target: &[u8]) -> Option<Uri> {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let mut uri = Uri::default();
        let parsed = parse(&method, Bytes::copy_from_slice(target), &mut uri);
        parsed.is_ok().then_some(uri)
    }

    fn accepts(method: &str, target: &str) -> bool {
        parsed(method, target.as_bytes()).is_some()
    }

    #[test]
    fn each_form_is_accepted_for_its_methods() {
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
    fn an_accepted_target_is_a_uri_with_the_same_text() {
        // `Uri` must accept every byte that the tables accept.
        for byte in 0..=u8::MAX {
            for (set, start) in [(&PATH, "/"), (&QUERY, "/?"), (&PATH, "http://a/")] {
                let target = [start.as_bytes(), &[byte], b"b"].concat();
                let is_taken = set.contains(byte) || byte == b'?';
                let uri = parsed("GET", &target);
                let text = uri.map(|uri| uri.to_string().into_bytes());
                assert_eq!(text, is_taken.then_some(target), "{start}{byte:#x}");
            }
        }
    }

    #[test]
    fn a_uri_accepts_all_query_characters_but_in_a_path_no_grave_accent() {
        let is_held = |byte: &u8| PathAndQuery::try_from(&[b'/', *byte][..]).is_ok();
        let lacking: Vec<u8> = (0..=u8::MAX)
            .filter(|byte| QUERY.contains(*byte) && !is_held(byte))
            .collect();
        assert_eq!(lacking, b"`");
    }
}
