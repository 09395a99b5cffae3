//! What the loop keeps for a connection whose requests are futures.

use std::cell::{OnceCell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Buf;
use http_body::Body;
use poll_turns::Key;

use super::port::{End, Port};
use super::tunnel::Tunnel;
use super::wait_queue::Ticket;
use crate::body::BoxError;
use crate::executor::{Inbox, Target, TaskWaker};
use crate::failure::Failure;
use crate::incoming::Stream;
use crate::into_response::{IntoResponse, Sealed as _};
use crate::upgrade::Pipe;

/// What the loop keeps for a connection whose requests are futures.
pub(in crate::event_loop) struct Exchange<'h> {
    key: Key,
    /// Made with the first request.
    tools: Option<Box<Tools>>,
    pub(super) running: Option<Running<'h>>,
    /// Set once the connection is upgraded.
    pub(super) tunnel: Option<Box<Tunnel>>,
    pub(super) place: Place,
    /// Keep-alive probes are on.
    pub(super) is_probed: bool,
}

/// Whether the connection waits because of `max_requests`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It doesn't.
    Free,
    /// It is in the queue.
    Waiting(Ticket),
    /// It was taken from the queue, and may begin a request before those in it.
    Next,
}

/// What all requests of a connection use, one after the other.
pub(super) struct Tools {
    pub(super) port: Rc<Port>,
    state: Arc<TaskWaker>,
    /// `state`, as it is passed to the future.
    waker: Waker,
    /// `state`, as it is passed to the body of a request; made with the first one.
    notify: OnceCell<Waker>,
}

/// A request in its handler, or its response's body.
pub(super) struct Running<'h> {
    task: Task<'h>,
    /// The request's body, while the handler may want more of it.
    pub(super) body: Option<Arc<Stream>>,
    /// The upgrade that the request asks for, until it is decided.
    pub(super) offer: Option<Arc<Pipe>>,
    /// Whether the response's head was passed on.
    has_head: bool,
    /// The future wasn't polled yet.
    is_new: bool,
    /// The future has returned. Nothing of the user is left in it.
    has_ended: bool,
}

impl Running<'_> {
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }
}

/// The future of a request and its response.
pub(crate) type Task<'h> = Pin<Box<dyn Future<Output = ()> + 'h>>;

impl<'h> Exchange<'h> {
    pub(super) fn new(key: Key) -> Self {
        Self {
            key,
            tools: None,
            running: None,
            tunnel: None,
            place: Place::Free,
            is_probed: false,
        }
    }

    /// What the connection's requests use; made if this is the first one.
    pub(super) fn tools(&mut self, inbox: &Arc<Inbox>) -> &Tools {
        let key = self.key;
        self.tools
            .get_or_insert_with(|| Box::new(Tools::new(key, inbox)))
    }

    pub(super) fn begin(
        &mut self,
        task: Task<'h>,
        body: Option<Arc<Stream>>,
        offer: Option<Arc<Pipe>>,
    ) {
        self.place = Place::Free;
        self.running = Some(Running {
            task,
            body,
            offer,
            has_head: false,
            is_new: true,
            has_ended: false,
        });
    }

    pub(super) fn key(&self) -> Key {
        self.key
    }

    /// Where its requests put their responses.
    pub(super) fn port(&self) -> Option<&Rc<Port>> {
        self.tools.as_ref().map(|tools| &tools.port)
    }

    /// Passes something on to the request's body, unless the handler has dropped it.
    pub(super) fn pass(&self, pass: impl FnOnce(&Stream)) {
        if let Some(running) = &self.running
            && let Some(body) = &running.body
        {
            pass(body);
        }
    }

    /// Whether the response's head was passed on.
    pub(super) fn has_head(&self) -> bool {
        self.running
            .as_ref()
            .is_some_and(|running| running.has_head)
    }

    pub(super) fn set_has_head(&mut self) {
        if let Some(running) = &mut self.running {
            running.has_head = true;
        }
    }

    /// The upgrade that the request asks for, to be decided.
    pub(super) fn take_offer(&mut self) -> Option<Arc<Pipe>> {
        self.running.as_mut()?.offer.take()
    }

    /// Whether the connection was woken, or its future wasn't polled yet.
    pub(super) fn is_woken(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.is_new)
            || self
                .tools
                .as_ref()
                .is_some_and(|tools| tools.state.is_woken())
    }

    /// Whether the response's body waits for room.
    pub(super) fn wants_room(&self) -> bool {
        self.port().is_some_and(|port| port.wants_room())
    }

    /// Takes the wake-up, so that the next one is seen. Returns whether the future is to be polled.
    pub(super) fn take_wake(&mut self) -> bool {
        let is_woken = self.tools.as_ref().is_some_and(|tools| tools.state.take());
        let is_new = self
            .running
            .as_mut()
            .is_some_and(|running| std::mem::take(&mut running.is_new));
        is_woken || is_new
    }

    /// Polls the request's future.
    pub(super) fn poll(&mut self) -> Poll<()> {
        match (&mut self.running, &self.tools) {
            (Some(running), Some(tools)) => {
                let mut cx = Context::from_waker(&tools.waker);
                let polled = running.task.as_mut().poll(&mut cx);
                running.has_ended = polled.is_ready();
                polled
            }
            _ => Poll::Ready(()),
        }
    }
}

impl Tools {
    fn new(key: Key, inbox: &Arc<Inbox>) -> Self {
        let state = TaskWaker::new(Arc::clone(inbox), Target::Connection(key));
        Self {
            port: Rc::default(),
            waker: Waker::from(Arc::clone(&state)),
            notify: OnceCell::new(),
            state,
        }
    }

    pub(super) fn notify(&self) -> Waker {
        self.notify
            .get_or_init(|| self.state.notify_waker())
            .clone()
    }
}

/// The future of one request: the handler, then the body of its response.
pub(crate) async fn run<Q, H, F>(handler: Rc<RefCell<H>>, port: Rc<Port>, request: Q)
where
    H: FnMut(Q) -> F,
    F: Future<Output: IntoResponse>,
{
    let body = match call(&handler, request).await.into_response() {
        Ok(response) => port.send_head(response, F::Output::MAY_LEAVE_OUT_BODY),
        Err(error) => return port.end(End::HandlerFailed(Failure::new(&error))),
    };
    match body {
        Some(body) => port.end(send_body(body, &port).await),
        None => port.end(End::Complete),
    }
}

/// Calls the handler. It is borrowed only for that, not while its future is polled.
fn call<Q, H, F>(handler: &RefCell<H>, request: Q) -> F
where
    H: FnMut(Q) -> F,
{
    (handler.borrow_mut())(request)
}

/// Polls a response's body until it ends, each time there is room for a part of it.
async fn send_body<B>(body: B, port: &Port) -> End
where
    B: Body<Data: Buf, Error: Into<BoxError>>,
{
    let mut body = pin!(body);
    loop {
        port.room().await;
        let frame = match poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return End::BodyFailed(Failure::new(&error.into())),
            None => return End::Complete,
        };
        match frame.into_data() {
            Ok(mut data) => {
                port.send_data(data.copy_to_bytes(data.remaining()));
                // Without this, the end would be found only when there is room again.
                if body.is_end_stream() {
                    return End::Complete;
                }
            }
            Err(frame) => {
                // A frame of a kind that a later version of `http_body` adds is skipped.
                if let Ok(trailers) = frame.into_trailers() {
                    // Trailers are the last frame.
                    port.send_trailers(trailers);
                    return End::Complete;
                }
            }
        }
    }
}
