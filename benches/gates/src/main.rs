//! `gates instructions | allocations | size [--record]`: what the server costs, in figures without noise.
//!
//! `ci/run` calls it for the checks of these names. The figures are the same however busy the
//! machine is, so each is held to the one that was recorded in `benches/results`.
//!
//! - [`requests`]: what is asked. The programs in `bin/` are what answers.
//! - [`instructions`]: counted by valgrind.
//! - [`allocations`]: counted by [`counting`], the allocator of this program.
//! - [`size`]: of modules.
//! - [`recorded`]: the comparison with what was recorded.

mod allocations;
mod counting;
mod instructions;
mod recorded;
mod requests;
mod size;

use std::process::ExitCode;

use interop::Outcome;

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("gates: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut arguments: impl Iterator<Item = String>) -> Outcome {
    match arguments.next().as_deref() {
        Some("instructions") => instructions::run(arguments),
        Some("allocations") => allocations::run(arguments),
        Some("size") => size::run(arguments),
        _ => Err("which one? there are instructions, allocations and size".into()),
    }
}
