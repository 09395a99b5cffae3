//! Bodies that are whole: the types that `serve` sends.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

/// A response's body, for [`Server::serve`](crate::Server::serve): `Vec<u8>`, `String`, [`Bytes`],
/// `Box<[u8]>`, `Arc<[u8]>`, `&'static [u8]`, `&'static str`, a `Cow` of the last two, or `()` for no
/// body.
///
/// A static body, and one that is shared (`Bytes` or an `Arc` of which the handler keeps a clone, or that
/// several connections send), isn't counted in [`max_held`](crate::Limits::max_held) as long as it is shared.
///
/// The trait is sealed: later versions of this crate may add other kinds of bodies.
pub trait Body: sealed::Sealed {}

mod sealed {
    use std::sync::Arc;

    use super::Bytes;

    pub trait Sealed {
        /// The whole body.
        fn as_bytes(&self) -> &[u8];

        /// Takes the whole body, to hold it until it is sent.
        fn take(&mut self) -> Bytes;

        /// Bytes of memory that are held only for it until then: 0 if it is static or shared.
        fn memory(&self) -> usize;

        /// For an `Arc`: another clone, to read the reference count from later.
        fn share(&self) -> Option<Arc<[u8]>> {
            None
        }
    }
}

macro_rules! body {
    ($($body:ty, |$it:ident| $memory:expr;)*) => {$(
        impl Body for $body {}

        impl sealed::Sealed for $body {
            fn as_bytes(&self) -> &[u8] {
                self.as_ref()
            }

            fn take(&mut self) -> Bytes {
                Bytes::from(std::mem::take(self))
            }

            fn memory(&self) -> usize {
                let $it = self;
                $memory
            }
        }
    )*};
}

body! {
    Vec<u8>, |it| it.capacity();
    String, |it| it.capacity();
    // Shared memory is held by the handler anyway. The capacity of `Bytes` can't be queried; its length
    // is the best estimate.
    Bytes, |it| if it.is_unique() { it.len() } else { 0 };
    &'static [u8], |_it| 0;
    &'static str, |_it| 0;
    Box<[u8]>, |it| it.len();
}

macro_rules! cow {
    ($($borrowed:ty)*) => {$(
        impl Body for Cow<'static, $borrowed> {}

        impl sealed::Sealed for Cow<'static, $borrowed> {
            fn as_bytes(&self) -> &[u8] {
                (**self).as_ref()
            }

            fn take(&mut self) -> Bytes {
                match std::mem::take(self) {
                    Cow::Borrowed(body) => Bytes::from(body),
                    Cow::Owned(body) => Bytes::from(body),
                }
            }

            fn memory(&self) -> usize {
                match self {
                    Cow::Borrowed(_) => 0,
                    Cow::Owned(body) => body.capacity(),
                }
            }
        }
    )*};
}

cow! { [u8] str }

impl Body for Arc<[u8]> {}

impl sealed::Sealed for Arc<[u8]> {
    fn as_bytes(&self) -> &[u8] {
        self
    }

    fn take(&mut self) -> Bytes {
        Bytes::from_owner(std::mem::take(self))
    }

    fn memory(&self) -> usize {
        match Arc::strong_count(self) {
            1 => self.len(),
            _ => 0,
        }
    }

    fn share(&self) -> Option<Arc<[u8]>> {
        Some(Arc::clone(self))
    }
}

impl Body for () {}

impl sealed::Sealed for () {
    fn as_bytes(&self) -> &[u8] {
        &[]
    }

    fn take(&mut self) -> Bytes {
        Bytes::new()
    }

    fn memory(&self) -> usize {
        0
    }
}
