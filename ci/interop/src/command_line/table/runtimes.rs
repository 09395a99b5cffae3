//! Checks about WASI runtimes: the shim, hosts, what a runtime does, and the documents, whose commands need runtimes.

use super::{on_the_shim, preview1, preview1_in_wasmtime, preview2_in_wasmtime};
use crate::command_line::call::Call;
use crate::command_line::check::{Check, Run, flag, option};
use crate::{
    Outcome, Report, Runtime, documents, ensure, probe, registry_mio, shim_programs, websocket,
};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "shim",
        about: "the mio shim: lints, its own tests, and everything that shim-programs runs",
        details: "In wasmtime36 also compared with the mio of crates.io. Natively the programs are only compiled,\n\
                  and only the check websocket runs.",
        options: &[],
        can_run: on_the_shim,
        runs_by_default: |it| on_the_shim(it) && it.is_usual(),
        run: Run::Script("ci/checks/shim"),
    },
    Check {
        name: "shim-programs",
        about: "the programs of examples/hyper against curl and raw sockets",
        details: "Release builds. Natively they use the mio of crates.io.",
        options: &[],
        can_run: on_the_shim,
        runs_by_default: |it| on_the_shim(it) && it.is_usual(),
        run: Run::Report(|call| Ok(shim_programs::run(&call.ready()?))),
    },
    Check {
        name: "websocket",
        about: "the WebSocket of examples/hyper, with clients that keep the rules or break them",
        details: "Part of shim-programs, except natively.",
        options: &[],
        can_run: on_the_shim,
        runs_by_default: |it| on_the_shim(it) && it.is_usual(),
        run: Run::Report(|call| Ok(websocket::run(&call.ready()?))),
    },
    Check {
        name: "registry-mio",
        about: "hyper on the mio shim, and on the mio of crates.io",
        details: "What each costs at rest, what resets do to it, and how many connections it can have. On the mio of\n\
                  crates.io, failures count only in wasip1-host-edge; elsewhere they are just shown. In\n\
                  wasip1-host-edge, axum with server-sent events, and WebSockets, also run on the mio of crates.io.",
        options: &[
            option("--resets", "N", "2000", "connections that are reset"),
            option("--seconds", "N", "5", "how long to measure at rest"),
        ],
        can_run: preview1,
        runs_by_default: |it| preview1(it) && it.precompiles() || it.runs_registry_mio(),
        run: Run::Report(registry_mio),
    },
    Check {
        name: "wasip1-host",
        about: "the host of shim/host: lints, its tests, and guests in C, Rust and Go",
        details: "Hostile guests are among the tests; HOST_SEEDS and HOST_CALLS set how many calls they make. The\n\
                  host is built in a folder of the cache. What can't be installed (clang, Go, systemd) is left out,\n\
                  and listed at the end.",
        options: &[],
        can_run: |it| it == Runtime::Wasip1Host,
        runs_by_default: |it| it == Runtime::Wasip1Host,
        run: Run::Script("ci/checks/wasip1-host"),
    },
    Check {
        name: "host",
        about: "examples/host, a program that embeds wasmtime: lints, tests, and curl",
        details: "It is built in a folder of the cache, so that the crate wasmtime is compiled once for all\n\
                  checkouts.",
        options: &[],
        can_run: preview2_in_wasmtime,
        runs_by_default: preview2_in_wasmtime,
        run: Run::Script("ci/checks/host"),
    },
    Check {
        name: "documents",
        about: "runs the commands of README.md, docs and all other pages, as they stand there",
        details: "In the checkout or next to it, at 127.0.0.1:3000. The first line of a block says how it is run:\n\
                  ```sh                  in the bash of the page; a command that fails is an error\n\
                  ```sh server           starts a server, which runs until the next one; also `at ADDRESS`\n\
                  ```sh with RUNTIME     with this runtime on the PATH\n\
                  ```sh needs PROGRAM    left out if there is no such program\n\
                  ```sh checked by NAME  by that check, not by this one\n\
                  ```sh not run: REASON  only listed\n\
                  ```text output         what the commands before it must have printed\n\
                  ```rust,program        is written to src/main.rs; `rust,library` to src/lib.rs",
        options: &[option(
            "--only",
            "WORDS",
            "",
            "only pages whose paths contain this",
        )],
        // The pages need other runtimes, too. This one stands for them, so that each page is followed once.
        can_run: preview1_in_wasmtime,
        runs_by_default: preview1_in_wasmtime,
        run: Run::Report(|call| {
            let only: String = call.value("--only")?;
            Ok(documents::run(&call.ready()?, &only))
        }),
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
        can_run: preview1,
        runs_by_default: |it| preview1(it) && it.is_usual(),
        run: Run::Prints(probe),
    },
    Check {
        name: "probe-docs",
        about: "makes docs/runtimes/RUNTIME.md with the check `probe`",
        details: "",
        options: &[],
        can_run: preview1,
        runs_by_default: |it| preview1(it) && it.is_usual(),
        run: Run::Script("ci/checks/probe-docs"),
    },
];

fn registry_mio(call: &Call) -> Outcome<Report> {
    let settings = registry_mio::Settings {
        resets: call.value("--resets")?,
        seconds: call.value("--seconds")?,
    };
    Ok(registry_mio::run(&call.ready()?, settings))
}

fn probe(call: &Call) -> Outcome {
    let address: String = call.value("--address")?;
    if !address.is_empty() {
        let address = address
            .parse()
            .map_err(|_| format!("{address} is not an address like 127.0.0.1:3000"))?;
        return probe::be_client(address);
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
