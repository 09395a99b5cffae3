//! `bench [--quick | --smoke] [--only NAME]... [OPTION VALUE]...`: what servers cost, side by side.
//!
//! `ci/bench` builds what is compared and calls this; `benches/README.md` is about the figures.
//!
//! - `suites/`: what is measured. A suite has scenarios, `--only` takes the names of either.
//! - [`server`]: one of the compared servers as a process: its processor time, its memory.
//! - `load/`: the clients, processes of their own: this program, called in another way.
//! - [`report`]: the figures of all rounds, as a table; [`chart`]: those that are saved, as bars.

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
