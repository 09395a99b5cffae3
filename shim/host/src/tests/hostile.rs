//! A guest that makes calls with anything at all. It gets an error number or a trap, and the host goes on.
//!
//! `HOST_SEEDS` and `HOST_CALLS` set how much is tried. A failure names the seed.

use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{sleep, spawn};
use std::time::Duration;

use super::puppet::{CALLS, NONBLOCK, Puppet, Sub, encode};
use crate::phase::Phase;
use crate::settings::Settings;
use crate::table::Entry;

/// Numbers that are likely to do harm, as arguments of any kind.
const NASTY: [u64; 20] = [
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    0x100,
    0x200,
    0x1000,
    0x8000,
    END - 1,
    END,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_fffe,
    0xffff_ffff,
    u64::MAX,
];

/// The end of the puppet's memory.
const PAGES: u32 = 4;
const END: u64 = PAGES as u64 * 0x1_0000;

/// A small generator (xorshift). A seed makes the same calls everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, most: u64) -> u64 {
        self.next() % most
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len() as u64) as usize]
    }
}

/// A directory that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(seed: u64) -> Self {
        let name = format!("wasip1-host-{}-{seed}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(path.join("guest")).expect("a directory");
        std::fs::write(path.join("outside"), "secret").expect("a file");
        Self(path)
    }

    fn guest(&self) -> String {
        self.0.join("guest").display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn settings(folder: &Folder) -> Settings {
    Settings {
        dirs: vec![(folder.guest(), "/".to_owned())],
        max_open: Some(64),
        memory: 64 << 20,
        ..Settings::default()
    }
}

/// A guest with connections, and with names, lists and buffers in its memory.
fn guest(settings: Settings, random: &mut Random) -> (Puppet, Vec<TcpStream>) {
    let mut puppet = Puppet::with(settings, PAGES);
    // The directory is 3, the listener 4.
    puppet.set_nonblock(4);
    let mut clients = Vec::new();
    for _ in 0..3 {
        let address = puppet.address.expect("a listener");
        clients.push(TcpStream::connect(address).expect("a connection"));
        puppet.accept(4, NONBLOCK).expect("a connection");
    }
    for at in [0x100, 0x200, 0x300] {
        let name = *random.of(&["a", "b/c", "../outside", "/etc/passwd", ".", "..", "a\0b"]);
        puppet.put(at, name.as_bytes());
    }
    // Buffers, good and bad.
    for index in 0..8 {
        let at = *random.of(&NASTY) as u32;
        let len = *random.of(&NASTY) as u32;
        puppet.put(0x400 + index * 8, &at.to_le_bytes());
        puppet.put(0x404 + index * 8, &len.to_le_bytes());
    }
    for index in 0..8 {
        let sub = match random.below(4) {
            0 => Sub::Read(random.below(9) as u32),
            1 => Sub::Write(random.below(9) as u32),
            2 => Sub::After(random.below(1000)),
            _ => Sub::At(random.below(4) as u32, *random.of(&NASTY)),
        };
        puppet.put(0x1000 + index * 48, &encode(random.next(), sub));
    }
    (puppet, clients)
}

/// Ends a guest that waits, as an operator would, so that a test always ends.
struct Watchdog(Arc<AtomicU64>);

impl Watchdog {
    fn new(puppet: &Puppet) -> Self {
        let calls = Arc::new(AtomicU64::new(1));
        let (seen, phase, waker) = (
            Arc::downgrade(&calls),
            puppet.phase.clone(),
            puppet.waker.clone(),
        );
        spawn(move || {
            let mut last = 0;
            loop {
                sleep(Duration::from_millis(100));
                let Some(calls) = seen.upgrade() else { return };
                let now = calls.load(Ordering::Relaxed);
                if now == last {
                    phase.advance(Phase::Stopping);
                    let _ = waker.wake();
                }
                last = now;
            }
        });
        Self(calls)
    }
}

/// Whether the call would read the tests' own standard input, or end the host by its nature.
fn is_left_out(name: &str, arguments: &[u64]) -> bool {
    let reads = matches!(name, "fd_read" | "fd_pread" | "sock_recv");
    let writes = matches!(name, "fd_write" | "fd_pwrite" | "sock_send");
    (reads || writes) && arguments[0] as u32 <= 2
}

/// Makes `calls` random calls, in guests that are made anew after each trap.
fn rampage(seed: u64, calls: u64) {
    let folder = Folder::new(seed);
    let mut random = Random(seed * 0x9e37_79b9_7f4a_7c15 + 1);
    let mut made = 0;
    while made < calls {
        let (mut puppet, _clients) = guest(settings(&folder), &mut random);
        let watchdog = Watchdog::new(&puppet);
        for _ in 0..200 {
            made += 1;
            watchdog.0.store(made + 1, Ordering::Relaxed);
            let (name, kinds) = *random.of(CALLS);
            let arguments: Vec<u64> = kinds
                .chars()
                .enumerate()
                .map(|(at, _)| match random.below(4) {
                    // Good ones, so that the calls get somewhere.
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
            let table = &puppet.store.data().table;
            assert!(table.open() <= 64 + 3 + 1 + 1, "{name} {arguments:?}");
        }
        check_streams(&mut puppet);
    }
    let outside = std::fs::read_to_string(folder.0.join("outside"));
    assert_eq!(outside.expect("a file"), "secret");
    let all = std::fs::read_dir(&folder.0).expect("a directory").count();
    assert_eq!(
        all, 2,
        "something was made outside of the guest's directory"
    );
}

/// The host counts the open connections correctly.
fn check_streams(puppet: &mut Puppet) {
    let instance = puppet.store.data();
    let is_stream = |fd: &u32| match instance.table.get(*fd) {
        Entry::Socket(socket) => matches!(socket.kind, crate::socket::Kind::Stream(_)),
        _ => false,
    };
    assert_eq!((0..200).filter(is_stream).count(), instance.streams);
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
        let outcome = std::panic::catch_unwind(|| rampage(seed, from_env("HOST_CALLS", 2000)));
        assert!(outcome.is_ok(), "seed {seed}");
    }
}

#[test]
fn each_argument_of_each_call() {
    let folder = Folder::new(0);
    let mut random = Random(1);
    let (mut puppet, mut _clients) = guest(settings(&folder), &mut random);
    let mut watchdog = Watchdog::new(&puppet);
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
                    watchdog = Watchdog::new(&puppet);
                }
            }
        }
    }
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
