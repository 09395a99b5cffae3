//! The handler as a program with sockets of its own: natively, on WASI preview 1 and on WASI 0.2.

mod handler;

use mini_http::Server;

fn main() -> mini_http::Result<()> {
    let addr = std::env::var("MINI_HTTP_ADDR").unwrap_or("127.0.0.1:3000".into());
    Server::new(&addr)?.serve_async(handler::handle)
}
