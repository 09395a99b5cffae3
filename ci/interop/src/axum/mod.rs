//! The program `suite` of `examples/axum`: one axum app gives the same responses on this library, in every runtime, as
//! on tokio and hyper.

mod cases;
mod response;

use std::process::Command;

use self::cases::{CASES, Case};
use self::response::Response;
use crate::runtime::Wasi;
use crate::{Client, Outcome, Program, Report, Runtime, Server, ensure, root};

/// Compares the responses on each of these runtimes.
#[must_use]
pub fn run(runtimes: &[Runtime]) -> Report {
    let mut report = Report::new("axum", runtimes);
    // One after the other, because the app has a state: each server gets the same requests in the same order.
    let expected = start(Runtime::Native, "tokio").map(|server| all(&server, |_| true));
    for &runtime in runtimes {
        report.add(NO_TOKIO, runtime, no_tokio(runtime));
        let is_run = |case: &Case| !case.panics || runtime == Runtime::Native;
        let server = start(runtime, "mini_http");
        let responses = server.as_ref().map(|server| all(server, is_run));
        let responses = responses.map_err(Clone::clone);
        for (at, case) in CASES.iter().enumerate() {
            let outcome = match (&expected, &responses) {
                (Err(why), _) | (_, Err(why)) => Err(why.clone()),
                (Ok(expected), Ok(responses)) => {
                    let has_address = !case.has_address || runtime.wasi() != Some(Wasi::Preview1);
                    compare(&expected[at], has_address, &responses[at])
                }
            };
            report.add(case.name, runtime, outcome);
        }
        let alive = server.and_then(|mut server| server.check_alive());
        report.add("still runs", runtime, alive.map(|()| "ok".into()));
    }
    report
}

const NO_TOKIO: &str = "no tokio in `cargo tree`";

/// Fails if the example is built with tokio. (Its tests are.)
fn no_tokio(runtime: Runtime) -> Outcome<String> {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(folder());
    cargo.args(["tree", "--quiet", "--locked", "--package", PACKAGE]);
    cargo.args(["--edges", "normal,build", "--prefix", "none"]);
    if let Some(target) = runtime.target() {
        cargo.args(["--target", target]);
    }
    let output = cargo.output().map_err(|e| format!("cargo: {e}"))?;
    let tree = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success() && tree.contains("\naxum v0.8"),
        "{cargo:?}: {tree}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let tokio: Vec<_> = tree.lines().filter(|it| it.starts_with("tokio")).collect();
    ensure!(tokio.is_empty(), "it needs {}", tokio.join(", "));
    Ok("ok".into())
}

const PACKAGE: &str = "axum-api";

/// The workspace of the examples.
fn folder() -> std::path::PathBuf {
    root().join("examples")
}

/// Starts the app on this library, or on tokio.
fn start(runtime: Runtime, on: &str) -> Outcome<Server> {
    let what = ["--locked", "--package", PACKAGE, "--example", "suite"];
    let program = Program::build(runtime, &folder(), &what, true)?;
    Server::start(&program, &[("MINI_HTTP_SUITE", on), ("RUST_LOG", "info")])
}

/// The responses to each case, `None` for those that aren't run.
fn all(server: &Server, is_run: impl Fn(&Case) -> bool) -> Vec<Option<Outcome<Vec<Response>>>> {
    let one = |case: &Case| is_run(case).then(|| responses(server, case));
    CASES.iter().map(one).collect()
}

/// The responses to a case, on a connection of its own.
fn responses(server: &Server, case: &Case) -> Outcome<Vec<Response>> {
    let mut client = Client::connect(server.address)?;
    for (at, part) in (case.request)().into_iter().enumerate() {
        if case.expects && at == 1 {
            let interim = client.response_head()?;
            ensure!(interim.status == 100, "not 100 but\n{}", interim.head);
        }
        client.send(part)?;
    }
    let of = |&is_head: &bool| Response::read(&mut client, is_head);
    case.is_head.iter().map(of).collect()
}

fn compare(
    expected: &Option<Outcome<Vec<Response>>>,
    has_address: bool,
    responses: &Option<Outcome<Vec<Response>>>,
) -> Outcome<String> {
    let Some(responses) = responses else {
        return Ok("can't unwind".into());
    };
    let Some(Ok(expected)) = expected else {
        return Err(format!("on tokio: {expected:?}"));
    };
    let responses = responses.as_ref().map_err(Clone::clone)?;
    let mut expected = expected.clone();
    if !has_address {
        let all = expected.into_iter().map(Response::without_address);
        expected = all.collect();
    }
    ensure!(
        *responses == expected,
        "the responses differ:\n{responses:#?}\non tokio:\n{expected:#?}"
    );
    let status = |response: &Response| response.status.to_string();
    let all: Vec<_> = responses.iter().map(status).collect();
    Ok(all.join(" "))
}
