//! `mini_http` with an asynchronous handler that is ready at once, with the response of the others.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use mini_http::{Response, Server};

fn main() -> mini_http::Result<()> {
    // On preview 1 the runtime has opened the listener, and the address isn't used.
    let address = std::env::var("MINI_HTTP_ADDR").unwrap_or("127.0.0.1:3000".into());
    let mut server = Server::new(&address)?;
    // Idle connections must stay open during the whole benchmark.
    server.limits(|limits| limits.idle_timeout = Duration::from_secs(3600));
    server.serve_async(|request| {
        let body = if request.uri().path() == "/memory" {
            Bytes::from(response::memory())
        } else {
            Bytes::from_static(response::BODY.as_bytes())
        };
        async { Response::new(Full::new(body)) }
    })
}
