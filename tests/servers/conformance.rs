//! The server for the conformance cases, for any runtime. Its handler is `MINI_HTTP_HANDLER` (`echo` or `respond`,
//! see `tests/conformance/README.md`), its limits are `MINI_HTTP_SETTINGS`, such as `body=100, fields=3`.

#[path = "../common/mod.rs"]
mod common;

use common::{cases, machine};
use mini_http::Server;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    env_logger::init();
    let variable = |name| std::env::var(name).unwrap_or_default();
    let handler = cases::handler(&variable("MINI_HTTP_HANDLER"))?;
    let limits = machine::limits(&cases::settings(&variable("MINI_HTTP_SETTINGS"))?)?;
    let addr = std::env::var("MINI_HTTP_ADDR").unwrap_or("127.0.0.1:3000".into());
    Server::new(&addr)?
        .limits(|defaults| *defaults = limits)
        .start(move |request| machine::answer(handler, &request).expect("a good query"))?;
    Ok(())
}
