//! The trait [`Wasi`]: the calls of preview 1 that a server needs, with safe Rust types.
//!
//! [`Subscription`] and [`Event`] have the layout of the ABI, so that thousands of them
//! are passed to the runtime without a conversion. They have no references, and every bit pattern
//! is a valid value, so making and reading them is safe code.

use std::io::IoSlice;
use std::mem::offset_of;

use crate::errno::Errno;

/// The calls of WASI preview 1 that a server makes.
///
/// Each method makes one call, of the same name. The trait doesn't interpret results, and doesn't work around
/// runtimes that deviate from the specification. [`Poller`](crate::Poller) does that.
#[allow(
    clippy::missing_errors_doc,
    reason = "the error of each method is the errno of the call"
)]
pub trait Wasi {
    /// Waits for any of `subscriptions`. Writes the events to the start of `events`, and returns how many there are.
    ///
    /// `events` must be at least as long as `subscriptions`, otherwise the call fails with [`Errno::INVAL`].
    fn poll_oneoff(
        &self,
        subscriptions: &[Subscription],
        events: &mut [Event],
    ) -> Result<usize, Errno>;

    /// Accepts a connection; `flags` are set on the new file descriptor.
    fn sock_accept(&self, fd: Fd, flags: FdFlags) -> Result<Fd, Errno>;

    /// Reads into `buf`. It takes one buffer only, because runtimes fill only the first.
    fn fd_read(&self, fd: Fd, buf: &mut [u8]) -> Result<usize, Errno>;

    /// Writes from the slices in order.
    fn fd_write(&self, fd: Fd, bufs: &[IoSlice<'_>]) -> Result<usize, Errno>;

    /// Like [`fd_write`](Self::fd_write), for a socket, with flags.
    fn sock_send(&self, fd: Fd, bufs: &[IoSlice<'_>], flags: SendFlags) -> Result<usize, Errno>;

    /// Shuts down one or both directions of a socket.
    fn sock_shutdown(&self, fd: Fd, how: Shutdown) -> Result<(), Errno>;

    /// Closes a file descriptor.
    fn fd_close(&self, fd: Fd) -> Result<(), Errno>;

    /// Returns the type of a file descriptor, and its flags.
    fn fd_fdstat_get(&self, fd: Fd) -> Result<Fdstat, Errno>;

    /// Replaces a file descriptor's flags.
    fn fd_fdstat_set_flags(&self, fd: Fd, flags: FdFlags) -> Result<(), Errno>;

    /// Returns the length of a preopened directory's name.
    fn fd_prestat_get(&self, fd: Fd) -> Result<usize, Errno>;

    /// Writes a preopened directory's name to `name`, which has the length that
    /// [`fd_prestat_get`](Self::fd_prestat_get) has returned.
    fn fd_prestat_dir_name(&self, fd: Fd, name: &mut [u8]) -> Result<(), Errno>;

    /// Returns the time of a clock, in nanoseconds.
    fn clock_time_get(&self, clock: ClockId) -> Result<u64, Errno>;
}

/// A file descriptor's number.
pub type Fd = u32;

/// The first file descriptor that isn't a standard stream.
pub const FIRST_FD: Fd = 3;

/// One thing to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Subscription {
    userdata: u64,
    tag: u8,
    padding: [u8; 7],
    /// The file descriptor, or the id of the clock: both are at this offset in the ABI's union.
    subject: u32,
    timeout: u64,
    precision: u64,
    flags: u16,
}

impl Subscription {
    /// An event when `timeout` nanoseconds of the monotonic clock have passed.
    #[must_use]
    pub const fn clock(userdata: u64, timeout: u64) -> Self {
        Self::new(
            userdata,
            EventKind::Clock,
            ClockId::Monotonic as u32,
            timeout,
        )
    }

    /// An event when the monotonic clock shows `time`. Some runtimes don't support it.
    #[must_use]
    pub const fn clock_at(userdata: u64, time: u64) -> Self {
        let clock = Self::clock(userdata, time);
        Self { flags: 1, ..clock }
    }

    /// An event when `fd` can be read from.
    #[must_use]
    pub const fn read(userdata: u64, fd: Fd) -> Self {
        Self::new(userdata, EventKind::Read, fd, 0)
    }

    /// An event when `fd` can be written to.
    #[must_use]
    pub const fn write(userdata: u64, fd: Fd) -> Self {
        Self::new(userdata, EventKind::Write, fd, 0)
    }

    const fn new(userdata: u64, kind: EventKind, subject: u32, timeout: u64) -> Self {
        let tag = kind as u8;
        Self {
            userdata,
            tag,
            padding: [0; 7],
            subject,
            timeout,
            precision: 0,
            flags: 0,
        }
    }

    /// The number that the event will have, too.
    #[must_use]
    pub const fn userdata(&self) -> u64 {
        self.userdata
    }

    /// What is waited for.
    #[must_use]
    pub const fn kind(&self) -> EventKind {
        EventKind::from_tag(self.tag)
    }

    /// The file descriptor, unless this is a clock.
    #[must_use]
    pub const fn fd(&self) -> Option<Fd> {
        match self.kind() {
            EventKind::Read | EventKind::Write => Some(self.subject),
            EventKind::Clock | EventKind::Unknown => None,
        }
    }

    /// The timeout of a clock, in nanoseconds.
    #[must_use]
    pub const fn timeout(&self) -> u64 {
        self.timeout
    }
}

/// What has happened to one subscription.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Event {
    /// The number of the subscription.
    pub userdata: u64,
    /// The error of this subscription, or [`Errno::SUCCESS`].
    pub error: Errno,
    tag: u8,
    /// How many bytes there are, if the runtime knows that.
    pub nbytes: u64,
    flags: u16,
}

impl Event {
    const HANGUP: u16 = 1;

    /// An event without an error, for fake runtimes.
    #[must_use]
    pub const fn new(userdata: u64, kind: EventKind) -> Self {
        Self {
            userdata,
            error: Errno::SUCCESS,
            tag: kind as u8,
            nbytes: 0,
            flags: 0,
        }
    }

    /// The same with the number of bytes.
    #[must_use]
    pub const fn with_nbytes(self, nbytes: u64) -> Self {
        Self { nbytes, ..self }
    }

    /// The same with an error.
    #[must_use]
    pub const fn with_error(self, error: Errno) -> Self {
        Self { error, ..self }
    }

    /// The same with the hang-up flag.
    #[must_use]
    pub const fn with_hangup(self) -> Self {
        Self {
            flags: Self::HANGUP,
            ..self
        }
    }

    /// The kind of its subscription.
    #[must_use]
    pub const fn kind(&self) -> EventKind {
        EventKind::from_tag(self.tag)
    }

    /// Whether the peer has hung up.
    #[must_use]
    pub const fn hangup(&self) -> bool {
        self.flags & Self::HANGUP != 0
    }
}

// The offsets of the preview 1 ABI.
const _: () = {
    assert!(size_of::<Subscription>() == 48);
    assert!(offset_of!(Subscription, tag) == 8);
    assert!(offset_of!(Subscription, subject) == 16);
    assert!(offset_of!(Subscription, timeout) == 24);
    assert!(offset_of!(Subscription, precision) == 32);
    assert!(offset_of!(Subscription, flags) == 40);
    assert!(size_of::<Event>() == 32);
    assert!(offset_of!(Event, error) == 8);
    assert!(offset_of!(Event, tag) == 10);
    assert!(offset_of!(Event, nbytes) == 16);
    assert!(offset_of!(Event, flags) == 24);
};

/// The kinds of subscriptions and events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EventKind {
    /// A clock.
    Clock = 0,
    /// Reading from a file descriptor.
    Read = 1,
    /// Writing to a file descriptor.
    Write = 2,
    /// A number that preview 1 doesn't have.
    Unknown = u8::MAX,
}

impl EventKind {
    const fn from_tag(tag: u8) -> Self {
        match tag {
            0 => Self::Clock,
            1 => Self::Read,
            2 => Self::Write,
            _ => Self::Unknown,
        }
    }
}

/// The clocks that are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ClockId {
    /// The time of day, from 1970.
    Realtime = 0,
    /// The clock that never goes back.
    Monotonic = 1,
}

/// What [`Wasi::fd_fdstat_get`] returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fdstat {
    /// The type of the file descriptor.
    pub file_type: FileType,
    /// Its flags.
    pub flags: FdFlags,
}

/// The type of a file descriptor, as a number of preview 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileType(pub u8);

impl FileType {
    /// The runtime doesn't know the type, or doesn't report it.
    pub const UNKNOWN: Self = Self(0);
    /// A block device.
    pub const BLOCK_DEVICE: Self = Self(1);
    /// A character device, usually a terminal.
    pub const CHARACTER_DEVICE: Self = Self(2);
    /// A directory.
    pub const DIRECTORY: Self = Self(3);
    /// A regular file.
    pub const REGULAR_FILE: Self = Self(4);
    /// A datagram socket.
    pub const SOCKET_DGRAM: Self = Self(5);
    /// A stream socket: a listener or a connection.
    pub const SOCKET_STREAM: Self = Self(6);
    /// A symbolic link.
    pub const SYMBOLIC_LINK: Self = Self(7);

    /// Preview 1's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self.0 {
            0 => "UNKNOWN",
            1 => "BLOCK_DEVICE",
            2 => "CHARACTER_DEVICE",
            3 => "DIRECTORY",
            4 => "REGULAR_FILE",
            5 => "SOCKET_DGRAM",
            6 => "SOCKET_STREAM",
            7 => "SYMBOLIC_LINK",
            _ => "(not a preview 1 file type)",
        }
    }
}

/// A set of file descriptor flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FdFlags(pub u16);

impl FdFlags {
    /// None.
    pub const EMPTY: Self = Self(0);
    /// Calls fail with [`Errno::AGAIN`] instead of blocking.
    pub const NONBLOCK: Self = Self(1 << 2);

    /// Whether calls fail with [`Errno::AGAIN`] instead of blocking.
    #[must_use]
    pub const fn is_nonblock(self) -> bool {
        self.0 & Self::NONBLOCK.0 != 0
    }
}

/// The flags of [`Wasi::sock_send`]. Preview 1 defines none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendFlags(pub u16);

impl SendFlags {
    /// More output, or the end of the stream, follows at once, so that the system may send both in one packet. The host
    /// `wasip1-host` has this flag. Others ignore it, or refuse the call. It is the number of Linux' `MSG_MORE`.
    pub const MORE: Self = Self(0x8000);
}

/// Which directions [`Wasi::sock_shutdown`] shuts down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Shutdown {
    /// Receiving.
    Read = 1,
    /// Sending.
    Write = 2,
    /// Both.
    Both = 3,
}
