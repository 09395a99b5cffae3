//! `mini_http` with a handler that computes for one to two milliseconds: how much several instances are worth.

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use mini_http::{Response, Server};

/// One to two milliseconds of a core of 2026: long enough that the kernel and the server don't matter, and short enough
/// that a round of a benchmark has some thousand requests.
const STEPS: u64 = 1_000_000;

fn main() -> mini_http::Result<()> {
    let address = std::env::var("MINI_HTTP_ADDR").unwrap_or("127.0.0.1:3000".into());
    let mut server = Server::new(&address)?;
    server.limits(|limits| limits.idle_timeout = Duration::from_secs(3600));
    server.serve(|_| {
        black_box(compute(black_box(1)));
        Response::new(Bytes::from_static(response::BODY.as_bytes()))
    })
}

/// A generator of random numbers: no step can be left out, and none can begin before the one before it has ended.
fn compute(seed: u64) -> u64 {
    (0..STEPS).fold(seed, |state, _| {
        let state = state ^ (state << 13);
        let state = state ^ (state >> 7);
        state ^ (state << 17)
    })
}
