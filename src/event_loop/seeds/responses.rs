//! Parses the responses that a client has received.

/// One response.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    /// The number that the handler gave it; a refusal has none.
    pub(super) number: Option<u64>,
    pub(super) body: Vec<u8>,
    pub(super) says_close: bool,
    pub(super) framing: Framing,
    /// All of the body is there. Without a length, only the connection's end says so.
    pub(super) is_whole: bool,
    /// The number in its trailers.
    pub(super) last: Option<u64>,
}

/// What says where the body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Length(usize),
    Chunked,
    Close,
}

/// The response by which a server asks for the body of a request.
pub(super) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The first response that isn't an interim one, and how many bytes were read; `None` if it isn't whole.
pub(super) fn read(bytes: &[u8], is_head: bool) -> Option<(Response, usize)> {
    read_part(bytes, is_head).filter(|(response, _)| response.is_whole)
}

/// The same, with what there is of its body; `None` if its head isn't whole.
pub(super) fn read_part(bytes: &[u8], is_head: bool) -> Option<(Response, usize)> {
    let mut fields = [httparse::EMPTY_HEADER; 16];
    let mut head = httparse::Response::new(&mut fields);
    let status = head.parse(bytes);
    let status = status.unwrap_or_else(|error| panic!("{error}: {}", bytes.escape_ascii()));
    let httparse::Status::Complete(length) = status else {
        return None;
    };
    let code = head.code.expect("a whole head");
    if code < 200 {
        let (response, rest) = read_part(&bytes[length..], is_head)?;
        return Some((response, length + rest));
    }
    let field = |name: &str| {
        let found = head.headers.iter().find(|field| field.name == name)?;
        Some(std::str::from_utf8(found.value).expect("text"))
    };
    let number = |name: &str| field(name).map(|text| text.parse().expect("a number"));
    let framing = match (number("content-length"), field("transfer-encoding")) {
        (Some(announced), None) => Framing::Length(announced as usize),
        (None, Some("chunked")) => Framing::Chunked,
        (None, None) => Framing::Close,
        both => panic!("two kinds of framing: {both:?}"),
    };
    let rest = &bytes[length..];
    let (body, used, is_whole, last) = match framing {
        _ if is_head || matches!(code, 204 | 304) => (Vec::new(), 0, true, None),
        Framing::Length(announced) => {
            let there = announced.min(rest.len());
            (rest[..there].to_vec(), there, there == announced, None)
        }
        Framing::Chunked => read_chunks(rest),
        Framing::Close => (rest.to_vec(), rest.len(), false, None),
    };
    let response = Response {
        status: code,
        number: number("number"),
        body,
        says_close: field("connection") == Some("close"),
        framing,
        is_whole,
        last,
    };
    Some((response, length + used))
}

/// The data of chunks, how many bytes were read, whether the last chunk is there, and the number in the
/// trailers.
fn read_chunks(bytes: &[u8]) -> (Vec<u8>, usize, bool, Option<u64>) {
    let (mut data, mut at) = (Vec::new(), 0);
    loop {
        let size = httparse::parse_chunk_size(&bytes[at..]).expect("a chunk's size");
        let httparse::Status::Complete((line, size)) = size else {
            return (data, at, false, None);
        };
        if size == 0 {
            return read_trailers(data, bytes, at + line);
        }
        let (begin, end) = (at + line, at + line + size as usize);
        data.extend_from_slice(&bytes[begin..end.min(bytes.len())]);
        if bytes.len() < end + 2 {
            return (data, bytes.len(), false, None);
        }
        assert_eq!(&bytes[end..end + 2], b"\r\n", "after a chunk");
        at = end + 2;
    }
}

fn read_trailers(data: Vec<u8>, bytes: &[u8], at: usize) -> (Vec<u8>, usize, bool, Option<u64>) {
    let mut fields = [httparse::EMPTY_HEADER; 2];
    let parsed = httparse::parse_headers(&bytes[at..], &mut fields).expect("trailers");
    let httparse::Status::Complete((length, fields)) = parsed else {
        return (data, at, false, None);
    };
    let last = fields.first().map(|field| {
        let text = std::str::from_utf8(field.value).expect("text");
        text.parse().expect("a number")
    });
    (data, at + length, true, last)
}
