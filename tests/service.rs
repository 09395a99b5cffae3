//! A server as a service, in a process of its own: signals stop it, and it reports to systemd.
#![cfg(unix)]
#![allow(
    clippy::print_stdout,
    reason = "a child says what it does, and a test reads it"
)]

#[path = "common/quiet.rs"]
mod quiet;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use mini_http::{ErrorKind, Request, Response, Server};

use self::quiet::{check, in_a_quiet_moment};

const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;
const SOON: Duration = Duration::from_secs(30);
/// In the environment of a child: what it does.
const ROLE: &str = "SERVICE_TEST_ROLE";
const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

/// What children of the tests do. In other runs it does nothing.
#[test]
fn child() {
    match std::env::var(ROLE).as_deref() {
        Ok("once") => serve(),
        Ok("twice") => {
            serve();
            serve();
        }
        Ok("goes on") => {
            serve();
            println!("stopped");
            thread::sleep(SOON);
        }
        Ok("workers") => serve_by_two(),
        Ok("several") => {
            let ended_early = bind();
            ended_early.stop_on_signals().expect("signal handlers");
            drop(ended_early);
            let other = bind();
            other.stop_on_signals().expect("signal handlers");
            thread::scope(|scope| {
                scope.spawn(|| other.start(|_| Response::new(Vec::new())));
                serve();
            });
        }
        _ => {}
    }
}

fn bind() -> Server {
    Server::new("127.0.0.1:0").expect("a free port")
}

/// A server whose `/work?MS` takes this time. It prints its port.
fn serve() {
    let mut server = bind();
    server.notify_systemd();
    server.stop_on_signals().expect("signal handlers");
    println!("port {}", server.local_addr().expect("an address").port());
    server.start(handle).expect("it ends well");
}

/// The same with two workers, of which only the second one takes time. It is on a thread of its own.
fn serve_by_two() {
    let mut server = bind();
    server.workers(2).notify_systemd();
    server.stop_on_signals().expect("signal handlers");
    println!("port {}", server.local_addr().expect("an address").port());
    let ended = server.start_each(|| {
        let is_second = thread::current().name() == Some("mini_http-2");
        move |request| match is_second {
            true => handle(request),
            false => Response::new(b"first".to_vec()),
        }
    });
    ended.expect("it ends well");
}

fn handle(request: Request) -> Response<Vec<u8>> {
    if let Some(millis) = request.uri().query().and_then(|it| it.parse().ok()) {
        println!("working");
        thread::sleep(Duration::from_millis(millis));
    }
    Response::new(b"hello!".to_vec())
}

/// A child, which is killed when this is dropped.
struct Process {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Process {
    fn start(role: &str, env: &[(&str, String)]) -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut child = Command::new(program)
            .args(["--exact", "child", "--nocapture"])
            .env(ROLE, role)
            .env_remove("NOTIFY_SOCKET")
            .env_remove("WATCHDOG_USEC")
            .env_remove("WATCHDOG_PID")
            .envs(env.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let out = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, out }
    }

    /// Reads its output up to a line that ends with a word after this one, and returns that word.
    fn said(&mut self, word: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert_ne!(self.out.read_line(&mut line).expect("text"), 0, "no {word}");
            if let Some((_, rest)) = line.trim_end().split_once(word) {
                return rest.trim().into();
            }
        }
    }

    fn address(&mut self) -> SocketAddr {
        let port: u16 = self.said("port ").parse().expect("a number");
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn signal(&self, signal: i32) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill")
            .args([format!("-{signal}"), pid])
            .status();
        assert!(sent.expect("kill").success());
    }

    /// Waits until it has got the signals that were sent. Where that isn't known, it waits for a while.
    fn await_signals(&self) {
        let since = Instant::now();
        let status = format!("/proc/{}/status", self.child.id());
        let is_pending = |status: &str| {
            let mut sets = status.lines().filter_map(|line| {
                let set = line.strip_prefix("ShdPnd:");
                set.or_else(|| line.strip_prefix("SigPnd:"))
            });
            sets.any(|set| set.trim().bytes().any(|digit| digit != b'0'))
        };
        while std::fs::read_to_string(&status).is_ok_and(|it| is_pending(&it)) {
            assert!(since.elapsed() < SOON, "it doesn't get its signals");
            thread::sleep(Duration::from_millis(5));
        }
        thread::sleep(Duration::from_millis(100));
    }

    fn ended_within(&mut self, most: Duration) -> ExitStatus {
        let since = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(since.elapsed() < most, "it doesn't end");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    stream
}

fn work(address: SocketAddr, millis: u64) -> TcpStream {
    let mut stream = connect(address);
    let request = format!("GET /work?{millis} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    stream
}

fn rest(mut stream: TcpStream) -> String {
    let mut all = String::new();
    stream.read_to_string(&mut all).expect("no reset");
    all
}

#[test]
fn each_signal_stops_it_and_no_request_is_lost() {
    for signal in [SIGTERM, SIGINT] {
        let mut server = Process::start("once", &[]);
        let address = server.address();
        let slow = work(address, 300);
        server.said("working");
        server.signal(signal);
        let response = rest(slow);
        assert!(response.ends_with("hello!"), "{response}");
        assert!(response.contains("connection: close\r\n"), "{response}");
        let status = server.ended_within(SOON);
        assert_eq!(status.code(), Some(0), "{status}");
    }
}

#[test]
fn the_second_signal_ends_it_at_once() {
    for (first, second) in [(SIGTERM, SIGTERM), (SIGINT, SIGINT), (SIGINT, SIGTERM)] {
        let mut server = Process::start("once", &[]);
        let address = server.address();
        let _slow = work(address, 60_000);
        server.said("working");
        server.signal(first);
        // Signals of one kind that come at the same time are one signal.
        server.await_signals();
        assert!(
            server.child.try_wait().expect("a child").is_none(),
            "the first one ended it"
        );
        server.signal(second);
        let status = server.ended_within(SOON);
        assert_eq!(status.signal(), Some(second), "{status}");
    }
}

#[test]
fn when_the_server_has_stopped_a_signal_ends_the_process() {
    let mut server = Process::start("goes on", &[]);
    server.address();
    server.signal(SIGTERM);
    server.said("stopped");
    server.signal(SIGTERM);
    let status = server.ended_within(SOON);
    assert_eq!(status.signal(), Some(SIGTERM), "{status}");
}

#[test]
fn the_next_server_of_the_process_is_stopped_by_a_first_signal_too() {
    let mut server = Process::start("twice", &[]);
    for _ in 0..2 {
        let address = server.address();
        let slow = work(address, 300);
        server.said("working");
        server.signal(SIGTERM);
        assert!(rest(slow).ends_with("hello!"));
    }
    assert_eq!(server.ended_within(SOON).code(), Some(0));
}

#[test]
fn a_signal_stops_all_servers_of_the_process() {
    let mut server = Process::start("several", &[]);
    let address = server.address();
    let slow = work(address, 100);
    server.said("working");
    server.signal(SIGTERM);
    assert!(rest(slow).ends_with("hello!"));
    assert_eq!(server.ended_within(SOON).code(), Some(0));
}

/// The place of systemd.
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

    /// For as long as several messages would take, once what has been sent is read.
    fn expect_silence(&self) {
        self.socket.set_nonblocking(true).expect("a socket");
        while self.socket.recv(&mut [0; 256]).is_ok() {}
        self.socket.set_nonblocking(false).expect("a socket");
        let silence = Some(Duration::from_millis(600));
        self.socket.set_read_timeout(silence).expect("a timeout");
        let message = self.socket.recv(&mut [0; 256]);
        message.expect_err("it is stuck, and said otherwise");
        self.socket.set_read_timeout(Some(SOON)).expect("a timeout");
    }

    /// The next message that isn't a sign of life, and how many of those came before it.
    fn news(&self) -> (String, usize) {
        let mut alive = 0;
        loop {
            match self.message() {
                message if message == "WATCHDOG=1" => alive += 1,
                message => return (message, alive),
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
        // The machine may be busy. If it came at the limit only, this would be two seconds.
        check(late < limit, || {
            format!("the message {count} is {late:?} late")
        })?;
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
    let (message, alive) = manager.news();
    assert_eq!(message, "STOPPING=1");
    check((2..=6).contains(&alive), || {
        format!("{alive} signs of life for {requests} requests")
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
    // The round that has begun may be completed by the first worker, which goes on.
    thread::sleep(Duration::from_millis(300));
    manager.expect_silence();
}

#[test]
fn without_a_listening_manager_it_serves() {
    let nowhere = std::env::temp_dir().join("mini_http-there-is-no-such-socket");
    let micros = ("WATCHDOG_USEC", "100000".to_owned());
    let nobody = ("NOTIFY_SOCKET", nowhere.display().to_string());
    for env in [vec![micros.clone()], vec![micros, nobody]] {
        let mut server = Process::start("once", &env);
        let address = server.address();
        assert!(rest(work(address, 0)).ends_with("hello!"));
        server.signal(SIGTERM);
        assert_eq!(server.ended_within(SOON).code(), Some(0));
    }
}

#[test]
fn listening_sockets_can_be_copied_until_the_server_starts() {
    let server = bind();
    let address = server.local_addr().expect("an address");
    let mut copies = server.listening_fds().expect("a copy");
    assert_eq!(server.listening_fds().expect("another one").len(), 1);
    let copy = copies.pop().expect("one socket");
    assert!(copies.is_empty() && copy.as_raw_fd() > 2);
    let handle = server.handle();
    let thread = thread::spawn(move || {
        server
            .start(|_| Response::new(b"hello!".to_vec()))
            .expect("it ends well");
        server
    });
    assert!(rest(work(address, 0)).ends_with("hello!"));
    handle.stop();
    let server = thread.join().expect("no panic");
    let error = server.listening_fds().expect_err("they are closed");
    assert_eq!(error.kind(), ErrorKind::NoListener);

    // The successor serves what has come in between.
    let waiting = work(address, 0);
    let successor = Server::from_listener(copy.into()).expect("a listener");
    let handle = successor.handle();
    let thread = thread::spawn(move || successor.start(|_| Response::new(b"hello!".to_vec())));
    assert!(rest(waiting).ends_with("hello!"));
    handle.stop();
    thread.join().expect("no panic").expect("it ends well");
}

#[test]
fn the_file_of_a_copied_unix_socket_stays() {
    let path = std::env::temp_dir().join(format!("mini_http-copied-{}", std::process::id()));
    let server = Server::new(&format!("unix:{}", path.display())).expect("a free path");
    let copy = server.listening_fds().expect("a copy").pop();
    server.handle().stop();
    let ended = server.start(|_| Response::new(Vec::new()));
    ended.expect("it ends well");
    drop(server);
    let client = std::os::unix::net::UnixStream::connect(&path);
    client.expect("the copy still listens");
    drop(copy);
    std::fs::remove_file(&path).expect("the file is there");
}
