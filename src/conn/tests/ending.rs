//! The end of a connection, and what is answered before it.

use super::*;

#[test]
fn lingering_ends_with_the_clients_stream_its_bytes_or_its_time() {
    let bad = "BAD\r\n\r\n";
    let mut bench = Bench::new();
    bench.input(bad);
    assert_eq!(bench.status(), "400");
    assert_eq!(bench.step(), Step::ShutdownWrite);
    bench.input(GET);
    assert!(
        bench.requests.is_empty(),
        "nothing behind a refused request is handled"
    );
    bench.call(Connection::handle_end_of_input);
    assert_eq!(bench.step(), Step::Close(CloseReason::BadRequest));

    let mut bench = Bench::with(|limits| limits.max_linger = 1000);
    bench.input(bad);
    assert_eq!(bench.status(), "400");
    assert_eq!(bench.step(), Step::ShutdownWrite);
    bench.input([0; 900]);
    assert_eq!(bench.step(), Step::Wait);
    bench.input([0; 900]);
    assert_eq!(bench.step(), Step::Close(CloseReason::BadRequest));
}

/// Closing at once would reset the connection if a byte more came, and the answer could be lost.
#[test]
fn a_client_that_asked_to_close_is_waited_for_too() {
    let mut bench = Bench::new();
    bench.input("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert!(bench.output().contains("connection: close"));
    assert_eq!(bench.step(), Step::ShutdownWrite);
    bench.call(Connection::handle_end_of_input);
    assert_eq!(bench.step(), Step::Close(CloseReason::ClientAskedClose));
}

#[test]
fn a_refused_head_request_gets_no_body_though_it_came_in_pieces() {
    let mut bench = Bench::new();
    bench.input(GET);
    bench.output();
    bench.input("HEAD / HTTP/1.1\r\nHo");
    bench.call(Connection::handle_end_of_input);
    let answer = bench.output();
    assert!(
        answer.starts_with("HTTP/1.1 400 ") && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
}

#[test]
fn an_interim_status_is_no_answer() {
    let mut bench = Bench::new();
    bench.input_with(GET, |_| {
        Response::builder()
            .status(101)
            .body(Vec::new())
            .expect("a response")
    });
    assert_eq!(bench.status(), "500");
}

#[test]
fn stopping_finishes_what_is_in_hand() {
    let mut bench = Bench::new();
    bench.call(Connection::stop);
    assert_eq!(bench.step(), Step::Close(CloseReason::Stopped));

    let mut bench = Bench::new();
    bench.input(GET);
    bench.call(Connection::stop);
    assert_eq!(bench.step(), Step::Wait, "the answer is not sent yet");
    assert!(bench.output().ends_with("hello!"));
    assert_eq!(bench.step(), Step::ShutdownWrite);

    // Kept requests are not answered, but those before them must not be lost by a reset.
    let mut bench = Bench::new();
    bench.input(GET);
    assert!(bench.output().ends_with("hello!"));
    bench.call(|conn, cx| conn.keep_input(cx, GET.as_bytes()));
    bench.call(Connection::stop);
    assert_eq!(bench.step(), Step::ShutdownWrite);
    assert_eq!(bench.requests.len(), 1);

    let mut bench = Bench::new();
    bench.input(POST_5);
    bench.call(Connection::stop);
    assert_eq!(bench.status(), "503");
}

#[test]
fn a_panic_gets_500_and_a_close() {
    let mut bench = Bench::new();
    let mut input = GET.as_bytes();
    assert!(
        bench
            .call(|conn, cx| conn.handle_input(cx, &mut input))
            .is_some()
    );
    bench.call(Connection::respond_to_panic);
    let answer = bench.output();
    assert!(answer.starts_with("HTTP/1.1 500 ") && answer.contains("connection: close"));
    assert_eq!(
        bench.connection.state().close_reason(),
        Some(CloseReason::HandlerFailed)
    );
}

#[test]
fn a_connection_given_up_while_its_request_is_handled_takes_no_answer() {
    let mut bench = Bench::new();
    let mut input = GET.as_bytes();
    assert!(
        bench
            .call(|conn, cx| conn.handle_input(cx, &mut input))
            .is_some()
    );
    bench.call(|conn, cx| conn.abandon(cx, CloseReason::IoError));
    bench.call(|conn, cx| conn.respond(cx, Response::new("too late")));
    assert_eq!(bench.output(), "");
    assert_eq!(bench.step(), Step::Close(CloseReason::IoError));
}
