//! What a service reports to systemd.

use std::io::{Read, Write};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use super::process::{Process, connect, rest, work};
use super::quiet::{check, in_a_quiet_moment};
use super::{GET, SIGTERM, SOON};

/// The socket of systemd, to which a service reports.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("mini_http-{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_read_timeout(Some(SOON)).expect("a timeout");
        Self { socket, path }
    }

    fn env(&self) -> (&'static str, String) {
        ("NOTIFY_SOCKET", self.path.display().to_string())
    }

    fn message(&self) -> String {
        let mut buffer = [0; 256];
        let length = self.socket.recv(&mut buffer).expect("a message");
        String::from_utf8_lossy(&buffer[..length]).trim_end().into()
    }

    /// Reads what has been sent. Then no message may come for as long as several pings would take.
    fn expect_silence(&self) {
        self.socket.set_nonblocking(true).expect("a socket");
        while self.socket.recv(&mut [0; 256]).is_ok() {}
        self.socket.set_nonblocking(false).expect("a socket");
        let silence = Some(Duration::from_millis(600));
        self.socket.set_read_timeout(silence).expect("a timeout");
        let message = self.socket.recv(&mut [0; 256]);
        message.expect_err("no ping while it is blocked");
        self.socket.set_read_timeout(Some(SOON)).expect("a timeout");
    }

    /// The next message that isn't a watchdog ping, and how many pings came before it.
    fn news(&self) -> (String, usize) {
        let mut pings = 0;
        loop {
            match self.message() {
                message if message == "WATCHDOG=1" => pings += 1,
                message => return (message, pings),
            }
        }
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

#[test]
fn it_reports_that_it_is_ready_and_that_it_stops() {
    let manager = Manager::new("ready");
    let mut server = Process::start("once", &[manager.env()]);
    assert_eq!(manager.message(), "READY=1");
    let address = server.address();
    assert!(rest(work(address, 0)).ends_with("hello!"));
    let slow = work(address, 500);
    // Once for each request.
    server.said("working");
    server.said("working");
    server.signal(SIGTERM);
    assert_eq!(manager.message(), "STOPPING=1");
    assert!(rest(slow).ends_with("hello!"));
    assert_eq!(server.ended_within(SOON).code(), Some(0));
    manager.socket.set_nonblocking(true).expect("a socket");
    manager
        .socket
        .recv(&mut [0; 256])
        .expect_err("that was all");
}

#[test]
fn watchdog_pings_are_sent_at_half_of_the_watchdog_time() {
    in_a_quiet_moment(pings_are_even);
}

fn pings_are_even() -> Result<(), String> {
    let manager = Manager::new("watchdog");
    let limit = Duration::from_millis(400);
    let micros = ("WATCHDOG_USEC", limit.as_micros().to_string());
    let mut server = Process::start("once", &[manager.env(), micros]);
    let address = server.address();
    assert_eq!(manager.news().0, "READY=1");
    assert_eq!(manager.message(), "WATCHDOG=1");
    let since = Instant::now();
    for count in 1..=10 {
        assert_eq!(manager.message(), "WATCHDOG=1");
        let late = since.elapsed().saturating_sub(limit / 2 * count);
        // The machine may be busy. If pings came at the limit only, the last one would be two seconds late.
        check(late < limit, || format!("ping {count} is {late:?} late"))?;
    }
    let took = since.elapsed();
    check(took > limit * 9 / 2, || {
        format!("they come too often: {took:?}")
    })?;

    // A busy server sends no more of them than an idle one.
    let mut busy = connect(address);
    let since = Instant::now();
    let mut requests = 0;
    while since.elapsed() < limit * 2 {
        busy.write_all(GET.as_bytes()).expect("it reads");
        assert_ne!(busy.read(&mut [0; 1024]).expect("a response"), 0);
        requests += 1;
    }
    server.signal(SIGTERM);
    let (message, pings) = manager.news();
    assert_eq!(message, "STOPPING=1");
    check((2..=6).contains(&pings), || {
        format!("{pings} pings for {requests} requests")
    })
}

#[test]
fn while_a_handler_blocks_no_watchdog_ping_is_sent() {
    let manager = Manager::new("blocked");
    let micros = ("WATCHDOG_USEC", "200000".to_owned());
    let mut server = Process::start("once", &[manager.env(), micros]);
    let address = server.address();
    let slow = work(address, 2_000);
    server.said("working");
    manager.expect_silence();
    assert!(rest(slow).ends_with("hello!"));
    assert_eq!(manager.message(), "WATCHDOG=1");
}

#[test]
fn several_workers_report_together() {
    in_a_quiet_moment(workers_report_together);
}

fn workers_report_together() -> Result<(), String> {
    let manager = Manager::new("workers");
    let micros = ("WATCHDOG_USEC", "200000".to_owned());
    let mut server = Process::start("workers", &[manager.env(), micros]);
    server.address();
    assert_eq!(manager.message(), "READY=1");
    assert_eq!(manager.message(), "WATCHDOG=1");
    let since = Instant::now();
    for _ in 0..5 {
        assert_eq!(manager.message(), "WATCHDOG=1");
    }
    let took = since.elapsed();
    check(took > Duration::from_millis(300), || {
        format!("they come too often: {took:?}")
    })?;

    server.signal(SIGTERM);
    assert_eq!(manager.news().0, "STOPPING=1");
    assert_eq!(server.ended_within(SOON).code(), Some(0));
    manager.socket.set_nonblocking(true).expect("a socket");
    let mut buffer = [0; 256];
    while let Ok(length) = manager.socket.recv(&mut buffer) {
        assert_eq!(buffer[..length].trim_ascii(), b"WATCHDOG=1");
    }
    Ok(())
}

#[test]
fn one_blocked_worker_is_enough_to_end_watchdog_pings() {
    let manager = Manager::new("worker");
    let micros = ("WATCHDOG_USEC", "200000".to_owned());
    let mut server = Process::start("workers", &[manager.env(), micros]);
    let address = server.address();
    // The system spreads connections by their ports: not all of these come to the first worker.
    let _slow: Vec<_> = (0..32).map(|_| work(address, 5_000)).collect();
    server.said("working");
    // The first worker goes on, and may still complete one ping.
    thread::sleep(Duration::from_millis(300));
    manager.expect_silence();
}

#[test]
fn without_a_listening_manager_it_serves() {
    let nowhere = std::env::temp_dir().join("mini_http-there-is-no-such-socket");
    let micros = ("WATCHDOG_USEC", "100000".to_owned());
    let socket = ("NOTIFY_SOCKET", nowhere.display().to_string());
    for env in [vec![micros.clone()], vec![micros, socket]] {
        let mut server = Process::start("once", &env);
        let address = server.address();
        assert!(rest(work(address, 0)).ends_with("hello!"));
        server.signal(SIGTERM);
        assert_eq!(server.ended_within(SOON).code(), Some(0));
    }
}
