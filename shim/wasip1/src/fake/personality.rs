//! [`Personality`]: how a fake runtime deviates from the specification of preview 1.

/// How a runtime behaves, where runtimes differ.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Personality {
    /// Preopened sockets have lower numbers than preopened directories.
    pub sockets_first: bool,
    /// When one file descriptor is ready, every subscription to one is reported.
    pub reports_all: bool,
    /// `poll_oneoff` doesn't check sockets: it sleeps until the clock's time has passed, and then reports everything.
    pub blind: bool,
    /// A file descriptor that isn't open makes the whole call fail.
    pub bad_fd_fails_all: bool,
    /// A poll with more subscriptions fails with `INVAL`.
    pub most_subscriptions: usize,
    /// An expired clock is reported together with ready file descriptors.
    pub clock_with_fds: bool,
    /// Waits are rounded up to a multiple of this, in nanoseconds. A wait that is a multiple takes one more.
    pub tick: u64,
    /// A stream is reported writable only when a third of its buffer is free, as on Linux. A write
    /// succeeds before that.
    pub reports_room_late: bool,
    /// What read events say about the number of bytes.
    pub nbytes: Nbytes,
    /// What calls cost.
    pub costs: Costs,
    /// Which calls return success and do nothing.
    pub silence: Silence,
    /// How many file descriptors there may be. Opening more fails with `IO`, as in wazero.
    pub most_descriptors: usize,
    /// What `sock_send` does with a flag.
    pub send_more: SendMore,
    /// Which faults happen at random.
    pub faults: Faults,
}

/// What `sock_send` does with [`SendFlags::MORE`](crate::SendFlags::MORE).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendMore {
    /// It sends at once.
    Ignored,
    /// It fails with `NOTSUP`.
    Refused,
    /// The client gets the bytes with the next ones, or with the end of the stream.
    Held,
}

/// Calls that return success and do nothing, or not at once.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Silence {
    /// `fd_close` frees the number, but the socket is closed only at the next garbage collection. There is
    /// one each time this many nanoseconds have passed; 0: sockets are closed at once.
    pub close: u64,
    /// `sock_shutdown` of both directions in one call does nothing.
    pub shutdown_both: bool,
    /// `sock_accept` ignores its flags: the new file descriptor is blocking.
    pub accept_flags: bool,
    /// `fd_fdstat_set_flags` of a listener does nothing.
    pub listener_flags: bool,
    /// `fd_write` into a full socket returns 0 instead of failing with `AGAIN`.
    pub write: bool,
}

/// How often each fault happens, in 1,000 cases.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Faults {
    /// A `poll_oneoff` fails as a whole, with `INTR`, `NOMEM`, `IO`, `AGAIN` or `BADF`.
    pub poll_fails: u16,
    /// A `poll_oneoff` returns at once, without events.
    pub poll_is_empty: u16,
    /// A direction that isn't ready is reported.
    pub spurious: u16,
    /// An event has an error although there is none.
    pub event_error: u16,
    /// A read event has a wrong number of bytes.
    pub wrong_nbytes: u16,
    /// Bytes that have arrived are reported up to [`late_by`](Self::late_by) later.
    pub late: u16,
    /// The longest delay of [`late`](Self::late), in nanoseconds.
    pub late_by: u64,
    /// A read or write transfers fewer bytes than it could.
    pub short: u16,
    /// A read, write or accept that could succeed fails with `AGAIN`.
    pub again: u16,
    /// A read, write or accept fails with `INTR`.
    pub interrupted: u16,
    /// A read, write or shutdown fails with `IO`, `NOMEM`, `CONNRESET`, `PIPE` or `TIMEDOUT`. Then
    /// [`Client::is_faulted`](super::Client::is_faulted) is true for its client.
    pub call_fails: u16,
    /// The monotonic clock fails, or returns a time up to a millisecond ago.
    pub clock: u16,
    /// An accept fails with `CONNABORTED`, `MFILE`, `NOMEM` or `IO`. The connection stays in the
    /// queue.
    pub accept_fails: u16,
    /// A new file descriptor gets a random free number, not the lowest.
    pub random_fd: u16,
}

/// What a read event says about the number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nbytes {
    /// How many there are, but at least 1.
    AtLeastOne,
    /// How many there are.
    Exact,
    /// Always 0.
    Zero,
}

/// What calls cost, in nanoseconds of virtual time.
#[derive(Clone, Copy, Debug)]
pub struct Costs {
    /// A `poll_oneoff`.
    pub poll: u64,
    /// Each subscription of it.
    pub subscription: u64,
    /// Any other call that succeeds.
    pub call: u64,
    /// Any other call that fails.
    pub failure: u64,
}

impl Personality {
    /// wasmtime 36 to 46 and wasmi.
    pub const WASI_COMMON: Self = Self {
        sockets_first: true,
        reports_all: true,
        blind: false,
        bad_fd_fails_all: true,
        most_subscriptions: usize::MAX,
        clock_with_fds: false,
        tick: 0,
        reports_room_late: true,
        nbytes: Nbytes::AtLeastOne,
        costs: Costs {
            poll: 3_000,
            subscription: 500,
            call: 2_000,
            failure: 6_400,
        },
        silence: Silence::NONE,
        most_descriptors: usize::MAX,
        send_more: SendMore::Ignored,
        faults: Faults::NONE,
    };

    /// wazero.
    pub const WAZERO: Self = Self {
        sockets_first: false,
        reports_all: true,
        blind: true,
        bad_fd_fails_all: false,
        most_subscriptions: usize::MAX,
        clock_with_fds: true,
        tick: 0,
        reports_room_late: false,
        nbytes: Nbytes::Zero,
        costs: Costs {
            poll: 600,
            subscription: 10,
            call: 1_500,
            failure: 1_600,
        },
        silence: Silence::WAZERO,
        most_descriptors: usize::MAX,
        send_more: SendMore::Refused,
        faults: Faults::NONE,
    };

    /// A runtime that follows the specification exactly: reports only what is ready, with the number of bytes.
    pub const STRICT: Self = Self {
        sockets_first: true,
        reports_all: false,
        blind: false,
        bad_fd_fails_all: false,
        most_subscriptions: usize::MAX,
        clock_with_fds: true,
        tick: 0,
        reports_room_late: false,
        nbytes: Nbytes::Exact,
        costs: Costs {
            poll: 1_000,
            subscription: 100,
            call: 1_000,
            failure: 1_000,
        },
        silence: Silence::NONE,
        most_descriptors: usize::MAX,
        send_more: SendMore::Held,
        faults: Faults::NONE,
    };

    /// wasi-common, with all faults.
    pub const HOSTILE: Self = Self {
        clock_with_fds: true,
        tick: 1_000_000,
        faults: Faults {
            poll_fails: 30,
            poll_is_empty: 30,
            spurious: 30,
            event_error: 10,
            wrong_nbytes: 100,
            late: 200,
            late_by: 5_000_000,
            short: 200,
            again: 100,
            interrupted: 50,
            call_fails: 1,
            clock: 20,
            accept_fails: 50,
            random_fd: 300,
        },
        ..Self::WASI_COMMON
    };

    /// wasi-common, on a host that counts time in milliseconds.
    pub const COARSE: Self = Self {
        tick: 1_000_000,
        ..Self::WASI_COMMON
    };

    /// wasi-common, ten times as slow.
    pub const SLOW: Self = Self {
        costs: Costs {
            poll: 10_000,
            subscription: 5_000,
            call: 20_000,
            failure: 60_000,
        },
        ..Self::WASI_COMMON
    };

    /// wazero, with all faults except polls that fail, because its polls only sleep.
    pub const HOSTILE_BLIND: Self = Self {
        faults: Faults {
            poll_fails: 0,
            ..Self::HOSTILE.faults
        },
        ..Self::WAZERO
    };

    /// wazero, where more calls do nothing, and with frequent garbage collections.
    pub const SILENT: Self = Self {
        silence: Silence {
            close: 300_000_000,
            accept_flags: true,
            write: true,
            ..Silence::WAZERO
        },
        ..Self::WAZERO
    };

    /// All personalities, with the names that are used to replay a seed.
    pub const ALL: [(&str, Self); 8] = [
        ("wasi-common", Self::WASI_COMMON),
        ("coarse", Self::COARSE),
        ("slow", Self::SLOW),
        ("wazero", Self::WAZERO),
        ("strict", Self::STRICT),
        ("hostile", Self::HOSTILE),
        ("hostile-blind", Self::HOSTILE_BLIND),
        ("silent", Self::SILENT),
    ];

    /// The personality with this name.
    ///
    /// # Panics
    /// There is no such personality.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        let found = Self::ALL.into_iter().find(|(other, _)| *other == name);
        let names = || Self::ALL.map(|(name, _)| name).join(", ");
        found.map_or_else(
            || panic!("no personality {name}: {}", names()),
            |(_, it)| it,
        )
    }
}

impl Silence {
    /// Every call does what it should.
    pub const NONE: Self = Self {
        close: 0,
        shutdown_both: false,
        accept_flags: false,
        listener_flags: false,
        write: false,
    };

    /// wazero: Go's garbage collector closes the sockets, at the latest after two minutes.
    pub const WAZERO: Self = Self {
        close: 120_000_000_000,
        shutdown_both: true,
        ..Self::NONE
    };
}

impl Faults {
    /// No faults.
    pub const NONE: Self = Self {
        poll_fails: 0,
        poll_is_empty: 0,
        spurious: 0,
        event_error: 0,
        wrong_nbytes: 0,
        late: 0,
        late_by: 0,
        short: 0,
        again: 0,
        interrupted: 0,
        call_fails: 0,
        clock: 0,
        accept_fails: 0,
        random_fd: 0,
    };
}
