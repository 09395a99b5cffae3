//! `mini_http` with an access log in a file, in the Combined format.

use std::fs;
use std::time::Duration;

use bytes::Bytes;
use mini_http::{AccessLog, LogFormat, Response, Server};
use native_servers::{BODY, listener};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut server = Server::from_listener(listener()?)?;
    // Idle connections must stay open during the whole benchmark.
    server.limits(|limits| limits.idle_timeout = Duration::from_secs(3600));
    let path = std::env::temp_dir().join(format!("ours_log-{}.log", std::process::id()));
    server.access_log(&AccessLog::open(LogFormat::Combined, &path)?);
    // The file is still open, so the system deletes it only when the process ends.
    fs::remove_file(&path)?;
    server.serve(|_| Response::new(Bytes::from_static(BODY.as_bytes())))?;
    Ok(())
}
