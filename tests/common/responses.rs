//! A strict parser for responses, as in a client that accepts no mistake. It shares no code with the server.
//!
//! It also checks what must be true of every response: RFC 9112 section 4 for the status line, section 5 for field
//! lines, section 6 for the framing; RFC 9110 section 6.6.1 for the date and section 8.6 for the length.

use super::cases::Form;
use super::notation;

/// A parsed response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) reason: String,
    pub(crate) fields: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// Whether it says that the server will close.
    pub(crate) fn says_close(&self) -> bool {
        self.options()
            .any(|option| option.eq_ignore_ascii_case(b"close"))
    }

    /// Whether it is an interim response (1xx).
    pub(crate) fn is_interim(&self) -> bool {
        self.status < 200
    }

    /// The options in the Connection fields.
    fn options(&self) -> impl Iterator<Item = &[u8]> {
        let lists = self.values("connection");
        lists.flat_map(|list| list.split(|&byte| byte == b',').map(<[u8]>::trim_ascii))
    }

    pub(crate) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let same = self
            .fields
            .iter()
            .filter(move |(other, _)| other.eq_ignore_ascii_case(name));
        same.map(|(_, value)| value.as_slice())
    }
}

/// Reads the first response of `bytes`. Returns it, and the bytes after it.
///
/// `to_head` says that it is the response to a HEAD request, which its bytes don't show.
pub(crate) fn read(bytes: &[u8], to_head: bool) -> Result<(Response, &[u8]), String> {
    let form = match to_head {
        true => Form::Head,
        false => Form::Message,
    };
    read_as(bytes, form)
}

/// The same, for a response of any form.
pub(crate) fn read_as(bytes: &[u8], form: Form) -> Result<(Response, &[u8]), String> {
    let (status_line, mut rest) = line(bytes)?;
    let (status, reason) = read_status_line(status_line)?;
    let mut fields = Vec::new();
    loop {
        let (field_line, after) = line(rest)?;
        rest = after;
        if field_line.is_empty() {
            break;
        }
        fields.push(read_field_line(field_line)?);
    }
    let mut response = Response {
        status,
        reason,
        fields,
        body: Vec::new(),
    };
    let length = match form {
        Form::Message => body_length(&response)?,
        Form::Head => body_length(&response).map(|_| 0)?,
        Form::Upgrades => {
            check_upgrade(&response)?;
            rest.len()
        }
    };
    let (body, rest) = rest.split_at_checked(length).ok_or_else(|| {
        format!(
            "{status} announces {length} bytes of body and has {}",
            rest.len()
        )
    })?;
    response.body = body.to_vec();
    check_connection(&response)?;
    if !response.is_interim() {
        check_date(&response)?;
    }
    Ok((response, rest))
}

/// The first line without its CRLF, and the bytes after it.
fn line(bytes: &[u8]) -> Result<(&[u8], &[u8]), String> {
    let truncated = || format!("a truncated head: {}", notation::show(bytes));
    let end = bytes
        .windows(2)
        .position(|pair| pair == b"\r\n")
        .ok_or_else(truncated)?;
    let line = &bytes[..end];
    let allowed = |byte: &u8| *byte == b'\t' || *byte == b' ' || *byte > 0x20 && *byte != 0x7f;
    if !line.iter().all(allowed) {
        return Err(format!(
            "a control character in a line: {}",
            notation::show(line)
        ));
    }
    Ok((line, &bytes[end + 2..]))
}

fn read_status_line(line: &[u8]) -> Result<(u16, String), String> {
    let wrong = || format!("not a status line: {}", notation::show(line));
    let rest = line.strip_prefix(b"HTTP/1.1 ").ok_or_else(wrong)?;
    let (digits, reason) = rest.split_at_checked(3).ok_or_else(wrong)?;
    let reason = reason.strip_prefix(b" ").ok_or_else(wrong)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(wrong());
    }
    let number = digits
        .iter()
        .fold(0, |number, digit| number * 10 + u16::from(digit - b'0'));
    if !(100..600).contains(&number) {
        return Err(wrong());
    }
    Ok((number, String::from_utf8_lossy(reason).into_owned()))
}

fn read_field_line(line: &[u8]) -> Result<(String, Vec<u8>), String> {
    let wrong = || format!("not a field line: {}", notation::show(line));
    let colon = line
        .iter()
        .position(|&byte| byte == b':')
        .ok_or_else(wrong)?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if !is_token(name) {
        return Err(wrong());
    }
    Ok((
        String::from_utf8_lossy(name).into_owned(),
        value.trim_ascii().to_vec(),
    ))
}

/// The length of the body. An ambiguous response is an error.
fn body_length(response: &Response) -> Result<usize, String> {
    let status = response.status;
    if response.values("transfer-encoding").next().is_some() {
        return Err(format!("{status} has a Transfer-Encoding"));
    }
    let lengths: Vec<_> = response.values("content-length").collect();
    let bodiless = response.is_interim() || status == 204 || status == 304;
    let length = match lengths.as_slice() {
        [] if bodiless => return Ok(0),
        [] => return Err(format!("{status} has no Content-Length")),
        [_] if bodiless => return Err(format!("{status} has a Content-Length")),
        [length] => *length,
        [_, _, ..] => return Err(format!("{status} has several Content-Lengths")),
    };
    let text = std::str::from_utf8(length).unwrap_or_default();
    let plain =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    let number = text.parse().ok().filter(|_| plain);
    let number = number.ok_or_else(|| format!("not a length: {}", notation::show(length)))?;
    if status == 205 && number != 0 {
        return Err("205 has a body".to_owned());
    }
    Ok(number)
}

/// Checks a response that upgrades: it says nothing of a body. 101 has the option `upgrade`, and names the protocol.
fn check_upgrade(response: &Response) -> Result<(), String> {
    let status = response.status;
    for name in ["content-length", "transfer-encoding"] {
        if response.values(name).next().is_some() {
            return Err(format!("{status} upgrades and has {name}"));
        }
    }
    let is_option = |option: &[u8]| option.eq_ignore_ascii_case(b"upgrade");
    if status == 101
        && (response.options().filter(|it| is_option(it)).count() != 1
            || response.values("upgrade").next().is_none())
    {
        return Err("101 must have one Connection: upgrade, and an Upgrade".to_owned());
    }
    Ok(())
}

/// Checks that there is at most one Connection field, that its options are tokens, and that at most one of them is
/// `close` or `keep-alive`.
fn check_connection(response: &Response) -> Result<(), String> {
    if response.values("connection").count() > 1 {
        return Err("several Connection fields".to_owned());
    }
    if let Some(option) = response.options().find(|option| !is_token(option)) {
        return Err(format!(
            "not a connection option: {}",
            notation::show(option)
        ));
    }
    let own = |option: &&[u8]| {
        option.eq_ignore_ascii_case(b"close") || option.eq_ignore_ascii_case(b"keep-alive")
    };
    match response.options().filter(own).count() {
        0 | 1 => Ok(()),
        _ => Err("Connection says close or keep-alive more than once".to_owned()),
    }
}

fn is_token(text: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(allowed)
}

/// Checks that there is exactly one Date, in the only format that may be sent.
fn check_date(response: &Response) -> Result<(), String> {
    let dates: Vec<_> = response.values("date").collect();
    let [date] = dates.as_slice() else {
        return Err(format!("{} has {} Dates", response.status, dates.len()));
    };
    if is_imf_fixdate(date) {
        Ok(())
    } else {
        Err(format!("not a date: {}", notation::show(date)))
    }
}

/// Whether it has the format `Sun, 06 Nov 1994 08:49:37 GMT`, and the right day of the week.
fn is_imf_fixdate(date: &[u8]) -> bool {
    const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let Ok(text) = std::str::from_utf8(date) else {
        return false;
    };
    if text.len() != 29 || !text.is_ascii() {
        return false;
    }
    let punctuation = [
        (3, ", "),
        (7, " "),
        (11, " "),
        (16, " "),
        (19, ":"),
        (22, ":"),
        (25, " GMT"),
    ];
    if !punctuation
        .iter()
        .all(|&(at, sign)| text[at..].starts_with(sign))
    {
        return false;
    }
    let number = |from: usize, to: usize| -> Option<usize> {
        let digits = &text[from..to];
        if digits.bytes().all(|byte| byte.is_ascii_digit()) {
            digits.parse().ok()
        } else {
            None
        }
    };
    let month = MONTHS.iter().position(|month| *month == &text[8..11]);
    let (Some(day), Some(month), Some(year)) = (number(5, 7), month, number(12, 16)) else {
        return false;
    };
    let (Some(hour), Some(minute), Some(second)) = (number(17, 19), number(20, 22), number(23, 25))
    else {
        return false;
    };
    if !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 || year < 1583 {
        return false;
    }
    // Sakamoto's method.
    let shift = [0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4][month];
    let year = if month < 2 { year - 1 } else { year };
    let weekday = (year + year / 4 - year / 100 + year / 400 + shift + day) % 7;
    DAYS[weekday] == &text[..3]
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";

    fn response(status: &str, fields: &str, body: &str) -> Vec<u8> {
        format!("HTTP/1.1 {status}\r\n{DATE}{fields}\r\n{body}").into_bytes()
    }

    #[test]
    fn reads_one_response_after_another() {
        let mut bytes = b"HTTP/1.1 100 Continue\r\n\r\n".to_vec();
        bytes.extend(response(
            "200 OK",
            "Content-Length: 2\r\nConnection: close\r\n",
            "hi",
        ));
        let (first, rest) = read(&bytes, false).expect("an interim response");
        assert!(first.is_interim() && first.fields.is_empty());
        let (second, rest) = read(rest, false).expect("a response");
        assert_eq!((second.status, second.reason.as_str()), (200, "OK"));
        assert_eq!(second.body, b"hi");
        assert!(second.says_close() && rest.is_empty());
    }

    #[test]
    fn knows_which_responses_have_no_body() {
        for status in ["204 No Content", "304 Not Modified"] {
            assert!(read(&response(status, "", ""), false).is_ok());
            assert!(read(&response(status, "Content-Length: 0\r\n", ""), false).is_err());
        }
        let reset = "205 Reset Content";
        assert!(read(&response(reset, "Content-Length: 0\r\n", ""), false).is_ok());
        assert!(read(&response(reset, "Content-Length: 1\r\n", "a"), false).is_err());
        let head = response("200 OK", "Content-Length: 5\r\n", "x");
        let (_, rest) = read(&head, true).expect("a head");
        assert_eq!(rest, b"x");
    }

    #[test]
    fn an_upgrade_takes_all_that_follows() {
        let fields = "Connection: upgrade\r\nUpgrade: x\r\n";
        let bytes = response("101 Switching Protocols", fields, "HTTP/1.1 200 OK");
        let (upgrade, rest) = read_as(&bytes, Form::Upgrades).expect("an upgrade");
        assert_eq!(
            (upgrade.body.as_slice(), rest),
            (&b"HTTP/1.1 200 OK"[..], &b""[..])
        );
        let (fields, long) = ("Connection: upgrade\r\n", "Content-Length: 0\r\n");
        for (status, fields) in [("101 Switching Protocols", fields), ("200 OK", long)] {
            assert!(read_as(&response(status, fields, ""), Form::Upgrades).is_err());
        }
    }

    #[test]
    fn ambiguous_or_malformed_responses_are_errors() {
        let length = "Content-Length: 0\r\n";
        let wrong = [
            response("200 OK", "", ""),
            response("200 OK", "Content-Length: 0\r\nContent-Length: 0\r\n", ""),
            response("200 OK", "Content-Length: 00\r\n", ""),
            response("200 OK", "Content-Length: +0\r\n", ""),
            response("200 OK", "Content-Length: 3\r\n", "hi"),
            response(
                "200 OK",
                "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
                "",
            ),
            response("200", length, ""),
            response("20 OK", length, ""),
            response("600 OK", length, ""),
            response("200 O\tK\x01", length, ""),
            response("200 OK", "Content-Length: 0\r\nX : a\r\n", ""),
            response("200 OK", "Content-Length: 0\r\n: a\r\n", ""),
            response("200 OK", "Content-Length: 0\r\n folded\r\n", ""),
            response("200 OK", "Content-Length: 0\r\nX: a\nY: b\r\n", ""),
            response(
                "200 OK",
                "Content-Length: 0\r\nConnection: close, keep-alive\r\n",
                "",
            ),
            response(
                "200 OK",
                "Content-Length: 0\r\nConnection: close\r\nConnection: close\r\n",
                "",
            ),
            response("200 OK", &format!("{DATE}{length}"), ""),
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec(),
            b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec(),
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n".to_vec(),
        ];
        for bytes in wrong {
            assert!(read(&bytes, false).is_err(), "{}", notation::show(&bytes));
        }
    }

    #[test]
    fn checks_the_format_of_dates() {
        for date in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Tue, 29 Feb 2028 23:59:60 GMT",
        ] {
            assert!(is_imf_fixdate(date.as_bytes()), "{date}");
        }
        for date in [
            "Mon, 06 Nov 1994 08:49:37 GMT",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "",
        ] {
            assert!(!is_imf_fixdate(date.as_bytes()), "{date}");
        }
    }
}
