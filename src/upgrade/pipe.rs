//! [`Pipe`]: what the loop and the user of an upgraded connection share.
//!
//! The user may be in another thread. It changes the state under a lock, and notifies the loop, which then gives the
//! connection a turn. The loop passes input on, takes the output, and wakes the user.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};

use crate::executor::lock;
use crate::incoming::{QUEUE, READ_ON, add_piece};

/// What the two sides share: first the offer of an upgrade, then the bytes of both directions.
#[derive(Debug)]
pub(crate) struct Pipe {
    state: Mutex<State>,
    /// Called when the loop must call [`exchange`](Pipe::exchange).
    notify: Waker,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// The task that waits for the upgrade.
    opener: Option<Waker>,

    /// Input that waits to be read.
    input: VecDeque<Bytes>,
    queued: usize,
    /// What the loop was last told of `queued`. It counts that much as held, and reads less because of it.
    reported: usize,
    input_has_ended: bool,
    reader: Option<Waker>,

    /// Output that waits for the loop.
    output: Vec<u8>,
    /// Output that the loop has taken, and the system hasn't.
    unsent: usize,
    /// How much output may wait in all.
    room: usize,
    /// The task that waits for room, or for the end of the output.
    writer: Option<Waker>,
    /// The output has ended.
    is_closing: bool,
    /// All of it was sent, and writing was shut down.
    is_shut: bool,

    /// The user has dropped its side.
    is_dropped: bool,
    /// The connection is closed: the error from now on.
    gone: Option<ErrorKind>,
    /// The loop was notified since its last [`exchange`](Pipe::exchange).
    is_notified: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The handler can take the upgrade.
    Offered,
    /// The handler has taken the upgrade.
    Taken,
    /// The connection was upgraded.
    Open,
    /// The connection wasn't upgraded, and won't be.
    Failed(&'static str),
}

/// What the user wants.
#[derive(Debug)]
pub(crate) struct Wishes {
    /// Output that was written since the last time.
    pub(crate) output: Vec<u8>,
    /// How many bytes of input wait to be read.
    pub(crate) queued: usize,
    /// Whether the user waits until more of the output is sent, or may have to: more than half of the room is used.
    pub(crate) awaits_sending: bool,
    /// The output ends.
    pub(crate) is_closing: bool,
    /// The connection isn't used any more.
    pub(crate) is_dropped: bool,
}

/// The memory of the output is used again up to this capacity: at half, messages of 1,000 bytes allocate each time; at
/// double, 10,000 idle connections hold 20 MiB for it.
const KEPT_OUTPUT: usize = 1 << 10;

/// The side of the loop.
impl Pipe {
    pub(crate) fn new(notify: Waker) -> Arc<Self> {
        let state = State {
            phase: Phase::Offered,
            opener: None,
            input: VecDeque::new(),
            queued: 0,
            reported: 0,
            input_has_ended: false,
            reader: None,
            output: Vec::new(),
            unsent: 0,
            room: QUEUE,
            writer: None,
            is_closing: false,
            is_shut: false,
            is_dropped: false,
            gone: None,
            is_notified: false,
        };
        Arc::new(Self {
            state: Mutex::new(state),
            notify,
        })
    }

    /// Whether the handler has taken the upgrade, and its future still exists.
    pub(crate) fn is_taken(&self) -> bool {
        let state = lock(&self.state);
        state.phase == Phase::Taken && !state.is_dropped
    }

    /// The connection was upgraded.
    pub(crate) fn open(&self) {
        self.decide(Phase::Open);
    }

    /// The connection wasn't upgraded.
    pub(crate) fn fail(&self, why: &'static str) {
        self.decide(Phase::Failed(why));
    }

    fn decide(&self, phase: Phase) {
        let mut state = lock(&self.state);
        if matches!(state.phase, Phase::Offered | Phase::Taken) {
            state.phase = phase;
            let opener = state.opener.take();
            drop(state);
            wake(opener);
        }
    }

    /// Adds input. Returns how many bytes wait to be read.
    pub(crate) fn push(&self, data: Bytes) -> usize {
        let mut state = lock(&self.state);
        let mut freed = None;
        if !state.is_dropped {
            state.queued += data.len();
            freed = add_piece(&mut state.input, data);
        }
        state.reported = state.queued;
        let (queued, reader) = (state.queued, state.reader.take());
        drop(state);
        drop(freed);
        wake(reader);
        queued
    }

    /// The client has ended its stream.
    pub(crate) fn end_input(&self) {
        let mut state = lock(&self.state);
        state.input_has_ended = true;
        let reader = state.reader.take();
        drop(state);
        wake(reader);
    }

    /// Reports how much output is not sent yet, of what was taken before, whether writing was shut down, and how much
    /// may wait from now on. Returns what the user wants; the output is taken.
    pub(crate) fn exchange(&self, unsent: usize, is_shut: bool, room: usize) -> Wishes {
        let mut state = lock(&self.state);
        state.is_notified = false;
        state.reported = state.queued;
        let output = mem::take(&mut state.output);
        (state.unsent, state.is_shut, state.room) = (unsent + output.len(), is_shut, room);
        // At half: so a writer fills it in few steps.
        let writer = match is_shut || state.unsent <= room / 2 {
            true => state.writer.take(),
            false => None,
        };
        let is_half_used = state.unsent > room / 2;
        let wishes = Wishes {
            output,
            queued: state.queued,
            awaits_sending: state.writer.is_some() || state.is_closing || is_half_used,
            is_closing: state.is_closing,
            is_dropped: state.is_dropped,
        };
        drop(state);
        wake(writer);
        wishes
    }

    /// How many pieces of input wait.
    #[cfg(test)]
    pub(super) fn pieces(&self) -> usize {
        lock(&self.state).input.len()
    }

    /// Takes back the memory of output that was copied, for further output.
    pub(crate) fn give_back(&self, mut memory: Vec<u8>) {
        if (1..=KEPT_OUTPUT).contains(&memory.capacity()) {
            memory.clear();
            let mut state = lock(&self.state);
            if state.output.capacity() == 0 {
                state.output = memory;
            }
        }
    }

    /// The connection is closed. `failure` is `None` if that is because both directions have ended.
    pub(crate) fn close(&self, failure: Option<ErrorKind>) {
        self.fail("the connection has ended");
        let mut state = lock(&self.state);
        let mut freed = VecDeque::new();
        match failure {
            None => (state.input_has_ended, state.is_shut) = (true, true),
            Some(_) => {
                // What is lost must not look like a complete stream.
                state.input_has_ended &= state.queued == 0;
                state.queued = 0;
                freed = mem::take(&mut state.input);
            }
        }
        state.gone = failure.or(Some(ErrorKind::BrokenPipe));
        state.is_closing |= failure.is_none();
        let output = mem::take(&mut state.output);
        let (reader, writer) = (state.reader.take(), state.writer.take());
        drop(state);
        drop((freed, output));
        wake(reader);
        wake(writer);
    }
}

/// The offer of an upgrade, in a request's extensions.
#[derive(Clone)]
pub(super) struct Offer(Arc<Pipe>);

impl Offer {
    pub(super) fn new(pipe: &Arc<Pipe>) -> Self {
        Self(Arc::clone(pipe))
    }

    /// `None` if a clone of it was taken before.
    pub(super) fn take(self) -> Option<User> {
        let mut state = lock(&self.0.state);
        if state.phase == Phase::Offered {
            state.phase = Phase::Taken;
        } else if !matches!(state.phase, Phase::Failed(_)) || state.is_dropped {
            return None;
        }
        drop(state);
        Some(User(self.0))
    }
}

/// The side of the user. Dropping it ends the use of the connection.
#[derive(Debug)]
pub(super) struct User(Arc<Pipe>);

impl User {
    /// Ready when it is decided whether the connection is upgraded.
    pub(super) fn poll_open(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = lock(&self.0.state);
        match state.phase {
            Phase::Open | Phase::Failed(_) => Poll::Ready(()),
            Phase::Offered | Phase::Taken => {
                let replaced = wait(&mut state.opener, cx);
                drop(state);
                drop(replaced);
                Poll::Pending
            }
        }
    }

    /// Why the connection wasn't upgraded.
    pub(super) fn why_failed(&self) -> Option<&'static str> {
        match lock(&self.0.state).phase {
            Phase::Failed(why) => Some(why),
            Phase::Offered | Phase::Taken | Phase::Open => None,
        }
    }

    pub(super) fn poll_read(&self, cx: &Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut state = lock(&self.0.state);
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if state.queued > 0 {
            let before = state.queued;
            let (read, freed) = state.read(buf);
            let reads_on = before > READ_ON && state.queued <= READ_ON;
            self.unlock(state, reads_on);
            drop(freed);
            return Poll::Ready(Ok(read));
        }
        if state.input_has_ended {
            return Poll::Ready(Ok(0));
        }
        if let Some(kind) = state.gone {
            return Poll::Ready(Err(kind.into()));
        }
        let replaced = wait(&mut state.reader, cx);
        // While memory is short, the loop reads no more until it knows that all was read.
        let must = state.reported > 0;
        self.unlock(state, must);
        drop(replaced);
        Poll::Pending
    }

    pub(super) fn poll_write(&self, cx: &Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = lock(&self.0.state);
        if let Some(kind) = state.gone {
            return Poll::Ready(Err(kind.into()));
        }
        if state.is_closing {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let waiting = state.unsent + state.output.len();
        let length = state.room.saturating_sub(waiting).min(buf.len());
        if length == 0 {
            let replaced = wait(&mut state.writer, cx);
            drop(state);
            drop(replaced);
            return Poll::Pending;
        }
        state.output.extend_from_slice(&buf[..length]);
        self.unlock(state, true);
        Poll::Ready(Ok(length))
    }

    pub(super) fn flush(&self) -> io::Result<()> {
        let state = lock(&self.0.state);
        match state.gone {
            Some(kind) if !state.is_shut => Err(kind.into()),
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn poll_close(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let mut state = lock(&self.0.state);
        if state.is_shut {
            return Poll::Ready(Ok(()));
        }
        if let Some(kind) = state.gone {
            return Poll::Ready(Err(kind.into()));
        }
        let is_new = !mem::replace(&mut state.is_closing, true);
        let replaced = wait(&mut state.writer, cx);
        self.unlock(state, is_new);
        drop(replaced);
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

impl Drop for User {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.is_dropped = true;
        state.queued = 0;
        let input = mem::take(&mut state.input);
        let wakers = [
            state.opener.take(),
            state.reader.take(),
            state.writer.take(),
        ];
        let must = state.phase == Phase::Open && state.gone.is_none();
        self.unlock(state, must);
        drop((input, wakers));
    }
}

impl State {
    /// Moves input into the buffer. Returns how many bytes, and what is to be freed.
    fn read(&mut self, buf: &mut [u8]) -> (usize, Option<Bytes>) {
        let (mut read, mut freed) = (0, None);
        while let Some(front) = self.input.front_mut()
            && read < buf.len()
        {
            let length = front.len().min(buf.len() - read);
            front.copy_to_slice(&mut buf[read..read + length]);
            read += length;
            if front.is_empty() {
                freed = self.input.pop_front();
            }
        }
        self.queued = self.queued.saturating_sub(read);
        (read, freed)
    }
}

/// Records the waker of a task that waits. Returns the waker that it replaces, to be dropped after unlocking: that may
/// drop the task, and with it this side.
fn wait(waiting: &mut Option<Waker>, cx: &Context<'_>) -> Option<Waker> {
    match waiting {
        Some(waker) if waker.will_wake(cx.waker()) => None,
        waiting => waiting.replace(cx.waker().clone()),
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
