//! The least that a server can cost: a bare epoll loop with fixed answers.
//!
//! What others are compared with has to be held to rules:
//!
//! - One thread, `epoll_wait` and nothing else to wait with; each connection is registered once, edge-triggered.
//! - One `recv` and one `send` for a batch of requests, and no other call but the `epoll_wait` they share.
//!   (After a body there is one `recv` more, for what may have come meanwhile.) A connection costs `accept4`,
//!   `epoll_ctl` and `close` besides.
//! - At most 450 instructions for a request that comes alone, and 160 in pipelines of 16.
//! - It doesn't allocate for a request: bodies come into buffers that are used again.
//! - A body is read whole before it is answered, as it is for the others' handlers.
//! - A connection whose client has ended is closed, and one with `Connection: close` after its answer.
//! - Requests may be cut anywhere.
//!
//! The liberties: nothing is checked, of a request's head only what the answer depends on is read, a client that
//! doesn't take small answers is cut, one that sends the next request before the answer to a body isn't
//! understood, there are no timers and no limits, and the `Date` stands still.

mod answer;
mod connection;
mod head;

use std::os::fd::{AsFd, AsRawFd, RawFd};

use native_servers::listener;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::SocketFlags;

use crate::connection::{Connection, Shared, State};

/// So many events are taken at once.
const EVENTS: usize = 256;

fn main() -> std::io::Result<()> {
    let listener = listener()?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(
        &epoll,
        &listener,
        data(listener.as_raw_fd()),
        EventFlags::IN,
    )?;
    let mut events = Vec::with_capacity(EVENTS);
    // By the number of the file descriptor.
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut shared = Shared::new();
    loop {
        events.clear();
        match epoll::wait(&epoll, spare_capacity(&mut events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            let number = event.data.u64() as usize;
            if number == listener.as_raw_fd() as usize {
                accept(&epoll, &listener, &mut connections)?;
                continue;
            }
            // The flags are read by value: the struct is packed.
            let flags = event.flags;
            if let Some(connection) = &mut connections[number]
                && connection.serve(flags, &mut shared) == State::Ended
            {
                connections[number] = None;
            }
        }
    }
}

/// Accepts one connection. The listener is level-triggered: if there are more, it is reported again.
fn accept(
    epoll: impl AsFd,
    listener: impl AsFd,
    connections: &mut Vec<Option<Connection>>,
) -> std::io::Result<()> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    // A client that is gone before it is accepted is no reason to end.
    let Ok(socket) = rustix::net::accept_with(listener, flags) else {
        return Ok(());
    };
    let number = socket.as_raw_fd();
    let interest = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
    epoll::add(epoll, &socket, data(number), interest)?;
    let index = number as usize;
    if connections.len() <= index {
        connections.resize_with(index + 1, || None);
    }
    connections[index] = Some(Connection::new(socket));
    Ok(())
}

fn data(number: RawFd) -> EventData {
    EventData::new_u64(number as u64)
}
