//! Listens at several addresses, and responds with the client's address, also behind proxies.
//!
//! ```sh
//! cargo run --example addresses -- localhost:3000 unix:/tmp/mini_http.sock
//! curl http://localhost:3000
//! curl --unix-socket /tmp/mini_http.sock http://localhost
//! ```
//!
//! The addresses are the arguments, or the one in `MINI_HTTP_ADDR`. Two variables are for proxies:
//! * `MINI_HTTP_TRUSTED=127.0.0.1,10.0.0.0/8,unix:` lists the proxies whose `X-Forwarded-For` is believed; `unix:`
//!   means those that connect by a Unix domain socket.
//! * `MINI_HTTP_PROXY_PROTOCOL=on` is for proxies that send the PROXY protocol, as HAProxy does with `send-proxy`. It
//!   needs the feature `proxy-protocol` of mini_http.
//!
//! With `MINI_HTTP_ACCESS_LOG=on`, a line for each response goes to the standard output.

use mini_http::{AccessLog, ForwardedBy, LogFormat, Response, Server, TrustedProxies};

fn main() -> mini_http::Result<()> {
    env_logger::init();
    let variable = |name| std::env::var(name).unwrap_or_default();
    let mut addresses: Vec<_> = std::env::args().skip(1).collect();
    if addresses.is_empty() {
        addresses.push(std::env::var("MINI_HTTP_ADDR").unwrap_or("localhost:3000".into()));
    }
    let mut server = Server::new(&addresses[0])?;
    for address in &addresses[1..] {
        server.and_listen(address)?;
    }
    // The proxy may run as another user. If that user is in the group of the file, 0o660 is enough.
    #[cfg(unix)]
    server.unix_mode(0o666)?;

    server.proxy_protocol(variable("MINI_HTTP_PROXY_PROTOCOL") == "on");
    if variable("MINI_HTTP_ACCESS_LOG") == "on" {
        server.access_log(&AccessLog::new(LogFormat::Common, std::io::stdout()));
    }
    let proxies = trusted(&variable("MINI_HTTP_TRUSTED"))?;
    server.serve(|request| {
        let (peer, fields) = (request.peer_addr(), request.headers());
        let client = proxies.client(peer, fields, ForwardedBy::XForwardedFor);
        Response::new(format!("peer {}, client {}\n", shown(peer), shown(client)))
    })
}

/// The proxies of a list with commas.
fn trusted(list: &str) -> mini_http::Result<TrustedProxies> {
    let names = list.split(',').filter(|name| !name.is_empty());
    let (unix, networks): (Vec<_>, Vec<_>) = names.partition(|name| *name == "unix:");
    let proxies = TrustedProxies::new(networks)?;
    Ok(match unix.is_empty() {
        true => proxies,
        false => proxies.and_without_address(),
    })
}

fn shown(address: Option<impl ToString>) -> String {
    address.map_or("unknown".into(), |address| address.to_string())
}
