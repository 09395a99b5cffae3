//! Which calls the loop makes for a new connection, and in which order, with a reactor that reads new streams before it
//! registers them, as natively.

use std::io::{self, IoSlice};

use super::*;
use crate::reactor::{Accepted, Interest};

type Calls = Rc<RefCell<Vec<&'static str>>>;

/// Records the calls for streams.
struct Recorded {
    inner: Wasip1Reactor<Fake>,
    calls: Calls,
    /// Whether a stream can't be registered.
    is_full: bool,
}

type Stream = <Wasip1Reactor<Fake> as Reactor>::Stream;

impl Recorded {
    fn record(&self, call: &'static str) {
        self.calls.borrow_mut().push(call);
    }
}

impl Reactor for Recorded {
    type Stream = Stream;

    const SHORT_IS_LAST: bool = true;
    const READS_NEW: bool = true;

    fn listeners(&self) -> usize {
        self.inner.listeners()
    }

    fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
        self.inner.wait(events, timeout)
    }

    fn set_accepting(&mut self, listener: usize, accepting: bool) {
        self.inner.set_accepting(listener, accepting);
    }

    fn close_listener(&mut self, listener: usize) -> io::Result<()> {
        self.inner.close_listener(listener)
    }

    fn accept(&mut self, listener: usize, key: Key) -> io::Result<Accepted<Stream>> {
        let accepted = self.inner.accept(listener, key)?;
        self.record("accept");
        Ok(accepted)
    }

    fn watch(&mut self, _: &mut Stream) -> io::Result<()> {
        self.record("watch");
        match self.is_full {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }

    fn read(&mut self, stream: &mut Stream, buf: &mut [u8]) -> io::Result<usize> {
        self.record("read");
        self.inner.read(stream, buf)
    }

    fn write(&mut self, stream: &mut Stream, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.record("write");
        self.inner.write(stream, bufs)
    }

    fn write_last(&mut self, stream: &mut Stream, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.record("write last");
        self.inner.write(stream, bufs)
    }

    fn set_interest(&mut self, stream: &mut Stream, interest: Interest) {
        self.inner.set_interest(stream, interest);
    }

    fn shutdown_write(&mut self, stream: &mut Stream) -> io::Result<()> {
        self.record("shut down");
        self.inner.shutdown_write(stream)
    }

    fn close(&mut self, stream: Stream) {
        self.record("close");
        self.inner.close(stream);
    }

    fn now(&self) -> Instant {
        self.inner.now()
    }
}

/// Serves until the server is stopped. Returns the calls until then.
fn calls(bench: &Bench, is_full: bool) -> Vec<&'static str> {
    let calls = Calls::default();
    let reactor = Recorded {
        inner: Wasip1Reactor::new(bench.fake.clone(), [bench.listener]).expect("a listener"),
        calls: Rc::clone(&calls),
        is_full,
    };
    let before = Rc::new(RefCell::new(Vec::new()));
    let (seen, handle, fake) = (Rc::clone(&before), bench.handle.clone(), bench.listener);
    bench.at(1_000, move |world| {
        *seen.borrow_mut() = calls.borrow().clone();
        handle.stop();
        let _ = world.connect(fake);
    });
    let handler = |_: Request| Response::new(b"hello!".to_vec());
    serve(reactor, handler, &bench.settings, &bench.handle).expect("it ends well");
    before.take()
}

const CLOSE: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

#[test]
fn a_request_that_came_with_its_connection_needs_no_event() {
    let bench = Bench::new(Personality::STRICT);
    let client = bench.client();
    client.send(CLOSE);
    let later = client.clone();
    bench.at(100, move |_| later.end());
    let expected = [
        "accept",
        "read",
        "write last",
        "shut down",
        "watch",
        "read",
        "close",
    ];
    assert_eq!(calls(&bench, false), expected);
    assert_eq!(count_ok(&client), 1);
}

#[test]
fn only_the_last_response_is_written_together_with_the_end() {
    let bench = Bench::new(Personality::STRICT);
    let client = bench.client();
    client.send(GET);
    let (next, last) = (client.clone(), client.clone());
    bench.at(100, move |_| next.send(GET));
    bench.at(200, move |_| {
        last.send(CLOSE);
        last.end();
    });
    let calls = calls(&bench, false);
    let writes = calls.iter().filter(|call| call.starts_with("write"));
    let writes: Vec<_> = writes.copied().collect();
    assert_eq!(writes, ["write", "write", "write last"]);
    assert_eq!(calls.iter().filter(|call| **call == "watch").count(), 1);
    assert_eq!(count_ok(&client), 3);
}

#[test]
fn a_client_that_is_gone_at_once_is_not_registered() {
    let bench = Bench::new(Personality::STRICT);
    let client = bench.client();
    client.end();
    let calls = calls(&bench, false);
    assert_eq!(calls, ["accept", "read", "close"]);
}

#[test]
fn a_connection_that_cannot_be_registered_is_closed() {
    let bench = Bench::new(Personality::STRICT);
    let client = bench.client();
    client.send(GET);
    let calls = calls(&bench, true);
    assert_eq!(calls, ["accept", "read", "write", "watch", "close"]);
    // The other one is the connection with which the bench stops the server: it can't be registered, either.
    assert_eq!(bench.handle.counters().closed(CloseReason::IoError), 2);
    assert_eq!(count_ok(&client), 1);
}

/// Requests of new connections are served while more are accepted. So if handlers are slow, accepting has to end early:
/// otherwise open connections would have to wait.
#[test]
fn slow_handlers_of_new_connections_do_not_keep_the_others_waiting() {
    let mut bench = Bench::new(Personality::STRICT);
    bench.settings.limits.accepts_per_turn = 1_000;
    for _ in 0..100 {
        bench.client().send(CLOSE);
    }
    let reactor = Recorded {
        inner: Wasip1Reactor::new(bench.fake.clone(), [bench.listener]).expect("a listener"),
        calls: Calls::default(),
        is_full: false,
    };
    let polls = Rc::new(RefCell::new(Vec::new()));
    let (fake, handle, seen) = (bench.fake.clone(), bench.handle.clone(), Rc::clone(&polls));
    let handler = move |_: Request| {
        fake.work(Duration::from_millis(10));
        seen.borrow_mut().push(fake.counts().polls);
        if seen.borrow().len() == 100 {
            handle.stop();
        }
        Response::new(b"hello!".to_vec())
    };
    serve(reactor, handler, &bench.settings, &bench.handle).expect("it ends well");
    let polls = polls.take();
    assert_eq!(polls.len(), 100);
    let most = polls
        .chunk_by(|one, next| one == next)
        .map(<[u64]>::len)
        .max();
    assert!(most <= Some(16), "{most:?} between two waits");
}
