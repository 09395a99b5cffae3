//! Responses: framing, parts, trailers, and bodies that fail or have another length than announced.

use std::io::IoSlice;

use http::{HeaderMap, response};

use super::*;

/// Queues a response with this head and these parts of a body.
fn respond(bench: &mut Bench, head: response::Builder, length: ResponseLength, parts: &[&str]) {
    let head = head.body(()).expect("a response");
    bench.call(|conn, cx| {
        if conn.begin_response(cx, &head, length) {
            for part in parts {
                conn.send_data(cx, Bytes::copy_from_slice(str::as_bytes(part)));
            }
            conn.end_response(cx);
        }
    });
}

fn ok() -> response::Builder {
    Response::builder()
}

/// The response to this request, without its `Date`.
fn response_to(
    request: &str,
    head: response::Builder,
    length: ResponseLength,
    parts: &[&str],
) -> (String, Bench) {
    let mut bench = Bench::new(wait);
    bench.input(request);
    respond(&mut bench, head, length, parts);
    let output = bench.call(Connection::take_output);
    let output = String::from_utf8(output).expect("ASCII");
    let lines = output.split_inclusive("\r\n");
    let output = lines.filter(|line| !line.starts_with("date: ")).collect();
    (output, bench)
}

const GET_1_0: &str = "GET / HTTP/1.0\r\n\r\n";
const KEEP_1_0: &str = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
const HEAD: &str = "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n";

#[test]
fn a_response_is_framed_by_its_length_or_in_chunks_or_by_the_end_of_the_connection() {
    use ResponseLength::{Exact, Unknown};
    let stated = |length: &'static str| ok().header("Content-Length", length);
    let cases: [(&str, response::Builder, ResponseLength, &str); 9] = [
        (GET, ok(), Exact(5), "content-length: 5\r\n\r\nhello"),
        // The exact length wins over the handler's.
        (GET, stated("7"), Exact(5), "content-length: 5\r\n\r\nhello"),
        (GET, stated("5"), Unknown, "content-length: 5\r\n\r\nhello"),
        (
            GET,
            ok(),
            Unknown,
            "transfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        ),
        (
            GET,
            stated("x"),
            Unknown,
            "transfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        ),
        (
            GET_1_0,
            ok(),
            Exact(5),
            "content-length: 5\r\nconnection: close\r\n\r\nhello",
        ),
        (GET_1_0, ok(), Unknown, "connection: close\r\n\r\nhello"),
        (
            KEEP_1_0,
            ok(),
            Exact(5),
            "content-length: 5\r\nconnection: keep-alive\r\n\r\nhello",
        ),
        (KEEP_1_0, ok(), Unknown, "connection: close\r\n\r\nhello"),
    ];
    for (request, head, length, expected) in cases {
        // An empty part is no last chunk.
        let (output, mut bench) = response_to(request, head, length, &["he", "", "llo"]);
        assert_eq!(
            output,
            format!("HTTP/1.1 200 OK\r\n{expected}"),
            "{request} {length:?}"
        );
        assert!(!bench.checked.connection.request_in_progress());
        let closes = expected.contains("close");
        assert_eq!(bench.step() == Step::ShutdownWrite, closes);
        assert!(!bench.checked.connection.wants_reset());
        if !closes {
            bench.input(GET);
            assert_eq!(bench.seen.len(), 2);
        }
    }
}

#[test]
fn some_responses_have_no_body_to_poll() {
    use ResponseLength::{Exact, LeftOut, Unknown};
    let stated = || ok().header("Content-Length", "42");
    for (request, head, length, expected) in [
        (HEAD, ok(), Exact(5), "200 OK\r\ncontent-length: 5\r\n\r\n"),
        (HEAD, ok(), Exact(0), "200 OK\r\ncontent-length: 0\r\n\r\n"),
        (HEAD, ok(), LeftOut, "200 OK\r\n\r\n"),
        (
            HEAD,
            stated(),
            Unknown,
            "200 OK\r\ncontent-length: 42\r\n\r\n",
        ),
        (
            HEAD,
            ok(),
            Unknown,
            "200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        ),
        (GET, ok().status(204), Unknown, "204 No Content\r\n\r\n"),
        (
            GET,
            ok().status(205),
            Unknown,
            "205 Reset Content\r\ncontent-length: 0\r\n\r\n",
        ),
        (GET, ok().status(304), Exact(5), "304 Not Modified\r\n\r\n"),
        (GET, ok().status(304), Unknown, "304 Not Modified\r\n\r\n"),
        (
            KEEP_1_0,
            ok().status(204),
            Unknown,
            "204 No Content\r\nconnection: keep-alive\r\n\r\n",
        ),
    ] {
        let mut bench = Bench::new(wait);
        bench.input(request);
        let head = head.body(()).expect("a response");
        assert!(
            !bench.call(|conn, cx| conn.begin_response(cx, &head, length)),
            "{expected}"
        );
        assert!(!bench.checked.connection.request_in_progress());
        // Parts that come nevertheless are dropped.
        bench.send("x");
        bench.call(Connection::end_response);
        let output = bench.output();
        let lines = output.split_inclusive("\r\n");
        let output: String = lines.filter(|line| !line.starts_with("date: ")).collect();
        assert_eq!(output, format!("HTTP/1.1 {expected}"), "{request}");
        bench.input(GET);
        assert_eq!(bench.seen.len(), 2);
    }
}

#[test]
fn parts_are_large_or_small_and_in_order() {
    for length in [1, 15, 16, 255, 256, 16_384, 16_385, 100_000] {
        let mut bench = Bench::new(wait);
        bench.input(GET);
        bench.begin();
        let part = Bytes::from(vec![b'x'; length]);
        bench.send("first");
        bench.send(part);
        bench.send("last");
        bench.call(Connection::end_response);
        let output = bench.output();
        let (_, body) = output.split_once("\r\n\r\n").expect("a head");
        let x = "x".repeat(length);
        assert!(body == format!("5\r\nfirst\r\n{length:x}\r\n{x}\r\n4\r\nlast\r\n0\r\n\r\n"));
        assert_eq!(bench.checked.shared.held(), 0);
    }
}

#[test]
fn parts_that_are_ready_together_leave_in_one_write() {
    let mut bench = Bench::new(wait);
    bench.input(GET);
    bench.begin();
    for _ in 0..100 {
        bench.send("data: event\n\n");
    }
    let mut slices = [IoSlice::new(&[]); Connection::MAX_SLICES];
    assert_eq!(bench.checked.connection.poll_output(&mut slices), 1);
    assert_eq!(slices[0].len(), bench.checked.connection.pending_output());
}

#[test]
fn trailers_go_to_clients_that_take_them() {
    const TAKES: &str = "GET / HTTP/1.1\r\nHost: h\r\nTE: gzip;q=0, Trailers\r\n\r\n";
    let mut trailers = HeaderMap::new();
    trailers.append("x-sum", http::HeaderValue::from_static("1"));
    trailers.append("content-length", http::HeaderValue::from_static("9"));
    trailers.append(
        "transfer-encoding",
        http::HeaderValue::from_static("chunked"),
    );
    trailers.append("x-sum", http::HeaderValue::from_static("2"));
    for (request, length, expected) in [
        (
            TAKES,
            ResponseLength::Unknown,
            "2\r\nhi\r\n0\r\nx-sum: 1\r\nx-sum: 2\r\n\r\n",
        ),
        (GET, ResponseLength::Unknown, "2\r\nhi\r\n0\r\n\r\n"),
        (TAKES, ResponseLength::Exact(2), "hi"),
    ] {
        let mut bench = Bench::new(wait);
        bench.input(request);
        let head = ok()
            .header("Trailer", "x-sum")
            .body(())
            .expect("a response");
        assert!(bench.call(|conn, cx| conn.begin_response(cx, &head, length)));
        bench.send("hi");
        bench.call(|conn, cx| conn.send_trailers(cx, &trailers));
        bench.call(Connection::end_response);
        let output = bench.output();
        let (head, body) = output.split_once("\r\n\r\n").expect("a head");
        assert_eq!(body, expected);
        assert_eq!(
            head.contains("trailer: x-sum"),
            body.contains("x-sum"),
            "{head}"
        );
        assert_eq!(bench.checked.shared.held(), 0);
    }
}

#[test]
fn a_body_of_another_length_than_announced_ends_the_connection() {
    for (parts, sent) in [
        (&["he", "l"][..], "hel"),
        (&["hello!"], ""),
        (&["hell", "o!"], "hell"),
        // The part that completes it is sent with the end.
        (&["he", "llo", "!"], "he"),
        (&[], ""),
    ] {
        let (output, mut bench) = response_to(GET, ok(), ResponseLength::Exact(5), parts);
        assert_eq!(
            output,
            format!("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n{sent}")
        );
        assert!(!bench.checked.connection.request_in_progress());
        assert_eq!(bench.step(), Step::ShutdownWrite);
        bench.input(GET);
        bench.end();
        assert_eq!(bench.step(), Step::Close(CloseReason::ResponseFailed));
        assert_eq!(bench.seen.len(), 1);
    }
}

#[test]
fn a_response_that_is_aborted_has_no_end() {
    let reason = CloseReason::ResponseFailed;
    for request in [
        GET,
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    ] {
        let mut bench = Bench::new(wait);
        bench.input(request);
        bench.begin();
        bench.send("hi");
        bench.call(|conn, cx| conn.abort_response(cx, reason));
        bench.send("more");
        bench.call(Connection::end_response);
        assert!(bench.output().ends_with("\r\n2\r\nhi\r\n"));
        assert!(!bench.checked.connection.wants_reset());
        bench.end();
        assert_eq!(
            bench.step(),
            Step::Close(reason),
            "it replaces an earlier reason"
        );
    }
    // Without framing, only a reset shows that it isn't complete.
    let mut bench = Bench::new(wait);
    bench.input(GET_1_0);
    bench.begin();
    bench.send("hi");
    bench.call(|conn, cx| conn.abort_response(cx, reason));
    assert_eq!(bench.step(), Step::Close(reason));
    assert!(bench.checked.connection.wants_reset());
    // Before its head, there is still a response.
    let mut bench = Bench::new(wait);
    bench.input(GET_1_0);
    bench.call(|conn, cx| conn.abort_response(cx, reason));
    assert_eq!(bench.status(), "500");
    assert!(!bench.checked.connection.wants_reset());
}

#[test]
fn a_handler_that_fails_gets_500_unless_its_response_has_begun() {
    for fail in [Connection::respond_to_error, Connection::respond_to_panic] {
        let mut bench = Bench::new(wait);
        bench.input(format!("{}he", post(5)));
        bench.call(fail);
        assert!(!bench.checked.connection.request_in_progress());
        let output = bench.output();
        assert!(output.starts_with("HTTP/1.1 500 ") && output.contains("connection: close"));
        assert_eq!(bench.checked.shared.held(), 0);
        bench.input(format!("llo{GET}"));
        assert_eq!(bench.seen.len(), 2, "nothing is read behind it");
        bench.end();
        assert_eq!(bench.step(), Step::Close(CloseReason::HandlerFailed));
    }

    let mut bench = Bench::new(wait);
    bench.input(GET);
    bench.begin();
    bench.call(Connection::respond_to_error);
    assert!(bench.output().ends_with("\r\n\r\n"));
    assert_eq!(bench.reason(), Some(CloseReason::HandlerFailed));

    let mut bench = Bench::new(wait);
    bench.input(GET);
    bench.begin();
    bench.call(|conn, cx| conn.respond_to_refusal(cx, Refusal::overloaded()));
    assert_eq!(bench.reason(), Some(CloseReason::ResponseFailed));
}

#[test]
fn an_interim_status_becomes_500() {
    let (output, mut bench) = response_to(GET, ok().status(103), ResponseLength::Exact(2), &["hi"]);
    assert!(output.starts_with("HTTP/1.1 500 "), "{output}");
    assert!(output.ends_with("the handler returned no final response\n"));
    bench.end();
    assert_eq!(bench.step(), Step::Close(CloseReason::HandlerFailed));
}

#[test]
fn a_response_may_end_or_begin_while_the_body_still_comes() {
    // An echo, part by part.
    let play: Play = |bench, seen| match seen {
        Event::Head(_, BodyLength::None) => bench.respond_exactly("hello!"),
        Event::Head(..) => bench.begin(),
        Event::Data(data) => {
            bench.send(data.clone());
            bench.take();
        }
        Event::End(_) => bench.call(Connection::end_response),
        Event::Whole(_) | Event::Failed(_) => {}
    };
    let mut bench = Bench::new(play);
    bench.input(format!("{}hello", post(12)));
    assert!(bench.output().ends_with("\r\n5\r\nhello\r\n"));
    bench.input(format!(", world{GET_B}"));
    let output = bench.output();
    assert!(
        output.starts_with("7\r\n, world\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n"),
        "{output}"
    );

    // The handler asks to close.
    let mut bench = Bench::new(wait);
    bench.input(GET);
    respond(
        &mut bench,
        ok().header("Connection", "close"),
        ResponseLength::Exact(2),
        &["hi"],
    );
    assert!(bench.output().contains("connection: close"));
    bench.end();
    assert_eq!(bench.step(), Step::Close(CloseReason::HandlerAskedClose));
}

/// A task may still hold the body. No more of it is received after the response, so its head must say so (RFC 9112
/// §9.6).
#[test]
fn a_response_says_that_the_rest_of_the_body_ends_the_connection() {
    for (request, closes) in [
        (post(65_537), true),
        (expecting(5), true),
        (post(65_536), false),
    ] {
        for status in [200, 204] {
            let mut bench = Bench::new(wait);
            bench.input(&request);
            let mut head = Response::new(());
            *head.status_mut() = http::StatusCode::from_u16(status).expect("a status");
            bench.call(|conn, cx| match status {
                200 => conn.send_response(cx, &head, Bytes::from_static(b"done")),
                _ => assert!(!conn.begin_response(cx, &head, ResponseLength::Unknown)),
            });
            let output = bench.output();
            let is_said = output.contains("connection: close\r\n");
            assert_eq!(is_said, closes, "{status}: {output}");
            assert_eq!(bench.reason(), closes.then_some(CloseReason::BodyUnread));
        }
    }
}
