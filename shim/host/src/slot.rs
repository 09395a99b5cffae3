//! [`Slot`]: what stays when an instance is restarted, such as its listeners and counters.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mio::Waker;

use crate::counters::Counters;
use crate::listeners::Bound;

/// The counters of an instance, its listeners, and what wakes it from its waits.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    pub(crate) counters: Arc<Counters>,
    listeners: Mutex<Vec<Bound>>,
    waker: Mutex<Option<Waker>>,
}

impl Slot {
    pub(crate) fn new(listeners: Vec<Bound>) -> Self {
        Self {
            listeners: Mutex::new(listeners),
            ..Self::default()
        }
    }

    /// Another descriptor of each of its listeners, for a start. The slot's own descriptors keep the queues
    /// while the instance is restarted.
    pub(crate) fn clone_listeners(&self) -> io::Result<Vec<Bound>> {
        self.listeners().iter().map(Bound::try_clone).collect()
    }

    /// Whether a restarted instance would have a listener.
    pub(crate) fn has_listeners(&self) -> bool {
        !self.listeners().is_empty()
    }

    /// Gives up a listener that the guest has closed. If no other instance or process shares it, new connections
    /// are refused from now on.
    pub(crate) fn give_up(&self, number: usize) {
        self.listeners().retain(|it| it.number != number);
    }

    /// Takes all its listeners: it will not be restarted.
    pub(crate) fn take_listeners(&self) -> Vec<Bound> {
        std::mem::take(&mut self.listeners())
    }

    /// Sets what wakes the instance, as long as there is one.
    pub(crate) fn set_waker(&self, waker: Option<Waker>) {
        *lock(&self.waker) = waker;
    }

    /// Ends the wait of the instance, if it waits.
    pub(crate) fn wake(&self) {
        if let Some(waker) = &*lock(&self.waker) {
            // It fails only for an instance that has ended.
            let _ = waker.wake();
        }
    }

    fn listeners(&self) -> MutexGuard<'_, Vec<Bound>> {
        lock(&self.listeners)
    }
}

/// No invariant spans several statements, so a panic of another thread leaves the value valid.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
