//! [`State`]: the poller, the registered sources, and the queue of pending events.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use wasip1_poll::{Errno, Key, Poller, Ready, Table, Wasi};

use super::entry::{Direction, Entry};
use crate::event::{Event, Events, Readiness};

/// What the lock of the selector protects.
pub(super) struct State<W> {
    pub(super) poller: Poller<W>,
    pub(super) entries: Table<Entry>,
    /// The sources with pending events, in order. Also some that had pending events before.
    queue: VecDeque<Key>,
    /// The reports of one wait. A field, so that its memory is used again.
    ready: Vec<Ready>,
}

impl<W: Wasi> State<W> {
    pub(super) fn new(wasi: W) -> Self {
        Self {
            poller: Poller::new(wasi),
            entries: Table::default(),
            queue: VecDeque::new(),
            ready: Vec::new(),
        }
    }

    /// Whether there are pending events. If so, afterwards the source at the front of the queue has some.
    pub(super) fn has_pending(&mut self) -> bool {
        while let Some(key) = self.queue.front() {
            match self.entries.get_mut(*key) {
                Some(entry) if entry.pending.is_any() => return true,
                Some(entry) => entry.is_queued = false,
                None => {}
            }
            self.queue.pop_front();
        }
        false
    }

    /// Waits, and adds what is reported to the pending events.
    pub(super) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.ready.clear();
        self.poller.wait(&mut self.ready, timeout)?;
        for ready in std::mem::take(&mut self.ready) {
            self.record_ready(ready);
        }
        Ok(())
    }

    fn record_ready(&mut self, ready: Ready) {
        let key = Key::from_u64(ready.token);
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        let faulty = ready.error.is_some();
        let readiness = Readiness {
            readable: (ready.readable || faulty) && entry.is_interested(Direction::Read),
            writable: (ready.writable || faulty) && entry.is_interested(Direction::Write),
            // A listener that has failed may work again.
            read_closed: (ready.read_closed || faulty) && !entry.is_listener,
            write_closed: faulty && !entry.is_listener,
            error: faulty,
        };
        if !entry.is_listener {
            let hung_up = ready.read_closed.then_some(Errno::CONNRESET);
            entry.read_fault = ready.error.or(hung_up).or(entry.read_fault);
            entry.write_fault = ready.error.or(entry.write_fault);
        }
        let armed = wasip1_poll::Interest {
            read: entry.armed.read && !readiness.readable,
            write: entry.armed.write && !readiness.writable,
        };
        entry.arm(&mut self.poller, armed);
        self.add_pending(key, readiness);
    }

    /// Arms reading as if it had not fired, and lets writing fire at once. For a new or changed registration.
    pub(super) fn arm_all(&mut self, key: Key) {
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        let armed = wasip1_poll::Interest {
            // A pending fault is reported as readable, and only once.
            read: entry.is_interested(Direction::Read) && !entry.pending.readable,
            write: false,
        };
        entry.arm(&mut self.poller, armed);
        let writable = entry.is_interested(Direction::Write) && !entry.is_listener;
        self.add_pending(
            key,
            Readiness {
                writable,
                ..Readiness::default()
            },
        );
    }

    pub(super) fn add_pending(&mut self, key: Key, readiness: Readiness) {
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        entry.pending = entry.pending.union(readiness);
        if entry.pending.is_any() && !entry.is_queued {
            entry.is_queued = true;
            self.queue.push_back(key);
        }
    }

    pub(super) fn deliver(&mut self, events: &mut Events) {
        while events.has_room() && self.has_pending() {
            let Some(entry) = self.queue.pop_front().and_then(|key| self.entries.get_mut(key))
            else {
                continue;
            };
            entry.is_queued = false;
            events.push(Event::new(entry.token, std::mem::take(&mut entry.pending)));
        }
    }
}
