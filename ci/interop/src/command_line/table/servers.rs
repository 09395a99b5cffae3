//! Checks of the server and its examples.

use std::time::Duration;

use super::{
    any, in_wasi, is_component_host, is_in_fleets, native, native_or_preview2, serves_wasi_http,
};
use crate::command_line::call::Call;
use crate::command_line::check::{Check, Run, flag, option};
use crate::runtime::Wasi;
use crate::{
    Outcome, Report, Runtime, abuse, addresses, axum, browser, clients, conformance, curl_matrix,
    dead_peer, examples, files, first_run, fleet, idle, own_project, proxy, redis, resets, restart,
    stop, streaming, tls, unit_tests, units, wasi_http,
};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "test",
        about: "what must pass before a commit; also ci/test",
        details: "Format, lints, documentation, unit and integration tests natively, unit tests inside each WASI\n\
                  runtime, first-run, curl-matrix and conformance.",
        options: &[],
        can_run: Runtime::is_usual,
        runs_by_default: Runtime::is_quick,
        run: Run::Script("ci/test"),
    },
    Check {
        name: "all",
        about: "everything that CI runs for each runtime; also .ci/run",
        details: "The check `test`, and everything that takes longer. Each check runs in those of the runtimes in\n\
                  which it runs by default.",
        options: &[],
        can_run: Runtime::is_usual,
        runs_by_default: Runtime::is_usual,
        run: Run::Script(".ci/run"),
    },
    Check {
        name: "unit-tests",
        about: "the library's unit tests inside a WASI runtime",
        details: "",
        options: &[],
        can_run: in_wasi,
        runs_by_default: in_wasi,
        run: Run::Report(|call| Ok(unit_tests::run(&call.ready()?))),
    },
    Check {
        name: "first-run",
        about: "the README's `cargo run --example hello`, from two folders, and curl",
        details: "",
        options: &[],
        can_run: Runtime::is_usual,
        runs_by_default: Runtime::is_usual,
        run: Run::Report(|call| Ok(first_run::run(&call.ready()?))),
    },
    Check {
        name: "own-project",
        about: "a crate outside the checkout, made with the commands of the README",
        details: "Its program is ci/interop/own_project.rs.",
        options: &[],
        can_run: any,
        runs_by_default: Runtime::is_usual,
        run: Run::Report(|call| Ok(own_project::run(&call.ready()?))),
    },
    Check {
        name: "curl-matrix",
        about: "what curl and raw sockets see of the example `echo`",
        details: "",
        options: &[flag("--release", "with a release build")],
        can_run: any,
        runs_by_default: Runtime::is_usual,
        run: Run::Report(|call| Ok(curl_matrix::run(&call.ready()?, call.has("--release")))),
    },
    Check {
        name: "conformance",
        about: "the cases of tests/conformance over sockets",
        details: "Without cases that take longer than a second, and in WASI without those in which the handler\n\
                  panics, because that ends the process there.",
        options: &[],
        can_run: any,
        runs_by_default: Runtime::is_usual,
        run: Run::Report(|call| Ok(conformance::run(&call.ready()?))),
    },
    Check {
        name: "files",
        about: "the example `download`, which reads a folder while it serves",
        details: "",
        options: &[],
        can_run: any,
        runs_by_default: Runtime::is_usual,
        run: Run::Report(|call| Ok(files::run(&call.ready()?))),
    },
    Check {
        name: "addresses",
        about: "several addresses, Unix domain sockets, and the client's address behind HAProxy and nginx",
        details: "Its program is the example `addresses`.",
        options: &[],
        can_run: Runtime::is_usual,
        runs_by_default: |it| it.is_usual() && it != Runtime::Wasip1Host && !it.is_blind(),
        run: Run::Report(|call| Ok(addresses::run(&call.ready()?))),
    },
    Check {
        name: "idle",
        about: "processor time of a server with idle connections (Linux)",
        details: "In ticks of 10 ms. Release builds of the example `echo`, and of `async_server`, whose connections\n\
                  wait for a handler or the next event.",
        options: &[
            option("--connections", "N", "50", "idle connections"),
            option("--seconds", "N", "10", "how long to measure"),
            option("--most-ticks", "N", "2", "fails with more ticks"),
        ],
        can_run: any,
        runs_by_default: Runtime::is_usual,
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
        can_run: any,
        runs_by_default: Runtime::is_usual,
        run: Run::Report(resets),
    },
    Check {
        name: "stop",
        about: "which requests a server still serves when it is stopped, and when it ends",
        details: "Its program is the example stop_server.",
        options: &[],
        can_run: Runtime::is_usual,
        runs_by_default: Runtime::is_usual,
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
        can_run: native,
        runs_by_default: native,
        run: Run::Report(restart),
    },
    Check {
        name: "units",
        about: "the systemd units of examples/deploy, under systemd-socket-activate and a systemd (Linux)",
        details: "Its program is the example `service`.",
        options: &[],
        can_run: native,
        runs_by_default: native,
        run: Run::Report(|_| Ok(units::run())),
    },
    Check {
        name: "fleet",
        about: "four instances behind HAProxy and behind nginx: rolling restarts, a kill, a stall (Linux)",
        details: "Its program is the example `service`, with the configurations of examples/deploy. No request may\n\
                  fail but those under way at an instance that is killed, and no POST may be served twice. All\n\
                  fleets run side by side.",
        options: &[],
        can_run: is_in_fleets,
        runs_by_default: is_in_fleets,
        run: Run::Report(|call| Ok(fleet::run(&call.ready()?))),
    },
    Check {
        name: "wasi-http",
        about: "components that `export!` has made, in `wasmtime serve` and jco's `serve`",
        details: "The curl matrix without its cases about connections, streams with backpressure, trailers, clients\n\
                  that are gone, the examples `everywhere`, `sse`, `upload` and `axum`, 1,000 requests at 64\n\
                  connections, and two hosts behind HAProxy. In jco, which runs only when it is named, clients that\n\
                  are gone, `upload` and the last two are left out.",
        options: &[],
        can_run: serves_wasi_http,
        runs_by_default: is_component_host,
        run: Run::Report(|call| Ok(wasi_http::run(&call.ready()?))),
    },
    Check {
        name: "redis",
        about: "instances of the example `chat` share their messages over Redis",
        details: "Redis is Debian's.",
        options: &[],
        can_run: native,
        runs_by_default: native,
        run: Run::Report(|_| Ok(redis::run())),
    },
    Check {
        name: "async",
        about: "handlers that are futures, and bodies that stream",
        details: "Its programs are the examples async_server, which is in tests/servers, upload and download\n\
                  (release builds). A file of 500 MiB goes to the disk and back; in an interpreter, of 50 MiB.",
        options: &[],
        can_run: Runtime::is_usual,
        runs_by_default: Runtime::is_usual,
        run: Run::Report(|call| {
            let settings = streaming::Settings { release: true };
            Ok(streaming::run(&call.ready()?, settings))
        }),
    },
    Check {
        name: "upgrade",
        about: "upgraded connections: WebSocket with clients of Python and Node, tunnels, floods, half-closes",
        details: "Its programs are the example package websocket, and async_server, which is in tests/servers\n\
                  (release builds). Each client exchanges 10,000 messages. It needs Python 3 and Node 20 or later.",
        options: &[],
        can_run: any,
        runs_by_default: Runtime::is_usual,
        run: Run::Report(|call| Ok(crate::upgrade::run(&call.ready()?))),
    },
    Check {
        name: "examples",
        about: "the packages of the folder examples: lints, tests, and a first response",
        details: "Release builds, which other checks use, too.",
        options: &[],
        can_run: Runtime::is_usual,
        runs_by_default: Runtime::is_usual,
        run: Run::Report(|call| Ok(examples::run(&call.ready()?))),
    },
    Check {
        name: "browser",
        about: "the pages of examples in a headless Chromium",
        details: "The examples sse, chat, websocket and upload. It needs Python 3, and Chromium, a Debian package,\n\
                  or Google Chrome.",
        options: &[],
        can_run: Runtime::is_usual,
        // To a page, wasip1-host and interpreters are like the other runtimes, so they would find nothing more.
        runs_by_default: |it| it.is_usual() && !it.interprets() && it != Runtime::Wasip1Host,
        run: Run::Report(|call| Ok(browser::run(&call.ready()?))),
    },
    Check {
        name: "clients",
        about: "curl, and libraries of Python and Node, against streams",
        details: "Their versions are in ci/versions; they are installed in the cache. The servers are async_server\n\
                  of tests/servers, and the examples sse and chat (release builds).",
        options: &[],
        can_run: Runtime::is_usual,
        runs_by_default: |it| it.is_usual() && it != Runtime::Wasip1Host,
        run: Run::Report(|call| Ok(clients::run(&call.ready()?))),
    },
    Check {
        name: "axum",
        about: "an axum app responds on this library as it does on tokio and hyper",
        details: "The app is that of examples/axum, with more routes; release builds. The responses are compared\n\
                  byte by byte, except for what ci/interop/src/axum/response.rs lists. In WASI the handler that\n\
                  panics is left out, because that ends the process there. The check also fails if the example is\n\
                  built with tokio.",
        options: &[],
        can_run: Runtime::is_usual,
        runs_by_default: Runtime::is_usual,
        run: Run::Report(|call| Ok(axum::run(&call.ready()?))),
    },
    Check {
        name: "proxy",
        about: "the example `proxy`: bodies that stream both ways, and peers that disconnect",
        details: "Release builds. Not on preview 1, which has no outgoing connections.",
        options: &[],
        can_run: native_or_preview2,
        runs_by_default: native_or_preview2,
        run: Run::Report(|call| Ok(proxy::run(&call.ready()?))),
    },
    Check {
        name: "tls",
        about: "the example `tls`, with curl",
        details: "",
        options: &[],
        can_run: native,
        runs_by_default: native,
        run: Run::Report(|call| Ok(tls::run(&call.ready()?))),
    },
    Check {
        name: "abuse",
        about: "thousands of hostile clients against the servers `stats` and `async_server` (Linux)",
        details: "Meanwhile new clients must be served, memory must stay bounded, and the counters must have the\n\
                  reason why each connection was closed (release build). A few minutes for each runtime.",
        options: &[option(
            "--only",
            "WORDS",
            "",
            "only scenarios whose names contain this",
        )],
        can_run: Runtime::is_usual,
        // wasip1-host would take three minutes more. Its own checks have hostile guests.
        runs_by_default: |it| it.is_usual() && !it.interprets() && it != Runtime::Wasip1Host,
        run: Run::Report(|call| {
            let only: String = call.value("--only")?;
            Ok(abuse::run(&call.ready()?, &only, true))
        }),
    },
    Check {
        name: "dead-peer",
        about: "clients that vanish without a packet, while they wait for a response (Linux, 70 s)",
        details: "Keep-alive probes must find them: natively and on 0.2. The servers and clients are in a network\n\
                  namespace of their own. So it needs the programs unshare and ip, and the right to make a\n\
                  namespace.",
        options: &[],
        can_run: any,
        runs_by_default: |it| it.wasi() != Some(Wasi::Preview1) && it.is_usual(),
        run: Run::Report(|call| dead_peer::run(&call.ready()?)),
    },
    Check {
        name: "access-log",
        about: "the lines of access logs under abuse, counted against what the clients know",
        details: "Each request has one line in each of two logs of the example `stats`, Combined and JSON (release\n\
                  build). Independent parsers read them and the metrics: apachelogs and Prometheus' own, from PyPI.\n\
                  Natively also a log on a full disk.",
        options: &[
            option("--rounds", "N", "24", "rounds of each of eight clients"),
            option("--seed", "N", "1", "seed of what the clients do"),
        ],
        can_run: Runtime::is_usual,
        runs_by_default: |it| it.is_usual() && !it.is_blind() && it != Runtime::Wasip1Host,
        run: Run::Report(|call| {
            let settings = crate::access_log::Settings {
                rounds: call.value("--rounds")?,
                seed: call.value("--seed")?,
            };
            Ok(crate::access_log::run(&call.ready()?, settings))
        }),
    },
];

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
