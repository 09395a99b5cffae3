//! What a response's body can be.

use bytes::Bytes;

/// A response's body: what [`Server::serve`](crate::Server::serve) takes. `Vec<u8>`, `String`,
/// [`Bytes`], `&'static [u8]`, `&'static str`, or `()` for none.
///
/// It is sealed: bodies of other kinds come with later versions of this crate.
pub trait Body: sealed::Sealed {}

pub(crate) mod sealed {
    use super::Bytes;

    pub trait Sealed {
        /// The whole body.
        fn as_bytes(&self) -> &[u8];

        /// Takes the whole body, to be kept until it is sent.
        fn take(&mut self) -> Bytes;

        /// Bytes of memory that are held for it alone until then: none if it is static or shared.
        fn memory(&self) -> usize;
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
    // What others have a share in is theirs to hold. Of what is ours alone, the length is all that can
    // be known.
    Bytes, |it| if it.is_unique() { it.len() } else { 0 };
    &'static [u8], |_it| 0;
    &'static str, |_it| 0;
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
