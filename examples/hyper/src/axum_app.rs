//! An axum app: a router, JSON, state, an echo, a response that is streamed, server-sent
//! events, and a WebSocket.

mod listener;
mod upgrade;

use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::{Stream, StreamExt, stream};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde::{Deserialize, Serialize};

/// How many greetings there were.
type Greetings = Arc<AtomicU64>;

fn main() -> Result<(), Box<dyn Error>> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(serve())
}

fn app() -> Router {
    Router::new()
        .route("/greet", post(greet))
        .route("/greetings", get(greetings))
        .route("/stream", get(streamed))
        .route("/events", get(events))
        .fallback(websocket_or_echo)
        .with_state(Greetings::default())
}

/// Does what `axum::serve` does, and allows half-close, for which that has no setting: a client may end its stream
/// after its last request and still get the response.
async fn serve() -> Result<(), Box<dyn Error>> {
    let listener = tokio::net::TcpListener::from_std(listener::listener()?)?;
    let app = app();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // The client has gone, which is no reason to end. Or there are no more file descriptors: then the next
            // attempt must not come at once.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let service = TowerToHyperService::new(app.clone());
        tokio::spawn(async move {
            let mut connection = http1::Builder::new();
            let connection = connection
                .half_close(true)
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades();
            // A connection that fails just ends.
            let _ = connection.await;
        });
    }
}

/// Who is to be greeted.
#[derive(Deserialize)]
struct Guest {
    name: String,
}

/// A greeting, with its number.
#[derive(Serialize)]
struct Greeting {
    text: String,
    number: u64,
}

async fn greet(State(count): State<Greetings>, Json(guest): Json<Guest>) -> Json<Greeting> {
    Json(Greeting {
        text: format!("hello, {}!", guest.name),
        number: count.fetch_add(1, Ordering::Relaxed) + 1,
    })
}

async fn greetings(State(count): State<Greetings>) -> String {
    count.load(Ordering::Relaxed).to_string()
}

/// Ten lines, each of which is sent before the next is made.
async fn streamed() -> Response {
    let lines = slowly(|number| Bytes::from(format!("line {number}\n")));
    Body::from_stream(lines).into_response()
}

/// Ten server-sent events, each of which is sent before the next is made.
async fn events() -> Response {
    let event = |number: u32| Event::default().id(number.to_string()).data("tick");
    Sse::new(slowly(event)).into_response()
}

/// Ten of something, with pauses between them.
fn slowly<T>(make: impl Fn(u32) -> T) -> impl Stream<Item = Result<T, Infallible>> {
    stream::iter(0..10).then(move |number| {
        let next = make(number);
        async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Ok(next)
        }
    })
}

/// axum's own WebSocket can't be built for preview 1: it needs tokio's `connect`.
async fn websocket_or_echo(mut request: Request) -> Response {
    if let Some(response) = upgrade::begin(&mut request) {
        return response.map(|()| Body::empty());
    }
    match Bytes::from_request(request, &()).await {
        Ok(body) if body.is_empty() => "hello!".into_response(),
        Ok(body) => body.into_response(),
        Err(_) => StatusCode::BAD_REQUEST.into_response(),
    }
}
