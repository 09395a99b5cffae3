//! A scripted runtime with virtual time, for tests: the sockets are in memory, the same seed gives
//! the same run, and the calls behave as some real runtime's do.
//!
//! ```
//! use wasip1_poll::fake::{Fake, Personality};
//! use wasip1_poll::{FdFlags, Wasi};
//!
//! let fake = Fake::new(Personality::WASI_COMMON, 0);
//! let listener = fake.preopen_listener();
//! let client = fake.connect(listener);
//! client.send(b"hello");
//! let fd = fake.sock_accept(listener, FdFlags::NONBLOCK)?;
//! let mut buf = [0; 16];
//! assert_eq!(fake.fd_read(fd, &mut buf)?, 5);
//! # Ok::<(), wasip1_poll::Errno>(())
//! ```
//!
//! Time passes only by calls (each has its cost) and by waiting in `poll_oneoff`. What clients do
//! at some time is put in the script with [`Fake::after`]; a wait that nothing in the script
//! could ever end panics.

mod bound;
mod calls;
mod client;
mod personality;
mod poll;
mod rng;
mod seeds;
mod world;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

pub use client::Client;
pub use personality::{Costs, Faults, Nbytes, Personality, Silence};
pub use rng::Rng;
pub use seeds::Seeds;
pub use world::Counts;

use crate::wasi::Fd;
use world::{Object, World};

/// The runtime; clones are the same one.
#[derive(Clone, Debug)]
pub struct Fake(Rc<RefCell<World>>);

impl Fake {
    /// A runtime without any preopened file descriptor.
    #[must_use]
    pub fn new(personality: Personality, seed: u64) -> Self {
        Self(Rc::new(RefCell::new(World::new(personality, seed))))
    }

    /// Hands over a listening socket at the next free number, which is the answer.
    pub fn preopen_listener(&self) -> Fd {
        self.0.borrow_mut().open(Object::listener())
    }

    /// Hands over a listening socket at this number.
    ///
    /// # Panics
    /// The number is taken.
    pub fn preopen_listener_at(&self, fd: Fd) {
        self.0.borrow_mut().open_at(fd, Object::listener());
    }

    /// Hands over a directory at the next free number, which is the answer.
    pub fn preopen_directory(&self, name: &str) -> Fd {
        self.0.borrow_mut().open(Object::Directory(name.to_owned()))
    }

    /// Gives what was preopened so far the numbers this runtime would: sockets before directories
    /// or after.
    pub fn start(&self) {
        self.0.borrow_mut().renumber();
    }

    /// A client's connection to a listener, waiting to be accepted. At a listener that the server has
    /// closed it is reset.
    ///
    /// # Panics
    /// `listener` never was one.
    pub fn connect(&self, listener: Fd) -> Client {
        Client::new(self.clone(), self.0.borrow_mut().connect(listener))
    }

    /// From now on the server can't close a listener: `fd_close` answers `NOTSUP`.
    pub fn keep_listeners(&self) {
        self.0.borrow_mut().keeps_listeners = true;
    }

    /// Ends a listener as a runtime does that wants the server to finish: from now on its events and
    /// `sock_accept` report `CANCELED`.
    ///
    /// # Panics
    /// `listener` is none.
    pub fn cancel(&self, listener: Fd) {
        self.0.borrow_mut().cancel(listener);
    }

    /// Lets `action` happen when `delay` has passed.
    pub fn after(&self, delay: Duration, action: impl FnOnce(&Self) + 'static) {
        self.0.borrow_mut().schedule(delay, Box::new(action));
    }

    /// Virtual nanoseconds since the start.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.0.borrow().now()
    }

    /// How often each call was made.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.0.borrow().counts()
    }

    /// How many accepted connections the server has not closed.
    #[must_use]
    pub fn open_streams(&self) -> usize {
        self.0.borrow().open_streams()
    }

    /// A random number below `bound`, from the seed.
    #[must_use]
    pub fn random(&self, bound: u64) -> u64 {
        self.0.borrow_mut().rng.below(bound)
    }

    /// Changes what goes wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.0.borrow_mut().personality.faults = faults;
    }

    /// Whether the script has nothing left to happen.
    #[must_use]
    pub fn is_script_over(&self) -> bool {
        self.0.borrow().is_script_over()
    }

    /// What the server did that it must not do: calls on file descriptors it had closed.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.0.borrow().violations()
    }

    /// Changes which calls do nothing from now on.
    pub fn set_silence(&self, silence: Silence) {
        self.0.borrow_mut().personality.silence = silence;
    }

    /// Sets how many file descriptors there may be from now on. Those that were closed count until the
    /// next collection.
    pub fn set_most_descriptors(&self, most: usize) {
        self.0.borrow_mut().personality.most_descriptors = most;
    }

    /// Makes a listener blocking, as some runtimes hand it over.
    pub fn make_blocking(&self, listener: Fd) {
        self.0.borrow_mut().make_blocking(listener);
    }

    /// Closes a file descriptor behind the server's back.
    pub fn steal(&self, fd: Fd) {
        self.0.borrow_mut().steal(fd);
    }

    /// Lets time pass, as a program does that computes.
    pub fn work(&self, time: Duration) {
        self.pass(time.as_nanos() as u64);
    }

    fn visible_from(&self) -> u64 {
        self.0.borrow_mut().visible_from()
    }

    /// Lets `cost` pass and does what the script says for that time.
    fn pass(&self, cost: u64) {
        let until = self.now() + cost;
        self.run_script(until);
        self.0.borrow_mut().set_now(until);
    }

    fn run_script(&self, until: u64) {
        loop {
            // The world isn't borrowed while the action runs.
            let Some(action) = self.0.borrow_mut().next_action(until) else {
                return;
            };
            action(self);
        }
    }
}
