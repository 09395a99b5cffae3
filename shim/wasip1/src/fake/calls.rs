//! The calls of the fake runtime, except for `poll_oneoff`.

use std::cell::RefCell;
use std::io::IoSlice;
use std::rc::Rc;

use super::Fake;
use super::personality::SendMore;
use super::world::{Object, Socket, World};
use crate::errno::Errno;
use crate::wasi::{ClockId, Event, Fd, FdFlags, Fdstat, SendFlags, Shutdown, Subscription, Wasi};

impl Wasi for Fake {
    fn poll_oneoff(
        &self,
        subscriptions: &[Subscription],
        events: &mut [Event],
    ) -> Result<usize, Errno> {
        self.poll(subscriptions, events)
    }

    fn sock_accept(&self, fd: Fd, flags: FdFlags) -> Result<Fd, Errno> {
        self.call(|world| {
            world.counts.accepts += 1;
            let faults = world.personality.faults;
            world.inject(faults.interrupted, &[Errno::INTR])?;
            world.inject(faults.again, &[Errno::AGAIN])?;
            let failures = [Errno::CONNABORTED, Errno::MFILE, Errno::NOMEM, Errno::IO];
            world.inject(faults.accept_fails, &failures)?;
            if !world.has_descriptors() {
                return Err(Errno::IO);
            }
            let socket = match world.object(fd, "sock_accept") {
                Some(Object::Listener {
                    backlog,
                    nonblock,
                    canceled,
                }) => match backlog.pop_front() {
                    Some(socket) => socket,
                    None if *canceled => return Err(Errno::CANCELED),
                    None if *nonblock => return Err(Errno::AGAIN),
                    None => panic!("sock_accept on fd {fd} would block the whole process"),
                },
                Some(Object::Stream { .. }) => return Err(Errno::INVAL),
                Some(Object::Directory(_)) => return Err(Errno::NOTSOCK),
                None => return Err(Errno::BADF),
            };
            let stream = Object::Stream {
                socket: socket.clone(),
                nonblock: flags.is_nonblock() && !world.personality.silence.accept_flags,
            };
            let new = world.open(stream);
            let mut socket = socket.borrow_mut();
            socket.fd = Some(new);
            socket.accepted_at = Some(world.now());
            Ok(new)
        })
    }

    fn fd_read(&self, fd: Fd, buf: &mut [u8]) -> Result<usize, Errno> {
        self.call(|world| {
            world.counts.reads += 1;
            let faults = world.personality.faults;
            world.inject(faults.interrupted, &[Errno::INTR])?;
            world.inject(faults.again, &[Errno::AGAIN])?;
            let most = world.limit(buf.len());
            let (socket, nonblock) = match world.object(fd, "fd_read") {
                Some(Object::Stream { socket, nonblock }) => (socket.clone(), *nonblock),
                Some(_) => return Err(Errno::NOTSUP),
                None => return Err(Errno::BADF),
            };
            let now = world.now();
            socket.borrow_mut().read_at.get_or_insert(now);
            world.fail(&socket)?;
            let mut socket = socket.borrow_mut();
            if socket.reset {
                return Err(Errno::CONNRESET);
            }
            let count = most.min(socket.to_server.len());
            if count == 0 && !socket.client_shut_writing {
                assert!(nonblock, "fd_read on fd {fd} would block the whole process");
                return Err(Errno::AGAIN);
            }
            for (to, from) in buf.iter_mut().zip(socket.to_server.drain(..count)) {
                *to = from;
            }
            Ok(count)
        })
    }

    fn fd_write(&self, fd: Fd, bufs: &[IoSlice<'_>]) -> Result<usize, Errno> {
        self.call(|world| write(world, fd, bufs, false))
    }

    fn sock_send(&self, fd: Fd, bufs: &[IoSlice<'_>], flags: SendFlags) -> Result<usize, Errno> {
        self.call(|world| {
            let held = match (world.personality.send_more, flags) {
                (_, SendFlags(0)) | (SendMore::Ignored, _) => false,
                (SendMore::Held, SendFlags::MORE) => true,
                _ => return Err(Errno::NOTSUP),
            };
            write(world, fd, bufs, held)
        })
    }

    fn sock_shutdown(&self, fd: Fd, how: Shutdown) -> Result<(), Errno> {
        self.call(|world| {
            let socket = match world.object(fd, "sock_shutdown") {
                Some(Object::Stream { socket, .. }) => Rc::clone(socket),
                Some(Object::Listener { .. }) => {
                    world
                        .record_violation(format!("sock_shutdown on fd {fd}, which is a listener"));
                    return Err(Errno::NOTSOCK);
                }
                Some(_) => return Err(Errno::NOTSOCK),
                None => return Err(Errno::BADF),
            };
            world.fail(&socket)?;
            let mut socket = socket.borrow_mut();
            if socket.reset {
                return Err(Errno::NOTCONN);
            }
            if how == Shutdown::Both && world.personality.silence.shutdown_both {
                return Ok(());
            }
            if how != Shutdown::Read {
                socket.server_shut_writing = true;
                socket.held = 0;
            }
            socket.server_shut_reading |= how != Shutdown::Write;
            Ok(())
        })
    }

    fn fd_close(&self, fd: Fd) -> Result<(), Errno> {
        self.call(|world| {
            let is_listener = matches!(world.peek(fd), Some(Object::Listener { .. }));
            if is_listener && world.keeps_listeners {
                return Err(Errno::NOTSUP);
            }
            if world.close(fd) {
                Ok(())
            } else {
                Err(Errno::BADF)
            }
        })
    }

    fn fd_fdstat_get(&self, fd: Fd) -> Result<Fdstat, Errno> {
        self.call(|world| {
            let object = world.peek(fd).ok_or(Errno::BADF)?;
            let nonblock = match object {
                Object::Directory(_) => false,
                Object::Listener { nonblock, .. } | Object::Stream { nonblock, .. } => *nonblock,
            };
            let flags = if nonblock {
                FdFlags::NONBLOCK
            } else {
                FdFlags::EMPTY
            };
            Ok(Fdstat {
                file_type: object.file_type(),
                flags,
            })
        })
    }

    fn fd_fdstat_set_flags(&self, fd: Fd, flags: FdFlags) -> Result<(), Errno> {
        self.call(|world| {
            let is_silent = world.personality.silence.listener_flags;
            match world.object(fd, "fd_fdstat_set_flags") {
                Some(Object::Listener { .. }) if is_silent => Ok(()),
                Some(Object::Listener { nonblock, .. } | Object::Stream { nonblock, .. }) => {
                    *nonblock = flags.is_nonblock();
                    Ok(())
                }
                Some(Object::Directory(_)) => Err(Errno::NOTSUP),
                None => Err(Errno::BADF),
            }
        })
    }

    fn fd_prestat_get(&self, fd: Fd) -> Result<usize, Errno> {
        self.call(|world| match world.peek(fd) {
            Some(Object::Directory(name)) => Ok(name.len()),
            _ => Err(Errno::BADF),
        })
    }

    fn fd_prestat_dir_name(&self, fd: Fd, to: &mut [u8]) -> Result<(), Errno> {
        self.call(|world| match world.peek(fd) {
            Some(Object::Directory(name)) if name.len() <= to.len() => {
                to[..name.len()].copy_from_slice(name.as_bytes());
                Ok(())
            }
            Some(Object::Directory(_)) => Err(Errno::NAMETOOLONG),
            _ => Err(Errno::BADF),
        })
    }

    fn clock_time_get(&self, clock: ClockId) -> Result<u64, Errno> {
        // Some day in 2026; tests must not depend on the real one.
        const EPOCH: u64 = 1_790_000_000_000_000_000;
        let now = self.now();
        match clock {
            ClockId::Realtime => Ok(EPOCH + now),
            ClockId::Monotonic => self.0.borrow_mut().monotonic(now),
        }
    }
}

impl World {
    /// Injects a fault: fails with one of `errnos`, in `per_mille` of 1,000 cases.
    pub(super) fn inject(&mut self, per_mille: u16, errnos: &[Errno]) -> Result<(), Errno> {
        if !self.chance(per_mille) {
            return Ok(());
        }
        Err(errnos[self.rng.below(errnos.len() as u64) as usize])
    }

    /// Injects a fault of a call on `socket`, and records it.
    fn fail(&mut self, socket: &RefCell<Socket>) -> Result<(), Errno> {
        let failures = [
            Errno::IO,
            Errno::NOMEM,
            Errno::CONNRESET,
            Errno::PIPE,
            Errno::TIMEDOUT,
        ];
        let result = self.inject(self.personality.faults.call_fails, &failures);
        socket.borrow_mut().faulted |= result.is_err();
        result
    }

    /// The monotonic clock; with faults, it may fail or go back.
    fn monotonic(&mut self, now: u64) -> Result<u64, Errno> {
        if !self.chance(self.personality.faults.clock) {
            return Ok(now);
        }
        match self.rng.below(4) {
            0 => Err(Errno::IO),
            _ => Ok(now.saturating_sub(self.rng.below(1_000_000))),
        }
    }

    /// How many of the `wanted` bytes a call transfers at most; with faults, it may be fewer.
    fn limit(&mut self, wanted: usize) -> usize {
        if wanted > 1 && self.chance(self.personality.faults.short) {
            return 1 + self.rng.below(wanted as u64 - 1) as usize;
        }
        wanted
    }
}

impl Fake {
    fn call<T>(&self, run: impl FnOnce(&mut World) -> Result<T, Errno>) -> Result<T, Errno> {
        let (result, cost) = {
            let mut world = self.0.borrow_mut();
            world.counts.all += 1;
            let result = run(&mut world);
            world.counts.again += u64::from(matches!(result, Err(Errno::AGAIN)));
            let costs = world.personality.costs;
            let cost = if result.is_ok() {
                costs.call
            } else {
                costs.failure
            };
            (result, cost)
        };
        self.pass(cost);
        result
    }
}

/// Writes to a stream. If `hold`, the client gets the bytes with the next ones, or with the end.
fn write(world: &mut World, fd: Fd, bufs: &[IoSlice<'_>], hold: bool) -> Result<usize, Errno> {
    world.counts.writes += 1;
    let faults = world.personality.faults;
    world.inject(faults.interrupted, &[Errno::INTR])?;
    world.inject(faults.again, &[Errno::AGAIN])?;
    let wanted: usize = bufs.iter().map(|buf| buf.len()).sum();
    let most = world.limit(wanted);
    let (socket, nonblock) = match world.object(fd, "fd_write") {
        Some(Object::Stream { socket, nonblock }) => (socket.clone(), *nonblock),
        Some(_) => return Err(Errno::NOTSUP),
        None => return Err(Errno::BADF),
    };
    world.fail(&socket)?;
    let mut socket = socket.borrow_mut();
    if socket.reset {
        return Err(Errno::CONNRESET);
    }
    if socket.server_shut_writing {
        return Err(Errno::PIPE);
    }
    let count = most.min(socket.free());
    if count == 0 && wanted > 0 && world.personality.silence.write {
        return Ok(0);
    }
    if count == 0 && wanted > 0 {
        assert!(
            nonblock,
            "fd_write on fd {fd} would block the whole process"
        );
        return Err(Errno::AGAIN);
    }
    let mut left = count;
    for buf in bufs {
        let taken = &buf[..left.min(buf.len())];
        socket.to_client.extend(taken);
        left -= taken.len();
    }
    // What doesn't fit in the last packet isn't held.
    socket.held = match hold && count == wanted {
        true => socket.held + count,
        false => 0,
    };
    socket.written_at = world.now();
    Ok(count)
}
