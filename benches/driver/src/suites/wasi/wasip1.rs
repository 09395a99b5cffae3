//! WASI preview 1: ours beside the floor, a naive loop, and hyper on the mio of crates.io and on the shim.

use interop::{Outcome, Runtime, ensure};

use super::contestant::{OUR_SERVER, Server};
use super::{
    AXUM, FLOOR, Goals, HYPER, Idle, OURS, OURS_ASYNC, OURS_TOWER, SHIM, Suite, Times, load,
    memory, quiet, rest,
};
use crate::report::locked;

pub(crate) static WASIP1: Suite = Suite {
    name: "wasip1",
    runtimes: &[Runtime::Wasmtime36, Runtime::Wasip1Host, Runtime::Wasmi],
    servers: &[
        Server {
            reports_memory: false,
            ..Server::new(FLOOR, &["--package", "wasip1-servers", "--bin", "floor"])
        },
        Server {
            reports_memory: false,
            ..Server::new("naive", &["--package", "wasip1-servers", "--bin", "naive"])
        },
        Server::new(HYPER, &["--package", "wasip1-servers", "--bin", "hyper"]),
        Server {
            workspace: SHIM_WORKSPACE,
            ..Server::new(SHIM, &["--bin", "hyper_on_shim"])
        },
        OUR_SERVER,
        Server {
            only: &[load::ASYNC],
            ..Server::new(OURS_ASYNC, &["--package", "ours", "--bin", "ours_async"])
        },
        Server {
            only: &[load::AXUM_APP],
            ..Server::new(
                OURS_TOWER,
                &["--package", "ours-tower", "--bin", "ours_tower"],
            )
        },
        Server {
            workspace: SHIM_WORKSPACE,
            only: &[load::AXUM_APP],
            ..Server::new(AXUM, &["--bin", "axum_on_shim"])
        },
    ],
    scenarios: &[
        (rest::SCENARIO, rest::run),
        (load::MANY, load::run_many),
        (load::ONE, load::run_one),
        (load::ONE_CORE, load::run_one_core),
        (load::ASYNC, load::run_async),
        (load::AXUM_APP, load::run_axum),
        (load::MIO, load::run_mio),
        (load::MIO_SLEEP, load::run_mio_sleep),
        (load::MIO_ONE_CORE, load::run_mio_one_core),
        (quiet::SCENARIO, quiet::run),
        (memory::SCENARIO, memory::run),
    ],
    idle: Idle {
        rest: &[0, 100, 5_000],
        load: &[0, 1_000, 5_000],
        quiet: &[100, 1_000, 5_000],
        memory: 5_000,
    },
    goals: Goals {
        runtime: Runtime::Wasmtime36,
        times: &[
            Times::new(load::MANY, 0, OURS, FLOOR, 1.25),
            Times::new(load::MANY, 0, OURS, HYPER, 0.5),
            Times::new(load::ONE, 0, OURS, FLOOR, 1.15),
            Times::new(load::ONE_CORE, 0, OURS, HYPER, 0.5),
            Times::new(load::ASYNC, 0, OURS_ASYNC, SHIM, 0.85),
            Times::new(load::ASYNC, 0, OURS_ASYNC, OURS, 1.12),
            Times::new(load::AXUM_APP, 0, OURS_TOWER, AXUM, 0.85),
            Times::new(load::MIO, 0, SHIM, HYPER, 1.0 / 1.3),
            Times::new(load::MIO, 500, SHIM, HYPER, 1.0 / 10.0),
            Times::new(load::MIO_SLEEP, 0, SHIM, HYPER, 1.0 / 1.3),
            Times::new(load::MIO_SLEEP, 500, SHIM, HYPER, 1.0 / 10.0),
            Times::new(load::MIO_ONE_CORE, 0, SHIM, HYPER, 1.0 / 1.3),
            Times::new(load::MIO_ONE_CORE, 500, SHIM, HYPER, 1.0 / 10.0),
        ],
        beside_idle: 1.25,
    },
    versions,
};

const SHIM_WORKSPACE: &str = "benches/wasip1-shim";

/// The shim is compared with the mio of crates.io under the same hyper on the same tokio.
fn versions() -> Outcome<Vec<(String, String)>> {
    let same = ["hyper", "tokio"];
    let (versions, on_the_shim) = (locked("benches", &same)?, locked(SHIM_WORKSPACE, &same)?);
    ensure!(
        versions == on_the_shim,
        "{SHIM_WORKSPACE}/Cargo.lock has {on_the_shim:?}, and benches/Cargo.lock {versions:?}: \
         `cargo update --precise` makes them alike"
    );
    Ok([versions, locked("benches", &["mio"])?].concat())
}
