//! A server that replaces itself at SIGHUP: it starts its program again, which may be a new version by then, with the
//! same listening sockets, and stops when the successor is ready. No connection is refused or lost.
//!
//! In the folder `examples`: `cargo run -p restart`, then `curl http://127.0.0.1:3000`, which returns the process id,
//! and `kill -HUP` with this id. SIGTERM and Ctrl-C stop it, and a successor that isn't ready yet.
//!
//! Where systemd runs, a socket unit does the same without such code: docs/service.md.

mod successor;

use std::error::Error;
use std::ffi::c_int;
use std::os::fd::OwnedFd;
use std::thread;

use log::{error, info};
use mini_http::{Handle, Response, Server};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use successor::Outcome;

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
    let signals = thread::spawn(move || handle_signals(signals, &sockets, &handle));
    server.start(|request| {
        Response::new(match request.uri().path() {
            "/large" => vec![b'x'; LARGE],
            _ => std::process::id().to_string().into_bytes(),
        })
    })?;
    // A signal has stopped the server. A successor that wasn't ready is stopped, too, before this process ends.
    signals
        .join()
        .map_err(|_| "the thread for signals panicked".into())
}

/// Waits for the signal to restart. When it returns, the copies of the sockets are closed, so that no connection waits
/// at this process while it stops.
fn handle_signals(mut signals: Signals, sockets: &[OwnedFd], handle: &Handle) {
    loop {
        // Several may have come.
        let received: Vec<_> = signals.wait().collect();
        if received.iter().any(|&signal| is_stop(signal)) {
            return;
        }
        if !received.contains(&SIGHUP) {
            continue;
        }
        match successor::start(sockets, || signals.pending().any(is_stop)) {
            Ok(Outcome::Ready(pid)) => {
                info!("process {pid} has taken over: stopping");
                handle.stop();
                return;
            }
            Ok(Outcome::Stopped) => {
                info!("stopping, and so does the successor");
                return;
            }
            Err(why) => error!("can't restart, still serving: {why}"),
        }
    }
}

fn is_stop(signal: c_int) -> bool {
    signal != SIGHUP
}
