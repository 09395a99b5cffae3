//! [`World`]: the state of the fake runtime: file descriptors, sockets, the time, and what clients will do later (the
//! script).

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use super::Fake;
use super::personality::Personality;
use super::rng::Rng;
use crate::wasi::FIRST_FD;
use crate::wasi::{Fd, FileType};

/// An action of the script.
pub(super) type Action = Box<dyn FnOnce(&Fake)>;

/// How often each call was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// `poll_oneoff`.
    pub polls: u64,
    /// Subscriptions of all `poll_oneoff`s.
    pub subscriptions: u64,
    /// `sock_accept`.
    pub accepts: u64,
    /// `fd_read`.
    pub reads: u64,
    /// `fd_write`.
    pub writes: u64,
    /// Calls that failed with `AGAIN`.
    pub again: u64,
    /// All calls except `clock_time_get`.
    pub all: u64,
}

pub(super) struct World {
    pub(super) personality: Personality,
    pub(super) counts: Counts,
    pub(super) rng: Rng,
    now: u64,
    fds: BTreeMap<Fd, Object>,
    /// File descriptors that the server has closed, until their numbers are used again.
    closed: BTreeSet<Fd>,
    /// Listeners that the server has closed.
    closed_listeners: BTreeSet<Fd>,
    /// Closing a listener fails with `NOTSUP`.
    pub(super) keeps_listeners: bool,
    /// File descriptors that something else than the server has closed. The server may still use them.
    stolen: BTreeSet<Fd>,
    violations: Vec<String>,
    /// Sockets that the server has closed, until the next garbage collection.
    garbage: Vec<Rc<RefCell<Socket>>>,
    /// By time, then in the order in which they were scheduled.
    script: BTreeMap<(u64, u64), Action>,
    /// How many actions were ever scheduled.
    scheduled: u64,
}

pub(super) enum Object {
    Directory(String),
    Listener {
        backlog: VecDeque<Rc<RefCell<Socket>>>,
        nonblock: bool,
        /// The runtime wants the server to stop.
        canceled: bool,
    },
    Stream {
        socket: Rc<RefCell<Socket>>,
        nonblock: bool,
    },
}

/// The state of one connection, at both ends.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) to_server: VecDeque<u8>,
    pub(super) to_client: VecDeque<u8>,
    /// How many of the last bytes in `to_client` the runtime holds until more follows.
    pub(super) held: usize,
    /// How many bytes may be in `to_client`.
    pub(super) room: usize,
    /// When the server last wrote to it.
    pub(super) written_at: u64,
    /// When the connection was accepted.
    pub(super) accepted_at: Option<u64>,
    /// When the server first read from it.
    pub(super) read_at: Option<u64>,
    /// A call on it has failed because of an injected fault.
    pub(super) faulted: bool,
    pub(super) client_shut_writing: bool,
    pub(super) server_shut_writing: bool,
    pub(super) server_shut_reading: bool,
    pub(super) reset: bool,
    /// When the server closed it.
    pub(super) closed_at: Option<u64>,
    pub(super) fd: Option<Fd>,
    /// Polls don't report before this time what has arrived (the fault `late`).
    pub(super) visible_from: u64,
}

impl Socket {
    pub(super) fn new() -> Self {
        Self {
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
            held: 0,
            room: 64 * 1024,
            written_at: 0,
            accepted_at: None,
            read_at: None,
            faulted: false,
            client_shut_writing: false,
            server_shut_writing: false,
            server_shut_reading: false,
            reset: false,
            closed_at: None,
            fd: None,
            visible_from: 0,
        }
    }

    /// Whether a poll reports it as readable.
    pub(super) fn is_reported_readable(&self, now: u64) -> bool {
        let has_come = !self.to_server.is_empty() || self.client_shut_writing;
        has_come && now >= self.visible_from || self.reset
    }

    /// Whether a poll reports it as writable.
    pub(super) fn is_reported_writable(&self, reports_room_late: bool) -> bool {
        let least = if reports_room_late { self.room / 3 } else { 0 };
        self.free() > least || self.server_shut_writing || self.reset
    }

    /// Resets the connection. Bytes that were not read yet are lost.
    pub(super) fn reset(&mut self) {
        self.reset = true;
        self.to_server.clear();
        self.to_client.clear();
        self.held = 0;
    }

    pub(super) fn free(&self) -> usize {
        self.room.saturating_sub(self.to_client.len())
    }

    /// Whether the server has shut down both directions. To the client this looks like closing.
    pub(super) fn is_shut(&self) -> bool {
        self.server_shut_writing && self.server_shut_reading
    }

    pub(super) fn hangup(&self) -> bool {
        self.client_shut_writing && self.server_shut_writing
    }
}

impl Object {
    pub(super) fn listener() -> Self {
        Self::Listener {
            backlog: VecDeque::new(),
            nonblock: true,
            canceled: false,
        }
    }

    pub(super) fn file_type(&self) -> FileType {
        match self {
            Self::Directory(_) => FileType::DIRECTORY,
            Self::Listener { .. } | Self::Stream { .. } => FileType::SOCKET_STREAM,
        }
    }
}

impl World {
    pub(super) fn new(personality: Personality, seed: u64) -> Self {
        Self {
            personality,
            counts: Counts::default(),
            rng: Rng::new(seed),
            now: 0,
            fds: BTreeMap::new(),
            closed: BTreeSet::new(),
            closed_listeners: BTreeSet::new(),
            keeps_listeners: false,
            stolen: BTreeSet::new(),
            violations: Vec::new(),
            garbage: Vec::new(),
            script: BTreeMap::new(),
            scheduled: 0,
        }
    }

    pub(super) fn open(&mut self, object: Object) -> Fd {
        // The lowest free number, as in POSIX, so numbers are used again at once.
        let from = match self.chance(self.personality.faults.random_fd) {
            true => FIRST_FD + self.rng.below(100) as Fd,
            false => FIRST_FD,
        };
        let fd = (from..)
            .find(|fd| !self.fds.contains_key(fd))
            .expect("a free number");
        self.open_at(fd, object);
        fd
    }

    pub(super) fn open_at(&mut self, fd: Fd, object: Object) {
        self.closed.remove(&fd);
        self.stolen.remove(&fd);
        assert!(self.fds.insert(fd, object).is_none(), "fd {fd} is taken");
    }

    /// True in `per_mille` of 1,000 cases, at random.
    pub(super) fn chance(&mut self, per_mille: u16) -> bool {
        // If the fault is disabled, no random number is drawn.
        per_mille > 0 && self.rng.chance(per_mille)
    }

    /// The time from which on polls report what arrives now.
    pub(super) fn visible_from(&mut self) -> u64 {
        let faults = self.personality.faults;
        let late = if self.chance(faults.late) {
            self.rng.below(faults.late_by)
        } else {
            0
        };
        self.now + late
    }

    pub(super) fn renumber(&mut self) {
        let sockets_first = self.personality.sockets_first;
        let mut objects: Vec<Object> = std::mem::take(&mut self.fds).into_values().collect();
        objects.sort_by_key(|object| matches!(object, Object::Directory(_)) == sockets_first);
        self.fds = (FIRST_FD..).zip(objects).collect();
    }

    pub(super) fn connect(&mut self, listener: Fd) -> Rc<RefCell<Socket>> {
        let socket = Rc::new(RefCell::new(Socket::new()));
        match self.fds.get_mut(&listener) {
            Some(Object::Listener { backlog, .. }) => backlog.push_back(Rc::clone(&socket)),
            _ if self.closed_listeners.contains(&listener) => socket.borrow_mut().reset(),
            _ => panic!("fd {listener} is not a listener"),
        }
        socket
    }

    /// Records something that the server must not do.
    pub(super) fn record_violation(&mut self, what: String) {
        self.violations.push(what);
    }

    pub(super) fn cancel(&mut self, listener: Fd) {
        match self.fds.get_mut(&listener) {
            Some(Object::Listener { canceled, .. }) => *canceled = true,
            _ => panic!("fd {listener} is not a listener"),
        }
    }

    /// The object at `fd`. Records a violation if the server has closed it.
    pub(super) fn object(&mut self, fd: Fd, call: &str) -> Option<&mut Object> {
        if self.closed.contains(&fd) {
            self.violations
                .push(format!("{call} on fd {fd} after it was closed"));
        }
        self.fds.get_mut(&fd)
    }

    /// Like [`object`](Self::object), but this use of a closed `fd` is not a violation.
    pub(super) fn peek(&self, fd: Fd) -> Option<&Object> {
        self.fds.get(&fd)
    }

    pub(super) fn close(&mut self, fd: Fd) -> bool {
        let Some(object) = self.fds.remove(&fd) else {
            if !self.stolen.contains(&fd) {
                self.violations
                    .push(format!("fd_close on fd {fd}, which isn't open"));
            }
            return false;
        };
        self.closed.insert(fd);
        if matches!(object, Object::Listener { .. }) {
            self.closed_listeners.insert(fd);
        }
        match object {
            Object::Stream { socket, .. } if self.personality.silence.close > 0 => {
                self.discard(socket);
            }
            object => close_object(object, self.now),
        }
        true
    }

    /// Keeps a socket that the server has closed until the next garbage collection.
    fn discard(&mut self, socket: Rc<RefCell<Socket>>) {
        {
            let mut socket = socket.borrow_mut();
            // If a call has failed, the connection counts as broken, and the client can see that.
            if socket.is_shut() || socket.reset || socket.faulted {
                socket.closed_at = Some(self.now);
            }
        }
        self.garbage.push(socket);
    }

    /// Runs a garbage collection if it is time for one: closes the sockets that the server has closed.
    fn collect(&mut self, before: u64) {
        let every = self.personality.silence.close;
        if every == 0 || before / every < self.now / every {
            for socket in std::mem::take(&mut self.garbage) {
                close_socket(&mut socket.borrow_mut(), self.now);
            }
        }
    }

    /// Whether another file descriptor can be opened.
    pub(super) fn has_descriptors(&self) -> bool {
        self.fds.len() + self.garbage.len() < self.personality.most_descriptors
    }

    pub(super) fn make_blocking(&mut self, fd: Fd) {
        if let Some(Object::Listener { nonblock, .. }) = self.fds.get_mut(&fd) {
            *nonblock = false;
        }
    }

    pub(super) fn steal(&mut self, fd: Fd) {
        if let Some(object) = self.fds.remove(&fd) {
            self.stolen.insert(fd);
            close_object(object, self.now);
        }
    }

    pub(super) fn schedule(&mut self, delay: Duration, action: Action) {
        let at = self.now + delay.as_nanos() as u64;
        self.scheduled += 1;
        self.script.insert((at, self.scheduled), action);
    }

    /// Takes the first action that is due at `until`, and moves the time to it.
    pub(super) fn next_action(&mut self, until: u64) -> Option<Action> {
        let entry = self.script.first_entry()?;
        let at = entry.key().0;
        if at > until {
            return None;
        }
        let action = entry.remove();
        self.set_now(at);
        Some(action)
    }

    pub(super) fn next_action_at(&self) -> Option<u64> {
        self.script.first_key_value().map(|((at, _), _)| *at)
    }

    pub(super) fn is_script_over(&self) -> bool {
        self.script.is_empty()
    }

    pub(super) fn now(&self) -> u64 {
        self.now
    }

    pub(super) fn set_now(&mut self, now: u64) {
        let before = self.now;
        self.now = before.max(now);
        self.collect(before);
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    pub(super) fn violations(&self) -> Vec<String> {
        self.violations.clone()
    }

    pub(super) fn open_streams(&self) -> usize {
        self.fds
            .values()
            .filter(|object| matches!(object, Object::Stream { .. }))
            .count()
    }
}

fn close_object(object: Object, now: u64) {
    match object {
        Object::Stream { socket, .. } => close_socket(&mut socket.borrow_mut(), now),
        // As a system does with connections that were not accepted.
        Object::Listener { backlog, .. } => {
            backlog
                .iter()
                .for_each(|socket| socket.borrow_mut().reset());
        }
        Object::Directory(_) => {}
    }
}

fn close_socket(socket: &mut Socket, now: u64) {
    socket.closed_at.get_or_insert(now);
    socket.server_shut_writing = true;
    socket.held = 0;
    // As in TCP, closing with unread bytes resets the connection, and the client may lose bytes that it hasn't
    // taken.
    if !socket.to_server.is_empty() {
        socket.reset();
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("personality", &self.personality)
            .field("now", &self.now)
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}
