//! A server on mio alone, without tokio. It greets each client, and then sends back what the client sends.

mod listener;

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};

const LISTENER: Token = Token(0);

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
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            // A client that is gone before it is accepted.
            Err(_) => continue,
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

/// Whether the connection goes on.
fn serve(connection: &mut Connection, registry: &Registry, event: &Event) -> io::Result<bool> {
    let Connection {
        stream,
        pending,
        ended,
    } = connection;
    if event.is_readable() && !*ended {
        let mut buf = [0; 4096];
        loop {
            match stream.read(&mut buf) {
                Ok(0) => break *ended = true,
                Ok(count) => pending.extend_from_slice(&buf[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
    while !pending.is_empty() {
        match stream.write(pending) {
            Ok(count) => drop(pending.drain(..count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    if pending.is_empty() && *ended {
        return Ok(false);
    }
    let interest = match (pending.is_empty(), *ended) {
        (true, _) => Interest::READABLE,
        (false, true) => Interest::WRITABLE,
        (false, false) => Interest::READABLE | Interest::WRITABLE,
    };
    registry.reregister(stream, event.token(), interest)?;
    Ok(true)
}
