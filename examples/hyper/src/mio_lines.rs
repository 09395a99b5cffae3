//! A server on mio alone, without tokio. It greets each client, and then sends back what the client sends.

mod listener;

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};

const LISTENER: Token = Token(0);

/// The most that waits to be sent. While a client doesn't take it, nothing more is read from that client.
const MOST_PENDING: usize = 64 << 10;

struct Connection {
    stream: TcpStream,
    /// What is still to be sent.
    pending: Vec<u8>,
    /// The client has ended its stream.
    ended: bool,
}

fn main() -> io::Result<()> {
    let mut listener = TcpListener::from_std(listener::listener()?);
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(128);
    let registry = poll.registry().try_clone()?;
    registry.register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut connections = HashMap::new();
    let mut last = LISTENER.0;
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            outcome => outcome?,
        }
        for event in &events {
            if event.token() == LISTENER {
                accept(&registry, &listener, &mut connections, &mut last)?;
            } else if let Some(connection) = connections.get_mut(&event.token()) {
                let goes_on = serve(connection, &registry, event).unwrap_or(false);
                if !goes_on && let Some(mut connection) = connections.remove(&event.token()) {
                    registry.deregister(&mut connection.stream)?;
                    drop(connection);
                    // There may have been no file descriptor for the next one.
                    accept(&registry, &listener, &mut connections, &mut last)?;
                }
            }
        }
    }
}

fn accept(
    registry: &Registry,
    listener: &TcpListener,
    connections: &mut HashMap<Token, Connection>,
    last: &mut usize,
) -> io::Result<()> {
    loop {
        let mut stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if is_of_client(&error) => continue,
            // None waits. Or no file descriptor is left: then the other clients are served, until one of them leaves.
            Err(_) => return Ok(()),
        };
        *last += 1;
        // First the greeting is sent; nothing is read before.
        registry.register(&mut stream, Token(*last), Interest::WRITABLE)?;
        let connection = Connection {
            stream,
            pending: b"Hello!\n".to_vec(),
            ended: false,
        };
        connections.insert(Token(*last), connection);
    }
}

/// Whether accepting failed because a client was gone before that.
fn is_of_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted
    )
}

/// Whether the connection goes on.
fn serve(connection: &mut Connection, registry: &Registry, event: &Event) -> io::Result<bool> {
    let mut has_more = event.is_readable();
    loop {
        has_more = has_more && connection.read()?;
        connection.write()?;
        if !has_more || connection.is_full() {
            break;
        }
    }
    let Connection {
        stream,
        pending,
        ended,
    } = connection;
    let interest = match (pending.is_empty(), *ended) {
        (true, true) => return Ok(false),
        (true, false) => Interest::READABLE,
        (false, _) => Interest::WRITABLE,
    };
    // This reports again what there is to read.
    registry.reregister(stream, event.token(), interest)?;
    Ok(true)
}

impl Connection {
    fn is_full(&self) -> bool {
        self.pending.len() >= MOST_PENDING
    }

    /// Reads as far as there is room. Returns whether there may be more to read.
    fn read(&mut self) -> io::Result<bool> {
        let mut buf = [0; 4096];
        while !self.ended && !self.is_full() {
            match self.stream.read(&mut buf) {
                Ok(0) => self.ended = true,
                Ok(count) => self.pending.extend_from_slice(&buf[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(!self.ended)
    }

    /// Writes as much as the system takes.
    fn write(&mut self) -> io::Result<()> {
        while !self.pending.is_empty() {
            match self.stream.write(&self.pending) {
                Ok(count) => drop(self.pending.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
