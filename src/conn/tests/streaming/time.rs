//! Timers: each runs only while the server waits for the party whose time it measures.

use super::*;

#[test]
fn the_bodys_rate_counts_only_while_the_handler_waits_for_it() {
    let mut bench = Bench::new(wait);
    bench.input(post(100_000));
    // The handler doesn't wait: the client may take any time.
    bench.pass(seconds(1000));
    bench.await_body(true);
    bench.pass(seconds(6));
    // Paused, with 4 s left.
    bench.await_body(false);
    bench.pass(seconds(1000));
    bench.await_body(true);
    bench.input([b'x'; 4999]);
    bench.pass(Duration::from_millis(3999));
    assert_eq!(bench.seen.len(), 2);
    bench.pass(Duration::from_millis(1));
    bench.play = echo_or_refuse;
    bench.input("");
    assert_eq!(bench.seen.last(), Some(&Event::Failed(408)));
    assert_eq!(bench.status(), "408");
    bench.end();
    assert_eq!(bench.step(), Step::Close(CloseReason::BodyTimeout));
}

#[test]
fn a_body_at_the_minimum_rate_arrives_and_each_window_counts_by_itself() {
    let mut bench = Bench::new(echo);
    bench.input(post(20_000));
    for _ in 0..3 {
        bench.input([b'x'; 5000]);
        bench.pass(seconds(10));
    }
    assert_eq!(bench.seen.len(), 2);
    bench.input([b'x'; 4999]);
    bench.pass(seconds(10));
    bench.call(|conn, cx| assert!(conn.has_usable_input(cx), "the fault is an event"));
    bench.input("");
    assert_eq!(bench.seen.last(), Some(&Event::Failed(408)));
}

#[test]
fn a_handler_may_set_another_rate() {
    let mut bench = Bench::new(wait);
    bench.input(post(100));
    bench.call(|conn, _| conn.set_body_rate(0));
    bench.await_body(true);
    bench.pass(seconds(10_000));
    bench.input("");
    assert_eq!(bench.seen.len(), 1);
    for (rate, expected) in [(10, 2), (11, 3)] {
        let mut bench = Bench::new(wait);
        bench.input(post(1000));
        bench.call(|conn, _| conn.set_body_rate(rate));
        bench.await_body(true);
        bench.input([b'x'; 100]);
        bench.pass(seconds(10));
        bench.input("");
        assert_eq!(bench.seen.len(), expected, "{rate}");
    }
}

#[test]
fn a_body_that_is_collected_must_keep_the_rate() {
    let mut bench = Bench::new(wait);
    bench.input(post(100_000));
    bench.call(|conn, cx| conn.gather_body(cx, 1 << 20));
    bench.input([b'x'; 4999]);
    bench.pass(seconds(10));
    bench.input("");
    assert_eq!(bench.seen.last(), Some(&Event::Failed(408)));
}

#[test]
fn the_rest_of_a_body_must_keep_the_rate_after_the_response() {
    let mut bench = Bench::new(wait);
    bench.input(post(60_000));
    // The rate that the handler sets is only for what it receives itself.
    bench.call(|conn, _| conn.set_body_rate(0));
    bench.call(Connection::drop_body);
    bench.begin();
    bench.output();
    bench.pass(seconds(100));
    bench.call(Connection::end_response);
    bench.output();
    bench.input([b'x'; 5000]);
    bench.pass(seconds(10));
    assert_eq!(bench.step(), Step::Wait);
    bench.input([b'x'; 4999]);
    bench.pass(seconds(10));
    assert_eq!(bench.step(), Step::ShutdownWrite);
    bench.pass(seconds(10));
    assert_eq!(bench.step(), Step::Close(CloseReason::BodyTimeout));
    assert_eq!(bench.seen.len(), 1);
}

/// Also if a window had begun while the handler waited for the body.
#[test]
fn the_rest_of_a_body_has_a_whole_window() {
    let mut bench = Bench::new(wait);
    bench.input(post(60_000));
    bench.await_body(true);
    bench.input([b'x'; 10_000]);
    bench.pass(Duration::from_millis(9_999));
    bench.call(Connection::drop_body);
    bench.respond_exactly("enough");
    assert_eq!(bench.status(), "200");
    bench.pass(seconds(9));
    bench.input([b'x'; 50_000]);
    bench.input(GET);
    assert_eq!(bench.step(), Step::Wait);
    assert_eq!(bench.reason(), None);
}

#[test]
fn a_handler_may_take_any_time_unless_it_has_a_timeout() {
    let mut bench = Bench::new(wait);
    bench.input(GET);
    assert_eq!(bench.checked.connection.poll_timeout(), None);
    bench.pass(seconds(1_000_000));
    bench.respond_exactly("at last");
    assert!(bench.output().ends_with("at last"));

    let set = |limits: &mut Limits| limits.handler_timeout = Some(seconds(20));
    let mut bench = Bench::with(wait, set);
    bench.input(GET);
    bench.pass(seconds(19));
    assert!(bench.checked.connection.request_in_progress());
    bench.pass(seconds(1));
    assert!(!bench.checked.connection.request_in_progress());
    bench.respond_exactly("too late");
    let output = bench.output();
    assert!(output.starts_with("HTTP/1.1 503 ") && output.contains("connection: close"));
    assert!(!output.contains("too late"));
    bench.end();
    assert_eq!(bench.step(), Step::Close(CloseReason::HandlerTimeout));

    // The timeout ends with the head of the response.
    let mut bench = Bench::with(wait, set);
    bench.input(GET);
    bench.pass(seconds(19));
    bench.begin();
    bench.output();
    bench.pass(seconds(10_000));
    assert_eq!(bench.step(), Step::Wait);
}

#[test]
fn the_handlers_time_stands_still_while_it_waits_for_the_body() {
    let set = |limits: &mut Limits| {
        limits.handler_timeout = Some(seconds(20));
        limits.min_rate = 1;
    };
    for collects in [false, true] {
        let mut bench = Bench::with(wait, set);
        bench.input(post(1000));
        bench.pass(seconds(15));
        if collects {
            bench.call(|conn, cx| conn.gather_body(cx, 1000));
        } else {
            bench.await_body(true);
        }
        for _ in 0..10 {
            bench.input([b'x'; 50]);
            bench.pass(seconds(10));
        }
        assert!(bench.checked.connection.request_in_progress());
        // It goes on, with 5 s left, when the body has ended.
        bench.input([b'x'; 500]);
        bench.pass(seconds(4));
        assert!(bench.checked.connection.request_in_progress(), "{collects}");
        bench.pass(seconds(1));
        assert_eq!(bench.status(), "503");
    }
    // A body that the handler doesn't want isn't waited for.
    let mut bench = Bench::with(wait, set);
    bench.input(post(1000));
    bench.call(Connection::drop_body);
    bench.pass(seconds(20));
    assert_eq!(bench.status(), "503");
}

#[test]
fn a_half_closed_connection_has_a_deadline_that_each_write_renews() {
    let closed = Step::Close(CloseReason::HalfClosedTimeout);
    let mut bench = Bench::new(wait);
    bench.input("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    bench.pass(seconds(100));
    bench.end();
    bench.pass(seconds(29));
    assert_eq!(bench.step(), Step::Wait);
    bench.pass(seconds(1));
    assert_eq!(bench.step(), closed, "it replaces an earlier reason");

    let mut bench = Bench::new(wait);
    bench.input(GET);
    bench.end();
    bench.begin();
    for _ in 0..10 {
        bench.send("event");
        bench.output();
        bench.pass(seconds(29));
        assert_eq!(bench.step(), Step::Wait);
    }
    bench.pass(seconds(1));
    assert_eq!(bench.step(), closed);

    // With input that is kept.
    let mut bench = Bench::new(wait);
    bench.input(format!("{GET}{GET_B}"));
    bench.end();
    bench.pass(seconds(30));
    assert_eq!(bench.step(), closed);

    // The sooner of two timers counts.
    for (handler, reason) in [
        (10, CloseReason::HandlerTimeout),
        (40, CloseReason::HalfClosedTimeout),
    ] {
        let mut bench = Bench::with(wait, |limits| {
            limits.handler_timeout = Some(seconds(handler))
        });
        bench.input(GET);
        bench.end();
        assert!(bench.checked.connection.can_be_evicted());
        bench.pass(seconds(30));
        assert_eq!(bench.step(), Step::Close(reason));
    }
}

#[test]
fn a_stream_that_trickles_but_is_taken_never_times_out() {
    let mut bench = Bench::new(wait);
    bench.input(GET);
    bench.begin();
    for _ in 0..100 {
        bench.output();
        assert_eq!(bench.checked.connection.poll_timeout(), None);
        bench.pass(seconds(100));
        bench.send("x");
        bench.pass(seconds(9));
    }
    // If the client doesn't take it, the stream times out.
    bench.pass(seconds(1));
    assert_eq!(bench.step(), Step::Close(CloseReason::WriteTimeout));
}

#[test]
fn an_idle_connection_times_out_after_a_response_too() {
    let mut bench = Bench::new(echo);
    bench.input(format!("{}hello", post(5)));
    bench.output();
    bench.pass(seconds(74));
    assert_eq!(bench.step(), Step::Wait);
    bench.pass(seconds(1));
    assert_eq!(bench.step(), Step::Close(CloseReason::IdleTimeout));
}
