//! mio's sockets. The runtime opens the listeners, and streams are accepted from them. Nothing can bind or connect.

#[cfg(not(test))]
mod convert;
mod listener;
mod stream;
mod udp;

pub use listener::TcpListener;
pub use stream::TcpStream;
pub use udp::UdpSocket;

use std::io;

/// The error of a method for which preview 1 has no call.
fn unsupported(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, text)
}
