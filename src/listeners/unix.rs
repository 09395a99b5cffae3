//! Unix domain sockets: binding a path, and removing the file.
//!
//! A process that is killed leaves the file of its socket, and no process can bind its path then. So a file is removed
//! if it is a socket on which no process listens. Other servers may start or end at the same moment, so a file is first
//! moved aside, and deleted only if it is still the one that was examined.

#[cfg(target_os = "linux")]
mod bound;

use std::fs::{self, Metadata, Permissions};
use std::io::{self, ErrorKind::NotFound};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use crate::log::{debug, info};
use socket2::{Domain, SockAddr, Type};

use super::socket::{BACKLOG, Socket};
use crate::error::{Error, ErrorKind, Result};

/// Only the owner can connect. [`Server::unix_mode`](crate::Server::unix_mode) sets another mode.
const MODE: u32 = 0o600;

/// A socket is between `bind` and `listen` for less than this, even on a busy machine. Meanwhile it refuses
/// connections, as a stale one does; only Linux has a list of such sockets. At half, a server on another system that
/// was suspended between the two could lose its file; at double, each start after a crash takes longer.
const STARTING: Duration = Duration::from_millis(100);

/// Binds a path.
pub(super) fn bind(path: &Path) -> Result<Socket> {
    let failed = |error| {
        let text = format!("can't listen on {}{}", super::UNIX, path.display());
        Error::with_source(ErrorKind::Address, text, error)
    };
    // The working directory may change before the file is removed.
    let path = std::path::absolute(path).map_err(failed)?;
    let address = SockAddr::unix(&path).map_err(failed)?;
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None).map_err(failed)?;
    match socket.bind(&address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            remove_stale(&path, &address).map_err(failed)?;
            socket.bind(&address).map_err(failed)?;
        }
        result => result.map_err(failed)?,
    }
    let file = SocketFile::new(path, address).map_err(failed)?;
    // Before it listens, no client can connect.
    let listens = file.set_mode(MODE).and_then(|()| socket.listen(BACKLOG));
    if let Err(error) = listens {
        // The file is removed only if no socket is bound to it.
        drop(socket);
        return Err(failed(error));
    }
    Ok(Socket::Unix {
        file: Some(Arc::new(file)),
        listener: UnixListener::from(std::os::fd::OwnedFd::from(socket)),
    })
}

/// The file of a socket that was bound here. It is removed when this is dropped, unless a process still listens:
/// another process may have a copy of the socket. So drop it when the socket is closed.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    address: SockAddr,
    identity: Identity,
}

impl SocketFile {
    fn new(path: PathBuf, address: SockAddr) -> io::Result<Self> {
        let identity = Identity::of(&fs::symlink_metadata(&path)?);
        Ok(Self {
            path,
            address,
            identity,
        })
    }

    /// Sets the permissions: a process that may write to the file can connect.
    pub(super) fn set_mode(&self, mode: u32) -> io::Result<()> {
        fs::set_permissions(&self.path, Permissions::from_mode(mode))
    }

    /// Removes the file if it is still this one, and if no process listens. Returns whether it did.
    fn remove(&self) -> io::Result<bool> {
        match examine(&self.path, &self.address) {
            Ok(found) if found == self.identity => take_away(&self.path, found),
            Ok(_) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let shown = self.path.display();
        match self.remove() {
            Ok(true) => debug!(target: "mini_http", "removed {shown}"),
            Ok(false) => debug!(target: "mini_http", "{shown} was replaced, and stays"),
            Err(error) => debug!(target: "mini_http", "can't remove {shown}: {error}"),
        }
    }
}

/// What distinguishes a file from one that was made later, even if that has the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    /// The second and nanosecond of its last change. A socket's contents never change, so it is when it was made.
    made: (i64, i64),
}

impl Identity {
    fn of(file: &Metadata) -> Self {
        Self {
            device: file.dev(),
            inode: file.ino(),
            made: (file.mtime(), file.mtime_nsec()),
        }
    }
}

/// Removes the file at this path if it is a socket on which no process listens.
fn remove_stale(path: &Path, address: &SockAddr) -> io::Result<()> {
    let identity = match examine(path, address) {
        Err(error) if error.kind() == NotFound => return Ok(()),
        result => result?,
    };
    thread::sleep(STARTING);
    let is_removed = match examine(path, address) {
        Err(error) if error.kind() == NotFound => return Ok(()),
        Ok(again) if again == identity => take_away(path, identity)?,
        Ok(_) => false,
        Err(error) => return Err(error),
    };
    if !is_removed {
        return Err(in_use());
    }
    info!(target: "mini_http", "removed {}, left behind by a server that was killed", path.display());
    Ok(())
}

/// The identity of the socket at this path. Fails if the file is not a socket, or if a process may listen on it, now or
/// soon.
fn examine(path: &Path, address: &SockAddr) -> io::Result<Identity> {
    let file = fs::symlink_metadata(path)?;
    if !file.file_type().is_socket() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "this file is not a socket: remove it, or use another path",
        ));
    }
    let client = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // If the server's backlog is full, a blocking call would wait.
    client.set_nonblocking(true)?;
    match client.connect(address) {
        Ok(()) => Err(in_use()),
        Err(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused => {
                let identity = Identity::of(&file);
                match is_bound(path, identity) {
                    true => Err(bound()),
                    false => Ok(identity),
                }
            }
            io::ErrorKind::WouldBlock => Err(in_use()),
            _ => Err(error),
        },
    }
}

/// Whether a process has bound a socket to this file and doesn't listen on it, as far as the system says.
fn is_bound(path: &Path, identity: Identity) -> bool {
    cfg_if::cfg_if! {
        if #[cfg(target_os = "linux")] {
            bound::is_bound(path, identity)
        } else {
            let _ = (path, identity);
            false
        }
    }
}

fn bound() -> io::Error {
    io::Error::new(
        io::ErrorKind::AddrInUse,
        "another process has bound this socket, and doesn't listen on it yet: stop it, or use another path",
    )
}

fn in_use() -> io::Error {
    io::Error::new(
        io::ErrorKind::AddrInUse,
        "another server listens on this socket: stop it, or use another path",
    )
}

/// Moves the file aside. If it is this one, it is deleted there; if another process has replaced it since it was
/// examined, it is moved back. Returns whether it was deleted.
fn take_away(path: &Path, identity: Identity) -> io::Result<bool> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let aside = path.with_file_name(format!(".{}-{number}.old", std::process::id()));
    fs::rename(path, &aside)?;
    let is_same = Identity::of(&fs::symlink_metadata(&aside)?) == identity;
    if !is_same {
        // Unlike a second rename, this doesn't replace what may have been made there in the meantime.
        fs::hard_link(&aside, path)?;
    }
    fs::remove_file(&aside)?;
    Ok(is_same)
}

#[cfg(test)]
mod tests;
