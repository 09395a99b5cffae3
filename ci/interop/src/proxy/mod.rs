//! Checks the example `proxy`: bodies stream in both directions, and each end learns that the other is gone.

mod upstream;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use self::upstream::{LARGE, Upstream};
use crate::client::{checksum, same};
use crate::random::Random;
use crate::wait::in_a_quiet_moment;
use crate::{Client, Outcome, Program, Report, Runtime, Server, ensure};

/// Checks it on each of these runtimes.
#[must_use]
pub fn run(runtimes: &[Runtime]) -> Report {
    let mut report = Report::new("proxy", runtimes);
    for &runtime in runtimes {
        let mut both = start(runtime);
        for (name, case) in CASES {
            let outcome = match &mut both {
                Ok((proxy, upstream)) => case(proxy, upstream).and_then(|()| proxy.check_alive()),
                Err(why) => Err(why.clone()),
            };
            report.add(name, runtime, outcome.map(|()| "ok".into()));
        }
        let refused = refused(runtime).map(|()| "ok".into());
        report.add("no upstream: 502", runtime, refused);
    }
    report
}

type Case = (&'static str, fn(&Server, &Upstream) -> Outcome);

const CASES: &[Case] = &[
    ("10 MB down", down),
    ("10 MB up", up),
    ("both directions at once", both),
    ("slow upstream, piece by piece", slow),
    ("late upstream, others meanwhile", late),
    ("fields", fields),
    ("a client of HTTP/1.0", old),
    ("CONNECT: 501", tunnel),
    ("Max-Forwards", last),
    ("upstream dies: 502", dies),
    ("upstream dies in a body", truncated),
    ("client is gone before the response", goes),
    ("client is gone in a body", goes_in_body),
    ("a broken body: 400", broken),
    ("still responds", slow),
];

fn start(runtime: Runtime) -> Outcome<(Server, Upstream)> {
    let upstream = Upstream::start()?;
    Ok((proxy(runtime, upstream.address)?, upstream))
}

fn proxy(runtime: Runtime, upstream: SocketAddr) -> Outcome<Server> {
    let program = Program::package(runtime, "proxy")?;
    let upstream = upstream.to_string();
    let env = [("UPSTREAM", upstream.as_str()), ("RUST_LOG", "info")];
    Server::with_command(runtime, |address| {
        runtime.command(&program.path, &address.to_string(), &env)
    })
}

/// A connection on which this was requested.
fn get(proxy: &Server, target: &str) -> Outcome<Client> {
    let mut client = Client::connect(proxy.address)?;
    client.send(format!("GET {target} HTTP/1.1\r\nHost: a.example\r\n\r\n"))?;
    Ok(client)
}

fn down(proxy: &Server, _: &Upstream) -> Outcome {
    let response = get(proxy, "/down")?.response()?;
    response.check(&upstream::pattern())
}

fn up(proxy: &Server, _: &Upstream) -> Outcome {
    let body = Random::new(3).bytes(LARGE);
    let mut client = Client::connect(proxy.address)?;
    let length = body.len();
    client.send(format!(
        "POST /up HTTP/1.1\r\nHost: a.example\r\nContent-Length: {length}\r\n\r\n"
    ))?;
    client.send(&body)?;
    client
        .response()?
        .check(checksum(&body).to_string().as_bytes())
}

/// Each piece comes back before the next one is sent. GET has a body, too.
fn both(proxy: &Server, _: &Upstream) -> Outcome {
    for method in ["POST", "GET"] {
        let mut client = Client::connect(proxy.address)?;
        client.send(format!(
            "{method} /both HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n"
        ))?;
        let head = client.response_head()?;
        ensure!(head.status == 200, "{}", head.head);
        for number in 0..20 {
            let piece = Random::new(number).bytes(1000);
            client.send([format!("{:x}\r\n", piece.len()).as_bytes(), &piece, b"\r\n"].concat())?;
            let mut came = Vec::new();
            while came.len() < piece.len() {
                came.extend(client.chunk()?.ok_or("the response has ended")?);
            }
            same(&came, &piece)?;
        }
        client.send("0\r\n\r\n")?;
        ensure!(client.chunk()?.is_none(), "more came than was sent");
    }
    Ok(())
}

/// The upstream sends each piece when the client has the one before.
fn slow(proxy: &Server, upstream: &Upstream) -> Outcome {
    let mut client = get(proxy, "/slow")?;
    client.response_head()?;
    for _ in 0..upstream::PIECES {
        upstream.go_on();
        same(&client.take(5)?, b"piece")?;
    }
    Ok(())
}

/// The upstream responds when the client has the response to another request.
fn late(proxy: &Server, upstream: &Upstream) -> Outcome {
    let mut waiting = get(proxy, "/late")?;
    get(proxy, "/fields")?.response()?;
    upstream.go_on();
    waiting.response()?.check(b"late")
}

/// `Max-Forwards` of OPTIONS and TRACE (RFC 9110 §7.6.2): with 0 the proxy itself responds. Other numbers are reduced
/// by one.
fn last(proxy: &Server, _: &Upstream) -> Outcome {
    for (method, limit, status, expected) in [
        ("OPTIONS", "0", 200, ""),
        ("TRACE", "0", 200, "max-forwards: 0\r\n"),
        ("OPTIONS", "2", 200, "max-forwards: 1\r\n"),
        ("TRACE", "1", 200, "max-forwards: 0\r\n"),
        ("OPTIONS", "x", 400, "must be one number"),
        ("GET", "0", 200, "max-forwards: 0\r\n"),
    ] {
        let mut client = Client::connect(proxy.address)?;
        client.send(format!(
            "{method} /fields HTTP/1.1\r\nHost: a.example\r\nMax-Forwards: {limit}\r\n\r\n"
        ))?;
        let response = client.response()?;
        ensure!(response.status == status, "{}", response.head);
        let body = String::from_utf8_lossy(&response.body).to_ascii_lowercase();
        let is_own = limit == "0" && method != "GET";
        ensure!(
            body.contains(expected) && body.contains("via: ") != (is_own || status != 200),
            "{method}, {limit}:\n{body}"
        );
    }
    Ok(())
}

fn fields(proxy: &Server, _: &Upstream) -> Outcome {
    let mut client = Client::connect(proxy.address)?;
    client.send(
        "GET http://a.example/fields?x=%20 HTTP/1.1\r\nHost: b.example\r\nX-Mine: 1\r\n\
         X-Other: 2\r\nConnection: keep-alive, x-mine, host\r\nTE: trailers\r\n\r\n",
    )?;
    let response = client.response()?;
    let head = String::from_utf8_lossy(&response.body).to_ascii_lowercase();
    for expected in [
        "get /fields?x=%20 http/1.1\r\n",
        "\r\nhost: a.example\r\n",
        "\r\nx-other: 2\r\n",
        "\r\nx-forwarded-for: 127.0.0.1\r\n",
        "\r\nvia: ",
    ] {
        ensure!(head.contains(expected), "no {expected:?} in\n{head}");
    }
    for gone in ["x-mine:", "te:", "keep-alive"] {
        ensure!(!head.contains(&format!("\r\n{gone}")), "{gone} in\n{head}");
    }
    let values: Vec<_> = response.values("x-upstream").collect();
    ensure!(values == ["told"], "{}", response.head);
    let gone = response
        .values("x-hop")
        .chain(response.values("keep-alive"))
        .count();
    ensure!(gone == 0, "{}", response.head);
    Ok(())
}

/// A request of HTTP/1.0 without `Host` becomes one of HTTP/1.1 with the upstream's address in `Host`.
fn old(proxy: &Server, _: &Upstream) -> Outcome {
    let mut client = Client::connect(proxy.address)?;
    client.send("GET /fields HTTP/1.0\r\n\r\n")?;
    let body = client.response()?.body;
    let head = String::from_utf8_lossy(&body).to_ascii_lowercase();
    for expected in ["get /fields http/1.1\r\n", "\r\nhost: 127.0.0.1:"] {
        ensure!(head.contains(expected), "no {expected:?} in\n{head}");
    }
    Ok(())
}

/// CONNECT is refused with 501, and isn't passed on.
fn tunnel(proxy: &Server, _: &Upstream) -> Outcome {
    let mut client = Client::connect(proxy.address)?;
    client.send("CONNECT a.example:80 HTTP/1.1\r\nHost: a.example:80\r\n\r\n")?;
    let response = client.response()?;
    ensure!(response.status == 501, "{}", response.head);
    Ok(())
}

fn dies(proxy: &Server, _: &Upstream) -> Outcome {
    for target in ["/dies", "/nonsense", "/switches"] {
        let response = get(proxy, target)?.response()?;
        ensure!(response.status == 502, "{target}: {}", response.head);
    }
    Ok(())
}

/// The client must not take a truncated response for a complete one.
fn truncated(proxy: &Server, _: &Upstream) -> Outcome {
    for target in ["/truncated", "/truncated-chunks"] {
        let mut client = get(proxy, target)?;
        let head = client.response_head()?;
        ensure!(head.status == 200, "{target}: {}", head.head);
        let rest = client.rest().unwrap_or_default();
        let is_complete = rest.len() >= 100 || rest.ends_with(b"0\r\n\r\n");
        ensure!(!is_complete, "{target}: {} bytes came", rest.len());
    }
    Ok(())
}

fn goes(proxy: &Server, upstream: &Upstream) -> Outcome {
    let client = get(proxy, "/silent")?;
    upstream.await_begin()?;
    client.reset()?;
    upstream.await_end()
}

fn goes_in_body(proxy: &Server, upstream: &Upstream) -> Outcome {
    let mut client = get(proxy, "/endless")?;
    client.response_head()?;
    upstream.await_begin()?;
    client.reset()?;
    upstream.await_end()
}

fn broken(proxy: &Server, _: &Upstream) -> Outcome {
    let mut client = Client::connect(proxy.address)?;
    client.send(
        "POST /both HTTP/1.1\r\nHost: a.example\r\nX-Wait: 1\r\nTransfer-Encoding: chunked\r\n\r\nno chunk\r\n",
    )?;
    let response = client.response_head()?;
    ensure!(response.status == 400, "{}", response.head);
    Ok(())
}

fn refused(runtime: Runtime) -> Outcome {
    // Nothing listens there, most likely.
    let upstream = SocketAddr::from(([127, 0, 0, 1], Runtime::free_port()?));
    let mut proxy = proxy(runtime, upstream)?;
    // An upstream that doesn't react at all is given up after three seconds, with 504.
    in_a_quiet_moment(|| {
        let start = Instant::now();
        let response = get(&proxy, "/")?.response()?;
        ensure!(response.status == 502, "{}", response.head);
        let took = start.elapsed();
        ensure!(took < Duration::from_secs(2), "it took {took:?}");
        Ok(())
    })?;
    proxy.check_alive()
}
