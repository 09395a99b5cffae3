//! Several workers: event loops on threads of their own, with one handle, and with the server's limits.

#[cfg(not(target_os = "wasi"))]
mod threads;

use http::Response;

use super::Server;
use crate::body::Body;
use crate::error::{Error, ErrorKind, Result};
use crate::executor::waiting;
use crate::incoming::{Incoming, StreamedRequest, with_conversion};
use crate::into_response::IntoResponse;
use crate::request::Request;

/// Several workers.
impl Server {
    /// Sets how many workers serve; 1 by default. Each is an event loop on a thread, with a handler of its own, which
    /// [`start_each`](Self::start_each), [`serve_each`](Self::serve_each) or
    /// [`serve_async_each`](Self::serve_async_each) makes. With more than one, [`start`](Self::start) and the like
    /// return an error.
    ///
    /// ```no_run
    /// use std::thread::available_parallelism;
    ///
    /// fn main() -> mini_http::Result<()> {
    ///     let mut server = mini_http::Server::new("127.0.0.1:3000")?;
    ///     server.workers(available_parallelism().map_or(1, |cores| cores.get()));
    ///     server.start_each(|| {
    ///         let mut served = 0;
    ///         move |_request| {
    ///             served += 1;
    ///             mini_http::Response::new(format!("{served} by this worker\n").into_bytes())
    ///         }
    ///     })
    /// }
    /// ```
    ///
    /// More workers than processors are useful only if handlers block. Otherwise they cost processor time: about a
    /// tenth more for small requests, because the system interrupts one worker to run another.
    ///
    /// The first worker runs on the calling thread, the others on threads named `mini_http-2` and so on.
    ///
    /// **Connections.** A connection stays with the worker that has accepted it. On Linux, each worker has a
    /// listening socket of its own at an address that the server has bound (`SO_REUSEPORT`), and the system spreads
    /// the connections evenly. Sockets that were passed to the server are shared by the workers, and so are all
    /// sockets on other systems: there, the worker that is quickest accepts.
    ///
    /// **The server as a whole.** [`Limits`](crate::Limits) and [`Counters`](crate::Counters) are those of the
    /// server. [`Handle::stop`](crate::Handle::stop) stops all workers.
    ///
    /// **Failures.** If a worker fails, or panics outside a handler, the others are stopped as by
    /// [`Handle::stop`](crate::Handle::stop), and then the error is returned. If [`catch_panics`](Self::catch_panics)
    /// is off, each panic is passed on to the caller instead.
    ///
    /// **On WASI** there are no threads: more than one worker is an error. Run several instances of the module
    /// there, behind a proxy or on a listening socket that they share.
    pub fn workers(&mut self, count: usize) -> &mut Self {
        #[cfg(not(target_os = "wasi"))]
        self.listeners.spread(count);
        self.workers = match count {
            1 => Workers::default(),
            _ => Workers(Some(Several {
                count,
                error: needs_a_factory,
            })),
        };
        self
    }

    /// Like [`start`](Self::start) with several [`workers`](Self::workers): each calls `make` once, on its thread, for
    /// its handler.
    ///
    /// # Errors
    /// Those of [`start`](Self::start). [`Setting`](ErrorKind::Setting), too, if the number of workers is 0;
    /// [`Unsupported`](ErrorKind::Unsupported) if it is over 1 on WASI; [`Worker`](ErrorKind::Worker) if one of
    /// several workers panics outside a handler, for instance in `make`.
    ///
    /// # Panics
    /// Like [`start`](Self::start).
    pub fn start_each<M, H>(&self, make: M) -> Result<()>
    where
        M: Fn() -> H + Sync,
        H: FnMut(Request) -> Response<Vec<u8>>,
    {
        self.serve_each(make)
    }

    /// Like [`serve`](Self::serve) with several [`workers`](Self::workers): each calls `make` once, on its thread, for
    /// its handler.
    ///
    /// # Errors
    /// Those of [`start_each`](Self::start_each).
    ///
    /// # Panics
    /// Like [`start`](Self::start).
    pub fn serve_each<M, B, H>(&self, make: M) -> Result<()>
    where
        M: Fn() -> H + Sync,
        B: Body,
        H: FnMut(Request) -> Response<B>,
    {
        self.serve_by_each(&|worker| worker.serve(make()))
    }

    /// Like [`serve_async`](Self::serve_async) with several [`workers`](Self::workers): each calls `make` once, on its
    /// thread, for its handler. The futures and bodies of a worker stay on its thread.
    ///
    /// In `make`, [`spawn`](crate::spawn()) adds a task to the worker. The tasks of [`Server::spawn`](Self::spawn) run
    /// once in the server: beside the first worker, which runs on the calling thread.
    ///
    /// # Errors
    /// Those of [`start_each`](Self::start_each) and [`serve_async`](Self::serve_async).
    ///
    /// # Panics
    /// Like [`serve_async`](Self::serve_async).
    pub fn serve_async_each<M, H, F>(&self, make: M) -> Result<()>
    where
        M: Fn() -> H + Sync,
        H: FnMut(http::Request<Incoming>) -> F,
        F: Future<Output: IntoResponse>,
    {
        self.serve_futures_each(|| with_conversion(make()))
    }

    /// [`serve_async_each`](Self::serve_async_each) with handlers that convert the requests themselves.
    pub(crate) fn serve_futures_each<M, H, F>(&self, make: M) -> Result<()>
    where
        M: Fn() -> H + Sync,
        H: FnMut(StreamedRequest) -> F,
        F: Future<Output: IntoResponse>,
    {
        self.serve_by_each(&|worker| {
            let (handler, tasks) = waiting::collect(&make);
            tasks.into_iter().for_each(|task| worker.add_task(task));
            worker.serve_single(handler)
        })
    }

    /// Calls `serve` for each worker: a server with one loop, on a thread of its own.
    fn serve_by_each(&self, serve: &Serve<'_>) -> Result<()> {
        match self.workers.0 {
            None => serve(self),
            Some(Several { count: 0, .. }) => Err(Error::new(
                ErrorKind::Setting,
                "the number of workers is 0: set it to at least 1",
            )),
            Some(Several { count, .. }) => self.serve_by(count, serve),
        }
    }

    #[cfg(target_os = "wasi")]
    fn serve_by(&self, count: usize, _: &Serve<'_>) -> Result<()> {
        Err(no_threads(count))
    }
}

/// Serves with one worker.
type Serve<'a> = dyn Fn(&Server) -> Result<()> + Sync + 'a;

/// The number of workers, if a server has several.
#[derive(Debug, Default)]
pub(super) struct Workers(Option<Several>);

#[derive(Clone, Copy, Debug)]
struct Several {
    count: usize,
    /// Makes the error of serving with one handler. It is a pointer, so that a program that sets no workers doesn't
    /// contain the code.
    error: fn(usize) -> Error,
}

impl Workers {
    /// # Errors
    /// The server has several workers.
    #[inline]
    pub(super) fn check_single(&self) -> Result<()> {
        match self.0 {
            None => Ok(()),
            Some(Several { count, error }) => Err(error(count)),
        }
    }
}

#[cfg(not(target_os = "wasi"))]
fn needs_a_factory(count: usize) -> Error {
    Error::new(
        ErrorKind::Setting,
        format!(
            "the number of workers is {count}, and one handler serves one worker: use start_each, serve_each or \
             serve_async_each, which make a handler for each worker"
        ),
    )
}

#[cfg(target_os = "wasi")]
fn needs_a_factory(count: usize) -> Error {
    no_threads(count)
}

#[cfg(target_os = "wasi")]
fn no_threads(count: usize) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!(
            "the number of workers is {count}, and WASI has no threads: run several instances of this module, \
             behind a proxy or on a listening socket that they share"
        ),
    )
}

#[cfg(all(test, target_os = "wasi"))]
mod tests {
    use super::*;

    #[test]
    fn several_workers_are_an_error_that_names_the_alternative() {
        let workers = Workers(Some(Several {
            count: 2,
            error: needs_a_factory,
        }));
        let errors = [workers.check_single(), Err(no_threads(2))];
        for error in errors.map(|result| result.expect_err("two workers")) {
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains("several instances"), "{error}");
        }
    }
}
