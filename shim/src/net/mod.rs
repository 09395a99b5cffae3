//! mio's sockets. The runtime opens the listeners, and streams are accepted from them. Nothing can bind or connect.

#[cfg(not(test))]
mod convert;
mod listener;
mod stream;
mod udp;

pub use listener::TcpListener;
pub use stream::TcpStream;
pub use udp::UdpSocket;
