//! How messages get to all instances of the server.

use std::cell::Cell;
use std::rc::Rc;
use std::time::SystemTime;

use crate::Error;
use crate::room::Room;

/// Carries messages to all instances of the server, this one included.
///
/// [`Local`] is for one instance. Natively, the module `redis_bus` is for several: `publish` adds an entry to a stream
/// of Redis, and `receive` waits for entries and adds them to the room.
pub(crate) trait Bus: 'static {
    /// Sends a message. Returns its number: numbers grow, and are the same in all instances, so that a browser
    /// can continue at another instance.
    async fn publish(&self, text: &str) -> Result<u64, Error>;

    /// Adds to the room what is published, in the order of the numbers. Returns only if it fails for good.
    async fn receive(&self, room: &Room) -> Result<(), Error>;
}

/// For one instance: messages go right into its room.
pub(crate) struct Local {
    room: Rc<Room>,
    last: Cell<u64>,
}

impl Local {
    pub(crate) fn new(room: Rc<Room>) -> Self {
        // The milliseconds since 1970, so that numbers also grow from one start of the server to the next: a
        // browser that reconnects sends the last number that it knows.
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let last = Cell::new(u64::try_from(now.as_millis()).unwrap_or(0));
        Self { room, last }
    }
}

impl Bus for Local {
    async fn publish(&self, text: &str) -> Result<u64, Error> {
        let id = self.last.get() + 1;
        self.last.set(id);
        self.room.add(id, text);
        Ok(id)
    }

    async fn receive(&self, _room: &Room) -> Result<(), Error> {
        std::future::pending().await
    }
}
