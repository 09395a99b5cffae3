//! Bytes in both directions: what `/raw` of `async_server` carries after its upgrade.

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use super::Row;
use crate::client::{PATIENCE, same};
use crate::random::Random;
use crate::{Client, Outcome, Program, Server, ensure};

type Case = (&'static str, fn(&mut Server) -> Outcome<String>);

const CASES: &[Case] = &[
    ("bytes: 1 MiB behind the head", behind_the_head),
    ("bytes: a tunnel (CONNECT)", tunnel),
    ("bytes: the client ends its stream first", client_ends),
    ("bytes: the server ends its stream first", server_ends),
    ("bytes: a flood that is not read", flood),
    ("bytes: nothing is taken", nothing_taken),
    ("bytes: 200 resets", resets),
    ("bytes: a stop ends them", stop),
];

/// The window in which the client must take something of the output.
const WINDOW: Duration = Duration::from_secs(2);
const SETTINGS: [(&str, &str); 2] = [("RUST_LOG", "info"), ("RATE_WINDOW", "2000")];

/// One server for all.
pub(super) fn run(program: &Outcome<Program>) -> Vec<Row> {
    let mut server = program
        .as_ref()
        .map_err(Clone::clone)
        .and_then(|it| Server::start(it, &SETTINGS));
    let one = |&(name, case): &Case| {
        let outcome = match &mut server {
            Ok(server) => case(server),
            Err(why) => Err(why.clone()),
        };
        (name.to_owned(), outcome)
    };
    CASES.iter().map(one).collect()
}

fn request(what: &str) -> String {
    format!("GET /raw?{what} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n")
}

/// An upgraded connection.
fn open(server: &Server, what: &str) -> Outcome<Client> {
    let mut client = Client::connect(server.address)?;
    client.send(request(what))?;
    check_open(&mut client)?;
    Ok(client)
}

fn check_open(client: &mut Client) -> Outcome {
    let response = client.response_head()?;
    let is_open = response.status == 101
        && response.values("Upgrade").eq(["raw"])
        && response.values("Connection").eq(["upgrade"])
        && response.values("Content-Length").count() == 0
        && response.values("Transfer-Encoding").count() == 0;
    ensure!(is_open, "no upgrade:\n{}", response.head);
    Ok(())
}

/// Sends in another thread while this one reads.
fn echoed(client: &mut Client, sent: &[u8]) -> Outcome {
    let mut sender = client.sender()?;
    thread::scope(|scope| {
        let sending = scope.spawn(move || sender.write_all(sent));
        let came = client.take(sent.len())?;
        sending
            .join()
            .expect("it doesn't panic")
            .map_err(|e| format!("sending: {e}"))?;
        same(&came, sent)
    })
}

fn behind_the_head(server: &mut Server) -> Outcome<String> {
    let sent = Random::new(1).bytes(1 << 20);
    let mut client = Client::connect(server.address)?;
    let all = [request("echo").as_bytes(), &sent].concat();
    let mut sender = client.sender()?;
    thread::scope(|scope| {
        let sending = scope.spawn(move || sender.write_all(&all));
        check_open(&mut client)?;
        same(&client.take(sent.len())?, &sent)?;
        let sent = sending.join().expect("it doesn't panic");
        sent.map_err(|e| format!("sending: {e}"))
    })?;
    client.half_close()?;
    client.check_end()?;
    Ok("ok".into())
}

fn tunnel(server: &mut Server) -> Outcome<String> {
    let mut client = Client::connect(server.address)?;
    client.send("CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n")?;
    let response = client.response_head()?;
    let is_open = response.status == 200 && response.values("Content-Length").count() == 0;
    ensure!(is_open, "no tunnel:\n{}", response.head);
    echoed(&mut client, &Random::new(2).bytes(100_000))?;
    let mut client = Client::connect(server.address)?;
    client.send("CONNECT example.com HTTP/1.1\r\nHost: example.com\r\n\r\n")?;
    ensure!(client.response()?.status == 400, "a target without a port");
    Ok("ok".into())
}

fn client_ends(server: &mut Server) -> Outcome<String> {
    let mut client = open(server, "count")?;
    client.send(vec![b'x'; 300_000])?;
    client.half_close()?;
    same(&client.take(6)?, b"300000")?;
    client.check_end()?;
    Ok("ok".into())
}

/// The server still reads what is sent afterwards: the connection isn't reset.
fn server_ends(server: &mut Server) -> Outcome<String> {
    let mut client = open(server, "bye")?;
    same(&client.take(3)?, b"bye")?;
    client.check_end()?;
    for _ in 0..20 {
        client.send(vec![b'x'; 10_000])?;
        thread::sleep(Duration::from_millis(5));
    }
    client.half_close()?;
    client.check_end()?;
    Ok("ok".into())
}

/// The server takes what its buffers hold, and no more.
fn flood(server: &mut Server) -> Outcome<String> {
    let client = open(server, "sink")?;
    let mut sender = client.sender()?;
    let timeout = Some(Duration::from_millis(500));
    sender
        .set_write_timeout(timeout)
        .map_err(|e| format!("{e}"))?;
    let (chunk, mut sent) = (vec![b'x'; 64 << 10], 0);
    while sent < 64 << 20 {
        match sender.write(&chunk) {
            Ok(count) => sent += count,
            Err(_) => break,
        }
    }
    ensure!(
        sent < 32 << 20,
        "{sent} bytes were taken that nothing reads"
    );
    let mut other = Client::connect(server.address)?;
    let held = stat(&mut other, "held")?;
    ensure!(held <= 200 << 10, "{held} bytes are held");
    client.reset()?;
    Ok(format!("{} KiB taken", sent >> 10))
}

/// The server's write fails after the window.
fn nothing_taken(server: &mut Server) -> Outcome<String> {
    let mut other = Client::connect(server.address)?;
    let before = stat(&mut other, "closed WriteTimeout")?;
    // Before its window can begin.
    let started = Instant::now();
    let _client = open(server, "source")?;
    loop {
        if stat(&mut other, "closed WriteTimeout")? > before {
            break;
        }
        ensure!(started.elapsed() < PATIENCE, "the connection isn't closed");
        thread::sleep(Duration::from_millis(50));
    }
    let took = started.elapsed();
    ensure!(took >= WINDOW, "it is closed after {took:.1?}");
    Ok(format!("closed after {took:.1?}"))
}

fn resets(server: &mut Server) -> Outcome<String> {
    let mut other = Client::connect(server.address)?;
    // In a blind runtime, the connection of the flood is still among them: it isn't read, so its reset isn't seen.
    let before = stat(&mut other, "active")?;
    for number in 0..200 {
        let mut client = open(server, ["echo", "sink", "source", "count"][number % 4])?;
        client.send(vec![b'x'; number * 10])?;
        client.reset()?;
    }
    let started = Instant::now();
    while stat(&mut other, "active")? > before {
        ensure!(started.elapsed() < PATIENCE, "some are still open");
        thread::sleep(Duration::from_millis(20));
    }
    Ok("ok".into())
}

/// A stop closes an upgraded connection, and then the server ends.
fn stop(server: &mut Server) -> Outcome<String> {
    let mut open_one = open(server, "sink")?;
    let mut client = Client::connect(server.address)?;
    client.send("GET /stop HTTP/1.1\r\nHost: x\r\n\r\n")?;
    client.response()?.check(b"stopping")?;
    open_one.check_end()?;
    drop((client, open_one));
    server.ends_within(PATIENCE)?;
    server.check_log()?;
    Ok("ok".into())
}

/// A number of `/stats`.
fn stat(client: &mut Client, name: &str) -> Outcome<usize> {
    client.send("GET /stats HTTP/1.1\r\nHost: x\r\n\r\n")?;
    let response = client.response()?;
    let text = String::from_utf8_lossy(&response.body);
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value = line.ok_or_else(|| format!("no {name} in {text}"))?;
    value.parse().map_err(|e| format!("{name} is {value}: {e}"))
}
