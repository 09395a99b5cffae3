//! [`Source`]: the trait of everything that can be registered.

use std::io;

use crate::{Interest, Registry, Token};

/// What can be registered: the sockets of [`net`](crate::net), and types that contain one and pass these calls on
/// to it.
pub trait Source {
    /// Begins the registration. Users call [`Registry::register`].
    ///
    /// # Errors
    /// It is registered already, or it can't be registered.
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest)
    -> io::Result<()>;

    /// Changes the registration. Users call [`Registry::reregister`].
    ///
    /// # Errors
    /// It isn't registered, or it is registered with another `Poll`.
    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()>;

    /// Ends the registration. Users call [`Registry::deregister`].
    ///
    /// # Errors
    /// It isn't registered, or it is registered with another `Poll`.
    fn deregister(&mut self, registry: &Registry) -> io::Result<()>;
}

impl<T: Source + ?Sized> Source for Box<T> {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        (**self).register(registry, token, interests)
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        (**self).reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        (**self).deregister(registry)
    }
}
