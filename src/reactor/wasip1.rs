//! The [`Reactor`] of WASI preview 1, over `wasip1-poll`.
//!
//! The runtime passes open listeners to the program, which can't bind any itself. The [`Poller`] deals with
//! `poll_oneoff` and with the ways in which runtimes differ; this module turns its reports into events of the
//! loop.
//!
//! The calls are a type parameter, so that native tests can run it against the fake runtime.

mod unfreed_fds;

use std::io::{self, IoSlice};
use std::time::Duration;

use poll_turns::Key;
use wasip1_poll::{Errno, Fd, Poller, Ready, Registration, Shutdown, Wasi};

use self::unfreed_fds::UnfreedFds;
use super::checks::Checks;
use super::{Accepted, Event, Interest, Peer, Reactor, Readiness};
use crate::time::Instant;

/// The listeners and streams of one event loop, on preview 1.
#[derive(Debug)]
pub(crate) struct Wasip1Reactor<W: Wasi> {
    poller: Poller<W>,
    /// The event loop's number of a listener is its index here, and its token. `None`: it was closed.
    listeners: Vec<Option<Listener>>,
    /// How many streams are open.
    open: usize,
    unfreed: UnfreedFds,
    /// Checks of streams that are not polled, from the first [`probe`](Reactor::probe) on. A program that never calls
    /// that doesn't contain them.
    check: Option<Check<Self>>,
    checks: Checks,
    /// The reports of one wait. A field, so that its memory is used again.
    ready: Vec<Ready>,
}

/// Makes a check before a wait. Gets and returns the wait's timeout.
type Check<R> = fn(&mut R, Option<Duration>) -> Option<Duration>;

#[derive(Debug)]
struct Listener {
    fd: Fd,
    registration: Registration,
}

impl<W: Wasi> Wasip1Reactor<W> {
    /// A reactor with these listeners.
    ///
    /// # Errors
    /// One of them isn't a listener, or the runtime has no sockets. The error's text says which
    /// option each runtime needs.
    pub(crate) fn new(wasi: W, listeners: impl IntoIterator<Item = Fd>) -> io::Result<Self> {
        let mut reactor = Self {
            poller: Poller::new(wasi),
            listeners: Vec::new(),
            open: 0,
            unfreed: UnfreedFds::default(),
            check: None,
            checks: Checks::default(),
            ready: Vec::new(),
        };
        for (token, fd) in (0..).zip(listeners) {
            let registration = reactor.poller.register_listener(fd, token);
            let refused = |error| io::Error::new(io::ErrorKind::Unsupported, error);
            let registration = registration.map_err(refused)?;
            reactor.listeners.push(Some(Listener { fd, registration }));
        }
        Ok(reactor)
    }

    /// If a check is due, adds reports of streams that have failed and of which no direction is polled. Returns how
    /// long the wait may last.
    fn check_unpolled(&mut self, timeout: Option<Duration>) -> Option<Duration> {
        if !self.checks.has_unpolled {
            return timeout;
        }
        let now = self.now();
        if self.checks.take_due(now) {
            self.checks.has_unpolled = self.poller.find_failed(&mut self.ready);
        }
        match self.ready.is_empty() {
            true => self.checks.longest_wait(now, timeout),
            false => Some(Duration::ZERO),
        }
    }
}

/// Closes the connections that the poller has accepted and the loop hasn't taken.
impl<W: Wasi> Drop for Wasip1Reactor<W> {
    fn drop(&mut self) {
        for listener in self.listeners.drain(..).flatten() {
            self.poller.deregister(listener.registration);
        }
    }
}

impl<W: Wasi> Reactor for Wasip1Reactor<W> {
    type Stream = Registration;

    /// The poller is level-triggered.
    const SHORT_IS_LAST: bool = true;

    fn listeners(&self) -> usize {
        self.listeners.len()
    }

    fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
        self.ready.clear();
        let timeout = match self.check {
            Some(check) => check(self, timeout),
            None => timeout,
        };
        self.poller.wait(&mut self.ready, timeout)?;
        events.extend(self.ready.iter().map(|ready| match ready.listener {
            true => Event::Listener(ready.token as usize),
            false => Event::Stream(
                Key::from_u64(ready.token),
                Readiness {
                    readable: ready.readable,
                    writable: ready.writable,
                    read_closed: ready.read_closed,
                    failed: ready.error.is_some() && !ready.readable,
                },
            ),
        }));
        Ok(())
    }

    fn set_accepting(&mut self, listener: usize, accepting: bool) {
        let interest = Interest {
            read: accepting,
            write: false,
        };
        if let Some(listener) = &self.listeners[listener] {
            self.poller.set_interest(&listener.registration, interest);
        }
    }

    fn close_listener(&mut self, listener: usize) -> io::Result<()> {
        let slot = &mut self.listeners[listener];
        if let Some(listener) = slot.take() {
            // If something else has closed it already, the number may belong to a connection by now.
            let closed = match self.poller.is_evicted(&listener.registration) {
                true => Ok(()),
                false => self.poller.wasi().fd_close(listener.fd),
            };
            match closed {
                Ok(()) | Err(Errno::BADF) => {
                    self.poller.deregister(listener.registration);
                }
                Err(errno) => {
                    *slot = Some(listener);
                    return Err(errno.into());
                }
            }
        }
        Ok(())
    }

    fn accept(&mut self, listener: usize, key: Key) -> io::Result<Accepted<Registration>> {
        let Some(listener) = &self.listeners[listener] else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        let fd = match self.poller.accept(&listener.registration) {
            Ok(fd) => fd,
            Err(errno) => {
                if errno != Errno::AGAIN {
                    self.unfreed.failed_to_accept();
                }
                return Err(errno.into());
            }
        };
        self.open += 1;
        self.unfreed.accepted();
        let token = key.to_u64();
        let stream = self.poller.register(fd, token, Interest::READ);
        // Preview 1 has no call for the peer's address.
        Ok(Accepted {
            stream,
            peer: Peer::Unknown,
            local: None,
            fd: Some(fd),
        })
    }

    /// POSIX's `accept` never fails with `ECANCELED`. A host that drains makes `sock_accept` fail with it, as
    /// `wasip1-host` does.
    fn asks_to_stop(&self, error: &io::Error) -> bool {
        Errno::of(error) == Some(Errno::CANCELED)
    }

    fn read(&mut self, stream: &mut Registration, buf: &mut [u8]) -> io::Result<usize> {
        Ok(self.poller.read(stream, buf)?)
    }

    fn write(&mut self, stream: &mut Registration, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(self.poller.write(stream, bufs)?)
    }

    fn write_last(&mut self, stream: &mut Registration, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(self.poller.write_last(stream, bufs)?)
    }

    fn set_interest(&mut self, stream: &mut Registration, interest: Interest) {
        self.checks.set_interest(interest);
        self.poller.set_interest(stream, interest);
    }

    fn probe(&mut self, _: &mut Registration) {
        // Preview 1 has no call for keep-alive probes.
        self.check = Some(Self::check_unpolled);
    }

    fn shutdown_write(&mut self, stream: &mut Registration) -> io::Result<()> {
        Ok(self.poller.shutdown(stream, Shutdown::Write)?)
    }

    fn close(&mut self, stream: Registration) {
        self.poller.close(stream);
        self.open -= 1;
        if self.poller.is_blind() {
            self.unfreed.closed(self.now());
        }
    }

    fn gains_by_closing(&self) -> bool {
        !self.poller.is_blind() || self.unfreed.are_few(self.now(), self.open)
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(self.poller.now())
    }
}

#[cfg(all(test, not(target_os = "wasi")))]
mod tests {
    use super::*;
    use wasip1_poll::fake::{Fake, Personality};

    #[test]
    fn connections_that_the_loop_never_took_are_closed_on_drop() {
        let fake = Fake::new(Personality::STRICT, 0);
        let listener = fake.preopen_listener();
        let client = fake.connect(listener);
        let reactor = Wasip1Reactor::new(fake.clone(), [listener]).expect("a listener");
        assert!(client.accepted_at().is_some() && client.closed_at().is_none());
        drop(reactor);
        assert!(client.closed_at().is_some());
    }

    #[test]
    fn a_listener_that_cant_be_closed_stays_usable() {
        let fake = Fake::new(Personality::STRICT, 0);
        let listener = fake.preopen_listener();
        fake.keep_listeners();
        let mut reactor = Wasip1Reactor::new(fake.clone(), [listener]).expect("a listener");
        let error = reactor.close_listener(0).expect_err("it can't be closed");
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        fake.connect(listener);
        let accepted = reactor.accept(0, Key::new(0, 0)).expect("a connection");
        reactor.close(accepted.stream);
        assert_eq!(fake.violations(), [""; 0]);
    }

    #[test]
    fn a_closed_listener_is_not_polled() {
        let fake = Fake::new(Personality::STRICT, 0);
        let listener = fake.preopen_listener();
        let mut reactor = Wasip1Reactor::new(fake.clone(), [listener]).expect("a listener");
        reactor.close_listener(0).expect("it can be closed");
        assert!(fake.connect(listener).is_reset());
        let mut events = Vec::new();
        let soon = Some(Duration::from_millis(1));
        reactor.wait(&mut events, soon).expect("a wait");
        let error = reactor.accept(0, Key::new(0, 0)).expect_err("no listener");
        assert_eq!(
            (events, error.kind()),
            (Vec::new(), io::ErrorKind::WouldBlock)
        );
        drop(reactor);
        assert_eq!(fake.violations(), [""; 0]);
    }

    #[test]
    fn a_listener_that_something_else_closed_takes_no_connection_with_it() {
        let fake = Fake::new(Personality::STRICT, 0);
        let [gone, other] = [fake.preopen_listener(), fake.preopen_listener()];
        let mut reactor = Wasip1Reactor::new(fake.clone(), [gone, other]).expect("listeners");
        fake.steal(gone);
        let client = fake.connect(other);
        let accepted = reactor.accept(1, Key::new(0, 0)).expect("a connection");
        assert_eq!(accepted.fd, Some(gone));
        reactor.close_listener(0).expect("it is closed already");
        assert!(!client.is_closed());
        reactor.close(accepted.stream);
        assert_eq!(fake.violations(), [""; 0]);
    }

    #[test]
    fn a_connection_is_accepted_read_shut_down_and_closed() {
        for personality in [
            Personality::WASI_COMMON,
            Personality::WAZERO,
            Personality::STRICT,
        ] {
            let fake = Fake::new(personality, 0);
            let listener = fake.preopen_listener();
            let mut reactor = Wasip1Reactor::new(fake.clone(), [listener]).expect("a listener");
            let mut events = Vec::new();
            let client = fake.connect(listener);
            reactor.wait(&mut events, None).expect("an event");
            assert_eq!(events, [Event::Listener(0)]);
            let key = Key::new(7, 9);
            let mut accepted = reactor.accept(0, key).expect("a connection");
            client.send(b"hello");
            events.clear();
            reactor.wait(&mut events, None).expect("an event");
            let readable = |event: &&Event| matches!(event, Event::Stream(_, it) if it.readable);
            let Some(Event::Stream(reported, _)) = events.iter().find(readable) else {
                panic!("no stream in {events:?}")
            };
            assert_eq!(*reported, key);
            let mut buf = [0; 8];
            assert_eq!(
                reactor.read(&mut accepted.stream, &mut buf).expect("bytes"),
                5
            );
            reactor
                .shutdown_write(&mut accepted.stream)
                .expect("a shutdown");
            assert!(client.is_at_end());
            reactor.close(accepted.stream);
            assert_eq!(fake.violations(), [""; 0]);
        }
    }

    #[test]
    fn a_file_descriptor_that_is_no_listener_fails_with_advice() {
        let fake = Fake::new(Personality::WASI_COMMON, 0);
        let directory = fake.preopen_directory("/");
        let error = Wasip1Reactor::new(fake, [directory]).expect_err("no listener");
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        assert!(error.to_string().contains("--tcplisten"), "{error}");
    }
}
