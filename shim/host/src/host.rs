//! [`Host`]: the public API. It has the configuration of a host, and starts it.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::Error;
use crate::listeners::Address;
use crate::running::Running;
use crate::settings::Settings;
use crate::signals;

/// A host for a module of WASI preview 1, and its configuration.
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

/// The source of the module.
pub(crate) enum ModuleSource {
    File(PathBuf),
    Bytes(Vec<u8>),
}

impl Host {
    /// A host for the module in a file. The guest's first argument is the name of the file.
    #[must_use]
    pub fn new(module: impl AsRef<Path>) -> Self {
        let path = module.as_ref();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Self::with(ModuleSource::File(path.to_owned()), &name)
    }

    /// A host for a module in memory. `name` is the guest's first argument.
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

    /// Passes a listener on this address to the guest. A name for `LISTEN_FDNAMES` may precede it:
    /// `admin=127.0.0.1:3001`.
    #[must_use]
    pub fn listen(mut self, address: &str) -> Self {
        self.listen.push(Address::parse(address));
        self
    }

    /// Passes the listeners to the guest that systemd has passed to this process.
    #[must_use]
    pub fn inherit_listeners(mut self, inherit: bool) -> Self {
        self.inherit = inherit;
        self
    }

    /// Lets another process listen on the same addresses (`SO_REUSEPORT`), such as the next version of the server.
    #[must_use]
    pub fn reuse_port(mut self, reuse: bool) -> Self {
        self.reuse_port = reuse;
        self
    }

    /// Passes a directory to the guest, which sees it at the path `guest`.
    #[must_use]
    pub fn dir(mut self, host: &str, guest: &str) -> Self {
        self.settings.dirs.push((host.to_owned(), guest.to_owned()));
        self
    }

    /// Sets a variable in the guest's environment. Without this it is empty.
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

    /// Numbers sockets from 3 on, and directories after them, for programs that expect a listener at 3. By default
    /// directories come first, so that libc finds them.
    #[must_use]
    pub fn sockets_first(mut self, first: bool) -> Self {
        self.settings.sockets_first = first;
        self
    }

    /// Listeners are non-blocking from the start, as in wasmtime up to 46. By default they are blocking, as in
    /// POSIX, until the guest sets `NONBLOCK`. For modules made by Go they are always non-blocking, because Go's
    /// scheduler expects that.
    #[must_use]
    pub fn nonblock(mut self, nonblock: bool) -> Self {
        self.settings.nonblock = nonblock;
        self
    }

    /// Reports only once that a socket is writable, until a write finds no room. For programs on the
    /// mio of crates.io (tokio, hyper, axum), which always subscribe to it. Not for programs that call `poll(2)`.
    #[must_use]
    pub fn edge(mut self, edge: bool) -> Self {
        self.settings.edge = edge;
        self
    }

    /// How many instances of the module to run, each in a thread of its own.
    #[must_use]
    pub fn instances(mut self, count: usize) -> Self {
        self.settings.instances = count.max(1);
        self
    }

    /// Whether to start an instance again after a trap. Without a listener, it is never started again.
    #[must_use]
    pub fn restart(mut self, restart: bool) -> Self {
        self.settings.restart = restart;
        self
    }

    /// How many bytes of memory an instance may have.
    #[must_use]
    pub fn memory(mut self, bytes: usize) -> Self {
        self.settings.memory = bytes;
        self
    }

    /// How many sockets and files an instance may have open. By default, the instances share the limit
    /// of this process.
    #[must_use]
    pub fn max_open(mut self, count: usize) -> Self {
        self.settings.max_open = Some(count);
        self
    }

    /// How long an instance may run without a call to the host before it is ended. The default is 10 s. `None` means
    /// no limit.
    #[must_use]
    pub fn max_spin(mut self, time: Option<Duration>) -> Self {
        self.settings.max_spin = time;
        self
    }

    /// How long current requests may take when the host drains. The default is 10 s.
    #[must_use]
    pub fn grace(mut self, time: Duration) -> Self {
        self.settings.grace = time;
        self
    }

    /// Logs every call of the guest, at level `trace` with the target `wasi`.
    #[must_use]
    pub fn trace(mut self, trace: bool) -> Self {
        self.settings.trace = trace;
        self
    }

    /// Serves metrics on this address, in the format of Prometheus.
    #[must_use]
    pub fn metrics(mut self, address: &str) -> Self {
        self.metrics = Some(address.to_owned());
        self
    }

    /// Whether to keep the compiled module in wasmtime's cache, so that the next start is quick.
    #[must_use]
    pub fn cache(mut self, cache: bool) -> Self {
        self.cache = cache;
        self
    }

    /// Compiles the module, binds the addresses, and starts the instances.
    ///
    /// # Errors
    /// The module, an address or a directory is invalid.
    pub fn start(self) -> Result<Running, Error> {
        Running::start(self)
    }

    /// Starts the host, and waits until all instances have ended. The first SIGTERM or SIGINT drains the host, the
    /// second one stops it. Returns the guest's exit code.
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub fn run(self) -> Result<u8, Error> {
        let running = self.start()?;
        signals::wait(running)
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
