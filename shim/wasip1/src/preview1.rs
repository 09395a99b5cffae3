//! [`Preview1`]: the real calls to the runtime. The only unsafe code of this crate.

#![allow(unsafe_code, reason = "the calls into the runtime, and nothing else")]

use std::ffi::CStr;
use std::io::{IoSlice, IoSliceMut};

use wasi::wasi_snapshot_preview1 as raw;

use crate::errno::Errno;
use crate::wasi::{
    ClockId, Event, Fd, FdFlags, Fdstat, FileType, SendFlags, Shutdown, Subscription, Wasi,
};

/// The runtime that runs this program.
#[derive(Clone, Copy, Debug, Default)]
pub struct Preview1;

impl Preview1 {
    /// Like [`Wasi::fd_read`], with several buffers. For programs that find out how a runtime handles them.
    ///
    /// # Errors
    /// The errno of the call.
    #[allow(
        clippy::unused_self,
        reason = "a call to the runtime, like those of the trait"
    )]
    pub fn fd_read_vectored(&self, fd: Fd, bufs: &mut [IoSliceMut<'_>]) -> Result<usize, Errno> {
        let iovecs: Vec<wasi::Iovec> = bufs
            .iter_mut()
            .map(|buf| wasi::Iovec {
                buf: buf.as_mut_ptr(),
                buf_len: buf.len(),
            })
            .collect();
        // SAFETY: each iovec is one of `bufs`, which are borrowed mutably during the call.
        unsafe { wasi::fd_read(fd, &iovecs) }.map_err(errno)
    }
}

impl Wasi for Preview1 {
    fn poll_oneoff(
        &self,
        subscriptions: &[Subscription],
        events: &mut [Event],
    ) -> Result<usize, Errno> {
        if events.len() < subscriptions.len() {
            return Err(Errno::INVAL);
        }
        let mut count = 0_u32;
        // SAFETY: the runtime reads `subscriptions.len()` subscriptions and writes at most as many
        // events, for which there is room, and one u32. Both types have the ABI's layout (asserted
        // beside them) and `Event` is valid with any bits.
        let errno = unsafe {
            raw::poll_oneoff(
                subscriptions.as_ptr() as i32,
                events.as_mut_ptr() as i32,
                subscriptions.len() as i32,
                &raw mut count as i32,
            )
        };
        check(errno)?;
        Ok((count as usize).min(subscriptions.len()))
    }

    fn sock_accept(&self, fd: Fd, flags: FdFlags) -> Result<Fd, Errno> {
        // SAFETY: the call takes plain numbers.
        unsafe { wasi::sock_accept(fd, flags.0) }.map_err(errno)
    }

    fn fd_read(&self, fd: Fd, buf: &mut [u8]) -> Result<usize, Errno> {
        let iovec = wasi::Iovec {
            buf: buf.as_mut_ptr(),
            buf_len: buf.len(),
        };
        // SAFETY: the iovec is `buf`, which is borrowed mutably during the call.
        unsafe { wasi::fd_read(fd, &[iovec]) }.map_err(errno)
    }

    fn fd_write(&self, fd: Fd, bufs: &[IoSlice<'_>]) -> Result<usize, Errno> {
        // SAFETY: each iovec is one of `bufs`, which are borrowed during the call.
        with_ciovecs(bufs, |iovecs| unsafe { wasi::fd_write(fd, iovecs) }).map_err(errno)
    }

    fn sock_send(&self, fd: Fd, bufs: &[IoSlice<'_>], flags: SendFlags) -> Result<usize, Errno> {
        // SAFETY: each iovec is one of `bufs`, which are borrowed during the call.
        with_ciovecs(bufs, |iovecs| unsafe {
            wasi::sock_send(fd, iovecs, flags.0)
        })
        .map_err(errno)
    }

    fn sock_shutdown(&self, fd: Fd, how: Shutdown) -> Result<(), Errno> {
        // SAFETY: the call takes plain numbers.
        unsafe { wasi::sock_shutdown(fd, how as u8) }.map_err(errno)
    }

    fn fd_close(&self, fd: Fd) -> Result<(), Errno> {
        // SAFETY: the call takes a plain number. No Rust type of this process owns it: `fd` was
        // returned by `sock_accept`, or was open when the program started.
        unsafe { wasi::fd_close(fd) }.map_err(errno)
    }

    fn fd_fdstat_get(&self, fd: Fd) -> Result<Fdstat, Errno> {
        // SAFETY: the call takes a plain number; the crate provides the memory for the result.
        let stat = unsafe { wasi::fd_fdstat_get(fd) }.map_err(errno)?;
        let file_type = FileType(stat.fs_filetype.raw());
        Ok(Fdstat {
            file_type,
            flags: FdFlags(stat.fs_flags),
        })
    }

    fn fd_fdstat_set_flags(&self, fd: Fd, flags: FdFlags) -> Result<(), Errno> {
        // SAFETY: the call takes plain numbers.
        unsafe { wasi::fd_fdstat_set_flags(fd, flags.0) }.map_err(errno)
    }

    fn fd_prestat_get(&self, fd: Fd) -> Result<usize, Errno> {
        // SAFETY: the call takes a plain number; the crate provides the memory for the result.
        let prestat = unsafe { wasi::fd_prestat_get(fd) }.map_err(errno)?;
        if prestat.tag != wasi::PREOPENTYPE_DIR.raw() {
            return Err(Errno::NOTSUP);
        }
        // SAFETY: the tag says that the runtime has written this variant.
        Ok(unsafe { prestat.u.dir }.pr_name_len)
    }

    fn fd_prestat_dir_name(&self, fd: Fd, name: &mut [u8]) -> Result<(), Errno> {
        // SAFETY: the runtime writes at most `name.len()` bytes to `name`.
        unsafe { wasi::fd_prestat_dir_name(fd, name.as_mut_ptr(), name.len()) }.map_err(errno)
    }

    fn clock_time_get(&self, clock: ClockId) -> Result<u64, Errno> {
        let id = match clock {
            ClockId::Realtime => wasi::CLOCKID_REALTIME,
            ClockId::Monotonic => wasi::CLOCKID_MONOTONIC,
        };
        // SAFETY: the call takes plain numbers; the crate provides the memory for the result.
        unsafe { wasi::clock_time_get(id, 1) }.map_err(errno)
    }
}

/// Registers `fd` with libc as the directory `name`, so that `std::fs` finds it.
pub(crate) fn register_preopen(fd: Fd, name: &CStr) -> Result<(), Errno> {
    unsafe extern "C" {
        fn __wasilibc_register_preopened_fd(fd: i32, prefix: *const std::ffi::c_char) -> i32;
    }
    // SAFETY: `name` ends with a NUL, and libc copies it.
    match unsafe { __wasilibc_register_preopened_fd(fd.cast_signed(), name.as_ptr()) } {
        0 => Ok(()),
        _ => Err(Errno::NOMEM),
    }
}

/// How many slices one write takes. If there are more, the write is short, which every caller must expect anyway.
const SLICES: usize = 16;

/// Makes a call with the slices as the ABI takes them.
fn with_ciovecs<T>(bufs: &[IoSlice<'_>], call: impl FnOnce(&[wasi::Ciovec]) -> T) -> T {
    // Nearly every write has one slice. To fill an array for more takes 400 instructions in wasmtime 36.
    if let [buf] = bufs {
        return call(&[ciovec(buf)]);
    }
    let mut iovecs = [ciovec(&[]); SLICES];
    let count = bufs.len().min(iovecs.len());
    for (iovec, buf) in iovecs.iter_mut().zip(bufs) {
        *iovec = ciovec(buf);
    }
    call(&iovecs[..count])
}

fn ciovec(buf: &[u8]) -> wasi::Ciovec {
    wasi::Ciovec {
        buf: buf.as_ptr(),
        buf_len: buf.len(),
    }
}

fn errno(errno: wasi::Errno) -> Errno {
    Errno(errno.raw())
}

fn check(number: i32) -> Result<(), Errno> {
    match Errno(number as u16) {
        Errno::SUCCESS => Ok(()),
        error => Err(error),
    }
}
