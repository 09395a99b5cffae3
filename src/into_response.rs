//! What an asynchronous handler may return.

use std::error::Error;

use http::Response;

use crate::body::BoxError;

/// What the future of an asynchronous handler may return: a `Response<B>` or a `Result<Response<B>, E>`, in
/// which `B` is an [`http_body::Body`].
///
/// With a `Result`, a handler can use `?`. If the error is or wraps a [`Refusal`](crate::Refusal), as that of
/// [`Incoming`](crate::Incoming) does, the client gets the refusal's status: 400, 408, 413, 431 or 503. For
/// any other error it gets 500; the error is logged with its causes, and its text isn't sent.
///
/// The trait is sealed: later versions of this crate may add other types.
#[diagnostic::on_unimplemented(
    message = "an asynchronous handler can't return `{Self}`",
    note = "it returns `Response<B>` or `Result<Response<B>, E>`, where `B` is an `http_body::Body` such as `String` \
            or `Bytes`; `mini_http::body::AnyBody` is made of any other: `\"text\".into()`"
)]
pub trait IntoResponse: sealed::Sealed {
    /// The body of the response.
    type Body: http_body::Body<Error: Into<Box<dyn Error + Send + Sync>>>;

    /// The response.
    ///
    /// # Errors
    /// That of the handler.
    fn into_response(self) -> Result<Response<Self::Body>, Box<dyn Error + Send + Sync>>;
}

pub(crate) use sealed::Sealed;

mod sealed {
    use http::Response;

    pub trait Sealed {
        /// Whether a response to HEAD may have an empty body where the one to GET has another.
        const MAY_LEAVE_OUT_BODY: bool = false;
    }

    impl<B> Sealed for Response<B> {}
    impl<B, E> Sealed for Result<Response<B>, E> {}
    #[cfg(feature = "tower")]
    impl<T> Sealed for super::OfService<T> {
        const MAY_LEAVE_OUT_BODY: bool = true;
    }
}

/// What a service of tower has returned. Routers respond to HEAD as to GET, and leave out the body. They state its
/// length if they know it; if they don't, the server must not state 0.
#[cfg(feature = "tower")]
pub(crate) struct OfService<T>(pub(crate) T);

#[cfg(feature = "tower")]
#[diagnostic::do_not_recommend]
impl<T: IntoResponse> IntoResponse for OfService<T> {
    type Body = T::Body;

    fn into_response(self) -> Result<Response<T::Body>, BoxError> {
        self.0.into_response()
    }
}

// The compiler's own words would name bounds of the library, and a trait of synchronous handlers.
#[diagnostic::do_not_recommend]
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

#[diagnostic::do_not_recommend]
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

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
