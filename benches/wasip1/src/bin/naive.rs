//! A bare loop that trusts every event, as the specification of preview 1 suggests. All
//! connections are in every poll, and each one that is reported is read from.
#![cfg_attr(
    not(all(target_os = "wasi", target_env = "p1")),
    allow(unused, reason = "a program for WASI preview 1 only")
)]

#[cfg(not(all(target_os = "wasi", target_env = "p1")))]
fn main() {}

#[cfg(all(target_os = "wasi", target_env = "p1"))]
fn main() {
    use wasip1_servers::bare::{self, Buffers, Connection, Served};

    bare::set_listener_nonblocking();
    let mut buffers = Buffers::new();
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    let (mut subscriptions, mut events) = (Vec::new(), Vec::new());
    loop {
        subscriptions.clear();
        subscriptions.push(bare::reading(bare::LISTENER, u64::MAX));
        for (number, connection) in (0..).zip(&connections) {
            if let Some(connection) = connection {
                subscriptions.push(bare::reading(connection.fd, number));
            }
        }
        for event in bare::poll(&subscriptions, &mut events) {
            if event.userdata == u64::MAX {
                while let Some(connection) = Connection::accept() {
                    let index = free.pop().unwrap_or_else(|| {
                        connections.push(None);
                        connections.len() - 1
                    });
                    connections[index] = Some(connection);
                }
                continue;
            }
            let index = event.userdata as usize;
            if let Some(connection) = &mut connections[index]
                && connection.serve(&mut buffers) == Served::Closed
            {
                connections[index] = None;
                free.push(index);
            }
        }
    }
}
