//! `mini_http` with two workers.

use std::time::Duration;

use bytes::Bytes;
use mini_http::{Response, Server};
use native_servers::{BODY, address};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // It binds by itself, so that each worker has a listening socket.
    let mut server = Server::new(&address()?.to_string())?;
    server.workers(2);
    // Idle connections must stay open during the whole benchmark.
    server.limits(|limits| limits.idle_timeout = Duration::from_secs(3600));
    server.serve_each(|| |_| Response::new(Bytes::from_static(BODY.as_bytes())))?;
    Ok(())
}
