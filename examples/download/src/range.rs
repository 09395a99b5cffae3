//! Which part of a file a `Range` field asks for (RFC 9110 §14).

/// What the client is to get.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Whole,
    /// The bytes from `first` to `last`, both included.
    Part {
        first: u64,
        last: u64,
    },
    /// The file has none of the bytes: 416.
    Nothing,
}

/// Judges the value of a `Range` field for a file of this length.
///
/// What isn't understood is ignored (§14.2): another unit, a malformed range, and also several ranges,
/// which few clients ask for.
pub(crate) fn wanted(value: &[u8], length: u64) -> Wanted {
    let range = str::from_utf8(value).ok().and_then(parse);
    match range {
        None => Wanted::Whole,
        // A suffix of an empty file is the whole file, which no `Content-Range` can describe.
        Some(Range::Suffix(1..)) if length == 0 => Wanted::Whole,
        Some(Range::Suffix(0)) => Wanted::Nothing,
        Some(Range::From(first, _)) if first >= length => Wanted::Nothing,
        Some(Range::From(first, last)) => Wanted::Part {
            first,
            last: last.min(length - 1),
        },
        Some(Range::Suffix(count)) => Wanted::Part {
            first: length.saturating_sub(count),
            last: length - 1,
        },
    }
}

/// A range as it is written (§14.1.2).
enum Range {
    /// `bytes=5-9`, or `bytes=5-` up to the end.
    From(u64, u64),
    /// `bytes=-5`: the last five.
    Suffix(u64),
}

fn parse(value: &str) -> Option<Range> {
    let (unit, range) = value.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = range.trim_matches([' ', '\t']).split_once('-')?;
    match (first, last) {
        ("", count) => number(count).map(Range::Suffix),
        (first, "") => Some(Range::From(number(first)?, u64::MAX)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Range::From(first, last))
        }
    }
}

/// Digits only, where `parse` would also take a sign. More digits than fit mean a position behind every file.
fn number(digits: &str) -> Option<u64> {
    let are_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    are_digits.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(first: u64, last: u64) -> Wanted {
        Wanted::Part { first, last }
    }

    /// The examples of RFC 9110 §14.1.2, for a file of 10,000 bytes.
    #[test]
    fn examples_of_the_rfc() {
        for (range, expected) in [
            ("bytes=0-499", part(0, 499)),
            ("bytes=500-999", part(500, 999)),
            ("bytes=-500", part(9500, 9999)),
            ("bytes=9500-", part(9500, 9999)),
            ("bytes=0-0", part(0, 0)),
            ("bytes=-1", part(9999, 9999)),
            // Several.
            ("bytes=0-0,-1", Wanted::Whole),
            ("bytes= 0-999, 4500-5499, -1000", Wanted::Whole),
            ("bytes=500-600,601-999", Wanted::Whole),
        ] {
            assert_eq!(wanted(range.as_bytes(), 10_000), expected, "{range}");
        }
    }

    #[test]
    fn ends_behind_the_file_are_cut() {
        assert_eq!(wanted(b"bytes=5-10", 10), part(5, 9));
        assert_eq!(wanted(b"bytes=5-99999999999999999999999", 10), part(5, 9));
        assert_eq!(wanted(b"bytes=-11", 10), part(0, 9));
        assert_eq!(wanted(b"bytes=-99999999999999999999999", 10), part(0, 9));
        assert_eq!(wanted(b"Bytes=0-", 10), part(0, 9));
    }

    #[test]
    fn what_the_file_does_not_have_is_unsatisfiable() {
        for range in [
            "bytes=10-",
            "bytes=10-20",
            "bytes=99999999999999999999999-",
            "bytes=-0",
        ] {
            assert_eq!(wanted(range.as_bytes(), 10), Wanted::Nothing, "{range}");
        }
        assert_eq!(wanted(b"bytes=0-", 0), Wanted::Nothing);
        assert_eq!(wanted(b"bytes=-0", 0), Wanted::Nothing);
        assert_eq!(wanted(b"bytes=-1", 0), Wanted::Whole);
        let last = u64::MAX - 1;
        assert_eq!(wanted(b"bytes=0-", u64::MAX), part(0, last));
    }

    #[test]
    fn what_is_malformed_is_ignored() {
        for range in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=5",
            "bytes=5-4",
            "bytes=a-b",
            "bytes=+1-2",
            "bytes=1-+2",
            "bytes=1--2",
            "bytes=0x1-2",
            "bytes:0-1",
            "lines=0-1",
            "=0-1",
            "bytes=1 -2",
            "bytes=1-2;",
            "none",
        ] {
            assert_eq!(wanted(range.as_bytes(), 10), Wanted::Whole, "{range}");
        }
        assert_eq!(wanted(b"bytes=0-\xff", 10), Wanted::Whole);
    }
}
