//! The floor: the least that a server on preview 1 can cost, given how its runtimes poll.
//!
//! Because other servers are compared with it, it has rules. It polls like the library's own poller, and its responses
//! are fixed:
//!
//! - Connections on which something has happened lately (*busy* ones) are in every poll. Of the idle ones, each poll
//!   has the next few (a *window*). When nothing has happened for a while, all are polled, without a clock.
//! - A certain event (more than one byte, a hang-up, an error) is handled at once. Uncertain ones are handled
//!   if there is no certain one, and otherwise one of them now and then, so that the end of a stream is found.
//! - While there are certain events, the listener is tried only now and then.
//! - One `fd_read` and one `fd_write` for a batch of requests, and no other call except the shared
//!   poll. No allocation for a request. A connection is closed at the end of the client's stream.
#![cfg_attr(
    not(all(target_os = "wasi", target_env = "p1")),
    allow(unused, reason = "a program for WASI preview 1 only")
)]

#[cfg(not(all(target_os = "wasi", target_env = "p1")))]
fn main() {}

#[cfg(all(target_os = "wasi", target_env = "p1"))]
fn main() {
    wasip1_servers::bare::set_listener_nonblocking();
    let mut floor = floor::Floor::new();
    loop {
        floor.iterate();
    }
}

#[cfg(all(target_os = "wasi", target_env = "p1"))]
mod floor {
    use wasi::{Event, Subscription};
    use wasip1_servers::bare::{self, Buffers, Connection, Served};

    /// How many idle connections are in a poll with the busy ones.
    const WINDOW: usize = 16;
    /// After this many iterations without an event, a busy connection is idle.
    const BUSY_ITERATIONS: u32 = 64;
    /// After this time without an event, in nanoseconds, all connections are polled.
    const SILENCE: u64 = 10_000_000;
    /// While there are certain events, the listener is tried once in this many iterations.
    const LISTENER_ITERATIONS: u32 = 64;
    /// And one of the uncertain events once in this many.
    const UNCERTAIN_ITERATIONS: u32 = 16;

    /// The `userdata` of subscriptions that aren't connections.
    const CLOCK: u64 = u64::MAX;
    const LISTENER: u64 = u64::MAX - 1;
    /// The index of the first busy connection in the list, after the clock and the listener.
    const FIRST: usize = 2;

    struct Slot {
        connection: Connection,
        /// The iteration in which something last happened.
        active: u32,
        /// Its index: in `list` if it is busy, otherwise in `idle`.
        at: usize,
        is_busy: bool,
    }

    pub(super) struct Floor {
        slots: Vec<Option<Slot>>,
        free: Vec<usize>,
        /// The subscriptions: clock, listener, busy connections. During a poll also the window, at the end.
        list: Vec<Subscription>,
        idle: Vec<usize>,
        /// The index in `idle` at which the next window begins.
        window: usize,
        iteration: u32,
        /// Nothing has happened for a while.
        is_silent: bool,
        events: Vec<Event>,
        buffers: Buffers,
    }

    impl Floor {
        pub(super) fn new() -> Self {
            let clock = bare::clock(SILENCE, CLOCK);
            let listener = bare::reading(bare::LISTENER, LISTENER);
            Self {
                slots: Vec::new(),
                free: Vec::new(),
                list: vec![clock, listener],
                idle: Vec::new(),
                window: 0,
                iteration: 0,
                is_silent: true,
                events: Vec::new(),
                buffers: Buffers::new(),
            }
        }

        pub(super) fn iterate(&mut self) {
            self.iteration = self.iteration.wrapping_add(1);
            let mut events = std::mem::take(&mut self.events);
            self.poll(&mut events);
            let is_certain = |event: &&Event| {
                let ready = &event.fd_readwrite;
                event.userdata < LISTENER
                    && (event.error != wasi::ERRNO_SUCCESS || ready.nbytes > 1 || ready.flags != 0)
            };
            let mut certain = 0;
            for event in events.iter().filter(is_certain) {
                certain += 1;
                self.serve(event.userdata as usize);
            }
            if certain == 0 {
                self.handle_uncertain(&events);
            } else {
                if self.iteration.is_multiple_of(LISTENER_ITERATIONS) {
                    self.accept();
                }
                if self.iteration.is_multiple_of(UNCERTAIN_ITERATIONS) {
                    let one = (self.iteration / UNCERTAIN_ITERATIONS) as usize % events.len();
                    let one = Some(&events[one]).filter(|event| event.userdata < LISTENER);
                    if let Some(event) = one.filter(|event| !is_certain(event)) {
                        self.serve(event.userdata as usize);
                    }
                }
            }
            self.expire_busy();
            self.events = events;
        }

        fn poll(&mut self, events: &mut Vec<Event>) {
            let busy = self.list.len();
            let idle = self.idle.len();
            let window = if self.is_silent {
                idle
            } else {
                WINDOW.min(idle)
            };
            for _ in 0..window {
                self.window = (self.window + 1) % idle;
                let slot = self.idle[self.window];
                if let Some(Slot { connection, .. }) = &self.slots[slot] {
                    self.list.push(bare::reading(connection.fd, slot as u64));
                }
            }
            // The clock only shows that nothing happens.
            let clock = usize::from(self.is_silent || idle == 0);
            bare::poll(&self.list[clock..], events);
            self.list.truncate(busy);
            self.is_silent = events.iter().any(|event| event.userdata == CLOCK);
        }

        /// Handles a poll without certain events: the clock, a new connection, an end, or a single byte.
        fn handle_uncertain(&mut self, events: &[Event]) {
            if !self.is_silent && !self.accept() {
                for event in events.iter().filter(|event| event.userdata < LISTENER) {
                    self.serve(event.userdata as usize);
                }
            }
        }

        /// Accepts all waiting connections. Returns whether there was one.
        fn accept(&mut self) -> bool {
            let mut some = false;
            while let Some(connection) = Connection::accept() {
                some = true;
                let slot = Slot {
                    connection,
                    active: self.iteration,
                    at: self.idle.len(),
                    is_busy: false,
                };
                let number = match self.free.pop() {
                    Some(number) => {
                        self.slots[number] = Some(slot);
                        number
                    }
                    None => {
                        self.slots.push(Some(slot));
                        self.slots.len() - 1
                    }
                };
                self.idle.push(number);
                self.set_busy(number);
            }
            some
        }

        fn serve(&mut self, number: usize) {
            let Some(slot) = &mut self.slots[number] else {
                return;
            };
            match slot.connection.serve(&mut self.buffers) {
                Served::Some => {
                    slot.active = self.iteration;
                    if !slot.is_busy {
                        self.set_busy(number);
                    }
                }
                Served::Nothing => {}
                Served::Closed => {
                    if slot.is_busy {
                        self.set_idle(number);
                    }
                    self.remove_idle(number);
                    self.slots[number] = None;
                    self.free.push(number);
                }
            }
        }

        /// Now and then makes connections idle on which nothing has happened.
        fn expire_busy(&mut self) {
            if !self.iteration.is_multiple_of(BUSY_ITERATIONS) {
                return;
            }
            let mut at = FIRST;
            while let Some(subscription) = self.list.get(at) {
                let number = subscription.userdata as usize;
                let active = self.slots[number].as_ref().map(|slot| slot.active);
                if active
                    .is_some_and(|active| self.iteration.wrapping_sub(active) > BUSY_ITERATIONS)
                {
                    self.set_idle(number);
                } else {
                    at += 1;
                }
            }
        }

        /// Makes an idle connection busy.
        fn set_busy(&mut self, number: usize) {
            self.remove_idle(number);
            if let Some(slot) = &mut self.slots[number] {
                (slot.is_busy, slot.at) = (true, self.list.len());
                let subscription = bare::reading(slot.connection.fd, number as u64);
                self.list.push(subscription);
            }
        }

        /// Makes a busy connection idle.
        fn set_idle(&mut self, number: usize) {
            let Some(slot) = &mut self.slots[number] else {
                return;
            };
            let at = std::mem::replace(&mut slot.at, self.idle.len());
            slot.is_busy = false;
            self.idle.push(number);
            self.list.swap_remove(at);
            if let Some(moved) = self.list.get(at).map(|moved| moved.userdata as usize)
                && let Some(moved) = &mut self.slots[moved]
            {
                moved.at = at;
            }
        }

        fn remove_idle(&mut self, number: usize) {
            let Some(at) = self.slots[number].as_ref().map(|slot| slot.at) else {
                return;
            };
            self.idle.swap_remove(at);
            if let Some(&moved) = self.idle.get(at)
                && let Some(moved) = &mut self.slots[moved]
            {
                moved.at = at;
            }
            if self.window >= self.idle.len() {
                self.window = 0;
            }
        }
    }
}
