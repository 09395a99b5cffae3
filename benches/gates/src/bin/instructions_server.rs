//! The server whose instructions are counted: it has the default limits and checks, no logger,
//! and a handler that reads the method, the path and one field.

use std::hint::black_box;

use mini_http::{Bytes, Response, Server, header};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = Server::new(&std::env::var("MINI_HTTP_ADDR")?)?;
    server.serve(|request| {
        black_box(request.method());
        black_box(request.uri().path());
        black_box(request.headers().get(header::HOST));
        Response::new(Bytes::from_static(b"Hello, world!"))
    })?;
    Ok(())
}
