//! Measures how long it takes from the start of a runtime to the first response, with a module that is compiled
//! already: by the runtime's command for that, or by an earlier start, if the runtime keeps compiled modules.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::{Client, Outcome, Program, Report, Runtime, ensure, root};

/// The settings of a run.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How often the runtime is started. The median counts.
    pub starts: usize,
    /// The longest time that it may take.
    pub most: Duration,
}

/// Measures on each of these runtimes.
#[must_use]
pub fn run(runtimes: &[Runtime], settings: Settings) -> Report {
    let mut report = Report::new("first response", runtimes);
    for &runtime in runtimes {
        report.add(
            "ms to the first response",
            runtime,
            measure(runtime, settings),
        );
    }
    report
}

fn measure(runtime: Runtime, settings: Settings) -> Outcome<String> {
    let what = ["--profile", "wasm-release", "--example", "hello"];
    let module = Program::build(runtime, &root(), &what, false)?.path;
    let precompiled = if runtime.precompiles() {
        precompile(runtime, &module)?
    } else {
        first_response(runtime, &module)?;
        module
    };

    let mut times = Vec::new();
    for _ in 0..settings.starts {
        times.push(first_response(runtime, &precompiled)?);
    }
    times.sort_unstable();
    let [least, .., most] = times[..] else {
        return Err("one start says nothing: --starts 2 or more".into());
    };
    let median = times[times.len() / 2];
    let [median_ms, least, most] = [median, least, most].map(|time| time.as_secs_f64() * 1e3);
    let figures = format!("{median_ms:.1} ({least:.1} to {most:.1})");
    ensure!(
        median <= settings.most,
        "{figures} ms, of which the median is more than {:?}",
        settings.most
    );
    Ok(figures)
}

/// Compiles a module by the runtime's command for that. Returns the path of the result.
pub(crate) fn precompile(runtime: Runtime, module: &Path) -> Outcome<PathBuf> {
    let precompiled = module.with_extension(format!("{runtime}.cwasm"));
    let status = Command::new(runtime.path()?)
        .arg("compile")
        .arg(module)
        .arg("-o")
        .arg(&precompiled)
        .status()
        .map_err(|e| format!("{runtime}: {e}"))?;
    ensure!(status.success(), "{runtime} compile failed: {status}");
    Ok(precompiled)
}

fn first_response(runtime: Runtime, precompiled: &Path) -> Outcome<Duration> {
    let address = SocketAddr::from(([127, 0, 0, 1], Runtime::free_port()?));
    let mut command = runtime.command(precompiled, &address.to_string(), &[])?;
    // See ci/lib.sh.
    command.env_remove("RUST_BACKTRACE").stdin(Stdio::null());
    let start = Instant::now();
    let mut child = command.spawn().map_err(|e| format!("{command:?}: {e}"))?;
    let outcome = ask(address, start);
    let took = start.elapsed();
    // An error means that it has ended by itself.
    let _ = child.kill();
    let _ = child.wait();
    outcome.map(|()| took)
}

/// Connects as soon as possible, and receives one response.
fn ask(address: SocketAddr, start: Instant) -> Outcome {
    const PATIENCE: Duration = Duration::from_secs(20);
    let mut client = loop {
        match Client::connect(address) {
            Ok(client) => break client,
            Err(why) => ensure!(start.elapsed() < PATIENCE, "nothing listens: {why}"),
        }
        sleep(Duration::from_micros(200));
    };
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")?;
    client.response()?.check(b"Hello!")
}
