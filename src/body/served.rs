//! [`Body`]: the bodies that a synchronous handler may return.

use std::cell::RefCell;
use std::io::Read;

use bytes::Bytes;
use http::Response;

use super::{AnyBody, BoxError, Chunks, Fallible, Reader};
use crate::connection_id::{ConnectionId, LocalAddr};
use crate::error::Result;
use crate::incoming::{Incoming, IncomingError, StreamedRequest};
use crate::peer_addr::PeerAddr;
use crate::request::Request;
use crate::server::Server;

/// A response's body, for [`Server::serve`]:
///
/// * whole: `Vec<u8>`, `String`, [`Bytes`], `Box<[u8]>`, `Arc<[u8]>`, `&'static [u8]`, `&'static str`, a `Cow`
///   of the last two, or `()` for no body,
/// * in pieces: a [`Reader`] or [`Chunks`],
/// * an [`AnyBody`], which can be made of each of these, so that one handler can return different ones.
///
/// A static body, and one that is shared (`Bytes` or an `Arc` of which the handler keeps a clone, or that
/// several connections send), isn't counted in [`max_held`](crate::Limits::max_held) as long as it is shared.
///
/// An asynchronous handler returns any [`http_body::Body`] instead, such as an [`AnyBody`].
///
/// The trait is sealed: later versions of this crate may add other kinds of bodies.
pub trait Body: Served {}

/// How handlers are served that return this kind of body. It makes [`Body`] a sealed trait.
pub trait Served: Sized {
    /// Runs the server.
    fn serve<H>(server: &Server, handler: H) -> Result<()>
    where
        H: FnMut(Request) -> Response<Self>;
}

impl<R: Read> Body for Reader<R> {}

impl<R: Read> Served for Reader<R> {
    fn serve<H>(server: &Server, handler: H) -> Result<()>
    where
        H: FnMut(Request) -> Response<Self>,
    {
        serve_streams(server, handler)
    }
}

impl<I: Iterator<Item: Into<Bytes>>> Body for Chunks<I> {}

impl<I: Iterator<Item: Into<Bytes>>> Served for Chunks<I> {
    fn serve<H>(server: &Server, handler: H) -> Result<()>
    where
        H: FnMut(Request) -> Response<Self>,
    {
        serve_streams(server, handler)
    }
}

impl<I, T, E> Body for Chunks<Fallible<I>>
where
    I: Iterator<Item = Result<T, E>>,
    T: Into<Bytes>,
    E: Into<BoxError>,
{
}

impl<I, T, E> Served for Chunks<Fallible<I>>
where
    I: Iterator<Item = Result<T, E>>,
    T: Into<Bytes>,
    E: Into<BoxError>,
{
    fn serve<H>(server: &Server, handler: H) -> Result<()>
    where
        H: FnMut(Request) -> Response<Self>,
    {
        serve_streams(server, handler)
    }
}

impl Body for AnyBody {}

impl Served for AnyBody {
    fn serve<H>(server: &Server, handler: H) -> Result<()>
    where
        H: FnMut(Request) -> Response<Self>,
    {
        serve_streams(server, handler)
    }
}

/// Serves a synchronous handler whose responses have bodies in pieces, as an asynchronous one.
fn serve_streams<B, H>(server: &Server, handler: H) -> Result<()>
where
    B: http_body::Body<Error: Into<BoxError>>,
    H: FnMut(Request) -> Response<B>,
{
    let handler = &RefCell::new(handler);
    let mut settings = server.settings.clone();
    settings.connection_extensions = true;
    settings.refuses_connect = true;
    let call = |request: StreamedRequest| async move {
        let request = complete(request.into()).await?;
        // The handler isn't asynchronous, so no other call of it has the borrow.
        Ok::<_, IncomingError>((handler.borrow_mut())(request))
    };
    server.serve_futures(call, &settings)
}

/// The request with all of its body.
pub(crate) async fn complete(request: http::Request<Incoming>) -> Result<Request, IncomingError> {
    let (parts, body) = request.into_parts();
    let peer = parts.extensions.get::<PeerAddr>().map(|peer| peer.0);
    let id = parts.extensions.get::<ConnectionId>().copied();
    let local = parts.extensions.get::<LocalAddr>().map(|local| local.0);
    let body = Vec::from(body.bytes().await?);
    let mut request = Request::from(http::Request::from_parts(parts, body));
    request.set_connection(id.unwrap_or_default(), peer, local);
    Ok(request)
}
