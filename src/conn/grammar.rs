//! Character classes of RFC 9110, 9112 and 3986 as look-up tables, and helpers on byte strings.

/// A set of bytes: 1 at the index of each byte in it, 0 elsewhere.
pub(super) struct ByteSet([u8; 256]);

impl ByteSet {
    pub(super) const fn contains(&self, byte: u8) -> bool {
        self.0[byte as usize] != 0
    }

    /// Whether all `bytes` are in the set. No early exit: nearly all input is valid, and the loop is
    /// faster without one.
    pub(super) fn contains_all(&self, bytes: &[u8]) -> bool {
        let of = |common: u8, byte: &u8| common & self.0[usize::from(*byte)];
        let Some(last) = bytes.last_chunk::<8>() else {
            return bytes.iter().fold(1, of) != 0;
        };
        // Eight at a time; the last eight overlap with those before them.
        let (eights, _) = bytes.as_chunks::<8>();
        let common = last.iter().fold(1, of);
        eights.iter().flatten().fold(common, of) != 0
    }

    /// Whether all bytes are in the set or percent-encoded: `%` and two hex digits (RFC 3986 §2.1).
    pub(super) fn contains_encoded(&self, bytes: &[u8]) -> bool {
        // Hardly any name has a percent sign.
        self.contains_all(bytes) || self.contains_between_percents(bytes)
    }

    #[cold]
    fn contains_between_percents(&self, bytes: &[u8]) -> bool {
        let is_encoded = |part: &[u8]| {
            let digits = part.split_first_chunk::<2>();
            digits.is_some_and(|(digits, _)| digits.iter().all(u8::is_ascii_hexdigit))
        };
        let mut parts = bytes.split(|&byte| byte == b'%');
        let first = parts.next().unwrap_or_default();
        self.contains_all(first) && parts.all(|part| is_encoded(part) && self.contains_all(part))
    }

    const fn of(bytes: &[u8]) -> Self {
        let mut set = Self([0; 256]);
        let mut i = 0;
        while i < bytes.len() {
            set.insert(bytes[i]);
            i += 1;
        }
        set
    }

    const fn insert(&mut self, byte: u8) {
        self.0[byte as usize] = 1;
    }

    const fn with_range(mut self, first: u8, last: u8) -> Self {
        let mut byte = first as usize;
        while byte <= last as usize {
            self.insert(byte as u8);
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
            self.0[bytes[i] as usize] = 0;
            i += 1;
        }
        self
    }
}

/// `tchar` (RFC 9110 §5.6.2): the characters of methods, field names and other tokens.
pub(super) static TOKEN: ByteSet = ByteSet::of(b"!#$%&'*+-.^_`|~").with_alphanumerics();

/// `VCHAR`: the characters allowed in a target while the request line is scanned. [`PATH`] and
/// [`QUERY`] are checked afterwards.
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

/// The characters of a path: `pchar` and `/` (RFC 3986 §3.3), and those that browsers send although
/// the RFC excludes them: brackets, `|`, `^`, and `%` without two hex digits after it.
pub(super) static PATH: ByteSet = ByteSet::of(b"-._~!$&'()*+,;=:@/%[]|^").with_alphanumerics();

/// The characters of a query: `pchar`, `/` and `?` (RFC 3986 §3.4), and those that browsers send
/// although the RFC excludes them, as in [`PATH`]: `?a[]=1` and `?q=100%` are common.
pub(super) static QUERY: ByteSet =
    ByteSet::of(b"-._~!$&'()*+,;=:@/?%[]|{}^`\\").with_alphanumerics();

/// The characters of a `reg-name` that stand for themselves (RFC 3986 §3.2.2). All others must be
/// percent-encoded.
pub(super) static REG_NAME: ByteSet = ByteSet::of(b"-._~!$&'()*+,;=").with_alphanumerics();

/// `token` (RFC 9110 §5.6.2).
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && TOKEN.contains_all(bytes)
}

/// Whether a position in a field value is within a quoted string (RFC 9110 §5.6.4), where separators are text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quoting {
    Outside,
    Inside,
    /// Inside, right after the backslash of a `quoted-pair`.
    Escaped,
}

impl Quoting {
    /// The state after this character. The mark that ends a quoted string leads outside.
    pub(crate) const fn after(self, character: char) -> Self {
        match (self, character) {
            (Self::Outside, '"') | (Self::Escaped, _) => Self::Inside,
            (Self::Inside, '"') => Self::Outside,
            (Self::Inside, '\\') => Self::Escaped,
            (Self::Outside | Self::Inside, _) => self,
        }
    }
}

/// Optional whitespace (RFC 9110 §5.6.3).
pub(super) const fn is_ows(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// The index of the first `wanted`. Compares eight bytes at a time: fast on short input, and needs no
/// SIMD.
#[inline]
pub(super) fn find(wanted: u8, bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH_BITS: u64 = u64::from_ne_bytes([0x80; 8]);
    let wanted_everywhere = ONES * u64::from(wanted);
    let mut rest = bytes;
    while let Some((eight, after)) = rest.split_first_chunk() {
        // A byte of `zeros` is 0 where `wanted` is. Subtracting 1 sets the high bit there, and maybe
        // in bytes after the first match; only the first one is used.
        let zeros = u64::from_le_bytes(*eight) ^ wanted_everywhere;
        let found = zeros.wrapping_sub(ONES) & !zeros & HIGH_BITS;
        if found != 0 {
            return Some(bytes.len() - rest.len() + found.trailing_zeros() as usize / 8);
        }
        rest = after;
    }
    let at = rest.iter().position(|&byte| byte == wanted)?;
    Some(bytes.len() - rest.len() + at)
}

/// The bytes without the optional whitespace (SP and HTAB) around them.
pub(super) fn trim_ows(bytes: &[u8]) -> &[u8] {
    let start = bytes
        .iter()
        .position(|&byte| !is_ows(byte))
        .unwrap_or(bytes.len());
    let end = bytes
        .iter()
        .rposition(|&byte| !is_ows(byte))
        .map_or(start, |last| last + 1);
    &bytes[start..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_is_the_tchars_of_the_rfc() {
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
    fn field_values_have_no_control_characters_except_tab() {
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
        assert!(REG_NAME.contains_encoded(b"a%20b%fF") && REG_NAME.contains_encoded(b""));
        for cut in ["%", "%2", "a%zz", "%2%20", "%20%", "123456789%", "%20\""] {
            assert!(!REG_NAME.contains_encoded(cut.as_bytes()), "{cut}");
        }
    }

    #[test]
    fn finds_one_byte_outside_of_the_set_at_any_position() {
        for length in 1..40 {
            for at in 0..length {
                let mut bytes = vec![b'a'; length];
                assert!(TOKEN.contains_all(&bytes) && REG_NAME.contains_encoded(&bytes));
                bytes[at] = b'"';
                assert!(!TOKEN.contains_all(&bytes) && !REG_NAME.contains_encoded(&bytes));
            }
        }
    }

    #[test]
    fn finds_the_first_occurrence_of_a_byte() {
        // Also among bytes that differ from it in one bit, and at every position of a word.
        for length in 0..40 {
            for at in 0..length {
                for filler in [b'\n', 0x0C, 0x8D, 0, 0xFF] {
                    let mut bytes = vec![filler; length];
                    assert_eq!(find(b'\r', &bytes), None);
                    bytes[at] = b'\r';
                    bytes[length - 1] = b'\r';
                    assert_eq!(find(b'\r', &bytes), Some(at), "{bytes:?}");
                }
            }
        }
    }

    #[test]
    fn whitespace_around_values_is_trimmed() {
        assert_eq!(trim_ows(b" \t a b\t "), b"a b");
        assert_eq!(trim_ows(b" \t "), b"");
        assert_eq!(trim_ows(b""), b"");
    }
}
