//! Calls on files and directories. Each number is translated, and wasmtime-wasi does the rest.

use wasmtime::Caller;

use super::{Call, inner};
use crate::errno::Errno;
use crate::instance::{Instance, split};
use crate::table::{Entry, Fd};

type Guest<'a, 'b> = &'a mut Caller<'b, Instance>;

/// Defines `name(caller, fd, arguments...)`. After `else` is the error for a socket.
macro_rules! translated {
    ($( $name:ident ( $($arg:ident : $ty:ty),* ) else $errno:ident; )*) => { $(
        #[allow(clippy::too_many_arguments, reason = "the ABI's")]
        pub(super) fn $name(caller: Guest<'_, '_>, fd: Fd $(, $arg: $ty)*) -> Call {
            let fd = number(caller, fd, Errno::$errno)?;
            inner::$name(caller, fd $(, $arg)*)
        }
    )* };
}

translated! {
    fd_advise(offset: u64, len: u64, advice: u32) else SPIPE;
    fd_allocate(offset: u64, len: u64) else INVAL;
    fd_datasync() else INVAL;
    fd_fdstat_set_rights(base: u64, inheriting: u64) else NOTSUP;
    fd_filestat_set_size(size: u64) else INVAL;
    fd_filestat_set_times(atim: u64, mtim: u64, flags: u32) else INVAL;
    fd_pread(iovs: u32, count: u32, offset: u64, out: u32) else SPIPE;
    // libc calls this from number 3 on. It treats BADF as the end of the directories, and ends the program at any other
    // error.
    fd_prestat_get(out: u32) else BADF;
    fd_prestat_dir_name(path: u32, len: u32) else BADF;
    fd_pwrite(iovs: u32, count: u32, offset: u64, out: u32) else SPIPE;
    fd_readdir(buf: u32, len: u32, cookie: u64, out: u32) else NOTDIR;
    fd_seek(offset: u64, whence: u32, out: u32) else SPIPE;
    fd_sync() else INVAL;
    fd_tell(out: u32) else SPIPE;
    path_create_directory(path: u32, len: u32) else NOTDIR;
    path_filestat_get(flags: u32, path: u32, len: u32, out: u32) else NOTDIR;
    path_filestat_set_times(flags: u32, path: u32, len: u32, atim: u64, mtim: u64, set: u32) else NOTDIR;
    path_readlink(path: u32, len: u32, buf: u32, buf_len: u32, out: u32) else NOTDIR;
    path_remove_directory(path: u32, len: u32) else NOTDIR;
    path_unlink_file(path: u32, len: u32) else NOTDIR;
}

pub(super) fn path_symlink(
    caller: Guest<'_, '_>,
    path: u32,
    len: u32,
    fd: Fd,
    new: u32,
    new_len: u32,
) -> Call {
    let fd = number(caller, fd, Errno::NOTDIR)?;
    inner::path_symlink(caller, path, len, fd, new, new_len)
}

pub(super) fn path_rename(
    caller: Guest<'_, '_>,
    fd: Fd,
    path: u32,
    len: u32,
    to: Fd,
    new: u32,
    new_len: u32,
) -> Call {
    let fd = number(caller, fd, Errno::NOTDIR)?;
    let to = number(caller, to, Errno::NOTDIR)?;
    inner::path_rename(caller, fd, path, len, to, new, new_len)
}

#[allow(clippy::too_many_arguments, reason = "the ABI's")]
pub(super) fn path_link(
    caller: Guest<'_, '_>,
    fd: Fd,
    flags: u32,
    path: u32,
    len: u32,
    to: Fd,
    new: u32,
    new_len: u32,
) -> Call {
    let fd = number(caller, fd, Errno::NOTDIR)?;
    let to = number(caller, to, Errno::NOTDIR)?;
    inner::path_link(caller, fd, flags, path, len, to, new, new_len)
}

#[allow(clippy::too_many_arguments, reason = "the ABI's")]
pub(super) fn path_open(
    caller: Guest<'_, '_>,
    fd: Fd,
    dirflags: u32,
    path: u32,
    len: u32,
    oflags: u32,
    base: u64,
    inheriting: u64,
    flags: u32,
    out: u32,
) -> Call {
    let fd = number(caller, fd, Errno::NOTDIR)?;
    caller.data().table.has_room()?;
    // Checked before opening: a file whose number can't be written would stay open, without being counted.
    split(caller)?.0.bytes(out, 4)?;
    if !out.is_multiple_of(4) {
        return Err(Errno::INVAL.into());
    }
    inner::path_open(
        caller, fd, dirflags, path, len, oflags, base, inheriting, flags, out,
    )?;
    // wasmtime-wasi has written its own number, which is replaced by that of this host.
    let (mut memory, instance) = split(caller)?;
    let opened = memory.u32(out)?;
    let fd = instance.table.insert(Entry::Inner(opened));
    Ok(memory.put(out, fd.to_le_bytes())?)
}

/// The number that wasmtime-wasi has for a file, a directory or a standard stream.
fn number(caller: &Caller<'_, Instance>, fd: Fd, of_a_socket: Errno) -> Result<u32, Errno> {
    match caller.data().table.get(fd) {
        Entry::Free => Err(Errno::BADF),
        Entry::Stdio(inner) | Entry::Inner(inner) => Ok(*inner),
        Entry::Socket(_) => Err(of_a_socket),
    }
}
