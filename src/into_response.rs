//! What an asynchronous handler may return.

use std::error::Error;
use std::io;

use http::Response;

use crate::body::BoxError;
use crate::conn::Refusal;

/// What the future of an asynchronous handler may return: a `Response<B>` or a `Result<Response<B>, E>`, in
/// which `B` is an [`http_body::Body`].
///
/// With a `Result`, a handler can use `?`. If the error is or wraps a [`Refusal`], as that of
/// [`Incoming`](crate::Incoming) does, the client gets the refusal's status: 400, 408, 413 or 503. For any
/// other error it gets 500; the error is logged with its causes, and its text isn't sent.
///
/// The trait is sealed: later versions of this crate may add other types.
pub trait IntoResponse: sealed::Sealed {
    /// The body of the response.
    type Body: http_body::Body<Error: Into<Box<dyn Error + Send + Sync>>>;

    /// The response.
    ///
    /// # Errors
    /// That of the handler.
    fn into_response(self) -> Result<Response<Self::Body>, Box<dyn Error + Send + Sync>>;
}

mod sealed {
    use http::Response;

    pub trait Sealed {}

    impl<B> Sealed for Response<B> {}
    impl<B, E> Sealed for Result<Response<B>, E> {}
}

impl<B> IntoResponse for Response<B>
where
    B: http_body::Body,
    B::Error: Into<BoxError>,
{
    type Body = B;

    fn into_response(self) -> Result<Response<B>, BoxError> {
        Ok(self)
    }
}

impl<B, E> IntoResponse for Result<Response<B>, E>
where
    B: http_body::Body,
    B::Error: Into<BoxError>,
    E: Into<BoxError>,
{
    type Body = B;

    fn into_response(self) -> Result<Response<B>, BoxError> {
        self.map_err(Into::into)
    }
}

/// The refusal that an error is, or that is among its causes.
pub(crate) fn refusal_of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Refusal> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(refusal) = error.downcast_ref() {
            return Some(refusal);
        }
        next = match error.downcast_ref::<io::Error>().map(io::Error::get_ref) {
            // Its `source` is the source of the error in it, which may itself be the refusal.
            Some(Some(inner)) => Some(inner),
            _ => error.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::CloseReason;
    use crate::incoming::{Incoming, IncomingError};

    #[derive(Debug)]
    struct Wrapper(Box<dyn Error + Send + Sync>);

    impl std::fmt::Display for Wrapper {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("the upload failed")
        }
    }

    impl Error for Wrapper {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&*self.0)
        }
    }

    fn refused() -> IncomingError {
        let mut incoming = Incoming::from("abc");
        incoming.limit(1);
        let mut future = std::pin::pin!(incoming.bytes());
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        match future.as_mut().poll(&mut cx) {
            std::task::Poll::Ready(Err(error)) => error,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_refusal_is_found_wherever_it_is() {
        let refusal = Refusal::body_too_large();
        let errors: [BoxError; 7] = [
            refusal.into(),
            refused().into(),
            Wrapper(refused().into()).into(),
            Wrapper(Wrapper(refusal.into()).into()).into(),
            io::Error::other(refusal).into(),
            io::Error::other(Wrapper(io::Error::other(refused()).into())).into(),
            Wrapper(io::Error::other(refusal).into()).into(),
        ];
        for error in errors {
            let found = refusal_of(&*error).map(Refusal::reason);
            assert_eq!(found, Some(CloseReason::TooLarge), "{error:?}");
        }
        let others: [BoxError; 4] = [
            "text".into(),
            io::Error::from(io::ErrorKind::NotFound).into(),
            io::Error::other("text").into(),
            Wrapper("text".into()).into(),
        ];
        for error in others {
            assert!(refusal_of(&*error).is_none(), "{error:?}");
        }
    }

    #[test]
    fn a_handler_may_return_a_response_or_a_result() {
        let text = |response: Result<Response<String>, BoxError>| match response {
            Ok(response) => response.into_body(),
            Err(error) => error.to_string(),
        };
        assert_eq!(text(Response::new(String::from("a")).into_response()), "a");
        let result: Result<_, io::Error> = Ok(Response::new(String::from("b")));
        assert_eq!(text(result.into_response()), "b");
        let result: Result<Response<String>, &str> = Err("c");
        assert_eq!(text(result.into_response()), "c");
    }
}
