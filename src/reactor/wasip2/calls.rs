//! The calls of `wasi:sockets`, `wasi:io` and `wasi:clocks` that a server needs. Each call writes a line to
//! the log, like strace:
//!
//! ```text
//! tcp-socket.accept(5) = 9 <14.2us>
//! input-stream.read(9, 8192) = 82 <3.1us>
//! output-stream.check-write(9) = 65536 <0.6us>
//! poll([clock 66.6s, 5:accept, 9:read]) = [9:read] <112.0us>
//! ```
//!
//! The numbers are the handles of the sockets; a stream or a pollable is shown by the handle of its socket. The
//! lines have level `trace` and target `wasi`.

use std::fmt::{self, Display};
use std::io;
use std::time::Duration;

use poll_turns::trace::{TARGET, call, is_on, list};
use wasip2::clocks::monotonic_clock;
use wasip2::io::poll::{Pollable, poll as poll_list};
use wasip2::io::streams::{InputStream, OutputStream, StreamError};
use wasip2::sockets::network::{ErrorCode, IpSocketAddress};
use wasip2::sockets::tcp::{ShutdownType, TcpSocket};

use super::addr;

/// What a pollable is for: the socket's handle, and its direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Clock,
    Accept(u32),
    Read(u32),
    Write(u32),
}

pub(super) fn accept(
    listener: &TcpSocket,
) -> Result<(TcpSocket, InputStream, OutputStream), ErrorCode> {
    on_socket(
        format_args!("accept({})", listener.handle()),
        || listener.accept(),
        |(socket, ..)| socket.handle(),
    )
}

pub(super) fn remote_address(socket: &TcpSocket) -> Result<IpSocketAddress, ErrorCode> {
    on_socket(
        format_args!("remote-address({})", socket.handle()),
        || socket.remote_address(),
        |it| addr::to_std(*it),
    )
}

pub(super) fn local_address(socket: &TcpSocket) -> Result<IpSocketAddress, ErrorCode> {
    on_socket(
        format_args!("local-address({})", socket.handle()),
        || socket.local_address(),
        |it| addr::to_std(*it),
    )
}

pub(super) fn shutdown(socket: &TcpSocket) -> Result<(), ErrorCode> {
    on_socket(
        format_args!("shutdown({}, send)", socket.handle()),
        || socket.shutdown(ShutdownType::Send),
        |()| "ok",
    )
}

pub(super) fn set_send_buffer_size(socket: &TcpSocket, size: u64) -> Result<(), ErrorCode> {
    on_socket(
        format_args!("set-send-buffer-size({}, {size})", socket.handle()),
        || socket.set_send_buffer_size(size),
        |()| "ok",
    )
}

/// The current size in bytes, which may differ from the one that was set.
pub(super) fn send_buffer_size(socket: &TcpSocket) -> Result<u64, ErrorCode> {
    on_socket(
        format_args!("send-buffer-size({})", socket.handle()),
        || socket.send_buffer_size(),
        |size| *size,
    )
}

/// Turns on keep-alive probes, with these times and this number of them.
pub(super) fn set_keep_alive(
    socket: &TcpSocket,
    after: Duration,
    interval: Duration,
    count: u32,
) -> Result<(), ErrorCode> {
    let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let of = socket.handle();
    let set = || {
        socket.set_keep_alive_idle_time(nanos(after))?;
        socket.set_keep_alive_interval(nanos(interval))?;
        socket.set_keep_alive_count(count)?;
        socket.set_keep_alive_enabled(true)
    };
    on_socket(
        format_args!("set-keep-alive({of}, {after:?}, {interval:?}, {count})"),
        set,
        |()| "ok",
    )
}

pub(super) fn read(handle: u32, stream: &InputStream, len: usize) -> Result<Vec<u8>, StreamError> {
    traced(
        || stream.read(len as u64),
        |f| write!(f, "input-stream.read({handle}, {len})"),
        |result, f| shown(result, |bytes| bytes.len(), f),
    )
}

/// How many bytes the next [`write`] may have. If it has more, the host ends the program.
pub(super) fn check_write(handle: u32, stream: &OutputStream) -> Result<usize, StreamError> {
    traced(
        || stream.check_write(),
        |f| write!(f, "output-stream.check-write({handle})"),
        |result, f| shown(result, |room| *room, f),
    )
    .map(|room| usize::try_from(room).unwrap_or(usize::MAX))
}

pub(super) fn write(handle: u32, stream: &OutputStream, bytes: &[u8]) -> Result<(), StreamError> {
    traced(
        || stream.write(bytes),
        |f| write!(f, "output-stream.write({handle}, [{}])", bytes.len()),
        |result, f| shown(result, |()| "ok", f),
    )
}

/// Waits until one of the pollables is ready. Returns the indices of those that are ready. The list must not be
/// empty. `name` returns the name of an entry, for the log.
pub(super) fn poll(pollables: &[&Pollable], name: impl Fn(usize) -> Name) -> Vec<u32> {
    debug_assert!(!pollables.is_empty(), "the host ends the program for that");
    traced(
        || poll_list(pollables),
        |f| {
            write!(f, "poll(")?;
            names(f, pollables.len(), &name)?;
            write!(f, ")")
        },
        |ready, f| names(f, ready.len(), |at| name(ready[at] as usize)),
    )
}

/// Logs that a socket is dropped, with its streams and pollables.
pub(super) fn log_drop(handle: u32) {
    if is_on() {
        crate::log::trace!(target: TARGET, "drop({handle})");
    }
}

pub(super) fn now() -> u64 {
    monotonic_clock::now()
}

/// The error of a stream. `None`: it is closed, without an error.
pub(super) fn stream_error(error: StreamError) -> Option<io::Error> {
    match error {
        StreamError::Closed => None,
        StreamError::LastOperationFailed(error) => Some(io::Error::other(error.to_debug_string())),
    }
}

/// The error of a socket.
pub(crate) fn socket_error(code: ErrorCode) -> io::Error {
    let kind = match code {
        ErrorCode::WouldBlock => return io::ErrorKind::WouldBlock.into(),
        ErrorCode::AccessDenied => io::ErrorKind::PermissionDenied,
        ErrorCode::AddressInUse => io::ErrorKind::AddrInUse,
        ErrorCode::AddressNotBindable => io::ErrorKind::AddrNotAvailable,
        ErrorCode::ConnectionAborted => io::ErrorKind::ConnectionAborted,
        ErrorCode::ConnectionReset => io::ErrorKind::ConnectionReset,
        ErrorCode::NotSupported => io::ErrorKind::Unsupported,
        ErrorCode::OutOfMemory => io::ErrorKind::OutOfMemory,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, code.name())
}

/// Makes a call on a socket, and logs it if that is enabled. `shown` returns what is logged of the result.
fn on_socket<T, S: Display>(
    name: fmt::Arguments<'_>,
    run: impl FnOnce() -> Result<T, ErrorCode>,
    shown: impl Fn(&T) -> S,
) -> Result<T, ErrorCode> {
    traced(
        run,
        |f| write!(f, "tcp-socket.{name}"),
        |result, f| match result {
            Ok(value) => shown(value).fmt(f),
            Err(code) => f.write_str(code.name()),
        },
    )
}

/// Makes a call, and logs it if that is enabled.
fn traced<T>(
    run: impl FnOnce() -> T,
    name: impl Fn(&mut fmt::Formatter<'_>) -> fmt::Result,
    value: impl Fn(&T, &mut fmt::Formatter<'_>) -> fmt::Result,
) -> T {
    call(now, run, name, value)
}

fn shown<T, S: Display>(
    result: &Result<T, StreamError>,
    value: impl Fn(&T) -> S,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    match result {
        Ok(ok) => value(ok).fmt(f),
        Err(StreamError::Closed) => f.write_str("closed"),
        Err(StreamError::LastOperationFailed(error)) => f.write_str(&error.to_debug_string()),
    }
}

fn names(f: &mut fmt::Formatter<'_>, count: usize, name: impl Fn(usize) -> Name) -> fmt::Result {
    list(f, (0..count).map(name), count)
}

impl Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clock => f.write_str("clock"),
            Self::Accept(handle) => write!(f, "{handle}:accept"),
            Self::Read(handle) => write!(f, "{handle}:read"),
            Self::Write(handle) => write!(f, "{handle}:write"),
        }
    }
}
