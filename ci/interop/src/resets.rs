//! Checks that a server survives connections that are reset at random moments, and takes no reset for the end of a stream.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::random::Random;
use crate::wait::until;
use crate::{Outcome, Program, Report, Runtime, Server, ensure};

/// The settings of a run.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How many connections are reset.
    pub count: usize,
    /// The seed of the random moments.
    pub seed: u64,
    /// How long the whole run may take in one runtime.
    pub limit: Duration,
    /// Whether the server is a release build.
    pub release: bool,
}

/// How many clients there are at once.
const CLIENTS: usize = 8;
/// The pause between two requests of the well-behaved client.
const PAUSE: Duration = Duration::from_millis(50);

/// Resets connections on each of these runtimes.
#[must_use]
pub fn run(runtimes: &[Runtime], settings: Settings) -> Report {
    let mut report = Report::new("resets", runtimes);
    let row = format!("seconds for {} resets at random moments", settings.count);
    for &runtime in runtimes {
        eprintln!(
            "{runtime}: {} resets, seed {}",
            settings.count, settings.seed
        );
        let program = Program::example(runtime, "echo", settings.release);
        let all = program.clone().and_then(|it| reset_all(&it, settings));
        report.add(&row, runtime, all);
        let after_bytes = program.and_then(|it| reset_after_bytes(&it));
        report.add("a reset after 4,096 bytes", runtime, after_bytes);
    }
    report
}

/// Resets the connections of one program that responds like `echo`.
///
/// # Errors
/// It has ended, or didn't serve the well-behaved client.
pub fn reset_all(program: &Program, settings: Settings) -> Outcome<String> {
    let runtime = program.runtime;
    // A more detailed log would be large, and writing it would slow down the server.
    let mut server = Server::start(program, &[("RUST_LOG", "warn")])?;
    let started = Instant::now();
    let end = started + settings.limit;
    let (address, done) = (server.address, AtomicUsize::new(0));
    let slowest = thread::scope(|scope| {
        let rude = (1..=CLIENTS).map(|client| {
            let done = &done;
            let seed = settings.seed ^ (u64::try_from(client).unwrap_or(0) << 32);
            let mut random = Random::new(seed);
            scope.spawn(move || -> Outcome {
                while done.fetch_add(1, Ordering::Relaxed) < settings.count {
                    ensure!(Instant::now() < end, "not done in {:?}", settings.limit);
                    reset_one(address, &mut random)?;
                }
                Ok(())
            })
        });
        let rude: Vec<_> = rude.collect();
        // Meanwhile a well-behaved client must be served.
        let mut slowest = Duration::ZERO;
        while !rude.iter().all(thread::ScopedJoinHandle::is_finished) {
            slowest = slowest.max(ask(address)?);
            thread::sleep(PAUSE);
        }
        for client in rude {
            client
                .join()
                .map_err(|_| "a client panicked".to_owned())??;
        }
        Ok::<_, String>(slowest)
    });
    let seconds = started.elapsed().as_secs_f64();
    // First, because it explains other failures.
    let begun = done.into_inner().min(settings.count);
    server
        .check_alive()
        .map_err(|why| format!("after {begun} of them {why}"))?;
    let slowest = slowest?;
    ask(address)?;
    server.check_log()?;
    eprintln!("{runtime}: the slowest response to the well-behaved client took {slowest:.0?}");
    Ok(format!("{seconds:.1}"))
}

/// Resets a connection while the server still has to read 4,096 bytes of a request: as many as its first read on WASI 0.2
/// asks for, which then goes on and finds the reset.
fn reset_after_bytes(program: &Program) -> Outcome<String> {
    let mut server = Server::start(program, &[("RUST_LOG", "debug")])?;
    let mut client = Client::connect(server.address)?;
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")?;
    client.response()?.check(b"hello!")?;
    // It isn't running while the bytes and the reset arrive, so both wait for it.
    server.signal("-STOP")?;
    let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n";
    client.send(format!("{head:x<4096}"))?;
    client.reset()?;
    server.signal("-CONT")?;
    // The log from the read of the bytes on. Before it are other connections.
    let since_read = |server: &Server| {
        let log = server.log();
        let (_, rest) = log.split_once(": read 4096 bytes\n")?;
        Some(rest.to_owned())
    };
    until("the connection is closed", || {
        since_read(&server).is_some_and(|rest| rest.contains(": closed: "))
    })?;
    let rest = since_read(&server).unwrap_or_default();
    ensure!(
        rest.contains(": closed: the connection failed\n"),
        "the reset is taken for something else:\n{rest}"
    );
    server.check_alive()?;
    Ok("ok".into())
}

/// Sends one request on a connection of its own. Returns how long the response took.
fn ask(address: SocketAddr) -> Outcome<Duration> {
    let started = Instant::now();
    let mut client = Client::connect(address)?;
    client.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
    client.response()?.check(b"hello!")?;
    client.check_end()?;
    Ok(started.elapsed())
}

/// Makes one connection, and resets it somewhere between its first byte and the end of the response.
fn reset_one(address: SocketAddr, random: &mut Random) -> Outcome {
    let mut client = Client::connect(address)?;
    // Most bodies are small. One in eight is so large that the response fills the socket's buffer.
    let length = match random.below(8) {
        0 => 0,
        1 => 300_000 + random.below(700_000),
        _ => random.below(3_000),
    };
    let body = "x".repeat(length);
    let request = if random.below(2) == 0 {
        format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}")
    } else {
        // An empty first chunk would end the body.
        let first = if length == 0 {
            String::new()
        } else {
            format!("{length:x}\r\n{body}\r\n")
        };
        format!("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{first}0\r\n\r\n")
    };
    let sent = match random.below(3) {
        0 => random.below(request.len().min(100)),
        1 => random.below(request.len()),
        _ => request.len(),
    };
    client.send(&request[..sent])?;
    if sent == request.len() && random.below(2) == 0 {
        // The response always has at least this many bytes: the body and a head.
        client.swallow(1 + random.below(length + 1), Duration::from_secs(10));
    } else if random.below(2) == 0 {
        thread::sleep(Duration::from_micros(
            u64::try_from(random.below(3_000)).unwrap_or(0),
        ));
    }
    client.reset()
}
