//! Reads the parts of a request's head on which the response depends.

/// A request's head.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Its length, with the empty line.
    pub(crate) length: usize,
    /// The length of the body.
    pub(crate) body: usize,
    /// Whether to send the body back.
    pub(crate) is_echo: bool,
    /// Whether the client wants the connection closed.
    pub(crate) is_last: bool,
}

impl Head {
    /// The head at the beginning of `input`, if it is complete.
    pub(crate) fn of(input: &[u8]) -> Option<Self> {
        let mut head = Self {
            length: line(input)?,
            body: 0,
            is_echo: false,
            is_last: false,
        };
        loop {
            match input[head.length..] {
                [b'\r', b'\n', ..] => {
                    head.length += 2;
                    head.is_echo = head.body > 0 && input.starts_with(b"POST /echo ");
                    return Some(head);
                }
                [b'C' | b'c', ref rest @ ..] => {
                    let length = line(rest)? + 1;
                    head.field(&input[head.length..][..length]);
                    head.length += length;
                }
                ref rest => head.length += line(rest)?,
            }
        }
    }

    #[cold]
    fn field(&mut self, line: &[u8]) {
        let value = |name: &[u8]| {
            let (start, value) = line.split_at_checked(name.len())?;
            start.eq_ignore_ascii_case(name).then_some(value)
        };
        if let Some(value) = value(b"content-length:") {
            let digits = value.iter().filter(|byte| byte.is_ascii_digit());
            self.body = digits.fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'));
        } else if value(b"connection: close").is_some() {
            self.is_last = true;
        }
    }
}

/// The length of the first line, with its end. (A function of a library that looks at more bytes at once is
/// slower here: lines are short.)
fn line(input: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let (words, rest) = input.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        // A byte is 0 where there is a line feed. The lowest bit that is set below marks the first one.
        let word = u64::from_le_bytes(*word) ^ (ONES * u64::from(b'\n'));
        let found = word.wrapping_sub(ONES) & !word & (ONES << 7);
        if found != 0 {
            return Some(index * 8 + found.trailing_zeros() as usize / 8 + 1);
        }
    }
    let at = rest.iter().position(|&byte| byte == b'\n')?;
    Some(words.len() * 8 + at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_truncated_head_is_none() {
        let input =
            b"POST /echo HTTP/1.1\r\nHost: x\r\ncontent-LENGTH: 12\r\nConnection: close\r\n\r\n";
        let whole = Head {
            length: input.len(),
            body: 12,
            is_echo: true,
            is_last: true,
        };
        for cut in 0..input.len() {
            assert_eq!(Head::of(&input[..cut]), None, "cut at {cut}");
        }
        assert_eq!(Head::of(&[input, &b"GET"[..]].concat()), Some(whole));
    }
}
