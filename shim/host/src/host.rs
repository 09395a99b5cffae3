//! A host, before it is started.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::Error;
use crate::listeners::Address;
use crate::running::Running;
use crate::settings::Settings;
use crate::signals;

/// A module of WASI preview 1 that is to serve, and its settings.
///
/// ```no_run
/// use wasip1_host::Host;
///
/// let code = Host::new("hello.wasm").listen("127.0.0.1:3000").run()?;
/// # Ok::<(), wasip1_host::Error>(())
/// ```
pub struct Host {
    pub(crate) module: ModuleSource,
    pub(crate) settings: Settings,
    pub(crate) listen: Vec<Address>,
    pub(crate) inherit: bool,
    pub(crate) reuse_port: bool,
    pub(crate) metrics: Option<String>,
    pub(crate) cache: bool,
}

/// Where the module is.
pub(crate) enum ModuleSource {
    File(PathBuf),
    Bytes(Vec<u8>),
}

impl Host {
    /// A host of the module in this file. The guest's first argument is its name.
    #[must_use]
    pub fn new(module: impl AsRef<Path>) -> Self {
        let path = module.as_ref();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Self::with(ModuleSource::File(path.to_owned()), &name)
    }

    /// A host of a module in memory. `name` is the guest's first argument.
    #[must_use]
    pub fn from_bytes(name: &str, module: impl Into<Vec<u8>>) -> Self {
        Self::with(ModuleSource::Bytes(module.into()), name)
    }

    fn with(module: ModuleSource, name: &str) -> Self {
        let settings = Settings {
            arguments: vec![name.to_owned()],
            ..Settings::default()
        };
        Self {
            module,
            settings,
            listen: Vec::new(),
            inherit: false,
            reuse_port: false,
            metrics: None,
            cache: true,
        }
    }

    /// Adds a listener on this address, which [`start`](Self::start) checks and binds. With port 0 the system chooses
    /// one (see [`Running::addresses`]). Of a host name's addresses the first one is used. The address may be preceded
    /// by a name for `LISTEN_FDNAMES`: `admin=127.0.0.1:3001`.
    #[must_use]
    pub fn listen(mut self, address: &str) -> Self {
        self.listen.push(Address::parse(address));
        self
    }

    /// Passes to the guest the listeners that this process was started with, for instance by systemd (`LISTEN_FDS`).
    /// They come before those of [`listen`](Self::listen). The default is `false`. Only one host of a process can have
    /// them.
    #[must_use]
    pub fn inherit_listeners(mut self, inherit: bool) -> Self {
        self.inherit = inherit;
        self
    }

    /// Lets another process listen on the same addresses (`SO_REUSEPORT`), for instance a successor.
    #[must_use]
    pub fn reuse_port(mut self, reuse: bool) -> Self {
        self.reuse_port = reuse;
        self
    }

    /// Adds a directory of this system, under a path in the guest.
    #[must_use]
    pub fn dir(mut self, host: &str, guest: &str) -> Self {
        self.settings.dirs.push((host.to_owned(), guest.to_owned()));
        self
    }

    /// Sets a variable of the guest's environment, which is empty otherwise.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        let pair = (name.to_owned(), value.to_owned());
        self.settings.env.push(pair);
        self
    }

    /// Adds an argument for the guest.
    #[must_use]
    pub fn arg(mut self, argument: &str) -> Self {
        self.settings.arguments.push(argument.to_owned());
        self
    }

    /// Numbers the sockets from 3 on, and the directories after them. This is for programs that assume 3. By default
    /// the directories come first, because libc finds them only then.
    #[must_use]
    pub fn sockets_first(mut self, first: bool) -> Self {
        self.settings.sockets_first = first;
        self
    }

    /// Lets the listeners start with `NONBLOCK`, as in wasmtime up to 46. By default they start without it, as in
    /// POSIX, and calls block until the guest sets it. In Go modules they always start with it, because Go's
    /// scheduler expects it.
    #[must_use]
    pub fn nonblock(mut self, nonblock: bool) -> Self {
        self.settings.nonblock = nonblock;
        self
    }

    /// Reports writability once, and again only after a write has found no room. This is for programs on the mio of
    /// crates.io (tokio, hyper, axum), which always subscribe to it. It is not for programs that call `poll(2)`.
    #[must_use]
    pub fn edge(mut self, edge: bool) -> Self {
        self.settings.edge = edge;
        self
    }

    /// Sets how many instances of the module serve, each on its own thread. The default is 1, and 0 counts as 1.
    #[must_use]
    pub fn instances(mut self, count: usize) -> Self {
        self.settings.instances = count.max(1);
        self
    }

    /// Sets whether an instance that traps is restarted. The default is `true`. An instance without a listener never
    /// is.
    #[must_use]
    pub fn restart(mut self, restart: bool) -> Self {
        self.settings.restart = restart;
        self
    }

    /// Limits the memory of an instance, in bytes: its memories and tables together. The default is 4 GiB.
    #[must_use]
    pub fn memory(mut self, bytes: usize) -> Self {
        self.settings.memory = bytes;
        self
    }

    /// Limits the sockets and files that an instance may have open. By default several instances share the limit of
    /// this process.
    #[must_use]
    pub fn max_open(mut self, count: usize) -> Self {
        self.settings.max_open = Some(count);
        self
    }

    /// Limits the time that an instance may run without a call to the host, before it is ended. This also bounds a
    /// handler that only computes. The default is 10 s, `None` is no limit.
    #[must_use]
    pub fn max_spin(mut self, time: Option<Duration>) -> Self {
        self.settings.max_spin = time;
        self
    }

    /// Limits the time that a drain may take. The default is 10 s.
    #[must_use]
    pub fn grace(mut self, time: Duration) -> Self {
        self.settings.grace = time;
        self
    }

    /// Logs every call of the guest, at the level `trace` of the target `wasi`.
    #[must_use]
    pub fn trace(mut self, trace: bool) -> Self {
        self.settings.trace = trace;
        self
    }

    /// Serves metrics for Prometheus on this address.
    #[must_use]
    pub fn metrics(mut self, address: &str) -> Self {
        self.metrics = Some(address.to_owned());
        self
    }

    /// Sets whether the compiled module is kept in wasmtime's cache, which makes the next start quick. The default is
    /// `true`.
    #[must_use]
    pub fn cache(mut self, cache: bool) -> Self {
        self.cache = cache;
        self
    }

    /// Compiles the module, binds the addresses, and starts the instances.
    ///
    /// # Errors
    /// The module, an address or a directory can't be used. [`Error`] says which, and why, in one line. What goes wrong
    /// later is logged by the crate `log`.
    pub fn start(self) -> Result<Running, Error> {
        Running::start(self, || Ok(())).map(|(running, ())| running)
    }

    /// Starts the host like [`start`](Self::start), and waits until all instances have ended. The first SIGTERM or
    /// SIGINT drains the host, the second one stops it. Returns the guest's exit code (its low eight bits), the highest
    /// of several instances, 134 after a trap without a restart, or 128 and the signal's number if a signal has stopped
    /// it.
    ///
    /// It is for the main function of a program: after its end, both signals are still caught, and do nothing. A
    /// program that handles signals itself calls [`start`](Self::start), and [`Running::drain`].
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub fn run(self) -> Result<u8, Error> {
        let (running, signals) = Running::start(self, signals::catch)?;
        signals::wait(running, signals)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("settings", &self.settings)
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}

/// Addresses, for a message.
pub(crate) fn list(addresses: &[SocketAddr]) -> String {
    let all: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
    all.join(", ")
}
