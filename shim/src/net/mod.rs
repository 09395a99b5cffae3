//! Sockets. The runtime opens the listeners; streams are accepted from them.

#[cfg(not(test))]
mod convert;
mod listener;
mod stream;
mod udp;

pub use listener::TcpListener;
pub use stream::TcpStream;
pub use udp::UdpSocket;

use std::io;

/// The error of what preview 1 has no call for.
fn unsupported(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, text)
}
