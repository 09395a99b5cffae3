//! Tests with a guest module and real sockets.

mod hostile;
mod polling;
mod puppet;
mod sockets;
