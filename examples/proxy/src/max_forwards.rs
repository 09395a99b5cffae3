//! `Max-Forwards` (RFC 9110 §7.6.2): how often OPTIONS and TRACE may still be passed on. A client finds out with it
//! which servers a request goes through.

use std::fmt::Write as _;

use mini_http::Response;
use mini_http::body::AnyBody;
use mini_http::header::{
    AUTHORIZATION, CONTENT_TYPE, COOKIE, HeaderValue, MAX_FORWARDS, PROXY_AUTHORIZATION,
};
use mini_http::http::{Method, Request};

/// The field is not one number.
#[derive(Debug, PartialEq)]
pub(crate) struct Malformed;

/// How often the request may still be passed on. `None` if it doesn't say that, or has a method for which the field
/// doesn't count.
pub(crate) fn limit<B>(request: &Request<B>) -> Result<Option<u64>, Malformed> {
    if !matches!(*request.method(), Method::OPTIONS | Method::TRACE) {
        return Ok(None);
    }
    let mut lines = request.headers().get_all(MAX_FORWARDS).iter();
    match (lines.next(), lines.next()) {
        (None, _) => Ok(None),
        (Some(line), None) => number(line).map(Some).ok_or(Malformed),
        (Some(_), Some(_)) => Err(Malformed),
    }
}

/// A number that doesn't fit becomes the largest that does.
fn number(value: &HeaderValue) -> Option<u64> {
    let digits = value.to_str().ok()?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// The response of the last server: the proxy itself, where the limit is 0.
pub(crate) fn respond<B>(request: &Request<B>) -> Response<AnyBody> {
    match *request.method() {
        Method::TRACE => reflect(request),
        _ => Response::new(AnyBody::from("")),
    }
}

/// The request as it has arrived, but without its secrets (RFC 9110 §9.3.8).
fn reflect<B>(request: &Request<B>) -> Response<AnyBody> {
    let (method, target) = (request.method(), request.uri());
    let mut head = format!("{method} {target} {:?}\r\n", request.version());
    for (name, value) in request.headers() {
        if ![AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION].contains(name) {
            let value = String::from_utf8_lossy(value.as_bytes());
            // Writing to a string doesn't fail.
            let _ = write!(head, "{name}: {value}\r\n");
        }
    }
    let mut response = Response::new(AnyBody::from(head + "\r\n"));
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("message/http"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, limits: &[&str]) -> Request<()> {
        let mut request = Request::builder().method(method).uri("/a");
        for limit in limits {
            request = request.header(MAX_FORWARDS, *limit);
        }
        request.body(()).expect("valid")
    }

    #[test]
    fn the_limit_is_one_number() {
        for method in ["OPTIONS", "TRACE"] {
            let limit = |limits: &[&str]| limit(&request(method, limits));
            assert_eq!(limit(&[]), Ok(None));
            assert_eq!(limit(&["0"]), Ok(Some(0)));
            assert_eq!(limit(&["010"]), Ok(Some(10)));
            assert_eq!(limit(&["99999999999999999999"]), Ok(Some(u64::MAX)));
            for malformed in [&[""][..], &["-1"], &["+1"], &["1, 1"], &["1", "1"]] {
                assert_eq!(limit(malformed), Err(Malformed), "{malformed:?}");
            }
        }
    }

    #[test]
    fn for_other_methods_the_field_does_not_count() {
        for method in ["GET", "POST", "options"] {
            assert_eq!(limit(&request(method, &["0"])), Ok(None));
            assert_eq!(limit(&request(method, &["x"])), Ok(None));
        }
    }

    #[test]
    fn trace_gets_its_own_head_back_without_secrets() {
        let mut trace = request("TRACE", &["0"]);
        for secret in [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION] {
            trace
                .headers_mut()
                .insert(secret, HeaderValue::from_static("s"));
        }
        let response = mini_http::test::run(
            async |request: Request<_>| respond(&request),
            trace.map(|()| ""),
        );
        assert_eq!(response.headers()[CONTENT_TYPE], "message/http");
        let head = "TRACE /a HTTP/1.1\r\nmax-forwards: 0\r\n\r\n";
        assert_eq!(response.body(), head);
    }
}
