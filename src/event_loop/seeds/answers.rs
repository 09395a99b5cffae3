//! What a client reads.

/// One answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// The number that the handler gave it; a refusal has none.
    pub(super) number: Option<u64>,
    pub(super) body: Vec<u8>,
    pub(super) says_close: bool,
}

/// The first answer that isn't an interim one, and how many bytes were read; `None` if it isn't whole.
pub(super) fn read(bytes: &[u8], is_head: bool) -> Option<(Answer, usize)> {
    let mut fields = [httparse::EMPTY_HEADER; 16];
    let mut head = httparse::Response::new(&mut fields);
    let status = head.parse(bytes);
    let status = status.unwrap_or_else(|error| panic!("{error}: {}", bytes.escape_ascii()));
    let httparse::Status::Complete(length) = status else {
        return None;
    };
    let code = head.code.expect("a whole head");
    if code < 200 {
        let (answer, rest) = read(&bytes[length..], is_head)?;
        return Some((answer, length + rest));
    }
    let field = |name: &str| {
        let found = head.headers.iter().find(|field| field.name == name)?;
        Some(std::str::from_utf8(found.value).expect("text"))
    };
    let number = |name: &str| field(name).map(|text| text.parse().expect("a number"));
    let announced = number("content-length").expect("every answer here has a length");
    let end = length + if is_head { 0 } else { announced as usize };
    let answer = Answer {
        status: code,
        number: number("number"),
        body: bytes.get(length..end)?.to_vec(),
        says_close: field("connection") == Some("close"),
    };
    Some((answer, end))
}
