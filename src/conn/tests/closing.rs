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

    // Kept requests are served first.
    let mut bench = Bench::new();
    bench.input(GET);
    assert!(bench.output().ends_with("hello!"));
    bench.call(|conn, cx| conn.keep_input(cx, GET.as_bytes()));
    assert!(!bench.call(Connection::stop));
    bench.input("");
    assert_eq!(bench.requests.len(), 2);
    assert!(bench.call(Connection::stop));
    assert!(bench.output().ends_with("hello!"));
    assert_eq!(bench.step(), Step::ShutdownWrite);

    let mut bench = Bench::new();
    bench.input(POST_5);
    bench.call(Connection::stop);
    assert_eq!(bench.status(), "503");
}

#[test]
fn a_server_that_stops_waits_a_second_for_clients_that_dont_close() {
    let bad = "BAD\r\n\r\n";
    // One that lingers already, and one that begins to.
    let (mut early, mut late) = (Bench::new(), Bench::new());
    early.input(bad);
    assert_eq!(early.status(), "400");
    assert_eq!(early.step(), Step::ShutdownWrite);
    for bench in [&mut early, &mut late] {
        bench.call(|_, cx| cx.shared.begin_to_stop());
        bench.call(Connection::shorten_linger);
    }
    late.input(bad);
    assert_eq!(late.status(), "400");
    assert_eq!(late.step(), Step::ShutdownWrite);
    for bench in [&mut early, &mut late] {
        bench.pass(Duration::from_millis(990));
        assert_eq!(bench.step(), Step::Wait);
        bench.pass(Duration::from_millis(10));
        assert_eq!(bench.step(), Step::Close(CloseReason::BadRequest));
    }
    // A shorter limit stays.
    let mut bench = Bench::with(|limits| limits.linger_timeout = Duration::from_millis(300));
    bench.call(|_, cx| cx.shared.begin_to_stop());
    bench.input(bad);
    bench.output();
    assert_eq!(bench.step(), Step::ShutdownWrite);
    bench.pass(Duration::from_millis(300));
    assert_eq!(bench.step(), Step::Close(CloseReason::BadRequest));
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
