//! Recognises other protocols that clients send to an HTTP/1.1 server by mistake, by their first
//! bytes.

use http::StatusCode;

use crate::conn::refusal::Refusal;

/// Replaces the text of `refusal` by one that names the protocol, if `seen` begins like one of
/// [`PROTOCOLS`]. `seen` are the bytes of the head up to the fault.
pub(in crate::conn) fn name_protocol(refusal: Refusal, seen: &[u8]) -> Refusal {
    // Exceeding a limit says nothing about the protocol.
    let is_of_protocol = matches!(
        refusal.status(),
        StatusCode::BAD_REQUEST | StatusCode::HTTP_VERSION_NOT_SUPPORTED
    );
    let known = PROTOCOLS.iter().find(|(begin, _)| seen.starts_with(begin));
    match known {
        Some((_, text)) if is_of_protocol => refusal.with_text(text),
        Some(_) | None => refusal,
    }
}

/// How each protocol begins (no further than the byte at which this server refuses it), and the text
/// of the response.
const PROTOCOLS: [(&[u8], &str); 6] = [
    // RFC 9113 §3.4.
    (b"PRI * HTTP/2.0\r", HTTP_2),
    // Version 1 is a line of text. Version 2 begins with a binary signature, which the server refuses
    // at its NUL.
    (b"PROXY TCP4 ", PROXY),
    (b"PROXY TCP6 ", PROXY),
    (b"PROXY UNKNOWN", PROXY),
    (b"\r\n\r\n\0", PROXY),
    // A TLS record of type handshake (RFC 8446 §5.1).
    (b"\x16", TLS),
];

const HTTP_2: &str = "this is the preface of HTTP/2, and this server speaks HTTP/1.1 and HTTP/1.0: \
    let the client, or the proxy before the server, use HTTP/1.1";

const PROXY: &str = "this is the PROXY protocol, which this server does not take here: \
    turn it off in the proxy; a Forwarded field can carry the client's address";

const TLS: &str = "this is TLS, and this server speaks plain HTTP: \
    use http:// and not https://, or put a proxy that ends TLS before the server";
