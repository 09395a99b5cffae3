//! Starts the process that takes over the listening sockets.

use std::error::Error;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt, FdMapping};

/// The first passed file descriptor (`sd_listen_fds(3)`).
const FIRST_FD: i32 = 3;

/// How long the successor may take until it is ready. If it takes longer, this process goes on.
const PATIENCE: Duration = Duration::from_secs(30);

/// Starts this program again, with copies of these sockets. Returns the new process's id when it is ready.
pub(crate) fn start(sockets: &[OwnedFd]) -> Result<u32, Box<dyn Error>> {
    let notices = Notices::new()?;
    let mut child = command(sockets, &notices.path)?.spawn()?;
    let outcome = notices.wait_until_ready(&mut child);
    if outcome.is_err() {
        // An error means that it has ended.
        let _ = child.kill();
        let _ = child.wait();
    }
    outcome.map(|()| child.id())
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

/// The socket to which the successor reports, as to systemd.
struct Notices {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Notices {
    fn new() -> Result<Self, Box<dyn Error>> {
        let path = std::env::temp_dir().join(format!("restart-{}.socket", std::process::id()));
        // A process of this id may have left one.
        let _ = std::fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path)?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        Ok(Self { socket, path })
    }

    fn wait_until_ready(&self, child: &mut Child) -> Result<(), Box<dyn Error>> {
        let started = Instant::now();
        let mut message = [0; 256];
        while started.elapsed() < PATIENCE {
            match self.socket.recv(&mut message) {
                Ok(length) if message[..length].trim_ascii() == b"READY=1" => return Ok(()),
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
        let _ = std::fs::remove_file(&self.path);
    }
}
