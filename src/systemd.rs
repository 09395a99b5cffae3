//! [`Server::notify_systemd`]: the setting with which a server reports its state to systemd. `reactor::service` sends
//! the messages.

use crate::server::Server;

impl Server {
    /// Reports the server's state to systemd, or to another service manager that sets `NOTIFY_SOCKET` (`sd_notify(3)`):
    ///
    /// | message | when |
    /// |---|---|
    /// | `READY=1` | the server accepts connections |
    /// | `WATCHDOG=1` | at half of `WATCHDOG_USEC`, if that is set |
    /// | `STOPPING=1` | the server begins to stop |
    ///
    /// The messages are sent by the thread that serves. So while a handler blocks it, systemd gets no `WATCHDOG=1`, and
    /// restarts the service when `WatchdogSec=` has passed. With several [`workers`](Self::workers), the server is
    /// ready when all of them accept, and a handler that blocks one of them is enough for a restart.
    ///
    /// `NOTIFY_SOCKET` has to be a path, as with systemd; an abstract name (`@`) is not reached. While the manager reads
    /// nothing and its queue is full, a message waits, and with it the server.
    ///
    /// ```no_run
    /// fn main() -> mini_http::Result<()> {
    ///     mini_http::Server::preopened()?
    ///         .notify_systemd()
    ///         .start(|_request| mini_http::Response::new(b"hello\n".to_vec()))
    /// }
    /// ```
    ///
    /// If a process has several servers, call this for the one that is started last. Without `NOTIFY_SOCKET`, on
    /// Windows and on WASI, it has no effect.
    pub fn notify_systemd(&mut self) -> &mut Self {
        #[cfg(unix)]
        self.listeners.notify_systemd();
        self
    }
}
