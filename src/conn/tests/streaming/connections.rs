//! Requests in order, input after a request, half-closed and lost clients, stopping.

use super::*;

#[test]
fn requests_are_returned_one_after_the_other() {
    let mut bench = Bench::new(wait);
    bench.input(format!("{GET}{GET_B}"));
    assert_eq!(bench.seen, [head("GET /", BodyLength::None)]);
    assert!(bench.checked.connection.has_kept_input());
    bench.call(|conn, cx| assert!(!conn.has_usable_input(cx)));
    bench.begin();
    bench.input(GET);
    bench.call(|conn, cx| assert!(!conn.has_usable_input(cx)));
    bench.call(Connection::end_response);
    bench.call(|conn, cx| assert!(conn.has_usable_input(cx)));
    bench.input("");
    assert_eq!(bench.seen[1..], [head("GET /b", BodyLength::None)]);
    bench.respond_exactly("b");
    bench.input("");
    assert_eq!(bench.seen.len(), 3);
}

#[test]
fn behind_a_request_64_kib_are_kept_and_then_nothing_is_read() {
    let mut bench = Bench::new(wait);
    bench.input(GET);
    assert_eq!(bench.read_limit(), 64 << 10);
    let input = GET_B.repeat(3000);
    bench.input(&input[..60_000]);
    assert_eq!(bench.read_limit(), (64 << 10) - 60_000);
    bench.input(&input[60_000..65_536]);
    assert_eq!(bench.read_limit(), 0);
    bench.respond_exactly("");
    bench.play = |bench, _| bench.respond_exactly("");
    bench.output();
    assert_eq!(bench.seen.len(), 1 + (64 << 10) / GET_B.len());
    assert_eq!(bench.read_limit(), 64 << 10);
}

#[test]
fn the_connection_is_not_read_while_64_kib_wait_for_the_handler() {
    let mut bench = Bench::new(wait);
    bench.input(post(1 << 20));
    bench.input(vec![b'x'; 40_000]);
    assert_eq!(bench.read_limit(), (64 << 10) - 40_000);
    // What is read beyond the room is kept, and counts.
    bench.call(|conn, cx| conn.set_body_room(cx, 10));
    bench.input([b'y'; 10]);
    bench.input([b'z'; 7]);
    assert_eq!(bench.read_limit(), 0);
    bench.call(|conn, cx| conn.set_body_room(cx, 6));
    bench.call(|conn, cx| assert!(conn.has_usable_input(cx)));
    bench.input("");
    bench.call(|conn, cx| assert!(!conn.has_usable_input(cx)));
    bench.call(|conn, cx| conn.set_body_room(cx, 6));
    assert_eq!(bench.read_limit(), 5);
    bench.input("");
    let Event::Data(all) = &bench.seen[1] else {
        panic!("{:?}", bench.seen);
    };
    assert_eq!(all.len(), 40_017);
    assert!(all.ends_with(b"yzzzzzzz"));
}

/// However little room the handler leaves, it gets the body, and the next request comes after it.
#[test]
fn a_body_arrives_through_any_room() {
    let input = format!("{CHUNKED}5\r\nhello\r\n3;a=b\r\nyou\r\n0\r\nX: y\r\n\r\n{GET_B}");
    for room in 1..10 {
        let mut bench = Bench::new(wait);
        bench.input(CHUNKED);
        bench.call(|conn, cx| conn.set_body_room(cx, room));
        bench.input(&input[CHUNKED.len()..]);
        for _ in 0..20 {
            bench.call(|conn, cx| conn.set_body_room(cx, room));
            bench.input("");
        }
        assert_eq!(bench.seen[1], data("helloyou"), "room for {room}");
        assert_eq!(bench.seen.len(), 3, "{:?}", bench.seen);
        bench.respond_exactly("");
        bench.input("");
        assert_eq!(bench.seen[3], head("GET /b", BodyLength::None));
    }
}

#[test]
fn a_client_that_has_ended_its_stream_gets_all_its_responses() {
    let outcome = every_split_with(format!("{GET}{}hello{GET_B}", post(5)), true, echo, |_| {});
    assert_eq!(outcome.statuses(), ["200"; 3]);
    assert_eq!(outcome.step, Step::Close(CloseReason::ClientClosed));
    let outcome = every_split_with(format!("{GET}GET /"), true, echo, |_| {});
    assert_eq!(outcome.statuses(), ["200", "400"]);
    assert_eq!(outcome.step, Step::Close(CloseReason::IncompleteRequest));

    // Also if the end comes while the first is with the handler.
    let mut bench = Bench::new(wait);
    bench.input(format!("{GET}{GET_B}GET /c"));
    bench.end();
    assert_eq!(bench.read_limit(), 0);
    bench.respond_exactly("a");
    assert!(bench.output().ends_with("\r\n\r\na"));
    assert_eq!(bench.seen.len(), 2);
    bench.respond_exactly("b");
    let output = bench.output();
    assert!(output.contains("\r\n\r\nbHTTP/1.1 400 "), "{output}");
    assert_eq!(bench.step(), Step::Close(CloseReason::IncompleteRequest));

    // Or while the body waits for room.
    for (body, last) in [("hello", end()), ("hell", Event::Failed(400))] {
        let mut bench = Bench::new(wait);
        bench.input(post(5));
        bench.call(|conn, cx| conn.set_body_room(cx, 2));
        bench.input(body);
        bench.end();
        bench.input("");
        assert_eq!(bench.seen[1..], [data("he")]);
        bench.take();
        bench.input("");
        assert_eq!(bench.seen[1..], [data(body), last]);
    }

    // The connection closes after a response that says so, whatever is kept after it.
    let mut bench = Bench::new(wait);
    bench.input(format!(
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n{GET}"
    ));
    bench.end();
    bench.respond_exactly("a");
    assert_eq!(bench.step(), Step::Close(CloseReason::ClientAskedClose));
}

#[test]
fn a_half_closed_connection_can_be_evicted_while_nothing_is_sent() {
    let mut bench = Bench::new(wait);
    bench.input(GET);
    assert!(!bench.checked.connection.can_be_evicted());
    bench.end();
    assert!(bench.checked.connection.can_be_evicted());
    bench.begin();
    assert!(!bench.checked.connection.can_be_evicted());
    bench.call(Connection::take_output).clear();
    assert!(bench.checked.connection.can_be_evicted());
    bench.call(|conn, cx| conn.abandon(cx, CloseReason::Evicted));
    assert_eq!(bench.step(), Step::Close(CloseReason::Evicted));
}

#[test]
fn a_client_that_is_gone_has_a_reason_of_its_own() {
    for request in [
        GET,
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    ] {
        let mut bench = Bench::new(wait);
        bench.input(request);
        bench.begin();
        bench.send("hello");
        bench.call(|conn, cx| conn.set_queued(cx, 100));
        bench.call(|conn, cx| conn.abandon(cx, CloseReason::ClientGone));
        assert!(!bench.checked.connection.request_in_progress());
        // What the driver still does has no effect.
        bench.send("hello");
        bench.call(|conn, cx| conn.set_queued(cx, 100));
        bench.await_body(true);
        bench.call(|conn, cx| conn.gather_body(cx, 100));
        bench.call(Connection::drop_body);
        bench.call(Connection::end_response);
        bench.call(|conn, _| conn.fail_body(Refusal::body_too_large()));
        bench.call(|conn, cx| conn.respond_to_refusal(cx, Refusal::overloaded()));
        bench.call(Connection::respond_to_error);
        assert_eq!(bench.output(), "");
        assert_eq!(bench.step(), Step::Close(CloseReason::ClientGone));
    }
}

#[test]
fn stopping_waits_for_a_request_that_is_with_the_handler() {
    let mut bench = Bench::new(wait);
    bench.input(post(5));
    assert!(!bench.call(Connection::stop));
    bench.call(|conn, _| conn.close_after_response(CloseReason::Stopped));
    bench.respond_exactly("hi");
    assert!(bench.output().contains("connection: close"));
    bench.end();
    assert_eq!(bench.step(), Step::Close(CloseReason::Stopped));

    // But not for the rest of a body that isn't wanted.
    let mut bench = Bench::new(wait);
    bench.input(post(5));
    bench.respond_exactly("hi");
    bench.output();
    assert!(bench.call(Connection::stop));
    assert_eq!(bench.step(), Step::ShutdownWrite);
    bench.end();
    assert_eq!(bench.step(), Step::Close(CloseReason::Stopped));

    // A request that is cut off at the deadline.
    let mut bench = Bench::new(wait);
    bench.input(GET);
    bench.begin();
    bench.call(|conn, cx| conn.abandon(cx, CloseReason::Stopped));
    assert_eq!(bench.step(), Step::Close(CloseReason::Stopped));
}
