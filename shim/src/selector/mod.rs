//! [`Selector`]: from the poller's level-triggered reports to mio's edges.
//!
//! # Theory of operation
//!
//! **Armed and fired.** The poller waits for the directions that are *armed*. What it reports is
//! disarmed and reported to the user, once. A call that answers `WouldBlock` in a direction arms
//! just that one. What was missed between is not lost, because the poller is level-triggered.
//!
//! **Writing starts as fired.** Nearly every socket can be written nearly always, so waiting for
//! that would end every wait at once. A registration with the interest to write is reported
//! writable without asking the runtime (an event is a hint), and the runtime is asked only after a
//! write has answered `WouldBlock`.
//!
//! **Short is last.** After a read that has filled less than its buffer the socket is drained, and
//! users of mio read on, as they must, for a `WouldBlock`. It is answered without asking the
//! runtime, where just this call is the dearest of all. Once: the next read asks. A write that has
//! taken less than it was given is alike.
//!
//! **`try_io`** doesn't tell its direction. After a `WouldBlock` the runtime is asked which of two
//! fired directions are ready, and one that isn't is armed. One that is may be the wrong one, which
//! would be reported at once, again and again; or the right one, which has become ready since. So it
//! is armed too, but only a few times in a row ([`MOST_DOUBTS`]) unless a call succeeds between.
//!
//! **A broken connection stays so.** Users remember the closed flags (tokio never forgets them), and
//! would spin if a call then answered `WouldBlock`. So the first such answer is replaced by the
//! error.
//!
//! **What is pending is queued**, and goes with its registration. What doesn't fit into the user's
//! room for events is reported by the next poll.

mod entry;
mod state;

use std::fmt;
use std::io::{self, ErrorKind, IoSlice};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(crate) use wasip1_poll::Key;
use wasip1_poll::{Errno, Fd, Poller, Shutdown, Wasi};

use crate::event::{Events, Readiness};
use crate::{Interest, Token};
use entry::{Direction, Entry};
use state::State;

/// What a [`Poll`](crate::Poll), its registries and its sources share.
pub(crate) struct Selector<W>(Mutex<State<W>>);

/// What is to be registered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Subject {
    Listener,
    Stream,
}

impl<W: Wasi> Selector<W> {
    pub(crate) fn new(wasi: W) -> Self {
        Self(Mutex::new(State::new(wasi)))
    }

    /// Puts into `events` what has happened by the time something has, or `timeout` has passed.
    pub(crate) fn select(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        events.clear();
        let mut state = self.lock();
        let deadline = timeout.filter(|timeout| !timeout.is_zero()).map(|timeout| {
            let nanos = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
            state.poller.now().saturating_add(nanos)
        });
        let mut left = timeout;
        loop {
            // What is pending doesn't wait, and doesn't keep the rest from being found either.
            if state.has_pending() {
                left = Some(Duration::ZERO);
            }
            state.wait(left)?;
            state.deliver(events);
            if !events.is_empty() || timeout.is_some_and(|timeout| timeout.is_zero()) {
                return Ok(());
            }
            left = match deadline {
                None => None,
                Some(deadline) => match deadline.saturating_sub(state.poller.now()) {
                    0 => return Ok(()),
                    nanos => Some(Duration::from_nanos(nanos)),
                },
            };
        }
    }

    pub(crate) fn register(
        &self,
        fd: Fd,
        subject: Subject,
        token: Token,
        interests: Interest,
    ) -> io::Result<Key> {
        let mut state = self.lock();
        let State {
            poller, entries, ..
        } = &mut *state;
        let name = entries.next_key().to_u64();
        let (registration, is_listener) = match subject {
            Subject::Listener => {
                let registration = poller.register_listener(fd, name);
                let refused = |error| io::Error::new(ErrorKind::Unsupported, error);
                (registration.map_err(refused)?, true)
            }
            Subject::Stream => {
                let none = wasip1_poll::Interest::NONE;
                (poller.register(fd, name, none), false)
            }
        };
        let key = entries.insert(Entry {
            registration,
            is_listener,
            token,
            interests,
            armed: wasip1_poll::Interest::NONE,
            pending: Readiness::NONE,
            is_queued: false,
            is_drained: false,
            is_full: false,
            read_fault: None,
            write_fault: None,
            doubts: 0,
        });
        state.begin(key);
        Ok(key)
    }

    pub(crate) fn reregister(&self, key: Key, token: Token, interests: Interest) {
        let mut state = self.lock();
        if let Some(entry) = state.entries.get_mut(key) {
            entry.token = token;
            entry.interests = interests;
            entry.is_drained = false;
            entry.is_full = false;
            // A fault that wasn't reported yet still has to be; the rest is found again.
            let Readiness {
                read_closed,
                write_closed,
                error,
                ..
            } = entry.pending;
            let faulty = read_closed || error;
            entry.pending = Readiness {
                readable: faulty && interests.is_readable(),
                writable: faulty && interests.is_writable(),
                read_closed,
                write_closed,
                error,
            };
        }
        state.begin(key);
    }

    /// A listener's owner has connections that were accepted already: it is readable.
    pub(crate) fn has_backlog(&self, key: Key) {
        let mut state = self.lock();
        let State {
            poller, entries, ..
        } = &mut *state;
        let Some(entry) = entries.get_mut(key) else {
            return;
        };
        let readable = entry.wants(Direction::Read);
        entry.arm(poller, wasip1_poll::Interest::NONE);
        state.report(
            key,
            Readiness {
                readable,
                ..Readiness::NONE
            },
        );
    }

    /// Ends a registration. The answer is what a listener has accepted before anyone asked.
    pub(crate) fn deregister(&self, key: Key) -> Vec<Fd> {
        let mut state = self.lock();
        let Some(entry) = state.entries.remove(key) else {
            return Vec::new();
        };
        let accepted = match entry.is_listener {
            true => state.poller.take_accepted(&entry.registration),
            false => Vec::new(),
        };
        // The file descriptor is the source's, which closes it.
        state.poller.deregister(entry.registration);
        accepted
    }

    /// Whether a stream has to be shut down before it is closed.
    pub(crate) fn closes_late(&self) -> bool {
        self.lock().poller.closes_late()
    }

    pub(crate) fn accept(&self, key: Key) -> io::Result<Fd> {
        self.call(key, |poller, entry| match poller.accept(&entry.registration) {
            Err(Errno::AGAIN) => Err(entry.blocked(poller, Direction::Read)),
            result => Ok(result?),
        })
    }

    pub(crate) fn read(&self, key: Key, buf: &mut [u8]) -> io::Result<usize> {
        self.call(key, |poller, entry| {
            if std::mem::take(&mut entry.is_drained) && !buf.is_empty() {
                return Err(entry.blocked(poller, Direction::Read));
            }
            match poller.read(&entry.registration, buf) {
                Err(Errno::AGAIN) => Err(entry.blocked(poller, Direction::Read)),
                result => {
                    let count = result?;
                    entry.is_drained =
                        entry.interests.is_readable() && count > 0 && count < buf.len();
                    Ok(count)
                }
            }
        })
    }

    pub(crate) fn write(&self, key: Key, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let bufs = &bufs[..bufs.len().min(MOST_SLICES)];
        let wanted: usize = bufs.iter().map(|buf| buf.len()).sum();
        self.call(key, |poller, entry| {
            if std::mem::take(&mut entry.is_full) && wanted > 0 {
                return Err(entry.blocked(poller, Direction::Write));
            }
            match poller.write(&entry.registration, bufs) {
                Err(Errno::AGAIN) => Err(entry.blocked(poller, Direction::Write)),
                result => {
                    let count = result?;
                    entry.is_full = entry.interests.is_writable() && count > 0 && count < wanted;
                    Ok(count)
                }
            }
        })
    }

    pub(crate) fn shutdown(&self, key: Key, how: Shutdown) -> io::Result<()> {
        self.call(key, |poller, entry| {
            Ok(poller.shutdown(&entry.registration, how)?)
        })
    }

    /// Makes a call on a source that is registered.
    fn call<R>(
        &self,
        key: Key,
        call: impl FnOnce(&mut Poller<W>, &mut Entry) -> io::Result<R>,
    ) -> io::Result<R> {
        let State {
            poller, entries, ..
        } = &mut *self.lock();
        call(poller, entries.get_mut(key).ok_or(Errno::BADF)?)
    }

    /// A call that didn't go through the selector has answered `kind`, or well. The answer is the
    /// error that the user gets instead of that one, if it is another.
    pub(crate) fn tried(&self, key: Key, kind: Option<ErrorKind>) -> Option<io::Error> {
        let mut state = self.lock();
        let State {
            poller, entries, ..
        } = &mut *state;
        let entry = entries.get_mut(key)?;
        let result = match kind {
            None => Ok(()),
            Some(ErrorKind::WouldBlock) => Err(Errno::AGAIN),
            Some(_) => Err(Errno::IO),
        };
        poller.note(&entry.registration, result);
        if kind != Some(ErrorKind::WouldBlock) {
            entry.doubts = 0;
            return None;
        }
        if let Some(fault) = entry.read_fault.take().or(entry.write_fault.take()) {
            return Some(fault.into());
        }
        let both = [Direction::Read, Direction::Write];
        let fired = both.map(|it| entry.wants(it) && !entry.is_armed(it));
        // One alone is waited for anyway: it may be the one, and so need not be asked about.
        let ready = match fired {
            [true, true] => {
                let now = poller.ready_now(&entry.registration);
                [now.read, now.write]
            }
            _ => [false, false],
        };
        if ready[0] != ready[1] {
            entry.doubts = entry.doubts.saturating_add(1);
        }
        for at in [0, 1] {
            // One that is ready may have become so only since the call.
            let is_suspect = !ready[at] || ready == [true, true] || entry.doubts <= MOST_DOUBTS;
            if fired[at] && is_suspect {
                let _ = entry.blocked(poller, both[at]);
            }
        }
        None
    }

    fn lock(&self) -> MutexGuard<'_, State<W>> {
        // A panic while it was held was a test's.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W> fmt::Debug for Selector<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Selector").finish_non_exhaustive()
    }
}

/// This often in a row a ready direction is reported after a `WouldBlock` in `try_io` that was most
/// likely the other's.
const MOST_DOUBTS: u8 = 4;

/// How many slices one write takes: if it takes less than these hold, the socket is full.
const MOST_SLICES: usize = 16;
