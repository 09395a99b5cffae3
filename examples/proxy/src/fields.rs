//! What a proxy changes in the heads of messages (RFC 9110 §7.6).

use std::net::SocketAddr;

use mini_http::PeerAddr;
use mini_http::header::{
    CONNECTION, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, MAX_FORWARDS, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
};
use mini_http::http::uri::PathAndQuery;
use mini_http::http::{Error, Request, Response, Uri, Version};
use mini_http::http_body::Body;

use crate::max_forwards;

/// Fields about one connection, which are not passed on.
const OF_CONNECTION: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The request as the other server gets it.
pub(crate) fn to_upstream<B: Body>(
    upstream: SocketAddr,
    mut request: Request<B>,
) -> Result<Request<B>, Error> {
    let host = host(upstream, &request)?;
    let received = request.version();
    // A proxy speaks its own version, not that of the client (RFC 9110 §2.5).
    *request.version_mut() = Version::HTTP_11;
    // The form of a target that any server takes, also if the client has sent an absolute one.
    let path = request.uri().path_and_query();
    let path = path.map_or("/", PathAndQuery::as_str);
    // Before a query, an absolute one may have no path (RFC 3986 §3.3).
    let slash = if path.starts_with('?') { "/" } else { "" };
    *request.uri_mut() = Uri::try_from(format!("{slash}{path}"))?;
    let peer = request.extensions().get().map(|&PeerAddr(peer)| peer);
    let limit = max_forwards::limit(&request).ok().flatten();
    let has_known_length = request.body().size_hint().exact().is_some();
    let fields = request.headers_mut();
    pass_on(fields, received);
    // Without the field, hyper would leave out the body of a GET.
    if !has_known_length {
        fields.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    // Each request of HTTP/1.1 needs it, also if the client has named it in `Connection`.
    fields.insert(HOST, host);
    // `100 Continue` is sent by this server, when the other one takes the body.
    fields.remove(EXPECT);
    // Also if the client has named it in `Connection`.
    if let Some(limit) = limit {
        fields.insert(MAX_FORWARDS, HeaderValue::from(limit.saturating_sub(1)));
    }
    if let Some(peer) = peer {
        let peer = HeaderValue::try_from(peer.ip().to_string())?;
        fields.append(FORWARDED_FOR, peer);
    }
    Ok(request)
}

/// The host that the client means: that of an absolute target comes before `Host` (RFC 9112 §3.2.2). A client that
/// speaks HTTP/1.0 may send none.
fn host<B>(upstream: SocketAddr, request: &Request<B>) -> Result<HeaderValue, Error> {
    if let Some(authority) = request.uri().authority() {
        return Ok(HeaderValue::try_from(authority.as_str())?);
    }
    match request.headers().get(HOST) {
        Some(host) => Ok(host.clone()),
        None => Ok(HeaderValue::try_from(upstream.to_string())?),
    }
}

/// The response as the client gets it.
pub(crate) fn to_client<B>(mut response: Response<B>) -> Response<B> {
    let received = response.version();
    pass_on(response.headers_mut(), received);
    response
}

/// Removes what is about one connection, and adds `Via`, with the version in which the message was received (RFC 9110
/// §7.6.3).
fn pass_on(fields: &mut HeaderMap, received: Version) {
    let lines = fields.get_all(CONNECTION).iter();
    let named = lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b','));
    // What is no name leaves the others valid.
    let named = named.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok());
    let named: Vec<_> = named.collect();
    for name in OF_CONNECTION.into_iter().chain(named) {
        fields.remove(name);
    }
    let via = match received {
        Version::HTTP_10 => "1.0 mini_http",
        _ => "1.1 mini_http",
    };
    fields.append(VIA, HeaderValue::from_static(via));
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use mini_http::body::{AnyBody, Chunks};
    use mini_http::http::request::Builder;

    use super::*;

    const UPSTREAM: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8000);

    fn passed_on(request: Builder) -> Request<AnyBody> {
        with_body(request, AnyBody::empty())
    }

    fn with_body(request: Builder, body: AnyBody) -> Request<AnyBody> {
        to_upstream(UPSTREAM, request.body(body).expect("valid")).expect("valid")
    }

    #[test]
    fn fields_of_the_connection_are_not_passed_on() {
        let request = Request::post("/b?c")
            .header("host", "a.example")
            .header("connection", "close, X-Mine, Host")
            .header("x-mine", "1")
            .header("te", "trailers")
            .header("expect", "100-continue")
            .header("x-other", "2")
            .header("x-forwarded-for", "198.51.100.7")
            .extension(PeerAddr(([192, 0, 2, 1], 4711).into()));
        let request = passed_on(request);
        assert_eq!(request.uri(), "/b?c");
        let mut fields: Vec<_> = request
            .headers()
            .iter()
            .map(|(name, value)| format!("{name}: {value:?}"))
            .collect();
        // Only the order of fields with one name matters.
        fields.sort_by(|one, other| one.split(':').next().cmp(&other.split(':').next()));
        let expected = [
            "host: \"a.example\"",
            "via: \"1.1 mini_http\"",
            "x-forwarded-for: \"198.51.100.7\"",
            "x-forwarded-for: \"192.0.2.1\"",
            "x-other: \"2\"",
        ];
        assert_eq!(fields, expected);
    }

    #[test]
    fn what_is_no_name_hides_no_name() {
        let request = Request::get("/")
            .header("connection", &b"\xff, x-mine ,,a b"[..])
            .header("connection", "X-Too")
            .header("x-mine", "1")
            .header("x-too", "1");
        let request = passed_on(request);
        let is_left = ["x-mine", "x-too"].map(|name| request.headers().contains_key(name));
        assert_eq!(is_left, [false, false]);
    }

    /// Also for GET, with which clients of some search engines send a query.
    #[test]
    fn a_body_of_unknown_length_is_chunked() {
        let coding = |body: AnyBody| {
            let request = with_body(Request::get("/"), body);
            request.headers().get(TRANSFER_ENCODING).cloned()
        };
        let chunked = HeaderValue::from_static("chunked");
        assert_eq!(coding(Chunks::new(["a"]).into()), Some(chunked));
        assert_eq!(coding("a".into()), None);
        assert_eq!(coding(AnyBody::empty()), None);
    }

    #[test]
    fn what_counts_the_servers_is_counted_down() {
        for (method, limit, passed) in [
            ("OPTIONS", "1", "0"),
            ("TRACE", "10", "9"),
            ("OPTIONS", "18446744073709551616", "18446744073709551614"),
            ("GET", "1", "1"),
        ] {
            let request = Request::builder().method(method).uri("/");
            let request = request.header(MAX_FORWARDS, limit);
            assert_eq!(passed_on(request).headers()[MAX_FORWARDS], passed);
        }
        let named = Request::options("*")
            .header("connection", "max-forwards")
            .header(MAX_FORWARDS, "3");
        assert_eq!(passed_on(named).headers()[MAX_FORWARDS], "2");
    }

    #[test]
    fn an_absolute_target_decides_the_host() {
        let request = Request::get("http://a.example:81/b?c").header("host", "b.example");
        let request = passed_on(request);
        assert_eq!(request.uri(), "/b?c");
        assert_eq!(request.headers()[HOST], "a.example:81");
        assert_eq!(passed_on(Request::get("http://a?b")).uri(), "/?b");
        assert_eq!(passed_on(Request::get("http://a")).uri(), "/");
    }

    #[test]
    fn a_request_of_http_1_0_is_passed_on_as_http_1_1() {
        let request = passed_on(Request::get("/").version(Version::HTTP_10));
        assert_eq!(request.version(), Version::HTTP_11);
        assert_eq!(request.headers()[HOST], "127.0.0.1:8000");
        assert_eq!(request.headers()[VIA], "1.0 mini_http");
        let response = Response::builder().version(Version::HTTP_10).body(());
        let response = to_client(response.expect("valid"));
        assert_eq!(response.headers()[VIA], "1.0 mini_http");
    }
}
