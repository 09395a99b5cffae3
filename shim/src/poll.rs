use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::event::Source;
use crate::selector::Selector;
use crate::sys::{self, System};
use crate::{Events, Interest, Token};

/// Waits for the sources that are registered.
///
/// # What it promises
/// - A source's first event of a direction may come as soon as it is registered, and may be
///   spurious, as every event.
/// - **A direction that was reported is quiet** until a call on the source, or in its `try_io`, has
///   answered `WouldBlock` in that direction, or it is registered anew.
/// - After [`Registry::deregister`], and after a source was dropped, no poll reports its token for
///   it.
/// - A poll never fails for what has happened to one connection: that is the connection's event.
/// - Without a source, or when none has anything to wait for, a poll without a timeout blocks for
///   ever: there are no threads that could change that.
pub struct Poll {
    registry: Registry,
}

impl Poll {
    /// One without sources.
    ///
    /// # Errors
    /// None, here.
    #[cfg(any(feature = "os-poll", test))]
    pub fn new() -> io::Result<Self> {
        let selector = Arc::new(Selector::new(sys::system()));
        Ok(Self {
            registry: Registry { selector },
        })
    }

    /// Where sources are registered.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Waits until there is an event or `timeout` has passed (`None`: for ever), and puts the events
    /// into `events` instead of those that are there.
    ///
    /// # Errors
    /// Waiting has failed again and again in a way that is no connection's fault.
    pub fn poll(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        self.registry.selector.select(events, timeout)
    }
}

impl fmt::Debug for Poll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poll").finish_non_exhaustive()
    }
}

/// Registers sources for one [`Poll`].
pub struct Registry {
    pub(crate) selector: Arc<Selector<System>>,
}

impl Registry {
    /// Begins to wait for a source.
    ///
    /// # Errors
    /// It is registered already; or it is a listener that can't accept.
    pub fn register<S>(&self, source: &mut S, token: Token, interests: Interest) -> io::Result<()>
    where
        S: Source + ?Sized,
    {
        source.register(self, token, interests)
    }

    /// Changes the token and the interests. Directions that have fired are waited for again.
    ///
    /// # Errors
    /// It isn't registered, or for another `Poll`.
    pub fn reregister<S>(&self, source: &mut S, token: Token, interests: Interest) -> io::Result<()>
    where
        S: Source + ?Sized,
    {
        source.reregister(self, token, interests)
    }

    /// Ends the registration: no later poll reports it.
    ///
    /// # Errors
    /// It isn't registered, or for another `Poll`.
    pub fn deregister<S>(&self, source: &mut S) -> io::Result<()>
    where
        S: Source + ?Sized,
    {
        source.deregister(self)
    }

    /// Another handle to the same.
    ///
    /// # Errors
    /// None, here.
    pub fn try_clone(&self) -> io::Result<Self> {
        let selector = Arc::clone(&self.selector);
        Ok(Self { selector })
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}
