//! The calls `sock_accept` and `sock_shutdown`.

use std::io;
use std::net::Shutdown;

use mio::Interest;
use mio::net::TcpStream;
use wasmtime::Caller;

use super::transfer::is_socket;
use super::{Call, Fault};
use crate::errno::Errno;
use crate::instance::{Instance, Stopped, split};
use crate::phase::Phase;
use crate::socket::{Kind, Socket};
use crate::table::Fd;

/// The flag of a file descriptor whose calls don't block.
pub(super) const NONBLOCK: u32 = 1 << 2;

/// The error of a listener that is closed because the host drains. `accept` of POSIX never returns it, so a guest can
/// treat it as the request to finish.
pub(crate) const LISTENER_ENDED: Errno = Errno::CANCELED;

pub(super) fn sock_accept(caller: &mut Caller<'_, Instance>, fd: Fd, flags: u32, out: u32) -> Call {
    is_socket(caller.data(), fd)?;
    if flags & !NONBLOCK != 0 {
        return Err(Errno::INVAL.into());
    }
    let (mut memory, instance) = split(caller)?;
    // Checked before accepting, because a connection without a number would be lost.
    memory.bytes(out, 4)?;
    instance.table.has_room()?;
    let stream = accept(instance, fd)?;
    // It is registered with the kernel when a poll first subscribes to it. A connection with one request may never be.
    let socket = Socket::new(Kind::Stream(stream), flags & NONBLOCK != 0);
    let new = instance.opened(socket);
    Ok(memory.put(out, new.to_le_bytes())?)
}

pub(super) fn sock_shutdown(caller: &mut Caller<'_, Instance>, fd: Fd, how: u32) -> Call {
    let instance = caller.data_mut();
    is_socket(instance, fd)?;
    let how = match how {
        1 => Shutdown::Read,
        2 => Shutdown::Write,
        3 => Shutdown::Both,
        _ => return Err(Errno::INVAL.into()),
    };
    let socket = instance.table.socket(fd).ok_or(Errno::BADF)?;
    let stream = socket.stream().ok_or(Errno::NOTCONN)?;
    stream.shutdown(how).map_err(|error| Errno::from(&error))?;
    Ok(())
}

/// Accepts one connection. Without `NONBLOCK` it waits for one.
fn accept(instance: &mut Instance, fd: Fd) -> Call<TcpStream> {
    loop {
        let drains = instance.phase() >= Phase::Draining;
        instance.give_up_inherited(fd);
        let socket = instance.table.socket(fd).ok_or(Errno::BADF)?;
        let nonblock = socket.nonblock;
        let Kind::Listener(listener) = &mut socket.kind else {
            return Err(Errno::INVAL.into());
        };
        let Some(source) = &listener.socket else {
            return ended(instance, fd);
        };
        match source.accept() {
            Ok((stream, _)) => return Ok(stream),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(Errno::from(&error).into()),
        }
        socket.found_empty();
        if drains {
            // All connections that were waiting are accepted. From now on new ones are refused.
            instance.end_listener(fd);
        } else if nonblock {
            return Err(Errno::AGAIN.into());
        } else {
            instance.block(fd, Interest::READABLE)?;
        }
    }
}

/// The result of accepting from a listener that is closed. The first call returns [`LISTENER_ENDED`]. A later one
/// without `NONBLOCK` blocks until the guest has no connections, and then ends the guest.
fn ended(instance: &mut Instance, fd: Fd) -> Call<TcpStream> {
    let streams = instance.streams;
    let Some(socket) = instance.table.socket(fd) else {
        return Err(Errno::BADF.into());
    };
    let nonblock = socket.nonblock;
    if let Kind::Listener(listener) = &mut socket.kind {
        let is_first = !std::mem::replace(&mut listener.end_seen, true);
        if is_first || nonblock {
            return Err(LISTENER_ENDED.into());
        }
    }
    while streams > 0 && instance.phase() != Phase::Stopping {
        instance.wait(None)?;
    }
    Err(Fault::Trap(Stopped.into()))
}
