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
    /// What read events say about the number of bytes.
    pub nbytes: Nbytes,
    /// What calls cost.
    pub costs: Costs,
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
        nbytes: Nbytes::AtLeastOne,
        costs: Costs {
            poll: 3_000,
            subscription: 500,
            call: 2_000,
            failure: 6_400,
        },
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
        nbytes: Nbytes::Zero,
        costs: Costs {
            poll: 600,
            subscription: 10,
            call: 1_500,
            failure: 1_600,
        },
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
        nbytes: Nbytes::Exact,
        costs: Costs {
            poll: 1_000,
            subscription: 100,
            call: 1_000,
            failure: 1_000,
        },
    };
}
