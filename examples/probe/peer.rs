//! A peer of the probe: a program outside the runtime, which connects to it and does what the probe asks for.
//!
//! On one of its connections the peer first sends the line `probe`. On this one the probe sends its commands, one per
//! line; the peer responds to each with a line `ok NUMBER` or `error WHY`. `ci/interop/src/probe.rs` lists the commands.

use std::io::IoSlice;

use wasip1_poll::{Errno, Fd, FdFlags, Preview1, Subscription, Wasi};

/// The connection for the commands.
pub(crate) struct Peer {
    fd: Fd,
    /// Read, but not yet a whole line.
    buffer: Vec<u8>,
}

impl Peer {
    /// Waits for the peer to connect: for a minute, because a person may have to start it. A connection that doesn't
    /// send `probe` is from another program, which only checks whether there is a listener.
    pub(crate) fn meet(listener: Fd) -> Result<Self, String> {
        for _ in 0..30_000 {
            match Preview1.sock_accept(listener, FdFlags::NONBLOCK) {
                Ok(fd) => {
                    let buffer = Vec::new();
                    let mut peer = Self { fd, buffer };
                    if peer.line().is_ok_and(|word| word == "probe") {
                        return Ok(peer);
                    }
                    let _ = Preview1.fd_close(fd);
                }
                Err(Errno::AGAIN) => sleep(2_000_000),
                Err(errno) => return Err(format!("sock_accept: {errno}")),
            }
        }
        Err("no other end has connected: see ci/run probe".into())
    }

    /// Sends a command, and returns the number in its response.
    pub(crate) fn ask(&mut self, command: &str) -> Result<u64, String> {
        let line = format!("{command}\n");
        let sent = Preview1.fd_write(self.fd, &[IoSlice::new(line.as_bytes())]);
        if sent != Ok(line.len()) {
            return Err(format!("the command {command} couldn't be sent: {sent:?}"));
        }
        let response = self.line().map_err(|why| format!("{command}: {why}"))?;
        let number = response.strip_prefix("ok ").and_then(|it| it.parse().ok());
        number.ok_or(format!("{command}: {response}"))
    }

    fn line(&mut self) -> Result<String, String> {
        let mut buf = [0; 256];
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            match Preview1.fd_read(self.fd, &mut buf) {
                Ok(0) => {
                    return Err("the other end has closed the connection for the commands".into());
                }
                Ok(count) => self.buffer.extend_from_slice(&buf[..count]),
                Err(Errno::AGAIN | Errno::INTR) => sleep(200_000),
                Err(errno) => return Err(errno.to_string()),
            }
        }
    }
}

/// Sleeps, by the one call that every runtime can do.
pub(crate) fn sleep(nanos: u64) {
    let mut event = [wasip1_poll::Event::default()];
    // It may return early or late: callers check again.
    let _ = Preview1.poll_oneoff(&[Subscription::clock(0, nanos)], &mut event);
}
