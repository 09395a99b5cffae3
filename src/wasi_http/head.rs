//! Makes the head of a request from what the host has of it. (`conn/hosted.rs` makes the heads of responses.)

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Uri};

use crate::conn::{Refusal, announced_length};

/// What a host knows of a request.
#[derive(Debug)]
pub(super) struct Asked {
    /// `None` if it isn't a valid one.
    pub(super) method: Option<Method>,
    pub(super) path_with_query: Option<String>,
    pub(super) authority: Option<String>,
    pub(super) fields: Vec<(String, Vec<u8>)>,
}

impl Asked {
    /// The request as a connection would have it: the target in origin form, and a `Host` field.
    ///
    /// # Errors
    /// The method or the target isn't valid.
    pub(super) fn into_request(self) -> Result<Request<()>, Refusal> {
        let method = (self.method).ok_or(Refusal::malformed("the method isn't valid"))?;
        let mut request = Request::new(());
        *request.headers_mut() = fields(self.fields);
        *request.uri_mut() = match method {
            Method::CONNECT => target(self.authority.clone().unwrap_or_default())?,
            Method::OPTIONS => target(self.path_with_query.unwrap_or_else(|| "*".into()))?,
            _ => target(self.path_with_query.unwrap_or_else(|| "/".into()))?,
        };
        *request.method_mut() = method;
        // Hosts pass `Host` as a part of the target.
        if let Some(authority) = self.authority
            && !request.headers().contains_key(header::HOST)
            && let Ok(host) = HeaderValue::from_maybe_shared(Bytes::from(authority))
        {
            request.headers_mut().insert(header::HOST, host);
        }
        Ok(request)
    }
}

/// The length of the request's body, if that is stated. `Some(0)` means that there is none. Hosts don't show
/// `Transfer-Encoding`: so there may be a body if nothing is stated.
pub(super) fn body_length(request: &Request<()>) -> Option<u64> {
    announced_length(request.headers())
}

fn target(text: String) -> Result<Uri, Refusal> {
    Uri::from_maybe_shared(Bytes::from(text))
        .map_err(|_| Refusal::malformed("the target isn't valid"))
}

/// The fields. The host has checked them, so none should be invalid. If one is, it is left out.
pub(super) fn fields(entries: Vec<(String, Vec<u8>)>) -> HeaderMap {
    let mut fields = HeaderMap::with_capacity(entries.len());
    for (name, value) in entries {
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name.as_bytes()),
            HeaderValue::from_maybe_shared(Bytes::from(value)),
        ) {
            fields.append(name, value);
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: Method, path: Option<&str>, authority: Option<&str>) -> Asked {
        Asked {
            method: Some(method),
            path_with_query: path.map(Into::into),
            authority: authority.map(Into::into),
            fields: Vec::new(),
        }
    }

    #[test]
    fn a_request_is_as_on_a_connection() {
        let cases = [
            (Method::GET, Some("/a?b=c"), "/a?b=c"),
            (Method::GET, None, "/"),
            (Method::OPTIONS, None, "*"),
            (Method::OPTIONS, Some("*"), "*"),
            (Method::CONNECT, None, "h:1"),
        ];
        for (method, path, uri) in cases {
            let request = asked(method.clone(), path, Some("h:1")).into_request();
            let request = request.expect("a valid request");
            assert_eq!(request.method(), method);
            assert_eq!(request.uri().to_string(), uri);
            assert_eq!(request.headers()[header::HOST], "h:1");
        }
        let invalid = asked(Method::GET, Some("/ a"), None).into_request();
        assert_eq!(
            invalid.err().map(|refusal| refusal.status().as_u16()),
            Some(400)
        );
        // It isn't taken for another method.
        let mut unknown = asked(Method::GET, Some("/"), None);
        unknown.method = None;
        assert!(unknown.into_request().is_err());
    }

    #[test]
    fn fields_keep_their_order_and_the_clients_host() {
        let mut asked = asked(Method::GET, Some("/"), Some("other"));
        let all = [
            ("host", "h"),
            ("a", "1"),
            ("b", "2"),
            ("a", "3"),
            ("not a name", "4"),
        ];
        asked.fields = all
            .iter()
            .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
            .collect();
        let request = asked.into_request().expect("a valid request");
        let fields = request.headers();
        assert_eq!(fields[header::HOST], "h");
        let values: Vec<_> = fields.get_all("a").iter().collect();
        assert_eq!(values, ["1", "3"]);
        assert_eq!(fields.len(), 4);
    }

    #[test]
    fn a_length_may_be_stated() {
        let with = |length: &'static str| {
            let mut request = Request::new(());
            let length = HeaderValue::from_static(length);
            request.headers_mut().insert(header::CONTENT_LENGTH, length);
            body_length(&request)
        };
        assert_eq!(with("0"), Some(0));
        assert_eq!(with("12"), Some(12));
        assert_eq!(with("x"), None);
        assert_eq!(body_length(&Request::new(())), None);
    }
}
