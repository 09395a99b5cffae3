//! `mini_http` with a synchronous handler.

use std::time::Duration;

use bytes::Bytes;
use mini_http::{Response, Server};
use native_servers::{BODY, listener};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut server = Server::from_listener(listener()?)?;
    // Idle connections must stay open during the whole benchmark.
    server.limits(|limits| limits.idle_timeout = Duration::from_secs(3600));
    server.serve(|mut request| {
        Response::new(match request.uri().path() {
            "/echo" => Bytes::from(std::mem::take(request.body_mut())),
            _ => Bytes::from_static(BODY.as_bytes()),
        })
    })?;
    Ok(())
}
