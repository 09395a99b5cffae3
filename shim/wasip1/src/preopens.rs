//! Directories beside a listener.
//!
//! At the start of a program libc registers its preopened directories, from fd 3 up, and stops at
//! the first file descriptor that is none. Runtimes that put sockets before directories so hide
//! every directory from `std::fs`. They are still there, and can be registered again.

use std::ffi::CString;

use crate::errno::Errno;
use crate::wasi::{Fd, Wasi};

/// A preopened directory that libc has not registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// Its file descriptor.
    pub fd: Fd,
    /// The name the runtime gave it, such as `/data`.
    pub name: CString,
}

/// The directories among `fds` that come after something that isn't one, which is where libc
/// stopped looking.
pub fn hidden<W: Wasi>(wasi: &W, fds: impl IntoIterator<Item = Fd>) -> Vec<Directory> {
    let mut found = Vec::new();
    let mut gap = false;
    let mut next = crate::wasi::FIRST_FD;
    for fd in fds {
        gap |= fd != next;
        next = fd + 1;
        match name(wasi, fd) {
            Ok(name) if gap => found.push(Directory { fd, name }),
            Ok(_) => {}
            Err(_) => gap = true,
        }
    }
    found
}

/// Registers `directories` with libc, so that `std::fs` finds them.
///
/// # Errors
/// `NOMEM` when libc has no memory to remember one.
#[cfg(all(target_os = "wasi", target_env = "p1"))]
pub fn register(directories: &[Directory]) -> Result<(), Errno> {
    for directory in directories {
        crate::preview1::register_preopen(directory.fd, &directory.name)?;
        log::debug!(
            "directory {:?} at fd {} is registered again: libc's scan had stopped before it",
            directory.name,
            directory.fd
        );
    }
    Ok(())
}

fn name<W: Wasi>(wasi: &W, fd: Fd) -> Result<CString, Errno> {
    let mut name = vec![0; wasi.fd_prestat_get(fd)?];
    wasi.fd_prestat_dir_name(fd, &mut name)?;
    // Some runtimes count the NUL at the end.
    while name.last() == Some(&0) {
        name.pop();
    }
    CString::new(name).map_err(|_| Errno::INVAL)
}
