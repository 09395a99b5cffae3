//! Serves by blocking calls of `std::net`, one connection after the other: sends back what a connection sends.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::FromRawFd;

fn main() {
    // SAFETY: the host gives the listener this number, and nothing else uses it.
    let listener = unsafe { TcpListener::from_raw_fd(3) };
    for stream in listener.incoming() {
        let outcome = stream.and_then(echo);
        if let Err(error) = outcome {
            // ECANCELED: the host drains.
            if error.raw_os_error() == Some(11) {
                return;
            }
            eprintln!("{error}");
        }
    }
}

fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buf = [0; 4096];
    loop {
        match stream.read(&mut buf)? {
            0 => return Ok(()),
            got => stream.write_all(&buf[..got])?,
        }
    }
}
