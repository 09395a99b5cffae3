//! [`AccessLog`]: a line for each response.
//!
//! | what | where |
//! |---|---|
//! | the lines of each format | `format` |
//! | text from clients in a line | `escape` |
//! | dates | `date` |
//! | lines that wait to be written, and what happens if they can't be | `buffer` |
//! | when they are written | `before_wait`, which the loop calls |

mod buffer;
mod date;
mod escape;
mod format;

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use self::buffer::Buffer;
use self::date::DateText;
pub use self::format::LogFormat;
use super::{LOG_DELAY, One, ResponseEvent};
use crate::executor::lock;
use crate::time::Instant;

/// A line for each response, in a file or any other [`Write`]r. Pass it to
/// [`Server::access_log`](crate::Server::access_log).
///
/// ```no_run
/// use mini_http::{AccessLog, LogFormat, Response, Server};
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let log = AccessLog::open(LogFormat::Combined, "access.log")?;
///     let mut server = Server::new("127.0.0.1:3000")?;
///     server.access_log(&log);
///     server.start(|_request| Response::new(b"hello\n".to_vec()))?;
///     Ok(())
/// }
/// ```
///
/// Lines are written together: after a tenth of a second at the latest, or when 32 KiB of them wait, and when the
/// server ends. A process that is killed loses those that wait. The server writes them on its own thread. Files are
/// fine, and pipes to programs that read fast enough; a slow reader makes the server wait.
///
/// **If a line can't be written**, for example because the disk is full or the writer panics, the server continues. The
/// failure is logged once. Up to 256 KiB of lines are kept, and written when writing succeeds again. Further ones are
/// dropped and counted ([`lost`](Self::lost)).
///
/// **Rotation.** [`open`](Self::open) appends, so a program that copies and truncates the file (logrotate's
/// `copytruncate`) needs nothing else. One that renames it must have [`reopen`](Self::reopen) called afterwards, for
/// example at a signal.
///
/// **Text of clients** can't break a line: what isn't printable ASCII is escaped, and long fields are cut at 1 KiB.
///
/// It can be cloned; all clones are the same log. Several servers can use it.
#[derive(Clone)]
pub struct AccessLog {
    shared: Arc<Shared>,
}

struct Shared {
    format: LogFormat,
    path: Option<PathBuf>,
    state: Mutex<State>,
}

struct State {
    buffer: Buffer,
    date: DateText,
    /// When waiting lines are written.
    due: Option<Instant>,
}

impl AccessLog {
    /// A log that is written to `writer`. Lines are passed to it together, without being cut.
    pub fn new(format: LogFormat, writer: impl Write + Send + 'static) -> Self {
        Self::with(format, None, Box::new(writer))
    }

    /// A log in a file, which is created if there is none. Lines are appended.
    ///
    /// # Errors
    /// Those of the system, if the file can't be opened.
    pub fn open(format: LogFormat, path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let file = append_to(path)?;
        Ok(Self::with(format, Some(path.to_owned()), Box::new(file)))
    }

    /// Opens the file of [`open`](Self::open) by its path again, because it was renamed or removed. Lines that wait are
    /// written to the old one first. It can be called on any thread.
    ///
    /// # Errors
    /// Those of the system, if the file can't be opened: the old one is still used. `Unsupported` for a log that was
    /// made by [`new`](Self::new).
    pub fn reopen(&self) -> io::Result<()> {
        let Some(path) = &self.shared.path else {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "the log has no file to open again: make it with AccessLog::open",
            ));
        };
        let file = append_to(path)?;
        lock(&self.shared.state).buffer.replace(Box::new(file));
        Ok(())
    }

    /// Writes the lines that wait.
    pub fn flush(&self) {
        lock(&self.shared.state).flush();
    }

    /// How many lines were dropped because they couldn't be written.
    #[must_use]
    pub fn lost(&self) -> u64 {
        lock(&self.shared.state).buffer.lost()
    }

    fn with(format: LogFormat, path: Option<PathBuf>, writer: Box<dyn Write + Send>) -> Self {
        Self {
            shared: Arc::new(Shared {
                format,
                path,
                state: Mutex::new(State {
                    buffer: Buffer::new(writer),
                    date: DateText::default(),
                    due: None,
                }),
            }),
        }
    }
}

impl One for AccessLog {
    fn handle_event(&self, event: &ResponseEvent<'_>) {
        let state = &mut *lock(&self.shared.state);
        let date = &mut state.date;
        (state.buffer).push(|line| self.shared.format.write(line, event, date));
    }

    fn uses_fields(&self) -> bool {
        self.shared.format != LogFormat::Common
    }

    fn before_wait(&self, now: Instant) -> Option<Instant> {
        let state = &mut *lock(&self.shared.state);
        if state.buffer.is_empty() {
            return None;
        }
        // Each loop has a clock of its own: the moment that another one has set may seem far away.
        let latest = now + LOG_DELAY;
        let due = state.due.map_or(latest, |due| due.min(latest));
        state.due = Some(due);
        if due > now {
            return Some(due);
        }
        state.flush();
        // What couldn't be written is tried again.
        state.due = (!state.buffer.is_empty()).then_some(now + LOG_DELAY);
        state.due
    }

    fn flush(&self) {
        AccessLog::flush(self);
    }
}

impl State {
    fn flush(&mut self) {
        self.due = None;
        self.buffer.flush();
    }
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessLog")
            .field("format", &self.shared.format)
            .field("path", &self.shared.path)
            .finish_non_exhaustive()
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines that were written.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            lock(&self.0).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The loop whose clock shows more is in a handler that blocks.
    #[test]
    fn each_loop_writes_in_time_by_its_own_clock() {
        let written = Written::default();
        let log = AccessLog::new(LogFormat::Common, written.clone());
        let push = |line: &'static [u8]| {
            let mut state = lock(&log.shared.state);
            state.buffer.push(|lines| lines.extend_from_slice(line));
        };
        let old = Instant::from_nanos(3_600_000_000_000);
        let young = Instant::from_nanos(5);
        push(b"1\n");
        assert_eq!(log.before_wait(old), Some(old + LOG_DELAY));
        push(b"2\n");
        assert_eq!(log.before_wait(young), Some(young + LOG_DELAY));
        assert_eq!(log.before_wait(young + LOG_DELAY), None);
        assert_eq!(*lock(&written.0), b"1\n2\n");
    }
}
