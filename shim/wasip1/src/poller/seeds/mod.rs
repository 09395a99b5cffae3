//! Random tests of the poller: an echo server on the fake runtime, with random clients. Each seed is one run.
//!
//! `WASIP1_SEEDS=10000` runs this many seeds in each personality. `WASIP1_SEED=7
//! WASIP1_PERSONALITY=hostile` runs only that seed, and prints what happens.

mod peers;
mod run;

use crate::fake::Seeds;
use run::Run;

#[test]
fn seeds_on_wasi_common() {
    run_seeds("wasi-common");
}

#[test]
fn seeds_on_a_runtime_that_counts_milliseconds() {
    run_seeds("coarse");
}

#[test]
fn seeds_on_a_slow_runtime() {
    run_seeds("slow");
}

#[test]
fn seeds_on_wazero() {
    run_seeds("wazero");
}

#[test]
fn seeds_on_a_runtime_that_follows_the_specification() {
    run_seeds("strict");
}

#[test]
fn seeds_on_a_hostile_runtime() {
    run_seeds("hostile");
}

#[test]
fn seeds_on_a_hostile_blind_runtime() {
    run_seeds("hostile-blind");
}

#[test]
fn seeds_on_a_runtime_where_calls_do_nothing() {
    run_seeds("silent");
}

fn run_seeds(name: &str) {
    let seeds = Seeds {
        prefix: "WASIP1",
        test: "--package wasip1-poll --lib poller::seeds",
        seeds: 150,
    };
    seeds.run(name, |personality, seed, shown| {
        Run::new(personality, seed, shown).finish();
    });
}
