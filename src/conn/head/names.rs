//! Field names. Those common in requests are recognised by a perfect hash and word compares, without
//! allocating a name.

use http::header::{self, HeaderName};

/// What the server itself uses a field for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Host,
    /// `Content-Length` or `Transfer-Encoding`.
    Framing,
    Connection,
    Expect,
    Te,
    Upgrade,
    /// Nothing: only the handler uses it.
    None,
}

impl Role {
    pub(super) const fn of(name: &HeaderName) -> Self {
        match *name {
            header::HOST => Self::Host,
            header::CONTENT_LENGTH | header::TRANSFER_ENCODING => Self::Framing,
            header::CONNECTION => Self::Connection,
            header::EXPECT => Self::Expect,
            header::TE => Self::Te,
            header::UPGRADE => Self::Upgrade,
            _ => Self::None,
        }
    }
}

/// A field name that is common in requests.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) name: HeaderName,
    pub(super) role: Role,
    length: usize,
    words: [Word; Self::WORDS],
}

/// Eight bytes of a name, and a mask of the bits to compare: without the case bit of letters, and
/// without the bytes after the name.
#[derive(Clone, Copy, Debug)]
struct Word {
    bits: u64,
    mask: u64,
}

impl Common {
    /// Words in the longest name.
    const WORDS: usize = 4;

    /// Finds the common name that equals the first `length` bytes of `line`, in any case. `None` if
    /// it isn't one of them, or if `line` ends before the last word to compare (eight bytes each).
    pub(super) fn find(line: &[u8], length: usize) -> Option<&'static Self> {
        let (first, last) = (line.first()?, line.get(length.wrapping_sub(1))?);
        let common = &COMMON[SLOTS[slot(*first, *last, length)] as usize];
        if common.length != length {
            return None;
        }
        let mut rest = line;
        for word in &common.words[..length.div_ceil(8)] {
            let (eight, after) = rest.split_first_chunk()?;
            if (u64::from_le_bytes(*eight) ^ word.bits) & word.mask != 0 {
                return None;
            }
            rest = after;
        }
        Some(common)
    }

    const fn new(lower: &'static str) -> Self {
        let bytes = lower.as_bytes();
        let mut words = [Word { bits: 0, mask: 0 }; Self::WORDS];
        let mut at = 0;
        while at < bytes.len() {
            let shift = at % 8 * 8;
            let mask = if bytes[at].is_ascii_lowercase() {
                0xDF
            } else {
                0xFF
            };
            words[at / 8].bits |= (bytes[at] as u64) << shift;
            words[at / 8].mask |= mask << shift;
            at += 1;
        }
        let name = HeaderName::from_static(lower);
        Self {
            role: Role::of(&name),
            name,
            length: bytes.len(),
            words,
        }
    }
}

macro_rules! common {
    ($($name:literal)*) => {
        const NAMES: &[&str] = &[$($name),*];
        static COMMON: [Common; NAMES.len()] = [$(Common::new($name)),*];
    };
}

common! {
    "accept"
    "accept-encoding"
    "accept-language"
    "authorization"
    "cache-control"
    "connection"
    "content-length"
    "content-type"
    "cookie"
    "dnt"
    "expect"
    "host"
    "if-modified-since"
    "if-none-match"
    "origin"
    "pragma"
    "range"
    "referer"
    "te"
    "transfer-encoding"
    "upgrade"
    "upgrade-insecure-requests"
    "user-agent"
    "via"
}

/// Maps a name's [`slot`] to its index in [`COMMON`]. Unused slots hold 0; the name is compared
/// anyway.
static SLOTS: [u8; 64] = {
    let mut slots = [0; 64];
    let mut i = 0;
    while i < NAMES.len() {
        let name = NAMES[i].as_bytes();
        let slot = slot(name[0], name[name.len() - 1], name.len());
        assert!(slots[slot] == 0, "two names have the same slot");
        slots[slot] = i as u8;
        i += 1;
    }
    slots
};

/// A perfect hash below 64: different for each common name, and independent of case.
const fn slot(first: u8, last: u8, length: usize) -> usize {
    let letters = (first & 0x1F) as usize + (last & 0x1F) as usize * 3;
    letters.wrapping_add(length.wrapping_mul(18)) % 64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(line: &str) -> Option<&'static str> {
        let length = line.find(':').unwrap_or(line.len());
        Common::find(line.as_bytes(), length).map(|common| common.name.as_str())
    }

    #[test]
    fn common_names_are_found_in_any_case() {
        for common in &COMMON {
            let name = common.name.as_str();
            let mixed: String = (name.chars().enumerate())
                .map(|(i, char)| {
                    if i % 2 == 0 {
                        char.to_ascii_uppercase()
                    } else {
                        char
                    }
                })
                .collect();
            for spelling in [name, &name.to_uppercase(), &mixed] {
                let line = format!("{spelling}: value\r\n\r\n");
                assert_eq!(find(&line), Some(name), "{line:?}");
            }
        }
    }

    #[test]
    fn no_other_name_is_found() {
        for common in &COMMON {
            let name = common.name.as_str().as_bytes();
            for at in 0..name.len() {
                for byte in 0..=u8::MAX {
                    let mut other = name.to_vec();
                    other[at] = byte;
                    let is_same = other.eq_ignore_ascii_case(name);
                    other.extend_from_slice(b": value\r\n");
                    let found = Common::find(&other, name.len());
                    let is_found = found.is_some_and(|found| found.name == common.name);
                    assert_eq!(is_found, is_same, "{}", other.escape_ascii());
                }
            }
        }
        for other in [
            "",
            ":",
            "x: 1234567890",
            "hos: t567890",
            "hostt: 67890",
            "x-a: 1234567890",
        ] {
            assert_eq!(find(other), None, "{other:?}");
        }
    }

    #[test]
    fn all_names_with_a_role_are_common() {
        let names = "host content-length transfer-encoding connection expect te upgrade";
        for name in names.split(' ') {
            let line = format!("{name}: 12345678");
            let common = Common::find(line.as_bytes(), name.len()).expect("common");
            assert_ne!(common.role, Role::None, "{name}");
        }
        assert_eq!(
            COMMON
                .iter()
                .filter(|common| common.role != Role::None)
                .count(),
            7
        );
    }
}
