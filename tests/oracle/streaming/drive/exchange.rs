//! A request as the handler of the check got it, and the response that it made.

use super::super::super::request::{elements, show};
use mini_http::Refusal;
use mini_http::conn::BodyLength;

/// A request as the handler got it, and what it did.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// Everything except the body as a text, for comparisons.
    pub(super) shown: String,
    pub(crate) is_head: bool,
    pub(crate) is_connect: bool,
    /// By `Upgrade` (RFC 9110 §7.8), not by CONNECT.
    pub(crate) asks_for_upgrade: bool,
    pub(crate) is_http10: bool,
    pub(crate) takes_trailers: bool,
    pub(super) length: BodyLength,
    pub(super) body: Vec<u8>,
    pub(super) is_complete: bool,
    pub(super) fault: Option<Refusal>,
    pub(crate) response: Given,
}

/// What the handler has responded.
#[derive(Debug, Default)]
pub(crate) struct Given {
    pub(crate) status: Option<u16>,
    pub(crate) length: Option<u64>,
    pub(crate) parts: Vec<u8>,
    pub(crate) has_trailers: bool,
    /// It was ended by the handler, and not aborted.
    pub(crate) is_complete: bool,
    /// The connection was upgraded by it: `parts` are of another protocol.
    pub(crate) is_upgrade: bool,
}

impl Exchange {
    pub(super) fn new(request: &mini_http::Request, length: BodyLength) -> Self {
        let values = |name: &str| request.headers().get_all(name).into_iter();
        let has = |name: &str, wanted: &[u8]| {
            values(name).any(|value| {
                let mut elements = elements(value.as_bytes()).into_iter();
                elements.any(|element| element.trim_ascii().eq_ignore_ascii_case(wanted))
            })
        };
        let fields = request.headers().iter();
        let is_http10 = request.version() == mini_http::version::Version::HTTP_10;
        Self {
            shown: show(
                request.method().as_str(),
                &request.uri().to_string(),
                is_http10,
                fields
                    .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
                    .collect(),
            ),
            is_head: request.method() == "HEAD",
            is_connect: request.method() == "CONNECT",
            is_http10,
            takes_trailers: has("te", b"trailers"),
            asks_for_upgrade: !is_http10
                && values("upgrade").next().is_some()
                && has("connection", b"upgrade"),
            length,
            body: Vec::new(),
            is_complete: length == BodyLength::None,
            fault: None,
            response: Given::default(),
        }
    }
}
