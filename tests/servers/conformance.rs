//! The server for the conformance cases, for any runtime. `MINI_HTTP_HANDLER` is its handler and `MINI_HTTP_SETTINGS`
//! are its settings, such as `body=100, fields=3`: see `tests/conformance/README.md`. With `MINI_HTTP_MODE=async` the
//! handler is a future.

#[path = "../common/mod.rs"]
mod common;

use common::{cases, machine, serve};
use mini_http::Server;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    env_logger::init();
    let variable = |name| std::env::var(name).unwrap_or_default();
    let handler = cases::handler(&variable("MINI_HTTP_HANDLER"))?;
    let mode = serve::mode(&variable("MINI_HTTP_MODE"))?;
    let settings = cases::settings(&variable("MINI_HTTP_SETTINGS"))?;
    let limits = machine::limits(&settings)?;
    let addr = std::env::var("MINI_HTTP_ADDR").unwrap_or("127.0.0.1:3000".into());
    let mut server = Server::new(&addr)?;
    server.limits(|defaults| *defaults = limits);
    server.proxy_protocol(machine::wants_proxy_header(&settings));
    serve::serve(&server, handler, mode)?;
    Ok(())
}
