//! Asynchronous handlers and tasks of several workers.

use std::future::poll_fn;
use std::io::Write;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use mini_http::{Incoming, Response, http};

use super::{GET, connect, exchange, start, stop, two, wait_until};

/// A handler whose future is woken from another thread.
async fn respond_later(_: http::Request<Incoming>) -> Response<String> {
    let (sender, receiver) = channel();
    let mut sender = Some(sender);
    let response = poll_fn(move |cx| {
        if let Ok(response) = receiver.try_recv() {
            return Poll::Ready(response);
        }
        if let Some(sender) = sender.take() {
            let waker = cx.waker().clone();
            thread::spawn(move || {
                thread::sleep(Duration::from_millis(20));
                let _ = sender.send("later");
                waker.wake();
            });
        }
        Poll::Pending
    });
    Response::new(response.await.to_owned())
}

#[test]
fn wakers_wake_the_worker_of_their_request() {
    let (addr, handle, thread) = start(two(), |server| server.serve_async_each(|| respond_later));
    let mut streams: Vec<_> = (0..40).map(|_| connect(addr)).collect();
    let began = Instant::now();
    for stream in &mut streams {
        stream.write_all(GET).expect("the server reads");
    }
    for stream in &mut streams {
        assert_eq!(exchange(stream, b""), "later");
    }
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{:?}",
        began.elapsed()
    );
    stop(&handle, thread);
}

#[test]
fn tasks_run_beside_their_worker() {
    let ran: Arc<Mutex<Vec<(&str, ThreadId)>>> = Arc::default();
    let record = move |ran: &Arc<Mutex<Vec<_>>>, name| {
        let ran = Arc::clone(ran);
        async move {
            mini_http::sleep(Duration::from_millis(20)).await;
            ran.lock()
                .expect("no panic")
                .push((name, thread::current().id()));
        }
    };
    let tasks = Arc::clone(&ran);
    let (_, handle, thread) = start(two(), move |server| {
        server.spawn(record(&tasks, "the server's"));
        server.serve_async_each(|| {
            mini_http::spawn(record(&tasks, "a worker's"));
            respond_later
        })
    });
    wait_until("three tasks", || ran.lock().expect("no panic").len() == 3);
    let first = thread.thread().id();
    stop(&handle, thread);
    let ran = ran.lock().expect("no panic");
    let count = |name: &str, is_first: bool| {
        let of = |&&(of, id): &&(&str, ThreadId)| of == name && (id == first) == is_first;
        ran.iter().filter(of).count()
    };
    assert_eq!(count("the server's", true), 1);
    assert_eq!(
        (count("a worker's", true), count("a worker's", false)),
        (1, 1)
    );
    assert_eq!(ran.len(), 3);
}
