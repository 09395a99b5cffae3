//! The smallest server. It has no logger, so the program contains no code for logging.
//!
//! It prints only an error that ends it. `hello` is the same with a logger.

use mini_http::{Response, Server};

fn main() -> mini_http::Result<()> {
    let addr = std::env::var("MINI_HTTP_ADDR").unwrap_or("127.0.0.1:3000".into());
    Server::new(&addr)?.start(|_request| Response::new(b"Hello!".to_vec()))
}
