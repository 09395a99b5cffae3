//! Tests that run once for each seed, in each personality.

#![allow(
    clippy::print_stdout,
    reason = "what a person who replays a seed wants to see"
)]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::personality::Personality;

/// A test that is run with many seeds. With the prefix `NAME`, these are set in the environment:
/// `NAME_SEEDS`, how many seeds; `NAME_SEED`, only this one, with all that happens in it shown;
/// `NAME_PERSONALITY`, only this one.
#[derive(Clone, Copy, Debug)]
pub struct Seeds {
    /// What the environment's variables begin with.
    pub prefix: &'static str,
    /// The arguments of `cargo test` that select the test.
    pub test: &'static str,
    /// Seeds where nothing is set, in a debug build.
    pub seeds: u64,
}

impl Seeds {
    /// How many seeds a release build runs for each one of a debug build.
    const FASTER: u64 = 10;

    /// Calls `run` with each seed, and with whether it is to be shown.
    ///
    /// # Panics
    /// As `run` does; the command that replays the seed is printed. There is no such personality.
    pub fn run(self, name: &str, run: impl Fn(Personality, u64, bool)) {
        let Self { prefix, test, .. } = self;
        let set = |what| std::env::var(format!("{prefix}_{what}")).ok();
        let number = |what| {
            let value = set(what)?;
            let number = value.parse::<u64>();
            Some(number.unwrap_or_else(|_| panic!("{prefix}_{what} is {value}: not a number")))
        };
        let personality = Personality::of_name(name);
        if let Some(only) = set("PERSONALITY") {
            let _ = Personality::of_name(&only);
            if only != name {
                return;
            }
        }
        let usual = self.seeds
            * if cfg!(debug_assertions) {
                1
            } else {
                Self::FASTER
            };
        let (seeds, is_shown) = match number("SEED") {
            Some(seed) => (seed..seed + 1, true),
            None => (0..number("SEEDS").unwrap_or(usual), false),
        };
        for seed in seeds {
            let run = AssertUnwindSafe(|| run(personality, seed, is_shown));
            if let Err(panic) = catch_unwind(run) {
                println!(
                    "failed; to replay it: {prefix}_SEED={seed} {prefix}_PERSONALITY={name} \
                     cargo test {test} -- --nocapture"
                );
                resume_unwind(panic);
            }
        }
    }
}
