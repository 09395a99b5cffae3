//! A guest whose calls are the bytes of a fuzzer, and what its clients do meanwhile.

use std::io::Write;
use std::net::TcpStream;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::puppet::{CALLS, Puppet, half_close, reset};
use super::wild::{Folder, NASTY, Random, Watchdog, check, guest, is_left_out, settings};
use crate::phase::Phase;

/// Addresses of what is in the guest's memory.
const GOOD: [u64; 8] = [0x100, 0x200, 0x300, 0x400, 0x1000, 0x2000, 0x8000, 0x1_0000];

/// How long a call may wait. Many inputs have one that waits, so it is short.
const PATIENCE: Duration = Duration::from_millis(10);

/// The most connections of one input, which is what a listener of this size has to deal with at once.
const CLIENTS: usize = 16;

/// Makes the calls that these bytes stand for. Panics if the guest gets more than it may.
pub(crate) fn run(bytes: &[u8]) {
    static FOLDER: OnceLock<Folder> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| Folder::new(0));
    let mut input = Input(bytes);
    let mut settings = settings(folder);
    let flags = input.byte().unwrap_or(0);
    (settings.edge, settings.trace) = (flags & 1 != 0, flags & 2 != 0);
    let (puppet, clients) = guest(settings, &mut Random(1));
    let watchdog = Watchdog::new(&puppet, PATIENCE);
    let mut world = World { puppet, clients };
    while let Some(step) = input.byte() {
        watchdog.0.fetch_add(1, Ordering::Relaxed);
        if !world.step(step, &mut input) {
            break;
        }
        check(&world.puppet);
    }
    // Otherwise each leaves a port that can't be used for a minute.
    world.clients.into_iter().for_each(reset);
    folder.check();
    folder.clear();
}

/// The fuzzer's bytes that are left.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// A number of `N` bytes. Those that are missing are 0.
    fn number<const N: usize>(&mut self) -> u64 {
        (0..N).fold(0, |value, _| {
            value << 8 | u64::from(self.byte().unwrap_or(0))
        })
    }

    /// An argument of a call.
    fn argument(&mut self) -> u64 {
        let kind = self.byte().unwrap_or(0);
        let which = usize::from(kind >> 2);
        match kind & 3 {
            // A number of a file descriptor or of elements, or flags.
            0 => which as u64,
            1 => GOOD[which % GOOD.len()],
            2 => NASTY[which % NASTY.len()],
            _ => self.number::<8>(),
        }
    }
}

struct World {
    puppet: Puppet,
    clients: Vec<TcpStream>,
}

impl World {
    /// Makes a call, or does something else. Returns whether the guest goes on.
    fn step(&mut self, step: u8, input: &mut Input<'_>) -> bool {
        let step = usize::from(step);
        if let Some((name, kinds)) = CALLS.get(step) {
            let arguments: Vec<u64> = kinds.chars().map(|_| input.argument()).collect();
            return is_left_out(name, &arguments) || self.puppet.raw(name, &arguments).is_ok();
        }
        match step - CALLS.len() {
            0 => self.connect(),
            1 => self.send(input),
            2 => self.with_client(input, |client| half_close(&client)),
            3 => self.with_client(input, reset),
            4 => self.with_client(input, drop),
            5 => {
                self.puppet.phase.advance(Phase::Draining);
                let _ = self.puppet.waker.wake();
            }
            // All other numbers change the guest's memory.
            _ => {
                let at = input.argument() as u32 % 0x1_0000;
                let value = input.argument();
                self.puppet.put(at, &value.to_le_bytes());
            }
        }
        true
    }

    fn connect(&mut self) {
        // Nothing listens if the guest has closed its listener.
        if self.clients.len() < CLIENTS
            && let Some(Ok(client)) = self.puppet.address.map(TcpStream::connect)
        {
            self.clients.push(client);
        }
    }

    fn send(&mut self, input: &mut Input<'_>) {
        let (which, len) = (input.number::<1>() as usize, input.number::<2>() as usize);
        let count = self.clients.len().max(1);
        if let Some(client) = self.clients.get_mut(which % count) {
            let _ = client.set_nonblocking(true);
            // The guest may have reset it, and there may be no room.
            let _ = client.write(&vec![b'x'; len]);
        }
    }

    fn with_client(&mut self, input: &mut Input<'_>, end: impl FnOnce(TcpStream)) {
        let which = input.number::<1>() as usize;
        if !self.clients.is_empty() {
            end(self.clients.swap_remove(which % self.clients.len()));
        }
    }
}
