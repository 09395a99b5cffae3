//! Makes `std::fs` find the preopened directories when the runtime has passed a listener, too.
//!
//! When a program starts, libc registers its preopened directories, from fd 3 on, and stops at
//! the first file descriptor that isn't one. If a runtime numbers sockets before directories, libc finds no
//! directory, and `std::fs` can't open any file. The directories are open all the same, and are registered here.

use std::ffi::CString;

use crate::errno::Errno;
use crate::wasi::{Fd, Wasi};

/// A preopened directory that libc has not registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// Its file descriptor.
    pub fd: Fd,
    /// Its name from the runtime, such as `/data`.
    pub name: CString,
}

/// The directories among `fds` that libc hasn't found: those after the first file descriptor that isn't a directory.
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
/// `NOMEM` if libc has no memory for that.
#[cfg(all(target_os = "wasi", target_env = "p1"))]
pub fn register(directories: &[Directory]) -> Result<(), Errno> {
    for directory in directories {
        crate::preview1::register_preopen(directory.fd, &directory.name)?;
        poll_turns::log::debug!(
            "registered the directory {:?} at fd {} with libc, whose own scan had ended before it",
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
