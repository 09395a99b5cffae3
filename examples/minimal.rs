//! The least server: no logger, so that nothing of logging is in the program either.
//!
//! It prints nothing; only an error that ends it is told, by `main`. `hello` is the same with a logger.

use mini_http::{Response, Server};

fn main() -> mini_http::Result<()> {
    let addr = std::env::var("MINI_HTTP_ADDR").unwrap_or("127.0.0.1:3000".into());
    Server::new(&addr)?.start(|_request| Response::new(b"Hello!".to_vec()))
}
