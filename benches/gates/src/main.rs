//! `gates instructions | allocations | size [--record]`: the costs of the server, in figures without noise.
//!
//! `ci/run` runs it for the checks with these names. The figures don't depend on how busy the
//! machine is, so each is compared with the one that was recorded in `benches/results`.
//!
//! - [`requests`]: the requests. The servers are the programs in `bin/`.
//! - [`instructions`]: counted by valgrind.
//! - [`allocations`]: counted by [`counting`], the allocator of this program.
//! - [`size`]: the sizes of modules.
//! - [`recorded`]: the comparison with recorded figures.

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
        _ => Err("name a gate: instructions, allocations or size".into()),
    }
}
