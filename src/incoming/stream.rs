//! What the event loop and an [`Incoming`] share: pieces of a body that wait to be taken.
//!
//! The loop is the sender ([`Stream`]), the `Incoming` the receiver ([`Receiver`]). They may be on different
//! threads. While the lock is held, no waker is called or dropped, and no piece is freed, because each of
//! these may run code that takes the lock again.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};

use super::error::IncomingError;
use super::{Incoming, Source};
use crate::conn::Refusal;
use crate::executor::lock;

/// The most bytes that wait to be taken: one read of the loop. With less, a large body would take more turns
/// of the loop; more would only be held longer.
pub(crate) const QUEUE: usize = 64 << 10;

/// When the queue shrinks to this, the loop is notified and reads on. With a smaller part of the queue, a
/// receiver on another thread would wait for the loop; with a larger part, the loop would be woken for
/// a few bytes.
pub(crate) const READ_ON: usize = QUEUE / 2;

/// When this many pieces wait, small ones are joined. Each takes about 100 bytes beside its data, so a client that
/// sends single bytes could take a hundred times the memory that is counted. At half, pieces are copied that a
/// handler on another thread is about to take; at double, an idle upload holds 3 KiB for its list.
const MANY: usize = 16;

/// The most bytes of pieces that were joined. At half, the pieces of a full queue take 40 % more memory than their
/// data, and not 20 %; at double, twice as much is copied for each single byte.
const JOINED: usize = 1 << 10;

/// The loop's side of a request's body.
#[derive(Debug)]
pub(crate) struct Stream {
    state: Mutex<State>,
    /// The body's length, if the request has announced one.
    announced: Option<u64>,
    /// The most bytes of it, unless the handler sets another limit.
    max_body: u64,
    /// Called when the loop must call [`receiver_state`](Stream::receiver_state).
    notify: Waker,
}

/// What the loop has to know about the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReceiverState {
    /// Bytes that wait to be taken. There is room for [`QUEUE`] of them.
    pub(crate) queued: usize,
    /// The handler waits for data: its last poll returned `Pending`, and nothing has come since.
    pub(crate) is_awaited: bool,
    /// The `Incoming` was dropped before the body was complete.
    pub(crate) is_dropped: bool,
    /// Set if the handler waits for all the rest as one piece: how many bytes it may have beyond those that were
    /// pushed. This is reported once.
    pub(crate) gather: Option<u64>,
    /// The minimum rate in bytes per second, if the handler has set one. 0 means none.
    pub(crate) min_rate: Option<u32>,
    /// The handler has got 413: nothing more is wanted, and no `100 Continue` is due. Then `is_dropped` is
    /// not reported.
    pub(crate) over_limit: bool,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Bytes>,
    /// Bytes in the queue.
    queued: usize,
    /// Bytes that were pushed in all.
    received: u64,
    /// How the body ended, after what is in the queue.
    end: Option<End>,
    /// The task that waits for data.
    waiting: Option<Waker>,
    /// The limit on the whole body, if all of it is awaited as one piece and the loop hasn't seen that yet.
    gather: Option<u64>,
    min_rate: Option<u32>,
    is_dropped: bool,
    over_limit: bool,
    /// Whether the loop was notified since its last call of [`receiver_state`](Stream::receiver_state).
    is_notified: bool,
}

#[derive(Debug)]
enum End {
    Complete(Option<HeaderMap>),
    Failed(Refusal),
    Gone,
}

/// The side of the loop. It calls [`receiver_state`](Self::receiver_state) after each of its own calls, after each
/// poll of the handler, and when it was notified.
impl Stream {
    /// A body of the announced length, or chunked if that is `None`. `notify` is called for each change by
    /// the receiver that the loop must act on, at most once until the next
    /// [`receiver_state`](Self::receiver_state). `max_body` is the limit unless the handler sets another.
    pub(crate) fn new(
        announced: Option<u64>,
        notify: Waker,
        max_body: u64,
    ) -> (Arc<Self>, Receiver) {
        let stream = Arc::new(Self {
            state: Mutex::default(),
            announced,
            max_body,
            notify,
        });
        let receiver = Receiver(Arc::clone(&stream));
        (stream, receiver)
    }

    /// Adds the next piece of the body. It is dropped if there is no receiver any more.
    pub(crate) fn push(&self, data: Bytes) {
        if data.is_empty() {
            return;
        }
        let mut freed = None;
        self.change(|state| {
            state.received = state.received.saturating_add(data.len() as u64);
            if state.is_dropped {
                freed = Some(data);
                return;
            }
            state.queued += data.len();
            freed = add_piece(&mut state.queue, data);
        });
    }

    /// The body is complete.
    pub(crate) fn finish(&self, trailers: Option<HeaderMap>) {
        self.end(End::Complete(trailers));
    }

    /// All the rest, which was gathered, as one piece. The body is complete.
    pub(crate) fn whole(&self, rest: Bytes) {
        self.push(rest);
        self.finish(None);
    }

    /// The rest of the body can't be received. The receiver gets what is in the queue before the refusal.
    pub(crate) fn fail(&self, refusal: Refusal) {
        self.end(End::Failed(refusal));
    }

    /// The connection is gone. What waits of an incomplete body is freed.
    pub(crate) fn gone(&self) {
        let mut freed = VecDeque::new();
        self.change(|state| {
            if !self.has_ended(state) {
                state.end = Some(End::Gone);
                state.queued = 0;
                freed = mem::take(&mut state.queue);
            }
        });
    }

    /// The current state of the receiver. From now on, the next change notifies again.
    pub(crate) fn receiver_state(&self) -> ReceiverState {
        let mut state = self.lock();
        state.is_notified = false;
        let is_open = !self.has_ended(&state);
        let received = state.received;
        let gather = state
            .gather
            .take()
            .map(|limit| limit.saturating_sub(received));
        ReceiverState {
            queued: state.queued,
            is_awaited: state.waiting.is_some(),
            is_dropped: state.is_dropped && is_open && !state.over_limit,
            gather: gather.filter(|_| is_open),
            min_rate: state.min_rate,
            over_limit: state.over_limit,
        }
    }

    /// Whether all of it was received. If its length was announced, that is so before it is finished.
    fn is_complete(&self, state: &State) -> bool {
        match state.end {
            Some(End::Complete(_)) => true,
            Some(End::Failed(_) | End::Gone) | None => self.announced == Some(state.received),
        }
    }

    /// Whether it is complete, or the rest can't be received.
    fn has_ended(&self, state: &State) -> bool {
        state.end.is_some() || self.is_complete(state)
    }

    fn end(&self, end: End) {
        self.change(|state| {
            state.end.get_or_insert(end);
        });
    }

    /// Changes the state, then wakes the receiver.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let waiting = {
            let mut state = self.lock();
            change(&mut state);
            state.waiting.take()
        };
        if let Some(waker) = waiting {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// The handler's side of a request's body.
#[derive(Debug)]
pub(crate) struct Receiver(Arc<Stream>);

impl Receiver {
    /// The next frame; trailers are the last one.
    pub(super) fn poll(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, IncomingError>>> {
        let mut state = self.0.lock();
        if let Some(data) = state.queue.pop_front() {
            let before = state.queued;
            state.queued = before.saturating_sub(data.len());
            let reads_on = before > READ_ON && state.queued <= READ_ON && !self.0.has_ended(&state);
            self.unlock(state, reads_on);
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if self.0.is_complete(&state) {
            let trailers = state.take_trailers();
            return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
        }
        match &state.end {
            Some(end) => Poll::Ready(Some(Err(end.error()))),
            None => self.wait(state, cx),
        }
    }

    /// All the rest as one piece.
    pub(super) fn poll_rest(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<VecDeque<Bytes>, IncomingError>> {
        let mut state = self.0.lock();
        if self.0.is_complete(&state) {
            state.queued = 0;
            return Poll::Ready(Ok(mem::take(&mut state.queue)));
        }
        match &state.end {
            Some(end) => Poll::Ready(Err(end.error())),
            None => self.wait(state, cx),
        }
    }

    /// From now on the rest is received as one piece, if it hasn't been received yet. `limit` is that of
    /// the whole body.
    pub(super) fn gather(&self, limit: u64) {
        let mut state = self.0.lock();
        let is_needed = !self.0.has_ended(&state);
        if is_needed {
            state.gather = Some(limit);
        }
        self.unlock(state, is_needed);
    }

    pub(super) fn set_min_rate(&self, bytes_per_second: u32) {
        let mut state = self.0.lock();
        state.min_rate = Some(bytes_per_second);
        self.unlock(state, true);
    }

    /// The body is larger than its limit.
    pub(super) fn refuse(&self) {
        let mut state = self.0.lock();
        state.over_limit = true;
        self.unlock(state, true);
    }

    /// Whether the last frame was taken.
    pub(super) fn is_end(&self) -> bool {
        let state = self.0.lock();
        let has_trailers = matches!(state.end, Some(End::Complete(Some(_))));
        self.0.is_complete(&state) && state.queue.is_empty() && !has_trailers
    }

    /// How many bytes the receiver has yet to get.
    pub(super) fn size_hint(&self) -> SizeHint {
        let state = self.0.lock();
        let queued = state.queued as u64;
        if let Some(length) = self.0.announced {
            return SizeHint::with_exact(length.saturating_sub(state.received) + queued);
        }
        let mut hint = SizeHint::new();
        match state.end {
            Some(End::Complete(_)) => hint.set_exact(queued),
            _ => hint.set_lower(queued),
        }
        hint
    }

    /// Waits for the loop, which is notified if there was no waiter before.
    fn wait<T>(&self, mut state: MutexGuard<'_, State>, cx: &Context<'_>) -> Poll<T> {
        let waker = cx.waker();
        let replaced = match &mut state.waiting {
            Some(waiting) if waiting.will_wake(waker) => None,
            waiting => Some(waiting.replace(waker.clone())),
        };
        self.unlock(state, matches!(replaced, Some(None)));
        Poll::Pending
    }

    /// Unlocks the state; then notifies the loop if it `must`, unless it was notified already.
    fn unlock(&self, mut state: MutexGuard<'_, State>, must: bool) {
        let notifies = must && !state.is_notified;
        state.is_notified |= must;
        drop(state);
        if notifies {
            self.0.notify.wake_by_ref();
        }
    }
}

impl From<Receiver> for Incoming {
    fn from(receiver: Receiver) -> Self {
        let limit = receiver.0.max_body;
        Self::with_limit(Source::Stream(receiver), limit)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.is_dropped = true;
        state.queued = 0;
        let freed = (mem::take(&mut state.queue), state.waiting.take());
        let must = !self.0.has_ended(&state);
        self.unlock(state, must);
        drop(freed);
    }
}

impl State {
    fn take_trailers(&mut self) -> Option<HeaderMap> {
        match &mut self.end {
            Some(End::Complete(trailers)) => trailers.take(),
            Some(End::Failed(_) | End::Gone) | None => None,
        }
    }
}

impl End {
    /// The error that follows the data in the queue. Not called for a complete body, which has none.
    fn error(&self) -> IncomingError {
        match self {
            Self::Failed(refusal) => IncomingError::refused(*refusal),
            Self::Complete(_) | Self::Gone => IncomingError::gone(),
        }
    }
}

/// Adds a piece to a queue. If it was joined with the last one, returns that, to be freed.
pub(crate) fn add_piece(queue: &mut VecDeque<Bytes>, data: Bytes) -> Option<Bytes> {
    let has_many = queue.len() >= MANY;
    match queue.back_mut() {
        Some(last) if has_many && last.len() + data.len() <= JOINED => {
            let joined = [&last[..], &data[..]].concat();
            Some(mem::replace(last, joined.into()))
        }
        _ => {
            queue.push_back(data);
            None
        }
    }
}
