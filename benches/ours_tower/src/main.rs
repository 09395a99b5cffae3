//! `mini_http` with an axum app of one route. It sends the same response as the other servers.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use mini_http::Server;

fn main() -> mini_http::Result<()> {
    // On preview 1 the runtime has opened the listener, and the address isn't used.
    let address = std::env::var("MINI_HTTP_ADDR").unwrap_or("127.0.0.1:3000".into());
    let mut server = Server::new(&address)?;
    // Idle connections must stay open during the whole benchmark.
    server.limits(|limits| limits.idle_timeout = Duration::from_secs(3600));
    let app: Router = Router::new().route("/", get(async || response::BODY));
    // Its state is set here, as `axum::serve` does: otherwise that is done for each request.
    server.serve_tower(app.with_state(()))
}
