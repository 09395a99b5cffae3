//! axum on tokio's `current_thread`.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::response::Response;
use axum::routing::{get, post};
use native_servers::{BODY, listener};
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let app = Router::new()
        .route("/", get(hello).post(hello_after))
        .route("/echo", post(echo));
    axum::serve(TcpListener::from_std(listener()?)?, app).await
}

async fn hello() -> Response {
    Response::new(Body::from(BODY))
}

/// Returns the same, but takes a body.
async fn hello_after(_body: Bytes) -> Response {
    hello().await
}

async fn echo(body: Bytes) -> Response {
    Response::new(Body::from(body))
}
