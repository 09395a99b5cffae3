//! A server that replaces itself at SIGHUP: it starts its program again, which may be a new version by then, with the
//! same listening sockets, and stops when the successor is ready. No connection is refused or lost.
//!
//! In the folder `examples`: `cargo run -p restart`, then `curl http://127.0.0.1:3000`, which returns the process id,
//! and `kill -HUP` with this id. SIGTERM and Ctrl-C stop it.
//!
//! Where systemd runs, a socket unit does the same without such code: docs/service.md.

mod successor;

use std::error::Error;
use std::os::fd::OwnedFd;
use std::thread;

use log::{error, info};
use mini_http::{Handle, Response, Server};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// The length of a response that takes a while to send: `ci/run restart` restarts the server meanwhile.
const LARGE: usize = 8 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    env_logger::init();
    let mut server = match std::env::var_os("LISTEN_FDS") {
        Some(_) => Server::preopened()?,
        None => Server::new(&std::env::var("MINI_HTTP_ADDR").unwrap_or("127.0.0.1:3000".into()))?,
    };
    server.notify_systemd().stop_on_signals()?;
    let (sockets, handle) = (server.listening_fds()?, server.handle());
    let signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    thread::spawn(move || handle_signals(signals, &sockets, &handle));
    server.start(|request| {
        Response::new(match request.uri().path() {
            "/large" => vec![b'x'; LARGE],
            _ => std::process::id().to_string().into_bytes(),
        })
    })?;
    Ok(())
}

/// Waits for the signal to restart. When it returns, the copies of the sockets are closed, so that no connection waits
/// at this process while it stops.
fn handle_signals(mut signals: Signals, sockets: &[OwnedFd], handle: &Handle) {
    for signal in signals.forever() {
        if signal != SIGHUP {
            return;
        }
        match successor::start(sockets) {
            Ok(pid) => {
                info!("process {pid} has taken over: stopping");
                handle.stop();
                return;
            }
            Err(why) => error!("can't restart, still serving: {why}"),
        }
    }
}
