//! Checks the addresses of servers and clients: a server at several addresses or at a Unix domain socket, and what it
//! knows of its client's address behind a proxy. The clients are curl, HAProxy and nginx.

pub(crate) mod proxy;

use std::net::{IpAddr, SocketAddr};

use self::proxy::{HaProxy, Nginx};
use crate::client::PATIENCE;
use crate::curl::{Scratch, curl};
use crate::wait::within;
use crate::{Outcome, Program, Report, Runtime, Server, ensure};

/// Runs the cases on each of these runtimes.
#[must_use]
pub fn run(runtimes: &[Runtime]) -> Report {
    let mut report = Report::new("addresses", runtimes);
    for &runtime in runtimes {
        let program = Program::example(runtime, "addresses", false);
        for (name, is_possible, case) in CASES {
            let outcome = match is_possible(runtime) {
                true => program.clone().and_then(|program| case(&program)),
                false => Ok(()),
            };
            let word = if is_possible(runtime) { "ok" } else { "-" };
            report.add(name, runtime, outcome.map(|()| word.into()));
        }
    }
    report
}

/// A name, whether the case is possible in a runtime, and the case. WASI has no Unix domain sockets, and on preview 1
/// the runtime binds the addresses.
type Case = (&'static str, fn(Runtime) -> bool, fn(&Program) -> Outcome);

const CASES: &[Case] = &[
    ("localhost over IPv4 and IPv6", Runtime::binds, localhost),
    ("a Unix domain socket", is_native, unix),
    ("the same, behind nginx", is_native, behind_nginx),
    ("the same, behind HAProxy", is_native, unix_behind_haproxy),
    ("HAProxy with send-proxy", any, |it| {
        behind_haproxy(it, "send-proxy")
    }),
    ("HAProxy with send-proxy-v2", any, |it| {
        behind_haproxy(it, "send-proxy-v2")
    }),
    ("without a PROXY header", any, without_header),
];

/// Variables of the program: for no proxy, and for one that sends the PROXY protocol.
const PLAIN: (&str, &str) = ("MINI_HTTP_PROXY_PROTOCOL", "off");
const PROXIED: (&str, &str) = ("MINI_HTTP_PROXY_PROTOCOL", "on");

fn any(_: Runtime) -> bool {
    true
}

fn is_native(runtime: Runtime) -> bool {
    runtime == Runtime::Native
}

fn localhost(program: &Program) -> Outcome {
    let server = Server::with_command(program.runtime, |address| {
        program.command(&format!("localhost:{}", address.port()), &[])
    })?;
    let url = format!("http://localhost:{}/", server.address.port());
    for (option, ip) in [("-4", "127.0.0.1"), ("-6", "[::1]")] {
        let said = curl(&[option, "-w", "from %{local_port}", &url])?.text();
        let (seen, port) = said.split_once("from ").ok_or("no port")?;
        let wanted = format!("peer {ip}:{port}, ");
        ensure!(seen.starts_with(&wanted), "{option}: {seen}, not {wanted}");
    }
    server.check_log()
}

/// A native server at a Unix domain socket, and at a port, by which it is known that it has started.
fn start_unix(program: &Program, scratch: &Scratch, variable: (&str, &str)) -> Outcome<Server> {
    let variables = [variable, ("RUST_LOG", "debug")];
    Server::with_command(program.runtime, |address| {
        let mut command = program.command("", &variables)?;
        command.args([format!("unix:{}", scratch.file("s")), address.to_string()]);
        Ok(command)
    })
}

fn unix(program: &Program) -> Outcome {
    let scratch = Scratch::new()?;
    let path = scratch.file("s");
    let data = format!("@{}", scratch.write("body", "x".repeat(1 << 20))?);
    // The first server is killed, and leaves its file to the second.
    for _ in 0..2 {
        let server = start_unix(program, &scratch, PLAIN)?;
        let said = curl(&["--unix-socket", &path, "http://localhost/"])?.text();
        ensure!(said == "peer unknown, client unknown\n", "{said}");
        let url = "http://localhost/";
        curl(&["--unix-socket", &path, "--data-binary", &data, url])?;
        server.check_log()?;
        let log = server.log();
        ensure!(log.contains("from unix:"), "the log has no unix:\n{log}");
    }
    Ok(())
}

fn behind_nginx(program: &Program) -> Outcome {
    let scratch = Scratch::new()?;
    let server = start_unix(program, &scratch, ("MINI_HTTP_TRUSTED", "unix:"))?;
    let nginx = Nginx::start(&scratch, &scratch.file("s"))?;
    let url = format!("http://{}/", nginx.address());
    // The client can't choose its address.
    let spoofed = "X-Forwarded-For: 192.0.2.1";
    let said = curl(&["-H", spoofed, &url, &url, &url])?.text();
    let wanted = "peer unknown, client 127.0.0.1\n".repeat(3);
    ensure!(said == wanted, "{said}");
    server.check_log()
}

fn unix_behind_haproxy(program: &Program) -> Outcome {
    let scratch = Scratch::new()?;
    let server = start_unix(program, &scratch, PROXIED)?;
    let target = format!("unix@{}", scratch.file("s"));
    let haproxy = HaProxy::start(&scratch, &target, "send-proxy-v2")?;
    check_peer(haproxy.addresses()[0])?;
    server.check_log()
}

fn behind_haproxy(program: &Program, option: &str) -> Outcome {
    let scratch = Scratch::new()?;
    let server = Server::start(program, &[PROXIED, ("MINI_HTTP_ACCESS_LOG", "on")])?;
    let haproxy = HaProxy::start(&scratch, &server.address.to_string(), option)?;
    for address in haproxy.addresses() {
        check_peer(address)?;
    }
    // The server writes the lines of its access log after a tenth of a second.
    let count = |client: &str| {
        let line = format!("{client} - - [");
        let log = server.log();
        log.lines().filter(|it| it.starts_with(&line)).count()
    };
    let are_written = || CLIENTS.iter().all(|client| count(client) >= 2 * TIMES);
    within(PATIENCE, || are_written().then_some(()));
    for client in CLIENTS {
        let lines = count(client);
        let log = server.log();
        ensure!(lines == 2 * TIMES, "{lines} lines for {client} in\n{log}");
    }
    server.check_log()
}

/// The addresses of curl, over IPv4 and IPv6. The proxy has another one, and connects to the server over IPv4.
const CLIENTS: [&str; 2] = ["127.0.0.2", "::1"];

/// How many connections a client makes, each with two requests.
const TIMES: usize = 3;

/// Fails unless the server sees curl's own address, in each of several connections, and in each of their requests.
fn check_peer(address: SocketAddr) -> Outcome {
    let url = format!("http://{address}/");
    let client = CLIENTS[usize::from(address.is_ipv6())];
    for _ in 0..TIMES {
        let format = "from %{local_port}\n";
        let said = curl(&["--interface", client, "-w", format, &url, &url])?.text();
        let lines: Vec<_> = said.lines().collect();
        ensure!(lines.len() == 4, "{said}");
        for pair in lines.chunks(2) {
            let port = pair[1].strip_prefix("from ").unwrap_or_default();
            let ip: IpAddr = client.parse().map_err(|e| format!("{client}: {e}"))?;
            let port = port.parse().map_err(|e| format!("{port}: {e}"))?;
            let own = SocketAddr::new(ip, port);
            let wanted = format!("peer {own}, client {ip}");
            ensure!(pair[0] == wanted, "{}, not {wanted}", pair[0]);
        }
    }
    Ok(())
}

/// A client that connects without the proxy gets no response.
fn without_header(program: &Program) -> Outcome {
    let server = Server::start(program, &[PROXIED])?;
    let url = server.url("/");
    let error = curl(&[&url]).err().ok_or("it got a response")?;
    ensure!(error.contains("Empty reply from server"), "{error}");
    let said = curl(&["--haproxy-protocol", "-w", "%{local_port}", &url])?.text();
    let (seen, port) = said.rsplit_once('\n').ok_or("no port")?;
    let wanted = format!("peer 127.0.0.1:{port}, client 127.0.0.1");
    ensure!(seen == wanted, "{seen}, not {wanted}");
    server.check_log()
}
