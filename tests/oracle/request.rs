//! A simple implementation of RFC 9110 and 9112 for requests: it works on complete lines, has no state, and needn't be
//! fast. It shares no code with the server. Where the RFC leaves a choice, it makes the one in the conformance cases.

use super::chunked::{is_field_line, is_tchar};
use mini_http::Limits;
use std::collections::BTreeSet;
use std::net::Ipv6Addr;

/// What is at the beginning of some bytes.
#[derive(Clone, Debug)]
pub(crate) enum Read {
    /// A valid head, and its length in bytes.
    Whole(Head, usize),
    /// A head that must be refused, with one of these statuses.
    Refused(BTreeSet<u16>),
    /// A head that is not complete.
    Unfinished,
}

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Length(u64),
    Chunked,
}

/// A valid head.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) is_http10: bool,
    /// Names in lower case, values trimmed, in order.
    pub(crate) fields: Vec<(String, Vec<u8>)>,
    pub(crate) body: Body,
    pub(crate) expects_continue: bool,
    pub(crate) persists: bool,
    /// The server may refuse it anyway, because the `http` crate can't represent some rare targets.
    pub(crate) may_be_refused: bool,
}

impl Head {
    pub(crate) fn has_body(&self) -> bool {
        self.body != Body::Length(0)
    }

    /// The whole head as a text, for comparisons.
    pub(crate) fn shown(&self) -> String {
        let target = normal_target(&self.target);
        show(&self.method, &target, self.is_http10, self.fields.clone())
    }
}

pub(crate) fn show(
    method: &str,
    target: &str,
    is_http10: bool,
    mut fields: Vec<(String, Vec<u8>)>,
) -> String {
    // A `HeaderMap` keeps only the order of lines with the same name.
    fields.sort_by(|one, other| one.0.cmp(&other.0));
    let fields: Vec<_> = fields
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.escape_ascii()))
        .collect();
    format!("{method} {target} {is_http10} {fields:?}")
}

/// The target as the `http` crate writes it: with the scheme in lower case, and with a path.
fn normal_target(target: &str) -> String {
    let Some((scheme, rest)) = target
        .split_once("://")
        .filter(|_| !target.starts_with('/'))
    else {
        return target.to_owned();
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let slash = if path.starts_with('/') { "" } else { "/" };
    format!("{}://{authority}{slash}{path}", scheme.to_lowercase())
}

/// Reads the head at the beginning of `bytes`.
pub(crate) fn read_head(bytes: &[u8], limits: &Limits) -> Read {
    let mut start = 0;
    while bytes[start..].starts_with(b"\r\n") {
        start += 2;
        if start > 4 {
            return Read::Refused(BTreeSet::from([400, 431]));
        }
    }
    let Some(end) = bytes[start..]
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
    else {
        return Read::Unfinished;
    };
    let length = start + end + 4;
    let mut lines = Vec::new();
    let mut rest = &bytes[start..start + end];
    while let Some(at) = rest.windows(2).position(|two| two == b"\r\n") {
        lines.push(&rest[..at]);
        rest = &rest[at + 2..];
    }
    lines.push(rest);

    let mut wrong = BTreeSet::new();
    if length > limits.max_head || lines.len() - 1 > limits.max_fields {
        wrong.insert(431);
    }
    if lines[0].len() > limits.max_request_line {
        wrong.insert(414);
    }
    let request_line = request_line(lines[0]);
    if let Err(status) = request_line {
        wrong.insert(status);
    }
    // This also refuses a lone CR or LF in a line.
    if !lines[1..].iter().all(|line| is_field_line(line)) {
        wrong.insert(400);
    }
    let Ok((method, target, is_http10)) = request_line else {
        return Read::Refused(wrong);
    };
    if !wrong.is_empty() {
        return Read::Refused(wrong);
    }
    let fields = lines[1..].iter().map(|line| split_field(line)).collect();
    match judge(method, target, is_http10, fields, limits) {
        Ok(head) => Read::Whole(head, length),
        Err(wrong) => Read::Refused(wrong),
    }
}

fn request_line(line: &[u8]) -> Result<(&str, &str, bool), u16> {
    let parts: Vec<&[u8]> = line.splitn(3, |byte| *byte == b' ').collect();
    let [method, target, version] = parts[..] else {
        return Err(400);
    };
    let is_method = !method.is_empty() && method.iter().copied().all(is_tchar);
    let is_target = !target.is_empty() && target.iter().all(u8::is_ascii_graphic);
    if !is_method || !is_target {
        return Err(400);
    }
    let digits = version.strip_prefix(b"HTTP/");
    // An unsupported version is refused at the CR after it, even if no LF follows.
    if let Some([major, b'.', minor, b'\r', ..]) = digits {
        let is_number = major.is_ascii_digit() && minor.is_ascii_digit();
        return Err(if is_number && *major != b'1' {
            505
        } else {
            400
        });
    }
    let Some([major, b'.', minor]) = digits else {
        return Err(400);
    };
    if !major.is_ascii_digit() || !minor.is_ascii_digit() {
        return Err(400);
    }
    if *major != b'1' {
        return Err(505);
    }
    let text = |bytes| std::str::from_utf8(bytes).map_err(|_| 400_u16);
    Ok((text(method)?, text(target)?, *minor == b'0'))
}

fn split_field(line: &[u8]) -> (String, Vec<u8>) {
    let colon = line
        .iter()
        .position(|byte| *byte == b':')
        .unwrap_or(line.len());
    let name = String::from_utf8_lossy(&line[..colon]).to_ascii_lowercase();
    (name, trim(&line[colon + 1..]).to_vec())
}

fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// The elements of a line of a list field. A comma in a quoted string is a part of its element.
pub(crate) fn elements(line: &[u8]) -> Vec<&[u8]> {
    let (mut elements, mut from, mut at) = (Vec::new(), 0, 0);
    while let Some(byte) = line.get(at) {
        if *byte == b',' {
            elements.push(&line[from..at]);
            from = at + 1;
        } else if *byte == b'"' {
            at += 1;
            while line.get(at).is_some_and(|byte| *byte != b'"') {
                at += if line[at] == b'\\' { 2 } else { 1 };
            }
        }
        at += 1;
    }
    elements.push(&line[from..]);
    elements
}

/// Checks the meaning of the lines.
fn judge(
    method: &str,
    target: &str,
    is_http10: bool,
    fields: Vec<(String, Vec<u8>)>,
    limits: &Limits,
) -> Result<Head, BTreeSet<u16>> {
    let mut wrong = BTreeSet::new();
    let lines = |name: &str| -> Vec<&[u8]> {
        let same = fields.iter().filter(|(other, _)| other == name);
        same.map(|(_, value)| value.as_slice()).collect()
    };
    let elements = |name: &str| -> Vec<String> {
        let all = lines(name).into_iter().flat_map(elements);
        all.map(|element| element.iter().map(|byte| char::from(*byte)).collect())
            .map(|element: String| element.trim_matches([' ', '\t']).to_ascii_lowercase())
            .filter(|element| !element.is_empty())
            .collect()
    };

    if method == "CONNECT" {
        wrong.extend([400, 501]);
    }
    let is_target = match target {
        "*" => method == "OPTIONS",
        _ if target.starts_with('/') => is_path_and_query(target),
        _ => is_absolute(target),
    };
    match lines("host")[..] {
        [] if is_http10 => {}
        [host] if host.is_empty() || is_authority(host) => {}
        _ => {
            wrong.insert(400);
        }
    }
    if !is_target {
        wrong.insert(400);
    }

    let (codings, lengths) = (lines("transfer-encoding"), lines("content-length"));
    let mut body = Body::Length(0);
    if !codings.is_empty() {
        body = Body::Chunked;
        if is_http10 || !lengths.is_empty() {
            wrong.insert(400);
        }
        if codings.len() != 1 || !codings[0].eq_ignore_ascii_case(b"chunked") {
            wrong.extend([400, 501]);
        }
    } else if !lengths.is_empty() {
        let text = std::str::from_utf8(lengths[0]).unwrap_or_default();
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(length) if lengths.len() == 1 && is_number => {
                body = Body::Length(length);
                if length > limits.max_body {
                    wrong.insert(413);
                }
            }
            _ => {
                wrong.insert(400);
            }
        }
    }

    let expectations = elements("expect");
    let expects = !is_http10 && !lines("expect").is_empty();
    if expects && (expectations.is_empty() || expectations.iter().any(|one| one != "100-continue"))
    {
        wrong.insert(417);
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let says = |option: &str| elements("connection").iter().any(|one| one == option);
    let persists = !says("close") && (!is_http10 || says("keep-alive"));
    Ok(Head {
        method: method.to_owned(),
        target: target.to_owned(),
        is_http10,
        body,
        expects_continue: expects && body != Body::Length(0),
        persists,
        may_be_refused: !target.starts_with('/') && authority(target).contains(['%', '[']),
        fields,
    })
}

/// Also permits the additional bytes that browsers send, as the cases about targets do, and `%` anywhere.
fn is_path_and_query(text: &str) -> bool {
    let is_pchar = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%".contains(&byte);
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    let is_path = path
        .bytes()
        .all(|byte| is_pchar(byte) || b"/[]|^".contains(&byte));
    let is_query = query
        .bytes()
        .all(|byte| is_pchar(byte) || b"/?[]|{}^`\\".contains(&byte));
    is_path && is_query
}

fn is_encoding_whole(text: &str) -> bool {
    text.split('%').skip(1).all(|after| {
        after.len() >= 2 && after.bytes().take(2).all(|digit| digit.is_ascii_hexdigit())
    })
}

fn is_absolute(target: &str) -> bool {
    let Some((scheme, rest)) = target.split_once("://") else {
        return false;
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    matches!(scheme.to_ascii_lowercase().as_str(), "http" | "https")
        && is_authority(authority.as_bytes())
        && is_path_and_query(path)
}

fn authority(target: &str) -> &str {
    let rest = target.split_once("://").map_or("", |(_, rest)| rest);
    rest.split(['/', '?']).next().unwrap_or_default()
}

/// A host that isn't empty, and an optional port.
fn is_authority(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    let (host, port) = match text.rfind(':').filter(|at| !text[*at..].contains(']')) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, ""),
    };
    let is_port = port.bytes().all(|digit| digit.is_ascii_digit())
        && port.trim_start_matches('0').len() <= 5
        && port.parse().unwrap_or(0) <= 65_535_u32;
    is_port && is_host(host)
}

fn is_host(host: &str) -> bool {
    let name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte);
    if let Some(literal) = host.strip_prefix('[') {
        let Some(literal) = literal.strip_suffix(']') else {
            return false;
        };
        if let Some(future) = literal.strip_prefix(['v', 'V']) {
            return future.split_once('.').is_some_and(|(version, address)| {
                !version.is_empty()
                    && version.bytes().all(|digit| digit.is_ascii_hexdigit())
                    && !address.is_empty()
                    && address.bytes().all(|byte| name(byte) || byte == b':')
            });
        }
        return literal.parse::<Ipv6Addr>().is_ok();
    }
    !host.is_empty()
        && host.bytes().all(|byte| name(byte) || byte == b'%')
        && is_encoding_whole(host)
}
