//! What a proxy changes in the heads of messages (RFC 9110 §7.6).

use mini_http::PeerAddr;
use mini_http::header::{
    CONNECTION, EXPECT, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
};
use mini_http::http::uri::PathAndQuery;
use mini_http::http::{Error, Request, Response, Uri};

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
pub(crate) fn to_upstream<B>(mut request: Request<B>) -> Result<Request<B>, Error> {
    // The form of a target that any server takes, also if the client has sent an absolute one.
    let path = request.uri().path_and_query();
    let path = path.map_or("/", PathAndQuery::as_str);
    *request.uri_mut() = Uri::try_from(path)?;
    let peer = request.extensions().get().map(|&PeerAddr(peer)| peer);
    let fields = request.headers_mut();
    pass_on(fields);
    // `100 Continue` is sent by this server, when the other one takes the body.
    fields.remove(EXPECT);
    if let Some(peer) = peer {
        let peer = HeaderValue::try_from(peer.ip().to_string())?;
        fields.append(FORWARDED_FOR, peer);
    }
    Ok(request)
}

/// The response as the client gets it.
pub(crate) fn to_client<B>(mut response: Response<B>) -> Response<B> {
    pass_on(response.headers_mut());
    response
}

/// Removes what is about one connection, and adds `Via`.
fn pass_on(fields: &mut HeaderMap) {
    let named = fields.get_all(CONNECTION).iter();
    let named = named.filter_map(|value| value.to_str().ok());
    let named = named.flat_map(|value| value.split(','));
    let named: Vec<_> = named.filter_map(|name| name.trim().parse().ok()).collect();
    for name in OF_CONNECTION.into_iter().chain(named) {
        fields.remove(name);
    }
    fields.append(VIA, HeaderValue::from_static("1.1 mini_http"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_connection_are_not_passed_on() {
        let request = Request::post("http://a.example/b?c")
            .header("connection", "close, X-Mine")
            .header("x-mine", "1")
            .header("te", "trailers")
            .header("expect", "100-continue")
            .header("x-other", "2")
            .header("x-forwarded-for", "198.51.100.7")
            .extension(PeerAddr(([192, 0, 2, 1], 4711).into()));
        let request = to_upstream(request.body(()).expect("valid")).expect("valid");
        assert_eq!(request.uri(), "/b?c");
        let mut fields: Vec<_> = request
            .headers()
            .iter()
            .map(|(name, value)| format!("{name}: {value:?}"))
            .collect();
        // Only the order of fields with one name matters.
        fields.sort_by(|one, other| one.split(':').next().cmp(&other.split(':').next()));
        let expected = [
            "via: \"1.1 mini_http\"",
            "x-forwarded-for: \"198.51.100.7\"",
            "x-forwarded-for: \"192.0.2.1\"",
            "x-other: \"2\"",
        ];
        assert_eq!(fields, expected);
    }
}
