//! Responses that the host of a component frames: their length and fields, by the same rules as on a connection.

use http::Response;
use http::header::{self, HeaderMap};

use super::custom_refusal::remove_framing;
use super::encode::{self, BodyFraming, RequestInfo, ResponseHead};
use super::streaming::ResponseLength;

/// What a component decides about a response's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hosted {
    /// Whether the body is sent.
    pub(crate) has_body: bool,
    /// How many bytes it must have, if that is known.
    pub(crate) promised: Option<u64>,
}

/// Sets the fields that a host gets with a response: those of the handler without those about the connection, and the
/// length.
pub(crate) fn for_host(head: &mut Response<()>, length: ResponseLength, is_head: bool) -> Hosted {
    let request_info = RequestInfo {
        is_head,
        is_http10: false,
    };
    let framing = length.framing(head.headers(), false);
    let has_body = encode::has_body(head.status(), is_head);
    let stated = ResponseHead {
        status: head.status(),
        fields: head.headers(),
        framing: length.stated(framing),
        has_trailers: false,
        request_info,
        persists: true,
    }
    .content_length();
    if !head.headers().is_empty() {
        clean(
            head.headers_mut(),
            has_body && framing == BodyFraming::Chunked,
        );
    }
    if let Some(length) = stated {
        head.headers_mut()
            .insert(header::CONTENT_LENGTH, length.into());
    }
    Hosted {
        has_body,
        promised: match framing {
            BodyFraming::Length(length) => Some(length),
            BodyFraming::Chunked | BodyFraming::UntilClose => None,
        },
    }
}

/// Removes what isn't the handler's to send.
fn clean(fields: &mut HeaderMap, may_have_trailers: bool) {
    let trailer = fields.remove(header::TRAILER);
    remove_framing(fields);
    if let Some(trailer) = trailer.filter(|_| may_have_trailers) {
        fields.insert(header::TRAILER, trailer);
    }
    if fields.contains_key(header::DATE) {
        let mut dates = fields.get_all(header::DATE).iter();
        match dates.find(|date| encode::is_date(date)).cloned() {
            Some(date) => fields.insert(header::DATE, date),
            None => fields.remove(header::DATE),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;

    fn head(status: u16, fields: &[(&str, &str)]) -> Response<()> {
        let mut builder = Response::builder().status(status);
        for (name, value) in fields {
            builder = builder.header(*name, *value);
        }
        builder.body(()).expect("a valid head")
    }

    fn length_of(head: &Response<()>) -> Option<&str> {
        head.headers()
            .get(header::CONTENT_LENGTH)
            .map(|value| value.to_str().expect("digits"))
    }

    #[test]
    fn the_length_is_stated_as_on_a_connection() {
        use ResponseLength::{Exact, Unknown};
        type Fields = &'static [(&'static str, &'static str)];
        /// The response's status, fields and length; whether it is to HEAD; what is stated; and the result.
        type Case = (
            u16,
            Fields,
            ResponseLength,
            bool,
            Option<&'static str>,
            Hosted,
        );
        const OWN: Fields = &[("content-length", "7")];
        let cases: [Case; 8] = [
            (200, &[], Exact(5), false, Some("5"), hosted(true, Some(5))),
            (200, OWN, Exact(5), false, Some("5"), hosted(true, Some(5))),
            (200, OWN, Unknown, false, Some("7"), hosted(true, Some(7))),
            (200, &[], Unknown, false, None, hosted(true, None)),
            (200, OWN, Exact(0), true, Some("7"), hosted(false, Some(0))),
            (204, OWN, Exact(0), false, None, hosted(false, Some(0))),
            (304, OWN, Unknown, false, None, hosted(false, Some(7))),
            (205, &[], Exact(5), false, Some("0"), hosted(false, Some(5))),
        ];
        for (status, fields, length, is_head, stated, expected) in cases {
            let mut head = head(status, fields);
            assert_eq!(for_host(&mut head, length, is_head), expected, "{status}");
            assert_eq!(length_of(&head), stated, "{status} {fields:?} {length:?}");
        }
    }

    const fn hosted(has_body: bool, promised: Option<u64>) -> Hosted {
        Hosted { has_body, promised }
    }

    #[test]
    fn fields_about_the_connection_are_the_hosts() {
        let fields = [
            ("connection", "close, x-mine"),
            ("x-mine", "1"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("trailer", "x-sum"),
            ("content-type", "text/plain"),
            ("date", "yesterday"),
        ];
        for (length, left) in [
            (ResponseLength::Unknown, &["content-type", "trailer"][..]),
            (
                ResponseLength::Exact(3),
                &["content-length", "content-type"],
            ),
        ] {
            let mut head = head(200, &fields);
            for_host(&mut head, length, false);
            let mut names: Vec<_> = head.headers().keys().map(|name| name.as_str()).collect();
            names.sort_unstable();
            assert_eq!(names, left);
            assert_eq!(head.status(), StatusCode::OK);
        }
    }

    #[test]
    fn the_first_valid_date_is_sent() {
        const VALID: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
        let mut head = head(200, &[("date", "x"), ("date", VALID), ("date", "y")]);
        for_host(&mut head, ResponseLength::Unknown, false);
        let dates: Vec<_> = head.headers().get_all(header::DATE).iter().collect();
        assert_eq!(dates, [VALID]);
    }
}
