//! [`WriteRefusal`]: the application writes the responses that the server makes by itself.
//!
//! The connection reaches it through a trait object: a program that doesn't use it doesn't contain its code.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::log::error;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName};
use http::{Response, response};

use super::date::Date;
use super::encode::{BodyFraming, RequestInfo, ResponseHead};
use super::head::elements;
use super::refusal::Refusal;

/// Writes the response to a refused request.
pub(crate) trait WriteRefusal: Send + Sync {
    /// Appends the response to `out`, and returns how many bytes of its body are sent. Returns `None`, and appends
    /// nothing, if the server has to send its own response.
    fn write(&self, out: &mut Vec<u8>, refusal: &Refusal, form: Form<'_>) -> Option<u64>;
}

/// What the connection decides about such a response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form<'a> {
    /// Whether it may have a body. If the method isn't known, it may not.
    pub(super) may_have_body: bool,
    pub(super) request_info: RequestInfo,
    pub(super) date: &'a Date,
}

/// The application's function.
pub(crate) struct CustomRefusal<F>(pub(crate) F);

/// The longest head and the longest body of such a response. They are copied, and clients decide how many there are:
/// with twice as much, refusals would cost more memory than most requests. Half would be less than an error page with
/// styles.
const MAX_BYTES: usize = 16 << 10;

impl<F, B> WriteRefusal for CustomRefusal<F>
where
    F: Fn(&Refusal) -> Response<B> + Send + Sync,
    B: Into<Bytes>,
{
    fn write(&self, out: &mut Vec<u8>, refusal: &Refusal, form: Form<'_>) -> Option<u64> {
        let made = catch_unwind(AssertUnwindSafe(|| {
            let (head, body) = (self.0)(refusal).into_parts();
            (head, body.into())
        }));
        match made {
            Ok((head, body)) => write(out, refusal, form, head, &body),
            Err(_) => {
                error!(target: "mini_http", "the function of on_refusal panicked: the server's own response is sent");
                None
            }
        }
    }
}

fn write(
    out: &mut Vec<u8>,
    refusal: &Refusal,
    form: Form<'_>,
    mut parts: response::Parts,
    body: &Bytes,
) -> Option<u64> {
    remove_framing(&mut parts.headers);
    let body: &[u8] = if form.may_have_body { body } else { &[] };
    let before = out.len();
    let head = ResponseHead {
        status: refusal.status(),
        fields: &parts.headers,
        framing: BodyFraming::Length(body.len() as u64),
        has_trailers: false,
        request_info: form.request_info,
        persists: false,
    };
    head.write(out, form.date);
    if out.len() - before > MAX_BYTES || body.len() > MAX_BYTES {
        error!(
            target: "mini_http",
            "the response of on_refusal isn't sent: its head has {} bytes and its body {}; each may have {MAX_BYTES}",
            out.len() - before, body.len()
        );
        out.truncate(before);
        return None;
    }
    if form.request_info.is_head {
        return Some(0);
    }
    out.extend_from_slice(body);
    Some(body.len() as u64)
}

/// Removes the fields that are about the connection or the framing: those are the server's (RFC 9110 §7.6.1).
pub(super) fn remove_framing(fields: &mut HeaderMap) {
    const NAMES: [HeaderName; 6] = [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::TRAILER,
        header::UPGRADE,
        header::TE,
    ];
    let named: Vec<HeaderName> = elements(fields, &header::CONNECTION)
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        .collect();
    let others = ["keep-alive", "proxy-connection"].map(HeaderName::from_static);
    for name in NAMES.iter().chain(&others).chain(&named) {
        fields.remove(name);
    }
}

impl fmt::Debug for dyn WriteRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteRefusal").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: RequestInfo = RequestInfo {
        is_head: false,
        is_http10: false,
    };

    fn written<F>(make: F, may_have_body: bool, request_info: RequestInfo) -> (String, Option<u64>)
    where
        F: Fn(&Refusal) -> Response<Vec<u8>> + Send + Sync,
    {
        let date = Date::default();
        let form = Form {
            may_have_body,
            request_info,
            date: &date,
        };
        let mut out = b"before ".to_vec();
        let length = CustomRefusal(make).write(&mut out, &Refusal::body_too_large(), form);
        let text = String::from_utf8(out).expect("ASCII");
        let text = text.strip_prefix("before ").expect("nothing is removed");
        (
            text.replace("date: Thu, 01 Jan 1970 00:00:00 GMT\r\n", ""),
            length,
        )
    }

    fn json(refusal: &Refusal) -> Response<Vec<u8>> {
        Response::builder()
            .status(200)
            .header("Content-Type", "application/json")
            .header("Access-Control-Allow-Origin", "*")
            .header("Connection", "keep-alive, X-Mine")
            .header("Keep-Alive", "timeout=5")
            .header("X-Mine", "1")
            .header("Content-Length", "99")
            .header("Transfer-Encoding", "chunked")
            .header("Trailer", "X-T")
            .header("Upgrade", "h2c")
            .body(format!("{{\"status\":{}}}", refusal.status().as_u16()).into_bytes())
            .expect("a valid response")
    }

    const HEAD: &str = "HTTP/1.1 413 Payload Too Large\r\ncontent-type: application/json\r\n\
                        access-control-allow-origin: *\r\n";

    #[test]
    fn the_status_and_the_framing_stay_the_servers() {
        let (text, length) = written(json, true, GET);
        let rest = "content-length: 14\r\nconnection: close\r\n\r\n{\"status\":413}";
        assert_eq!(text, format!("{HEAD}{rest}"));
        assert_eq!(length, Some(14));
    }

    #[test]
    fn there_is_no_body_where_there_must_not_be_one() {
        let head = RequestInfo {
            is_head: true,
            is_http10: false,
        };
        let (text, length) = written(json, true, head);
        assert_eq!(
            text,
            format!("{HEAD}content-length: 14\r\nconnection: close\r\n\r\n")
        );
        assert_eq!(length, Some(0));
        for info in [GET, head] {
            let (text, length) = written(json, false, info);
            assert_eq!(
                text,
                format!("{HEAD}content-length: 0\r\nconnection: close\r\n\r\n")
            );
            assert_eq!(length, Some(0));
        }
    }

    #[test]
    fn without_a_usable_response_the_servers_own_is_sent() {
        let nothing = (String::new(), None);
        // On WASI a panic ends the process.
        #[cfg(not(target_os = "wasi"))]
        assert_eq!(written(|_| panic!("as asked"), true, GET), nothing);
        let large = |_: &Refusal| Response::new(vec![b'x'; MAX_BYTES + 1]);
        assert_eq!(written(large, true, GET), nothing);
        let fields = |_: &Refusal| {
            let response = Response::builder().header("X-Large", "x".repeat(MAX_BYTES));
            response.body(Vec::new()).expect("a valid response")
        };
        assert_eq!(written(fields, true, GET), nothing);
        let most = |_: &Refusal| Response::new(vec![b'x'; MAX_BYTES]);
        assert_eq!(written(most, true, GET).1, Some(MAX_BYTES as u64));
    }
}
