//! Panics of workers and handlers.

use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

use mini_http::{CloseReason, ErrorKind, Request, Response};

use super::{GET, connect, start, stop, thread_id, two};

#[test]
fn a_worker_that_panics_outside_a_handler_ends_the_server_with_an_error() {
    let fail_in = |number: usize| {
        let made = AtomicUsize::new(0);
        let result = two().start_each(|| {
            assert_ne!(made.fetch_add(1, Ordering::Relaxed), number, "no handler");
            thread_id
        });
        let error = result.expect_err("a worker has failed");
        assert_eq!(error.kind(), ErrorKind::Worker);
        assert!(error.to_string().contains("no handler"), "{error}");
    };
    fail_in(0);
    fail_in(1);
}

#[test]
fn panics_of_handlers_are_caught_or_passed_on_as_configured() {
    let (addr, handle, thread) = start(two(), |server| server.start_each(|| panics));
    let mut response = String::new();
    let mut stream = connect(addr);
    stream.write_all(GET).expect("the server reads");
    stream.read_to_string(&mut response).expect("a response");
    assert!(response.starts_with("HTTP/1.1 500 "), "{response}");
    stop(&handle, thread);

    let mut server = two();
    server.catch_panics(false);
    let (addr, handle, thread) = start(server, |server| {
        let passed_on = catch_unwind(AssertUnwindSafe(|| server.start_each(|| panics)));
        let panic = passed_on.expect_err("a panic");
        assert_eq!(panic.downcast_ref(), Some(&"as asked"));
        Ok(())
    });
    connect(addr).write_all(GET).expect("the server reads");
    thread
        .join()
        .expect("no panic")
        .expect("the panic was passed on");
    assert_eq!(handle.counters().closed(CloseReason::ServerFailed), 1);
}

fn panics(_: Request) -> Response<Vec<u8>> {
    panic!("as asked")
}
