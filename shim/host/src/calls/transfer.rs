//! Reads from sockets, files and the standard input, and writes to sockets, files and the standard output and error.

use std::io::{self, IoSlice, Write};

use mio::Interest;
use mio::net::TcpStream;
use wasmtime::Caller;

use super::{Call, Fault, inner, stdio};
use crate::errno::Errno;
use crate::instance::{Instance, Stopped, split};
use crate::memory::Memory;
use crate::phase::Phase;
use crate::socket::Socket;
use crate::table::{Entry, Fd};

type Guest<'a, 'b> = &'a mut Caller<'b, Instance>;

/// Flags of `sock_recv`.
const PEEK: u32 = 1 << 0;
const WAITALL: u32 = 1 << 1;

/// The flag of `sock_send` for output that is followed at once by more, or by the end of the stream: the system may
/// send both in one packet. Preview 1 defines no flags. This is the number of Linux' `MSG_MORE`.
pub(crate) const MORE: u32 = 0x8000;

/// How many buffers one call uses. With more, it is a short read or write.
const BUFFERS: u32 = 64;

/// The guest's list of buffers: its address and its length.
type Buffers = (u32, u32);

pub(super) fn fd_read(caller: Guest<'_, '_>, fd: Fd, iovs: u32, count: u32, out: u32) -> Call {
    let is_socket = match *caller.data().table.get(fd) {
        Entry::Free | Entry::Stdio(1..) => return Err(Errno::BADF.into()),
        Entry::Inner(inner) => return inner::fd_read(caller, inner, iovs, count, out),
        Entry::Stdio(0) => false,
        Entry::Socket(_) => true,
    };
    let (mut memory, instance) = split(caller)?;
    let read = match is_socket {
        true => receive(&mut memory, instance, fd, (iovs, count), false)?,
        false => fill(&mut memory, (iovs, count), |buffer, is_first| {
            // More than one read could wait for input that doesn't come.
            match is_first {
                true => Ok(stdio::read(instance, buffer)?),
                false => Ok(0),
            }
        })?,
    };
    Ok(memory.put(out, read.to_le_bytes())?)
}

pub(super) fn sock_recv(
    caller: Guest<'_, '_>,
    fd: Fd,
    iovs: u32,
    count: u32,
    flags: u32,
    out: u32,
    out_flags: u32,
) -> Call {
    is_socket(caller.data(), fd)?;
    if flags & !(PEEK | WAITALL) != 0 {
        return Err(Errno::INVAL.into());
    }
    if flags & WAITALL != 0 {
        return Err(Errno::NOTSUP.into());
    }
    let (mut memory, instance) = split(caller)?;
    let peek = flags & PEEK != 0;
    let read = receive(&mut memory, instance, fd, (iovs, count), peek)?;
    memory.put(out, read.to_le_bytes())?;
    Ok(memory.put(out_flags, 0_u16.to_le_bytes())?)
}

pub(super) fn fd_write(caller: Guest<'_, '_>, fd: Fd, iovs: u32, count: u32, out: u32) -> Call {
    write(caller, fd, (iovs, count), out, false)
}

fn write(caller: Guest<'_, '_>, fd: Fd, (iovs, count): Buffers, out: u32, more: bool) -> Call {
    let stream = match *caller.data().table.get(fd) {
        Entry::Free | Entry::Stdio(0) => return Err(Errno::BADF.into()),
        Entry::Inner(inner) => return inner::fd_write(caller, inner, iovs, count, out),
        Entry::Stdio(stream) => Some(stream),
        Entry::Socket(_) => None,
    };
    let (mut memory, instance) = split(caller)?;
    let written = gather(&memory, (iovs, count), |slices| match stream {
        Some(stream) => Ok(stdio::write(stream, slices)?),
        None => send(instance, fd, slices, more),
    })?;
    Ok(memory.put(out, (written as u32).to_le_bytes())?)
}

pub(super) fn sock_send(
    caller: Guest<'_, '_>,
    fd: Fd,
    iovs: u32,
    count: u32,
    flags: u32,
    out: u32,
) -> Call {
    is_socket(caller.data(), fd)?;
    if flags & !MORE != 0 {
        return Err(Errno::NOTSUP.into());
    }
    write(caller, fd, (iovs, count), out, flags & MORE != 0)
}

/// Fails for a file descriptor that isn't a socket.
pub(super) fn is_socket(instance: &Instance, fd: Fd) -> Result<(), Errno> {
    match instance.table.get(fd) {
        Entry::Free => Err(Errno::BADF),
        Entry::Stdio(_) | Entry::Inner(_) => Err(Errno::NOTSOCK),
        Entry::Socket(_) => Ok(()),
    }
}

/// Reads from a socket. If `peek`, the bytes stay there.
fn receive(
    memory: &mut Memory<'_>,
    instance: &mut Instance,
    fd: Fd,
    buffers: Buffers,
    peek: bool,
) -> Call<u32> {
    let total = fill(memory, buffers, |buffer, is_first| {
        let mut read = |socket: &mut Socket| match peek {
            true => socket.peek(buffer),
            false => socket.read(buffer),
        };
        match (is_first, peek) {
            (true, _) => until_ready(instance, fd, Interest::READABLE, read),
            // Peeking again would show the same bytes.
            (false, true) => Ok(0),
            // There are bytes already.
            (false, false) => {
                let socket = instance.table.socket(fd).ok_or(Errno::BADF)?;
                Ok(read(socket).unwrap_or_else(|error| {
                    socket.keep_error(&error);
                    0
                }))
            }
        }
    })?;
    if !peek {
        instance.counters.bytes_read.add(u64::from(total));
    }
    Ok(total)
}

/// Writes to a socket, by one call of the system. If `more`, the guest says that more output or the end follows.
fn send(instance: &mut Instance, fd: Fd, slices: &[IoSlice<'_>], more: bool) -> Call<usize> {
    let offered = slices.iter().map(|slice| slice.len()).sum();
    let taken = until_ready(instance, fd, Interest::WRITABLE, |socket| {
        let stream = socket.stream().ok_or(io::ErrorKind::NotConnected)?;
        let taken = match slices {
            several if more => send_more(stream, several)?,
            [one] => stream.write(one)?,
            several => stream.write_vectored(several)?,
        };
        socket.has_written(taken, offered);
        Ok(taken)
    })?;
    instance.counters.bytes_written.add(taken as u64);
    Ok(taken)
}

#[cfg(target_os = "linux")]
fn send_more(stream: &TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    use rustix::net::{SendAncillaryBuffer, SendFlags, send, sendmsg};
    let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
    let sent = match slices {
        [one] => send(stream, one, flags),
        several => sendmsg(stream, several, &mut SendAncillaryBuffer::default(), flags),
    };
    Ok(sent?)
}

/// Other systems send each write at once.
#[cfg(not(target_os = "linux"))]
fn send_more(mut stream: &TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    stream.write_vectored(slices)
}

/// Makes an attempt, and repeats it when the socket is ready if the guest hasn't set `NONBLOCK`.
fn until_ready(
    instance: &mut Instance,
    fd: Fd,
    interest: Interest,
    mut attempt: impl FnMut(&mut Socket) -> io::Result<usize>,
) -> Call<usize> {
    let reads = interest.is_readable();
    loop {
        let socket = instance.table.socket(fd).ok_or(Errno::BADF)?;
        if !reads && let Some(error) = socket.error.take() {
            return Err(error.into());
        }
        match attempt(socket) {
            // The error that ended the connection follows the bytes that came before it.
            Ok(0) if reads && let Some(error) = socket.error.take() => return Err(error.into()),
            Ok(count) => return Ok(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => match reads {
                true => socket.found_empty(),
                false => socket.found_full(),
            },
            Err(error) => {
                socket.error = None;
                return Err(Errno::from(&error).into());
            }
        }
        let (ends, nonblock) = (reads && socket.idle, socket.nonblock);
        match instance.phase() {
            Phase::Stopping => return Err(Fault::Trap(Stopped.into())),
            // For the guest it looks as if the peer had ended its stream.
            Phase::Draining if ends => return Ok(0),
            _ if nonblock => return Err(Errno::AGAIN.into()),
            _ => instance.block(fd, interest)?,
        }
    }
}

/// Fills the guest's buffers one after the other, until `read` doesn't fill one. `read` is also called with whether
/// it is the first read of the call.
fn fill(
    memory: &mut Memory<'_>,
    (iovs, count): Buffers,
    mut read: impl FnMut(&mut [u8], bool) -> Call<usize>,
) -> Call<u32> {
    let mut total = 0;
    for index in 0..count.min(BUFFERS) {
        let (at, len) = memory.buffer(iovs, index)?;
        let buffer = memory.bytes_mut(at, len)?;
        if buffer.is_empty() {
            continue;
        }
        let got = read(buffer, total == 0)?;
        total += got as u32;
        if got < len as usize {
            break;
        }
    }
    Ok(total)
}

/// Passes the guest's buffers to `write`, as slices.
fn gather<T>(
    memory: &Memory<'_>,
    (iovs, count): Buffers,
    write: impl FnOnce(&[IoSlice<'_>]) -> Call<T>,
) -> Call<T> {
    let slice = |index| -> Call<IoSlice<'_>> {
        let (at, len) = memory.buffer(iovs, index)?;
        Ok(IoSlice::new(memory.bytes(at, len)?))
    };
    if count == 1 {
        // Most have one, which needs no array.
        return write(&[slice(0)?]);
    }
    let mut slices = [IoSlice::new(&[]); BUFFERS as usize];
    let count = count.min(BUFFERS);
    for (index, place) in (0..count).zip(slices.iter_mut()) {
        *place = slice(index)?;
    }
    write(&slices[..count as usize])
}
