//! The limits of a server with several workers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mini_http::{CloseReason, Handle, Limits, Response, Result, Server};

use super::{GET, connect, exchange, start, stop, thread_id, two, wait_until};

/// A server on a socket that its two workers share. The second worker begins to serve when the returned sender is
/// dropped: `serve` gets a function that waits for that, which it calls where a worker makes its handler.
fn uneven(
    limits: impl FnOnce(&mut Limits),
    serve: impl FnOnce(Server, &(dyn Fn() + Sync)) -> Result<()> + Send + 'static,
) -> (SocketAddr, Handle, JoinHandle<Result<()>>, Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let mut server = Server::from_listener(listener).expect("it listens");
    server.workers(2).limits(limits);
    let (sender, receiver) = channel();
    let receiver = Mutex::new(receiver);
    let (addr, handle, thread) = start(server, move |server| {
        let first = thread::current().id();
        serve(server, &|| {
            if thread::current().id() != first {
                let _ = receiver.lock().expect("no panic").recv();
            }
        })
    });
    (addr, handle, thread, sender)
}

/// Starts the server. Its workers call `wait` first.
fn start_after(server: Server, wait: &(dyn Fn() + Sync)) -> Result<()> {
    server.start_each(|| {
        wait();
        thread_id
    })
}

#[test]
fn one_worker_can_have_all_connections() {
    let (addr, handle, thread, go_on) = uneven(|limits| limits.max_connections = 50, start_after);
    let mut streams: Vec<_> = (0..50).map(|_| connect(addr)).collect();
    for stream in &mut streams {
        exchange(stream, GET);
    }
    // By now they are idle for long enough to be closed for new connections.
    thread::sleep(Duration::from_millis(200));
    for stream in &mut streams {
        exchange(stream, GET);
    }
    assert_eq!(handle.counters().active, 50);
    assert_eq!(handle.counters().closed(CloseReason::Evicted), 0);
    exchange(&mut connect(addr), GET);
    assert_eq!(handle.counters().closed(CloseReason::Evicted), 1);
    drop(go_on);
    stop(&handle, thread);
}

/// The other worker has no connection, so it can't close an idle one.
#[test]
fn a_worker_closes_an_idle_connection_for_another_worker() {
    let (addr, handle, thread, go_on) = uneven(|limits| limits.max_connections = 4, start_after);
    let mut streams: Vec<_> = (0..4).map(|_| connect(addr)).collect();
    for stream in &mut streams {
        exchange(stream, GET);
    }
    drop(go_on);
    for _ in 0..20 {
        thread::sleep(Duration::from_millis(20));
        streams.push(connect(addr));
        exchange(streams.last_mut().expect("the new one"), GET);
    }
    let counters = handle.counters();
    assert_eq!((counters.accepted, counters.requests), (24, 24));
    assert_eq!(counters.closed(CloseReason::Evicted), 20);
    stop(&handle, thread);
}

#[test]
fn one_body_can_have_nearly_all_memory() {
    let (addr, handle, thread, go_on) = uneven(|limits| limits.max_held = 1 << 20, start_after);
    let body = vec![b'x'; 950_000];
    let mut stream = connect(addr);
    let head = format!(
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("the server reads");
    stream.write_all(&body[1..]).expect("the server reads");
    wait_until("most of it is held", || handle.counters().held > 900_000);
    assert!(handle.counters().held <= 1 << 20);
    exchange(&mut stream, b"x");
    let peak = handle.counters().held_peak;
    assert!((900_000..=1 << 20).contains(&peak), "{peak}");
    drop(go_on);
    stop(&handle, thread);
    assert_eq!(handle.counters().held, 0);
}

/// The memory has room for four bodies, whichever workers receive them.
#[test]
fn bodies_of_all_workers_share_the_memory() {
    let mut server = two();
    server.limits(|limits| {
        limits.max_held = 4 << 20;
        limits.max_body = 1 << 20;
    });
    let (addr, handle, thread) = start(server, |server| server.start_each(|| thread_id));
    let length = 900_000;
    let send = move || {
        let mut stream = connect(addr);
        let head = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("the server reads");
        // Those for which there is no room get a response before the end.
        let _ = stream.write_all(&vec![b'x'; length - 1]);
        stream
    };
    let streams: Vec<TcpStream> = (0..12).map(|_| send()).collect();
    wait_until("much is held", || handle.counters().held > 2 << 20);
    let held = handle.counters().held;
    assert!(held <= 4 << 20, "{held}");
    let mut statuses = [0, 0];
    for mut stream in streams {
        let _ = stream.write_all(b"x");
        let mut start = [0; 12];
        stream.read_exact(&mut start).expect("a response");
        match &start {
            b"HTTP/1.1 200" => statuses[0] += 1,
            b"HTTP/1.1 503" => statuses[1] += 1,
            other => panic!("{}", other.escape_ascii()),
        }
    }
    assert!(statuses[0] >= 2 && statuses[1] >= 1, "{statuses:?}");
    stop(&handle, thread);
    assert_eq!(handle.counters().held, 0);
}

#[test]
fn requests_of_all_workers_share_max_requests() {
    let mut server = two();
    server.limits(|limits| limits.max_requests = 4);
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&most);
    let (addr, handle, thread) = start(server, move |server| {
        server.serve_async_each(|| {
            |_| async {
                let running = now.fetch_add(1, Ordering::SeqCst) + 1;
                seen.fetch_max(running, Ordering::SeqCst);
                mini_http::sleep(Duration::from_millis(20)).await;
                now.fetch_sub(1, Ordering::SeqCst);
                Response::new("done".to_owned())
            }
        })
    });
    let mut streams: Vec<_> = (0..60).map(|_| connect(addr)).collect();
    for stream in &mut streams {
        stream.write_all(GET).expect("the server reads");
    }
    for stream in &mut streams {
        assert_eq!(exchange(stream, b""), "done");
    }
    assert_eq!(most.load(Ordering::SeqCst), 4);
    stop(&handle, thread);
}

#[test]
fn one_worker_can_have_all_requests() {
    let (addr, handle, thread, go_on) = uneven(
        |limits| limits.max_requests = 30,
        |server, wait| {
            server.serve_async_each(|| {
                wait();
                |_| async {
                    std::future::pending::<()>().await;
                    Response::new("never".to_owned())
                }
            })
        },
    );
    let mut streams = Vec::new();
    for _ in 0..40 {
        let mut stream = connect(addr);
        stream.write_all(GET).expect("the server reads");
        streams.push(stream);
    }
    wait_until("as many requests as may run", || {
        handle.counters().requests == 30
    });
    drop(go_on);
    thread::sleep(Duration::from_millis(100));
    assert_eq!(handle.counters().requests, 30);
    drop(streams);
    handle.stop_within(Duration::ZERO);
    thread.join().expect("no panic").expect("it ends well");
}
