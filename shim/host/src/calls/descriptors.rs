//! Calls on file descriptors of any kind.

use wasmtime::Caller;

use super::sockets::NONBLOCK;
use super::{Call, inner};
use crate::errno::Errno;
use crate::instance::{Instance, split};
use crate::socket::Kind;
use crate::table::{Entry, Fd};

/// The file type of sockets.
const SOCKET_STREAM: u8 = 6;

/// Rights, by their bits.
mod rights {
    pub(super) const FD_READ: u64 = 1 << 1;
    pub(super) const FD_FDSTAT_SET_FLAGS: u64 = 1 << 3;
    pub(super) const FD_WRITE: u64 = 1 << 6;
    pub(super) const FD_FILESTAT_GET: u64 = 1 << 21;
    pub(super) const POLL_FD_READWRITE: u64 = 1 << 27;
    pub(super) const SOCK_SHUTDOWN: u64 = 1 << 28;
    pub(super) const SOCK_ACCEPT: u64 = 1 << 29;
}

pub(super) fn fd_close(caller: &mut Caller<'_, Instance>, fd: Fd) -> Call {
    let instance = caller.data_mut();
    match instance.table.remove(fd) {
        Entry::Free => Err(Errno::BADF.into()),
        entry => close(caller, entry),
    }
}

pub(super) fn fd_renumber(caller: &mut Caller<'_, Instance>, from: Fd, to: Fd) -> Call {
    let instance = caller.data_mut();
    for fd in [from, to] {
        if matches!(instance.table.get(fd), Entry::Free) {
            return Err(Errno::BADF.into());
        }
    }
    if from == to {
        return Ok(());
    }
    instance.unwatch(from);
    let replaced = instance.table.renumber(from, to);
    // The descriptor is renumbered even if closing the one that had the number fails.
    let _ = close(caller, replaced);
    Ok(())
}

pub(super) fn fd_fdstat_get(caller: &mut Caller<'_, Instance>, fd: Fd, out: u32) -> Call {
    let (flags, rights) = match caller.data().table.get(fd) {
        Entry::Free => return Err(Errno::BADF.into()),
        &(Entry::Stdio(inner) | Entry::Inner(inner)) => {
            return inner::fd_fdstat_get(caller, inner, out);
        }
        Entry::Socket(socket) => {
            let flags = if socket.nonblock { NONBLOCK as u8 } else { 0 };
            (flags, rights_of(&socket.kind))
        }
    };
    let mut stat = [0_u8; 24];
    stat[0] = SOCKET_STREAM;
    stat[2] = flags;
    stat[8..16].copy_from_slice(&rights.to_le_bytes());
    let (mut memory, _) = split(caller)?;
    Ok(memory.put(out, stat)?)
}

pub(super) fn fd_fdstat_set_flags(caller: &mut Caller<'_, Instance>, fd: Fd, flags: u32) -> Call {
    match caller.data().table.get(fd) {
        Entry::Free => return Err(Errno::BADF.into()),
        &(Entry::Stdio(inner) | Entry::Inner(inner)) => {
            return inner::fd_fdstat_set_flags(caller, inner, flags);
        }
        Entry::Socket(_) if flags & !NONBLOCK != 0 => return Err(Errno::INVAL.into()),
        Entry::Socket(_) => {}
    }
    if let Some(socket) = caller.data_mut().table.socket(fd) {
        socket.nonblock = flags & NONBLOCK != 0;
    }
    Ok(())
}

pub(super) fn fd_filestat_get(caller: &mut Caller<'_, Instance>, fd: Fd, out: u32) -> Call {
    match caller.data().table.get(fd) {
        Entry::Free => return Err(Errno::BADF.into()),
        &(Entry::Stdio(inner) | Entry::Inner(inner)) => {
            return inner::fd_filestat_get(caller, inner, out);
        }
        Entry::Socket(_) => {}
    }
    let mut stat = [0_u8; 64];
    stat[16] = SOCKET_STREAM;
    let (mut memory, _) = split(caller)?;
    Ok(memory.put(out, stat)?)
}

/// Closes a descriptor that was removed from the table. The standard streams also belong to the host, and stay open.
fn close(caller: &mut Caller<'_, Instance>, entry: Entry) -> Call {
    match entry {
        Entry::Inner(inner) => inner::fd_close(caller, inner),
        Entry::Socket(socket) => {
            caller.data_mut().close(*socket);
            Ok(())
        }
        Entry::Stdio(_) | Entry::Free => Ok(()),
    }
}

fn rights_of(kind: &Kind) -> u64 {
    use rights::*;
    let both = FD_FDSTAT_SET_FLAGS | FD_FILESTAT_GET | POLL_FD_READWRITE;
    match kind {
        Kind::Listener(_) => both | SOCK_ACCEPT,
        Kind::Stream(_) => both | FD_READ | FD_WRITE | SOCK_SHUTDOWN,
    }
}
