//! The loop of one request, in a component.

use std::future::ready;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use crate::log::{debug, error};
use http::{Method, Request};
use poll_turns::Key;

use super::download::Download;
use super::handler::Exported;
use super::head::{Asked, body_length};
use super::host::{Gone, Host, Wanted};
use super::upload::Upload;
use crate::conn::Refusal;
use crate::event_loop::{Port, RequestTask};
use crate::executor::{Inbox, LoopContext, Target, TaskWaker, Tasks};
use crate::incoming::Incoming;

/// How often the host is asked whether the client is still there, while a response is sent and nothing else happens. At
/// half, an idle stream costs twice as many calls; at double, a stream whose client is gone lives twice as long.
const PROBE: Duration = Duration::from_secs(10);

/// The most iterations for tasks after the response. A task that needs a hundred polls is done by then; one that always
/// wakes itself costs microseconds.
const LAST_ITERATIONS: usize = 1000;

/// Handles one request, until its response has ended or its client is gone.
pub(super) fn handle<H: Host>(host: &mut H, exported: &mut Exported, asked: Asked) {
    let is = |method| asked.method == Some(method);
    let download = Download::new(is(Method::HEAD), is(Method::CONNECT));
    let exchange = Exchange::new(host, download);
    let result = match asked.into_request() {
        Ok(request) => exchange.run(exported, request),
        Err(refusal) => exchange.refuse(refusal),
    };
    if result.is_err() {
        debug!(target: "mini_http", "the client is gone; its request is dropped");
    }
}

struct Exchange<'a, H> {
    host: &'a mut H,
    context: Rc<LoopContext>,
    tasks: Tasks,
    /// Wakes the request's future.
    state: Arc<TaskWaker>,
    port: Rc<Port>,
    upload: Option<Upload>,
    download: Download,
    /// The future has returned.
    is_done: bool,
    woken: Vec<Target>,
}

impl<'a, H: Host> Exchange<'a, H> {
    fn new(host: &'a mut H, download: Download) -> Self {
        // No other thread could end a wait.
        let context = LoopContext::new(Inbox::new(None));
        let state = TaskWaker::new(
            Arc::clone(context.inbox()),
            Target::Connection(Key::new(0, 0)),
        );
        Self {
            host,
            tasks: Tasks::new(Rc::clone(&context), false),
            context,
            state,
            port: Rc::default(),
            upload: None,
            download,
            is_done: false,
            woken: Vec::new(),
        }
    }

    fn run(mut self, exported: &mut Exported, request: Request<()>) -> Result<(), Gone> {
        self.port.begin(request.method());
        let request = self.with_body(request);
        let context = Rc::clone(&self.context);
        let mut future = context.enter(|| exported.begin(request, &self.port));
        let result = self.drive(&mut future);
        if let Some(upload) = &self.upload {
            upload.gone();
        }
        context.enter(|| drop(future));
        if result.is_ok() {
            self.run_tasks();
        }
        result
    }

    /// Responds without the handler.
    fn refuse(mut self, refusal: Refusal) -> Result<(), Gone> {
        self.is_done = true;
        self.download.refuse(self.host, refusal);
        let mut nothing: RequestTask<'_> = Box::pin(ready(()));
        self.drive(&mut nothing)
    }

    fn with_body(&mut self, request: Request<()>) -> Request<Incoming> {
        let length = body_length(&request);
        if length == Some(0) {
            return request.map(|()| Incoming::empty());
        }
        let (upload, incoming) = Upload::new(length);
        self.upload = Some(upload);
        request.map(|()| incoming)
    }

    /// Polls the future until the response has ended.
    fn drive(&mut self, future: &mut RequestTask<'_>) -> Result<(), Gone> {
        let waker = Waker::from(Arc::clone(&self.state));
        // The first poll needs no wake-up.
        let mut is_new = true;
        loop {
            self.tasks.adopt_spawned();
            let was_woken = self.poll_tasks() || std::mem::take(&mut is_new);
            if !self.is_done && (was_woken || self.port.wants_room()) {
                self.poll(future, &waker, was_woken)?;
            }
            self.download.deliver(&self.port, self.host)?;
            if self.download.has_ended() {
                return Ok(());
            }
            let waits_for_body = match &mut self.upload {
                Some(upload) => upload.receive(self.host),
                None => false,
            };
            self.wait(waits_for_body)?;
        }
    }

    /// Polls the tasks that were woken. Returns whether the request's future was.
    fn poll_tasks(&mut self) -> bool {
        let mut woken = std::mem::take(&mut self.woken);
        self.context.inbox().take(&mut woken);
        let mut is_future_woken = false;
        for target in woken.drain(..) {
            match target {
                Target::Connection(_) => is_future_woken |= self.state.take(),
                Target::Task(key) => {
                    self.tasks.poll(key);
                }
            }
        }
        self.woken = woken;
        is_future_woken
    }

    fn poll(
        &mut self,
        future: &mut RequestTask<'_>,
        waker: &Waker,
        was_woken: bool,
    ) -> Result<(), Gone> {
        let room = self.download.poll_room(self.host)?;
        if was_woken || room > 0 {
            self.port.set_room(room);
            let mut cx = Context::from_waker(waker);
            let polled = self.context.enter(|| future.as_mut().poll(&mut cx));
            self.is_done = polled.is_ready();
        }
        Ok(())
    }

    /// Waits until something can go on.
    fn wait(&mut self, waits_for_body: bool) -> Result<(), Gone> {
        self.tasks.adopt_spawned();
        if !self.context.inbox().begin_wait() {
            return self.skip_wait();
        }
        let wants_room = self.port.wants_room() && !self.is_done;
        if wants_room {
            // The body may have brought nothing: then only this finds a client that is gone.
            self.download.ask_again();
            if self.download.poll_room(self.host)? > 0 {
                return self.skip_wait();
            }
        }
        let host = &mut *self.host;
        let mut wanted = Wanted {
            read: waits_for_body,
            room: wants_room || self.download.waits_for_room(),
            time: self.context.next_sleep(|| host.now()),
        };
        if wanted.is_nothing() {
            error!(target: "mini_http", "the handler waits, and nothing is left that could wake it");
            return self.download.give_up(host);
        }
        self.download.flush(host)?;
        if self.download.has_begun() {
            wanted.time = Some(wanted.time.map_or(PROBE, |time| time.min(PROBE)));
        }
        host.wait(wanted);
        self.context.wake_sleeps(host.now());
        self.download.ask_again();
        if self.download.has_begun() {
            // Finds a client that is gone.
            self.download.poll_room(host)?;
        }
        self.download.pass_on(host)
    }

    /// Called where no wait is needed, for what otherwise happens in one. A future or task that always wakes itself
    /// must not keep sleeps from ending, nor output from being sent.
    fn skip_wait(&mut self) -> Result<(), Gone> {
        let host = &*self.host;
        if self.context.next_sleep(|| host.now()) == Some(Duration::ZERO) {
            self.context.wake_sleeps(host.now());
        }
        self.download.flush_unless_writing(self.host)
    }

    /// Runs tasks as far as they get without a wait. Then they are dropped.
    fn run_tasks(&mut self) {
        for _ in 0..LAST_ITERATIONS {
            self.tasks.adopt_spawned();
            if self.tasks.is_empty() || self.context.inbox().begin_wait() {
                return;
            }
            self.poll_tasks();
        }
    }
}
