//! The body of a request, as an asynchronous handler gets it.

mod error;
mod request;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};

use crate::body::Polled;
use crate::conn::Refusal;
pub use error::IncomingError;
pub(crate) use request::{StreamedRequest, with_conversion};
pub(crate) use stream::{QUEUE, READ_ON, Receiver, Stream, add_piece};

/// The body of a request, while it is received.
///
/// It is an [`http_body::Body`], so the tools of the crate `http-body-util` work with it, and it can be the
/// body of a response. It may be polled in any thread. Its trailers are the last frame.
///
/// ```
/// use mini_http::{Incoming, IncomingError, Response, http::Request};
///
/// async fn upper(mut request: Request<Incoming>) -> Result<Response<String>, IncomingError> {
///     request.body_mut().limit(1 << 10);
///     let body = request.into_body().bytes().await?;
///     Ok(Response::new(String::from_utf8_lossy(&body).to_uppercase()))
/// }
/// ```
///
/// # Backpressure
/// At most 64 KiB wait to be taken; then nothing is read from the connection. A client that waits for
/// `100 Continue` (RFC 9110 §10.1.1) gets it when the body is first polled.
///
/// # Dropping
/// If it is dropped before its end, or the response ends first, up to 64 KiB of the rest are read and
/// dropped. If there is more, the connection is closed after the response.
///
/// # Errors
/// See [`IncomingError`]. After an error, the body is at its end. A handler need not return the error: if it
/// sends a response of its own, the connection closes after that.
pub struct Incoming {
    source: Source,
    /// The largest allowed length of the whole body, in bytes.
    limit: u64,
    /// Bytes that the handler has received.
    taken: u64,
    /// Whether it was polled.
    is_begun: bool,
}

enum Source {
    /// Nothing more comes.
    Ended,
    Whole(Bytes),
    Stream(Receiver),
    Other(Pin<Box<dyn Polled + Send>>),
}

impl Incoming {
    /// Sets the most bytes of this body, instead of [`Limits::max_body`](crate::Limits::max_body), without
    /// its transfer coding.
    ///
    /// It must be set before the first poll; later calls change nothing. A larger body is the error
    /// 413 (RFC 9110 §15.5.14): at the first poll if its length was announced, otherwise when it gets larger.
    /// A body that was made by `From`, [`empty`](Self::empty) or [`from_body`](Self::from_body) has no limit
    /// until one is set.
    pub fn limit(&mut self, bytes: u64) {
        if !self.is_begun {
            self.limit = bytes;
        }
    }

    /// Sets the minimum rate of this body in bytes per second, instead of
    /// [`Limits::min_rate`](crate::Limits::min_rate). 0 turns it off, for streams in which the client may
    /// pause for any time.
    ///
    /// The rate is the average over each [`rate_window`](crate::Limits::rate_window), in which only the time
    /// counts that the handler waits for data. A slower body is the error 408 (RFC 9110 §15.5.9).
    pub fn min_rate(&mut self, bytes_per_second: u32) {
        if let Source::Stream(stream) = &self.source {
            stream.set_min_rate(bytes_per_second);
        }
    }

    /// Receives all of the body, or what is left of it, as one piece. Trailers are dropped.
    ///
    /// Its memory is counted in [`max_held`](crate::Limits::max_held) while it is received.
    ///
    /// # Errors
    /// 413 if the body is larger than its [`limit`](Self::limit), 503 if `max_held` has no room, and all other
    /// errors of the body.
    pub async fn bytes(mut self) -> Result<Bytes, IncomingError> {
        self.begin()?;
        let pieces = if let Source::Stream(stream) = &self.source {
            stream.gather(self.limit);
            let pieces = poll_fn(|cx| stream.poll_rest(cx)).await?;
            self.count(pieces.iter().map(|piece| piece.len() as u64).sum())?;
            pieces
        } else {
            self.data().await?
        };
        Ok(joined(pieces))
    }

    /// No body.
    #[must_use]
    pub const fn empty() -> Self {
        Self::with_limit(Source::Ended, u64::MAX)
    }

    /// Another body as the body of a request, for tests of handlers. An error of that body that is not an
    /// [`IncomingError`] becomes the [`source`](std::error::Error::source) of one.
    pub fn from_body<B>(body: B) -> Self
    where
        B: http_body::Body + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        Self::with_limit(Source::Other(Box::pin(body)), u64::MAX)
    }

    const fn with_limit(source: Source, limit: u64) -> Self {
        Self {
            source,
            limit,
            taken: 0,
            is_begun: false,
        }
    }

    /// Checks the announced length, before the first poll.
    fn begin(&mut self) -> Result<(), IncomingError> {
        if self.is_begun {
            return Ok(());
        }
        self.is_begun = true;
        if self.size_hint().lower() > self.limit {
            return Err(self.refuse());
        }
        Ok(())
    }

    /// Counts bytes that the handler receives.
    fn count(&mut self, bytes: u64) -> Result<(), IncomingError> {
        self.taken = self.taken.saturating_add(bytes);
        if self.taken > self.limit {
            return Err(self.refuse());
        }
        Ok(())
    }

    fn refuse(&mut self) -> IncomingError {
        if let Source::Stream(stream) = &self.source {
            stream.refuse();
        }
        self.source = Source::Ended;
        IncomingError::refused(Refusal::body_too_large())
    }

    /// The data of all frames that are left.
    async fn data(&mut self) -> Result<VecDeque<Bytes>, IncomingError> {
        let mut pieces = VecDeque::new();
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut *self).poll_frame(cx)).await {
            if let Ok(data) = frame?.into_data() {
                pieces.push_back(data);
            }
        }
        Ok(pieces)
    }
}

/// Joins all pieces. Those that waited before the handler asked for the whole body are small, and the last piece is the
/// large rest. If nothing else refers to its memory, that memory is extended, and the others are copied in front.
fn joined(mut pieces: VecDeque<Bytes>) -> Bytes {
    let Some(last) = pieces.pop_back() else {
        return Bytes::new();
    };
    if pieces.is_empty() {
        return last;
    }
    let front = pieces.make_contiguous().concat();
    let mut joined = Vec::from(last);
    // Exactly: otherwise the memory would be doubled.
    joined.reserve_exact(front.len());
    joined.splice(0..0, front);
    Bytes::from(joined)
}

impl http_body::Body for Incoming {
    type Data = Bytes;
    type Error = IncomingError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, IncomingError>>> {
        let this = &mut *self;
        if let Err(error) = this.begin() {
            return Poll::Ready(Some(Err(error)));
        }
        let polled = match &mut this.source {
            Source::Ended => Poll::Ready(None),
            Source::Whole(body) => Poll::Ready(take(body)),
            Source::Stream(stream) => stream.poll(cx),
            Source::Other(body) => body
                .as_mut()
                .poll(cx)
                .map(|frame| frame.map(|frame| frame.map_err(IncomingError::of_body))),
        };
        polled.map(|frame| {
            Some(match frame? {
                Ok(frame) => this.counted(frame),
                Err(error) => {
                    this.source = Source::Ended;
                    Err(error)
                }
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Ended => true,
            Source::Whole(body) => body.is_empty(),
            Source::Stream(stream) => stream.is_end(),
            Source::Other(body) => body.is_ended(),
        }
    }

    /// Exact if the request has announced its length.
    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Ended => SizeHint::with_exact(0),
            Source::Whole(body) => SizeHint::with_exact(body.len() as u64),
            Source::Stream(stream) => stream.size_hint(),
            Source::Other(body) => body.hint(),
        }
    }
}

impl Incoming {
    fn counted(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, IncomingError> {
        if let Some(data) = frame.data_ref() {
            self.count(data.len() as u64)?;
        }
        Ok(frame)
    }
}

/// The frame of a whole body.
fn take(body: &mut Bytes) -> Option<Result<Frame<Bytes>, IncomingError>> {
    let data = std::mem::take(body);
    (!data.is_empty()).then(|| Ok(Frame::data(data)))
}

impl Default for Incoming {
    fn default() -> Self {
        Self::empty()
    }
}

macro_rules! from {
    ($($whole:ty)*) => {$(
        /// A whole body, for tests of handlers.
        impl From<$whole> for Incoming {
            fn from(body: $whole) -> Self {
                Self::with_limit(Source::Whole(body.into()), u64::MAX)
            }
        }
    )*};
}

from! { Bytes Vec<u8> String &'static str &'static [u8] }

/// No body, for tests of handlers.
impl From<()> for Incoming {
    fn from((): ()) -> Self {
        Self::empty()
    }
}

/// The content isn't shown.
impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("size", &self.size_hint())
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}
