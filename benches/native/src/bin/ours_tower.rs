//! `mini_http` with the app of the server `axum`.

use std::error::Error;
use std::time::Duration;

use mini_http::Server;
use native_servers::{app, listener};

fn main() -> Result<(), Box<dyn Error>> {
    let mut server = Server::from_listener(listener()?)?;
    // Idle connections must stay open during the whole benchmark.
    server.limits(|limits| limits.idle_timeout = Duration::from_secs(3600));
    server.serve_tower(app())?;
    Ok(())
}
