//! The threads of several workers.

use std::any::Any;
use std::iter::once;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::OnceLock;
use std::thread;

use crate::log::error;

use super::{Serve, Workers};
use crate::error::{Error, ErrorKind, Result};
use crate::event_loop::{Settings, Worker};
use crate::executor::waiting::ServerId;
use crate::handle::Handle;
use crate::listeners::Listeners;
use crate::server::{Running, Server};
use crate::shares::Pools;

/// How a worker has ended: the error of the outer result is a panic, that of the inner one is the server's.
type Ended = thread::Result<Result<()>>;

impl Server {
    /// Serves by several workers: the first on this thread.
    pub(super) fn serve_by(&self, count: usize, serve: &Serve<'_>) -> Result<()> {
        self.settings.limits.check()?;
        self.handle.start()?;
        let _running = Running(&self.handle);
        let workers = self.split(count)?;
        let handles = workers.iter().map(|worker| worker.handle.clone());
        self.handle.set_workers(handles.collect());
        self.judge(self.run(&workers, serve))
    }

    /// One server for each worker, with a handle of its own.
    fn split(&self, count: usize) -> Result<Vec<Self>> {
        let listeners = self.listeners.split(count)?;
        let pools = Pools::new(&self.settings.limits, count, &self.handle);
        let numbers = 0..listeners.len();
        let workers = numbers.zip(listeners);
        Ok(workers
            .map(|(number, listeners)| {
                let worker = Worker {
                    number: number as u64,
                    of: count as u64,
                    pools: Some(pools.clone()),
                };
                self.worker(worker, listeners)
            })
            .collect())
    }

    fn worker(&self, worker: Worker, listeners: Listeners) -> Self {
        // The first has the tasks that were given to the server.
        let id = match worker.number {
            0 => self.id,
            _ => ServerId::new(),
        };
        Self {
            listeners,
            settings: Settings {
                worker,
                ..self.settings.clone()
            },
            handle: Handle::new(),
            workers: Workers::default(),
            id,
            forget: OnceLock::new(),
        }
    }

    /// Runs all workers to their end. As soon as one has failed, the others are stopped.
    fn run(&self, workers: &[Self], serve: &Serve<'_>) -> Vec<Ended> {
        let run = |number: usize| {
            let ended = catch_unwind(AssertUnwindSafe(|| serve(&workers[number])));
            if !matches!(ended, Ok(Ok(()))) {
                self.stop_without(number);
            }
            ended
        };
        thread::scope(|scope| {
            let threads: Vec<_> = (1..workers.len())
                .map(|number| {
                    let thread = thread::Builder::new().name(format!("mini_http-{}", number + 1));
                    let started = thread.spawn_scoped(scope, move || run(number));
                    started.map_err(|error| {
                        self.stop_without(number);
                        let text = format!("the thread of worker {} can't be started", number + 1);
                        Error::with_source(ErrorKind::Worker, text, error)
                    })
                })
                .collect();
            let first = run(0);
            let others = threads.into_iter().map(|started| match started {
                Ok(thread) => thread.join().and_then(|ended| ended),
                Err(error) => Ok(Err(error)),
            });
            once(first).chain(others).collect()
        })
    }

    fn stop_without(&self, number: usize) {
        error!(target: "mini_http", "worker {} has failed: the server stops", number + 1);
        self.handle.stop();
    }

    /// The server's result.
    fn judge(&self, ended: Vec<Ended>) -> Result<()> {
        let mut result = Ok(());
        for (number, ended) in ended.into_iter().enumerate() {
            let ended = ended.unwrap_or_else(|panic| {
                if !self.settings.catch_panics {
                    resume_unwind(panic);
                }
                Err(panicked(number, &*panic))
            });
            result = result.and(ended);
        }
        result
    }
}

fn panicked(number: usize, panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    Error::new(
        ErrorKind::Worker,
        format!(
            "worker {} has panicked outside a handler: {}",
            number + 1,
            text.unwrap_or("no message")
        ),
    )
}
