//! A request on its way to an asynchronous handler.

use super::Incoming;
use super::stream::Receiver;
use crate::request::Request;

/// A request whose body streams, as small as two pointers. It is converted to the handler's type, which is large, only
/// where the handler is called: moving the large type through each future on the way takes as long as parsing the
/// request.
pub(crate) struct StreamedRequest {
    /// The request without its body.
    pub(crate) head: Request,
    /// `None` if there is no body.
    pub(crate) body: Option<Receiver>,
}

/// The handler as the event loop calls it.
pub(crate) fn with_conversion<H, F>(mut handler: H) -> impl FnMut(StreamedRequest) -> F
where
    H: FnMut(http::Request<Incoming>) -> F,
{
    move |request| handler(request.into())
}

impl From<StreamedRequest> for http::Request<Incoming> {
    fn from(request: StreamedRequest) -> Self {
        let body = match request.body {
            None => Incoming::empty(),
            Some(receiver) => receiver.into(),
        };
        request.head.with_body(body)
    }
}
