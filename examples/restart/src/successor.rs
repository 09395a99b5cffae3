//! Starts the process that takes over the listening sockets.

use std::error::Error;
use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt, FdMapping};

/// The first passed file descriptor (`sd_listen_fds(3)`).
const FIRST_FD: i32 = 3;

/// How long the successor may take until it is ready. If it takes longer, this process goes on.
const PATIENCE: Duration = Duration::from_secs(30);

/// What has become of the successor.
pub(crate) enum Outcome {
    /// The process of this id serves.
    Ready(u32),
    /// This process is to stop, so the successor was stopped as well.
    Stopped,
}

/// Starts this program again, with copies of these sockets. Returns when it is ready, or when this process `is_stopping`.
pub(crate) fn start(
    sockets: &[OwnedFd],
    is_stopping: impl FnMut() -> bool,
) -> Result<Outcome, Box<dyn Error>> {
    let notices = Notices::new()?;
    let mut child = command(sockets, &notices.path)?.spawn()?;
    let outcome = notices.wait_until_ready(&mut child, is_stopping);
    match &outcome {
        Ok(Outcome::Ready(_)) => {}
        // It may serve already: it gets the same signal.
        Ok(Outcome::Stopped) => terminate(&child)?,
        Err(_) => {
            // An error means that it has ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
    outcome
}

/// Sends SIGTERM.
fn terminate(child: &Child) -> io::Result<()> {
    let id = child.id().to_string();
    Command::new("kill").args(["-TERM", &id]).status().map(drop)
}

fn command(sockets: &[OwnedFd], notices: &Path) -> Result<Command, Box<dyn Error>> {
    let mut arguments = std::env::args_os();
    let program = arguments.next().ok_or("the program's name is unknown")?;
    // LISTEN_PID has to be the child's own id, which only the child knows. `exec` keeps it.
    let mut command = Command::new("sh");
    command
        .args(["-c", r#"export LISTEN_PID=$$; exec "$0" "$@""#])
        .arg(program)
        .args(arguments)
        .env("LISTEN_FDS", sockets.len().to_string())
        .env("NOTIFY_SOCKET", notices)
        // These are for this process.
        .env_remove("LISTEN_FDNAMES")
        .env_remove("WATCHDOG_PID")
        .env_remove("WATCHDOG_USEC");
    let mut mappings = Vec::new();
    for (child_fd, socket) in (FIRST_FD..).zip(sockets) {
        mappings.push(FdMapping {
            parent_fd: socket.try_clone()?,
            child_fd,
        });
    }
    command.fd_mappings(mappings)?;
    Ok(command)
}

/// The socket to which the successor reports, as to systemd. It is in a folder of its own, which only this user can
/// open: no other process may say that the successor is ready.
struct Notices {
    socket: UnixDatagram,
    folder: PathBuf,
    path: PathBuf,
}

impl Notices {
    fn new() -> Result<Self, Box<dyn Error>> {
        let folder = new_folder()?;
        let path = folder.join("notices.socket");
        let socket = UnixDatagram::bind(&path)?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        Ok(Self {
            socket,
            folder,
            path,
        })
    }

    fn wait_until_ready(
        &self,
        child: &mut Child,
        mut is_stopping: impl FnMut() -> bool,
    ) -> Result<Outcome, Box<dyn Error>> {
        let started = Instant::now();
        let mut message = [0; 256];
        while started.elapsed() < PATIENCE {
            let received = self.socket.recv(&mut message);
            if is_stopping() {
                return Ok(Outcome::Stopped);
            }
            match received {
                Ok(length) if message[..length].trim_ascii() == b"READY=1" => {
                    return Ok(Outcome::Ready(child.id()));
                }
                Ok(_) => {}
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(e) => return Err(e.into()),
            }
            if let Some(status) = child.try_wait()? {
                return Err(format!("the successor ended with {status}").into());
            }
        }
        Err(format!("the successor wasn't ready within {PATIENCE:?}").into())
    }
}

impl Drop for Notices {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Makes a folder that only this user can open. Where there is one of this name already, made by whomever, it is not
/// used.
fn new_folder() -> io::Result<PathBuf> {
    let mut number = 0;
    loop {
        let name = format!("restart-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        match DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
            result => return result.map(|()| folder),
        }
    }
}
