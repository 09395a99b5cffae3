//! What `hostile.rs` and `fuzz.rs` share: a guest that makes any call with any arguments, and checks of the host.

use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{sleep, spawn};
use std::time::Duration;

use super::puppet::{NONBLOCK, Puppet, Sub, encode};
use crate::phase::Phase;
use crate::settings::Settings;
use crate::table::Entry;

/// Numbers that are likely to do harm, as arguments of any kind.
pub(super) const NASTY: [u64; 20] = [
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

/// How many pages of memory the puppet has.
pub(super) const PAGES: u32 = 4;
/// The end of that memory.
const END: u64 = PAGES as u64 * 0x1_0000;

/// A small generator (xorshift). A seed makes the same calls everywhere.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(super) fn below(&mut self, most: u64) -> u64 {
        self.next() % most
    }

    pub(super) fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len() as u64) as usize]
    }
}

/// A directory that is removed at the end.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(seed: u64) -> Self {
        let name = format!("wasip1-host-{}-{seed}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(path.join("guest")).expect("a directory");
        std::fs::write(path.join("outside"), "secret").expect("a file");
        Self(path)
    }

    pub(super) fn guest(&self) -> String {
        self.0.join("guest").display().to_string()
    }

    /// Nothing outside of the guest's directory has changed.
    pub(super) fn check(&self) {
        let outside = std::fs::read_to_string(self.0.join("outside"));
        assert_eq!(outside.expect("a file"), "secret");
        let all = std::fs::read_dir(&self.0).expect("a directory").count();
        assert_eq!(all, 2, "something is outside of the guest's directory");
    }

    /// Empties the guest's directory.
    #[cfg(feature = "fuzzing")]
    pub(super) fn clear(&self) {
        std::fs::remove_dir_all(self.0.join("guest")).expect("a directory");
        std::fs::create_dir(self.0.join("guest")).expect("a directory");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// How many sockets and files the guest may open.
const OPEN: usize = 64;

pub(super) fn settings(folder: &Folder) -> Settings {
    Settings {
        dirs: vec![(folder.guest(), "/".to_owned())],
        max_open: Some(OPEN),
        memory: 64 << 20,
        ..Settings::default()
    }
}

/// A guest with connections, and with names, lists and buffers in its memory.
pub(super) fn guest(settings: Settings, random: &mut Random) -> (Puppet, Vec<TcpStream>) {
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

/// How long a call may wait. A call that doesn't wait takes much less, even on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_millis(100);

/// Ends a guest that waits, as an operator would, so that a test always ends.
pub(super) struct Watchdog(pub(super) Arc<AtomicU64>);

impl Watchdog {
    pub(super) fn new(puppet: &Puppet, patience: Duration) -> Self {
        let calls = Arc::new(AtomicU64::new(1));
        let (seen, phase, waker) = (
            Arc::downgrade(&calls),
            puppet.phase.clone(),
            puppet.waker.clone(),
        );
        spawn(move || {
            let mut last = 0;
            loop {
                sleep(patience);
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

/// Whether the call would read or write the standard streams of the tests themselves.
pub(super) fn is_left_out(name: &str, arguments: &[u64]) -> bool {
    let reads = matches!(name, "fd_read" | "fd_pread" | "sock_recv");
    let writes = matches!(name, "fd_write" | "fd_pwrite" | "sock_send");
    (reads || writes) && arguments[0] as u32 <= 2
}

/// The guest has no more than it may, and the host counts its connections correctly.
pub(super) fn check(puppet: &Puppet) {
    let instance = puppet.store.data();
    // Besides the standard streams, the directory and the listener.
    let open = instance.table.open();
    assert!(open <= OPEN + 5, "{open} are open");
    let is_stream = |fd: &u32| match instance.table.get(*fd) {
        Entry::Socket(socket) => matches!(socket.kind, crate::socket::Kind::Stream(_)),
        _ => false,
    };
    assert_eq!((0..200).filter(is_stream).count(), instance.streams);
}
