//! Responds with the request's body, or `hello!` if it has none.
//!
//! `cargo run --example echo`, then `curl -d 'some text' http://127.0.0.1:3000`.

use mini_http::{Request, Response, Server};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    env_logger::init();
    let addr = std::env::var("MINI_HTTP_ADDR").unwrap_or("127.0.0.1:3000".into());
    Server::new(&addr)?.start(respond)?;
    Ok(())
}

pub(crate) fn respond(request: Request) -> Response<Vec<u8>> {
    if request.body().is_empty() {
        Response::new(b"hello!".to_vec())
    } else {
        Response::new(request.into_body())
    }
}
