//! The table of the runtimes.

use super::{Runtime, Wasi};

/// The runtimes, in the order of the columns. This is the only list of them: scripts get the names from `ci/run
/// runtimes`, and a check selects its runtimes by their properties.
pub(super) const TABLE: [Row; 10] = [
    Row {
        runtime: Runtime::Native,
        name: "native",
        about: "no runtime: a program of this machine",
        wasi: None,
        run: &[],
        inherits: true,
        properties: &[Property::Usual, Property::Quick],
    },
    Row {
        runtime: Runtime::Wasmi,
        name: "wasmi",
        about: "an interpreter, installed in a minute or two",
        wasi: Some(Wasi::Preview1),
        run: &["run", "--tcplisten", ADDRESS],
        inherits: false,
        properties: &[Property::Usual, Property::Quick, Property::Interprets],
    },
    Row {
        runtime: Runtime::Wasmtime36,
        name: "wasmtime36",
        about: "the last long-term release with the sockets of preview 1",
        wasi: Some(Wasi::Preview1),
        run: &["run", "-S", "preview2=n", "-S", "tcplisten=ADDRESS"],
        inherits: false,
        properties: &[Property::Usual, Property::Precompiles],
    },
    Row {
        runtime: Runtime::Wasmtime48,
        name: "wasmtime48",
        about: "the long-term release with the sockets of 0.2",
        wasi: Some(Wasi::Preview2),
        run: INHERIT_NETWORK,
        inherits: false,
        properties: &[Property::Usual, Property::Precompiles],
    },
    Row {
        runtime: Runtime::Wasmtime46,
        name: "wasmtime46",
        about: "0.2 by wasmtime's C API, from Python; only when it is named",
        wasi: Some(Wasi::Preview2),
        run: INHERIT_NETWORK,
        inherits: false,
        properties: &[],
    },
    Row {
        runtime: Runtime::Wasmtime47,
        name: "wasmtime47",
        about: "0.2 by wasmtime's C API, from Python; only when it is named",
        wasi: Some(Wasi::Preview2),
        run: INHERIT_NETWORK,
        inherits: false,
        properties: &[],
    },
    Row {
        runtime: Runtime::Jco,
        name: "jco",
        about: "components in Node, which has to be there; only when it is named",
        wasi: Some(Wasi::Preview2),
        run: &["run"],
        inherits: true,
        properties: &[Property::DropsEarly, Property::Forks],
    },
    Row {
        runtime: Runtime::Wasip1Host,
        name: "wasip1-host",
        about: "preview 1 with sockets on the crate wasmtime 48, see shim/host",
        wasi: Some(Wasi::Preview1),
        run: &["--listen", ADDRESS],
        inherits: false,
        properties: &[Property::Usual, Property::Caches],
    },
    Row {
        runtime: Runtime::Wasip1HostEdge,
        name: "wasip1-host-edge",
        about: "the same with --edge, for programs on the mio of crates.io; only when it is named",
        wasi: Some(Wasi::Preview1),
        run: &["--edge", "--listen", ADDRESS],
        inherits: false,
        properties: &[Property::Caches, Property::RunsRegistryMio],
    },
    Row {
        runtime: Runtime::WazeroLike,
        name: "wazero-like",
        about: "a host with the habits of wazero, see ci/wazero-like",
        wasi: Some(Wasi::Preview1),
        run: &["run", "-listen=ADDRESS"],
        inherits: false,
        properties: &[Property::Usual, Property::Interprets, Property::Blind],
    },
];

/// The arguments of wasmtime for a component that serves.
const INHERIT_NETWORK: &[&str] = &[
    "run",
    "-S",
    "inherit-network",
    "--env",
    "MINI_HTTP_ADDR=ADDRESS",
];

/// The placeholder for the server's address in the arguments of a runtime.
pub(super) const ADDRESS: &str = "ADDRESS";

/// What the checks know about a runtime.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) runtime: Runtime,
    /// The name on the command line, in the tables, and for `ci/runtime`.
    pub(super) name: &'static str,
    /// For the help.
    pub(super) about: &'static str,
    pub(super) wasi: Option<Wasi>,
    /// The arguments of the runtime, before those for variables and the program. With these it listens at
    /// [`ADDRESS`], as in the README.
    pub(super) run: &'static [&'static str],
    /// Whether the program sees the environment. If not, variables are arguments of the runtime.
    pub(super) inherits: bool,
    pub(super) properties: &'static [Property],
}

/// The properties in which runtimes differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Property {
    /// Checks run in it if no runtime is named.
    Usual,
    /// Installed within a minute or two, so it is used for a first run of the tests.
    Quick,
    /// Slow, because it is an interpreter.
    Interprets,
    /// Can compile a module before it is started.
    Precompiles,
    /// Keeps the modules that it has compiled.
    Caches,
    /// Programs on the mio of crates.io work in it.
    RunsRegistryMio,
    /// See [`Runtime::drops_early`].
    DropsEarly,
    /// See [`Runtime::forks`].
    Forks,
    /// See [`Runtime::is_blind`].
    Blind,
}
