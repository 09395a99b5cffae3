//! The floor: a bare epoll loop with fixed responses, as the least that a server can cost.
//!
//! Because other servers are compared with it, it has rules:
//!
//! - `epoll_wait` and nothing else to wait with; each connection is registered once, edge-triggered.
//! - One thread. In `floor_two` there are two, each with its own listening socket (`SO_REUSEPORT`), epoll and
//!   connections. They share nothing.
//! - One `recv` and one `send` for a batch of requests, and no other call but the `epoll_wait` they share.
//!   (After a body there is one more `recv`, for input that may have arrived meanwhile.) A connection also costs
//!   `accept4`, `epoll_ctl` and `close`.
//! - At most 450 instructions for a single request, and 160 for one in a pipeline of 16.
//! - It doesn't allocate for a request: bodies are received in buffers that are used again.
//! - A body is received completely before the response, as for the handlers of the other servers.
//! - A connection is closed at the end of the client's stream, and after the response to `Connection: close`.
//! - Requests may be split anywhere.
//!
//! It takes these liberties: it checks nothing, and reads only the parts of a head on which the response depends; it
//! disconnects a client that doesn't take small responses; it doesn't support a client that sends the next request
//! before the response to a body; it has no timers and no limits; and its `Date` never changes.

mod connection;
mod head;
mod response;

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::process::exit;
use std::thread;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::SocketFlags;

use self::connection::{Connection, Shared, State};
use crate::listeners;

/// How many events to take at once.
const EVENTS: usize = 256;

/// Serves at the address of the environment, on this number of threads.
///
/// # Errors
/// Those of [`listeners`] and of the system.
pub fn serve(threads: usize) -> io::Result<()> {
    let listeners = listeners(threads)?;
    let Some((first, others)) = listeners.split_first() else {
        return Ok(());
    };
    thread::scope(|scope| {
        for listener in others {
            scope.spawn(|| {
                if let Err(error) = run(listener) {
                    // Otherwise its clients would wait, and the other threads would go on.
                    eprintln!("floor: {error}");
                    exit(1);
                }
            });
        }
        run(first)
    })
}

/// The loop of a thread.
fn run(listener: &TcpListener) -> io::Result<()> {
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, listener, data(listener.as_raw_fd()), EventFlags::IN)?;
    let mut events = Vec::with_capacity(EVENTS);
    // The index is the file descriptor.
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
                accept(&epoll, listener, &mut connections)?;
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
) -> io::Result<()> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    // It fails if the client has already gone, which is no reason to end.
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
