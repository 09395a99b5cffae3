//! [`Buffer`]: lines that wait to be written.

use std::io::{self, ErrorKind, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::log::{error, info};

/// Lines that wait to be written, and where to.
pub(super) struct Buffer {
    writer: Box<dyn Write + Send>,
    lines: Vec<u8>,
    /// The last write failed, which was logged.
    is_failing: bool,
    lost: u64,
}

/// Lines are written when this many bytes wait. With half of it, a busy server makes twice as many calls; with twice as
/// much, they no longer fit into the first-level cache of small processors.
const FULL: usize = 32 << 10;

/// How many bytes may wait while writing fails: two seconds of a server with a thousand requests a second. Less would
/// lose lines when a log is moved to another disk; more isn't worth the memory of a module.
const MAX_BYTES: usize = 256 << 10;

impl Buffer {
    pub(super) fn new(writer: Box<dyn Write + Send>) -> Self {
        Self {
            writer,
            lines: Vec::new(),
            is_failing: false,
            lost: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// Appends a line. It is dropped if too many wait because they can't be written.
    pub(super) fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let before = self.lines.len();
        write(&mut self.lines);
        if self.lines.len() > MAX_BYTES {
            self.lines.truncate(before);
            self.lost += 1;
        } else if self.lines.len() >= FULL && !self.is_failing {
            self.flush();
        }
    }

    /// Writes what waits, as far as that succeeds.
    pub(super) fn flush(&mut self) {
        let mut written = 0;
        let result = loop {
            let rest = &self.lines[written..];
            if rest.is_empty() {
                break caught(|| self.writer.flush());
            }
            match caught(|| self.writer.write(rest)) {
                Ok(0) => break Err(ErrorKind::WriteZero.into()),
                Ok(count) => written += count.min(rest.len()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        // A line of which only a part is written is continued later.
        self.lines.drain(..written);
        self.log_change(result);
    }

    /// Writes what waits, and the following lines to another writer.
    pub(super) fn replace(&mut self, writer: Box<dyn Write + Send>) {
        self.flush();
        self.writer = writer;
        if self.is_failing {
            self.flush();
        }
    }

    fn log_change(&mut self, result: io::Result<()>) {
        match result {
            Ok(()) if self.is_failing => {
                self.is_failing = false;
                info!(target: "mini_http", "the access log is written again; {} lines were lost so far", self.lost);
            }
            Err(error) if !self.is_failing => {
                self.is_failing = true;
                error!(
                    target: "mini_http",
                    "the access log can't be written: {error}; up to {MAX_BYTES} bytes of it wait, further lines are lost"
                );
            }
            Ok(()) | Err(_) => {}
        }
    }
}

/// A panic of the user's writer counts as a failed write. Otherwise, lines that are written already would be written
/// again.
fn caught<T>(write: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    catch_unwind(AssertUnwindSafe(write))
        .unwrap_or_else(|_| Err(io::Error::other("the writer panicked")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// A disk with this much room.
    #[derive(Clone, Default)]
    struct Disk(Arc<Mutex<(Vec<u8>, usize)>>);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (file, room) = &mut *self.0.lock().expect("not poisoned");
            match bytes.len().min(*room) {
                0 => Err(ErrorKind::StorageFull.into()),
                count => {
                    file.extend_from_slice(&bytes[..count]);
                    *room -= count;
                    Ok(count)
                }
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Disk {
        fn set_room(&self, room: usize) {
            self.0.lock().expect("not poisoned").1 = room;
        }

        fn text(&self) -> String {
            let file = &self.0.lock().expect("not poisoned").0;
            String::from_utf8_lossy(file).into_owned()
        }
    }

    fn push(buffer: &mut Buffer, number: usize) {
        buffer.push(|line| line.extend_from_slice(format!("line {number}\n").as_bytes()));
    }

    #[test]
    fn lines_are_written_together() {
        let disk = Disk::default();
        disk.set_room(usize::MAX);
        let mut buffer = Buffer::new(Box::new(disk.clone()));
        for number in 0..3 {
            push(&mut buffer, number);
        }
        assert_eq!(disk.text(), "");
        buffer.flush();
        assert_eq!(disk.text(), "line 0\nline 1\nline 2\n");
        assert!(buffer.is_empty());
        buffer.push(|line| line.extend_from_slice(&[b'x'; FULL]));
        assert!(buffer.is_empty());
    }

    #[test]
    fn a_full_disk_loses_only_what_there_is_no_room_for() {
        let disk = Disk::default();
        disk.set_room(10);
        let mut buffer = Buffer::new(Box::new(disk.clone()));
        let count = 100_000;
        for number in 0..count {
            push(&mut buffer, number);
            if number % 100 == 0 {
                buffer.flush();
            }
            assert!(buffer.lines.len() <= MAX_BYTES);
        }
        assert!(buffer.lost() > 0 && buffer.is_failing);
        disk.set_room(usize::MAX);
        buffer.flush();
        assert!(buffer.is_empty() && !buffer.is_failing);
        let text = disk.text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len() as u64 + buffer.lost(), count as u64);
        for (number, line) in lines.iter().enumerate() {
            assert_eq!(*line, format!("line {number}"));
        }
        push(&mut buffer, count);
        buffer.flush();
        assert!(disk.text().ends_with(&format!("\nline {count}\n")));
    }

    // On WASI a panic ends the process.
    #[cfg(not(target_os = "wasi"))]
    mod panics {
        use super::*;

        /// Panics at its second call, after it has taken a part.
        #[derive(Default)]
        struct Panics {
            calls: usize,
            disk: Disk,
        }

        impl Write for Panics {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.calls += 1;
                assert_ne!(self.calls, 2, "a test's panic");
                self.disk.write(&bytes[..bytes.len().min(3)])
            }

            fn flush(&mut self) -> io::Result<()> {
                assert_ne!(self.calls, 4, "a test's panic");
                Ok(())
            }
        }

        #[test]
        fn a_writer_that_panics_has_failed() {
            let writer = Panics::default();
            let disk = writer.disk.clone();
            disk.set_room(usize::MAX);
            let mut buffer = Buffer::new(Box::new(writer));
            push(&mut buffer, 12);
            buffer.flush();
            assert_eq!((disk.text(), buffer.is_failing), ("lin".into(), true));
            buffer.flush();
            assert_eq!((disk.text(), buffer.is_failing), ("line 12\n".into(), true));
            push(&mut buffer, 3);
            buffer.flush();
            assert_eq!(disk.text(), "line 12\nline 3\n");
            assert!(buffer.is_empty() && !buffer.is_failing);
        }
    }

    #[test]
    fn waiting_lines_survive_reopening_the_file() {
        let (full, other) = (Disk::default(), Disk::default());
        let mut buffer = Buffer::new(Box::new(full));
        push(&mut buffer, 1);
        buffer.flush();
        other.set_room(usize::MAX);
        buffer.replace(Box::new(other.clone()));
        assert_eq!(other.text(), "line 1\n");
        let next = Disk::default();
        next.set_room(usize::MAX);
        push(&mut buffer, 2);
        buffer.replace(Box::new(next.clone()));
        push(&mut buffer, 3);
        buffer.flush();
        assert_eq!(
            (other.text(), next.text()),
            ("line 1\nline 2\n".into(), "line 3\n".into())
        );
    }
}
