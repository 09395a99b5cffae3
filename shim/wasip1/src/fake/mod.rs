//! A fake runtime for tests. Its sockets are in memory and its time is virtual. A [`Personality`] makes it behave
//! like one of the real runtimes, or worse. The same seed gives the same run.
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
//! Time passes only in calls (each has a cost) and in the waits of `poll_oneoff`. [`Fake::after`] schedules what
//! clients do at a later time; the schedule is called the script. A wait that nothing in the script can end panics.

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
pub use personality::{Costs, Faults, Nbytes, Personality, SendMore, Silence};
pub use rng::Rng;
pub use seeds::Seeds;
pub use world::Counts;

use crate::wasi::Fd;
use world::{Object, World};

/// The runtime. Clones refer to the same one.
#[derive(Clone, Debug)]
pub struct Fake(Rc<RefCell<World>>);

impl Fake {
    /// A runtime without any preopened file descriptor.
    #[must_use]
    pub fn new(personality: Personality, seed: u64) -> Self {
        Self(Rc::new(RefCell::new(World::new(personality, seed))))
    }

    /// Passes a listening socket to the program, at the next free number. Returns the number.
    pub fn preopen_listener(&self) -> Fd {
        self.0.borrow_mut().open(Object::listener())
    }

    /// Passes a listening socket to the program, at this number.
    ///
    /// # Panics
    /// The number is in use.
    pub fn preopen_listener_at(&self, fd: Fd) {
        self.0.borrow_mut().open_at(fd, Object::listener());
    }

    /// Passes a directory to the program, at the next free number. Returns the number.
    pub fn preopen_directory(&self, name: &str) -> Fd {
        self.0.borrow_mut().open(Object::Directory(name.to_owned()))
    }

    /// Numbers what was preopened so far in the order of this runtime: sockets before directories, or after them.
    pub fn start(&self) {
        self.0.borrow_mut().renumber();
    }

    /// Connects a client to a listener. The connection waits to be accepted. If the server has closed the listener,
    /// it is reset.
    ///
    /// # Panics
    /// `listener` never was a listener.
    pub fn connect(&self, listener: Fd) -> Client {
        Client::new(self.clone(), self.0.borrow_mut().connect(listener))
    }

    /// From now on the server can't close a listener: `fd_close` fails with `NOTSUP`.
    pub fn keep_listeners(&self) {
        self.0.borrow_mut().keeps_listeners = true;
    }

    /// Asks the server to stop: from now on, the events of the listener have the error `CANCELED`, and `sock_accept`
    /// fails with it.
    ///
    /// # Panics
    /// `listener` isn't a listener.
    pub fn cancel(&self, listener: Fd) {
        self.0.borrow_mut().cancel(listener);
    }

    /// Runs `action` when `delay` has passed.
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

    /// How many accepted connections the server hasn't closed.
    #[must_use]
    pub fn open_streams(&self) -> usize {
        self.0.borrow().open_streams()
    }

    /// A random number below `bound`, from the seed.
    #[must_use]
    pub fn random(&self, bound: u64) -> u64 {
        self.0.borrow_mut().rng.below(bound)
    }

    /// Sets which faults happen from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.0.borrow_mut().personality.faults = faults;
    }

    /// Whether everything in the script has happened.
    #[must_use]
    pub fn is_script_over(&self) -> bool {
        self.0.borrow().is_script_over()
    }

    /// What the server has done that it must not do, such as calls on file descriptors that it had closed.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.0.borrow().violations()
    }

    /// Sets which calls do nothing from now on.
    pub fn set_silence(&self, silence: Silence) {
        self.0.borrow_mut().personality.silence = silence;
    }

    /// Sets how many file descriptors there may be from now on. Closed ones count until the next garbage collection.
    pub fn set_most_descriptors(&self, most: usize) {
        self.0.borrow_mut().personality.most_descriptors = most;
    }

    /// Makes a listener blocking, as it is in some runtimes at the start.
    pub fn make_blocking(&self, listener: Fd) {
        self.0.borrow_mut().make_blocking(listener);
    }

    /// Closes a file descriptor that the server has open.
    pub fn steal(&self, fd: Fd) {
        self.0.borrow_mut().steal(fd);
    }

    /// Lets time pass, as if the program computed something.
    pub fn work(&self, time: Duration) {
        self.pass(time.as_nanos() as u64);
    }

    fn visible_from(&self) -> u64 {
        self.0.borrow_mut().visible_from()
    }

    /// Lets `cost` pass, and runs the script until then.
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
