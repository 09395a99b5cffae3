//! The guest's file descriptors.
//!
//! Sockets and the standard streams belong to this host. Files and directories have numbers in the table of
//! wasmtime-wasi, which is private, so the guest's numbers are translated.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::errno::Errno;
use crate::socket::Socket;

/// A file descriptor of the guest.
pub(crate) type Fd = u32;

/// What a file descriptor refers to.
#[derive(Debug)]
pub(crate) enum Entry {
    /// It isn't open.
    Free,
    /// The standard stream of this number.
    Stdio(u32),
    /// A file or a directory: its number in the table of wasmtime-wasi.
    Inner(u32),
    /// A listener or a connection.
    Socket(Box<Socket>),
}

/// All file descriptors of one guest.
#[derive(Debug)]
pub(crate) struct Table {
    entries: Vec<Entry>,
    /// The numbers below the end of `entries` that aren't open. The lowest is used first.
    free: BinaryHeap<Reverse<Fd>>,
    /// How many may be open.
    most: usize,
}

impl Table {
    /// A table for `most` file descriptors.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            entries: Vec::new(),
            free: BinaryHeap::new(),
            most,
        }
    }

    /// What `fd` refers to.
    pub(crate) fn get(&self, fd: Fd) -> &Entry {
        self.entries.get(fd as usize).unwrap_or(&Entry::Free)
    }

    /// The socket with this number.
    pub(crate) fn socket(&mut self, fd: Fd) -> Option<&mut Socket> {
        match self.entries.get_mut(fd as usize) {
            Some(Entry::Socket(socket)) => Some(socket),
            _ => None,
        }
    }

    /// Checks that there is room for one more.
    ///
    /// # Errors
    /// `MFILE`.
    pub(crate) fn has_room(&self) -> Result<(), Errno> {
        match self.open() < self.most {
            true => Ok(()),
            false => Err(Errno::MFILE),
        }
    }

    /// Adds `entry` with the lowest number that isn't open, as in POSIX.
    pub(crate) fn insert(&mut self, entry: Entry) -> Fd {
        match self.free.pop() {
            Some(Reverse(fd)) => {
                self.entries[fd as usize] = entry;
                fd
            }
            None => {
                self.entries.push(entry);
                // `most` is far below 2^32.
                (self.entries.len() - 1) as Fd
            }
        }
    }

    /// Removes what `fd` refers to.
    pub(crate) fn remove(&mut self, fd: Fd) -> Entry {
        let entry = self.replace(fd, Entry::Free);
        if !matches!(entry, Entry::Free) {
            self.free.push(Reverse(fd));
        }
        entry
    }

    /// Moves `from` to the number `to`. Both must be open. Returns what `to` referred to.
    pub(crate) fn renumber(&mut self, from: Fd, to: Fd) -> Entry {
        let entry = self.remove(from);
        self.replace(to, entry)
    }

    /// How many are open.
    pub(crate) fn open(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    fn replace(&mut self, fd: Fd, entry: Entry) -> Entry {
        match self.entries.get_mut(fd as usize) {
            Some(place) => std::mem::replace(place, entry),
            None => Entry::Free,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inner(table: &Table, fd: Fd) -> Option<u32> {
        match table.get(fd) {
            Entry::Inner(inner) => Some(*inner),
            _ => None,
        }
    }

    #[test]
    fn the_lowest_free_number_is_used() {
        let mut table = Table::new(8);
        for number in 0..4 {
            assert_eq!(table.insert(Entry::Inner(number)), number);
        }
        assert!(matches!(table.remove(2), Entry::Inner(2)));
        assert!(matches!(table.remove(1), Entry::Inner(1)));
        assert!(matches!(table.remove(1), Entry::Free));
        assert_eq!(table.open(), 2);
        assert_eq!(table.insert(Entry::Inner(10)), 1);
        assert_eq!(table.insert(Entry::Inner(11)), 2);
        assert_eq!(table.insert(Entry::Inner(12)), 4);
        assert!(matches!(table.get(u32::MAX), Entry::Free));
        assert!(matches!(table.remove(u32::MAX), Entry::Free));
    }

    #[test]
    fn a_renumbered_one_leaves_its_number_free() {
        let mut table = Table::new(8);
        for number in 0..4 {
            table.insert(Entry::Inner(number));
        }
        assert!(matches!(table.renumber(3, 1), Entry::Inner(1)));
        assert_eq!((inner(&table, 1), inner(&table, 3)), (Some(3), None));
        assert_eq!(table.insert(Entry::Inner(9)), 3);
    }

    #[test]
    fn beyond_the_limit_there_is_no_room() {
        let mut table = Table::new(2);
        table.insert(Entry::Stdio(0));
        assert_eq!(table.has_room(), Ok(()));
        table.insert(Entry::Stdio(1));
        assert_eq!(table.has_room(), Err(Errno::MFILE));
        table.remove(0);
        assert_eq!(table.has_room(), Ok(()));
    }
}
