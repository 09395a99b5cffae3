//! The floor: a bare loop over `wasi:sockets`, as the least that a simple server on WASI 0.2 costs.
//!
//! Each iteration polls all connections. For each one that is ready, it makes one read, one `check-write` and one write
//! with the responses to all requests in the read, and no other call except the shared poll. Pollables are made once.
//! A connection is closed at the end of the client's stream. If a client doesn't take its responses, all others wait.
#![cfg_attr(
    not(all(target_os = "wasi", target_env = "p2")),
    allow(unused, reason = "a program for WASI 0.2 only")
)]

#[cfg(not(all(target_os = "wasi", target_env = "p2")))]
fn main() {}

#[cfg(all(target_os = "wasi", target_env = "p2"))]
fn main() {
    bare::serve();
}

#[cfg(all(target_os = "wasi", target_env = "p2"))]
mod bare {
    use std::net::SocketAddr;

    use response::{WHOLE, heads};
    use wasip2::io::poll::{Pollable, poll};
    use wasip2::io::streams::{InputStream, OutputStream};
    use wasip2::sockets::instance_network::instance_network;
    use wasip2::sockets::network::{IpAddressFamily, IpSocketAddress, Ipv4SocketAddress};
    use wasip2::sockets::tcp::TcpSocket;
    use wasip2::sockets::tcp_create_socket::create_tcp_socket;

    /// How many bytes to read at once. The host clears as much memory as a read asks for.
    const READ_SIZE: u64 = 4 << 10;

    /// A connection. Its fields are dropped from the first to the last.
    struct Connection {
        readable: Pollable,
        input: InputStream,
        output: OutputStream,
        _socket: TcpSocket,
        matched: u8,
    }

    pub(super) fn serve() {
        let listener = listen();
        let acceptable = listener.subscribe();
        let responses = WHOLE.repeat(response::most(READ_SIZE as usize));
        let mut connections: Vec<Option<Connection>> = Vec::new();
        let mut free = Vec::new();
        let mut indices = Vec::new();
        loop {
            let mut list = Vec::with_capacity(1 + connections.len());
            list.push(&acceptable);
            indices.clear();
            for (index, connection) in connections.iter().enumerate() {
                if let Some(connection) = connection {
                    list.push(&connection.readable);
                    indices.push(index);
                }
            }
            for at in poll(&list) {
                let Some(at) = (at as usize).checked_sub(1) else {
                    while let Ok((socket, input, output)) = listener.accept() {
                        let connection = Some(Connection {
                            readable: input.subscribe(),
                            input,
                            output,
                            _socket: socket,
                            matched: 0,
                        });
                        match free.pop() {
                            Some(index) => connections[index] = connection,
                            None => connections.push(connection),
                        }
                    }
                    continue;
                };
                let index = indices[at];
                if let Some(connection) = &mut connections[index]
                    && connection.serve(&responses).is_none()
                {
                    connections[index] = None;
                    free.push(index);
                }
            }
        }
    }

    impl Connection {
        fn serve(&mut self, responses: &[u8]) -> Option<()> {
            let input = self.input.read(READ_SIZE).ok()?;
            let asked = heads(&input, &mut self.matched);
            let responses = &responses[..asked * WHOLE.len()];
            if responses.is_empty() {
                return Some(());
            }
            // For a new connection, the host may not know yet that there is room.
            while self.output.check_write().ok()? < responses.len() as u64 {
                self.output.subscribe().block();
            }
            self.output.write(responses).ok()
        }
    }

    fn listen() -> TcpSocket {
        let address = std::env::var("MINI_HTTP_ADDR").unwrap_or("127.0.0.1:3000".into());
        let SocketAddr::V4(address) = address.parse().expect("an address") else {
            panic!("only IPv4");
        };
        let socket = create_tcp_socket(IpAddressFamily::Ipv4).expect("a socket");
        let local = IpSocketAddress::Ipv4(Ipv4SocketAddress {
            port: address.port(),
            address: address.ip().octets().into(),
        });
        socket
            .start_bind(&instance_network(), local)
            .expect("a free port");
        socket.finish_bind().expect("a free port");
        let _ = socket.set_listen_backlog_size(1024);
        socket.start_listen().expect("a listener");
        socket.finish_listen().expect("a listener");
        socket
    }
}
