//! [`Poll`] waits for sources, and its [`Registry`] registers them.
//!
//! Both are handles to one `Selector`, which does the work.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::event::Source;
use crate::selector::Selector;
use crate::sys::{self, System};
use crate::{Events, Interest, Token};

/// Waits for registered sources.
///
/// # The contract
/// - The first event of a direction may come as soon as the source is registered. Like every event, it may be
///   spurious.
/// - A direction that was reported is not reported again until a call on the source, or in its `try_io`, fails with
///   `WouldBlock` in this direction, or the source is registered again.
/// - After [`Registry::deregister`], and after a source was dropped, no poll reports it.
/// - A poll never fails because of a fault of one connection. Such a fault is an event of the connection.
/// - If no source is registered, or none waits for anything, a poll without a timeout never returns: there are no
///   threads that could register one.
pub struct Poll {
    registry: Registry,
}

impl Poll {
    /// A poll without sources.
    ///
    /// # Errors
    /// None in this shim.
    #[cfg(any(feature = "os-poll", test))]
    pub fn new() -> io::Result<Self> {
        let selector = Arc::new(Selector::new(sys::system()));
        Ok(Self {
            registry: Registry { selector },
        })
    }

    /// The registry, which registers sources.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Waits until there is an event or `timeout` has passed (`None`: no timeout). Replaces the contents of `events`.
    ///
    /// # Errors
    /// Polling has failed many times in a row, with an error that isn't the fault of a connection.
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
    /// Registers a source.
    ///
    /// # Errors
    /// It is registered already, or it is a listener that can't accept.
    pub fn register<S>(&self, source: &mut S, token: Token, interests: Interest) -> io::Result<()>
    where
        S: Source + ?Sized,
    {
        source.register(self, token, interests)
    }

    /// Changes the token and the interests. Directions that were reported are waited for again.
    ///
    /// # Errors
    /// It isn't registered, or it is registered with another `Poll`.
    pub fn reregister<S>(&self, source: &mut S, token: Token, interests: Interest) -> io::Result<()>
    where
        S: Source + ?Sized,
    {
        source.reregister(self, token, interests)
    }

    /// Ends the registration: no later poll reports it.
    ///
    /// # Errors
    /// It isn't registered, or it is registered with another `Poll`.
    pub fn deregister<S>(&self, source: &mut S) -> io::Result<()>
    where
        S: Source + ?Sized,
    {
        source.deregister(self)
    }

    /// Another handle to the same registry.
    ///
    /// # Errors
    /// None in this shim.
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
