//! Whether a request's conditions hold for a file (RFC 9110 §13).

use std::time::{Duration, SystemTime};

use mini_http::header::{
    HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
};
use mini_http::http::HeaderMap;

/// The values by which a client recognizes that a file is still the same (§8.8).
#[derive(Debug)]
pub(crate) struct Validators {
    /// With its quotes. It is a strong one (§8.8.3): the file's length and its time of modification in nanoseconds.
    pub(crate) etag: String,
    /// In whole seconds, as HTTP's dates are.
    pub(crate) modified: SystemTime,
}

/// The last second of the year 9999, since 1970: years of HTTP's dates have four digits.
const LAST_SECOND: u64 = 253_402_300_799;

impl Validators {
    /// `None` without a time, or with one that HTTP's dates can't express.
    pub(crate) fn new(modified: Option<SystemTime>, length: u64) -> Option<Self> {
        let modified = modified?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        if modified.as_secs() > LAST_SECOND {
            return None;
        }
        Some(Self {
            etag: format!("\"{:x}-{length:x}\"", modified.as_nanos()),
            modified: SystemTime::UNIX_EPOCH + Duration::from_secs(modified.as_secs()),
        })
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Send,
    /// The client has it: 304.
    NotModified,
    /// The client wants another version: 412.
    Failed,
}

/// Judges all conditions but `If-Range`, of GET or HEAD, in the order of §13.2.2. The file exists.
pub(crate) fn judge(fields: &HeaderMap, validators: Option<&Validators>) -> Verdict {
    let matches = if fields.contains_key(IF_MATCH) {
        Some(lists(fields, IF_MATCH, validators, Comparison::Strong))
    } else {
        // A file without a time isn't known to be unmodified.
        date(fields, IF_UNMODIFIED_SINCE)
            .map(|date| validators.is_some_and(|it| it.modified <= date))
    };
    if matches == Some(false) {
        return Verdict::Failed;
    }
    let is_known = if fields.contains_key(IF_NONE_MATCH) {
        lists(fields, IF_NONE_MATCH, validators, Comparison::Weak)
    } else {
        let date = date(fields, IF_MODIFIED_SINCE);
        date.is_some_and(|date| validators.is_some_and(|it| it.modified <= date))
    };
    match is_known {
        true => Verdict::NotModified,
        false => Verdict::Send,
    }
}

/// Whether `Range` is to be respected: there is no `If-Range`, or it names this version (§13.1.5).
pub(crate) fn range_applies(
    fields: &HeaderMap,
    validators: Option<&Validators>,
    now: SystemTime,
) -> bool {
    let mut values = fields.get_all(IF_RANGE).iter();
    let (value, validators) = match (values.next(), values.next(), validators) {
        (None, ..) => return true,
        (Some(value), None, Some(validators)) => (value, validators),
        _ => return false,
    };
    match date(fields, IF_RANGE) {
        // The same date is a strong validator only if no second change can fall into the same second (§8.8.2.2).
        Some(date) => {
            let age = now.duration_since(date);
            date == validators.modified && age.is_ok_and(|age| age > Duration::from_secs(1))
        }
        None => value.as_bytes() == validators.etag.as_bytes(),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

/// Whether the field is `*`, or a list with the file's entity tag (§8.8.3.2).
fn lists(
    fields: &HeaderMap,
    name: HeaderName,
    validators: Option<&Validators>,
    comparison: Comparison,
) -> bool {
    fields.get_all(name).iter().any(|value| {
        let is_same = |(is_weak, tag): (bool, &[u8])| {
            let is_strong_enough = !is_weak || comparison == Comparison::Weak;
            is_strong_enough && validators.is_some_and(|it| it.etag.as_bytes() == tag)
        };
        value.as_bytes().trim_ascii() == b"*" || entity_tags(value.as_bytes()).any(is_same)
    })
}

/// The entity tags of a list: whether they are weak, and the rest with its quotes. It ends at the first that is
/// malformed. A comma may be part of a tag, so the list can't just be split.
fn entity_tags(mut rest: &[u8]) -> impl Iterator<Item = (bool, &[u8])> {
    std::iter::from_fn(move || {
        let start = rest.iter().position(|byte| !b" \t,".contains(byte))?;
        rest = &rest[start..];
        let (is_weak, tag) = match rest.strip_prefix(b"W/") {
            Some(tag) => (true, tag),
            None => (false, rest),
        };
        let length = tag
            .strip_prefix(b"\"")?
            .iter()
            .position(|&byte| byte == b'"')?
            + 2;
        let (tag, after) = tag.split_at(length);
        rest = after;
        Some((is_weak, tag))
    })
}

/// The date of a field. `None` if it isn't there, is there more than once, or isn't a date: then it is ignored
/// (§13.1.3, §13.1.4).
fn date(fields: &HeaderMap, name: HeaderName) -> Option<SystemTime> {
    let mut values = fields.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => httpdate::parse_http_date(value.to_str().ok()?).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mini_http::header::HeaderValue;

    const DATE: &str = "Sat, 29 Oct 1994 19:43:31 GMT";
    const EARLIER: &str = "Sat, 29 Oct 1994 19:43:30 GMT";
    const LATER: &str = "Sat, 29 Oct 1994 19:43:32 GMT";

    fn date_of(text: &str) -> SystemTime {
        httpdate::parse_http_date(text).expect("a date")
    }

    /// A file that was modified in the second `DATE`, with the tag `"xyzzy"`.
    fn file() -> Validators {
        Validators {
            etag: "\"xyzzy\"".into(),
            modified: date_of(DATE),
        }
    }

    fn fields(fields: &[(HeaderName, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(name, HeaderValue::from_static(value));
        }
        map
    }

    fn verdict(list: &[(HeaderName, &'static str)]) -> Verdict {
        judge(&fields(list), Some(&file()))
    }

    #[test]
    fn validators_differ_by_time_and_length() {
        let time = |nanos| Some(SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos));
        let of = |nanos, length| Validators::new(time(nanos), length).expect("a time");
        assert_eq!(of(1_500_000_000, 1).modified, of(1_000_000_000, 2).modified);
        assert_ne!(of(1, 5).etag, of(2, 5).etag);
        assert_ne!(of(1, 5).etag, of(1, 6).etag);
        assert!(Validators::new(None, 5).is_none());
        let before = SystemTime::UNIX_EPOCH.checked_sub(Duration::from_secs(1));
        assert!(Validators::new(before, 5).is_none());
        let seconds = |count| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(count));
        let last = Validators::new(seconds(LAST_SECOND), 5).expect("a date");
        let text = httpdate::fmt_http_date(last.modified);
        assert_eq!(text, "Fri, 31 Dec 9999 23:59:59 GMT");
        assert!(Validators::new(seconds(LAST_SECOND + 1), 5).is_none());
    }

    #[test]
    fn without_conditions_it_is_sent() {
        assert_eq!(verdict(&[]), Verdict::Send);
    }

    /// The examples of RFC 9110 §13.1.2, and the weak comparison of §8.8.3.2.
    #[test]
    fn if_none_match() {
        for (value, expected) in [
            ("\"xyzzy\"", Verdict::NotModified),
            ("W/\"xyzzy\"", Verdict::NotModified),
            (
                "\"xyzzy\", \"r2d2xxxx\", \"c3piozzzz\"",
                Verdict::NotModified,
            ),
            (
                "W/\"r2d2xxxx\", W/\"xyzzy\", W/\"c3piozzzz\"",
                Verdict::NotModified,
            ),
            ("*", Verdict::NotModified),
            (" * ", Verdict::NotModified),
            (",, \"a\" ,\"xyzzy\"", Verdict::NotModified),
            // A comma in a tag.
            ("\"a,b\", \"xyzzy\"", Verdict::NotModified),
            ("\"r2d2xxxx\"", Verdict::Send),
            ("\"a, \"xyzzy\"", Verdict::Send),
            ("\"a,\\\"xyzzy\\\",\"", Verdict::Send),
            ("xyzzy", Verdict::Send),
            ("w/\"xyzzy\"", Verdict::Send),
            ("\"XYZZY\"", Verdict::Send),
            ("\"xyzzy", Verdict::Send),
            ("", Verdict::Send),
        ] {
            assert_eq!(verdict(&[(IF_NONE_MATCH, value)]), expected, "{value}");
        }
        let two = [(IF_NONE_MATCH, "\"a\""), (IF_NONE_MATCH, "\"xyzzy\"")];
        assert_eq!(verdict(&two), Verdict::NotModified);
    }

    /// It isn't looked at beside If-None-Match (§13.1.3).
    #[test]
    fn if_modified_since() {
        for (value, expected) in [
            (DATE, Verdict::NotModified),
            (LATER, Verdict::NotModified),
            (EARLIER, Verdict::Send),
            // The two obsolete formats (§5.6.7).
            ("Saturday, 29-Oct-94 19:43:31 GMT", Verdict::NotModified),
            ("Sat Oct 29 19:43:31 1994", Verdict::NotModified),
            ("yesterday", Verdict::Send),
            ("", Verdict::Send),
        ] {
            assert_eq!(verdict(&[(IF_MODIFIED_SINCE, value)]), expected, "{value}");
        }
        let other = [(IF_NONE_MATCH, "\"a\""), (IF_MODIFIED_SINCE, LATER)];
        assert_eq!(verdict(&other), Verdict::Send);
        let twice = [(IF_MODIFIED_SINCE, LATER), (IF_MODIFIED_SINCE, LATER)];
        assert_eq!(verdict(&twice), Verdict::Send);
    }

    /// §13.1.1 and §13.1.4: for If-Match weak tags never match.
    #[test]
    fn if_match_and_if_unmodified_since() {
        for (field, value, expected) in [
            (IF_MATCH, "\"xyzzy\"", Verdict::Send),
            (IF_MATCH, "\"a\", \"xyzzy\"", Verdict::Send),
            (IF_MATCH, "*", Verdict::Send),
            (IF_MATCH, "W/\"xyzzy\"", Verdict::Failed),
            (IF_MATCH, "\"a\"", Verdict::Failed),
            (IF_MATCH, "", Verdict::Failed),
            (IF_UNMODIFIED_SINCE, DATE, Verdict::Send),
            (IF_UNMODIFIED_SINCE, LATER, Verdict::Send),
            (IF_UNMODIFIED_SINCE, EARLIER, Verdict::Failed),
            (IF_UNMODIFIED_SINCE, "yesterday", Verdict::Send),
        ] {
            assert_eq!(
                verdict(&[(field.clone(), value)]),
                expected,
                "{field}: {value}"
            );
        }
    }

    /// §13.2.2: first If-Match, or without it If-Unmodified-Since; then If-None-Match, or without it
    /// If-Modified-Since.
    #[test]
    fn conditions_have_an_order() {
        let tag = "\"xyzzy\"";
        let both = [(IF_MATCH, tag), (IF_UNMODIFIED_SINCE, EARLIER)];
        assert_eq!(verdict(&both), Verdict::Send);
        let both = [(IF_MATCH, "\"a\""), (IF_NONE_MATCH, tag)];
        assert_eq!(verdict(&both), Verdict::Failed);
        let both = [(IF_MATCH, tag), (IF_NONE_MATCH, tag)];
        assert_eq!(verdict(&both), Verdict::NotModified);
        let both = [(IF_UNMODIFIED_SINCE, EARLIER), (IF_MODIFIED_SINCE, DATE)];
        assert_eq!(verdict(&both), Verdict::Failed);
    }

    #[test]
    fn a_file_without_a_time() {
        let judged = |name, value| judge(&fields(&[(name, value)]), None);
        assert_eq!(judged(IF_MODIFIED_SINCE, DATE), Verdict::Send);
        assert_eq!(judged(IF_UNMODIFIED_SINCE, DATE), Verdict::Failed);
        assert_eq!(judged(IF_NONE_MATCH, "*"), Verdict::NotModified);
        assert_eq!(judged(IF_MATCH, "*"), Verdict::Send);
        let if_range = fields(&[(IF_RANGE, DATE)]);
        assert!(!range_applies(&if_range, None, date_of(LATER)));
        assert!(range_applies(&fields(&[]), None, date_of(LATER)));
    }

    /// §13.1.5: only strong validators, and only exact ones.
    #[test]
    fn if_range() {
        let now = date_of(DATE) + Duration::from_secs(60);
        let applies = |value| range_applies(&fields(&[(IF_RANGE, value)]), Some(&file()), now);
        assert!(applies("\"xyzzy\""));
        assert!(applies(DATE));
        for value in [
            "W/\"xyzzy\"",
            "\"a\"",
            LATER,
            EARLIER,
            "*",
            "",
            "\"a\", \"xyzzy\"",
        ] {
            assert!(!applies(value), "{value}");
        }
        // It may change again within this second.
        let dated = fields(&[(IF_RANGE, DATE)]);
        assert!(!range_applies(&dated, Some(&file()), date_of(LATER)));
        let twice = fields(&[(IF_RANGE, "\"xyzzy\""), (IF_RANGE, "\"xyzzy\"")]);
        assert!(!range_applies(&twice, Some(&file()), now));
    }
}
