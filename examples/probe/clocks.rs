//! Examines the clocks of the runtime, and how long a sleep is.

use wasip1_poll::{ClockId, Preview1, Wasi};

use crate::lab::{Lab, Outcome, now};
use crate::peer::sleep;
use crate::table::Table;

pub(crate) fn examine(_lab: &mut Lab, table: &mut Table) -> Outcome {
    table.section("Clocks");
    let readings: Vec<u64> = (0..1_000).map(|_| now()).collect();
    let steps = readings.windows(2).map(|pair| pair[1].checked_sub(pair[0]));
    let back = steps.clone().filter(Option::is_none).count();
    let least = steps.flatten().filter(|step| *step > 0).min().unwrap_or(0);
    table.row(
        "1,000 readings of the monotonic clock",
        "it never goes back",
        format!(
            "back {back} times; the smallest step forward {}",
            order(least)
        ),
        "reads the time once an iteration",
    );
    let seconds = Preview1.clock_time_get(ClockId::Realtime).unwrap_or(0) / 1_000_000_000;
    table.row(
        "the realtime clock",
        "the time since 1970",
        // 2020.
        if seconds > 1_577_836_800 {
            "a time after 2020"
        } else {
            "no time of today"
        },
        "uses it for the `Date` field",
    );
    for (asked, name) in [
        (20_000, "20 us"),
        (100_000, "100 us"),
        (1_000_000, "1 ms"),
        (10_000_000, "10 ms"),
    ] {
        let mut took: Vec<u64> = (0..9).map(|_| time(asked)).collect();
        took.sort_unstable();
        table.row(
            format!("a sleep of {name}, median of 9"),
            "at least that long",
            format!("{:.2} ms", took[4] as f64 / 1e6),
            "on a blind runtime, sleeps 20 us at first, and longer at rest",
        );
    }
    Ok(())
}

fn time(asked: u64) -> u64 {
    let before = now();
    sleep(asked);
    now() - before
}

/// The next power of ten, which stays the same from run to run.
fn order(nanos: u64) -> String {
    match nanos {
        0..100 => "under 0.1 us".into(),
        100..1_000 => "under 1 us".into(),
        1_000..10_000 => "under 10 us".into(),
        _ => "over 10 us".into(),
    }
}
