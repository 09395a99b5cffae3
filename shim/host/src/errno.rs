//! The error numbers of preview 1.

use std::io;

/// An error number that a call returns to the guest. It is a plain number, because errors like `AGAIN` are part of
/// normal work, and shouldn't allocate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) u16);

macro_rules! errnos {
    ($($name:ident = $number:literal),* $(,)?) => {
        #[allow(dead_code, reason = "some are returned by wasmtime-wasi only, and named in the trace")]
        impl Errno {
            $(pub(crate) const $name: Self = Self($number);)*

            /// The name, for the trace.
            pub(crate) fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

errnos! {
    SUCCESS = 0,
    TOO_BIG = 1,
    ACCES = 2,
    ADDRINUSE = 3,
    ADDRNOTAVAIL = 4,
    AGAIN = 6,
    BADF = 8,
    CANCELED = 11,
    CONNABORTED = 13,
    CONNREFUSED = 14,
    CONNRESET = 15,
    EXIST = 20,
    FAULT = 21,
    FBIG = 22,
    HOSTUNREACH = 23,
    ILSEQ = 25,
    INTR = 27,
    INVAL = 28,
    IO = 29,
    ISDIR = 31,
    LOOP = 32,
    MFILE = 33,
    NAMETOOLONG = 37,
    NETDOWN = 38,
    NETUNREACH = 40,
    NFILE = 41,
    NOBUFS = 42,
    NOENT = 44,
    NOMEM = 48,
    NOSPC = 51,
    NOSYS = 52,
    NOTCONN = 53,
    NOTDIR = 54,
    NOTEMPTY = 55,
    NOTSOCK = 57,
    NOTSUP = 58,
    OVERFLOW = 61,
    PERM = 63,
    PIPE = 64,
    ROFS = 69,
    SPIPE = 70,
    TIMEDOUT = 73,
    XDEV = 75,
    NOTCAPABLE = 76,
}

/// The number for an error of the system. Errors without a number of their own are `IO`.
impl From<&io::Error> for Errno {
    fn from(error: &io::Error) -> Self {
        use rustix::io::Errno as E;
        match E::from_io_error(error) {
            Some(E::AGAIN) => Self::AGAIN,
            Some(E::ACCESS) => Self::ACCES,
            Some(E::BADF) => Self::BADF,
            Some(E::CONNABORTED) => Self::CONNABORTED,
            Some(E::CONNRESET) => Self::CONNRESET,
            Some(E::HOSTUNREACH) => Self::HOSTUNREACH,
            Some(E::INTR) => Self::INTR,
            Some(E::INVAL) => Self::INVAL,
            Some(E::MFILE) => Self::MFILE,
            Some(E::NETDOWN) => Self::NETDOWN,
            Some(E::NETUNREACH) => Self::NETUNREACH,
            Some(E::NFILE) => Self::NFILE,
            Some(E::NOBUFS) => Self::NOBUFS,
            Some(E::NOMEM) => Self::NOMEM,
            Some(E::NOSPC) => Self::NOSPC,
            Some(E::NOTCONN) => Self::NOTCONN,
            Some(E::NOTSOCK) => Self::NOTSOCK,
            Some(E::PERM) => Self::PERM,
            Some(E::PIPE) => Self::PIPE,
            Some(E::TIMEDOUT) => Self::TIMEDOUT,
            // Created by this host, for calls that a listener doesn't support.
            None if error.kind() == io::ErrorKind::NotConnected => Self::NOTCONN,
            _ => Self::IO,
        }
    }
}
