//! How a runtime bends the text of preview 1.

/// A runtime's habits.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Personality {
    /// Preopened sockets have lower numbers than preopened directories.
    pub sockets_first: bool,
    /// When one file descriptor is ready, every subscription to one is reported.
    pub reports_all: bool,
    /// `poll_oneoff` doesn't look at sockets: it sleeps for the clock's whole time and then
    /// reports everything.
    pub blind: bool,
    /// A file descriptor that isn't open makes the whole call fail.
    pub bad_fd_fails_all: bool,
    /// More subscriptions at once are refused with `INVAL`.
    pub most_subscriptions: usize,
    /// A clock that has run out is reported together with ready file descriptors.
    pub clock_with_fds: bool,
    /// Waits last at least this many nanoseconds more than asked, and are rounded up to it.
    pub tick: u64,
    /// A stream is reported writable only when a third of its room is free, as Linux does; a write
    /// is taken before that.
    pub reports_room_late: bool,
    /// What read events say about the number of bytes.
    pub nbytes: Nbytes,
    /// What calls cost.
    pub costs: Costs,
    /// Which calls return success and do nothing.
    pub silence: Silence,
    /// How many file descriptors there may be; more are refused with `IO`, as wazero does.
    pub most_descriptors: usize,
    /// What goes wrong at random.
    pub faults: Faults,
}

/// Calls that return success and do nothing, or not yet.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Silence {
    /// `fd_close` gives the number back, but the socket is closed only at the next collection. There is
    /// one each time this many nanoseconds have passed; 0: sockets are closed at once.
    pub close: u64,
    /// `sock_shutdown` of both directions in one call.
    pub shutdown_both: bool,
    /// The flags given to `sock_accept`: the new file descriptor blocks.
    pub accept_flags: bool,
    /// `fd_fdstat_set_flags` of a listener.
    pub listener_flags: bool,
    /// `fd_write` into a full socket, which returns 0 bytes instead of `AGAIN`.
    pub write: bool,
}

/// How often something goes wrong, in cases of 1,000.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Faults {
    /// A `poll_oneoff` fails as a whole, with `INTR`, `NOMEM`, `IO`, `AGAIN` or `BADF`.
    pub poll_fails: u16,
    /// A `poll_oneoff` returns at once, with nothing.
    pub poll_is_empty: u16,
    /// Something that isn't ready is reported.
    pub spurious: u16,
    /// An event of something that is well carries an error.
    pub event_error: u16,
    /// A read event's number of bytes is made up.
    pub wrong_nbytes: u16,
    /// Bytes that have arrived are reported only up to [`late_by`](Self::late_by) later.
    pub late: u16,
    /// See [`late`](Self::late); nanoseconds.
    pub late_by: u64,
    /// A read or write does less than it could.
    pub short: u16,
    /// A read, write or accept that could do something answers `AGAIN`.
    pub again: u16,
    /// A read, write or accept answers `INTR`.
    pub interrupted: u16,
    /// A read, write or shutdown fails with `IO`, `NOMEM`, `CONNRESET`, `PIPE` or `TIMEDOUT`;
    /// [`Client::is_faulted`](super::Client::is_faulted) tells whose it was.
    pub call_fails: u16,
    /// The monotonic clock fails, or tells a time that is up to a millisecond ago.
    pub clock: u16,
    /// An accept fails with `CONNABORTED`, `MFILE`, `NOMEM` or `IO`; the connection stays in the
    /// queue.
    pub accept_fails: u16,
    /// A new file descriptor gets some free number, not the lowest.
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
        faults: Faults::NONE,
    };

    /// The text, to the letter: only what is ready is reported, with its number of bytes.
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
        faults: Faults::NONE,
    };

    /// wasi-common, with everything going wrong now and then.
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

    /// wasi-common on a host that counts milliseconds.
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

    /// wazero, with everything going wrong now and then. (Its polls are only sleeps.)
    pub const HOSTILE_BLIND: Self = Self {
        faults: Faults {
            poll_fails: 0,
            ..Self::HOSTILE.faults
        },
        ..Self::WAZERO
    };

    /// wazero, where other calls do nothing either, with frequent collections.
    pub const SILENT: Self = Self {
        silence: Silence {
            close: 300_000_000,
            accept_flags: true,
            write: true,
            ..Silence::WAZERO
        },
        ..Self::WAZERO
    };

    /// Every personality, by the name that replays a seed of it.
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

    /// The personality of this name.
    ///
    /// # Panics
    /// There is none.
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
    /// Every call does what it says.
    pub const NONE: Self = Self {
        close: 0,
        shutdown_both: false,
        accept_flags: false,
        listener_flags: false,
        write: false,
    };

    /// wazero: Go's garbage collector closes the sockets, after two minutes at the latest.
    pub const WAZERO: Self = Self {
        close: 120_000_000_000,
        shutdown_both: true,
        ..Self::NONE
    };
}

impl Faults {
    /// Nothing goes wrong.
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
