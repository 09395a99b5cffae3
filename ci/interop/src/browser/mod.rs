//! The pages of the examples in a real browser: one headless Chromium for all runtimes.

mod cases;
mod driver;

use std::fs::{Permissions, set_permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::addresses::proxy::Nginx;
use crate::curl::Scratch;
use crate::{Outcome, Program, Report, Runtime, Server, ensure};
use driver::Browser;

/// Checks an example and its page. Returns a word for the table.
type Case = fn(&mut Site, &Browser) -> Outcome<String>;

/// The cases: each has an example of its own, and starts its server anew.
const CASES: &[(&str, &str, Case)] = &[
    ("sse", "events in order, others beside them", cases::events),
    (
        "sse",
        "reconnects after a restart of the server",
        cases::reconnect,
    ),
    (
        "sse",
        "a closed tab frees its connection",
        cases::closed_tab,
    ),
    ("chat", "messages of two tabs in order", cases::chat),
    (
        "chat",
        "goes on after a restart of the server",
        cases::chat_restart,
    ),
    ("websocket", "messages of two tabs in order", cases::sockets),
    (
        "websocket",
        "connects again after a restart of the server",
        cases::sockets_restart,
    ),
    (
        "websocket",
        "a closed tab frees its connection",
        cases::closed_socket,
    ),
    ("upload", "shows progress", cases::progress),
    (
        "upload",
        "a tab closed meanwhile leaves nothing",
        cases::closed_during_upload,
    ),
];

/// Cases that run behind nginx, too, which connects to the example over a Unix domain socket. WASI has none.
const BEHIND_NGINX: &[(&str, &str, Case)] = &[
    (
        "sse",
        "events behind nginx, by a Unix socket",
        cases::events,
    ),
    (
        "chat",
        "messages behind nginx, by a Unix socket",
        cases::chat,
    ),
];

/// Runs all cases on each of these runtimes.
#[must_use]
pub fn run(runtimes: &[Runtime]) -> Report {
    let mut report = Report::new("browser", runtimes);
    let browser = Browser::start();
    for &runtime in runtimes {
        let mut run_case = |(example, name, case): &(&str, &str, Case), start: Start| {
            let outcome = browser.clone().and_then(|browser| {
                let Some(mut site) = start(runtime, example)? else {
                    return Ok("-".into());
                };
                let word = case(&mut site, &browser)?;
                site.server()?.check_log()?;
                Ok(word)
            });
            report.add(&format!("{example}: {name}"), runtime, outcome);
        };
        for case in CASES {
            run_case(case, |runtime, example| {
                Site::start(runtime, example).map(Some)
            });
        }
        for case in BEHIND_NGINX {
            run_case(case, |runtime, example| match runtime {
                Runtime::Native => Site::start_behind_nginx(example).map(Some),
                _ => Ok(None),
            });
        }
    }
    report
}

/// Starts an example, where that is possible.
type Start = fn(Runtime, &str) -> Outcome<Option<Site>>;

/// An example that serves, and can be started again at the same address.
struct Site {
    program: Program,
    /// The address for clients.
    address: SocketAddr,
    /// Where the example listens.
    listens_at: String,
    /// `None` while it is stopped.
    server: Option<Server>,
    /// The folder that it is given, if it takes one.
    scratch: Scratch,
    /// The proxy in front of it, if there is one.
    _nginx: Option<Nginx>,
}

impl Site {
    fn start(runtime: Runtime, example: &str) -> Outcome<Self> {
        let program = Program::package(runtime, example)?;
        let scratch = Scratch::new()?;
        let server = Server::with_command(runtime, |address| {
            command(&program, &address.to_string(), &scratch)
        })?;
        Ok(Self {
            address: server.address,
            listens_at: server.address.to_string(),
            server: Some(server),
            program,
            scratch,
            _nginx: None,
        })
    }

    fn start_behind_nginx(example: &str) -> Outcome<Self> {
        let program = Program::package(Runtime::Native, example)?;
        let scratch = Scratch::new()?;
        let socket = scratch.file("s");
        let mut nginx = Nginx::in_front_of(&scratch, &socket)?;
        let listens_at = format!("unix:{socket}");
        let command = command(&program, &listens_at, &scratch)?;
        let server = Server::spawn(Runtime::Native, nginx.address(), command)?;
        open_to_all(&socket)?;
        nginx.wait()?;
        Ok(Self {
            address: nginx.address(),
            listens_at,
            server: Some(server),
            program,
            scratch,
            _nginx: Some(nginx),
        })
    }

    fn server(&self) -> Outcome<&Server> {
        self.server.as_ref().ok_or_else(|| "it is stopped".into())
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Kills the server.
    fn kill(&mut self) {
        self.server = None;
    }

    /// Starts it again at its address.
    fn start_again(&mut self) -> Outcome {
        let command = command(&self.program, &self.listens_at, &self.scratch)?;
        self.server = Some(Server::spawn(self.program.runtime, self.address, command)?);
        Ok(())
    }

    /// The numbers of the connections with requests for this path.
    fn connections(&self, request: &str) -> Outcome<Vec<String>> {
        let log = self.server()?.log();
        let begun = log
            .lines()
            .filter(|line| line.contains(&format!("begin processing \"{request}")));
        let number = |line: &str| Some(line.split_once("conn ")?.1.split_once(':')?.0.to_owned());
        Ok(begun.filter_map(number).collect())
    }

    /// Waits until the server has closed this connection. `meanwhile` is called again and again: a browser that
    /// closes a tab only ends its side of the connection, so the server may see that it is gone when it next writes.
    fn wait_closed(&self, connection: &str, meanwhile: impl Fn() -> Outcome) -> Outcome<Duration> {
        let started = Instant::now();
        let closed = format!("conn {connection}: closed");
        while !self.server()?.log().contains(&closed) {
            ensure!(
                started.elapsed() < Duration::from_secs(10),
                "connection {connection} is still open:\n{}",
                self.server()?.log_end(10)
            );
            meanwhile()?;
            sleep(Duration::from_millis(50));
        }
        Ok(started.elapsed())
    }
}

/// `upload` takes a folder.
fn command(program: &Program, address: &str, scratch: &Scratch) -> Outcome<std::process::Command> {
    let env = [("RUST_LOG", "debug")];
    match program
        .path
        .file_stem()
        .is_some_and(|name| name == "upload")
    {
        true => program.command_with_folder(address, &env, &scratch.path().display().to_string()),
        false => program.command(address, &env),
    }
}

/// Lets every user connect to this socket, as soon as it is there: nginx has a user of its own.
fn open_to_all(socket: &str) -> Outcome {
    let started = Instant::now();
    while !Path::new(socket).exists() {
        let is_late = started.elapsed() > Duration::from_secs(10);
        ensure!(!is_late, "the example doesn't listen at {socket}");
        sleep(Duration::from_millis(10));
    }
    set_permissions(socket, Permissions::from_mode(0o666)).map_err(|e| format!("{socket}: {e}"))
}
