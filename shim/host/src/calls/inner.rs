//! The functions of wasmtime-wasi at the level of the ABI, with its own numbers of file descriptors.
//!
//! The module with these functions is public, though its documentation says that it shouldn't be used outside. It is
//! the only internal part of wasmtime-wasi that is used here, and only this file uses it.

use wasmtime::{AsContextMut, Caller};
use wasmtime_wasi::p1::wasi_snapshot_preview1 as wasi;
use wasmtime_wasi::runtime::in_tokio;
use wiggle::GuestMemory;

use super::{Call, Fault};
use crate::errno::Errno;
use crate::instance::{Instance, memory};

/// Defines `name(caller, arguments...)`, which calls the function of that name. Those marked `waits` are asynchronous
/// there.
macro_rules! inner {
    ($( $name:ident ( $($arg:ident : $ty:ty),* ) $($waits:ident)?; )*) => { $(
        #[allow(clippy::too_many_arguments, reason = "the ABI's")]
        pub(super) fn $name(caller: &mut Caller<'_, Instance>, $($arg: $ty),*) -> Call {
            // Without fuel each of them returns NOMEM.
            let fuel = caller.as_context_mut().hostcall_fuel();
            let memory = memory(caller)?;
            let (bytes, instance) = memory.data_and_store_mut(caller);
            wasi::WasiSnapshotPreview1::set_hostcall_fuel(&mut instance.wasi, fuel);
            let mut guest = GuestMemory::Unshared(bytes);
            let result = inner!(@call $name instance guest ($($arg.cast_signed()),*) $($waits)?);
            match result? {
                0 => Ok(()),
                errno => Err(Fault::Errno(Errno(errno as u16))),
            }
        }
    )* };
    (@call $name:ident $instance:ident $guest:ident ($($arg:expr),*) waits) => {
        in_tokio(wasi::$name(&mut $instance.wasi, &mut $guest, $($arg),*))
    };
    (@call $name:ident $instance:ident $guest:ident ($($arg:expr),*)) => {
        wasi::$name(&mut $instance.wasi, &mut $guest, $($arg),*)
    };
}

inner! {
    args_get(argv: u32, buf: u32);
    args_sizes_get(count: u32, size: u32);
    clock_res_get(clock: u32, out: u32);
    clock_time_get(clock: u32, precision: u64, out: u32);
    environ_get(environ: u32, buf: u32);
    environ_sizes_get(count: u32, size: u32);
    fd_advise(fd: u32, offset: u64, len: u64, advice: u32) waits;
    fd_allocate(fd: u32, offset: u64, len: u64);
    fd_close(fd: u32) waits;
    fd_datasync(fd: u32) waits;
    fd_fdstat_get(fd: u32, out: u32) waits;
    fd_fdstat_set_flags(fd: u32, flags: u32);
    fd_fdstat_set_rights(fd: u32, base: u64, inheriting: u64);
    fd_filestat_get(fd: u32, out: u32) waits;
    fd_filestat_set_size(fd: u32, size: u64) waits;
    fd_filestat_set_times(fd: u32, atim: u64, mtim: u64, flags: u32) waits;
    fd_pread(fd: u32, iovs: u32, count: u32, offset: u64, out: u32) waits;
    fd_prestat_get(fd: u32, out: u32);
    fd_prestat_dir_name(fd: u32, path: u32, len: u32);
    fd_pwrite(fd: u32, iovs: u32, count: u32, offset: u64, out: u32) waits;
    fd_read(fd: u32, iovs: u32, count: u32, out: u32) waits;
    fd_readdir(fd: u32, buf: u32, len: u32, cookie: u64, out: u32) waits;
    fd_seek(fd: u32, offset: u64, whence: u32, out: u32) waits;
    fd_sync(fd: u32) waits;
    fd_tell(fd: u32, out: u32);
    fd_write(fd: u32, iovs: u32, count: u32, out: u32) waits;
    path_create_directory(fd: u32, path: u32, len: u32) waits;
    path_filestat_get(fd: u32, flags: u32, path: u32, len: u32, out: u32) waits;
    path_filestat_set_times(fd: u32, flags: u32, path: u32, len: u32, atim: u64, mtim: u64, set: u32) waits;
    path_link(fd: u32, flags: u32, path: u32, len: u32, to: u32, new: u32, new_len: u32) waits;
    path_open(fd: u32, dirflags: u32, path: u32, len: u32, oflags: u32, base: u64, inheriting: u64, flags: u32,
        out: u32) waits;
    path_readlink(fd: u32, path: u32, len: u32, buf: u32, buf_len: u32, out: u32) waits;
    path_remove_directory(fd: u32, path: u32, len: u32) waits;
    path_rename(fd: u32, path: u32, len: u32, to: u32, new: u32, new_len: u32) waits;
    path_symlink(path: u32, len: u32, fd: u32, new: u32, new_len: u32) waits;
    path_unlink_file(fd: u32, path: u32, len: u32) waits;
    random_get(buf: u32, len: u32);
    sched_yield();
}
