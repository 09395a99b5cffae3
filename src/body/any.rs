//! [`AnyBody`]: a body of any type, in a box.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http_body::{Body as _, Frame, SizeHint};

use super::{Chunks, Fallible, Reader, Whole};
use crate::incoming::Incoming;

/// A body of any type, so that one handler can return different ones.
///
/// It is made by [`new`](Self::new) from any [`http_body::Body`], and by `From` from [`Reader`],
/// [`Chunks`], [`Incoming`] and from each whole [`Body`](super::Body), like `Vec<u8>`, `&'static str` or `()`. A whole
/// body takes no allocation.
///
/// ```
/// use mini_http::Response;
/// use mini_http::body::{AnyBody, Chunks};
///
/// fn numbers(path: &str) -> Response<AnyBody> {
///     match path {
///         "/one" => Response::new("1\n".into()),
///         _ => Response::new(Chunks::new((1..).map(|number| format!("{number}\n"))).into()),
///     }
/// }
/// # assert!(http_body::Body::size_hint(&numbers("/one")).exact().is_some());
/// # assert!(http_body::Body::size_hint(&numbers("/all")).exact().is_none());
/// ```
///
/// Its error is that of the body in it, boxed. It isn't `Send`.
pub struct AnyBody {
    kind: Kind,
}

enum Kind {
    /// A whole body; empty if it has been taken.
    Whole(Bytes),
    Boxed(Pin<Box<dyn Polled>>),
}

/// The error of a body of any type.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A frame of a body whose type was erased, or its error.
pub(crate) type AnyFrame = Result<Frame<Bytes>, BoxError>;

/// [`http_body::Body`] with fixed types, so that bodies with different ones fit into one box.
pub(crate) trait Polled {
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<AnyFrame>>;
    fn is_ended(&self) -> bool;
    fn hint(&self) -> SizeHint;
}

impl<B: http_body::Body<Error: Into<BoxError>>> Polled for B {
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<AnyFrame>> {
        self.poll_frame(cx).map(|frame| frame.map(boxed_frame))
    }

    fn is_ended(&self) -> bool {
        self.is_end_stream()
    }

    fn hint(&self) -> SizeHint {
        self.size_hint()
    }
}

/// The same frame with its data as [`Bytes`], without a copy if it is one already.
fn boxed_frame<D, E>(frame: Result<Frame<D>, E>) -> AnyFrame
where
    D: Buf,
    E: Into<BoxError>,
{
    match frame {
        Ok(frame) => Ok(frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))),
        Err(error) => Err(error.into()),
    }
}

impl AnyBody {
    /// A body of any type, in a box.
    pub fn new<B>(body: B) -> Self
    where
        B: http_body::Body + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        Self {
            kind: Kind::Boxed(Box::pin(body)),
        }
    }

    /// No body.
    #[must_use]
    pub const fn empty() -> Self {
        Self {
            kind: Kind::Whole(Bytes::new()),
        }
    }
}

impl Default for AnyBody {
    fn default() -> Self {
        Self::empty()
    }
}

impl<B: Whole> From<B> for AnyBody {
    fn from(mut body: B) -> Self {
        Self {
            kind: Kind::Whole(body.take()),
        }
    }
}

impl<R: std::io::Read + 'static> From<Reader<R>> for AnyBody {
    fn from(body: Reader<R>) -> Self {
        Self::new(body)
    }
}

impl<I: Iterator<Item: Into<Bytes>> + 'static> From<Chunks<I>> for AnyBody {
    fn from(body: Chunks<I>) -> Self {
        Self::new(body)
    }
}

impl<I, T, E> From<Chunks<Fallible<I>>> for AnyBody
where
    I: Iterator<Item = Result<T, E>> + 'static,
    T: Into<Bytes>,
    E: Into<BoxError> + 'static,
{
    fn from(body: Chunks<Fallible<I>>) -> Self {
        Self::new(body)
    }
}

impl From<Incoming> for AnyBody {
    fn from(body: Incoming) -> Self {
        Self::new(body)
    }
}

impl http_body::Body for AnyBody {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<AnyFrame>> {
        match &mut self.kind {
            Kind::Whole(body) if body.is_empty() => Poll::Ready(None),
            Kind::Whole(body) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(body))))),
            Kind::Boxed(body) => body.as_mut().poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Whole(body) => body.is_empty(),
            Kind::Boxed(body) => body.is_ended(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Whole(body) => SizeHint::with_exact(body.len() as u64),
            Kind::Boxed(body) => body.hint(),
        }
    }
}

/// The content isn't shown.
impl fmt::Debug for AnyBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnyBody")
            .field("size", &self.size_hint())
            .finish_non_exhaustive()
    }
}
