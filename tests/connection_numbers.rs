//! The numbers of connections in the log, with several workers.
#![cfg(not(target_os = "wasi"))]

use std::collections::HashSet;
use std::net::TcpStream;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use log::{LevelFilter, Log, Metadata, Record};
use mini_http::{Response, Server};

/// A logger that keeps the lines that say that a connection was opened.
struct Opened(Mutex<Vec<String>>);

static OPENED: Opened = Opened(Mutex::new(Vec::new()));

impl Log for Opened {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = record.args().to_string();
        if let Some((connection, _)) = line.split_once(": opened") {
            self.0.lock().expect("no panic").push(connection.to_owned());
        }
    }

    fn flush(&self) {}
}

/// `grep -w 'conn 7'` must find the lines of one connection.
#[test]
fn no_number_is_used_twice() {
    log::set_logger(&OPENED).expect("no other logger");
    log::set_max_level(LevelFilter::Debug);
    let mut server = Server::new("127.0.0.1:0").expect("a free port");
    server.workers(3);
    let (addr, handle) = (server.local_addr().expect("an address"), server.handle());
    let thread = thread::spawn(move || server.start_each(|| |_| Response::new(Vec::new())));
    let connect = |_| TcpStream::connect(addr).expect("the server listens");
    let streams: Vec<_> = (0..300).map(connect).collect();
    let began = Instant::now();
    while handle.counters().accepted < 300 {
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "not all are accepted"
        );
        thread::sleep(Duration::from_millis(5));
    }
    drop(streams);
    handle.stop();
    thread.join().expect("no panic").expect("it ends well");
    let opened = OPENED.0.lock().expect("no panic");
    assert_eq!(opened.len(), 300);
    assert!(
        opened.iter().all(|it| it.starts_with("conn ")),
        "{opened:?}"
    );
    assert_eq!(opened.iter().collect::<HashSet<_>>().len(), 300);
}
