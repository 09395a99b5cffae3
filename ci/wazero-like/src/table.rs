//! The file descriptors.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;

use crate::errno::{Errno, Outcome};
use crate::garbage::Garbage;

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

/// All that are open, and what was closed since the last collection.
#[derive(Debug)]
pub struct Table {
    entries: Vec<Option<Entry>>,
    garbage: Garbage,
}

impl Table {
    /// The standard streams, then the directories, then the listeners: wazero's order.
    pub fn new(
        directories: Vec<(PathBuf, String)>,
        listeners: Vec<TcpListener>,
        garbage: Garbage,
    ) -> Self {
        let entries = [Entry::Stdin, Entry::Stdout, Entry::Stderr];
        let mut table = Self {
            entries: entries.into_iter().map(Some).collect(),
            garbage,
        };
        for (path, name) in directories {
            let name = Some(name);
            table.entries.push(Some(Entry::Directory { path, name }));
        }
        for socket in listeners {
            let nonblock = false;
            table
                .entries
                .push(Some(Entry::Listener { socket, nonblock }));
        }
        table
    }

    pub fn get(&mut self, fd: u32) -> Outcome<&mut Entry> {
        let entry = self.entries.get_mut(fd as usize);
        let entry = entry.and_then(Option::as_mut);
        entry.ok_or(Errno::BADF)
    }

    /// Takes the lowest free number.
    pub fn insert(&mut self, entry: Entry) -> u32 {
        let free = self.entries.iter().position(Option::is_none);
        let at = free.unwrap_or_else(|| {
            self.entries.push(None);
            self.entries.len() - 1
        });
        self.entries[at] = Some(entry);
        u32::try_from(at).expect("the system has fewer file descriptors than numbers")
    }

    /// Closes. For a connection, wazero makes no system call: the number is free again, and Go's garbage collector
    /// closes the socket later.
    pub fn close(&mut self, fd: u32) -> Outcome {
        let entry = self.entries.get_mut(fd as usize);
        match entry.and_then(Option::take).ok_or(Errno::BADF)? {
            Entry::Stream { socket, .. } => self.garbage.add(socket),
            entry => drop(entry),
        }
        Ok(())
    }

    /// Collects the garbage, if it is time.
    pub fn collect(&mut self) {
        self.garbage.collect();
    }

    /// Accepts. wazero returns `BADF` for all that is no listener, too.
    pub fn accept(&mut self, fd: u32, nonblock: bool) -> Outcome<u32> {
        let Entry::Listener { socket, .. } = self.get(fd)? else {
            return Err(Errno::BADF);
        };
        let (socket, _) = socket.accept()?;
        self.garbage.accepted();
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
            // wazero takes this for closing, and so does nothing.
            3 => return Ok(()),
            _ => return Err(Errno::INVAL),
        };
        Ok(socket.shutdown(how)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::garbage::Schedule;
    use std::time::Duration;

    /// A table with one connection, and the other end of that.
    fn connected(every: Duration, accepts: usize) -> (Table, u32, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let garbage = Garbage::new(Schedule { every, accepts });
        let mut table = Table::new(Vec::new(), vec![listener], garbage);
        let client = TcpStream::connect(address).expect("it listens");
        let patience = Some(Duration::from_millis(50));
        client.set_read_timeout(patience).expect("a time");
        let fd = table.accept(3, true).expect("a connection");
        (table, fd, client)
    }

    fn is_at_end(mut client: &TcpStream) -> bool {
        matches!(client.read(&mut [0]), Ok(0))
    }

    #[test]
    fn closing_does_nothing_until_a_collection() {
        let long = Duration::from_secs(120);
        for (every, accepts, at_end) in [
            (long, 100, false),
            (Duration::ZERO, 100, true),
            (long, 1, true),
        ] {
            let (mut table, fd, client) = connected(every, accepts);
            assert_eq!(table.close(fd), Ok(()));
            assert!(matches!(table.get(fd), Err(Errno::BADF)));
            assert!(!is_at_end(&client));
            table.collect();
            assert_eq!(is_at_end(&client), at_end);
        }
    }

    #[test]
    fn shutting_down_both_directions_at_once_does_nothing() {
        let (mut table, fd, client) = connected(Duration::from_secs(120), 100);
        let mut shutdown = |how| table.get(fd).expect("open").shutdown(how);
        assert_eq!(shutdown(3), Ok(()));
        assert!(!is_at_end(&client));
        assert_eq!((shutdown(2), shutdown(1)), (Ok(()), Ok(())));
        assert!(is_at_end(&client));
    }
}
