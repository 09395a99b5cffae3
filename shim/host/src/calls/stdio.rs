//! Reading and writing the standard streams. wasmtime-wasi isn't used here: it has a thread for them, and can't
//! start it when no file descriptor is left.

use std::io;

use rustix::io::Errno as SystemErrno;

use crate::errno::Errno;
use crate::instance::Instance;
use crate::phase::Phase;
use crate::socket::is_readable;

/// Reads from the standard input. Waits for input, or for its end.
pub(super) fn read(instance: &mut Instance, buffer: &mut [u8]) -> Result<usize, Errno> {
    instance.watch_stdin();
    loop {
        if is_readable(&rustix::stdio::stdin()) {
            match rustix::io::read(rustix::stdio::stdin(), &mut *buffer) {
                Err(SystemErrno::INTR | SystemErrno::AGAIN) => continue,
                other => return other.map_err(|errno| Errno::from(&io::Error::from(errno))),
            }
        }
        if instance.phase() == Phase::Stopping {
            return Err(Errno::INTR);
        }
        instance.wait(None)?;
    }
}

/// Writes to the standard output or the standard error stream. Waits until there is room.
pub(super) fn write(stream: u32, buffers: &[io::IoSlice<'_>]) -> Result<usize, Errno> {
    loop {
        let written = match stream {
            1 => rustix::io::writev(rustix::stdio::stdout(), buffers),
            _ => rustix::io::writev(rustix::stdio::stderr(), buffers),
        };
        match written {
            Err(SystemErrno::INTR) => {}
            // Another process, which shares the stream, has made it non-blocking.
            Err(SystemErrno::AGAIN) => std::thread::sleep(std::time::Duration::from_millis(1)),
            other => return other.map_err(|errno| Errno::from(&io::Error::from(errno))),
        }
    }
}
