//! Routes for what the app doesn't use: forms, streams, other bodies, and failures.

use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Form, Path, Query, RawQuery};
use axum::http::header::{CONTENT_TYPE, SET_COOKIE};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Uri};
use axum::response::{AppendHeaders, Html, IntoResponse, Redirect, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use futures_util::{Stream, stream};
use serde::{Deserialize, Serialize};
use tower_http::catch_panic::CatchPanicLayer;

/// The longest body that `/collect` takes.
const LIMIT: usize = 64 << 10;

pub(crate) fn routes() -> Router {
    Router::new()
        .route("/form", get(form).post(form))
        .route("/typed", get(typed))
        .route("/raw", get(async |RawQuery(query)| format!("{query:?}")))
        .route(
            "/segment/{name}",
            get(async |Path(name): Path<String>| name),
        )
        .route("/rest/{*path}", get(async |Path(path): Path<String>| path))
        .route(
            "/uri",
            any(async |method: Method, uri: Uri| format!("{method} {uri}")),
        )
        .route(
            "/collect",
            post(collect).layer(DefaultBodyLimit::max(LIMIT)),
        )
        .route("/echo", post(async |body: Body| body))
        .route("/ignore", post(async || "ignored"))
        .route("/text", post(async |text: String| text))
        .route("/fields", get(fields))
        .route("/cookies", get(cookies))
        .route("/page", get(async || Html("<p>hello")))
        .route(
            "/bytes",
            get(async || Bytes::from_static(&[0, 255, 13, 10])),
        )
        .route("/nothing", get(async || StatusCode::NO_CONTENT))
        .route("/unchanged", get(async || StatusCode::NOT_MODIFIED))
        .route("/elsewhere", get(async || Redirect::temporary("/page")))
        .route(
            "/teapot",
            get(async || (StatusCode::IM_A_TEAPOT, "short and stout")),
        )
        .route("/stream", get(async || Body::from_stream(lines(5))))
        .route("/empty-stream", get(async || Body::from_stream(lines(0))))
        .route("/large", get(async || "0123456789abcdef".repeat(16 << 10)))
        .route("/failing", get(failing))
        .route("/panic", get(panic))
        .layer(CatchPanicLayer::new())
}

#[derive(Deserialize, Serialize)]
struct Entry {
    name: String,
    age: Option<u8>,
}

async fn form(Form(entry): Form<Entry>) -> Json<Entry> {
    Json(entry)
}

async fn typed(Query(entry): Query<Entry>) -> Json<Entry> {
    Json(entry)
}

async fn collect(body: Bytes) -> String {
    body.len().to_string()
}

/// The request's fields that aren't about the connection, in their order.
async fn fields(fields: HeaderMap) -> String {
    let shown = fields
        .iter()
        .map(|(name, value)| format!("{name}: {value:?}\n"));
    shown.collect()
}

async fn cookies() -> impl IntoResponse {
    let cookies = [(SET_COOKIE, "a=1; Path=/"), (SET_COOKIE, "b=2; HttpOnly")];
    let name = HeaderName::from_static("x-latin");
    // Not text, and yet a valid field.
    let latin = [(name, &b"caf\xe9"[..])];
    (
        AppendHeaders(cookies),
        AppendHeaders(latin),
        [(CONTENT_TYPE, "text/x-cookie")],
        "set",
    )
}

/// Lines, each of which is made when the one before is sent.
fn lines(count: u32) -> impl Stream<Item = io::Result<String>> {
    stream::iter((0..count).map(|number| Ok(format!("line {number}\n"))))
}

/// The handler's own error.
async fn failing() -> Result<&'static str, (StatusCode, String)> {
    Err((
        StatusCode::BAD_GATEWAY,
        format!("no response after {:?}", Duration::from_secs(1)),
    ))
}

async fn panic() -> Response {
    panic!("this handler panics")
}
