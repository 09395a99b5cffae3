//! The whole loop on the fake runtime, with random clients, limits and faults: one world for each
//! seed.
//!
//! `EVENT_LOOP_SEEDS=2000` runs this many seeds in each personality; `EVENT_LOOP_SEED=7
//! EVENT_LOOP_PERSONALITY=hostile` runs that one, shows its clients, and its log as `RUST_LOG` says.
//!
//! In a third of the tests the handlers are futures and bodies stream: `STREAMS_SEEDS`, `STREAMS_SEED` and
//! `STREAMS_PERSONALITY` do the same for these. `streams` lists what is checked there in addition. In another third
//! connections are upgraded: `TUNNELS_SEEDS` and so on; `tunnels` lists what is checked there instead.
//!
//! | what must be so | where it is checked |
//! |---|---|
//! | requests reach the handler whole, once, in order | `book` |
//! | responses come in order, right byte for byte, and nothing after the last one | `peer` |
//! | each request that is owed a response gets it; a client that gets none has a reason of its own | `verdict` |
//! | no client waits longer than the bound, no connection outlives its deadlines | `verdict` |
//! | the counters agree with what has happened | `reasons` |
//! | each response has one event, with the bytes, the status and the end that its client saw | `events` |
//! | a wait for a paused listener has an end; the sum of open and lingering connections has a bound | `lingering` |
//! | calls at rest are few; memory and file descriptors come back; the loop ends | `world` |

mod book;
mod describe;
mod events;
mod facts;
mod lingering;
mod peer;
mod plan;
mod reasons;
mod requests;
mod responses;
mod streams;
mod tunnels;
mod verdict;
mod world;

use wasip1_poll::fake::Seeds;

use self::plan::Kind;
use self::world::World;

#[test]
fn seeds_on_wasi_common() {
    run(Kind::Whole, "wasi-common");
}

#[test]
fn seeds_on_a_runtime_that_counts_milliseconds() {
    run(Kind::Whole, "coarse");
}

#[test]
fn seeds_on_a_slow_runtime() {
    run(Kind::Whole, "slow");
}

#[test]
fn seeds_on_wazero() {
    run(Kind::Whole, "wazero");
}

#[test]
fn seeds_on_a_runtime_that_follows_the_specification() {
    run(Kind::Whole, "strict");
}

#[test]
fn seeds_on_a_hostile_runtime() {
    run(Kind::Whole, "hostile");
}

#[test]
fn seeds_on_a_hostile_blind_runtime() {
    run(Kind::Whole, "hostile-blind");
}

#[test]
fn seeds_on_a_runtime_where_calls_do_nothing() {
    run(Kind::Whole, "silent");
}

#[test]
fn streams_on_wasi_common() {
    run(Kind::Streams, "wasi-common");
}

#[test]
fn streams_on_a_runtime_that_counts_milliseconds() {
    run(Kind::Streams, "coarse");
}

#[test]
fn streams_on_a_slow_runtime() {
    run(Kind::Streams, "slow");
}

#[test]
fn streams_on_wazero() {
    run(Kind::Streams, "wazero");
}

#[test]
fn streams_on_a_runtime_that_follows_the_specification() {
    run(Kind::Streams, "strict");
}

#[test]
fn streams_on_a_hostile_runtime() {
    run(Kind::Streams, "hostile");
}

#[test]
fn streams_on_a_hostile_blind_runtime() {
    run(Kind::Streams, "hostile-blind");
}

#[test]
fn streams_on_a_runtime_where_calls_do_nothing() {
    run(Kind::Streams, "silent");
}

#[test]
fn tunnels_on_wasi_common() {
    run_tunnels("wasi-common");
}

#[test]
fn tunnels_on_a_runtime_that_counts_milliseconds() {
    run_tunnels("coarse");
}

#[test]
fn tunnels_on_a_slow_runtime() {
    run_tunnels("slow");
}

#[test]
fn tunnels_on_wazero() {
    run_tunnels("wazero");
}

#[test]
fn tunnels_on_a_runtime_that_follows_the_specification() {
    run_tunnels("strict");
}

#[test]
fn tunnels_on_a_hostile_runtime() {
    run_tunnels("hostile");
}

#[test]
fn tunnels_on_a_hostile_blind_runtime() {
    run_tunnels("hostile-blind");
}

#[test]
fn tunnels_on_a_runtime_where_calls_do_nothing() {
    run_tunnels("silent");
}

fn run(kind: Kind, name: &str) {
    let (prefix, test) = match kind {
        Kind::Whole => (
            "EVENT_LOOP",
            "--package mini-http-server --lib event_loop::seeds::seeds_on",
        ),
        Kind::Streams => (
            "STREAMS",
            "--package mini-http-server --lib event_loop::seeds::streams_on",
        ),
    };
    let seeds = Seeds {
        prefix,
        test,
        seeds: 20,
    };
    seeds.run(name, |personality, seed, is_shown| {
        World::new(kind, personality, seed, is_shown).run();
    });
}

fn run_tunnels(name: &str) {
    let seeds = Seeds {
        prefix: "TUNNELS",
        test: "--package mini-http-server --lib event_loop::seeds::tunnels_on",
        seeds: 20,
    };
    seeds.run(name, tunnels::run);
}
