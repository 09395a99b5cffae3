//! Reads responses of any framing, as a strict client does (RFC 9112 §6 and §7).

use crate::common::responses;

/// A response, as far as it has been received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) status: u16,
    pub(crate) says_close: bool,
    pub(crate) body: Vec<u8>,
    /// The names of the trailer fields.
    pub(crate) trailers: Vec<String>,
    pub(crate) end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It is complete.
    Complete,
    /// It ends with the connection.
    UntilClose,
    /// There is more to come.
    Truncated,
}

/// The response at the front of `bytes`, and what follows it. `None` if not even its head is there.
pub(crate) fn read(bytes: &[u8], to_head: bool) -> Option<(Received, &[u8])> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let (head, rest) = bytes.split_at(end);
    let text = std::str::from_utf8(head).expect("heads are ASCII");
    let status: u16 = text
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3))
        .and_then(|digits| digits.parse().ok())
        .expect("a status line");
    let values = |name: &str| -> Vec<String> {
        let lines = text.lines().skip(1);
        lines
            .filter_map(|line| line.split_once(": "))
            .filter(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.to_owned())
            .collect()
    };
    let (codings, lengths) = (values("transfer-encoding"), values("content-length"));
    assert!(codings.len() + lengths.len() <= 1, "two framings: {text}");
    let mut received = Received {
        status,
        says_close: values("connection")
            .iter()
            .any(|list| list.contains("close")),
        body: Vec::new(),
        trailers: Vec::new(),
        end: End::Complete,
    };
    let is_bare = status < 200 || [204, 304].contains(&status);
    if is_bare {
        assert!(codings.is_empty() && lengths.is_empty(), "{text}");
    }
    if is_bare || to_head {
        return Some((received, rest));
    }
    if let [length] = lengths.as_slice() {
        let length: usize = length.parse().expect("a length");
        assert!(status != 205 || length == 0, "205 has a body");
        let available = length.min(rest.len());
        received.body = rest[..available].to_vec();
        if available < length {
            received.end = End::Truncated;
        } else {
            check_whole(&bytes[..end + length]);
        }
        return Some((received, &rest[available..]));
    }
    if codings.is_empty() {
        received.body = rest.to_vec();
        received.end = End::UntilClose;
        return Some((received, &[]));
    }
    assert_eq!(codings, ["chunked"]);
    let rest = read_chunks(&mut received, rest);
    Some((received, rest))
}

/// Checks a complete response with the parser of the other tests, too.
fn check_whole(bytes: &[u8]) {
    let read = responses::read(bytes, false);
    assert!(
        read.is_ok_and(|(_, rest)| rest.is_empty()),
        "a response that is not well formed"
    );
}

/// Reads chunks and trailers, and returns what follows them.
fn read_chunks<'a>(received: &mut Received, mut rest: &'a [u8]) -> &'a [u8] {
    loop {
        let Some((line, after)) = split_line(rest) else {
            received.end = End::Truncated;
            return &[];
        };
        let digits = std::str::from_utf8(line).expect("a chunk size");
        let size = usize::from_str_radix(digits, 16).expect("a chunk size");
        assert!(digits == "0" || !digits.starts_with('0'), "{digits}");
        if size == 0 {
            return read_trailers(received, after);
        }
        let available = size.min(after.len());
        received.body.extend_from_slice(&after[..available]);
        let behind = &after[available..];
        if behind.len() < 2 || available < size {
            received.end = End::Truncated;
            return &[];
        }
        rest = behind.strip_prefix(b"\r\n").expect("CRLF after a chunk");
    }
}

fn read_trailers<'a>(received: &mut Received, mut rest: &'a [u8]) -> &'a [u8] {
    loop {
        let Some((line, after)) = split_line(rest) else {
            received.end = End::Truncated;
            return &[];
        };
        if line.is_empty() {
            return after;
        }
        let line = std::str::from_utf8(line).expect("a trailer");
        let (name, _) = line.split_once(": ").expect("a trailer");
        received.trailers.push(name.to_owned());
        rest = after;
    }
}

fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    Some((&bytes[..end], &bytes[end + 2..]))
}
