//! The trait [`Wasi`]: the calls of preview 1 that a server needs, with safe Rust types.
//!
//! [`Subscription`] and [`Event`] are laid out as the ABI wants them, so that thousands of them
//! reach the runtime without being converted first. They hold no references and every bit pattern
//! is a valid value, so building and reading them is safe code.

use std::io::IoSlice;
use std::mem::offset_of;

use crate::errno::Errno;

/// The calls of WASI preview 1 that a server makes.
///
/// One method is one call, with the same name. A reader of the preview 1 text finds no policy
/// here: what the answers mean, and what is done about runtimes that bend the text, is the
/// [`Poller`](crate::Poller)'s business.
#[allow(
    clippy::missing_errors_doc,
    reason = "each method's error is the call's own errno"
)]
pub trait Wasi {
    /// Waits for any of `subscriptions` and writes what happened to the start of `events`.
    ///
    /// `events` must be at least as long as `subscriptions`, or the answer is [`Errno::INVAL`].
    fn poll_oneoff(
        &self,
        subscriptions: &[Subscription],
        events: &mut [Event],
    ) -> Result<usize, Errno>;

    /// Accepts a connection; `flags` are set on the new file descriptor.
    fn sock_accept(&self, fd: Fd, flags: FdFlags) -> Result<Fd, Errno>;

    /// Reads into `buf`. There is one buffer only, because runtimes fill just the first.
    fn fd_read(&self, fd: Fd, buf: &mut [u8]) -> Result<usize, Errno>;

    /// Writes from the slices in order.
    fn fd_write(&self, fd: Fd, bufs: &[IoSlice<'_>]) -> Result<usize, Errno>;

    /// Ends one or both directions of a socket.
    fn sock_shutdown(&self, fd: Fd, how: Shutdown) -> Result<(), Errno>;

    /// Closes a file descriptor.
    fn fd_close(&self, fd: Fd) -> Result<(), Errno>;

    /// What kind of thing a file descriptor is, and its flags.
    fn fd_fdstat_get(&self, fd: Fd) -> Result<Fdstat, Errno>;

    /// Replaces a file descriptor's flags.
    fn fd_fdstat_set_flags(&self, fd: Fd, flags: FdFlags) -> Result<(), Errno>;

    /// The length of a preopened directory's name.
    fn fd_prestat_get(&self, fd: Fd) -> Result<usize, Errno>;

    /// A preopened directory's name; `name` is as long as [`fd_prestat_get`](Self::fd_prestat_get)
    /// said.
    fn fd_prestat_dir_name(&self, fd: Fd, name: &mut [u8]) -> Result<(), Errno>;

    /// The time of a clock in nanoseconds.
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
    /// The file descriptor, or the clock's id: the ABI's union has both at this place.
    subject: u32,
    timeout: u64,
    precision: u64,
    flags: u16,
}

impl Subscription {
    /// The event when `timeout` nanoseconds of the monotonic clock have passed from now.
    #[must_use]
    pub const fn clock(userdata: u64, timeout: u64) -> Self {
        Self::new(
            userdata,
            EventKind::Clock,
            ClockId::Monotonic as u32,
            timeout,
        )
    }

    /// The event when the monotonic clock shows `time`. Not every runtime can do it.
    #[must_use]
    pub const fn clock_at(userdata: u64, time: u64) -> Self {
        let clock = Self::clock(userdata, time);
        Self { flags: 1, ..clock }
    }

    /// The event when `fd` can be read from.
    #[must_use]
    pub const fn read(userdata: u64, fd: Fd) -> Self {
        Self::new(userdata, EventKind::Read, fd, 0)
    }

    /// The event when `fd` can be written to.
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

    /// The number that comes back in the event.
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

    /// A clock's time in nanoseconds.
    #[must_use]
    pub const fn timeout(&self) -> u64 {
        self.timeout
    }
}

/// One thing that happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Event {
    /// The subscription's number.
    pub userdata: u64,
    /// What went wrong with this subscription, or [`Errno::SUCCESS`].
    pub error: Errno,
    tag: u8,
    /// How many bytes there are, if the runtime knows.
    pub nbytes: u64,
    flags: u16,
}

impl Event {
    const HANGUP: u16 = 1;

    /// An event without error, as fakes make it.
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

    /// Which kind of subscription this answers.
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
    /// Something the preview 1 text doesn't know.
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

/// What [`Wasi::fd_fdstat_get`] tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fdstat {
    /// What it is.
    pub file_type: FileType,
    /// Its flags.
    pub flags: FdFlags,
}

/// What a file descriptor stands for: preview 1's number for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileType(pub u8);

impl FileType {
    /// The runtime can't tell, or won't.
    pub const UNKNOWN: Self = Self(0);
    /// A block device.
    pub const BLOCK_DEVICE: Self = Self(1);
    /// A character device: a terminal, mostly.
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
    /// Calls answer [`Errno::AGAIN`] instead of blocking.
    pub const NONBLOCK: Self = Self(1 << 2);

    /// Whether calls answer [`Errno::AGAIN`] instead of blocking.
    #[must_use]
    pub const fn is_nonblock(self) -> bool {
        self.0 & Self::NONBLOCK.0 != 0
    }
}

/// Which directions [`Wasi::sock_shutdown`] ends.
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
