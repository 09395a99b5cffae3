//! The same as `instructions_server`, with an asynchronous handler that is ready at once.

use std::hint::black_box;

use http_body_util::Full;
use mini_http::{Bytes, Response, Server, header};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = Server::new(&std::env::var("MINI_HTTP_ADDR")?)?;
    server.serve_async(|request| async move {
        black_box(request.method());
        black_box(request.uri().path());
        black_box(request.headers().get(header::HOST));
        Response::new(Full::new(Bytes::from_static(b"Hello, world!")))
    })?;
    Ok(())
}
