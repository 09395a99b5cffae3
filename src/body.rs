//! What a response's body can be.

use bytes::Bytes;

/// A response's body: what [`Server::serve`](crate::Server::serve) takes.
///
/// It is sealed: bodies of other kinds come with later versions of this crate.
pub trait Body: sealed::Sealed {}

impl<B: sealed::Sealed> Body for B {}

pub(crate) mod sealed {
    use super::Bytes;

    pub trait Sealed {
        /// The whole body.
        fn as_bytes(&self) -> &[u8];

        /// The whole body, to be kept until it is sent.
        fn into_bytes(self) -> Bytes;
    }
}

macro_rules! body {
    ($($body:ty),*) => {$(
        impl sealed::Sealed for $body {
            fn as_bytes(&self) -> &[u8] {
                self.as_ref()
            }

            fn into_bytes(self) -> Bytes {
                Bytes::from(self)
            }
        }
    )*};
}

body!(Vec<u8>, String, Bytes, &'static [u8], &'static str);

/// No body.
impl sealed::Sealed for () {
    fn as_bytes(&self) -> &[u8] {
        &[]
    }

    fn into_bytes(self) -> Bytes {
        Bytes::new()
    }
}
