//! The linker: has all calls of preview 1, under the names by which a guest imports them.

use wasmtime::{Caller, Engine, Linker, Result};
use wasmtime_wasi::{I32Exit, p1};

use super::{Call, Fault, clocks, descriptors, files, inner, sockets, transfer};
use crate::errno::Errno;
use crate::instance::Instance;
use crate::poll;
use crate::trace;

/// The module that guests import the calls from.
const MODULE: &str = "wasi_snapshot_preview1";

/// Defines each call. It is counted, and traced if that is enabled.
macro_rules! define {
    ($linker:ident; $( $module:ident::$name:ident ( $($arg:ident : $ty:ty),* ); )*) => { $(
        $linker.func_wrap(
            MODULE,
            stringify!($name),
            |mut caller: Caller<'_, Instance>, $($arg: $ty),*| -> Result<u32> {
                let start = trace::start(&caller);
                let result = $module::$name(&mut caller, $($arg),*);
                if let Some(start) = start {
                    trace::line(&mut caller, stringify!($name), &[$(u64::from($arg)),*], &result, start);
                }
                number(result)
            },
        )?;
    )* };
}

/// All of preview 1, for a guest to link with.
pub(crate) fn linker(engine: &Engine) -> Result<Linker<Instance>> {
    let mut linker = Linker::new(engine);
    // `proc_raise`, which isn't defined below, is that of wasmtime-wasi.
    p1::add_to_linker_sync(&mut linker, |instance: &mut Instance| &mut instance.wasi)?;
    linker.allow_shadowing(true);
    define! { linker;
        inner::args_get(argv: u32, buf: u32);
        inner::args_sizes_get(count: u32, size: u32);
        inner::environ_get(environ: u32, buf: u32);
        inner::environ_sizes_get(count: u32, size: u32);
        inner::clock_res_get(clock: u32, out: u32);
        inner::random_get(buf: u32, len: u32);
        inner::sched_yield();
        clocks::clock_time_get(clock: u32, precision: u64, out: u32);
        poll::poll_oneoff(subscriptions: u32, events: u32, count: u32, out: u32);
        sockets::sock_accept(fd: u32, flags: u32, out: u32);
        sockets::sock_shutdown(fd: u32, how: u32);
        transfer::sock_recv(fd: u32, iovs: u32, count: u32, flags: u32, out: u32, out_flags: u32);
        transfer::sock_send(fd: u32, iovs: u32, count: u32, flags: u32, out: u32);
        transfer::fd_read(fd: u32, iovs: u32, count: u32, out: u32);
        transfer::fd_write(fd: u32, iovs: u32, count: u32, out: u32);
        descriptors::fd_close(fd: u32);
        descriptors::fd_renumber(from: u32, to: u32);
        descriptors::fd_fdstat_get(fd: u32, out: u32);
        descriptors::fd_fdstat_set_flags(fd: u32, flags: u32);
        descriptors::fd_filestat_get(fd: u32, out: u32);
    }
    define_files(&mut linker)?;
    // That of wasmtime-wasi traps if the code is above 125.
    linker.func_wrap(
        MODULE,
        "proc_exit",
        |caller: Caller<'_, Instance>, code: i32| {
            trace::exit(&caller, code);
            Err::<(), _>(I32Exit(code).into())
        },
    )?;
    Ok(linker)
}

/// The calls on files and directories.
fn define_files(linker: &mut Linker<Instance>) -> Result<()> {
    define! { linker;
        files::fd_advise(fd: u32, offset: u64, len: u64, advice: u32);
        files::fd_allocate(fd: u32, offset: u64, len: u64);
        files::fd_datasync(fd: u32);
        files::fd_fdstat_set_rights(fd: u32, base: u64, inheriting: u64);
        files::fd_filestat_set_size(fd: u32, size: u64);
        files::fd_filestat_set_times(fd: u32, atim: u64, mtim: u64, flags: u32);
        files::fd_pread(fd: u32, iovs: u32, count: u32, offset: u64, out: u32);
        files::fd_prestat_get(fd: u32, out: u32);
        files::fd_prestat_dir_name(fd: u32, path: u32, len: u32);
        files::fd_pwrite(fd: u32, iovs: u32, count: u32, offset: u64, out: u32);
        files::fd_readdir(fd: u32, buf: u32, len: u32, cookie: u64, out: u32);
        files::fd_seek(fd: u32, offset: u64, whence: u32, out: u32);
        files::fd_sync(fd: u32);
        files::fd_tell(fd: u32, out: u32);
        files::path_create_directory(fd: u32, path: u32, len: u32);
        files::path_filestat_get(fd: u32, flags: u32, path: u32, len: u32, out: u32);
        files::path_filestat_set_times(fd: u32, flags: u32, path: u32, len: u32, atim: u64, mtim: u64, set: u32);
        files::path_link(fd: u32, flags: u32, path: u32, len: u32, to: u32, new: u32, new_len: u32);
        files::path_open(fd: u32, dirflags: u32, path: u32, len: u32, oflags: u32, base: u64, inheriting: u64,
            flags: u32, out: u32);
        files::path_readlink(fd: u32, path: u32, len: u32, buf: u32, buf_len: u32, out: u32);
        files::path_remove_directory(fd: u32, path: u32, len: u32);
        files::path_rename(fd: u32, path: u32, len: u32, to: u32, new: u32, new_len: u32);
        files::path_symlink(path: u32, len: u32, fd: u32, new: u32, new_len: u32);
        files::path_unlink_file(fd: u32, path: u32, len: u32);
    }
    Ok(())
}

/// What a call returns to the guest.
fn number(result: Call) -> Result<u32> {
    match result {
        Ok(()) => Ok(u32::from(Errno::SUCCESS.0)),
        Err(Fault::Errno(errno)) => Ok(u32::from(errno.0)),
        Err(Fault::Trap(error)) => Err(error),
    }
}
