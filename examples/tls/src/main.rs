//! HTTPS, natively, with rustls. The usual way is a proxy in front of the server, such as nginx or Caddy: it also
//! renews certificates and speaks HTTP/2. This is for programs that must do without one.
//!
//! `cd examples && cargo run --package tls`, and then, in the same folder,
//! `curl --cacert localhost.pem https://localhost:3000`. The certificate `localhost.pem` is made at each start. With
//! one of your own: `cargo run --package tls -- fullchain.pem privkey.pem`.
//!
//! Each connection has a thread, which blocks. It moves bytes between the socket, rustls and a
//! `mini_http::conn::Connection`, which does all of HTTP and has no I/O of its own: see `connection.rs`. So the limits
//! of the library hold, for each connection on its own. A handler may block. Asynchronous handlers and graceful stops
//! are not part of this example.

mod certificate;
mod connection;

use std::error::Error;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use log::{debug, info, warn};
use mini_http::{Limits, Request, Response};
use rustls::{ServerConfig, ServerConnection};

/// The most connections. Each has a thread, and memory for its request and response.
const MAX_CONNECTIONS: usize = 256;

fn main() -> Result<(), Box<dyn Error>> {
    env_logger::init();
    let addr = std::env::var("MINI_HTTP_ADDR").unwrap_or("127.0.0.1:3000".into());
    let (chain, key) = certificate::load(std::env::args().skip(1).collect())?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    serve(&TcpListener::bind(addr)?, Arc::new(config))
}

fn respond(request: Request) -> Response<Vec<u8>> {
    let hello = format!("{} {}, over TLS\n", request.method(), request.uri());
    Response::new(match request.body() {
        [] => hello.into_bytes(),
        body => body.to_vec(),
    })
}

/// Accepts connections, and gives each a thread.
fn serve(listener: &TcpListener, config: Arc<ServerConfig>) -> Result<(), Box<dyn Error>> {
    info!("listening on https://{}", listener.local_addr()?);
    let mut limits = Limits::default();
    // What a single connection may hold: all together at most 1.5 GiB.
    limits.max_held = 6 << 20;
    limits.max_body = 2 << 20;
    let limits = Arc::new(limits);
    // Its clones are with the open connections.
    let open = Arc::new(());
    for id in 1.. {
        let (socket, peer) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(error) => {
                // The client has gone, or there are no more file descriptors.
                warn!("accepting: {error}");
                thread::sleep(std::time::Duration::from_millis(10));
                continue;
            }
        };
        if Arc::strong_count(&open) > MAX_CONNECTIONS {
            warn!("conn {id}: dropped, because {MAX_CONNECTIONS} are open");
            continue;
        }
        let tls = ServerConnection::new(Arc::clone(&config))?;
        let (limits, open) = (Arc::clone(&limits), Arc::clone(&open));
        let work = move || {
            let outcome = connection::serve((id, peer), socket, tls, &limits, respond);
            if let Err(error) = outcome {
                debug!("conn {id}: {error}");
            }
            drop(open);
        };
        if let Err(error) = thread::Builder::new().spawn(work) {
            warn!("conn {id}: dropped: {error}");
        }
    }
    Ok(())
}
