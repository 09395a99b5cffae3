//! Jobs that the server does beside the requests, and whose progress is a stream.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use event_listener::Event;
use futures_lite::{FutureExt, Stream, stream};
use mini_http::{Bytes, sleep, spawn};

use super::Stop;

/// The most jobs at a time, so that clients can't fill the memory.
const MAX_JOBS: usize = 100;
const STEPS: u32 = 40;
const STEP: Duration = Duration::from_millis(50);
/// How long the steps of a job are kept after its end, for clients that have lost their connection.
const KEPT: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(crate) struct Jobs {
    started: Cell<u64>,
    jobs: RefCell<HashMap<u64, Rc<Job>>>,
}

impl Jobs {
    /// Starts a job, and returns its number; `None` if there are too many.
    pub(crate) fn start(jobs: &Rc<Self>, stopping: Stop) -> Option<u64> {
        if jobs.jobs.borrow().len() >= MAX_JOBS {
            return None;
        }
        let id = jobs.started.get() + 1;
        jobs.started.set(id);
        let job = Rc::new(Job::default());
        jobs.jobs.borrow_mut().insert(id, Rc::clone(&job));
        let jobs = Rc::clone(jobs);
        let work = async move {
            job.work().await;
            sleep(KEPT).await;
            jobs.jobs.borrow_mut().remove(&id);
        };
        // The server waits for its tasks when it stops, so this one must end then.
        spawn(stopping.or(work));
        Some(id)
    }

    pub(crate) fn get(&self, id: u64) -> Option<Rc<Job>> {
        self.jobs.borrow().get(&id).cloned()
    }
}

#[derive(Default)]
pub(crate) struct Job {
    /// Steps that are done.
    done: Cell<u32>,
    /// Another step is done.
    progress: Event,
}

impl Job {
    /// Whether nothing comes after this step.
    pub(crate) fn is_over(&self, step: u32) -> bool {
        step >= STEPS
    }

    /// An event for each step after `last`: those that are done at once, the others when they are done.
    ///
    /// A stream keeps only the number of its last step. So a client that is slow costs no memory.
    pub(crate) fn steps(self: Rc<Self>, last: u32) -> impl Stream<Item = Bytes> {
        stream::unfold((self, last), |(job, last)| async move {
            if job.is_over(last) {
                return None;
            }
            let step = last + 1;
            job.until(step).await;
            let event = format!("id: {step}\ndata: {step} of {STEPS}\n\n");
            Some((Bytes::from(event), (job, step)))
        })
    }

    async fn work(&self) {
        for step in 1..=STEPS {
            // What takes time. It must not block: see the example `slow`.
            sleep(STEP).await;
            self.done.set(step);
            self.progress.notify(usize::MAX);
        }
    }

    async fn until(&self, step: u32) {
        while self.done.get() < step {
            self.progress.listen().await;
        }
    }
}
