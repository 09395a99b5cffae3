//! The entries of one line of `Forwarded` or `X-Forwarded-For`.

use std::net::{IpAddr, Ipv6Addr};

use http::HeaderValue;

use super::ForwardedBy;
use crate::conn::Quoting;

/// The party that an entry names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// In the canonical form: an IPv4 address is never a mapped one.
    Address(IpAddr),
    /// It is hidden, or the entry is malformed.
    Unknown,
}

/// The entries of a line, from the right to the left. Empty ones are left out (RFC 9110 §5.6.1.2).
///
/// A client must not hide what proxies add to the right of its line. So bytes that aren't UTF-8 make only their own
/// entry malformed, and a quotation mark without a counterpart only its own and those to the left of it.
pub(super) fn of_line(line: &HeaderValue, by: ForwardedBy) -> Vec<Node> {
    let line = String::from_utf8_lossy(line.as_bytes());
    match by {
        ForwardedBy::Forwarded => nodes(elements_from_right(&line), forwarded_for),
        // Quotation marks mean nothing there.
        ForwardedBy::XForwardedFor => nodes(line.rsplit(','), address),
    }
}

fn nodes<'a>(elements: impl IntoIterator<Item = &'a str>, node: fn(&str) -> Node) -> Vec<Node> {
    let elements = elements.into_iter().map(trim);
    elements
        .filter(|element| !element.is_empty())
        .map(node)
        .collect()
}

/// Splits a line of `Forwarded` at the commas outside of quoted strings.
///
/// It is read from the right, like its entries: each proxy has added a well-formed element at that end. The quotation
/// marks of those match, and a mark from further left can't change where they begin. Read from the left, a single mark
/// of the client would make all that follows part of its own quoted string. What begins with a mark that has no
/// counterpart stays one element, which is malformed.
fn elements_from_right(line: &str) -> Vec<&str> {
    let (mut elements, mut end) = (Vec::new(), line.len());
    let mut is_quoted = false;
    for (at, character) in line.char_indices().rev() {
        match character {
            '"' if !is_quoted => is_quoted = true,
            '"' => is_quoted = is_escaped(&line[..at]),
            ',' if !is_quoted => {
                elements.push(&line[at + 1..end]);
                end = at;
            }
            _ => {}
        }
    }
    elements.push(&line[..end]);
    elements
}

/// Whether the character after this part of a quoted string is escaped: by a backslash that isn't escaped itself.
fn is_escaped(before: &str) -> bool {
    let backslashes = before.bytes().rev().take_while(|&byte| byte == b'\\');
    backslashes.count() % 2 == 1
}

/// The node of an element of `Forwarded` (RFC 7239 §4): the value of its parameter `for`.
fn forwarded_for(element: &str) -> Node {
    let Some(pairs) = parameters(element) else {
        return Node::Unknown;
    };
    let mut found = None;
    for pair in pairs.into_iter().map(trim).filter(|pair| !pair.is_empty()) {
        let Some((name, value)) = pair.split_once('=') else {
            return Node::Unknown;
        };
        if name.eq_ignore_ascii_case("for") && found.replace(value).is_some() {
            // Each parameter may be there once (RFC 7239 §4).
            return Node::Unknown;
        }
    }
    found
        .and_then(unquote)
        .map_or(Node::Unknown, |node| address(&node))
}

/// The value of a token or of a quoted string (RFC 9110 §5.6.4).
fn unquote(value: &str) -> Option<String> {
    let Some(inner) = value.strip_prefix('"') else {
        return (!value.contains('"')).then(|| value.to_owned());
    };
    let inner = inner.strip_suffix('"')?;
    let mut text = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => return None,
            '\\' => text.push(characters.next()?),
            _ => text.push(character),
        }
    }
    Some(text)
}

/// The address in `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:80`. The port may be
/// an obfuscated one, as `:_x` (RFC 7239 §6).
fn address(node: &str) -> Node {
    let bracketed = || {
        let (inside, port) = node.strip_prefix('[')?.split_once(']')?;
        let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        let address: Ipv6Addr = inside.parse().ok().filter(|_| is_port)?;
        Some(IpAddr::V6(address))
    };
    let with_port = || {
        let (address, port) = node.split_once(':')?;
        let address: IpAddr = address.parse().ok().filter(|_| is_port(port))?;
        Some(address)
    };
    let found = node.parse().ok().or_else(bracketed).or_else(with_port);
    found.map_or(Node::Unknown, |address: IpAddr| {
        Node::Address(address.to_canonical())
    })
}

fn is_port(text: &str) -> bool {
    let is_obfuscated = |rest: &str| {
        let is_allowed =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        !rest.is_empty() && rest.bytes().all(is_allowed)
    };
    match text.strip_prefix('_') {
        Some(rest) => is_obfuscated(rest),
        None => text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok(),
    }
}

/// Splits an element at the semicolons outside of quoted strings. `None` if one of those has no end.
fn parameters(element: &str) -> Option<Vec<&str>> {
    let mut quoting = Quoting::Outside;
    let pairs = element.split(|character| {
        quoting = quoting.after(character);
        character == ';' && quoting == Quoting::Outside
    });
    let pairs = pairs.collect();
    (quoting == Quoting::Outside).then_some(pairs)
}

/// Without the optional whitespace (RFC 9110 §5.6.3) around it.
fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}
