//! Random tests of the shim: a hostile user of mio's API. It registers, changes and ends registrations at random,
//! drops sources without ending them, uses tokens again at once, reads only part of what has arrived, and has room
//! for very few events. A model checks which events are permitted. At the end, everything must have been reported.
//!
//! `MIO_SEEDS=1000` runs this many seeds, `MIO_SEED=7` only this one.

#![allow(clippy::print_stdout, reason = "a failing test names its seed")]

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use wasip1_poll::Fd;
use wasip1_poll::fake::{Client, Fake, Faults, Personality, Rng};

use super::{BOTH, LISTENER};
use crate::event::Event;
use crate::net::{TcpListener, TcpStream};
use crate::sys;
use crate::{Events, Interest, Poll, Token};

#[test]
fn on_wasi_common() {
    run_seeds("wasi-common", Personality::WASI_COMMON);
}

#[test]
fn on_wazero() {
    run_seeds("wazero", Personality::WAZERO);
}

#[test]
fn on_a_runtime_that_follows_the_specification() {
    run_seeds("strict", Personality::STRICT);
}

#[test]
fn on_a_runtime_where_calls_do_nothing() {
    run_seeds("silent", Personality::SILENT);
}

#[test]
fn on_a_hostile_runtime() {
    run_seeds("hostile", Personality::HOSTILE);
}

fn run_seeds(name: &str, personality: Personality) {
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    let seeds = match number("MIO_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("MIO_SEEDS").unwrap_or(150),
    };
    for seed in seeds {
        let run = || User::new(personality, seed).run();
        if let Err(panic) = std::panic::catch_unwind(run) {
            println!("{name}: failed with MIO_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

/// A connection, and its state in the model.
struct Conn {
    client: Client,
    stream: TcpStream,
    /// Its token and interests, if it is registered.
    registered: Option<(Token, Interest)>,
    /// The direction was reported, and no call has failed with `WouldBlock` since.
    read_fired: bool,
    write_fired: bool,
    sent: usize,
    got: usize,
    written: usize,
    received: usize,
    /// The client has reset it or ended its stream.
    ended: bool,
    /// It has failed, or the runtime has reported that.
    failed: bool,
    at_end: bool,
}

struct User {
    fake: Fake,
    fd: Fd,
    rng: Rng,
    is_faultless: bool,
    poll: Poll,
    listener: TcpListener,
    listener_registered: bool,
    listener_fired: bool,
    /// How many connections wait to be accepted.
    waiting: usize,
    clients: Vec<Client>,
    conns: Vec<Conn>,
    /// Tokens that are not in use. The last one is used first.
    tokens: Vec<Token>,
}

impl User {
    fn new(personality: Personality, seed: u64) -> Self {
        let fake = Fake::new(personality, seed);
        sys::install(&fake);
        let fd = fake.preopen_listener();
        Self {
            rng: Rng::new(!seed),
            fd,
            is_faultless: personality.faults.spurious == 0,
            poll: Poll::new().expect("a poll"),
            listener: TcpListener::of(sys::TcpListener(fd)),
            listener_registered: false,
            listener_fired: false,
            waiting: 0,
            clients: Vec::new(),
            conns: Vec::new(),
            tokens: (1..=60).rev().map(Token).collect(),
            fake,
        }
    }

    fn run(mut self) {
        for _ in 0..200 + self.rng.below(400) {
            self.step();
        }
        self.fake.set_faults(Faults::NONE);
        self.find_everything();
        self.conns.clear();
        drop(self.poll);
        drop(self.listener);
        assert_eq!(self.fake.open_streams(), 0, "a file descriptor has leaked");
        assert_eq!(self.fake.violations(), [""; 0]);
    }

    fn step(&mut self) {
        match self.rng.below(14) {
            0 | 1 if self.clients.len() < 40 => {
                let client = self.fake.connect(self.fd);
                client.set_room(1 + self.rng.below(5000) as usize);
                self.clients.push(client);
                self.waiting += 1;
            }
            2 => self.toggle_listener(),
            3 => self.accept(),
            4 | 5 => self.with_conn(Self::client_acts),
            6 => self.with_conn(Self::register),
            7 => self.with_conn(Self::deregister),
            8 => self.with_conn(|user, conn| {
                let most = 1 + user.rng.below(40) as usize;
                read(conn, most);
            }),
            9 => self.with_conn(|user, conn| {
                let count = 1 + user.rng.below(3000) as usize;
                write(conn, count);
            }),
            10 if self.rng.chance(200) && !self.conns.is_empty() => {
                let at = self.rng.below(self.conns.len() as u64) as usize;
                let conn = self.conns.swap_remove(at);
                self.tokens.extend(conn.registered.map(|it| it.0));
            }
            _ => {
                let timeout = self.rng.pick(&[0, 1000, 100_000, 5_000_000]);
                let capacity = 1 + self.rng.below(6) as usize;
                let acts = self.rng.chance(600);
                self.poll(timeout, capacity, acts);
            }
        }
    }

    fn with_conn(&mut self, act: impl FnOnce(&mut Self, &mut Conn)) {
        if self.conns.is_empty() {
            return;
        }
        let at = self.rng.below(self.conns.len() as u64) as usize;
        let mut conn = self.conns.swap_remove(at);
        act(self, &mut conn);
        self.conns.push(conn);
    }

    fn toggle_listener(&mut self) {
        let registry = self.poll.registry();
        let result = match self.listener_registered {
            true => registry.deregister(&mut self.listener),
            false => registry.register(&mut self.listener, LISTENER, Interest::READABLE),
        };
        result.expect("as the model says");
        self.listener_registered ^= true;
        self.listener_fired = false;
    }

    fn accept(&mut self) {
        match self.listener.accept() {
            Ok((stream, _)) => {
                let fd = stream.fd();
                let mine = |client: &&Client| client.fd() == Some(fd) && !client.is_closed();
                let client = self.clients.iter().find(mine).expect("the client that has connected").clone();
                self.waiting -= 1;
                self.conns.push(Conn {
                    client,
                    stream,
                    registered: None,
                    read_fired: false,
                    write_fired: false,
                    sent: 0,
                    got: 0,
                    written: 0,
                    received: 0,
                    ended: false,
                    failed: false,
                    at_end: false,
                });
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.listener_fired = false,
            Err(_) => {}
        }
    }

    fn client_acts(&mut self, conn: &mut Conn) {
        match self.rng.below(20) {
            0 => {
                conn.client.reset();
                (conn.ended, conn.failed) = (true, true);
            }
            1 => {
                conn.client.end();
                conn.ended = true;
            }
            2..8 => conn.received += conn.client.receive().len(),
            _ if conn.ended => {}
            _ => {
                let count = self.rng.pick(&[1, 2, 16, 100, 1000]);
                conn.client.send(&vec![7; count]);
                conn.sent += count;
            }
        }
    }

    fn register(&mut self, conn: &mut Conn) {
        let interests = self
            .rng
            .pick(&[Interest::READABLE, Interest::WRITABLE, BOTH, BOTH]);
        let registry = self.poll.registry();
        let old = conn.registered;
        let token = match old {
            // Keep the token, or half of the time take a new one, which frees the old one.
            Some((token, _)) if self.rng.chance(500) => token,
            _ => self.tokens.pop().expect("more tokens than connections"),
        };
        let result = match old {
            None => registry.register(&mut conn.stream, token, interests),
            Some(_) => registry.reregister(&mut conn.stream, token, interests),
        };
        result.expect("as the model says");
        self.tokens
            .extend(old.map(|it| it.0).filter(|old| *old != token));
        conn.registered = Some((token, interests));
        (conn.read_fired, conn.write_fired) = (false, false);
    }

    fn deregister(&mut self, conn: &mut Conn) {
        let result = self.poll.registry().deregister(&mut conn.stream);
        assert_eq!(result.is_ok(), conn.registered.is_some());
        self.tokens.extend(conn.registered.take().map(|it| it.0));
    }

    /// Polls, and checks what is reported. If `acts`, also reads, writes and accepts accordingly.
    fn poll(&mut self, nanos: u64, capacity: usize, acts: bool) {
        let mut events = Events::with_capacity(capacity);
        let timeout = Some(Duration::from_nanos(nanos));
        self.poll
            .poll(&mut events, timeout)
            .expect("no fault here is the poll's");
        assert!(events.iter().count() <= capacity);
        for event in &events {
            if event.token() == LISTENER {
                assert!(self.listener_registered, "{event:?} after deregister");
                assert!(!self.listener_fired || event.is_error(), "{event:?} again");
                assert!(!event.is_read_closed() && !event.is_writable());
                self.listener_fired |= event.is_readable();
                continue;
            }
            let is = |conn: &&mut Conn| conn.registered.is_some_and(|it| it.0 == event.token());
            let conn = self.conns.iter_mut().find(is);
            let conn = conn.unwrap_or_else(|| panic!("{event:?} after deregister"));
            check(conn, event, self.is_faultless);
            if acts {
                if event.is_readable() {
                    read(conn, usize::MAX);
                }
                if event.is_writable() {
                    write(conn, 100);
                }
            }
        }
        if acts && self.listener_fired {
            self.accept();
        }
    }

    /// From here on the user follows mio's contract. Then everything that was sent must be found, and room to write
    /// must be reported.
    fn find_everything(&mut self) {
        if !self.listener_registered {
            self.toggle_listener();
        }
        let mut conns = std::mem::take(&mut self.conns);
        for conn in &mut conns {
            if conn.registered.is_none_or(|it| it.1 != BOTH) {
                self.register_both(conn);
            }
            // Directions that have fired before are not reported again.
            if conn.read_fired {
                read(conn, usize::MAX);
            }
        }
        self.conns = conns;
        let until = self.fake.now() + 2_000_000_000;
        loop {
            if self.listener_fired {
                while self.listener_fired {
                    self.accept();
                }
                let mut conns = std::mem::take(&mut self.conns);
                for conn in conns.iter_mut().filter(|it| it.registered.is_none()) {
                    self.register_both(conn);
                }
                self.conns = conns;
            }
            let over = |conn: &Conn| {
                conn.failed || conn.got == conn.sent && (!conn.ended || conn.at_end)
            };
            if self.waiting == 0 && self.conns.iter().all(over) {
                break;
            }
            let left = self.conns.iter().filter(|conn| !over(conn)).count();
            assert!(
                self.fake.now() < until,
                "{left} of {} connections are not finished, {} not accepted",
                self.conns.len(),
                self.waiting
            );
            self.poll(5_000_000, 8, true);
        }
        self.check_room_is_reported();
    }

    /// Fills each socket, lets its client take the bytes, and checks that room to write is reported.
    fn check_room_is_reported(&mut self) {
        for at in 0..self.conns.len() {
            let conn = &mut self.conns[at];
            if conn.failed {
                continue;
            }
            while !conn.failed && write(conn, 100_000) {}
            conn.write_fired = false;
            let until = self.fake.now() + 1_000_000_000;
            conn.received += conn.client.receive().len();
            while !self.conns[at].write_fired && !self.conns[at].failed {
                assert!(self.fake.now() < until, "room to write was not reported");
                self.poll(5_000_000, 8, false);
                for conn in &mut self.conns {
                    read(conn, usize::MAX);
                }
                while self.listener_fired {
                    self.accept();
                }
            }
        }
        for conn in &mut self.conns {
            conn.received += conn.client.receive().len();
            assert!(conn.failed || conn.received == conn.written);
        }
    }

    fn register_both(&mut self, conn: &mut Conn) {
        let registry = self.poll.registry();
        let token = match conn.registered {
            Some((token, _)) => token,
            None => self.tokens.pop().expect("more tokens than connections"),
        };
        let result = match conn.registered {
            Some(_) => registry.reregister(&mut conn.stream, token, BOTH),
            None => registry.register(&mut conn.stream, token, BOTH),
        };
        result.expect("as the model says");
        conn.registered = Some((token, BOTH));
        (conn.read_fired, conn.write_fired) = (false, false);
    }
}

/// Checks that the model permits this event of this connection.
fn check(conn: &mut Conn, event: &Event, is_faultless: bool) {
    let (_, interests) = conn.registered.expect("found by its token");
    let fault = event.is_error() || event.is_read_closed();
    assert!(!event.is_readable() || interests.is_readable(), "{event:?}");
    assert!(!event.is_writable() || interests.is_writable(), "{event:?}");
    assert!(event.is_readable() || event.is_writable(), "{event:?}");
    assert!(!event.is_readable() || !conn.read_fired || fault, "again: {event:?}");
    assert!(!event.is_writable() || !conn.write_fired || fault, "again: {event:?}");
    if is_faultless {
        assert!(!fault || conn.ended, "no fault, but {event:?}");
        assert!(!event.is_write_closed() || conn.failed, "{event:?}");
    }
    conn.read_fired |= event.is_readable();
    conn.write_fired |= event.is_writable();
}

/// Reads, at most `most` times.
fn read(conn: &mut Conn, most: usize) {
    let mut buf = [0; 64];
    for _ in 0..most {
        match conn.stream.read(&mut buf) {
            Ok(0) => {
                assert!(conn.ended, "an end that the client didn't send");
                conn.at_end = true;
                break;
            }
            Ok(count) => conn.got += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                conn.read_fired = false;
                break;
            }
            // Without a registration, the user has to try again.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => {
                conn.failed = true;
                break;
            }
        }
    }
}

/// Writes once. Returns whether there was room.
fn write(conn: &mut Conn, count: usize) -> bool {
    match conn.stream.write(&vec![1; count]) {
        Ok(count) => {
            conn.written += count;
            true
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            conn.write_fired = false;
            false
        }
        Err(error) if error.kind() == ErrorKind::Interrupted => true,
        Err(_) => {
            conn.failed = true;
            false
        }
    }
}
