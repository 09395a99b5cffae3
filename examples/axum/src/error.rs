//! Errors as JSON, also those of axum's extractors.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// An error that a client gets.
pub(crate) struct Error {
    status: StatusCode,
    text: String,
}

/// Its JSON.
#[derive(Serialize)]
struct Shown {
    status: u16,
    error: String,
}

impl Error {
    pub(crate) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { status, text }
    }

    pub(crate) fn not_found(text: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, text)
    }

    pub(crate) fn wrong_method() -> Self {
        let text = "this path has other methods: see the field Allow";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, text)
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let shown = Shown {
            status: self.status.as_u16(),
            error: self.text,
        };
        (self.status, Json(shown)).into_response()
    }
}

macro_rules! from {
    ($($rejection:ty)*) => {$(
        impl From<$rejection> for Error {
            fn from(rejection: $rejection) -> Self {
                Self::new(rejection.status(), rejection.body_text())
            }
        }
    )*};
}

from! { JsonRejection PathRejection QueryRejection }
