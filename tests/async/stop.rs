//! What a stop does to requests, streams and tasks.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Context;
use std::thread;
use std::time::{Duration, Instant};

use mini_http::http::Request;
use mini_http::{CloseReason, Incoming, Response, Server, sleep, spawn};

use super::server::{GET, Polled, Running, Witness, ends_with, get, hello, read_until, rest};

#[test]
fn a_stop_waits_for_requests_until_its_deadline() {
    let mut server = Running::start(|server| {
        server.serve_async(async |request: Request<Incoming>| {
            let millis = request.uri().path()[1..].parse().expect("a number");
            sleep(Duration::from_millis(millis)).await;
            hello(request).await
        })
    });
    let mut short = server.send(&get("/100"));
    let mut long = server.send(&get("/60000"));
    server.await_requests(2);
    let since = Instant::now();
    server.handle.stop_within(Duration::from_secs(1));
    let response = rest(&mut short);
    assert!(response.ends_with("hello!"), "{response}");
    assert!(response.contains("connection: close\r\n"), "{response}");
    assert_eq!(rest(&mut long), "");
    server.join();
    let took = since.elapsed();
    assert!(
        took >= Duration::from_secs(1) && took < Duration::from_secs(10),
        "{took:?}"
    );
    assert_eq!(server.handle.counters().closed(CloseReason::Stopped), 2);
}

#[test]
fn tasks_and_streams_end_by_themselves_when_the_server_stops() {
    let ended = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&ended);
    let mut server = Running::start(move |server| {
        let handle = server.handle();
        let (stopping, witness) = (handle.stopping(), Witness(Arc::clone(&count)));
        server.spawn(async move {
            stopping.await;
            drop(witness);
        });
        server.serve_async(async |_| {
            let (stopping, witness) = (handle.stopping(), Witness(Arc::clone(&count)));
            spawn(async move {
                stopping.await;
                drop(witness);
            });
            let mut stopping = handle.stopping();
            let body = Polled(move |cx: &mut Context<'_>| {
                let stopping = Pin::new(&mut stopping).poll(cx);
                stopping.map(|()| None::<std::result::Result<_, Infallible>>)
            });
            Response::new(body)
        })
    });
    let mut stream = server.send(GET);
    read_until(&mut stream, ends_with("\r\n\r\n"));
    let since = Instant::now();
    server.handle.stop();
    assert_eq!(rest(&mut stream), "0\r\n\r\n");
    server.join();
    assert!(
        since.elapsed() < Duration::from_secs(10),
        "{:?}",
        since.elapsed()
    );
    assert_eq!(ended.load(Ordering::SeqCst), 2);
}

#[test]
fn tasks_of_another_thread_are_a_clear_error() {
    let server = Server::new("127.0.0.1:0").expect("a free port");
    server.spawn(async {});
    let result = thread::spawn(move || server.serve_async(hello))
        .join()
        .expect("no panic");
    let error = result.expect_err("a task of another thread");
    assert_eq!(error.kind(), mini_http::ErrorKind::Setting);
    assert!(error.to_string().contains("thread"), "{error}");
}
