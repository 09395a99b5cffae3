//! Handlers that are services of `tower`.

use std::future::poll_fn;

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::body::BoxError;
use crate::error::Result;
use crate::incoming::{Incoming, StreamedRequest};
use crate::into_response::OfService;
use crate::server::Server;

impl Server {
    /// Like [`serve_async`](Self::serve_async), with a service of [`tower`](tower_service) instead of a handler.
    ///
    /// For each request the service is cloned, and the clone is called once it is
    /// [ready](Service::poll_ready). The service and its future need not be `Send`. What the future returns is
    /// treated as in [`serve_async`](Self::serve_async), and so is an error of `poll_ready`.
    ///
    /// An `axum::Router` is such a service. It needs no tokio: turn off axum's default features. Then
    /// everything that needs axum's feature `tokio` is missing, including `ConnectInfo`. The client's address is the
    /// extension [`PeerAddr`](crate::PeerAddr). The example `axum` has a `ConnectInfo` of its own, and the layer for
    /// it.
    ///
    /// ```no_run
    /// use std::convert::Infallible;
    /// use std::future::{Ready, ready};
    /// use std::task::{Context, Poll};
    ///
    /// use mini_http::{Incoming, Response, Server, http::Request};
    /// use tower_service::Service;
    ///
    /// #[derive(Clone)]
    /// struct Hello;
    ///
    /// impl Service<Request<Incoming>> for Hello {
    ///     type Response = Response<String>;
    ///     type Error = Infallible;
    ///     type Future = Ready<Result<Response<String>, Infallible>>;
    ///
    ///     fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
    ///         Poll::Ready(Ok(()))
    ///     }
    ///
    ///     fn call(&mut self, request: Request<Incoming>) -> Self::Future {
    ///         ready(Ok(Response::new(format!("{}\n", request.uri()))))
    ///     }
    /// }
    ///
    /// fn main() -> mini_http::Result<()> {
    ///     Server::new("127.0.0.1:3000")?.serve_tower(Hello)
    /// }
    /// ```
    ///
    /// # Errors
    /// Those of [`serve_async`](Self::serve_async).
    ///
    /// # Panics
    /// Like [`serve_async`](Self::serve_async), and if cloning the service panics.
    pub fn serve_tower<S, B>(&self, service: S) -> Result<()>
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>> + Clone,
        B: Body<Error: Into<BoxError>>,
    {
        self.serve_single(move |request: StreamedRequest| call(&service, request))
    }

    /// Like [`serve_tower`](Self::serve_tower) with several [`workers`](Self::workers): each calls `make` once, on its
    /// thread, for its service.
    ///
    /// # Errors
    /// Those of [`serve_async_each`](Self::serve_async_each).
    ///
    /// # Panics
    /// Like [`serve_tower`](Self::serve_tower).
    pub fn serve_tower_each<M, S, B>(&self, make: M) -> Result<()>
    where
        M: Fn() -> S + Sync,
        S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>> + Clone,
        B: Body<Error: Into<BoxError>>,
    {
        self.serve_futures_each(|| {
            let service = make();
            move |request: StreamedRequest| call(&service, request)
        })
    }
}

/// Calls a clone of the service as soon as the clone is ready.
pub(crate) fn call<S, Q>(
    service: &S,
    request: Q,
) -> impl Future<Output = OfService<std::result::Result<S::Response, S::Error>>> + use<S, Q>
where
    S: Service<Request<Incoming>> + Clone,
    Q: Into<Request<Incoming>>,
{
    let mut service = service.clone();
    async move {
        OfService(match poll_fn(|cx| service.poll_ready(cx)).await {
            Ok(()) => service.call(request.into()).await,
            Err(error) => Err(error),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::Refusal;
    use crate::executor::{Sleep, sleep};
    use crate::test;
    use http::StatusCode;
    use std::cell::Cell;
    use std::future::{Ready, ready};
    use std::io;
    use std::pin::Pin;
    use std::rc::Rc;
    use std::task::{Context, Poll, ready as await_ready};
    use std::time::Duration;

    const HOUR: Duration = Duration::from_secs(3600);

    /// What the clones of a service have done. It is not `Send`.
    #[derive(Default)]
    struct Counts {
        clones: Cell<u32>,
        polls: Cell<u32>,
        calls: Cell<u32>,
    }

    /// A service whose clones are ready an hour after they are first polled, or never.
    struct Slow {
        counts: Rc<Counts>,
        /// Why it is never ready.
        fault: Option<fn() -> BoxError>,
        sleep: Option<Sleep>,
        /// Set when this clone was ready: then it may be called once.
        is_ready: bool,
    }

    impl Slow {
        fn new(fault: Option<fn() -> BoxError>) -> Self {
            Self {
                counts: Rc::default(),
                fault,
                sleep: None,
                is_ready: false,
            }
        }

        fn respond(&self) -> Response<crate::Bytes> {
            test::run(|request| call(self, request), Request::new("body"))
        }
    }

    impl Clone for Slow {
        fn clone(&self) -> Self {
            self.counts.clones.set(self.counts.clones.get() + 1);
            Self {
                counts: Rc::clone(&self.counts),
                ..Self::new(self.fault)
            }
        }
    }

    impl Service<Request<Incoming>> for Slow {
        type Response = Response<Incoming>;
        type Error = BoxError;
        type Future = Ready<std::result::Result<Response<Incoming>, BoxError>>;

        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<std::result::Result<(), BoxError>> {
            self.counts.polls.set(self.counts.polls.get() + 1);
            let sleep = self.sleep.get_or_insert_with(|| sleep(HOUR));
            await_ready!(Pin::new(sleep).poll(cx));
            self.is_ready = self.fault.is_none();
            Poll::Ready(self.fault.map_or(Ok(()), |fault| Err(fault())))
        }

        fn call(&mut self, request: Request<Incoming>) -> Self::Future {
            assert!(std::mem::take(&mut self.is_ready), "this clone isn't ready");
            self.counts.calls.set(self.counts.calls.get() + 1);
            ready(Ok(Response::new(request.into_body())))
        }
    }

    #[test]
    fn the_clone_that_was_ready_is_called() {
        let service = Slow::new(None);
        let response = service.respond();
        assert_eq!(
            (response.status(), &response.body()[..]),
            (StatusCode::OK, &b"body"[..])
        );
        // Once it was pending.
        assert_eq!(service.counts.polls.get(), 2);
    }

    #[test]
    fn each_request_has_one_clone() {
        let service = Slow::new(None);
        for count in 1..4 {
            service.respond();
            assert_eq!(service.counts.clones.get(), count);
            assert_eq!(service.counts.calls.get(), count);
        }
    }

    #[test]
    fn a_service_that_is_never_ready_is_not_called() {
        let faults: [(fn() -> BoxError, _); 2] = [
            (|| "secret".into(), StatusCode::INTERNAL_SERVER_ERROR),
            (
                || io::Error::other(Refusal::body_too_large()).into(),
                StatusCode::PAYLOAD_TOO_LARGE,
            ),
        ];
        for (fault, status) in faults {
            let service = Slow::new(Some(fault));
            let response = service.respond();
            assert_eq!(response.status(), status);
            assert!(!response.body().starts_with(b"secret"));
            assert_eq!(service.counts.calls.get(), 0);
        }
    }
}
