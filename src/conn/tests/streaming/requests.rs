//! Bodies of requests: parts, ends, faults, `100 Continue`, and what is left unread.

use super::*;

#[test]
fn a_body_comes_in_parts_and_then_its_end() {
    let outcome = every_split(format!("{}hello{GET_B}", post(5)), echo);
    let (first, second) = (
        head("POST /", BodyLength::Exact(5)),
        head("GET /b", BodyLength::None),
    );
    assert_eq!(outcome.seen, [first, data("hello"), end(), second]);
    assert!(outcome.output.contains("\r\n\r\nhelloHTTP/1.1 200 OK\r\n"));
    assert!(outcome.output.ends_with("\r\n\r\nhello!"));
    assert_eq!(outcome.reading, Reading::Idle);
}

#[test]
fn a_chunked_body_comes_without_its_coding_and_with_its_trailers() {
    let body = "5;a=b\r\nhello\r\n1\r\n \r\n6\r\nworld!\r\n0\r\nX-A:  b \r\nX-A:\r\nx-c: d\r\n\r\n";
    let outcome = every_split(format!("{CHUNKED}{body}{GET_B}"), echo);
    let trailers = [("x-a", "b"), ("x-a", ""), ("x-c", "d")];
    let trailers = trailers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(
        outcome.seen,
        [
            head("POST /", BodyLength::Chunked),
            data("hello world!"),
            Event::End(trailers.to_vec()),
            head("GET /b", BodyLength::None),
        ]
    );
    assert!(
        outcome
            .output
            .contains("\r\n\r\nhello world!HTTP/1.1 200 OK\r\n")
    );
}

#[test]
fn the_head_is_returned_before_the_body_has_arrived() {
    let mut bench = Bench::new(wait);
    bench.input(post(5));
    assert_eq!(bench.seen, [head("POST /", BodyLength::Exact(5))]);
    assert!(bench.checked.connection.request_in_progress());
    bench.input("he");
    assert_eq!(bench.seen.last(), Some(&data("he")));
    // Several chunks in one read are one part.
    let mut bench = Bench::new(wait);
    bench.input(format!("{CHUNKED}1\r\na\r\n2\r\nbc\r\n"));
    assert_eq!(bench.seen.len(), 2);
    assert_eq!(bench.seen[1], data("abc"));
}

#[test]
fn faults_of_a_body_are_returned_and_nothing_after_them_is_a_request() {
    fn small(limits: &mut Limits) {
        limits.max_trailers = 10;
    }
    for (body, status, reason) in [
        ("5\r\nhelloX", 400, CloseReason::BadRequest),
        ("5\r\nhello\r\nx\r\n", 400, CloseReason::BadRequest),
        ("5\r\nhello\r\n0\r\nX : y\r\n", 400, CloseReason::BadRequest),
        (
            "5\r\nhello\r\n0\r\nX: 12345678\r\n",
            431,
            CloseReason::TooLarge,
        ),
    ] {
        let input = format!("{CHUNKED}{body}{GET_B}{GET_B}");
        let outcome = every_split_with(&input, false, echo_or_refuse, small);
        let first = head("POST /", BodyLength::Chunked);
        assert_eq!(
            outcome.seen,
            [first, data("hello"), Event::Failed(status)],
            "{body:?}"
        );
        assert_eq!(outcome.statuses(), [status.to_string()], "{body:?}");
        assert!(outcome.output.contains("connection: close\r\n"));
        assert_eq!(outcome.step, Step::ShutdownWrite);

        // A handler may respond otherwise. The connection still closes.
        let ignores: Play = |bench, seen| match seen {
            Event::Failed(_) => bench.respond_exactly("never mind"),
            other => echo(bench, other),
        };
        let outcome = every_split_with(&input, true, ignores, small);
        assert_eq!(outcome.statuses(), ["200"], "{body:?}");
        assert!(outcome.output.contains("connection: close\r\n"));
        assert_eq!(outcome.step, Step::Close(reason), "{body:?}");
    }
}

#[test]
fn a_truncated_body_is_a_fault() {
    for input in [
        format!("{}hell", post(5)),
        format!("{CHUNKED}5\r\nhell"),
        format!("{CHUNKED}4\r\nhell\r\n0\r\n"),
    ] {
        let outcome = every_split_with(&input, true, echo_or_refuse, |_| {});
        assert_eq!(outcome.seen.last(), Some(&Event::Failed(400)), "{input}");
        assert_eq!(outcome.statuses(), ["400"], "{input}");
    }
    // The reason is that of the fault, also if the client asked to close.
    let mut bench = Bench::new(echo);
    bench.input("POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\nhell");
    bench.end();
    bench.input("");
    assert_eq!(bench.seen.last(), Some(&Event::Failed(400)));
    assert_eq!(bench.reason(), Some(CloseReason::IncompleteRequest));
}

#[test]
fn a_body_that_the_driver_refuses_is_not_read_on() {
    let play: Play = |bench, seen| {
        if let Event::Head(..) = seen {
            let refusal = Refusal::body_too_large();
            bench.call(|conn, _| conn.fail_body(refusal));
            bench.call(|conn, cx| conn.respond_to_refusal(cx, refusal));
        }
    };
    for input in [
        format!("{}{GET_B}", post(GET_B.len())),
        format!("{CHUNKED}5\r\nhello\r\n0\r\n\r\n{GET_B}"),
    ] {
        let outcome = every_split_with(&input, true, play, |_| {});
        assert_eq!(outcome.seen.len(), 1);
        assert_eq!(outcome.statuses(), ["413"]);
        assert_eq!(outcome.step, Step::Close(CloseReason::TooLarge));
    }
}

#[test]
fn an_announced_length_has_no_limit_of_its_own() {
    let mut bench = Bench::with(wait, |limits| limits.max_body = 10);
    bench.input(post(usize::MAX >> 1));
    bench.input(vec![b'x'; 100]);
    assert_eq!(bench.seen.last(), Some(&data([b'x'; 100])));
    let mut bench = Bench::with(wait, |limits| limits.max_body = 10);
    bench.input(format!("{CHUNKED}ffffffff\r\n{}", "x".repeat(100)));
    assert_eq!(bench.seen.last(), Some(&data([b'x'; 100])));
}

const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";

#[test]
fn a_client_gets_100_continue_when_the_body_is_first_awaited() {
    let outcome = every_split(format!("{}hello", expecting(5)), echo);
    assert!(outcome.output.starts_with(CONTINUE), "{}", outcome.output);
    assert_eq!(outcome.statuses(), ["100", "200"]);

    let mut bench = Bench::new(wait);
    bench.input(expecting(5));
    assert_eq!(bench.output(), "");
    bench.await_body(false);
    assert_eq!(bench.output(), "");
    bench.await_body(true);
    assert_eq!(bench.output(), CONTINUE);
    bench.await_body(false);
    bench.await_body(true);
    bench.call(|conn, cx| conn.gather_body(cx, 100));
    assert_eq!(bench.output(), "", "it is sent once");

    let mut bench = Bench::new(wait);
    bench.input(expecting(5));
    bench.call(|conn, cx| conn.gather_body(cx, 100));
    assert_eq!(bench.output(), CONTINUE);
}

#[test]
fn no_client_gets_100_continue_without_a_use_for_it() {
    // Not one that didn't ask.
    let mut bench = Bench::new(wait);
    bench.input(post(5));
    bench.await_body(true);
    assert_eq!(bench.output(), "");
    // Not within a response.
    let mut bench = Bench::new(wait);
    bench.input(expecting(5));
    bench.begin();
    bench.output();
    bench.await_body(true);
    assert_eq!(bench.output(), "");
    // Not a client of HTTP/1.0.
    let mut bench = Bench::new(wait);
    bench.input("POST / HTTP/1.0\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    bench.await_body(true);
    assert_eq!(bench.output(), "");
    // Not for a body that is collected and can't fit.
    let mut bench = Bench::with(echo_or_refuse, |limits| limits.max_held = 100_000);
    bench.play = wait;
    bench.input(expecting(100_001));
    bench.play = echo_or_refuse;
    bench.call(|conn, cx| conn.gather_body(cx, 1 << 20));
    assert_eq!(bench.status(), "503");
    // But a body in parts needs no room as a whole.
    let mut bench = Bench::with(wait, |limits| limits.max_held = 100_000);
    bench.input(expecting(100_001));
    bench.await_body(true);
    assert_eq!(bench.output(), CONTINUE);
}

#[test]
fn a_body_is_not_read_before_100_continue_even_if_it_has_arrived() {
    for body in ["5\r\nhello\r\n0\r\n\r\n", "x\r\n"] {
        let head = CHUNKED.replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n");
        let mut bench = Bench::new(wait);
        bench.input(head + body);
        bench.await_body(false);
        assert_eq!((bench.seen.len(), bench.output()), (1, String::new()));
        bench.await_body(true);
        assert_eq!(bench.output(), CONTINUE);
        bench.input("");
        assert!(bench.seen.len() > 1, "it isn't read then");
    }
    // Once the response has begun, it is too late, and the body is read.
    let mut bench = Bench::new(wait);
    bench.input(format!("{}hello", expecting(5)));
    bench.begin();
    bench.output();
    bench.input("");
    assert_eq!(bench.seen[1..], [data("hello"), end()]);
}

/// Responds at once, and leaves the body unread.
fn ignore(bench: &mut Bench, seen: &Event) {
    if let Event::Head(..) = seen {
        bench.call(Connection::drop_body);
        bench.respond_exactly("ignored");
    }
}

#[test]
fn a_short_rest_of_a_body_is_drained_and_never_read_as_a_request() {
    let hidden = GET.repeat(3);
    let chunk = format!("{:x}\r\n{hidden}\r\n", hidden.len());
    for input in [
        format!("{}{hidden}{GET_B}", post(hidden.len())),
        format!("{CHUNKED}{chunk}{chunk}0\r\nX: y\r\n\r\n{GET_B}"),
    ] {
        let outcome = every_split(&input, ignore);
        assert_eq!(outcome.seen.len(), 2, "{:?}", outcome.seen);
        assert_eq!(outcome.seen[1], head("GET /b", BodyLength::None));
        assert_eq!(outcome.statuses(), ["200", "200"]);
        assert!(!outcome.output.contains("connection"));
        assert_eq!(outcome.reading, Reading::Idle);
    }
    // The same if the response ends while the handler could still read.
    let late: Play = |bench, seen| {
        if let Event::Head(..) = seen {
            bench.respond_exactly("ignored");
        }
    };
    let outcome = every_split(format!("{}{hidden}{GET_B}", post(hidden.len())), late);
    assert_eq!(outcome.seen.len(), 2, "{:?}", outcome.seen);
    // Malformed: there is no next request, and the response stands.
    let outcome = every_split_with(format!("{CHUNKED}x{GET_B}"), true, ignore, |_| {});
    assert_eq!((outcome.seen.len(), outcome.statuses()), (1, vec!["200"]));
    assert_eq!(outcome.step, Step::Close(CloseReason::BadRequest));
    // Truncated.
    let outcome = every_split_with(format!("{}x", post(2)), true, ignore, |_| {});
    assert_eq!(outcome.step, Step::Close(CloseReason::IncompleteRequest));
}

#[test]
fn a_long_rest_of_a_body_closes_the_connection_after_the_response() {
    const LIMIT: usize = 64 << 10;
    let mut bench = Bench::new(ignore);
    bench.input(post(LIMIT));
    assert!(!bench.output().contains("connection: close"));
    bench.input(vec![b'x'; LIMIT]);
    bench.input(GET_B);
    assert_eq!(bench.seen.len(), 2);

    let mut bench = Bench::new(ignore);
    bench.input(post(LIMIT + 1));
    assert!(bench.output().contains("connection: close"));
    bench.input(vec![b'x'; LIMIT + 1]);
    bench.input(GET_B);
    assert_eq!(bench.seen.len(), 1);
    bench.end();
    assert_eq!(bench.step(), Step::Close(CloseReason::BodyUnread));

    // What has been read before doesn't count.
    let mut bench = Bench::new(wait);
    bench.input(post(LIMIT + 1));
    bench.input("x");
    bench.call(Connection::drop_body);
    bench.respond_exactly("ignored");
    assert!(!bench.output().contains("connection: close"));

    // The length of a chunked body becomes known late.
    let mut bench = Bench::new(ignore);
    bench.input(CHUNKED);
    assert!(!bench.output().contains("connection: close"));
    for _ in 0..LIMIT / 1007 + 1 {
        bench.input(format!("3e8\r\n{}\r\n", "x".repeat(1000)));
    }
    assert_eq!(bench.step(), Step::ShutdownWrite);
    bench.input(format!("0\r\n\r\n{GET_B}"));
    assert_eq!(bench.seen.len(), 1);
    bench.end();
    assert_eq!(bench.step(), Step::Close(CloseReason::BodyUnread));
}

#[test]
fn without_100_continue_it_is_not_known_if_a_body_follows() {
    // Whether the client sends the body or its next request, none of it is read.
    for rest in ["hello", ""] {
        let outcome = every_split_with(
            format!("{}{rest}{GET_B}", expecting(5)),
            true,
            ignore,
            |_| {},
        );
        assert_eq!(outcome.seen.len(), 1);
        assert!(outcome.output.contains("connection: close"));
        assert_eq!(outcome.step, Step::Close(CloseReason::BodyUnread));
    }
    // A body that was asked for is drained.
    let mut bench = Bench::new(wait);
    bench.input(expecting(5));
    bench.await_body(true);
    bench.call(Connection::drop_body);
    bench.respond_exactly("ignored");
    bench.input("hello");
    bench.input(GET_B);
    assert_eq!(bench.seen.len(), 2);
}

/// Collects the body in one piece.
fn gather(bench: &mut Bench, seen: &Event) {
    match seen {
        Event::Head(_, length) if *length != BodyLength::None => {
            bench.call(|conn, cx| conn.gather_body(cx, 20));
        }
        other => echo_or_refuse(bench, other),
    }
}

#[test]
fn a_body_is_collected_in_one_piece() {
    for input in [
        format!("{}hello, hello{GET_B}", post(12)),
        format!("{CHUNKED}5\r\nhello\r\n7\r\n, hello\r\n0\r\nX: y\r\n\r\n{GET_B}"),
    ] {
        let outcome = every_split(&input, gather);
        assert_eq!(outcome.seen[1..2], [Event::Whole(b"hello, hello".to_vec())]);
        assert_eq!(outcome.statuses(), ["200", "200"]);
    }
    // Only the rest, if parts were returned before. To ask again changes nothing.
    let mut bench = Bench::new(wait);
    bench.input(format!("{}hello", post(12)));
    bench.call(|conn, cx| conn.gather_body(cx, 20));
    bench.input(", h");
    bench.call(|conn, cx| conn.gather_body(cx, 20));
    bench.input("ello");
    assert_eq!(
        bench.seen[1..],
        [data("hello"), Event::Whole(b", hello".to_vec())]
    );
}

#[test]
fn a_body_that_is_collected_has_a_limit() {
    for input in [
        format!("{}{}{GET_B}", post(21), "x".repeat(21)),
        format!("{CHUNKED}5\r\nhello\r\n10\r\n{GET_B}"),
        format!("{CHUNKED}fffffffffffffff\r\n{GET_B}"),
        // As soon as the size of a chunk says so.
        format!("{CHUNKED}5\r\nhello\r\n10"),
    ] {
        let outcome = every_split_with(&input, true, gather, |_| {});
        assert_eq!(outcome.seen[1..], [Event::Failed(413)], "{input}");
        assert_eq!(outcome.statuses(), ["413"]);
        assert_eq!(outcome.step, Step::Close(CloseReason::TooLarge));
    }
    // Within a chunk that began before.
    let mut bench = Bench::new(wait);
    bench.input(format!("{CHUNKED}64\r\nhello"));
    bench.call(|conn, cx| conn.gather_body(cx, 94));
    bench.input("x".repeat(95));
    assert_eq!(bench.seen.last(), Some(&Event::Failed(413)));
}
