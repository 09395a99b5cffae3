//! The checks, in the order of the help.

use std::time::Duration;

use super::call::Call;
use super::check::{Check, Run, flag, option, path};
use crate::runtime::Wasi;
use crate::{
    Outcome, Report, Runtime, abuse, addresses, browser, clients, conformance, dead_peer, ensure,
    examples, files, first_response, fleet, idle, matrix, own_project, probe, registry_mio, resets,
    restart, runner, shared, shim, stop, streaming, unit_tests, units, websocket,
};
use crate::{axum, proxy, tls};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "test",
        about: "what must pass before a commit; also ci/test",
        details: "Format, lints, documentation, unit and integration tests natively, unit tests inside each WASI\n\
                  runtime, first-run, curl-matrix and conformance.",
        options: &[],
        can: Runtime::is_usual,
        does: Runtime::is_quick,
        run: Run::Script("ci/test"),
    },
    Check {
        name: "all",
        about: "everything that CI runs; also .ci/run",
        details: "The check `test`, and everything that takes longer. Each check runs in those of the runtimes in which\n\
                  it runs if none is named.",
        options: &[],
        can: Runtime::is_usual,
        does: Runtime::is_usual,
        run: Run::Script(".ci/run"),
    },
    Check {
        name: "unit-tests",
        about: "the library's unit tests inside a WASI runtime",
        details: "",
        options: &[],
        can: in_wasi,
        does: in_wasi,
        run: Run::Report(|call| Ok(unit_tests::run(&call.ready()?))),
    },
    Check {
        name: "first-run",
        about: "the README's `cargo run --example hello`, from two folders, and curl",
        details: "",
        options: &[],
        can: Runtime::is_usual,
        does: Runtime::is_usual,
        run: Run::Report(|call| Ok(runner::run(&call.ready()?))),
    },
    Check {
        name: "own-project",
        about: "a crate outside the checkout, made with the commands of the README",
        details: "Its program is ci/interop/own_project.rs.",
        options: &[],
        can: any,
        does: Runtime::is_usual,
        run: Run::Report(|call| Ok(own_project::run(&call.ready()?))),
    },
    Check {
        name: "curl-matrix",
        about: "what curl and raw sockets see of the example `echo`",
        details: "",
        options: &[flag("--release", "with a release build")],
        can: any,
        does: Runtime::is_usual,
        run: Run::Report(|call| Ok(matrix::run(&call.ready()?, call.has("--release")))),
    },
    Check {
        name: "conformance",
        about: "the cases of tests/conformance over sockets",
        details: "Without cases that take longer than a second, and in WASI without those in which the handler panics,\n\
                  because that ends the process there.",
        options: &[],
        can: any,
        does: Runtime::is_usual,
        run: Run::Report(|call| Ok(conformance::run(&call.ready()?))),
    },
    Check {
        name: "files",
        about: "the example `download`, which reads a folder while it serves",
        details: "",
        options: &[],
        can: any,
        does: Runtime::is_usual,
        run: Run::Report(|call| Ok(files::run(&call.ready()?))),
    },
    Check {
        name: "addresses",
        about: "several addresses, Unix domain sockets, and the client's address behind HAProxy and nginx",
        details: "Its program is the example `addresses`.",
        options: &[],
        can: Runtime::is_usual,
        does: |it| it.is_usual() && it != Runtime::Wasip1Host && !it.is_blind(),
        run: Run::Report(|call| Ok(addresses::run(&call.ready()?))),
    },
    Check {
        name: "idle",
        about: "processor time of a server with idle connections (Linux)",
        details: "In ticks of 10 ms, of release builds: of the example `echo`, and of `async_server`, whose connections wait for a\n\
                  handler or the next event.",
        options: &[
            option("--connections", "N", "50", "idle connections"),
            option("--seconds", "N", "10", "how long to measure"),
            option("--most-ticks", "N", "2", "fails with more ticks"),
        ],
        can: any,
        does: Runtime::is_usual,
        run: Run::Report(idle),
    },
    Check {
        name: "resets",
        about: "connections that are reset at random moments",
        details: "Meanwhile and afterwards, a well-behaved client must be served (release build).",
        options: &[
            option("--count", "N", "10000", "connections"),
            option("--seed", "N", "1", "seed of the random moments"),
            option("--limit-seconds", "N", "300", "fails if it takes longer"),
        ],
        can: any,
        does: Runtime::is_usual,
        run: Run::Report(resets),
    },
    Check {
        name: "stop",
        about: "which requests a server still serves when it is stopped, and when it ends",
        details: "Its program is the example stop_server.",
        options: &[],
        can: Runtime::is_usual,
        does: Runtime::is_usual,
        run: Run::Report(|call| Ok(stop::run(&call.ready()?, stop::Settings { release: true }))),
    },
    Check {
        name: "restart",
        about: "the example `restart` replaces itself under load, and loses no request (Linux)",
        details: "With 4 clients that open a connection for each request, 4 that keep theirs, and a slow download.",
        options: &[
            option("--restarts", "N", "10", "how often it is restarted"),
            option(
                "--requests",
                "N",
                "20000",
                "how many requests there are at least",
            ),
        ],
        can: native,
        does: native,
        run: Run::Report(restart),
    },
    Check {
        name: "units",
        about: "the systemd units of examples/deploy, under systemd-socket-activate (Linux)",
        details: "Its program is the example `service`.",
        options: &[],
        can: native,
        does: native,
        run: Run::Report(|_| Ok(units::run())),
    },
    Check {
        name: "fleet",
        about: "four instances behind HAProxy and behind nginx: rolling restarts, a kill, a stall (Linux)",
        details: "Of the example `service`, with the configurations of examples/deploy. No request may fail but those under\n\
                  way at an instance that is killed, and no POST may be served twice. All fleets run side by side.",
        options: &[],
        can: is_in_fleets,
        does: is_in_fleets,
        run: Run::Report(|call| Ok(fleet::run(&call.ready()?))),
    },
    Check {
        name: "redis",
        about: "instances of the example `chat` share their messages over Redis",
        details: "Redis is Debian's.",
        options: &[],
        can: native,
        does: native,
        run: Run::Report(|_| Ok(shared::run())),
    },
    Check {
        name: "async",
        about: "handlers that are futures, and bodies that stream",
        details: "Its programs are the examples async_server, which is in tests/servers, upload and download (release\n\
                  builds). A file of 500 MiB goes to the disk and back, where the runtime interprets 50 MiB.",
        options: &[],
        can: Runtime::is_usual,
        does: Runtime::is_usual,
        run: Run::Report(|call| {
            let settings = streaming::Settings { release: true };
            Ok(streaming::run(&call.ready()?, settings))
        }),
    },
    Check {
        name: "upgrade",
        about: "upgraded connections: WebSocket with clients of Python and Node, tunnels, floods, half-closes",
        details: "Its programs are the example package websocket, and async_server, which is in tests/servers (release\n\
                  builds). Each client exchanges 10,000 messages. It needs Python 3 and Node 20 or later.",
        options: &[],
        can: any,
        does: Runtime::is_usual,
        run: Run::Report(|call| Ok(crate::upgrade::run(&call.ready()?))),
    },
    Check {
        name: "examples",
        about: "the packages of the folder examples: lints, tests, and a first response",
        details: "Release builds, which other checks use, too.",
        options: &[],
        can: Runtime::is_usual,
        does: Runtime::is_usual,
        run: Run::Report(|call| Ok(examples::run(&call.ready()?))),
    },
    Check {
        name: "browser",
        about: "the pages of examples in a headless Chromium",
        details: "The examples sse, chat and upload. It needs Python 3, and Chromium, a Debian package, or Google Chrome.",
        options: &[],
        can: Runtime::is_usual,
        // The others differ in nothing that a page could see.
        does: |it| it.is_usual() && !it.interprets() && it != Runtime::Wasip1Host,
        run: Run::Report(|call| Ok(browser::run(&call.ready()?))),
    },
    Check {
        name: "clients",
        about: "curl, and libraries of Python and Node, against streams",
        details: "Their versions are in ci/versions; they are installed in the cache. The servers are async_server of\n\
                  tests/servers, and the examples sse and chat (release builds).",
        options: &[],
        can: Runtime::is_usual,
        does: |it| it.is_usual() && it != Runtime::Wasip1Host,
        run: Run::Report(|call| Ok(clients::run(&call.ready()?))),
    },
    Check {
        name: "axum",
        about: "an axum app responds on this library as it does on tokio and hyper",
        details: "The app is that of examples/axum, with more routes; release builds. The responses are compared byte by byte, except\n\
                  for what ci/interop/src/axum/response.rs lists. In WASI without the handler that panics, because\n\
                  that ends the process there. Also that the example is built without tokio.",
        options: &[],
        can: Runtime::is_usual,
        does: Runtime::is_usual,
        run: Run::Report(|call| Ok(axum::run(&call.ready()?))),
    },
    Check {
        name: "proxy",
        about: "the example `proxy`: bodies that stream both ways, and peers that disconnect",
        details: "Release builds. Not on preview 1, which has no outgoing connections.",
        options: &[],
        can: native_or_preview2,
        does: native_or_preview2,
        run: Run::Report(|call| Ok(proxy::run(&call.ready()?))),
    },
    Check {
        name: "tls",
        about: "the example `tls`, with curl",
        details: "",
        options: &[],
        can: native,
        does: native,
        run: Run::Report(|call| Ok(tls::run(&call.ready()?))),
    },
    Check {
        name: "abuse",
        about: "thousands of hostile clients against the example `stats` (Linux)",
        details: "Meanwhile new clients must be served, memory must stay bounded, and the counters must have the reason\n\
                  why each connection was closed (release build). A few minutes for each runtime.",
        options: &[option(
            "--only",
            "WORDS",
            "",
            "only scenarios whose names contain this",
        )],
        can: Runtime::is_usual,
        // wasip1-host would take three minutes more. Its own checks have hostile guests.
        does: |it| it.is_usual() && !it.interprets() && it != Runtime::Wasip1Host,
        run: Run::Report(|call| {
            let only: String = call.value("--only")?;
            Ok(abuse::run(&call.ready()?, &only, true))
        }),
    },
    Check {
        name: "dead-peer",
        about: "clients that vanish without a packet, while they wait for a response (Linux, 70 s)",
        details: "Keep-alive probes must find them: natively and on 0.2. The servers and clients are in a network namespace of\n\
                  their own, so it needs root, unshare and ip.",
        options: &[],
        can: any,
        does: |it| it.wasi() != Some(Wasi::Preview1) && it.is_usual(),
        run: Run::Report(|call| dead_peer::run(&call.ready()?)),
    },
    Check {
        name: "access-log",
        about: "the lines of access logs under abuse, counted against what the clients know",
        details: "Each request has one line in each of two logs of the example `stats`, Combined and JSON (release build).\n\
                  Independent parsers read them and the metrics: apachelogs and Prometheus' own, from PyPI. Natively also\n\
                  a log on a full disk.",
        options: &[
            option("--rounds", "N", "24", "what each of eight clients does"),
            option("--seed", "N", "1", "seed of that"),
        ],
        can: Runtime::is_usual,
        does: |it| it.is_usual() && !it.is_blind() && it != Runtime::Wasip1Host,
        run: Run::Report(|call| {
            let settings = crate::access_log::Settings {
                rounds: call.value("--rounds")?,
                seed: call.value("--seed")?,
            };
            Ok(crate::access_log::run(&call.ready()?, settings))
        }),
    },
    Check {
        name: "seeds",
        about: "random worlds on the fake runtime: the poller, and the whole event loop",
        details: "In each of the fake's personalities. A failure names the command that replays it.",
        options: &[option("--seeds", "N", "2000", "worlds of each kind")],
        can: none,
        does: none,
        run: Run::Script("ci/checks/seeds"),
    },
    Check {
        name: "fuzz",
        about: "the fuzz targets, each for some seconds",
        details: "It starts with seeds from the conformance cases, earlier findings, and the corpus of earlier runs. It\n\
                  needs a C++ compiler for libFuzzer, but no nightly toolchain: only sanitizers need that, and\n\
                  there is no unsafe code for them to check. A finding is written to fuzz/artifacts. When it is fixed,\n\
                  move it to fuzz/regressions, which `cargo test` replays.",
        options: &[
            option("--seconds", "N", "20", "for each target"),
            option(
                "--targets",
                "NAMES",
                "connection,head,chunked,streaming,proxy",
                "with commas between them",
            ),
        ],
        can: none,
        does: none,
        run: Run::Script("ci/checks/fuzz"),
    },
    Check {
        name: "packages",
        about: "what `cargo publish` would upload",
        details: "Each package is made, unpacked, and built from that alone.",
        options: &[],
        can: none,
        does: none,
        run: Run::Script("ci/checks/packages"),
    },
    Check {
        name: "other-systems",
        about: "that the library compiles for Windows, macOS, FreeBSD, and Linux on ARM",
        details: "With clippy. Nothing is run there.",
        options: &[],
        can: none,
        does: none,
        run: Run::Script("ci/checks/other-systems"),
    },
    Check {
        name: "licences",
        about: "licences and sources of all dependencies, by cargo-deny",
        details: "What is allowed is in deny.toml.",
        options: &[],
        can: none,
        does: none,
        run: Run::Script("ci/checks/licences"),
    },
    Check {
        name: "shim",
        about: "the mio shim: lints, its own tests, and everything that shim-programs runs",
        details: "In wasmtime36 also compared with the mio of crates.io. Natively the programs are only compiled.",
        options: &[],
        can: on_the_shim,
        does: |it| on_the_shim(it) && it.is_usual(),
        run: Run::Script("ci/checks/shim"),
    },
    Check {
        name: "shim-programs",
        about: "the programs of examples/hyper against curl and raw sockets",
        details: "Release builds. Natively they use the mio of crates.io.",
        options: &[],
        can: on_the_shim,
        does: |it| on_the_shim(it) && it.is_usual(),
        run: Run::Report(|call| Ok(shim::run(&call.ready()?))),
    },
    Check {
        name: "websocket",
        about: "the WebSocket of examples/hyper, with clients that keep the rules or break them",
        details: "Part of shim-programs, except natively.",
        options: &[],
        can: on_the_shim,
        does: |it| on_the_shim(it) && it.is_usual(),
        run: Run::Report(|call| Ok(websocket::run(&call.ready()?))),
    },
    Check {
        name: "registry-mio",
        about: "hyper on the mio shim, and on the mio of crates.io",
        details: "What each costs at rest, what resets do to it, and how many connections it can have. What happens to\n\
                  the second is shown, and is no failure but in wasip1-host-edge. There axum with server-sent events,\n\
                  and WebSockets, are checked on it, too.",
        options: &[
            option("--resets", "N", "2000", "connections that are reset"),
            option("--seconds", "N", "5", "how long it is watched at rest"),
        ],
        can: preview1,
        does: |it| preview1(it) && it.precompiles() || it.runs_registry_mio(),
        run: Run::Report(registry_mio),
    },
    Check {
        name: "wasip1-host",
        about: "the host of shim/host: lints, its tests, and guests in C, Rust and Go",
        details: "Hostile guests are among the tests; HOST_SEEDS and HOST_CALLS say how much they try. It is built in a folder\n\
                  of the cache. Compilers that can't be had are left out.",
        options: &[],
        can: |it| it == Runtime::Wasip1Host,
        does: |it| it == Runtime::Wasip1Host,
        run: Run::Script("ci/checks/wasip1-host"),
    },
    Check {
        name: "host",
        about: "the embedder's example, examples/host: lints, tests, and curl",
        details: "It is built in a folder of the cache, so that the crate wasmtime is compiled once for all checkouts.",
        options: &[],
        can: preview2_in_wasmtime,
        does: preview2_in_wasmtime,
        run: Run::Script("ci/checks/host"),
    },
    Check {
        name: "docs-session",
        about: "runs the commands of a page, one after the other in one bash",
        details: "The commands are the blocks ```sh. A command that fails is an error. A block ```sh needs PROGRAM is\n\
                  left out if there is no such program.",
        options: &[path("--page", "FILE", "docs/debugging.md", "the page")],
        can: preview1_in_wasmtime,
        does: preview1_in_wasmtime,
        run: Run::Script("ci/checks/docs-session"),
    },
    Check {
        name: "probe",
        about: "examines a preview 1 runtime with the example `probe` inside it",
        details: "For a runtime that isn't in the list: build the example for wasm32-wasip1, start it there with a\n\
                  listener and a directory, and pass the listener's address. The module then prints the table.",
        options: &[
            flag("--json", "the table as JSON"),
            flag("--markdown", "the table as Markdown"),
            option(
                "--address",
                "HOST:PORT",
                "",
                "address of a probe that was started by hand",
            ),
        ],
        can: preview1,
        does: |it| preview1(it) && it.is_usual(),
        run: Run::Prints(probe),
    },
    Check {
        name: "probe-docs",
        about: "makes docs/runtimes/RUNTIME.md with the check `probe`",
        details: "",
        options: &[],
        can: preview1,
        does: |it| preview1(it) && it.is_usual(),
        run: Run::Script("ci/checks/probe-docs"),
    },
    Check {
        name: "first-response",
        about: "time from the start of a compiled module to the first response",
        details: "It is compiled before, or by an earlier start if the runtime keeps compiled modules. The median counts.\n\
                  Profile wasm-release.",
        options: &[
            option("--starts", "N", "10", "how many times to start it"),
            option("--most-ms", "N", "50", "fails if it takes longer"),
        ],
        can: |it| it.precompiles() || it.caches(),
        does: |it| it.is_usual() && (it.precompiles() || it.caches()),
        run: Run::Report(first_response),
    },
    Check {
        name: "instructions",
        about: "instructions for a request, counted by valgrind (Linux)",
        details: "Of the native server, in user space. Fails if there are over 3 % more than recorded.",
        options: &[
            RECORD,
            path(
                "--program",
                "FILE",
                "",
                "another server, which listens at MINI_HTTP_ADDR; its figures aren't compared",
            ),
            path(
                "--keep",
                "FOLDER",
                "",
                "keeps valgrind's files there, for callgrind_annotate",
            ),
        ],
        can: native,
        does: native,
        run: Run::Gate,
    },
    Check {
        name: "allocations",
        about: "allocations for a request in steady state",
        details: "Of the native server. Fails if there are more than recorded.",
        options: &[RECORD],
        can: native,
        does: native,
        run: Run::Gate,
    },
    Check {
        name: "size",
        about: "the sizes of two modules of preview 1, in the profile wasm-release",
        details: "Fails if they are over 1 % larger than recorded.",
        options: &[RECORD],
        can: preview1_in_wasmtime,
        does: preview1_in_wasmtime,
        run: Run::Gate,
    },
    Check {
        name: "bench-check",
        about: "builds and runs the benchmarks, without measuring (Linux)",
        details: "",
        options: &[],
        can: |it| it.is_usual() && !it.is_blind(),
        does: |it| it.is_usual() && !it.is_blind(),
        run: Run::Script("ci/checks/bench-check"),
    },
];

const RECORD: super::check::Opt = flag("--record", "writes the figures to benches/results");

fn any(_: Runtime) -> bool {
    true
}

/// For a check that has nothing to do with a runtime.
fn none(_: Runtime) -> bool {
    false
}

/// One of each kind: a native program, a module in an interpreter, a component.
fn is_in_fleets(it: Runtime) -> bool {
    matches!(it, Runtime::Native | Runtime::Wasmi | Runtime::Wasmtime48)
}

fn native(it: Runtime) -> bool {
    it.wasi().is_none()
}

fn in_wasi(it: Runtime) -> bool {
    it.is_usual() && it.wasi().is_some()
}

fn preview1(it: Runtime) -> bool {
    it.wasi() == Some(Wasi::Preview1)
}

fn preview1_in_wasmtime(it: Runtime) -> bool {
    preview1(it) && it.precompiles()
}

fn preview2_in_wasmtime(it: Runtime) -> bool {
    it.wasi() == Some(Wasi::Preview2) && it.precompiles()
}

fn native_or_preview2(it: Runtime) -> bool {
    native(it) || preview2_in_wasmtime(it)
}

/// The shim is for preview 1; natively its programs have the mio of crates.io.
fn on_the_shim(it: Runtime) -> bool {
    native(it) || preview1(it)
}

fn idle(call: &Call) -> Outcome<Report> {
    let settings = idle::Settings {
        connections: call.value("--connections")?,
        seconds: call.value("--seconds")?,
        most_ticks: call.value("--most-ticks")?,
        release: true,
    };
    Ok(idle::run(&call.ready()?, settings))
}

fn restart(call: &Call) -> Outcome<Report> {
    let settings = restart::Settings {
        restarts: call.value("--restarts")?,
        requests: call.value("--requests")?,
    };
    Ok(restart::run(settings))
}

fn resets(call: &Call) -> Outcome<Report> {
    let settings = resets::Settings {
        count: call.value("--count")?,
        seed: call.value("--seed")?,
        limit: Duration::from_secs(call.value("--limit-seconds")?),
        release: true,
    };
    Ok(resets::run(&call.ready()?, settings))
}

fn registry_mio(call: &Call) -> Outcome<Report> {
    let settings = registry_mio::Settings {
        resets: call.value("--resets")?,
        seconds: call.value("--seconds")?,
    };
    Ok(registry_mio::run(&call.ready()?, settings))
}

fn first_response(call: &Call) -> Outcome<Report> {
    let settings = first_response::Settings {
        starts: call.value("--starts")?,
        most: Duration::from_millis(call.value("--most-ms")?),
    };
    Ok(first_response::run(&call.ready()?, settings))
}

fn probe(call: &Call) -> Outcome {
    let address: String = call.value("--address")?;
    if !address.is_empty() {
        let address = address
            .parse()
            .map_err(|_| format!("{address} is no address, like 127.0.0.1:3000"))?;
        return probe::serve(address);
    }
    let format = match (call.has("--json"), call.has("--markdown")) {
        (false, false) => "text",
        (true, false) => "json",
        (false, true) => "markdown",
        (true, true) => return Err("--json or --markdown, not both".into()),
    };
    let runtimes = call.ready()?;
    let several = runtimes.len() > 1;
    ensure!(
        format == "text" || !several,
        "which runtime? A document has one table"
    );
    for runtime in runtimes {
        if several {
            println!("\n{runtime}\n");
        }
        print!("{}", probe::run(runtime, format)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root;

    #[test]
    fn each_check_has_a_name_of_its_own() {
        let mut names: Vec<_> = CHECKS.iter().map(|check| check.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CHECKS.len());
    }

    #[test]
    fn a_check_can_run_where_it_does() {
        for check in CHECKS {
            assert!(check.defaults().all(check.can), "{}", check.name);
        }
    }

    #[test]
    fn each_script_exists() {
        for check in CHECKS {
            if let Run::Script(path) = check.run {
                assert!(root().join(path).is_file(), "{path}");
            }
        }
    }

    /// A check that nothing runs would rot.
    #[test]
    fn ci_runs_each_check() {
        let scripts = [
            ".ci/run",
            "ci/test",
            "ci/checks/shim",
            "ci/checks/probe-docs",
        ];
        let scripts = scripts.map(|it| std::fs::read_to_string(root().join(it)).expect(it));
        for Check { name, .. } in CHECKS {
            let called = ["check", "check_beside", "ci/run"].map(|how| format!("{how} {name}"));
            let called = |text: &String| called.iter().any(|it| text.contains(it));
            // `all` is .ci/run itself, and of probe-docs the pages are committed.
            let exempt = ["all", "test", "probe-docs"].contains(name);
            assert!(exempt || scripts.iter().any(called), "{name}");
        }
    }
}
