//! The client for the example `probe`, which examines a runtime from inside.
//!
//! The module controls this client: on a connection that begins with the line `probe`, it sends commands, one in each
//! line. The client replies to each with `ok NUMBER` or `error WHY`:
//!
//! | command | the client |
//! |---|---|
//! | `connect` | makes a connection; NUMBER is its number N |
//! | `send N BYTES` | sends this many bytes |
//! | `read N BYTES` | reads exactly this many bytes |
//! | `drain N` | reads to the end of the stream; NUMBER is how many bytes came |
//! | `watch N` | the same, for half a second at most |
//! | `end N` | checks that the stream ends now |
//! | `half-close N`, `close N`, `reset N` | ends its connection in this way |
//! | `done` | ends |

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::client::{Client, PATIENCE};
use crate::curl::Scratch;
use crate::{Outcome, Program, Runtime, ensure};

/// Examines a runtime. Returns the table in this format: `text`, `markdown` or `json`.
///
/// # Errors
/// The runtime can't be installed, or the probe doesn't finish.
pub fn run(runtime: Runtime, format: &str) -> Outcome<String> {
    ensure!(
        runtime.target().is_some(),
        "{runtime} isn't a WASI runtime: there is nothing to examine"
    );
    let program = Program::example(runtime, "probe", true)?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, Runtime::free_port()?));
    let folder = Scratch::new()?;
    let mut command = program.command(&address.to_string(), &[])?;
    command.arg("--dir").arg(folder.path());
    command.args(["--".into(), format!("--{format}")]);
    // See ci/lib.sh.
    command.env_remove("RUST_BACKTRACE").stdin(Stdio::null());
    let child = command.stdout(Stdio::piped()).spawn();
    let mut child = Running(child.map_err(|e| format!("{command:?}: {e}"))?);
    be_client(address)?;
    let mut table = String::new();
    let mut stdout = child.0.stdout.take().ok_or("no standard output")?;
    stdout
        .read_to_string(&mut table)
        .map_err(|e| format!("the table: {e}"))?;
    let status = child.0.wait().map_err(|e| e.to_string())?;
    ensure!(status.success(), "{command:?} ended ({status})");
    Ok(table)
}

/// Is the client of a probe that is running at this address: does what it says, until it is done.
///
/// # Errors
/// There is no probe, or it ends early.
pub fn be_client(address: SocketAddr) -> Outcome {
    let started = Instant::now();
    let stream = loop {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => break stream,
            Err(e) => ensure!(
                started.elapsed() < PATIENCE,
                "nothing listens at {address}: {e}"
            ),
        }
        sleep(Duration::from_millis(20));
    };
    let io = |e| format!("the connection for the commands: {e}");
    stream.set_nodelay(true).map_err(io)?;
    // The module measures between two commands, which takes long in an interpreter.
    stream.set_read_timeout(Some(PATIENCE * 3)).map_err(io)?;
    let mut replies = stream.try_clone().map_err(io)?;
    replies.write_all(b"probe\n").map_err(io)?;
    let mut clients = Vec::new();
    for line in BufReader::new(stream).lines() {
        let line = line.map_err(io)?;
        let reply = match obey(address, &mut clients, &line) {
            Ok(number) => format!("ok {number}\n"),
            Err(why) => format!("error {}\n", why.replace('\n', " ")),
        };
        replies.write_all(reply.as_bytes()).map_err(io)?;
        if line == "done" {
            return Ok(());
        }
    }
    Err("the probe ended before it was done: what it said is above".into())
}

fn obey(address: SocketAddr, clients: &mut Vec<Option<Client>>, line: &str) -> Outcome<usize> {
    let words: Vec<_> = line.split_whitespace().collect();
    let number = |at: usize| -> Outcome<usize> {
        let word = words.get(at).copied().unwrap_or_default();
        word.parse().map_err(|_| format!("no number in '{line}'"))
    };
    let verb = words.first().copied().unwrap_or_default();
    match verb {
        "connect" => {
            clients.push(Some(Client::connect(address)?));
            return Ok(clients.len() - 1);
        }
        "done" => return Ok(0),
        _ => {}
    }
    let client = clients.get_mut(number(1)?).ok_or("no such connection")?;
    let Some(it) = client else {
        return Err("that connection has ended".into());
    };
    match verb {
        "send" => it.send(vec![b's'; number(2)?]).map(|()| 0),
        "read" => {
            let (count, limit) = (number(2)?, PATIENCE);
            let read = it.swallow(count, limit);
            ensure!(read == count, "only {read} of {count} bytes came");
            Ok(read)
        }
        // The module measures how long it takes until the end is seen.
        "watch" => Ok(it.swallow(usize::MAX, Duration::from_millis(500))),
        "drain" => Ok(it.swallow(usize::MAX, DRAIN)),
        "end" => it.check_end().map(|()| 0),
        "half-close" => it.half_close().map(|()| 0),
        "close" | "reset" => {
            let it = client.take().ok_or("that connection has ended")?;
            if verb == "reset" {
                it.reset()?;
            }
            Ok(0)
        }
        _ => Err(format!("no command is called '{verb}'")),
    }
}

/// How long all that was sent may take to arrive. In some runtimes the end of the stream never comes: then `drain`
/// takes this long.
const DRAIN: Duration = Duration::from_secs(20);

/// A child process that is killed when this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // An error means that it has ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
