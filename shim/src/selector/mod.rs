//! [`Selector`]: turns the poller's level-triggered reports into mio's edge-triggered events.
//!
//! # How it works
//!
//! **Armed and fired directions.** The poller waits for the directions that are *armed*. When it reports one, the
//! selector disarms it (it has *fired*) and reports it to the user, once. A call that fails with `WouldBlock` in a
//! direction arms this direction again. Because the poller is level-triggered, nothing that happens in between is
//! lost.
//!
//! **Writing starts as fired.** Nearly every socket is writable nearly always, so waiting for that
//! would end every wait at once. A registration with interest in writing is reported as
//! writable without a poll (an event is a hint). Writing is armed only after a write has failed with `WouldBlock`.
//!
//! **After a short read, the next read fails with `WouldBlock`** without a call. A read that fills less than its
//! buffer has drained the socket, but mio's contract makes users read on until `WouldBlock`; and in these runtimes a
//! call that fails is the most expensive of all. Only one read fails in this way; the next one makes the call. If the
//! runtime has reported a hang-up or an error, each read makes the call: it returns the end, or the error.
//! Writes that take fewer bytes than they were passed are treated in the same way.
//!
//! **`try_io` doesn't say which direction it used.** If it fails with `WouldBlock` while both directions have fired,
//! a poll finds out which of them are ready. One that isn't ready is armed. One that is ready may be the direction
//! of the call, and may have become ready since; so it must be armed, too. But if it is not the direction of the
//! call, it is reported again at once, and the user may spin. So it is armed at most [`MAX_AMBIGUOUS`] times in a row
//! without a call that succeeds.
//!
//! **A broken connection must not return `WouldBlock`.** Users remember that an event said that the connection is
//! closed (tokio never clears these flags), and would spin if a call then failed with `WouldBlock`. So the first such
//! `WouldBlock` is replaced by the error.
//!
//! **Pending events are queued.** They are dropped with their registration. Those for which the user's list
//! of events has no room are reported by the next poll.

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

/// The state that a [`Poll`](crate::Poll), its registries and its sources share.
pub(crate) struct Selector<W>(Mutex<State<W>>);

/// What kind of source to register.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Subject {
    Listener,
    Stream,
}

impl<W: Wasi> Selector<W> {
    pub(crate) fn new(wasi: W) -> Self {
        Self(Mutex::new(State::new(wasi)))
    }

    /// Waits until there are events or `timeout` has passed. Replaces the contents of `events`.
    pub(crate) fn select(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        events.clear();
        let mut state = self.lock();
        let deadline = timeout.filter(|timeout| !timeout.is_zero()).map(|timeout| {
            let nanos = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
            state.poller.now().saturating_add(nanos)
        });
        let mut left = timeout;
        loop {
            // If there are pending events, poll without waiting, so that others are found, too.
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
        let userdata = entries.next_key().to_u64();
        let (registration, is_listener) = match subject {
            Subject::Listener => {
                let registration = poller.register_listener(fd, userdata);
                let unsupported = |error| io::Error::new(ErrorKind::Unsupported, error);
                (registration.map_err(unsupported)?, true)
            }
            Subject::Stream => {
                let none = wasip1_poll::Interest::NONE;
                (poller.register(fd, userdata, none), false)
            }
        };
        let key = entries.insert(Entry {
            registration,
            is_listener,
            token,
            interests,
            armed: wasip1_poll::Interest::NONE,
            pending: Readiness::default(),
            is_queued: false,
            is_drained: false,
            is_full: false,
            read_fault: None,
            write_fault: None,
            ambiguous: 0,
        });
        state.arm_all(key);
        Ok(key)
    }

    pub(crate) fn reregister(&self, key: Key, token: Token, interests: Interest) {
        let mut state = self.lock();
        if let Some(entry) = state.entries.get_mut(key) {
            entry.token = token;
            entry.interests = interests;
            entry.is_drained = false;
            entry.is_full = false;
            // A fault that wasn't reported yet must still be reported. Everything else is found again.
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
        state.arm_all(key);
    }

    /// Reports a listener as readable, because its owner has connections that are accepted already.
    pub(crate) fn report_accepted(&self, key: Key) {
        let mut state = self.lock();
        let State {
            poller, entries, ..
        } = &mut *state;
        let Some(entry) = entries.get_mut(key) else {
            return;
        };
        let readable = entry.is_interested(Direction::Read);
        entry.arm(poller, wasip1_poll::Interest::NONE);
        state.add_pending(
            key,
            Readiness {
                readable,
                ..Readiness::default()
            },
        );
    }

    /// Ends a registration. Returns the connections that a listener has accepted before the user did.
    pub(crate) fn deregister(&self, key: Key) -> Vec<Fd> {
        let mut state = self.lock();
        let Some(entry) = state.entries.remove(key) else {
            return Vec::new();
        };
        let accepted = match entry.is_listener {
            true => state.poller.take_accepted(&entry.registration),
            false => Vec::new(),
        };
        // The source owns the file descriptor, and closes it.
        state.poller.deregister(entry.registration);
        accepted
    }

    /// Whether a stream has to be shut down before it is closed.
    pub(crate) fn closes_late(&self) -> bool {
        self.lock().poller.closes_late()
    }

    pub(crate) fn accept(&self, key: Key) -> io::Result<Fd> {
        self.call(key, |poller, entry| match poller.accept(&entry.registration) {
            Err(Errno::AGAIN) => Err(entry.would_block(poller, Direction::Read)),
            result => Ok(result?),
        })
    }

    pub(crate) fn read(&self, key: Key, buf: &mut [u8]) -> io::Result<usize> {
        self.call(key, |poller, entry| {
            // After a hang-up, the next read returns the end of the stream, and after an error that error.
            let is_drained = std::mem::take(&mut entry.is_drained) && entry.read_fault.is_none();
            if is_drained && !buf.is_empty() {
                return Err(entry.would_block(poller, Direction::Read));
            }
            match poller.read(&entry.registration, buf) {
                Err(Errno::AGAIN) => Err(entry.would_block(poller, Direction::Read)),
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
        let bufs = &bufs[..bufs.len().min(MAX_SLICES)];
        let wanted: usize = bufs.iter().map(|buf| buf.len()).sum();
        self.call(key, |poller, entry| {
            if std::mem::take(&mut entry.is_full) && wanted > 0 {
                return Err(entry.would_block(poller, Direction::Write));
            }
            match poller.write(&entry.registration, bufs) {
                Err(Errno::AGAIN) => Err(entry.would_block(poller, Direction::Write)),
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

    /// Records the result of a call that didn't go through the selector: `None` if it has succeeded, otherwise the
    /// kind of its error. Returns the error that the user gets instead, if there is one.
    pub(crate) fn record_call(&self, key: Key, kind: Option<ErrorKind>) -> Option<io::Error> {
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
            entry.ambiguous = 0;
            return None;
        }
        if let Some(fault) = entry.read_fault.take().or(entry.write_fault.take()) {
            return Some(fault.into());
        }
        let both = [Direction::Read, Direction::Write];
        let fired = both.map(|it| entry.is_interested(it) && !entry.is_armed(it));
        // If only one has fired, it is armed in any case, so no poll is needed.
        let ready = match fired {
            [true, true] => {
                let now = poller.ready_now(&entry.registration);
                [now.read, now.write]
            }
            _ => [false, false],
        };
        if ready[0] != ready[1] {
            entry.ambiguous = entry.ambiguous.saturating_add(1);
        }
        for at in [0, 1] {
            // One that is ready may have become ready only after the call.
            let may_have_blocked = !ready[at] || ready == [true, true] || entry.ambiguous <= MAX_AMBIGUOUS;
            if fired[at] && may_have_blocked {
                let _ = entry.would_block(poller, both[at]);
            }
        }
        None
    }

    fn lock(&self) -> MutexGuard<'_, State<W>> {
        // It is poisoned only if a test has panicked while it held the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W> fmt::Debug for Selector<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Selector").finish_non_exhaustive()
    }
}

/// How many times in a row a ready direction is armed after a `WouldBlock` in `try_io` that most likely came from
/// the other direction. At double, a user that spins makes four more calls.
const MAX_AMBIGUOUS: u8 = 4;

/// How many slices are passed to one write. The socket is full only if the write takes fewer bytes than these have.
const MAX_SLICES: usize = 16;
