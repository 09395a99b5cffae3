//! A client's bytes, made fit for a log: escaped, cut, and without secrets.

use std::fmt;

/// The most bytes of a client's that one log line shows.
const MAX_SHOWN: usize = 1 << 10;

/// Bytes escaped like a Rust string literal, and cut at 1 KiB.
#[derive(Clone, Copy)]
pub(crate) struct Escaped<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(MAX_SHOWN)];
        write!(f, "\"{}\"", shown.escape_ascii())?;
        match self.0.len() - shown.len() {
            0 => Ok(()),
            more => write!(f, "... and {more} bytes more"),
        }
    }
}

/// A request's head, escaped and cut, with the values of fields that carry secrets masked.
#[derive(Clone, Copy)]
pub(crate) struct MaskedHead<'a>(pub(crate) &'a [u8]);

impl MaskedHead<'_> {
    const SECRETS: [&'static str; 4] = [
        "authorization",
        "proxy-authorization",
        "cookie",
        "set-cookie",
    ];
}

impl fmt::Display for MaskedHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut masked = Vec::with_capacity(self.0.len().min(MAX_SHOWN));
        for line in self.0.split_inclusive(|&byte| byte == b'\n') {
            let colon = line
                .iter()
                .position(|&byte| byte == b':')
                .unwrap_or(line.len());
            let is_secret = |name: &&str| line[..colon].eq_ignore_ascii_case(name.as_bytes());
            if colon < line.len() && Self::SECRETS.iter().any(is_secret) {
                masked.extend_from_slice(&line[..colon]);
                masked.extend_from_slice(b": ***\r\n");
            } else {
                masked.extend_from_slice(line);
            }
        }
        Escaped(&masked).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_and_cuts() {
        assert_eq!(
            Escaped(b"a\r\n\"\x1b[31m\xff").to_string(),
            r#""a\r\n\"\x1b[31m\xff""#
        );
        let text = Escaped(&[b'a'; 1030]).to_string();
        assert!(text.ends_with("a\"... and 6 bytes more"), "{text}");
    }

    #[test]
    fn masks_secrets_whatever_their_case() {
        let head = b"GET / HTTP/1.1\r\nCOOKIE: a=b\r\nauthorization:Basic x\r\nHost: h\r\n\r\n";
        let text = MaskedHead(head).to_string();
        let masked = r#""GET / HTTP/1.1\r\nCOOKIE: ***\r\nauthorization: ***\r\nHost: h\r\n\r\n""#;
        assert_eq!(text, masked);
    }
}
