//! A WASI preview 1 host with the habits of wazero, on the interpreter wasmi.
//!
//! ```text
//! wazero-like run [-listen=127.0.0.1:3000] [-env=NAME=VALUE] [-mount=FOLDER[:NAME]]
//!     [-collect=MILLISECONDS[,ACCEPTS]] MODULE.wasm [ARGUMENT]...
//! ```
//!
//! The arguments are wazero's, each option as `-name=value`, `-name value`, or with two dashes, and as often as needed;
//! but for `-collect`, which wazero doesn't have. It writes nothing of its own unless something is wrong.
//!
//! It deviates from the text of preview 1 like wazero:
//!
//! - `poll` knows nothing about sockets.
//! - `calls::write` may write bytes twice, or garbled.
//! - `garbage`: the sockets of closed connections are closed by a collection. There is one after 250 ms or 256 accepted
//!   connections (as with GOGC=1), or as `-collect` or the variable WAZERO_LIKE_COLLECT says: `120000,1000000` is about
//!   what Go does by default.
//! - Sockets get their numbers after the directories, and errors that wazero doesn't know are `IO`.
//!
//! It is not wazero: its habits were read in wazero's code and measured there, once. One thing is simpler: a file
//! descriptor in blocking mode is reported as ready at once, too, where wazero looks at its standard input instead.

mod calls;
mod errno;
mod files;
mod garbage;
mod guest;
mod poll;
mod table;

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use wasmi::{Engine, Linker, Module, Store};

use garbage::{Garbage, Schedule};
use table::Table;

/// What the calls work on.
struct Host {
    table: Table,
    arguments: Vec<String>,
    environment: Vec<String>,
    /// Where the monotonic clock begins.
    started: Instant,
}

#[cfg(test)]
impl Host {
    /// One listener, fd 3, and a directory that isn't there, fd 4 (which wazero would call 3).
    fn for_tests() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let garbage = Garbage::new(Schedule::default());
        let mut table = Table::new(Vec::new(), vec![listener], garbage);
        let (path, name) = ("/none".into(), None);
        table.insert(table::Entry::Directory { path, name });
        Self {
            table,
            arguments: Vec::new(),
            environment: Vec::new(),
            started: Instant::now(),
        }
    }
}

fn main() -> ExitCode {
    let command = match Command::parse(std::env::args().skip(1)) {
        Ok(command) => command,
        Err(why) => {
            eprintln!("wazero-like: {why}");
            return ExitCode::from(2);
        }
    };
    match command.run() {
        Ok(status) => ExitCode::from(status),
        Err(why) => {
            eprintln!("wazero-like: {why}");
            ExitCode::FAILURE
        }
    }
}

/// The command line.
#[derive(Default)]
struct Command {
    listen: Vec<String>,
    environment: Vec<String>,
    mounts: Vec<(PathBuf, String)>,
    schedule: Schedule,
    /// The module, and what it gets as its arguments: the module's own name first.
    arguments: Vec<String>,
}

impl Command {
    fn parse(mut given: impl Iterator<Item = String>) -> Result<Self, String> {
        if given.next().as_deref() != Some("run") {
            return Err("the one command is: run [OPTION]... MODULE.wasm [ARGUMENT]...".into());
        }
        let mut command = Self::default();
        if let Ok(value) = std::env::var("WAZERO_LIKE_COLLECT") {
            command.schedule = schedule(&value)?;
        }
        while let Some(argument) = given.next() {
            let Some(option) = argument.strip_prefix('-') else {
                command.arguments = [argument].into_iter().chain(given).collect();
                return Ok(command);
            };
            let option = option.strip_prefix('-').unwrap_or(option);
            let (name, value) = match option.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (option, given.next()),
            };
            let value = value.ok_or(format!("-{name} needs a value"))?;
            match name {
                "listen" => command.listen.push(value),
                "env" => command.environment.push(value),
                "collect" => command.schedule = schedule(&value)?,
                "mount" => {
                    let (folder, name) = value.split_once(':').unwrap_or((&value, &value));
                    command.mounts.push((folder.into(), name.to_owned()));
                }
                _ => return Err(format!("there is no option -{name}")),
            }
        }
        Err("which module?".into())
    }

    /// Runs the module to its end. Returns its exit status.
    fn run(self) -> Result<u8, String> {
        let path = &self.arguments[0];
        let bytes = std::fs::read(path).map_err(|e| format!("{path}: {e}"))?;
        let engine = Engine::default();
        let module = Module::new(&engine, bytes).map_err(|e| format!("{path}: {e}"))?;
        let mut listeners = Vec::new();
        for address in &self.listen {
            let listener = TcpListener::bind(address).map_err(|e| format!("{address}: {e}"))?;
            listeners.push(listener);
        }
        let mut linker = Linker::new(&engine);
        calls::define(&mut linker, &module).map_err(|e| e.to_string())?;
        let host = Host {
            table: Table::new(self.mounts, listeners, Garbage::new(self.schedule)),
            arguments: self.arguments,
            environment: self.environment,
            started: Instant::now(),
        };
        let mut store = Store::new(&engine, host);
        let outcome = linker
            .instantiate_and_start(&mut store, &module)
            .and_then(|instance| {
                let start = instance.get_typed_func::<(), ()>(&store, "_start")?;
                start.call(&mut store, ())
            });
        match outcome {
            Ok(()) => Ok(0),
            Err(error) => match error.i32_exit_status() {
                Some(status) => Ok(u8::try_from(status).unwrap_or(1)),
                None => Err(format!("wasm trap: {error}")),
            },
        }
    }
}

/// When there are collections: milliseconds, and after a comma accepted connections.
fn schedule(text: &str) -> Result<Schedule, String> {
    let why = || format!("collections: {text}: MILLISECONDS[,ACCEPTS]");
    let (every, accepts) = match text.split_once(',') {
        Some((every, accepts)) => (every, accepts.parse().map_err(|_| why())?),
        None => (text, Schedule::default().accepts),
    };
    Ok(Schedule {
        every: Duration::from_millis(every.parse().map_err(|_| why())?),
        accepts,
    })
}
