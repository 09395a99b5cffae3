//! A chat room: each message is sent to all clients that wait for one, by an event stream or a long poll.
//!
//! In the folder `examples`: `cargo run -p chat`, then open http://127.0.0.1:3000 in two windows of a browser, or
//! `curl -N http://127.0.0.1:3000/events` and `curl -d hello http://127.0.0.1:3000/messages`. The same source runs in
//! a WASI runtime: `cargo run -p chat --target wasm32-wasip1`.
//!
//! | request | response |
//! |---|---|
//! | `GET /` | the page |
//! | `POST /messages` | publishes the body. 201, with the message's number |
//! | `GET /events` | an event stream of all messages; with `Last-Event-ID`, of those after this one |
//! | `GET /messages?after=ID` | a long poll: a JSON list of the messages after this one; empty after 25 s without one |
//! | `POST /stop` | the server stops. A real server would let only its operator do that |
//!
//! The server remembers the last 100 messages. Several instances share them over Redis, natively:
//! `REDIS_URL=redis://127.0.0.1:6379 cargo run -p chat`. Without `REDIS_URL`, there is one instance.

mod bus;
#[path = "../../sse/src/event_stream.rs"]
mod event_stream;
#[cfg(not(target_os = "wasi"))]
mod redis_bus;
mod room;

use std::rc::Rc;
use std::time::Duration;

use futures_lite::{FutureExt, Stream, stream};
use mini_http::body::{AnyBody, Chunks};
use mini_http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use mini_http::http::{Request, StatusCode, Uri};
use mini_http::{Bytes, Handle, Incoming, Response, Server, Stopping, sleep};

use bus::{Bus, Local};
use room::Room;

/// What ends an event stream: the server stops.
type Stop = Stopping;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// A longer message gets 413.
const LONGEST: u64 = 2 << 10;

/// Proxies end a request after a minute without a response, some after 30 s.
const LONG_POLL: Duration = Duration::from_secs(25);

/// A handler that takes longer is dropped, and its client gets 503: when Redis doesn't respond, requests must not pile up.
/// Longer than a long poll.
const HANDLER_TIMEOUT: Duration = Duration::from_secs(30);

const PAGE: &str = include_str!("page.html");

fn main() -> Result<(), Box<dyn std::error::Error>> {
    env_logger::init();
    let addr = std::env::var("MINI_HTTP_ADDR").unwrap_or("127.0.0.1:3000".into());
    let mut server = Server::new(&addr)?;
    server.limits(|limits| limits.handler_timeout = Some(HANDLER_TIMEOUT));
    let room = Rc::new(Room::default());
    #[cfg(not(target_os = "wasi"))]
    if let Ok(url) = std::env::var("REDIS_URL") {
        let bus = redis_bus::Redis::connect(&url).map_err(|error| format!("{url}: {error}"))?;
        return serve(&server, bus, room);
    }
    let bus = Local::new(Rc::clone(&room));
    serve(&server, bus, room)
}

fn serve(server: &Server, bus: impl Bus, room: Rc<Room>) -> Result<(), Box<dyn std::error::Error>> {
    let app = Rc::new(App {
        handle: server.handle(),
        bus,
        room,
    });
    server.spawn(receive(Rc::clone(&app)));
    server.serve_async(move |request| respond(Rc::clone(&app), request))?;
    Ok(())
}

struct App<B> {
    handle: Handle,
    bus: B,
    room: Rc<Room>,
}

/// Receives what other instances publish, until the server stops.
async fn receive<B: Bus>(app: Rc<App<B>>) {
    let stop = async {
        app.handle.stopping().await;
        Ok(())
    };
    if let Err(error) = stop.or(app.bus.receive(&app.room)).await {
        log::error!("stopping, because messages from other instances can't be received: {error}");
        // Whatever started the server starts it again.
        app.handle.stop();
    }
}

/// Errors of the request's body become 400, 408 or 413, all others 500.
async fn respond<B: Bus>(
    app: Rc<App<B>>,
    request: Request<Incoming>,
) -> Result<Response<AnyBody>, Error> {
    let (head, body) = request.into_parts();
    match (head.method.as_str(), head.uri.path()) {
        ("GET" | "HEAD", "/") => Ok(typed("text/html; charset=utf-8", PAGE)),
        ("POST", "/messages") => publish(&app.bus, body).await,
        ("GET" | "HEAD", "/messages") => Ok(long_poll(&app, after(&head.uri)).await),
        ("GET" | "HEAD", "/events") => {
            let last = head.headers.get("last-event-id");
            let last = last.and_then(|id| id.to_str().ok()?.parse().ok());
            let events = events(Rc::clone(&app.room), last.unwrap_or(0));
            Ok(event_stream::response(events, app.handle.stopping()))
        }
        ("POST", "/stop") => {
            app.handle.stop();
            Ok(Response::new("stopping\n".into()))
        }
        _ => Ok(status(StatusCode::NOT_FOUND)),
    }
}

async fn publish(bus: &impl Bus, mut body: Incoming) -> Result<Response<AnyBody>, Error> {
    body.limit(LONGEST);
    let text = match String::from_utf8(body.bytes().await?.into()) {
        Ok(text) if !text.trim().is_empty() => text,
        Ok(_) | Err(_) => return Ok(status(StatusCode::BAD_REQUEST)),
    };
    let id = bus.publish(&text).await?;
    let mut response = Response::new(format!("{id}\n").into());
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

/// An event for each message after this one.
///
/// The stream keeps no messages, only the number of the last one that it has sent. So a client that is slow
/// holds no memory; one that is too slow misses messages, and learns that by the event `missed`.
fn events(room: Rc<Room>, after: u64) -> impl Stream<Item = Bytes> {
    stream::unfold((room, after), |(room, after)| async move {
        let message = room.next(after).await;
        // Checked after the wait, because many messages may come before this task goes on.
        let event = match room.misses_some_after(after) {
            true => [b"event: missed\ndata:\n\n", &message.event[..]]
                .concat()
                .into(),
            false => message.event,
        };
        Some((event, (room, message.id)))
    })
}

async fn long_poll<B: Bus>(app: &App<B>, after: u64) -> Response<AnyBody> {
    let message = async {
        app.room.next(after).await;
    };
    let time = sleep(LONG_POLL);
    app.handle.stopping().or(message).or(time).await;
    let json = app.room.json_after(after);
    let length: usize = json.iter().map(Bytes::len).sum();
    let mut response = typed("application/json", Chunks::new(json));
    let fields = response.headers_mut();
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Known, so the body needs no chunks.
    fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
    response
}

/// The number in the query; 0, from the first message on, if there is none.
fn after(uri: &Uri) -> u64 {
    let number = uri.query().and_then(|query| query.strip_prefix("after="));
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn typed(media_type: &'static str, body: impl Into<AnyBody>) -> Response<AnyBody> {
    let mut response = Response::new(body.into());
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

fn status(status: StatusCode) -> Response<AnyBody> {
    let mut response = Response::new(format!("{status}\n").into());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests;
