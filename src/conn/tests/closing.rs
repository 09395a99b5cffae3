//! How connections end: lingering, stopping, failed handlers.

use super::*;

#[test]
fn lingering_ends_with_the_clients_stream_or_at_the_byte_limit() {
    let bad = "BAD\r\n\r\n";
    let mut bench = Bench::new();
    bench.input(bad);
    assert_eq!(bench.status(), "400");
    assert_eq!(bench.step(), Step::ShutdownWrite);
    bench.input(GET);
    assert!(
        bench.requests.is_empty(),
        "no request after a refused one is handled"
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

/// Closing at once would reset the connection if another byte arrived, and the response could be lost.
#[test]
fn lingers_also_for_a_client_that_asked_to_close() {
    let mut bench = Bench::new();
    bench.input("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert!(bench.output().contains("connection: close"));
    assert_eq!(bench.step(), Step::ShutdownWrite);
    bench.call(Connection::handle_end_of_input);
    assert_eq!(bench.step(), Step::Close(CloseReason::ClientAskedClose));
}

type Act = fn(&mut Bench);

/// Each way to plan a close; the response is not sent yet.
const PLANNED: [(CloseReason, Act); 5] = [
    (CloseReason::ClientAskedClose, |bench| {
        bench.input("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    }),
    (CloseReason::Http10, |bench| {
        bench.input("GET / HTTP/1.0\r\n\r\n");
    }),
    (CloseReason::HandlerAskedClose, |bench| {
        bench.input_with(GET, |_| {
            let response = Response::builder().header("Connection", "close");
            response.body(b"bye".to_vec()).expect("a response")
        });
    }),
    (CloseReason::ClientClosed, |bench| {
        bench.input(GET);
        bench.call(Connection::handle_end_of_input);
    }),
    (CloseReason::Stopped, |bench| {
        bench.input(GET);
        assert!(bench.call(Connection::stop));
    }),
];

#[test]
fn a_failure_before_a_planned_close_is_the_reason() {
    for (planned, plan) in PLANNED {
        let mut late = Bench::new();
        plan(&mut late);
        late.pass(seconds(10));
        assert_eq!(late.step(), Step::Close(CloseReason::WriteTimeout));

        let mut reset = Bench::new();
        plan(&mut reset);
        reset.call(|conn, cx| conn.handle_written(cx, 1));
        reset.call(|conn, cx| conn.abandon(cx, CloseReason::IoError));
        assert_eq!(reset.step(), Step::Close(CloseReason::IoError));

        // All is sent: whatever comes then, the close was as planned.
        for end in [
            |bench: &mut Bench| {
                bench.call(|conn, cx| conn.abandon(cx, CloseReason::IoError));
            },
            |bench: &mut Bench| bench.pass(seconds(10)),
        ] {
            let mut sent = Bench::new();
            plan(&mut sent);
            assert!(sent.output().starts_with("HTTP/1.1 200 OK"));
            if sent.step() == Step::ShutdownWrite {
                end(&mut sent);
            } else {
                assert_eq!(planned, CloseReason::ClientClosed);
            }
            assert_eq!(sent.step(), Step::Close(planned));
        }
    }
}

#[test]
fn a_refusal_stays_the_reason_if_its_response_is_not_taken() {
    let mut bench = Bench::new();
    bench.input("BAD\r\n\r\n");
    bench.pass(seconds(10));
    assert_eq!(bench.step(), Step::Close(CloseReason::BadRequest));

    let mut bench = Bench::new();
    bench.input("BAD\r\n\r\n");
    bench.call(|conn, cx| conn.abandon(cx, CloseReason::IoError));
    assert_eq!(bench.step(), Step::Close(CloseReason::BadRequest));
}

#[test]
fn the_refusal_of_a_head_request_in_pieces_has_no_body() {
    let mut bench = Bench::new();
    bench.input(GET);
    bench.output();
    bench.input("HEAD / HTTP/1.1\r\nHo");
    bench.call(Connection::handle_end_of_input);
    let response = bench.output();
    assert!(
        response.starts_with("HTTP/1.1 400 ") && response.ends_with("\r\n\r\n"),
        "{response}"
    );
}

/// Nothing is known of the request, so it may be HEAD.
#[test]
fn a_connection_that_is_turned_away_gets_503_without_a_body() {
    let mut bench = Bench::new();
    bench.call(Connection::turn_away);
    let response = bench.output();
    assert!(response.starts_with("HTTP/1.1 503 "), "{response}");
    assert!(response.contains("\r\ncontent-length: 0\r\n"), "{response}");
    assert!(response.ends_with("\r\n\r\n"), "{response}");
    assert_eq!(bench.step(), Step::ShutdownWrite);
}

#[test]
fn an_interim_status_from_the_handler_becomes_500() {
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
fn stopping_serves_pipelined_requests_and_refuses_unfinished_ones() {
    let mut bench = Bench::new();
    bench.call(Connection::stop);
    assert_eq!(bench.step(), Step::Close(CloseReason::Stopped));

    let mut bench = Bench::new();
    bench.input(GET);
    bench.call(Connection::stop);
    assert_eq!(bench.step(), Step::Wait, "the response is not sent yet");
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
fn lingering_lasts_one_second_while_the_server_is_stopping() {
    let bad = "BAD\r\n\r\n";
    // One connection lingers already, the other begins to linger later.
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
    // A shorter limit is kept.
    let mut bench = Bench::with(|limits| limits.linger_timeout = Duration::from_millis(300));
    bench.call(|_, cx| cx.shared.begin_to_stop());
    bench.input(bad);
    bench.output();
    assert_eq!(bench.step(), Step::ShutdownWrite);
    bench.pass(Duration::from_millis(300));
    assert_eq!(bench.step(), Step::Close(CloseReason::BadRequest));
}

#[test]
fn a_panic_becomes_500_and_a_close() {
    let mut bench = Bench::new();
    let mut input = GET.as_bytes();
    assert!(
        bench
            .call(|conn, cx| conn.handle_input(cx, &mut input))
            .is_some()
    );
    bench.call(Connection::respond_to_panic);
    let response = bench.output();
    assert!(response.starts_with("HTTP/1.1 500 ") && response.contains("connection: close"));
    assert_eq!(
        bench.checked.connection.state().close_reason(),
        Some(CloseReason::HandlerFailed)
    );
}

#[test]
fn a_response_on_an_abandoned_connection_is_dropped() {
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
