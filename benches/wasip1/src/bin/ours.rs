//! `mini_http`, with the answer of the others.
#![cfg_attr(
    not(all(target_os = "wasi", target_env = "p1")),
    allow(unused, reason = "a program for WASI preview 1 only")
)]

#[cfg(not(all(target_os = "wasi", target_env = "p1")))]
fn main() {}

#[cfg(all(target_os = "wasi", target_env = "p1"))]
fn main() -> mini_http::Result<()> {
    use bytes::Bytes;
    use mini_http::{Response, Server};
    use std::time::Duration;
    use wasip1_servers::answer;

    let mut server = Server::preopened()?;
    // Idle connections are to stay for the whole of a benchmark.
    server.limits(|limits| limits.idle_timeout = Duration::from_secs(3600));
    server.serve(|request| {
        Response::new(if request.uri().path() == "/memory" {
            Bytes::from(answer::memory())
        } else {
            Bytes::from_static(answer::BODY.as_bytes())
        })
    })
}
