//! The floor: the least that a server on preview 1 can cost, given how its runtimes poll.
//!
//! It is ours, and so it is held to rules. It has the tricks of the library's own poller, and a fixed
//! answer:
//! - The connections where something happened lately, the *busy* ones, are in every poll; of the
//!   others a window, in turn. When nothing has happened for a while, all are polled, without a clock.
//! - An event that is sure (more than one byte, a hang-up, an error) is acted upon at once. Others are
//!   when there is no sure one, and beside sure ones one now and then, lest an end is never seen.
//! - While there are sure events, the listener is tried now and then only.
//! - One `fd_read` and one `fd_write` for a batch of requests, and no other call but the poll they
//!   share. No allocation for a request. A connection whose client has ended is closed.
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
        floor.turn();
    }
}

#[cfg(all(target_os = "wasi", target_env = "p1"))]
mod floor {
    use wasi::{Event, Subscription};
    use wasip1_servers::bare::{self, Buffers, Connection, Served};

    /// So many idle connections are in a poll beside the busy ones.
    const WINDOW: usize = 16;
    /// A busy connection where nothing happened in so many turns is idle.
    const BUSY_TURNS: u32 = 64;
    /// After so long without an event, in nanoseconds, all connections are waited for.
    const QUIET: u64 = 10_000_000;
    /// Beside sure events, the listener is tried in one of so many turns.
    const LISTENER_TURNS: u32 = 64;
    /// And one of the other events in one of so many.
    const MAYBE_TURNS: u32 = 16;

    /// The `userdata` of what is no connection.
    const CLOCK: u64 = u64::MAX;
    const LISTENER: u64 = u64::MAX - 1;
    /// Clock and listener stand before the busy connections in the list.
    const FIRST: usize = 2;

    struct Place {
        connection: Connection,
        /// The turn in which something last happened.
        active: u32,
        /// Where it stands: in the list of subscriptions if it is busy, else among the idle.
        at: usize,
        is_busy: bool,
    }

    pub(super) struct Floor {
        places: Vec<Option<Place>>,
        free: Vec<usize>,
        /// Clock, listener, the busy connections; in a poll the window stands behind.
        list: Vec<Subscription>,
        idle: Vec<usize>,
        /// Where the next window begins.
        window: usize,
        turn: u32,
        /// Nothing has happened lately.
        is_quiet: bool,
        events: Vec<Event>,
        buffers: Buffers,
    }

    impl Floor {
        pub(super) fn new() -> Self {
            let clock = bare::clock(QUIET, CLOCK);
            let listener = bare::reading(bare::LISTENER, LISTENER);
            Self {
                places: Vec::new(),
                free: Vec::new(),
                list: vec![clock, listener],
                idle: Vec::new(),
                window: 0,
                turn: 0,
                is_quiet: true,
                events: Vec::new(),
                buffers: Buffers::new(),
            }
        }

        pub(super) fn turn(&mut self) {
            self.turn = self.turn.wrapping_add(1);
            let mut events = std::mem::take(&mut self.events);
            self.poll(&mut events);
            let is_sure = |event: &&Event| {
                let ready = &event.fd_readwrite;
                event.userdata < LISTENER
                    && (event.error != wasi::ERRNO_SUCCESS || ready.nbytes > 1 || ready.flags != 0)
            };
            let mut sure = 0;
            for event in events.iter().filter(is_sure) {
                sure += 1;
                self.serve(event.userdata as usize);
            }
            if sure == 0 {
                self.without_sure(&events);
            } else {
                if self.turn.is_multiple_of(LISTENER_TURNS) {
                    self.accept();
                }
                if self.turn.is_multiple_of(MAYBE_TURNS) {
                    let one = (self.turn / MAYBE_TURNS) as usize % events.len();
                    let one = Some(&events[one]).filter(|event| event.userdata < LISTENER);
                    if let Some(event) = one.filter(|event| !is_sure(event)) {
                        self.serve(event.userdata as usize);
                    }
                }
            }
            self.rest_some();
            self.events = events;
        }

        fn poll(&mut self, events: &mut Vec<Event>) {
            let busy = self.list.len();
            let idle = self.idle.len();
            let window = if self.is_quiet {
                idle
            } else {
                WINDOW.min(idle)
            };
            for _ in 0..window {
                self.window = (self.window + 1) % idle;
                let place = self.idle[self.window];
                if let Some(Place { connection, .. }) = &self.places[place] {
                    self.list.push(bare::reading(connection.fd, place as u64));
                }
            }
            // The clock is only for seeing that nothing happens.
            let clock = usize::from(self.is_quiet || idle == 0);
            bare::poll(&self.list[clock..], events);
            self.list.truncate(busy);
            self.is_quiet = events.iter().any(|event| event.userdata == CLOCK);
        }

        /// The clock, a newcomer, an end, or a single byte.
        fn without_sure(&mut self, events: &[Event]) {
            if !self.is_quiet && !self.accept() {
                for event in events.iter().filter(|event| event.userdata < LISTENER) {
                    self.serve(event.userdata as usize);
                }
            }
        }

        /// Accepts what there is. Tells whether there was something.
        fn accept(&mut self) -> bool {
            let mut some = false;
            while let Some(connection) = Connection::accept() {
                some = true;
                let place = Place {
                    connection,
                    active: self.turn,
                    at: self.idle.len(),
                    is_busy: false,
                };
                let number = match self.free.pop() {
                    Some(number) => {
                        self.places[number] = Some(place);
                        number
                    }
                    None => {
                        self.places.push(Some(place));
                        self.places.len() - 1
                    }
                };
                self.idle.push(number);
                self.wake(number);
            }
            some
        }

        fn serve(&mut self, number: usize) {
            let Some(place) = &mut self.places[number] else {
                return;
            };
            match place.connection.serve(&mut self.buffers) {
                Served::Some => {
                    place.active = self.turn;
                    if !place.is_busy {
                        self.wake(number);
                    }
                }
                Served::Nothing => {}
                Served::Closed => {
                    if place.is_busy {
                        self.rest(number);
                    }
                    self.remove_idle(number);
                    self.places[number] = None;
                    self.free.push(number);
                }
            }
        }

        /// Now and then looks at all the busy connections, whether they are busy still.
        fn rest_some(&mut self) {
            if !self.turn.is_multiple_of(BUSY_TURNS) {
                return;
            }
            let mut at = FIRST;
            while let Some(subscription) = self.list.get(at) {
                let number = subscription.userdata as usize;
                let active = self.places[number].as_ref().map(|place| place.active);
                if active.is_some_and(|active| self.turn.wrapping_sub(active) > BUSY_TURNS) {
                    self.rest(number);
                } else {
                    at += 1;
                }
            }
        }

        /// From the idle to the busy.
        fn wake(&mut self, number: usize) {
            self.remove_idle(number);
            if let Some(place) = &mut self.places[number] {
                (place.is_busy, place.at) = (true, self.list.len());
                let subscription = bare::reading(place.connection.fd, number as u64);
                self.list.push(subscription);
            }
        }

        /// From the busy to the idle.
        fn rest(&mut self, number: usize) {
            let Some(place) = &mut self.places[number] else {
                return;
            };
            let at = std::mem::replace(&mut place.at, self.idle.len());
            place.is_busy = false;
            self.idle.push(number);
            self.list.swap_remove(at);
            if let Some(moved) = self.list.get(at).map(|moved| moved.userdata as usize)
                && let Some(moved) = &mut self.places[moved]
            {
                moved.at = at;
            }
        }

        fn remove_idle(&mut self, number: usize) {
            let Some(at) = self.places[number].as_ref().map(|place| place.at) else {
                return;
            };
            self.idle.swap_remove(at);
            if let Some(&moved) = self.idle.get(at)
                && let Some(moved) = &mut self.places[moved]
            {
                moved.at = at;
            }
            if self.window >= self.idle.len() {
                self.window = 0;
            }
        }
    }
}
