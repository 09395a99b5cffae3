//! Character classes of RFC 9110, 9112 and 3986, as tables.

/// A set of bytes.
pub(super) struct ByteSet([bool; 256]);

impl ByteSet {
    pub(super) const fn contains(&self, byte: u8) -> bool {
        self.0[byte as usize]
    }

    pub(super) fn contains_all(&self, bytes: &[u8]) -> bool {
        // Nearly all input is right, and the loop is quicker without a way out of it.
        bytes
            .iter()
            .fold(true, |all, &byte| all & self.contains(byte))
    }

    const fn of(bytes: &[u8]) -> Self {
        let mut set = [false; 256];
        let mut i = 0;
        while i < bytes.len() {
            set[bytes[i] as usize] = true;
            i += 1;
        }
        Self(set)
    }

    const fn with_range(mut self, first: u8, last: u8) -> Self {
        let mut byte = first as usize;
        while byte <= last as usize {
            self.0[byte] = true;
            byte += 1;
        }
        self
    }

    const fn with_alphanumerics(self) -> Self {
        self.with_range(b'0', b'9')
            .with_range(b'A', b'Z')
            .with_range(b'a', b'z')
    }

    const fn without(mut self, bytes: &[u8]) -> Self {
        let mut i = 0;
        while i < bytes.len() {
            self.0[bytes[i] as usize] = false;
            i += 1;
        }
        self
    }
}

/// `tchar` (RFC 9110 §5.6.2): what methods, field names and other tokens are made of.
pub(super) static TOKEN: ByteSet = ByteSet::of(b"!#$%&'*+-.^_`|~").with_alphanumerics();

/// `VCHAR`, as a target is delimited in the request line; [`PATH`] and [`QUERY`] are checked
/// after that.
pub(super) static VISIBLE: ByteSet = ByteSet::of(b"").with_range(0x21, 0x7E);

/// `field-vchar`, SP and HTAB (RFC 9110 §5.5), with `obs-text`.
pub(super) static FIELD_VALUE: ByteSet = ByteSet::of(b"\t")
    .with_range(0x20, 0x7E)
    .with_range(0x80, 0xFF);

/// `qdtext` (RFC 9110 §5.6.4).
pub(super) static QUOTED: ByteSet = ByteSet::of(b"\t")
    .with_range(0x20, 0x7E)
    .with_range(0x80, 0xFF)
    .without(b"\"\\");

/// What a path is made of, with `%`: `pchar` and `/` (RFC 3986 §3.3). Also the brackets and bar that
/// it does not have and that browsers send all the same, as the URL Standard has them.
pub(super) static PATH: ByteSet = ByteSet::of(b"-._~!$&'()*+,;=:@/%[]|").with_alphanumerics();

/// What a query is made of, with `%`: `pchar`, `/` and `?` (RFC 3986 §3.4), and what browsers send
/// beside that: `?a[]=1` is common.
pub(super) static QUERY: ByteSet = ByteSet::of(b"-._~!$&'()*+,;=:@/?%[]|{}^`").with_alphanumerics();

/// What a `reg-name` is made of, with `%` (RFC 3986 §3.2.2).
pub(super) static REG_NAME: ByteSet = ByteSet::of(b"-._~!$&'()*+,;=%").with_alphanumerics();

/// Whether each `%` of a URI is followed by two hex digits (RFC 3986 §2.1).
pub(super) fn percent_encoding_is_whole(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while rest.contains(&b'%') {
        let at = rest.iter().position(|&byte| byte == b'%').unwrap_or(0);
        match rest.get(at + 1..at + 3) {
            Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => rest = &rest[at + 3..],
            Some(_) | None => return false,
        }
    }
    true
}

/// `token` (RFC 9110 §5.6.2).
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && TOKEN.contains_all(bytes)
}

/// The bytes without the optional whitespace (SP and HTAB) around them.
pub(super) fn trim_ows(bytes: &[u8]) -> &[u8] {
    let is_ows = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = bytes
        .iter()
        .position(|byte| !is_ows(byte))
        .unwrap_or(bytes.len());
    let end = bytes
        .iter()
        .rposition(|byte| !is_ows(byte))
        .map_or(start, |last| last + 1);
    &bytes[start..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_the_tchars_of_the_rfc() {
        let tchars =
            "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        for byte in 0..=255u8 {
            assert_eq!(
                TOKEN.contains(byte),
                tchars.as_bytes().contains(&byte),
                "{byte:#x}"
            );
        }
        assert!(!is_token(b""));
    }

    #[test]
    fn field_values_have_no_controls_but_tab() {
        for byte in 0..=255u8 {
            let control = byte < 0x20 || byte == 0x7F;
            assert_eq!(
                FIELD_VALUE.contains(byte),
                !control || byte == b'\t',
                "{byte:#x}"
            );
        }
    }

    #[test]
    fn percent_encoding_has_two_digits() {
        assert!(percent_encoding_is_whole(b"/a%20b%fF"));
        for cut in ["%", "%2", "/%zz", "%2%20", "%20%"] {
            assert!(!percent_encoding_is_whole(cut.as_bytes()), "{cut}");
        }
    }

    #[test]
    fn whitespace_around_values_is_trimmed() {
        assert_eq!(trim_ows(b" \t a b\t "), b"a b");
        assert_eq!(trim_ows(b" \t "), b"");
        assert_eq!(trim_ows(b""), b"");
    }
}
