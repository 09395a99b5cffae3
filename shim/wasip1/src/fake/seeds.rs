//! [`Seeds`]: runs a test once for each seed, in each personality.

#![allow(
    clippy::print_stdout,
    reason = "a person who replays a seed wants to see it"
)]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::personality::Personality;

/// A test that runs with many seeds. If the prefix is `NAME`, these environment variables control it:
/// `NAME_SEEDS`, how many seeds to run; `NAME_SEED`, to run only this seed, and print everything that happens;
/// `NAME_PERSONALITY`, to run only this personality.
#[derive(Clone, Copy, Debug)]
pub struct Seeds {
    /// The prefix of the environment variables.
    pub prefix: &'static str,
    /// The arguments of `cargo test` that select the test.
    pub test: &'static str,
    /// How many seeds a debug build runs if no variable is set.
    pub seeds: u64,
}

impl Seeds {
    /// A release build runs this many times as many seeds as a debug build.
    const FASTER: u64 = 10;

    /// Calls `run` with each seed, and with whether to print what happens.
    ///
    /// # Panics
    /// If `run` panics. Then the command that replays the seed is printed. Also if there is no personality `name`.
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
