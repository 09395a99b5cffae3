//! [`Client`]: the client's end of a connection to the fake runtime.

use std::cell::RefCell;
use std::rc::Rc;

use super::Fake;
use super::world::Socket;
use crate::wasi::Fd;

/// A client's end of one connection. Clones refer to the same one.
#[derive(Clone, Debug)]
pub struct Client {
    fake: Fake,
    socket: Rc<RefCell<Socket>>,
}

impl Client {
    pub(super) fn new(fake: Fake, socket: Rc<RefCell<Socket>>) -> Self {
        Self { fake, socket }
    }

    /// Sends bytes, which arrive at once. If the server has closed the connection, this resets it.
    pub fn send(&self, bytes: &[u8]) {
        let visible_from = self.fake.visible_from();
        let mut socket = self.socket.borrow_mut();
        if socket.closed_at.is_some() || socket.is_shut() {
            return socket.reset();
        }
        socket.visible_from = visible_from;
        socket.to_server.extend(bytes);
    }

    /// Shuts down sending (a half-close).
    pub fn end(&self) {
        let visible_from = self.fake.visible_from();
        let mut socket = self.socket.borrow_mut();
        socket.visible_from = visible_from;
        socket.client_shut_writing = true;
    }

    /// Resets the connection. Bytes that were not read yet are lost.
    pub fn reset(&self) {
        self.socket.borrow_mut().reset();
    }

    /// Takes all bytes that have arrived.
    #[must_use]
    pub fn receive(&self) -> Vec<u8> {
        self.receive_at_most(usize::MAX)
    }

    /// Takes at most `most` of the bytes that have arrived.
    #[must_use]
    pub fn receive_at_most(&self, most: usize) -> Vec<u8> {
        let mut socket = self.socket.borrow_mut();
        let count = most.min(socket.to_client.len() - socket.held);
        socket.to_client.drain(..count).collect()
    }

    /// Drops at most `most` of the bytes that have arrived, and returns how many there were.
    #[must_use]
    pub fn skip(&self, most: usize) -> usize {
        let mut socket = self.socket.borrow_mut();
        let count = most.min(socket.to_client.len() - socket.held);
        drop(socket.to_client.drain(..count));
        count
    }

    /// Sets how many bytes the server can write before the client has to take some. Initially 65,536.
    pub fn set_room(&self, bytes: usize) {
        self.socket.borrow_mut().room = bytes;
    }

    /// Whether the server has shut down sending, and the client has taken everything.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        let socket = self.socket.borrow();
        socket.server_shut_writing && socket.to_client.is_empty()
    }

    /// Whether the server has closed its file descriptor, as far as the client can see. In a runtime where closing has
    /// no effect at first, the client sees it if the server has also shut down both directions, or after a garbage
    /// collection.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.socket.borrow().closed_at.is_some()
    }

    /// Whether the connection was reset, by either end.
    #[must_use]
    pub fn is_reset(&self) -> bool {
        self.socket.borrow().reset
    }

    /// Whether a call on the connection has failed because of an injected fault.
    #[must_use]
    pub fn is_faulted(&self) -> bool {
        self.socket.borrow().faulted
    }

    /// How many bytes were sent that the server hasn't read yet.
    #[must_use]
    pub fn unread(&self) -> usize {
        self.socket.borrow().to_server.len()
    }

    /// How many bytes have arrived that the client hasn't taken yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.socket.borrow().to_client.len()
    }

    /// When the server last wrote to it, in virtual nanoseconds.
    #[must_use]
    pub fn written_at(&self) -> u64 {
        self.socket.borrow().written_at
    }

    /// When the connection was accepted, in virtual nanoseconds.
    #[must_use]
    pub fn accepted_at(&self) -> Option<u64> {
        self.socket.borrow().accepted_at
    }

    /// When the server first read from it, in virtual nanoseconds.
    #[must_use]
    pub fn read_at(&self) -> Option<u64> {
        self.socket.borrow().read_at
    }

    /// When the server closed it, in virtual nanoseconds; see [`is_closed`](Self::is_closed).
    #[must_use]
    pub fn closed_at(&self) -> Option<u64> {
        self.socket.borrow().closed_at
    }

    /// The server's file descriptor. `None` until the connection is accepted.
    #[must_use]
    pub fn fd(&self) -> Option<Fd> {
        self.socket.borrow().fd
    }

    /// The runtime that it is connected to.
    #[must_use]
    pub const fn fake(&self) -> &Fake {
        &self.fake
    }
}
