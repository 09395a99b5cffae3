//! [`Exported`]: the handler that `export!` makes a component of. It is synchronous, asynchronous, or a tower service.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::rc::Rc;

use http::{Method, Request as HttpRequest, Response};

use crate::body::{AnyBody, Body, BoxError, complete};
use crate::conn::Refusal;
use crate::event_loop::{Port, RequestTask, run};
use crate::incoming::Incoming;
use crate::into_response::IntoResponse;
use crate::request::Request;

/// Makes the future of a request: the handler, then the body of its response.
type Begin = dyn FnMut(HttpRequest<Incoming>, Rc<Port>) -> RequestTask<'static>;

/// A handler that [`export!`](crate::export) exports. Only the macro names this type.
pub struct Exported(Box<Begin>);

/// The constructors have the names of [`Server`](crate::Server)'s methods. The user passes one of these names to the
/// macro, which calls the constructor.
impl Exported {
    /// Like [`Server::start`](crate::Server::start).
    #[must_use]
    pub fn start<H>(handler: H) -> Self
    where
        H: FnMut(Request) -> Response<Vec<u8>> + 'static,
    {
        Self::serve(handler)
    }

    /// Like [`Server::serve`](crate::Server::serve).
    #[must_use]
    pub fn serve<B, H>(handler: H) -> Self
    where
        B: Body + Into<AnyBody>,
        H: FnMut(Request) -> Response<B> + 'static,
    {
        let handler = Rc::new(RefCell::new(handler));
        Self::serve_async(move |request| {
            let handler = Rc::clone(&handler);
            async move {
                if request.method() == Method::CONNECT {
                    return Err(BoxError::from(Refusal::no_tunnels()));
                }
                let request = complete(request).await?;
                let response = (handler.borrow_mut())(request);
                Ok(response.map(Into::<AnyBody>::into))
            }
        })
    }

    /// Like [`Server::serve_async`](crate::Server::serve_async).
    #[must_use]
    pub fn serve_async<H, F>(handler: H) -> Self
    where
        H: FnMut(HttpRequest<Incoming>) -> F + 'static,
        F: Future<Output: IntoResponse> + 'static,
    {
        let handler = Rc::new(RefCell::new(handler));
        Self(Box::new(move |request, port| {
            Box::pin(run(Rc::clone(&handler), port, request))
        }))
    }

    /// Like `Server::serve_tower`.
    #[cfg(feature = "tower")]
    #[must_use]
    pub fn serve_tower<S, B>(service: S) -> Self
    where
        S: tower_service::Service<
                HttpRequest<Incoming>,
                Response = Response<B>,
                Error: Into<BoxError>,
            > + Clone
            + 'static,
        B: http_body::Body<Error: Into<BoxError>> + 'static,
    {
        Self::serve_async(move |request| crate::tower::call(&service, request))
    }

    /// The future of one request, which puts its response into the port.
    pub(super) fn begin(
        &mut self,
        request: HttpRequest<Incoming>,
        port: &Rc<Port>,
    ) -> RequestTask<'static> {
        (self.0)(request, Rc::clone(port))
    }
}

impl fmt::Debug for Exported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exported").finish_non_exhaustive()
    }
}
