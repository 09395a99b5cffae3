//! A server behind a socket, as a subject for the cases.

use super::cases::{Case, End, Handler};
use super::check::{self, Outcome, Probe, Setup, Subject};
use super::notation::Step;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// A server at an address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Socket<'a> {
    pub(crate) address: Address<'a>,
    pub(crate) handler: Handler,
    /// Its limits, where they differ from the defaults.
    pub(crate) settings: &'a [(String, u64)],
    /// How long the server may take to do what is expected.
    pub(crate) patience: Duration,
    /// How inputs are cut.
    pub(crate) pieces: Pieces,
}

/// Where a server listens.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Address<'a> {
    Tcp(SocketAddr),
    /// The path of a Unix domain socket.
    #[cfg_attr(not(unix), expect(dead_code, reason = "only Unix has them"))]
    Unix(&'a Path),
}

impl Address<'_> {
    /// Connects. The calls on a stream are the same for both kinds.
    fn connect(self, patience: Duration) -> io::Result<TcpStream> {
        match self {
            Self::Tcp(address) => {
                let stream = TcpStream::connect_timeout(&address, patience)?;
                stream.set_nodelay(true)?;
                Ok(stream)
            }
            #[cfg(unix)]
            Self::Unix(path) => {
                let stream = std::os::unix::net::UnixStream::connect(path)?;
                Ok(std::os::fd::OwnedFd::from(stream).into())
            }
            #[cfg(not(unix))]
            Self::Unix(_) => Err(ErrorKind::Unsupported.into()),
        }
    }
}

/// In how many ways to send each input. Over a socket each piece takes real time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pieces {
    /// Whole, and in two at one place.
    Few,
    /// Also in two at other places, and byte by byte if short.
    Many,
}

/// If a server is expected to do nothing more, how long to check that.
const SILENCE: Duration = Duration::from_millis(150);

/// The pause between two pieces, so that the server reads them separately.
const PAUSE: Duration = Duration::from_millis(5);

impl Subject for Socket<'_> {
    fn run(&mut self, steps: &[Step], setup: &Setup<'_>) -> Result<Outcome, String> {
        let failed = |what: &'static str| move |error: std::io::Error| format!("{what}: {error}");
        let connected = self.address.connect(self.patience);
        let mut stream = connected.map_err(failed("connecting"))?;
        let mut reader = stream.try_clone().map_err(failed("setting up"))?;
        let (end, responses, patience) = (setup.end, setup.responses, self.patience);
        // Another thread reads. Otherwise a long response and a long input could wait for each other.
        let sent = Arc::new(AtomicBool::new(false));
        let all_sent = Arc::clone(&sent);
        let reading = thread::spawn(move || read(&mut reader, &all_sent, end, responses, patience));
        let writing = write(&mut stream, steps);
        sent.store(true, Ordering::Release);
        let read = reading
            .join()
            .map_err(|_| "the reader panicked".to_owned())?;
        writing.map_err(failed("writing"))?;
        let (responded, closed) = read.map_err(failed("reading"))?;
        Ok(Outcome {
            responded,
            seen: None,
            closed,
        })
    }
}

fn write(stream: &mut TcpStream, steps: &[Step]) -> std::io::Result<()> {
    for (nth, step) in steps.iter().enumerate() {
        if nth > 0 {
            thread::sleep(PAUSE);
        }
        match step {
            Step::Bytes(bytes) => match stream.write_all(bytes) {
                Ok(()) => {}
                // The server has closed, and needn't read more. If it was a reset, the reader sees that.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
                Err(error) => return Err(error),
            },
            Step::Wait(time) => thread::sleep(*time),
            Step::Eof => stream.shutdown(Shutdown::Write)?,
        }
    }
    Ok(())
}

/// Reads until the end of the stream, or until nothing has come for a while after everything was sent. Returns the
/// bytes, and whether the stream has ended.
fn read(
    stream: &mut TcpStream,
    sent: &AtomicBool,
    end: End,
    responses: usize,
    patience: Duration,
) -> std::io::Result<(Vec<u8>, bool)> {
    let wait = |responded: &[u8]| match end {
        End::Open | End::Waiting if have_begun(responses, responded) => SILENCE,
        End::Open | End::Waiting | End::Close => patience,
    };
    let mut responded = Vec::new();
    let mut last = Instant::now();
    let mut buffer = [0; 16 * 1024];
    stream.set_read_timeout(Some(Duration::from_millis(20)))?;
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok((responded, true)),
            Ok(length) => {
                responded.extend_from_slice(&buffer[..length]);
                last = Instant::now();
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if !sent.load(Ordering::Acquire) {
                    last = Instant::now();
                } else if last.elapsed() >= wait(&responded) {
                    return Ok((responded, false));
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether at least `count` responses have begun.
fn have_begun(count: usize, responded: &[u8]) -> bool {
    const BEGIN: &[u8] = b"HTTP/1.1 ";
    let begins = responded.windows(BEGIN.len()).filter(|it| *it == BEGIN);
    begins.take(count).count() == count
}

/// Whether a case can run against this server, in a reasonable time.
pub(crate) fn fits(case: &Case, subject: &Socket<'_>) -> bool {
    let waits = case.inputs.iter().flatten().filter_map(|step| match step {
        Step::Wait(time) => Some(*time),
        Step::Bytes(_) | Step::Eof => None,
    });
    let waits: Duration = waits.sum();
    case.handler == subject.handler
        && case.settings == subject.settings
        && waits <= Duration::from_secs(1)
}

/// Runs all cases that fit against a server. Returns how many runs there were, and a report of each
/// that has failed.
pub(crate) fn run_all(cases: &[Case], subject: Socket<'_>) -> (usize, Vec<String>) {
    const CLIENTS: usize = 16;
    let next = AtomicUsize::new(0);
    let runs = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if !fits(case, &subject) {
                        continue;
                    }
                    let mut failed = run_case(case, subject, &runs);
                    failures
                        .lock()
                        .expect("no client panicked")
                        .append(&mut failed);
                }
            });
        }
    });
    (
        runs.into_inner(),
        failures.into_inner().expect("no client panicked"),
    )
}

fn run_case(case: &Case, mut subject: Socket<'_>, runs: &AtomicUsize) -> Vec<String> {
    let mut failures = Vec::new();
    for input in &case.inputs {
        for (name, mut steps) in ways(input, subject.pieces) {
            // If the connection should be open, one more request must get a response.
            let (mut probe, mut end) = (Probe::None, case.end);
            if case.end == End::Open && check::can_go_on(input) {
                (probe, end) = (Probe::Closing, End::Close);
                steps = check::followed_by(&steps, probe.bytes());
            }
            let setup = Setup {
                handler: case.handler,
                settings: &case.settings,
                end,
                responses: case.responses.len(),
            };
            runs.fetch_add(1, Ordering::Relaxed);
            let outcome = subject.run(&steps, &setup);
            let shown = format!("{outcome:?}");
            let result = outcome.and_then(|outcome| check::check(case, &outcome, probe));
            if let Err(problem) = result {
                failures.push(check::report(case, &name, &steps, &shown, &problem));
            }
        }
    }
    failures
}

/// The ways in which an input is sent over a socket.
fn ways(input: &[Step], pieces: Pieces) -> Vec<(String, Vec<Step>)> {
    const SHORT: usize = 160;
    let all = check::ways_to_cut(input);
    let mut ways = vec![("whole".to_owned(), input.to_vec())];
    let Some(singly) = all.get(1) else {
        return ways;
    };
    let (quarters, is_short): (&[usize], _) = match pieces {
        Pieces::Few => (&[2], false),
        Pieces::Many => (&[1, 2, 3], singly.len() <= SHORT),
    };
    if is_short {
        ways.push(("byte by byte".to_owned(), check::cut(input, singly)));
    }
    let places: Vec<usize> = all[2..].iter().flatten().copied().collect();
    for quarter in quarters {
        if let Some(&at) = places.get(places.len() * quarter / 4) {
            ways.push((format!("cut at {at}"), check::cut(input, &[at])));
        }
    }
    ways
}
