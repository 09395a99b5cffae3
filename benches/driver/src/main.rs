//! `bench [--quick | --smoke] [--only NAME]... [OPTION VALUE]...`: compares the costs of servers.
//!
//! `ci/bench` builds this program and runs it. `benches/README.md` describes the figures.
//!
//! - `suites/`: what is measured. A suite has scenarios; `--only` takes names of suites and of scenarios.
//! - [`server`]: a compared server as a process, with its processor time and memory.
//! - `load/`: the clients. They run in processes of their own, which are this program with another argument.
//! - [`report`]: the figures of all rounds, as a table. [`chart`]: saved figures, as a bar chart.

mod chart;
mod cores;
mod load;
mod options;
mod report;
mod server;
mod suites;

use std::process::ExitCode;

use interop::Outcome;

use crate::options::Options;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bench: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Outcome {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if(|first| first == load::CLIENTS).is_some() {
        return load::serve(&arguments.next().unwrap_or_default());
    }
    let options = Options::of(arguments)?;
    suites::run(&options)
}
