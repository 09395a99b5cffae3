//! [`Chunks`]: a body made from an iterator.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;

/// A body that consists of the items of an iterator, each of which is `Into<Bytes>`: `Vec<u8>`, `String`,
/// `&'static str`, [`Bytes`] and so on.
///
/// The iterator is asked for its next item only when the client has taken enough of the items before. It
/// may be endless. Its length is unknown, so the response is chunked, unless the handler sets
/// `Content-Length`. Items need not become chunks one by one: what is ready at a time is sent together.
///
/// ```
/// use mini_http::body::Chunks;
/// use mini_http::{Response, header};
///
/// let lines = (1..=1_000_000).map(|number| format!("{number}\n"));
/// let response = Response::new(Chunks::new(lines));
/// ```
///
/// The iterator runs on the server's thread, so it must not block.
pub struct Chunks<I> {
    /// `None` when it has ended.
    iterator: Option<I>,
}

/// Marks [`Chunks`] whose items are results; made by [`Chunks::fallible`].
#[derive(Debug)]
pub struct Fallible<I>(I);

impl<I: Iterator<Item: Into<Bytes>>> Chunks<I> {
    /// The items of `iterator` as a body.
    pub fn new(iterator: impl IntoIterator<IntoIter = I>) -> Self {
        Self {
            iterator: Some(iterator.into_iter()),
        }
    }
}

impl<I, T, E> Chunks<Fallible<I>>
where
    I: Iterator<Item = Result<T, E>>,
    T: Into<Bytes>,
{
    /// The items of `iterator` as a body, up to the first `Err`. That is the error of the body, which ends
    /// the connection so that the client can see that the body isn't complete.
    pub fn fallible(iterator: impl IntoIterator<IntoIter = I>) -> Self {
        Self {
            iterator: Some(Fallible(iterator.into_iter())),
        }
    }
}

/// No field is pinned.
impl<I> Unpin for Chunks<I> {}

impl<I: Iterator<Item: Into<Bytes>>> http_body::Body for Chunks<I> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let item = self.iterator.as_mut().and_then(Iterator::next);
        if item.is_none() {
            self.iterator = None;
        }
        Poll::Ready(item.map(|item| Ok(Frame::data(item.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.iterator.is_none()
    }
}

impl<I, T, E> http_body::Body for Chunks<Fallible<I>>
where
    I: Iterator<Item = Result<T, E>>,
    T: Into<Bytes>,
{
    type Data = Bytes;
    type Error = E;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, E>>> {
        let item = self
            .iterator
            .as_mut()
            .and_then(|Fallible(items)| items.next());
        if !matches!(item, Some(Ok(_))) {
            self.iterator = None;
        }
        Poll::Ready(item.map(|item| item.map(|item| Frame::data(item.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.iterator.is_none()
    }
}

impl<I> fmt::Debug for Chunks<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunks")
            .field("is_ended", &self.iterator.is_none())
            .finish_non_exhaustive()
    }
}
