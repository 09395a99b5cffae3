//! `Server::stop_on_signals`: SIGTERM and SIGINT stop servers.

use crate::error::Result;
use crate::server::Server;

impl Server {
    /// Stops the server gracefully at SIGTERM and at SIGINT (Ctrl-C), as [`Handle::stop`](crate::Handle::stop) does. A
    /// second signal, of either kind, has its default action: it ends the process at once.
    ///
    /// ```no_run
    /// fn main() -> mini_http::Result<()> {
    ///     mini_http::Server::new("127.0.0.1:3000")?
    ///         .stop_on_signals()?
    ///         .start(|_request| mini_http::Response::new(b"hello\n".to_vec()))
    /// }
    /// ```
    ///
    /// Signals are sent to a process, so one signal stops all servers of the process for which this was called. When
    /// these have stopped, signals have their default action again.
    ///
    /// A WASI module gets no signals. There, this has no effect, so that one program can run natively and on WASI.
    ///
    /// # Errors
    /// [`Io`](crate::ErrorKind::Io) if the system refuses a signal handler or a thread;
    /// [`Unsupported`](crate::ErrorKind::Unsupported) on Windows.
    pub fn stop_on_signals(&self) -> Result<&Self> {
        watch::add(&self.handle())?;
        Ok(self)
    }
}

#[cfg(unix)]
mod watch {
    //! One thread waits for the signals of the process, and stops the servers. The second signal doesn't need that
    //! thread: the signal handler itself ends the process.

    use std::ffi::c_int;
    use std::io;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;
    use signal_hook::{flag, low_level};

    use crate::error::{Error, Result};
    use crate::executor::lock;
    use crate::handle::{Handle, WeakHandle};

    /// The signals by which supervisors and terminals ask a process to end.
    const SIGNALS: [c_int; 2] = [SIGTERM, SIGINT];

    /// The servers that the next signal stops. `None`: the signals have no handlers yet.
    static SERVERS: Mutex<Option<Vec<WeakHandle>>> = Mutex::new(None);

    /// Whether the next signal has its default action. The signal handlers set it.
    static ENDS_PROCESS: AtomicBool = AtomicBool::new(false);

    /// Has the next signal stop this server.
    pub(super) fn add(handle: &Handle) -> Result<()> {
        let mut servers = lock(&SERVERS);
        if servers.is_none() {
            begin().map_err(|error| Error::io("can't handle SIGTERM and SIGINT", error))?;
        }
        let servers = servers.get_or_insert_default();
        servers.retain(|server| server.upgrade().is_some());
        servers.push(handle.downgrade());
        ENDS_PROCESS.store(false, Ordering::SeqCst);
        Ok(())
    }

    /// Starts the thread, and sets the signal handlers.
    fn begin() -> io::Result<()> {
        let mut signals = Signals::new(SIGNALS)?;
        thread::Builder::new()
            .name("signals".into())
            .spawn(move || signals.forever().for_each(stop_servers))?;
        for signal in SIGNALS {
            // The handler does these in their order, so the first signal only sets the flag.
            flag::register_conditional_default(signal, &ENDS_PROCESS)?;
            flag::register(signal, &ENDS_PROCESS)?;
        }
        Ok(())
    }

    /// Stops the servers. If none is left, the signal has its default action.
    fn stop_servers(signal: c_int) {
        let servers: Vec<_> = lock(&SERVERS)
            .iter()
            .flatten()
            .filter_map(WeakHandle::upgrade)
            .collect();
        if servers.is_empty()
            && let Err(error) = low_level::emulate_default_handler(signal)
        {
            crate::log::error!(target: "mini_http", "signal {signal}: can't end the process: {error}");
        }
        for server in servers {
            crate::log::info!(target: "mini_http", "signal {signal}: stopping");
            server.stop();
        }
    }
}

#[cfg(target_os = "wasi")]
mod watch {
    use crate::error::Result;
    use crate::handle::Handle;

    #[expect(clippy::unnecessary_wraps, reason = "on other platforms it can fail")]
    pub(super) fn add(_: &Handle) -> Result<()> {
        crate::log::info!(target: "mini_http", "stop_on_signals has no effect on WASI");
        Ok(())
    }
}

#[cfg(not(any(unix, target_os = "wasi")))]
mod watch {
    use crate::error::{Error, ErrorKind, Result};
    use crate::handle::Handle;

    pub(super) fn add(_: &Handle) -> Result<()> {
        Err(Error::new(
            ErrorKind::Unsupported,
            "signals can stop a server only on Unix; call Handle::stop when the program is to end",
        ))
    }
}
