//! Handlers that take long, while others are served.
//!
//! In the folder `examples`: `cargo run -p slow`, then `curl http://127.0.0.1:3000/query` and
//! `curl http://127.0.0.1:3000/compute`. The same source runs in a WASI runtime:
//! `cargo run -p slow --target wasm32-wasip1`.
//!
//! | request | response |
//! |---|---|
//! | `GET /query` | as from a database: after 300 ms in which the handler waits |
//! | `GET /compute` | the number of primes below 3,000,000, computed on another thread; 501 on WASI |
//! | any other | `hello` |
//!
//! All handlers run on the server's one thread. A future that waits (`sleep`, a body, a channel) costs nothing
//! meanwhile. But one that computes for long, or calls a function that blocks (a file, a database's synchronous
//! client), would stop everything else: such calls go to other threads. WASI has none.

use std::time::Duration;

use mini_http::http::Request;
use mini_http::{Incoming, Response, Server, sleep};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    env_logger::init();
    let addr = std::env::var("MINI_HTTP_ADDR").unwrap_or("127.0.0.1:3000".into());
    let mut server = Server::new(&addr)?;
    // A handler that takes longer is dropped, and its client gets 503.
    server.limits(|limits| limits.handler_timeout = Some(Duration::from_secs(20)));
    server.serve_async(respond)?;
    Ok(())
}

async fn respond(request: Request<Incoming>) -> Response<String> {
    match (request.method().as_str(), request.uri().path()) {
        ("GET" | "HEAD", "/query") => query().await,
        ("GET" | "HEAD", "/compute") => compute().await,
        _ => Response::new("hello\n".into()),
    }
}

async fn query() -> Response<String> {
    // In its place: a database's asynchronous client that doesn't need a runtime of its own.
    sleep(Duration::from_millis(300)).await;
    Response::new("42 rows\n".into())
}

/// `blocking` has a pool of threads. It starts more when all are busy, up to 500 or what the environment variable
/// `BLOCKING_MAX_THREADS` says; further calls wait in a queue. If the client goes away, its call is taken from the
/// queue; one that has begun goes on to its end.
#[cfg(not(target_os = "wasi"))]
async fn compute() -> Response<String> {
    let count = blocking::unblock(|| count_primes(3_000_000)).await;
    Response::new(format!("{count} primes\n"))
}

#[cfg(target_os = "wasi")]
async fn compute() -> Response<String> {
    let mut response = Response::new("there are no threads on WASI\n".into());
    *response.status_mut() = mini_http::http::StatusCode::NOT_IMPLEMENTED;
    response
}

/// How many primes are below `end`. It takes about a second for 3,000,000.
#[cfg(not(target_os = "wasi"))]
fn count_primes(end: u32) -> usize {
    let is_prime = |number: u32| {
        let mut divisors = (2..).take_while(|divisor| divisor * divisor <= number);
        divisors.all(|divisor| !number.is_multiple_of(divisor))
    };
    (2..end).filter(|&number| is_prime(number)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_waits() {
        // In virtual time.
        let request = Request::builder().uri("/query").body(());
        let response = mini_http::test::run(respond, request.expect("a request"));
        assert_eq!(response.body(), "42 rows\n");
    }

    #[test]
    fn primes_are_counted() {
        assert_eq!(count_primes(100), 25);
    }
}
