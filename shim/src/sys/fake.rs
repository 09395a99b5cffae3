//! For tests: the sockets of the fake runtime that a test has installed for its thread.

use std::cell::RefCell;

use wasip1_poll::fake::Fake;
use wasip1_poll::{Fd, Wasi};

use super::Socket;

pub(crate) type System = Fake;

thread_local! {
    static RUNTIME: RefCell<Option<Fake>> = const { RefCell::new(None) };
}

/// Makes `fake` the runtime of this thread.
pub(crate) fn install(fake: &Fake) {
    RUNTIME.with(|runtime| *runtime.borrow_mut() = Some(fake.clone()));
}

pub(crate) fn system() -> System {
    let installed = RUNTIME.with(|runtime| runtime.borrow().clone());
    installed.expect("a test installs its runtime first")
}

pub(crate) fn accepted(fd: Fd) -> TcpStream {
    TcpStream(fd)
}

/// A listener. These tests don't close it, like the listeners of a real runtime.
#[derive(Debug)]
pub(crate) struct TcpListener(pub(crate) Fd);

#[derive(Debug)]
pub(crate) struct TcpStream(Fd);

impl Socket for TcpListener {
    fn fd(&self) -> Fd {
        self.0
    }
}

impl Socket for TcpStream {
    fn fd(&self) -> Fd {
        self.0
    }
}

impl Drop for TcpStream {
    fn drop(&mut self) {
        // This fails if the test has closed it with `Fake::steal`.
        let _ = system().fd_close(self.0);
    }
}
