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

        /// Bytes of memory that it holds until then; none if it is static.
        fn memory(&self) -> usize;
    }
}

macro_rules! body {
    ($($body:ty, $is_static:literal);*) => {$(
        impl sealed::Sealed for $body {
            fn as_bytes(&self) -> &[u8] {
                self.as_ref()
            }

            fn into_bytes(self) -> Bytes {
                Bytes::from(self)
            }

            fn memory(&self) -> usize {
                if $is_static { 0 } else { self.as_bytes().len() }
            }
        }
    )*};
}

body!(Vec<u8>, false; String, false; Bytes, false; &'static [u8], true; &'static str, true);

/// No body.
impl sealed::Sealed for () {
    fn as_bytes(&self) -> &[u8] {
        &[]
    }

    fn into_bytes(self) -> Bytes {
        Bytes::new()
    }

    fn memory(&self) -> usize {
        0
    }
}
