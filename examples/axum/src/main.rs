//! A JSON API on axum: notes, which are kept in memory.
//!
//! `cd examples && cargo run --package axum-api`, and then
//!
//! ```sh
//! curl -i -d '{"text": "buy milk"}' -H 'Content-Type: application/json' http://127.0.0.1:3000/notes
//! curl -i 'http://127.0.0.1:3000/notes?contains=milk'
//! curl -i http://127.0.0.1:3000/notes/7
//! ```
//!
//! A list has at most 50 notes; with `after=50`, those after the note 50.
//!
//! The same source runs inside a WASI runtime, with `--target wasm32-wasip1` or `--target wasm32-wasip2`. With
//! `RUST_LOG=info,tower_http=debug` the log has two lines for each request.

use std::error::Error;

use mini_http::Server;

fn main() -> Result<(), Box<dyn Error>> {
    env_logger::init();
    let addr = std::env::var("MINI_HTTP_ADDR").unwrap_or("127.0.0.1:3000".into());
    Server::new(&addr)?.serve_tower(axum_api::app())?;
    Ok(())
}
