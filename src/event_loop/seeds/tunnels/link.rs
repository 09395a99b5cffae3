//! [`Link`]: what the two ends of a connection, the client and the program, have done so far.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::rc::Rc;

use super::plan::Plan;
use wasip1_poll::fake::Client;

/// A connection: what its two ends have done so far. Times are nanoseconds.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) plan: Plan,
    pub(super) client: RefCell<Option<Client>>,
    pub(super) near: RefCell<Near>,
    pub(super) far: RefCell<Far>,
}

/// What the client has done.
#[derive(Debug, Default)]
pub(super) struct Far {
    pub(super) connected_at: u64,
    /// Bytes that it has sent.
    pub(super) sent: usize,
    /// When it last did.
    pub(super) sent_at: u64,
    /// How many bytes of the new protocol it had sent, each time that it has sent some.
    pub(super) sends: Vec<Mark>,
    /// When the whole request was sent.
    pub(super) asked_at: Option<u64>,
    pub(super) ended_at: Option<u64>,
    pub(super) reset_at: Option<u64>,
    /// The statuses of the responses.
    pub(super) statuses: Vec<u16>,
    /// Bytes of responses, up to the new protocol.
    pub(super) heads: usize,
    /// The connection was upgraded, as far as the client knows.
    pub(super) is_open: bool,
    /// Bytes of the new protocol that it has taken.
    pub(super) taken: usize,
    pub(super) taken_at: u64,
    pub(super) takes: Vec<Mark>,
    /// When it saw the end of what the server sends.
    pub(super) saw_end_at: Option<u64>,
}

/// What the program has done.
#[derive(Debug, Default)]
pub(super) struct Near {
    pub(super) opened_at: Option<u64>,
    /// The upgrade has failed.
    pub(super) has_failed: bool,
    pub(super) read: usize,
    pub(super) read_at: u64,
    pub(super) reads: Vec<Mark>,
    pub(super) read_end: Option<(ReadEnd, u64)>,
    pub(super) written: usize,
    pub(super) writes: Vec<Mark>,
    pub(super) write_end: Option<(WriteEnd, u64)>,
    pub(super) dropped_at: Option<u64>,
}

/// How many bytes had passed at this time.
pub(super) type Mark = (usize, u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadEnd {
    /// The client's stream has ended.
    End,
    /// As much as was planned.
    Enough,
    Failed(ErrorKind),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteEnd {
    Closed,
    Left,
    Failed(ErrorKind),
}

/// How many bytes a direction may hold.
const MAX_HELD: usize = 64 << 10;

impl Link {
    pub(super) fn new(plan: Plan) -> Rc<Self> {
        Rc::new(Self {
            plan,
            client: RefCell::default(),
            near: RefCell::default(),
            far: RefCell::default(),
        })
    }

    /// Bytes of the new protocol that have arrived at the client's end. `None` if it doesn't know where they begin.
    pub(super) fn arrived(&self) -> Option<usize> {
        let client = self.client.borrow();
        let (client, far) = (client.as_ref()?, self.far.borrow());
        far.is_open.then(|| far.taken + client.waiting())
    }

    /// Why a direction holds too much, if it does.
    pub(super) fn overflow(&self) -> Option<String> {
        let client = self.client.borrow();
        let client = client.as_ref()?;
        let (near, far) = (self.near.borrow(), self.far.borrow());
        if near.opened_at.is_none() || near.dropped_at.is_some() || client.is_reset() {
            return None;
        }
        let taken = far.sent - client.unread();
        let input = taken.saturating_sub(self.plan.heads().len() + near.read);
        let output = self
            .arrived()
            .map_or(0, |arrived| near.written.saturating_sub(arrived));
        (input > MAX_HELD || output > MAX_HELD)
            .then(|| format!("{input} bytes of input are held, {output} of output"))
    }
}
