//! The file descriptors.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;

use crate::errno::{Errno, Outcome};

/// What a file descriptor stands for.
#[derive(Debug)]
pub enum Entry {
    Stdin,
    Stdout,
    Stderr,
    /// A preopened directory, or one opened below it; a preopened one has a name.
    Directory {
        path: PathBuf,
        name: Option<String>,
    },
    File(File),
    Listener {
        socket: TcpListener,
        nonblock: bool,
    },
    Stream {
        socket: TcpStream,
        nonblock: bool,
    },
}

/// All that are open.
#[derive(Debug)]
pub struct Table(Vec<Option<Entry>>);

impl Table {
    /// The standard streams, then the directories, then the listeners: wazero's order.
    pub fn new(directories: Vec<(PathBuf, String)>, listeners: Vec<TcpListener>) -> Self {
        let mut table = Self(vec![
            Some(Entry::Stdin),
            Some(Entry::Stdout),
            Some(Entry::Stderr),
        ]);
        for (path, name) in directories {
            let name = Some(name);
            table.0.push(Some(Entry::Directory { path, name }));
        }
        for socket in listeners {
            let nonblock = false;
            table.0.push(Some(Entry::Listener { socket, nonblock }));
        }
        table
    }

    pub fn get(&mut self, fd: u32) -> Outcome<&mut Entry> {
        let entry = self.0.get_mut(fd as usize).and_then(Option::as_mut);
        entry.ok_or(Errno::BADF)
    }

    /// Takes the lowest free number.
    pub fn insert(&mut self, entry: Entry) -> u32 {
        let free = self.0.iter().position(Option::is_none);
        let at = free.unwrap_or_else(|| {
            self.0.push(None);
            self.0.len() - 1
        });
        self.0[at] = Some(entry);
        u32::try_from(at).expect("the system has fewer file descriptors than numbers")
    }

    pub fn close(&mut self, fd: u32) -> Outcome {
        let entry = self.0.get_mut(fd as usize).and_then(Option::take);
        entry.map(drop).ok_or(Errno::BADF)
    }

    /// Accepts. wazero answers `BADF` for all that is no listener, too.
    pub fn accept(&mut self, fd: u32, nonblock: bool) -> Outcome<u32> {
        let Entry::Listener { socket, .. } = self.get(fd)? else {
            return Err(Errno::BADF);
        };
        let (socket, _) = socket.accept()?;
        socket.set_nonblocking(nonblock)?;
        // As Go does with every connection.
        socket.set_nodelay(true)?;
        Ok(self.insert(Entry::Stream { socket, nonblock }))
    }
}

impl Entry {
    /// Preview 1's number for what it is.
    pub fn file_type(&self) -> u8 {
        match self {
            Self::Stdin | Self::Stdout | Self::Stderr => 2,
            Self::Directory { .. } => 3,
            Self::File(_) => 4,
            Self::Listener { .. } | Self::Stream { .. } => 6,
        }
    }

    pub fn is_nonblock(&self) -> bool {
        match self {
            Self::Listener { nonblock, .. } | Self::Stream { nonblock, .. } => *nonblock,
            _ => false,
        }
    }

    pub fn set_nonblock(&mut self, on: bool) -> Outcome {
        match self {
            Self::Listener { socket, nonblock } => {
                socket.set_nonblocking(on)?;
                *nonblock = on;
            }
            Self::Stream { socket, nonblock } => {
                socket.set_nonblocking(on)?;
                *nonblock = on;
            }
            Self::Directory { .. } => return Err(Errno::ISDIR),
            Self::Stdin | Self::Stdout | Self::Stderr | Self::File(_) => {}
        }
        Ok(())
    }

    pub fn read(&mut self, buf: &mut [u8]) -> Outcome<usize> {
        Ok(match self {
            Self::Stdin => std::io::stdin().read(buf)?,
            Self::File(file) => file.read(buf)?,
            Self::Stream { socket, .. } => socket.read(buf)?,
            Self::Directory { .. } => return Err(Errno::ISDIR),
            Self::Stdout | Self::Stderr | Self::Listener { .. } => return Err(Errno::BADF),
        })
    }

    pub fn write(&mut self, buf: &[u8]) -> Outcome<usize> {
        Ok(match self {
            Self::Stdout => std::io::stdout().write(buf)?,
            Self::Stderr => std::io::stderr().write(buf)?,
            Self::Stream { socket, .. } => socket.write(buf)?,
            Self::Stdin | Self::File(_) | Self::Directory { .. } | Self::Listener { .. } => {
                return Err(Errno::BADF);
            }
        })
    }

    pub fn shutdown(&mut self, how: u32) -> Outcome {
        let Self::Stream { socket, .. } = self else {
            return Err(Errno::BADF);
        };
        let how = match how {
            1 => Shutdown::Read,
            2 => Shutdown::Write,
            3 => Shutdown::Both,
            _ => return Err(Errno::INVAL),
        };
        Ok(socket.shutdown(how)?)
    }
}
