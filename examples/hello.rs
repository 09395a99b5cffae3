//! Responds with `Hello!` to everything.
//!
//! `cargo run --example hello`, then `curl http://127.0.0.1:3000`. The same source runs inside a
//! WASI runtime: `cargo run --target wasm32-wasip1 --example hello`.

use mini_http::{Response, Server};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    env_logger::init();
    let addr = std::env::var("MINI_HTTP_ADDR").unwrap_or("127.0.0.1:3000".into());
    Server::new(&addr)?.start(|_request| Response::new(b"Hello!".to_vec()))?;
    Ok(())
}
