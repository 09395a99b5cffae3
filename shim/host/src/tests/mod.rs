//! Tests with a guest and with real sockets.

mod hostile;
mod polling;
mod puppet;
mod sockets;
