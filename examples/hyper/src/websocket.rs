//! A WebSocket on hyper 1 and tokio: sends back each message.

mod listener;
mod upgrade;

use std::convert::Infallible;
use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;

fn main() -> Result<(), Box<dyn Error>> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(serve())
}

async fn serve() -> Result<(), Box<dyn Error>> {
    let listener = tokio::net::TcpListener::from_std(listener::listener()?)?;
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // The client has gone, which is no reason to end. Or there are no more file descriptors: then the next
            // attempt must not come at once.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        tokio::spawn(async move {
            let connection = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service_fn(respond))
                .with_upgrades();
            // A connection that fails just ends.
            let _ = connection.await;
        });
    }
}

/// Begins a WebSocket, or says that there is nothing else here.
async fn respond(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    if let Some(response) = upgrade::begin(&mut request) {
        return Ok(response.map(|()| Full::default()));
    }
    let mut response = Response::new(Full::from("This is a WebSocket.\n"));
    *response.status_mut() = StatusCode::UPGRADE_REQUIRED;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    let version = HeaderValue::from_static("13");
    headers.insert(header::SEC_WEBSOCKET_VERSION, version);
    Ok(response)
}
