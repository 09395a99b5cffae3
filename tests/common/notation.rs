//! Reads and writes the notation for bytes in the cases, which `tests/conformance/README.md` describes.

use std::time::Duration;

/// One action of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Sends these bytes.
    Bytes(Vec<u8>),
    /// Sends nothing for this time.
    Wait(Duration),
    /// Shuts down sending.
    Eof,
}

/// Reads a whole block: every line ends with CRLF unless it ends with a backslash.
///
/// Returns one list of steps for each alternative of the block's `{a|b}`, and one list if there is none.
pub(crate) fn block(lines: &[&str]) -> Result<Vec<Vec<Step>>, String> {
    let mut script = Script::default();
    for line in lines {
        script.line(line)?;
    }
    Ok(script.finish())
}

/// Reads bytes that are written on one line. Braces may contain repetitions, but not alternatives.
pub(crate) fn text(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    for part in parts(text)? {
        match part {
            Part::Bytes(some) => bytes.extend(some),
            Part::OneOf(_) => return Err(format!("alternatives are not permitted here: {text}")),
        }
    }
    Ok(bytes)
}

/// Writes bytes in the notation, on one line, for messages.
pub(crate) fn show(bytes: &[u8]) -> String {
    const LONGEST: usize = 600;
    let mut shown = String::new();
    for &byte in bytes.iter().take(LONGEST) {
        match byte {
            b'\r' => shown.push_str("\\r"),
            b'\n' => shown.push_str("\\n"),
            b'\t' => shown.push_str("\\t"),
            b'\\' => shown.push_str("\\\\"),
            0x20..=0x7e => shown.push(char::from(byte)),
            other => shown.push_str(&format!("\\x{other:02x}")),
        }
    }
    if bytes.len() > LONGEST {
        shown.push_str(&format!("... ({} bytes in all)", bytes.len()));
    }
    shown
}

/// The inputs of the block so far: one, or one for each alternative.
#[derive(Default)]
struct Script {
    inputs: Vec<Vec<Step>>,
    ended: bool,
    has_alternatives: bool,
}

impl Script {
    fn line(&mut self, line: &str) -> Result<(), String> {
        if self.inputs.is_empty() {
            self.inputs.push(Vec::new());
        }
        if line.ends_with([' ', '\t']) {
            return Err(format!(
                "white space at the end of a line can't be seen: {line:?}"
            ));
        }
        if line == "{eof}" {
            self.step(&Step::Eof);
            self.ended = true;
            return Ok(());
        }
        if let Some(wait) = line
            .strip_prefix("{wait ")
            .and_then(|rest| rest.strip_suffix("s}"))
        {
            let seconds = wait
                .parse()
                .map_err(|_| format!("not a number of seconds: {line}"))?;
            self.step(&Step::Wait(Duration::from_secs(seconds)));
            return Ok(());
        }
        if self.ended {
            return Err(format!("bytes after the end of the input: {line}"));
        }
        let backslashes = line.len() - line.trim_end_matches('\\').len();
        let joined = backslashes % 2 == 1;
        let content = if joined {
            &line[..line.len() - 1]
        } else {
            line
        };
        for part in parts(content)? {
            match part {
                Part::Bytes(bytes) => self.bytes(&bytes),
                Part::OneOf(alternatives) => self.one_of(&alternatives)?,
            }
        }
        if !joined {
            self.bytes(b"\r\n");
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) {
        for input in &mut self.inputs {
            input.push(step.clone());
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        for input in &mut self.inputs {
            append(input, bytes);
        }
    }

    fn one_of(&mut self, alternatives: &[Vec<u8>]) -> Result<(), String> {
        if self.has_alternatives {
            return Err("a block has alternatives in one place only".to_owned());
        }
        self.has_alternatives = true;
        let common = std::mem::take(&mut self.inputs).pop().unwrap_or_default();
        for alternative in alternatives {
            let mut input = common.clone();
            append(&mut input, alternative);
            self.inputs.push(input);
        }
        Ok(())
    }

    fn finish(mut self) -> Vec<Vec<Step>> {
        if self.inputs.is_empty() {
            self.inputs.push(Vec::new());
        }
        self.inputs
    }
}

fn append(input: &mut Vec<Step>, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    if let Some(Step::Bytes(last)) = input.last_mut() {
        last.extend_from_slice(bytes);
    } else {
        input.push(Step::Bytes(bytes.to_vec()));
    }
}

enum Part {
    Bytes(Vec<u8>),
    OneOf(Vec<Vec<u8>>),
}

/// The parts of a text: bytes as they are or repeated, and alternatives.
fn parts(text: &str) -> Result<Vec<Part>, String> {
    let mut found = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(inside) = rest.strip_prefix('{') {
            let end =
                unescaped(inside, '}').ok_or_else(|| format!("a brace is left open: {text}"))?;
            found.push(braces(&inside[..end])?);
            rest = &inside[end + 1..];
        } else {
            let end = unescaped(rest, '{').unwrap_or(rest.len());
            found.push(Part::Bytes(unescape(&rest[..end])?));
            rest = &rest[end..];
        }
    }
    Ok(found)
}

/// Parses the text between braces: `text*times` or `this|that`.
fn braces(inside: &str) -> Result<Part, String> {
    if unescaped(inside, '|').is_some() {
        let mut alternatives = Vec::new();
        let mut rest = inside;
        while let Some(at) = unescaped(rest, '|') {
            alternatives.push(unescape(&rest[..at])?);
            rest = &rest[at + 1..];
        }
        alternatives.push(unescape(rest)?);
        return Ok(Part::OneOf(alternatives));
    }
    let unknown = || format!("neither a repetition nor alternatives: {{{inside}}}");
    let (unit, times) = inside.rsplit_once('*').ok_or_else(unknown)?;
    let times = times.parse().map_err(|_| unknown())?;
    Ok(Part::Bytes(unescape(unit)?.repeat(times)))
}

/// The first position of `wanted` without a backslash before it.
fn unescaped(text: &str, wanted: char) -> Option<usize> {
    let mut escaped = false;
    for (at, character) in text.char_indices() {
        if escaped {
            escaped = false;
        } else if character == '\\' {
            escaped = true;
        } else if character == wanted {
            return Some(at);
        }
    }
    None
}

fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if !character.is_ascii() || character.is_ascii_control() {
            return Err(format!("write {character:?} as \\xNN: {text}"));
        }
        if character != '\\' {
            bytes.push(character as u8);
            continue;
        }
        match characters.next() {
            Some('r') => bytes.push(b'\r'),
            Some('n') => bytes.push(b'\n'),
            Some('t') => bytes.push(b'\t'),
            Some('0') => bytes.push(0),
            Some('x') => {
                let digits: String = characters.by_ref().take(2).collect();
                let both =
                    digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
                let byte = u8::from_str_radix(&digits, 16).ok().filter(|_| both);
                bytes.push(byte.ok_or_else(|| format!("\\x wants two hex digits: {text}"))?);
            }
            Some(plain @ ('\\' | '{' | '}' | '|' | '*' | '"')) => bytes.push(plain as u8),
            other => return Err(format!("no such escape: \\{other:?} in {text}")),
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(input: &[&str]) -> Vec<u8> {
        match block(input).expect("well-formed").as_slice() {
            [steps] => match steps.as_slice() {
                [Step::Bytes(bytes)] => bytes.clone(),
                other => panic!("not one piece: {other:?}"),
            },
            other => panic!("not one input: {other:?}"),
        }
    }

    #[test]
    fn lines_end_with_crlf_unless_they_end_with_a_backslash() {
        assert_eq!(bytes(&["GET / HTTP/1.1", ""]), b"GET / HTTP/1.1\r\n\r\n");
        assert_eq!(bytes(&["a\\", "b\\"]), b"ab");
        assert_eq!(bytes(&["a\\\\"]), b"a\\\r\n");
        assert_eq!(bytes(&["a\\\\\\"]), b"a\\");
    }

    #[test]
    fn reads_escapes_and_repetitions() {
        assert_eq!(bytes(&["\\r\\n\\t\\0\\x7f\\{\\}\\"]), b"\r\n\t\0\x7f{}");
        assert_eq!(bytes(&["<{ab*3}{\\r\\n*2}>\\"]), b"<ababab\r\n\r\n>");
        assert_eq!(bytes(&["{**2}\\"]), b"**");
    }

    #[test]
    fn makes_an_input_of_each_alternative() {
        let inputs = block(&["a{b||\\|}c\\"]).expect("well-formed");
        let wanted = [b"abc".to_vec(), b"ac".to_vec(), b"a|c".to_vec()];
        assert_eq!(inputs, wanted.map(|bytes| vec![Step::Bytes(bytes)]));
    }

    #[test]
    fn reads_the_end_and_waits() {
        let inputs = block(&["a", "{wait 31s}", "b\\", "{eof}"]).expect("well-formed");
        let wanted = [
            Step::Bytes(b"a\r\n".to_vec()),
            Step::Wait(Duration::from_secs(31)),
            Step::Bytes(b"b".to_vec()),
            Step::Eof,
        ];
        assert_eq!(inputs, [wanted]);
    }

    #[test]
    fn ambiguous_text_is_an_error() {
        for wrong in [
            "a ",
            "\\q",
            "\\x4",
            "{a",
            "{a}",
            "{a*b}",
            "h\u{e9}",
            "{a|b}{c|d}",
        ] {
            assert!(block(&[wrong]).is_err(), "{wrong}");
        }
        assert!(block(&["{eof}", "a"]).is_err());
    }

    #[test]
    fn reading_what_was_written_returns_the_same_bytes() {
        let all: Vec<u8> = (0..=255).filter(|byte| !b"{}|*\"".contains(byte)).collect();
        assert_eq!(text(&show(&all)).expect("well-formed"), all);
    }
}
