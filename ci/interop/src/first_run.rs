//! Checks the README's first command, `cargo run --target wasm32-wasip1 --example hello`, as a person types it.

use std::process::Command;

use crate::curl::curl;
use crate::{Outcome, Program, Report, Runtime, Server, ensure, root};

/// Runs it for each of these runtimes, from two folders of the checkout.
#[must_use]
pub fn run(runtimes: &[Runtime]) -> Report {
    let mut report = Report::new("cargo run", runtimes);
    for &runtime in runtimes {
        for folder in [".", "src"] {
            let outcome = serve(runtime, folder).map(|()| "ok".into());
            report.add(&format!("--example hello, from {folder}"), runtime, outcome);
        }
    }
    report
}

fn serve(runtime: Runtime, folder: &str) -> Outcome {
    // Built before, so that the time to build doesn't count as time to start.
    Program::example(runtime, "hello", false)?;
    let mut server = Server::with_command(runtime, |address| {
        let mut cargo = Command::new("cargo");
        cargo.args([
            "run",
            "--quiet",
            "--package",
            "mini-http-server",
            "--example",
            "hello",
        ]);
        if let Some(target) = runtime.target() {
            cargo
                .args(["--target", target])
                .env("MINI_HTTP_RUNTIME", runtime.name());
        }
        cargo.current_dir(root().join(folder));
        cargo
            .env("MINI_HTTP_ADDR", address.to_string())
            .env("RUST_LOG", "info");
        Ok(cargo)
    })?;
    let said = curl(&["-w", " %{http_code}", &server.url("/")])?.text();
    ensure!(
        said.ends_with(" 200") && said.len() > 4,
        "the response is {said}"
    );
    server.check_alive()?;
    // RUST_LOG must reach the program, also in a runtime.
    ensure!(
        server.log().contains("INFO"),
        "nothing of level info in its log:\n{}",
        server.log()
    );
    server.check_log()
}
