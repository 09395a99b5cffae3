//! What several workers serve, and how they start and stop.

use std::cell::Cell;
use std::collections::HashSet;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::{self, Thread};
use std::time::Duration;

use mini_http::body::AnyBody;
use mini_http::{ErrorKind, Response, Result, Server};

use super::{GET, connect, exchange, spread, start, stop, thread_id, two};

#[cfg(target_os = "linux")]
#[test]
fn connections_are_spread_evenly() {
    let (addr, handle, thread) = start(two(), |server| server.start_each(|| thread_id));
    let (streams, spread) = spread(addr);
    let counters = handle.counters();
    assert_eq!(
        (counters.accepted, counters.active, counters.requests),
        (400, 400, 400)
    );
    stop(&handle, thread);
    drop(streams);
    assert_eq!(spread.len(), 2, "{spread:?}");
    // Evenly at random: more than 240 of 400 are as unlikely as 1 in 20,000.
    assert!(spread.values().all(|&count| count <= 240), "{spread:?}");
    assert_eq!(
        handle.counters().closed(mini_http::CloseReason::Stopped),
        400
    );
    assert!(
        TcpStream::connect(addr).is_err(),
        "a listening socket is still open"
    );
}

#[test]
fn a_listening_socket_that_was_passed_is_shared() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let mut server = Server::from_listener(listener).expect("it listens");
    server.workers(3);
    let (addr, handle, thread) = start(server, |server| {
        server.start_each(|| {
            |request| {
                // Meanwhile, the others have to accept.
                thread::sleep(Duration::from_millis(1));
                thread_id(request)
            }
        })
    });
    let clients: Vec<_> = (0..3)
        .map(|_| thread::spawn(move || spread(addr)))
        .collect();
    let workers: HashSet<_> = clients
        .into_iter()
        .flat_map(|client| client.join().expect("all are served").1.into_keys())
        .collect();
    assert_eq!(workers.len(), 3);
    assert_eq!(handle.counters().requests, 1_200);
    stop(&handle, thread);
    assert!(
        TcpStream::connect(addr).is_err(),
        "a copy of it is still open"
    );
}

#[test]
fn an_address_in_use_is_an_error() {
    let in_use = |addr: SocketAddr| {
        let error = Server::new(&addr.to_string()).expect_err("it is in use");
        assert_eq!(error.kind(), ErrorKind::Address);
    };
    let (addr, handle, thread) = start(two(), |server| server.start_each(|| thread_id));
    spread(addr);
    in_use(addr);
    stop(&handle, thread);

    #[cfg(unix)]
    {
        let other = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let other = other.expect("a socket");
        other.set_reuse_port(true).expect("the option");
        let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        other.bind(&any.into()).expect("a free port");
        let addr = other.local_addr().expect("an address").as_socket();
        in_use(addr.expect("of IPv4"));
        other.listen(1).expect("it listens");
        in_use(addr.expect("of IPv4"));
    }
}

#[test]
fn connections_that_came_before_the_start_are_served() {
    let server = two();
    let addr = server.local_addr().expect("an address");
    let mut early = connect(addr);
    let (_, handle, thread) = start(server, |server| server.start_each(|| thread_id));
    exchange(&mut early, GET);
    stop(&handle, thread);
}

/// They wait at the sockets of both workers.
#[test]
fn connections_that_came_before_another_address_was_added_are_served() {
    let mut server = two();
    let addr = server.local_addr().expect("an address");
    let mut early: Vec<_> = (0..20).map(|_| connect(addr)).collect();
    server.and_listen("127.0.0.1:0").expect("a free port");
    let (_, handle, thread) = start(server, |server| server.start_each(|| thread_id));
    for stream in &mut early {
        exchange(stream, GET);
    }
    stop(&handle, thread);
}

/// All sockets at the IPv6 wildcard are bound anew, for IPv6 only.
#[test]
fn wildcards_of_both_families_can_have_one_port_for_all_workers() {
    if TcpListener::bind("[::1]:0").is_err() {
        return;
    }
    let mut server = Server::new("[::]:0").expect("a free port");
    server.workers(2);
    let port = server.local_addr().expect("an address").port();
    let v4 = SocketAddr::from(([127, 0, 0, 1], port));
    server
        .and_listen(&format!("0.0.0.0:{port}"))
        .expect("they don't collide");
    let (_, handle, thread) = start(server, |server| server.start_each(|| thread_id));
    for addr in [v4, (std::net::Ipv6Addr::LOCALHOST, port).into()] {
        let (_, spread) = spread(addr);
        assert_eq!(spread.values().sum::<usize>(), 400);
    }
    stop(&handle, thread);
}

#[test]
fn a_stop_before_the_start_stops_all_workers() {
    let server = two();
    server.handle().stop();
    server.start_each(|| thread_id).expect("it stops");
    let error = server.start_each(|| thread_id).expect_err("it has stopped");
    assert_eq!(error.kind(), ErrorKind::Setting);
}

#[test]
fn one_handler_is_not_enough_for_several_workers() {
    let is_explained = |result: Result<()>, text: &str| {
        let error = result.expect_err("two workers");
        assert_eq!(error.kind(), ErrorKind::Setting);
        assert!(error.to_string().contains(text), "{error}");
    };
    let mut server = two();
    is_explained(server.start(thread_id), "start_each");
    is_explained(server.serve(|_| Response::new("")), "serve_each");
    let in_pieces = |_| Response::new(AnyBody::from(""));
    is_explained(server.serve(in_pieces), "serve_each");
    let never = async |_| Response::new(String::new());
    is_explained(server.serve_async(never), "serve_async_each");
    server.workers(0);
    is_explained(server.start_each(|| thread_id), "workers is 0");
    // Nothing has been used up.
    server.workers(1);
    server.handle().stop();
    server.start(thread_id).expect("it stops");
}

#[test]
fn one_worker_runs_on_the_calling_thread() {
    let made = Arc::new(Mutex::new(Vec::new()));
    let here = Arc::clone(&made);
    let server = Server::new("127.0.0.1:0").expect("a free port");
    let (addr, handle, thread) = start(server, move |server| {
        server.start_each(|| {
            here.lock().expect("no panic").push(thread::current().id());
            thread_id
        })
    });
    let served_by = exchange(&mut connect(addr), GET);
    assert_eq!(served_by, format!("{:?}", thread.thread().id()));
    assert_eq!(*made.lock().expect("no panic"), [thread.thread().id()]);
    stop(&handle, thread);
}

#[test]
fn each_worker_makes_its_handler_on_its_thread() {
    let made: Arc<Mutex<Vec<Thread>>> = Arc::default();
    let here = Arc::clone(&made);
    let (addr, handle, thread) = start(two(), move |server| {
        server.serve_each(|| {
            here.lock().expect("no panic").push(thread::current());
            // Not `Sync`, nor shared.
            let served = Cell::new(0);
            move |_| {
                served.set(served.get() + 1);
                Response::new(served.get().to_string())
            }
        })
    });
    let mut stream = connect(addr);
    let counts: Vec<_> = (0..3).map(|_| exchange(&mut stream, GET)).collect();
    assert_eq!(counts, ["1", "2", "3"]);
    let first = thread.thread().id();
    stop(&handle, thread);
    let mut made = made.lock().expect("no panic").clone();
    made.sort_by_key(|thread| thread.id() != first);
    assert_eq!(made.len(), 2);
    assert_eq!(made[0].id(), first);
    assert_eq!(made[1].name(), Some("mini_http-2"));
}
