//! A server to run as a service, behind a proxy and with several instances: docs/service.md.
//!
//! `cargo run --example service`, then `curl http://127.0.0.1:3000`. The same source runs inside a WASI runtime:
//! `cargo run --target wasm32-wasip1 --example service`.
//!
//! | request | response |
//! |---|---|
//! | `GET /private/health` | `ok`, for the proxy's health checks |
//! | `POST /private/stop` | the server stops, as it does natively at SIGTERM |
//! | any other | the name of the instance, `INSTANCE` in the environment |
//!
//! The proxy must not pass on what begins with `/private/`.
//!
//! `RUST_LOG=info` logs each request. With systemd it takes the sockets of its socket unit, and reports when it is
//! ready, when it stops, and that it isn't stuck. A program of your own needs the features `signals` and
//! `systemd` for that.

use mini_http::{Response, Server, status::StatusCode};

fn main() -> mini_http::Result<()> {
    env_logger::init();
    let mut server = match std::env::var_os("LISTEN_FDS") {
        Some(_) => Server::preopened()?,
        None => Server::new(&address())?,
    };
    server.notify_systemd().stop_on_signals()?;
    let handle = server.handle();
    let instance = std::env::var("INSTANCE").unwrap_or("one".into());
    server.start(move |request| {
        log::info!("{instance}: {} {}", request.method(), request.uri());
        let (status, body) = match (request.method().as_str(), request.uri().path()) {
            ("GET" | "HEAD", "/private/health") => (StatusCode::OK, "ok\n".into()),
            ("POST", "/private/stop") => {
                handle.stop();
                (StatusCode::OK, "stopping\n".into())
            }
            (_, path) if path.starts_with("/private/") => (StatusCode::NOT_FOUND, String::new()),
            _ => (StatusCode::OK, format!("{instance}\n")),
        };
        let mut response = Response::new(body.into_bytes());
        *response.status_mut() = status;
        response
    })
}

fn address() -> String {
    std::env::var("MINI_HTTP_ADDR").unwrap_or("127.0.0.1:3000".into())
}
