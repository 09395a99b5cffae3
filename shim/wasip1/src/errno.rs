//! The error numbers of preview 1, by name.

use std::fmt;
use std::io;

/// An error number of preview 1.
///
/// It is displayed as `AGAIN (6): resource unavailable, or operation would block`.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Errno(pub u16);

impl Errno {
    /// Its name in preview 1, without a prefix. For other numbers, `(unknown errno)`.
    #[must_use]
    pub fn name(self) -> &'static str {
        TABLE
            .get(usize::from(self.0))
            .map_or("(unknown errno)", |row| row.0)
    }

    /// Its meaning.
    #[must_use]
    pub fn message(self) -> &'static str {
        TABLE
            .get(usize::from(self.0))
            .map_or("not an error number of preview 1", |row| row.1)
    }

    /// The nearest kind of [`io::Error`].
    #[must_use]
    pub fn kind(self) -> io::ErrorKind {
        use io::ErrorKind as Kind;
        match self {
            Self::AGAIN => Kind::WouldBlock,
            Self::INTR => Kind::Interrupted,
            Self::CONNRESET | Self::NETRESET => Kind::ConnectionReset,
            Self::CONNABORTED => Kind::ConnectionAborted,
            Self::CONNREFUSED => Kind::ConnectionRefused,
            Self::NOTCONN => Kind::NotConnected,
            Self::PIPE => Kind::BrokenPipe,
            Self::TIMEDOUT => Kind::TimedOut,
            Self::ADDRINUSE => Kind::AddrInUse,
            Self::ADDRNOTAVAIL => Kind::AddrNotAvailable,
            Self::HOSTUNREACH => Kind::HostUnreachable,
            Self::NETUNREACH => Kind::NetworkUnreachable,
            Self::NETDOWN => Kind::NetworkDown,
            Self::ACCES | Self::PERM | Self::NOTCAPABLE => Kind::PermissionDenied,
            Self::NOENT => Kind::NotFound,
            Self::EXIST => Kind::AlreadyExists,
            Self::INVAL => Kind::InvalidInput,
            Self::NOMEM => Kind::OutOfMemory,
            Self::NOSYS | Self::NOTSUP => Kind::Unsupported,
            _ => Kind::Other,
        }
    }
}

impl Errno {
    /// The number of an [`io::Error`] that was made from an `Errno`.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<Self> {
        if cfg!(target_os = "wasi") {
            let number = error.raw_os_error()?;
            u16::try_from(number).ok().map(Self)
        } else {
            error.get_ref()?.downcast_ref().copied()
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.name(), self.0, self.message())
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.0)
    }
}

impl std::error::Error for Errno {}

impl From<Errno> for io::Error {
    /// On WASI, the error of the system with this number. Natively (in tests), one of the same kind that contains
    /// the number.
    fn from(errno: Errno) -> Self {
        if cfg!(target_os = "wasi") {
            Self::from_raw_os_error(i32::from(errno.0))
        } else {
            Self::new(errno.kind(), errno)
        }
    }
}

macro_rules! errnos {
    ($($constant:ident, $name:literal, $message:literal;)*) => {
        errnos!(@constants 0; $($constant, $message;)*);

        const TABLE: &[(&str, &str)] = &[$(($name, $message)),*];
    };
    (@constants $number:expr; $constant:ident, $message:literal; $($rest:tt)*) => {
        impl Errno {
            #[doc = concat!("Preview 1: ", $message, ".")]
            pub const $constant: Self = Self($number);
        }
        errnos!(@constants $number + 1; $($rest)*);
    };
    (@constants $number:expr;) => {};
}

// In the order of their numbers, from 0.
errnos! {
    SUCCESS, "SUCCESS", "no error";
    TOOBIG, "2BIG", "argument list too long";
    ACCES, "ACCES", "permission denied";
    ADDRINUSE, "ADDRINUSE", "address in use";
    ADDRNOTAVAIL, "ADDRNOTAVAIL", "address not available";
    AFNOSUPPORT, "AFNOSUPPORT", "address family not supported";
    AGAIN, "AGAIN", "resource unavailable, or operation would block";
    ALREADY, "ALREADY", "connection already in progress";
    BADF, "BADF", "bad file descriptor";
    BADMSG, "BADMSG", "bad message";
    BUSY, "BUSY", "device or resource busy";
    CANCELED, "CANCELED", "operation canceled";
    CHILD, "CHILD", "no child processes";
    CONNABORTED, "CONNABORTED", "connection aborted";
    CONNREFUSED, "CONNREFUSED", "connection refused";
    CONNRESET, "CONNRESET", "connection reset by the peer";
    DEADLK, "DEADLK", "resource deadlock would occur";
    DESTADDRREQ, "DESTADDRREQ", "destination address required";
    DOM, "DOM", "argument outside the function's domain";
    DQUOT, "DQUOT", "quota exceeded";
    EXIST, "EXIST", "file exists";
    FAULT, "FAULT", "bad address";
    FBIG, "FBIG", "file too large";
    HOSTUNREACH, "HOSTUNREACH", "host is unreachable";
    IDRM, "IDRM", "identifier removed";
    ILSEQ, "ILSEQ", "illegal byte sequence";
    INPROGRESS, "INPROGRESS", "operation in progress";
    INTR, "INTR", "interrupted";
    INVAL, "INVAL", "invalid argument";
    IO, "IO", "input/output error";
    ISCONN, "ISCONN", "socket is connected";
    ISDIR, "ISDIR", "is a directory";
    LOOP, "LOOP", "too many levels of symbolic links";
    MFILE, "MFILE", "too many open file descriptors";
    MLINK, "MLINK", "too many links";
    MSGSIZE, "MSGSIZE", "message too large";
    MULTIHOP, "MULTIHOP", "multihop attempted";
    NAMETOOLONG, "NAMETOOLONG", "file name too long";
    NETDOWN, "NETDOWN", "network is down";
    NETRESET, "NETRESET", "connection aborted by the network";
    NETUNREACH, "NETUNREACH", "network unreachable";
    NFILE, "NFILE", "too many open files in the system";
    NOBUFS, "NOBUFS", "no buffer space";
    NODEV, "NODEV", "no such device";
    NOENT, "NOENT", "no such file or directory";
    NOEXEC, "NOEXEC", "executable file format error";
    NOLCK, "NOLCK", "no locks available";
    NOLINK, "NOLINK", "link severed";
    NOMEM, "NOMEM", "not enough memory";
    NOMSG, "NOMSG", "no message of the desired type";
    NOPROTOOPT, "NOPROTOOPT", "protocol not available";
    NOSPC, "NOSPC", "no space left on device";
    NOSYS, "NOSYS", "function not supported";
    NOTCONN, "NOTCONN", "socket is not connected";
    NOTDIR, "NOTDIR", "not a directory";
    NOTEMPTY, "NOTEMPTY", "directory not empty";
    NOTRECOVERABLE, "NOTRECOVERABLE", "state not recoverable";
    NOTSOCK, "NOTSOCK", "not a socket";
    NOTSUP, "NOTSUP", "not supported";
    NOTTY, "NOTTY", "inappropriate control operation";
    NXIO, "NXIO", "no such device or address";
    OVERFLOW, "OVERFLOW", "value too large for its type";
    OWNERDEAD, "OWNERDEAD", "previous owner died";
    PERM, "PERM", "operation not permitted";
    PIPE, "PIPE", "broken pipe";
    PROTO, "PROTO", "protocol error";
    PROTONOSUPPORT, "PROTONOSUPPORT", "protocol not supported";
    PROTOTYPE, "PROTOTYPE", "wrong protocol type for the socket";
    RANGE, "RANGE", "result too large";
    ROFS, "ROFS", "read-only file system";
    SPIPE, "SPIPE", "invalid seek";
    SRCH, "SRCH", "no such process";
    STALE, "STALE", "stale handle";
    TIMEDOUT, "TIMEDOUT", "timed out";
    TXTBSY, "TXTBSY", "text file busy";
    XDEV, "XDEV", "cross-device link";
    NOTCAPABLE, "NOTCAPABLE", "capabilities insufficient";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_preview_1() {
        assert_eq!(TABLE.len(), 77);
        assert_eq!(Errno::AGAIN, Errno(6));
        assert_eq!(Errno::BADF, Errno(8));
        assert_eq!(Errno::INTR, Errno(27));
        assert_eq!(Errno::IO, Errno(29));
        assert_eq!(Errno::NOTSUP, Errno(58));
        assert_eq!(Errno::NOTCAPABLE, Errno(76));
    }

    #[test]
    fn displays_name_number_and_meaning() {
        let text = Errno::AGAIN.to_string();
        assert_eq!(
            text,
            "AGAIN (6): resource unavailable, or operation would block"
        );
        assert_eq!(
            Errno::TOOBIG.to_string(),
            "2BIG (1): argument list too long"
        );
        assert_eq!(
            Errno(999).to_string(),
            "(unknown errno) (999): not an error number of preview 1"
        );
    }

    #[test]
    fn converts_to_an_io_error_of_the_same_kind() {
        for errno in [
            Errno::AGAIN,
            Errno::CONNRESET,
            Errno::PIPE,
            Errno::INTR,
            Errno::TIMEDOUT,
        ] {
            assert_eq!(io::Error::from(errno).kind(), errno.kind());
            assert_eq!(Errno::of(&io::Error::from(errno)), Some(errno));
        }
    }
}
