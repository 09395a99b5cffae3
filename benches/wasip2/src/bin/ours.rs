//! `mini_http`, with the answer of the others.
#![cfg_attr(
    not(all(target_os = "wasi", target_env = "p2")),
    allow(unused, reason = "a program for WASI 0.2 only")
)]

#[cfg(not(all(target_os = "wasi", target_env = "p2")))]
fn main() {}

#[cfg(all(target_os = "wasi", target_env = "p2"))]
fn main() -> mini_http::Result<()> {
    use bytes::Bytes;
    use mini_http::{Response, Server};
    use std::time::Duration;
    use wasip2_servers::BODY;

    let address = std::env::var("MINI_HTTP_ADDR").unwrap_or("127.0.0.1:3000".into());
    let mut server = Server::new(&address)?;
    // Idle connections are to stay for the whole of a benchmark.
    server.limits(|limits| limits.idle_timeout = Duration::from_secs(3600));
    server.serve(|_request| Response::new(Bytes::from_static(BODY.as_bytes())))
}
