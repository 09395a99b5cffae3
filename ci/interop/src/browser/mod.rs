//! The pages of the examples in a real browser: one headless Chromium for all runtimes.

mod driver;
mod scenes;

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::curl::Scratch;
use crate::{Outcome, Program, Report, Runtime, Server, ensure};
use driver::Browser;

/// What an example and its page have to do; a word for the table.
type Scene = fn(&mut Site, &Browser) -> Outcome<String>;

/// The scenes: each has an example of its own, and starts its server anew.
const SCENES: &[(&str, &str, Scene)] = &[
    ("sse", "events in order, others beside them", scenes::events),
    (
        "sse",
        "reconnects after a restart of the server",
        scenes::reconnect,
    ),
    (
        "sse",
        "a closed tab frees its connection",
        scenes::closed_tab,
    ),
    ("chat", "messages of two tabs in order", scenes::chat),
    (
        "chat",
        "goes on after a restart of the server",
        scenes::chat_restart,
    ),
    ("upload", "shows progress", scenes::progress),
    (
        "upload",
        "a tab closed meanwhile leaves nothing",
        scenes::cut_upload,
    ),
];

/// Plays all scenes on each of these runtimes.
#[must_use]
pub fn run(runtimes: &[Runtime]) -> Report {
    let mut report = Report::new("browser", runtimes);
    let browser = Browser::start();
    for &runtime in runtimes {
        for (example, name, scene) in SCENES {
            let outcome = browser.clone().and_then(|browser| {
                let mut site = Site::start(runtime, example)?;
                let word = scene(&mut site, &browser)?;
                site.server()?.check_log()?;
                Ok(word)
            });
            report.add(&format!("{example}: {name}"), runtime, outcome);
        }
    }
    report
}

/// An example that serves, and can be started again at the same address.
struct Site {
    program: Program,
    address: SocketAddr,
    /// `None` while it is stopped.
    server: Option<Server>,
    /// The folder that it is given, if it takes one.
    scratch: Scratch,
}

impl Site {
    fn start(runtime: Runtime, example: &str) -> Outcome<Self> {
        let program = Program::package(runtime, example)?;
        let scratch = Scratch::new()?;
        let server = Server::with_command(runtime, |address| command(&program, address, &scratch))?;
        Ok(Self {
            address: server.address,
            server: Some(server),
            program,
            scratch,
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
        let command = command(&self.program, self.address, &self.scratch)?;
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
fn command(
    program: &Program,
    address: SocketAddr,
    scratch: &Scratch,
) -> Outcome<std::process::Command> {
    let (address, env) = (address.to_string(), [("RUST_LOG", "debug")]);
    match program
        .path
        .file_stem()
        .is_some_and(|name| name == "upload")
    {
        true => program.command_with_folder(&address, &env, &scratch.path().display().to_string()),
        false => program.command(&address, &env),
    }
}
