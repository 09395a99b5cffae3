//! The program `wasip1-host`: see `help.txt`.

#![forbid(unsafe_code)]

mod command;

use std::process::ExitCode;

use command::Command;

fn main() -> ExitCode {
    if log::set_logger(&Stderr).is_ok() {
        log::set_max_level(log::LevelFilter::Trace);
    }
    let host = match command::parse(std::env::args().skip(1)) {
        Ok(Command::Run(host)) => host,
        Ok(Command::Help) => {
            print!("{}", include_str!("help.txt"));
            return ExitCode::SUCCESS;
        }
        Ok(Command::Version) => {
            println!("wasip1-host {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            eprintln!("wasip1-host: {why}");
            // By convention, wrong usage.
            return ExitCode::from(2);
        }
    };
    raise_limit();
    match host.run() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("wasip1-host: {error}");
            ExitCode::FAILURE
        }
    }
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
        if record.level() == log::Level::Trace {
            eprintln!("[TRACE {}] {}", record.target(), record.args());
        } else {
            eprintln!("wasip1-host: {}", record.args());
        }
    }

    fn flush(&self) {}
}
