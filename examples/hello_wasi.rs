//! Responds with `Hello!` on the listening sockets that were passed to it: by a WASI runtime, or
//! natively by systemd.
//!
//! `cargo run --target wasm32-wasip1 --example hello_wasi`, then `curl http://127.0.0.1:3000`.
//! Natively: `systemd-socket-activate -l 3000 target/debug/examples/hello_wasi`.

use mini_http::{Response, Server};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    env_logger::init();
    Server::preopened()?.start(|_request| Response::new(b"Hello!".to_vec()))?;
    Ok(())
}
