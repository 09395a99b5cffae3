//! Reading and writing.

use std::io::{self, IoSlice, Read, Write};

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

/// As many buffers as one call takes: what is behind them is a short read or write.
const BUFFERS: u32 = 64;

pub(super) fn fd_read(caller: Guest<'_, '_>, fd: Fd, iovs: u32, count: u32, out: u32) -> Call {
    let read = match *caller.data().table.get(fd) {
        Entry::Free => return Err(Errno::BADF.into()),
        Entry::Inner(inner) => return inner::fd_read(caller, inner, iovs, count, out),
        Entry::Stdio(0) => {
            let (mut memory, instance) = split(caller)?;
            match first_buffer(&memory, iovs, count)? {
                Some((at, len)) => stdio::read(instance, memory.bytes_mut(at, len)?)? as u32,
                None => 0,
            }
        }
        Entry::Stdio(_) => return Err(Errno::BADF.into()),
        Entry::Socket(_) => {
            let (mut memory, instance) = split(caller)?;
            receive(&mut memory, instance, fd, (iovs, count), false)?
        }
    };
    let (mut memory, _) = split(caller)?;
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
    let written = match *caller.data().table.get(fd) {
        Entry::Free | Entry::Stdio(0) => return Err(Errno::BADF.into()),
        Entry::Inner(inner) => return inner::fd_write(caller, inner, iovs, count, out),
        Entry::Stdio(stream) => {
            let (memory, _) = split(caller)?;
            let mut slices = [IoSlice::new(&[]); BUFFERS as usize];
            let (slices, _) = gather(&memory, (iovs, count), &mut slices)?;
            stdio::write(stream, slices)? as u32
        }
        Entry::Socket(_) => {
            let (memory, instance) = split(caller)?;
            send(&memory, instance, fd, (iovs, count))?
        }
    };
    let (mut memory, _) = split(caller)?;
    Ok(memory.put(out, written.to_le_bytes())?)
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
    if flags != 0 {
        return Err(Errno::NOTSUP.into());
    }
    fd_write(caller, fd, iovs, count, out)
}

/// Fails for what is no socket.
pub(super) fn is_socket(instance: &Instance, fd: Fd) -> Result<(), Errno> {
    match instance.table.get(fd) {
        Entry::Free => Err(Errno::BADF),
        Entry::Stdio(_) | Entry::Inner(_) => Err(Errno::NOTSOCK),
        Entry::Socket(_) => Ok(()),
    }
}

/// Reads into the buffers, one after the other, until one isn't filled.
fn receive(
    memory: &mut Memory<'_>,
    instance: &mut Instance,
    fd: Fd,
    (iovs, count): (u32, u32),
    peek: bool,
) -> Call<u32> {
    let mut total = 0;
    for index in 0..count.min(BUFFERS) {
        let (at, len) = memory.buffer(iovs, index)?;
        let buffer = memory.bytes_mut(at, len)?;
        if buffer.is_empty() {
            continue;
        }
        let mut read = |socket: &mut Socket| read_once(socket, buffer, peek);
        let got = if total == 0 {
            until_ready(instance, fd, Interest::READABLE, read)?
        } else {
            // There is something already. What goes wrong now is for the next call.
            instance
                .table
                .socket(fd)
                .map_or(0, |it| read(it).unwrap_or(0))
        };
        total += got as u32;
        // Peeking again would show the same bytes.
        if got < len as usize || peek {
            break;
        }
    }
    if !peek {
        instance.counters.bytes_read.add(u64::from(total));
    }
    Ok(total)
}

fn read_once(socket: &mut Socket, buffer: &mut [u8], peek: bool) -> io::Result<usize> {
    let stream = socket.stream().ok_or(io::ErrorKind::NotConnected)?;
    if peek {
        return stream.peek(buffer);
    }
    let got = read_stream(stream, buffer)?;
    socket.has_read(got, buffer.len());
    Ok(got)
}

fn read_stream(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Writes the buffers by one call of the system's.
fn send(memory: &Memory<'_>, instance: &mut Instance, fd: Fd, iovs: (u32, u32)) -> Call<u32> {
    let mut slices = [IoSlice::new(&[]); BUFFERS as usize];
    let (slices, offered) = gather(memory, iovs, &mut slices)?;
    let taken = until_ready(instance, fd, Interest::WRITABLE, |socket| {
        let stream = socket.stream().ok_or(io::ErrorKind::NotConnected)?;
        let taken = match slices {
            [one] => stream.write(one)?,
            several => stream.write_vectored(several)?,
        };
        socket.has_written(taken, offered);
        Ok(taken)
    })?;
    instance.counters.bytes_written.add(taken as u64);
    Ok(taken as u32)
}

/// Repeats `attempt` while the socket isn't ready and the guest wants to be blocked.
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
            // The error that ended the connection comes behind the bytes that came before it.
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
        let (ends, nonblock) = (reads && socket.quiet, socket.nonblock);
        match instance.phase() {
            Phase::Stopping => return Err(Fault::Trap(Stopped.into())),
            // To the guest it is as if the peer had ended its sending.
            Phase::Draining if ends => return Ok(0),
            _ if nonblock => return Err(Errno::AGAIN.into()),
            _ => instance.block(fd, interest)?,
        }
    }
}

/// The first buffer that isn't empty.
fn first_buffer(memory: &Memory<'_>, iovs: u32, count: u32) -> Call<Option<(u32, u32)>> {
    for index in 0..count.min(BUFFERS) {
        let (at, len) = memory.buffer(iovs, index)?;
        if len > 0 {
            return Ok(Some((at, len)));
        }
    }
    Ok(None)
}

/// The buffers as slices, and how many bytes they have.
fn gather<'a, 'b>(
    memory: &'a Memory<'_>,
    (iovs, count): (u32, u32),
    slices: &'b mut [IoSlice<'a>; BUFFERS as usize],
) -> Call<(&'b [IoSlice<'a>], usize)> {
    let count = count.min(BUFFERS);
    let mut bytes = 0;
    for (index, slice) in (0..count).zip(slices.iter_mut()) {
        let (at, len) = memory.buffer(iovs, index)?;
        *slice = IoSlice::new(memory.bytes(at, len)?);
        bytes += len as usize;
    }
    Ok((&slices[..count as usize], bytes))
}
