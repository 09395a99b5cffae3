//! A response with server-sent events, as browsers' `EventSource` takes them.
//!
//! The format is in the HTML standard: <https://html.spec.whatwg.org/multipage/server-sent-events.html>.

use std::convert::Infallible;
use std::time::Duration;

use futures_lite::{FutureExt, Stream, StreamExt, stream};
use http_body_util::StreamBody;
use mini_http::body::AnyBody;
use mini_http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use mini_http::http_body::Frame;
use mini_http::{Bytes, Response, sleep};

use super::Stop;

/// After this time without an event, a comment is sent. Proxies close connections that are silent for long,
/// often after a minute. And the server notices by a failed write that the client is gone.
const SILENCE: Duration = Duration::from_secs(15);

/// The client ignores it.
const COMMENT: &[u8] = b": still here\n\n";

/// How long the browser waits before it reconnects, in milliseconds. Its own default is some seconds.
const RETRY: &[u8] = b"retry: 1000\n\n";

/// The response that sends these events until they end, the client goes, or the server stops. Each item is a
/// complete event, with the empty line at its end.
pub(crate) fn response<S>(events: S, stopping: Stop) -> Response<AnyBody>
where
    S: Stream<Item = Bytes> + 'static,
{
    let events = stream::once(Bytes::from_static(RETRY)).chain(events);
    let frames = stream::unfold(
        (Box::pin(events), stopping),
        |(mut events, mut stopping)| {
            async move {
                // The first that is ready; the others are dropped.
                let stop = async {
                    (&mut stopping).await;
                    None
                };
                let silence = async {
                    sleep(SILENCE).await;
                    Some(Bytes::from_static(COMMENT))
                };
                let event = stop.or(events.next()).or(silence).await?;
                Some((Ok::<_, Infallible>(Frame::data(event)), (events, stopping)))
            }
        },
    );
    let mut response = Response::new(AnyBody::new(StreamBody::new(frames)));
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx collects a response before it sends it, unless this field is there.
    fields.insert(
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
    response
}
