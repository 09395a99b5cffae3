//! Clients that reset or half-close their connection while their request is in progress.

use std::future::pending;
use std::io::Write;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mini_http::http::Request;
use mini_http::{CloseReason, Incoming, Response, sleep};

use super::quiet::{check, in_a_quiet_moment};
use super::server::{
    GET, Running, Witness, ends_with, get, hello, next, read_until, reset, rest, wait_until,
};

/// The system reports a reset at once. A check of the connection from time to time would take longer.
const PROMPTLY: Duration = Duration::from_secs(1);

#[test]
fn a_client_that_resets_ends_its_future_promptly() {
    in_a_quiet_moment(reset_two_clients);
}

fn reset_two_clients() -> Result<(), String> {
    let dropped = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&dropped);
    let server = Running::start(move |server| {
        server.serve_async(async |request: Request<Incoming>| {
            let witness = Witness(Arc::clone(&count));
            let mut body = request.into_body();
            match next(&mut body).await {
                Some(Err(error)) => assert!(error.is_gone()),
                Some(Ok(_)) | None => pending().await,
            }
            drop(witness);
            Response::new(String::new())
        })
    });
    let waiting = server.send(GET);
    let uploading = server.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n");
    server.await_requests(2);
    reset(waiting);
    let took = wait_until("its future is dropped", || {
        dropped.load(Ordering::SeqCst) == 1
    });
    reset(uploading);
    wait_until("its future is dropped", || {
        dropped.load(Ordering::SeqCst) == 2
    });
    assert_eq!(server.await_close().closed(CloseReason::ClientGone), 2);
    server.stop();
    check(took < PROMPTLY, || format!("{took:?}"))
}

/// Also where the server doesn't read: so much input waits after the request that no more is kept, or the
/// client's stream has ended.
#[test]
fn a_client_that_resets_is_noticed_where_nothing_is_read() {
    in_a_quiet_moment(reset_clients_that_are_not_read);
}

fn reset_clients_that_are_not_read() -> Result<(), String> {
    let dropped = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&dropped);
    let server = Running::start(move |server| {
        server.serve_async(async |request: Request<Incoming>| {
            let _witness = Witness(Arc::clone(&count));
            pending::<()>().await;
            hello(request).await
        })
    });
    let mut full = server.send(GET);
    full.write_all(&GET.repeat(4_000))
        .expect("the system takes it");
    let ended = server.send(GET);
    ended.shutdown(Shutdown::Write).expect("a half-close");
    server.await_requests(2);
    // The server has read what it keeps, and the end.
    thread::sleep(Duration::from_millis(100));
    let mut times = Vec::new();
    for (number, stream) in [full, ended].into_iter().enumerate() {
        reset(stream);
        let is_dropped = || dropped.load(Ordering::SeqCst) == number + 1;
        times.push(wait_until("its future is dropped", is_dropped));
    }
    assert_eq!(server.await_close().closed(CloseReason::ClientGone), 2);
    server.stop();
    check(times.iter().all(|took| *took < PROMPTLY), || {
        format!("{times:?}")
    })
}

/// They wait because of `max_requests`. If one were left in the queue, a debug assertion of the server would fail.
#[test]
fn clients_that_reset_while_their_request_waits_leave_the_queue() {
    let server = Running::with(
        |server| {
            server.limits(|limits| limits.max_requests = 1);
        },
        |server| {
            server.serve_async(async |request: Request<Incoming>| {
                if request.uri() == "/first" {
                    pending::<()>().await;
                }
                hello(request).await
            })
        },
    );
    let first = server.send(&get("/first"));
    server.await_requests(1);
    let mut waiting: Vec<_> = (0..5).map(|_| server.send(GET)).collect();
    let mut kept = waiting.remove(3);
    wait_until("all are accepted", || {
        server.handle.counters().accepted == 6
    });
    waiting.into_iter().for_each(reset);
    wait_until("they are closed", || server.handle.counters().active == 2);
    reset(first);
    read_until(&mut kept, ends_with("hello!"));
    server.stop();
}

#[test]
fn a_half_closed_client_gets_its_response() {
    let server = Running::with(
        |server| {
            server.limits(|limits| limits.half_closed_timeout = Duration::from_secs(1));
        },
        |server| {
            server.serve_async(async |request: Request<Incoming>| {
                let wait = if request.uri().path() == "/long" {
                    20_000
                } else {
                    100
                };
                sleep(Duration::from_millis(wait)).await;
                hello(request).await
            })
        },
    );
    let mut short = server.send(GET);
    short.shutdown(Shutdown::Write).expect("a half-close");
    let all = rest(&mut short);
    assert!(all.ends_with("hello!"), "{all}");
    let since = Instant::now();
    let mut long = server.send(&get("/long"));
    long.shutdown(Shutdown::Write).expect("a half-close");
    assert_eq!(rest(&mut long), "");
    let took = since.elapsed();
    assert!(
        took >= Duration::from_secs(1) && took < Duration::from_secs(10),
        "{took:?}"
    );
    let counters = server.handle.counters();
    assert_eq!(counters.closed(CloseReason::HalfClosedTimeout), 1);
    server.stop();
}
