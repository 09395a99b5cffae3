//! Bodies of responses.
//!
//! | body | what it is |
//! |---|---|
//! | [`Body`] | the trait of bodies for [`Server::serve`]: whole ones, like `String` and [`Bytes`], and those below |
//! | [`Reader`] | what a [`std::io::Read`] reads, in pieces: a file |
//! | [`Chunks`] | the items of an iterator, one by one |
//! | [`AnyBody`] | any of these, or any [`http_body::Body`]: for handlers that return different bodies |
//!
//! Synchronous and asynchronous handlers can return the last three. They are [`http_body::Body`]s, like
//! [`Incoming`](crate::Incoming) and the types of the crate `http-body-util`. Such a body is polled for its next
//! piece when the client has taken enough of the pieces before, so a slow client doesn't make the server hold
//! all of it.
//!
//! # Length
//! If a body's `size_hint` is exact, the response has a `Content-Length`. Otherwise it is chunked (RFC 9112
//! §7.1), or for an HTTP/1.0 client ends with the connection (RFC 9112 §6.3). A body that fails, or returns
//! another length than it has announced, ends the connection in a way that the client can see.
//!
//! # Blocking
//! [`Reader`] and [`Chunks`] block the server's thread while they read: 64 KiB of a file take
//! microseconds, a pipe or a socket may take any time. For those, write an [`http_body::Body`] that returns
//! `Pending`.
//!
//! [`Server::serve`]: crate::Server::serve
//! [`Bytes`]: crate::Bytes

mod any;
mod chunks;
mod reader;
mod served;
#[cfg(test)]
mod tests;
mod whole;

pub use any::AnyBody;
pub(crate) use any::{BoxError, Polled};
pub use chunks::{Chunks, Fallible};
pub use reader::Reader;
pub use served::Body;
#[cfg(feature = "wasi-http")]
pub(crate) use served::complete;
pub(crate) use whole::Whole;
