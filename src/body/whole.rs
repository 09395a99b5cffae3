//! [`Whole`]: bodies that are complete when the handler returns them.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;

use super::Body;
use super::served::Served;
use crate::error::Result;
use crate::request::Request;
use crate::server::Server;

/// A body of which all is there when the handler returns it.
///
/// Users see it only as [`Body`], and can't implement it.
pub trait Whole {
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

macro_rules! served {
    ($($body:ty)*) => {$(
        impl Body for $body {}

        impl Served for $body {
            fn serve<H>(server: &Server, handler: H) -> Result<()>
            where
                H: FnMut(Request) -> Response<Self>,
            {
                server.serve_whole(handler)
            }
        }
    )*};
}

served! {
    Vec<u8> String Bytes &'static [u8] &'static str Box<[u8]> Arc<[u8]> Cow<'static, [u8]>
    Cow<'static, str> ()
}

macro_rules! body {
    ($($body:ty, |$it:ident| $memory:expr;)*) => {$(
        impl Whole for $body {
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
        impl Whole for Cow<'static, $borrowed> {
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

impl Whole for Arc<[u8]> {
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

impl Whole for () {
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
