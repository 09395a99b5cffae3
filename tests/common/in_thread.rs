//! A server in a thread of a test.

use std::net::SocketAddr;
use std::thread::{self, JoinHandle};

use mini_http::{Handle, Result, Server};

/// Runs a server that `serve` starts, in a thread.
pub(crate) fn start(
    server: Server,
    serve: impl FnOnce(Server) -> Result<()> + Send + 'static,
) -> (SocketAddr, Handle, JoinHandle<Result<()>>) {
    let (addr, handle) = (server.local_addr().expect("an address"), server.handle());
    (addr, handle, thread::spawn(move || serve(server)))
}

/// Stops the server, which ends well.
pub(crate) fn stop(handle: &Handle, thread: JoinHandle<Result<()>>) {
    handle.stop();
    thread.join().expect("no panic").expect("it ends well");
}
