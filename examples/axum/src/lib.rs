//! The app, so that tests can call it without a server: see `tests/api.rs`.

mod connect_info;
mod error;
mod notes;

use std::net::SocketAddr;

use axum::extract::{DefaultBodyLimit, MatchedPath};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, Request};
use axum::middleware::map_request;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tower_http::cors::{Any, CorsLayer};
use tower_http::trace::TraceLayer;

use crate::connect_info::{ConnectInfo, add_connect_info};
use crate::error::Error;
use crate::notes::Notes;

/// The longest body of a request: a note and its JSON.
const MAX_BODY: usize = 4 << 10;

/// The routes, with their state and layers.
pub fn app() -> Router {
    Router::new()
        .route("/notes", get(notes::list).post(notes::add))
        .route("/notes/{id}", get(notes::show).delete(notes::remove))
        .route("/me", get(me))
        .fallback(async || Error::not_found("there is no such path"))
        .method_not_allowed_fallback(async || Error::wrong_method())
        .layer(map_request(add_connect_info))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(cors())
        .layer(TraceLayer::new_for_http().make_span_with(span))
        .with_state(Notes::default())
}

/// Pages of any origin may call this API.
fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers([CONTENT_TYPE])
}

/// What the log's lines about a request begin with: the route, and not the path, which may contain secrets.
fn span<B>(request: &Request<B>) -> tracing::Span {
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or("none", MatchedPath::as_str);
    tracing::info_span!("request", method = %request.method(), route)
}

/// The response to `/me`.
#[derive(Serialize)]
struct Me {
    address: Option<String>,
}

/// The client's address. There is none on WASI preview 1.
async fn me(peer: Option<ConnectInfo<SocketAddr>>) -> Json<Me> {
    let address = peer.map(|ConnectInfo(address)| address.ip().to_string());
    Json(Me { address })
}
