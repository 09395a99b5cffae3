//! Text from clients in a line of an access log: nothing in it can end a quoted text, a line or a JSON string, or reach
//! a terminal as a control sequence.

/// Appends bytes for a quoted text of the Common and Combined formats, as Apache and its parsers do: quotes,
/// backslashes, and whatever isn't printable ASCII are escaped with a backslash.
pub(super) fn quoted(out: &mut Vec<u8>, bytes: &[u8]) {
    each_run(out, bytes, |out, byte| match byte {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        byte => out.extend_from_slice(&[b'\\', b'x', hex(byte >> 4), hex(byte & 15)]),
    });
}

/// Appends bytes as a JSON string, with its quotes. Whatever isn't printable ASCII is escaped; bytes that aren't UTF-8
/// become the replacement character.
pub(super) fn json(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    for chunk in bytes.utf8_chunks() {
        for piece in chunk.valid().split_inclusive(|char: char| !char.is_ascii()) {
            let last = piece.chars().next_back().filter(|char| !char.is_ascii());
            let ascii = &piece[..piece.len() - last.map_or(0, char::len_utf8)];
            each_run(out, ascii.as_bytes(), |out, byte| match byte {
                b'"' => out.extend_from_slice(b"\\\""),
                b'\\' => out.extend_from_slice(b"\\\\"),
                byte => unicode(out, u16::from(byte)),
            });
            if let Some(last) = last {
                let units = &mut [0; 2];
                last.encode_utf16(units)
                    .iter()
                    .for_each(|unit| unicode(out, *unit));
            }
        }
        if !chunk.invalid().is_empty() {
            unicode(out, 0xfffd);
        }
    }
    out.push(b'"');
}

/// Appends runs of bytes that need no escape, and passes the others to `escape`.
fn each_run(out: &mut Vec<u8>, bytes: &[u8], escape: impl Fn(&mut Vec<u8>, u8)) {
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| !is_plain(*byte)) {
        out.extend_from_slice(&rest[..at]);
        escape(out, rest[at]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

fn unicode(out: &mut Vec<u8>, unit: u16) {
    let [high, low] = unit.to_be_bytes();
    let digits = [high >> 4, high & 15, low >> 4, low & 15].map(hex);
    out.extend_from_slice(b"\\u");
    out.extend_from_slice(&digits);
}

fn hex(digit: u8) -> u8 {
    b"0123456789abcdef"[usize::from(digit & 15)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(escape: fn(&mut Vec<u8>, &[u8]), bytes: &[u8]) -> String {
        let mut out = Vec::new();
        escape(&mut out, bytes);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn quoted_text_is_printable_ascii() {
        let hostile = b"a\"b\\c\r\nd\x1b[31m\x7f\x00\xff ~";
        let expected = r#"a\"b\\c\x0d\x0ad\x1b[31m\x7f\x00\xff ~"#;
        assert_eq!(text(quoted, hostile), expected);
        let all: Vec<u8> = (0..=u8::MAX).collect();
        let escaped = text(quoted, &all);
        assert!(escaped.bytes().all(|byte| matches!(byte, b' '..=b'~')));
    }

    #[test]
    fn json_strings_are_printable_ascii() {
        let hostile = "a\"b\\\r\n\u{1b}\u{7f}\u{85}é\u{202e}😀".as_bytes();
        let expected = r#""a\"b\\\u000d\u000a\u001b\u007f\u0085\u00e9\u202e\ud83d\ude00""#;
        assert_eq!(text(json, hostile), expected);
        assert_eq!(text(json, b"\xff\xc3(\xe2\x82"), r#""\ufffd\ufffd(\ufffd""#);
        assert_eq!(text(json, b""), r#""""#);
    }
}
