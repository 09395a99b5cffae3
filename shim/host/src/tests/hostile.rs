//! Guests that make calls with random arguments. Each call returns an error number or traps, and the host goes on.
//!
//! `HOST_SEEDS` and `HOST_CALLS` set the number of seeds, and of calls for each. A failure names the seed.

use std::sync::atomic::Ordering;

use super::puppet::{CALLS, Puppet, Sub, encode};
use super::wild::{
    Folder, NASTY, PAGES, PATIENCE, Random, Watchdog, check, guest, is_left_out, settings,
};
use crate::settings::Settings;

/// Makes `calls` random calls, in guests that are made anew after each trap.
fn make_random_calls(seed: u64, calls: u64) {
    let folder = Folder::new(seed);
    let mut random = Random(seed * 0x9e37_79b9_7f4a_7c15 + 1);
    let mut made = 0;
    while made < calls {
        let (mut puppet, _clients) = guest(settings(&folder), &mut random);
        let watchdog = Watchdog::new(&puppet, PATIENCE);
        for _ in 0..200 {
            made += 1;
            watchdog.0.store(made + 1, Ordering::Relaxed);
            let (name, kinds) = *random.of(CALLS);
            let arguments: Vec<u64> = kinds
                .chars()
                .enumerate()
                .map(|(at, _)| match random.below(4) {
                    // Often valid, so that some calls pass the first checks.
                    0 if at == 0 => random.below(9),
                    0 => *random.of(&[0x100, 0x400, 1, 2, 4, 8]),
                    1 => *random.of(&[0x1000, 0x8000, 0x400, 1, 3]),
                    2 => *random.of(&NASTY),
                    _ => random.next(),
                })
                .collect();
            if is_left_out(name, &arguments) {
                continue;
            }
            if puppet.raw(name, &arguments).is_err() {
                break;
            }
            check(&puppet);
        }
    }
    folder.check();
}

fn from_env(name: &str, otherwise: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(otherwise)
}

#[test]
fn random_calls() {
    for seed in 1..=from_env("HOST_SEEDS", 2) {
        let outcome =
            std::panic::catch_unwind(|| make_random_calls(seed, from_env("HOST_CALLS", 2000)));
        assert!(outcome.is_ok(), "seed {seed}");
    }
}

#[test]
fn each_argument_of_each_call() {
    let folder = Folder::new(0);
    let mut random = Random(1);
    let (mut puppet, mut _clients) = guest(settings(&folder), &mut random);
    let mut watchdog = Watchdog::new(&puppet, PATIENCE);
    for (name, kinds) in CALLS {
        for place in 0..kinds.len() {
            for value in NASTY {
                // A connection, a directory, a file, and a list, all as they should be but for one.
                let mut arguments = [5, 0x400, 1, 0x100, 0x100, 0, 0, 0, 0x100];
                if name.starts_with("path_") {
                    arguments = [3, 0x100, 1, 0x200, 1, 0, 0, 0, 0x100];
                }
                if *name == "poll_oneoff" {
                    arguments[..4].copy_from_slice(&[0x1000, 0x8000, 8, 0x100]);
                }
                arguments[place] = value;
                if is_left_out(name, &arguments) {
                    continue;
                }
                watchdog.0.fetch_add(1, Ordering::Relaxed);
                if puppet.raw(name, &arguments[..kinds.len()]).is_err() {
                    (puppet, _clients) = guest(settings(&folder), &mut random);
                    watchdog = Watchdog::new(&puppet, PATIENCE);
                }
            }
        }
    }
}

#[test]
fn no_file_stays_open_if_its_number_cant_be_written() {
    let folder = Folder::new(1 << 32);
    let (mut puppet, _clients) = guest(settings(&folder), &mut Random(1));
    puppet.put(0x100, b"file");
    let end = u64::from(PAGES) * 0x1_0000;
    for out in [0x201, end - 3, end, 0xffff_fffc] {
        // Made if it doesn't exist, for reading.
        let arguments = [3, 0, 0x100, 4, 1, 2, 0, 0, out];
        // An error or a trap.
        let outcome = puppet.raw("path_open", &arguments);
        assert!(outcome.is_err() || outcome.is_ok_and(|errno| errno != 0));
    }
    let descriptors = std::fs::read_dir("/proc/self/fd").expect("Linux");
    let open = descriptors.filter_map(|it| std::fs::read_link(it.ok()?.path()).ok());
    let file = std::path::Path::new(&folder.guest()).join("file");
    assert_eq!(open.filter(|it| *it == file).count(), 0);
    let arguments = [3, 0, 0x100, 4, 1, 2, 0, 0, 0x200];
    puppet.call("path_open", &arguments).expect("a file");
}

#[test]
fn a_list_of_a_million_subscriptions() {
    const COUNT: u32 = 1 << 20;
    // 48 MiB of subscriptions, and 32 MiB of events.
    let mut puppet = Puppet::with(Settings::default(), 1400);
    let (_client, fd) = puppet.connection();
    let list = 0x1_0000_u32;
    for (sub, events) in [
        (Sub::Read(fd), 1),
        (Sub::Read(99), COUNT),
        (Sub::After(u64::MAX), 1),
        (Sub::Write(fd), COUNT),
    ] {
        for index in 0..COUNT {
            puppet.put(list + index * 48, &encode(u64::from(index), sub));
        }
        // Otherwise nothing would end it.
        puppet.put(list, &encode(0, Sub::After(1000)));
        let at = list + COUNT * 48;
        let arguments = [u64::from(list), u64::from(at), u64::from(COUNT), 0x100];
        puppet.call("poll_oneoff", &arguments).expect("a poll");
        let reported = puppet.number(0x100);
        assert!(
            reported == events || reported + 1 == events,
            "{sub:?}: {reported}"
        );
    }
    // A list that doesn't fit in the memory.
    let arguments = [u64::from(list), 0x100, u64::from(COUNT * 2), 0x100];
    assert!(puppet.raw("poll_oneoff", &arguments).is_err());
}
