//! The program `wasip1-host`: see `help.txt`.

#![forbid(unsafe_code)]

mod command;

use std::io;
use std::process::ExitCode;

use command::Command;

fn main() -> ExitCode {
    if log::set_logger(&Stderr).is_ok() {
        log::set_max_level(log::LevelFilter::Trace);
    }
    let host = match words().and_then(command::parse) {
        Ok(Command::Run(host)) => host,
        Ok(Command::Help) => {
            print(&mut io::stdout(), include_str!("help.txt"));
            return ExitCode::SUCCESS;
        }
        Ok(Command::Version) => {
            let version = concat!("wasip1-host ", env!("CARGO_PKG_VERSION"), "\n");
            print(&mut io::stdout(), version);
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            print(&mut io::stderr(), &format!("wasip1-host: {why}\n"));
            // By convention, wrong usage.
            return ExitCode::from(2);
        }
    };
    raise_limit();
    match host.run() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            print(&mut io::stderr(), &format!("wasip1-host: {error}\n"));
            ExitCode::FAILURE
        }
    }
}

/// The command line, without the program's own name.
fn words() -> Result<Vec<String>, String> {
    let words = std::env::args_os().skip(1);
    let text = words.map(|word| {
        let wrong = |word| format!("{word:?} isn't UTF-8");
        word.into_string().map_err(wrong)
    });
    text.collect()
}

/// Prints in one piece, so that lines of several threads stay whole. Unlike with `eprintln!`, it isn't an error if
/// what reads the output has ended: the guest goes on serving.
fn print(to: &mut impl io::Write, text: &str) {
    let _ = to.write_all(text.as_bytes());
}

/// Raises the limit of file descriptors as far as the user may: shells start programs with a low one.
fn raise_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // If that is refused, the limit stays as it is.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// Prints what the host logs, and the guest's calls. Of other crates it prints only warnings and errors.
struct Stderr;

impl log::Log for Stderr {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        let target = metadata.target();
        match metadata.level() {
            log::Level::Error | log::Level::Warn => true,
            log::Level::Info => target.starts_with("wasip1_host"),
            log::Level::Trace => target == wasip1_host::TRACE_TARGET,
            log::Level::Debug => false,
        }
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let line = match record.level() {
            log::Level::Trace => format!("[TRACE {}] {}\n", record.target(), record.args()),
            _ => format!("wasip1-host: {}\n", record.args()),
        };
        print(&mut io::stderr(), &line);
    }

    fn flush(&self) {}
}
