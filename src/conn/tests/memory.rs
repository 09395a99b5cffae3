//! Memory: what is held, how it is counted, and when the budget limits it.

use std::cell::Cell;
use std::sync::Arc;

use bytes::Bytes;

use super::*;

#[test]
fn while_memory_is_scarce_a_large_body_must_arrive_faster() {
    const HEAD: &str = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10000000\r\n\r\n";
    let slow = Some(CloseReason::BodyTimeout);
    // The bytes received in each window after the first 60,000, and how the connection ends.
    for (max_held, in_window, windows, end) in [
        (1 << 20, 5_000, 20, None),
        (100_000, 5_000, 1, slow),
        (100_000, 9_000, 3, None),
    ] {
        let mut bench = Bench::with(|limits| limits.max_held = max_held);
        bench.input(HEAD);
        bench.input([b'x'; 60_000]);
        bench.pass(seconds(10));
        let mut tolerated = 0;
        while bench.checked.connection.state().close_reason().is_none() && tolerated < windows {
            tolerated += 1;
            bench.input(vec![b'x'; in_window]);
            bench.pass(seconds(10));
        }
        let reason = bench.checked.connection.state().close_reason();
        assert_eq!(
            (tolerated, reason),
            (windows, end),
            "{in_window} of {max_held}"
        );
    }
}

#[test]
fn while_memory_is_scarce_large_responses_must_be_read_faster() {
    for (max_held, end) in [
        (1 << 20, Step::Wait),
        (60_000, Step::Close(CloseReason::WriteTimeout)),
    ] {
        let mut bench = Bench::with(|limits| limits.max_held = max_held);
        bench.input_with(GET, |_| Response::new(vec![b'x'; 100_000]));
        bench.call(|conn, cx| conn.handle_written(cx, 6_000));
        bench.pass(seconds(10));
        bench.call(|conn, cx| conn.handle_written(cx, 6_000));
        bench.pass(seconds(10));
        assert_eq!(bench.step(), end, "{max_held}");
    }
}

#[test]
fn reading_earlier_responses_slowly_does_not_keep_a_body_in_memory() {
    let mut bench = Bench::with(|limits| limits.max_held = 2 << 20);
    bench.input_with(GET.repeat(3), |_| Response::new(vec![b'x'; 16_000]));
    bench.input("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10000000\r\n\r\n");
    for _ in 0..16 {
        bench.input([b'x'; 1 << 16]);
    }
    // Another connection holds the rest of the budget: no more of the body is read.
    let rest = bench.checked.limits.max_held - bench.checked.shared.held();
    bench.checked.shared.budget.replace(0, rest);
    for _ in 0..2 {
        bench.call(|conn, cx| conn.handle_written(cx, 8_500));
        bench.call(|conn, cx| assert!(!conn.wants_input(cx)));
        bench.pass(seconds(10));
    }
    let reason = bench.checked.connection.state().close_reason();
    assert_eq!(reason, Some(CloseReason::WriteTimeout));
}

#[test]
fn unread_responses_hold_back_later_requests() {
    let mut bench = Bench::with(|limits| limits.max_pending_output = 300);
    bench.input(GET.repeat(10));
    let served = bench.requests.len();
    assert!((2..10).contains(&served), "{served} served");
    bench.call(|conn, cx| assert!(!conn.wants_input(cx) && !conn.has_usable_input(cx)));
    let mut responses = bench.output();
    while bench.call(|conn, cx| conn.has_usable_input(cx)) {
        bench.input("");
        responses += &bench.output();
    }
    assert_eq!(bench.requests.len(), 10);
    assert_eq!(responses.matches("hello!").count(), 10);
    bench.call(|conn, cx| assert!(conn.wants_input(cx)));
}

#[test]
fn an_announced_body_takes_memory_only_as_it_arrives() {
    let mut bench = Bench::new();
    bench.input("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 16777216\r\n\r\n");
    assert!(
        bench.checked.shared.held() <= 64 << 10,
        "{}",
        bench.checked.shared.held()
    );
    bench.input([b'x'; 1000]);
    // 64 KiB of the body, and the head, which is counted too.
    assert!(
        bench.checked.shared.held() <= 72 << 10,
        "{}",
        bench.checked.shared.held()
    );
}

#[test]
fn while_memory_is_scarce_content_length_reserves_little() {
    let mut bench = Bench::new();
    // An earlier body has left its memory in the pool.
    bench.input_with(GET, |_| Response::new(vec![b'x'; 2 << 20]));
    assert!(bench.output().len() > 2 << 20);
    bench
        .checked
        .shared
        .budget
        .replace(0, bench.checked.limits.max_held / 2 + 1);
    let before = bench.checked.shared.held();
    bench.input("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1500000\r\n\r\nx");
    let held = bench.checked.shared.held() - before;
    // 4 KiB of the body, and as much of the head.
    assert!(held <= 9 << 10, "{held} bytes for one");
}

#[test]
fn a_body_over_the_budget_gets_503_and_its_memory_is_freed() {
    let mut bench = Bench::with(|limits| limits.max_held = 200_000);
    bench.input("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n");
    for _ in 0..10 {
        bench.input([b'x'; 40_000]);
        assert!(
            bench.checked.shared.held() <= 200_000 + 1024,
            "{}",
            bench.checked.shared.held()
        );
    }
    let output = bench.output();
    assert!(output.starts_with("HTTP/1.1 503 "), "{output}");
    // The text names both limits: raising only one of them doesn't help.
    assert!(output.contains("max_held") && output.contains("max_body"));
    assert_eq!(bench.checked.shared.held(), 0);
    assert_eq!(
        bench.checked.connection.state().close_reason(),
        Some(CloseReason::Overloaded)
    );
}

#[test]
fn a_body_that_never_fits_gets_503_in_place_of_100() {
    let mut bench = Bench::with(|limits| limits.max_held = 200_000);
    bench.input(
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 200001\r\nExpect: 100-continue\r\n\r\n",
    );
    let output = bench.output();
    assert!(output.starts_with("HTTP/1.1 503 "), "{output}");
}

#[test]
fn a_body_grows_in_few_steps_even_if_little_of_the_budget_is_left() {
    let mut bench = Bench::with(|limits| limits.max_held = 100_000);
    bench.input("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    let (mut steps, mut held) = (0, bench.checked.shared.held());
    for _ in 0..90_000 {
        bench.input("1\r\nx\r\n");
        steps += usize::from(bench.checked.shared.held() != held);
        held = bench.checked.shared.held();
    }
    assert_eq!(
        bench.checked.connection.state().reading(),
        Reading::Body(())
    );
    assert!(steps < 30, "{steps} steps");
}

#[test]
fn a_head_over_the_budget_gets_503() {
    let mut bench = Bench::with(|limits| limits.max_held = 1000);
    bench.input(format!("GET / HTTP/1.1\r\nA: {}", "x".repeat(2000)));
    assert_eq!(bench.status(), "503");
}

#[test]
fn a_large_response_is_counted_until_it_is_sent() {
    let mut bench = Bench::new();
    bench.input_with(GET, |_| Response::new(vec![b'x'; 1 << 20]));
    assert!(bench.checked.shared.held() > 1 << 20);
    let response = bench.output();
    let (_, body) = response.split_once("\r\n\r\n").expect("a head");
    assert_eq!(body.len(), 1 << 20);
    assert_eq!(bench.checked.shared.held(), 0);
}

#[test]
fn a_large_response_over_the_budget_becomes_503() {
    let mut bench = Bench::with(|limits| limits.max_held = 1 << 20);
    bench.input_with(GET, |_| Response::new(vec![b'x'; 2 << 20]));
    assert!(bench.output().len() > 2 << 20, "nothing else is held");
    // Another connection holds some.
    bench.checked.shared.budget.replace(0, 100);
    bench.input_with(GET, |_| Response::new(&[b'x'; 2 << 20][..]));
    assert!(
        bench.output().len() > 2 << 20,
        "a static body takes no memory"
    );
    bench.input_with(GET, |_| Response::new(vec![b'x'; 2 << 20]));
    assert!(
        bench.checked.shared.held() < 10_000,
        "{}",
        bench.checked.shared.held()
    );
    assert_eq!(bench.status(), "503");
    assert_eq!(
        bench.checked.connection.state().close_reason(),
        Some(CloseReason::Overloaded)
    );
}

#[test]
fn shared_and_static_bodies_are_not_counted() {
    const LENGTH: usize = 1 << 20;
    static STATIC: [u8; LENGTH] = [b'x'; LENGTH];
    let shared = Bytes::from(vec![b'x'; LENGTH]);
    let cases = [
        (shared.clone(), 0),
        (shared.slice(1..), 0),
        (Bytes::from_static(&STATIC), 0),
        (Bytes::from(vec![b'x'; LENGTH]), LENGTH),
        (Bytes::from("x".repeat(LENGTH)), LENGTH),
    ];
    for (number, (body, counted)) in cases.into_iter().enumerate() {
        let mut bench = Bench::with(|limits| limits.max_held = 100_000);
        let body = Cell::new(Some(body));
        bench.input_with(GET, |_| {
            Response::new(body.take().expect("the handler is called once"))
        });
        let held = bench.checked.shared.held();
        assert!(
            (counted..counted + 1000).contains(&held),
            "case {number}: {held} held"
        );
    }
}

#[test]
fn a_shared_body_takes_no_budget_from_others_and_is_not_cut_off() {
    let shared = Bytes::from(vec![b'x'; 3 << 20]);
    let mut bench = Bench::with(|limits| limits.max_held = 1 << 20);
    bench.input_with(GET, |_| Response::new(shared.clone()));
    for _ in 0..10 {
        // Far less than a twelfth of it.
        bench.call(|conn, cx| conn.handle_written(cx, 10_000));
        bench.pass(seconds(10));
    }
    assert_eq!(bench.step(), Step::Wait);
    // Another connection of the same server.
    let connection = bench.call(|_, cx| Connection::new(2, None, cx));
    bench.checked.connection = connection;
    bench.input_with(GET, |_| Response::new(vec![b'x'; 500_000]));
    assert_eq!(bench.status(), "200");
    let body = "x".repeat(150_000);
    bench.input(format!(
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 150000\r\n\r\n{body}"
    ));
    assert_eq!(bench.status(), "200");
}

#[test]
fn a_body_no_longer_shared_is_counted_from_the_next_window_on() {
    let bytes: Vec<u8> = vec![b'x'; 1 << 20];
    is_counted_when_it_is_no_longer_shared(Bytes::from(bytes.clone()));
    is_counted_when_it_is_no_longer_shared(Arc::<[u8]>::from(bytes));
}

fn is_counted_when_it_is_no_longer_shared<B: Whole + Clone>(body: B) {
    let length = body.as_bytes().len();
    let shared = Cell::new(Some(body));
    let share = || {
        let body = shared.take();
        shared.set(body.clone());
        body.expect("it is shared")
    };
    let mut bench = Bench::new();
    bench.input_with(GET, |_| Response::new(share()));
    let pass = |bench: &mut Bench| {
        bench.call(|conn, cx| conn.handle_written(cx, 10_000));
        bench.pass(seconds(10));
        bench.checked.shared.held()
    };
    assert!(pass(&mut bench) < 1000);
    drop(shared.take());
    assert!(bench.checked.shared.held() < 1000);
    for _ in 0..2 {
        let held = pass(&mut bench);
        assert!((length..length + 1000).contains(&held), "{held} held");
    }
    assert!(bench.output().len() > length - 40_000);
    assert_eq!(bench.checked.shared.held(), 0);
}

/// While a request is with the handler, more input comes for which there is no memory.
#[test]
fn without_memory_for_the_next_request_the_response_is_the_last_one() {
    let mut bench = Bench::with(|limits| limits.max_held = 1);
    let mut input = GET.as_bytes();
    let request = bench.call(|conn, cx| conn.handle_input(cx, &mut input));
    assert!(request.is_some());
    bench.call(|conn, cx| conn.keep_input(cx, GET.as_bytes()));
    bench.call(|conn, cx| conn.respond(cx, Response::new("hello!")));
    let output = bench.output();
    assert!(output.starts_with("HTTP/1.1 200 "), "{output}");
    assert!(output.contains("connection: close\r\n") && output.ends_with("\r\n\r\nhello!"));
    bench.input(GET);
    assert_eq!((bench.requests.len(), bench.output()), (0, String::new()));
    let reason = bench.checked.connection.state().close_reason();
    assert_eq!(reason, Some(CloseReason::Overloaded));
}

/// The handler has given the body to two connections, and holds it no longer. Neither can see that all
/// references are the server's, until one of the connections has ended.
#[test]
fn a_body_of_two_connections_is_counted_when_only_one_still_sends_it() {
    const LENGTH: usize = 1 << 20;
    let body = Cell::new(Bytes::from(vec![b'x'; LENGTH]));
    let mut bench = Bench::new();
    bench.input_with(GET, |_| {
        let shared = body.take();
        body.set(shared.clone());
        Response::new(shared)
    });
    let second = bench.call(|_, cx| Connection::new(2, None, cx));
    let first = std::mem::replace(&mut bench.checked.connection, second);
    bench.input_with(GET, |_| Response::new(body.take()));
    let pass = |bench: &mut Bench| {
        bench.call(|conn, cx| conn.handle_written(cx, 10_000));
        bench.pass(seconds(10));
        bench.checked.shared.held()
    };
    assert!(
        pass(&mut bench) < 2_000,
        "{} held",
        bench.checked.shared.held()
    );
    let second = std::mem::replace(&mut bench.checked.connection, first);
    assert!(bench.output().len() > LENGTH);
    bench.checked.connection = second;
    let held = pass(&mut bench);
    assert!((LENGTH..LENGTH + 1_000).contains(&held), "{held} held");
}

#[test]
fn over_the_budget_small_responses_are_made_one_at_a_time() {
    let mut bench = Bench::with(|limits| limits.max_held = 1);
    for _ in 0..3 {
        bench.input(GET);
        bench.call(|conn, cx| assert!(!conn.wants_input(cx)));
        assert!(bench.output().ends_with("hello!"));
        bench.call(|conn, cx| assert!(conn.wants_input(cx)));
    }
}

#[test]
fn a_head_is_counted_until_its_body_has_arrived() {
    let mut bench = Bench::new();
    let field = format!("A: {}\r\n", "x".repeat(5_000));
    bench.input(format!(
        "POST / HTTP/1.1\r\nHost: h\r\n{field}Content-Length: 9\r\n\r\n"
    ));
    assert!(
        bench.checked.shared.held() > 5_000,
        "{}",
        bench.checked.shared.held()
    );
}

#[test]
fn kept_input_is_freed_however_the_connection_ends() {
    let mut bench = Bench::with(|limits| limits.max_pending_output = 1);
    bench.input(GET.repeat(3));
    assert!(bench.checked.shared.held() > 0);
    bench.pass(seconds(10));
    assert_eq!(bench.step(), Step::Close(CloseReason::WriteTimeout));
    assert_eq!(bench.checked.shared.held(), 0);

    let mut bench = Bench::new();
    bench.input("\r\n");
    bench.pass(seconds(75));
    assert_eq!(bench.step(), Step::Close(CloseReason::IdleTimeout));
    assert_eq!(bench.checked.shared.held(), 0);
}

#[test]
fn an_echo_is_not_counted_twice() {
    let mut bench = Bench::with(|limits| limits.max_held = 3 << 20);
    bench.input(format!(
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n",
        2 << 20
    ));
    for _ in 0..32 {
        bench.input([b'x'; 1 << 16]);
    }
    let response = bench.output();
    assert!(response.len() > 2 << 20, "{}", &response[..100]);
}

#[test]
fn a_large_body_reuses_the_memory_of_a_sent_one() {
    let mut bench = Bench::new();
    let mut buffers = Vec::new();
    for length in [300_000, 200_000, 300_000] {
        let head = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n");
        bench.input(&head);
        bench.input(vec![b'x'; length / 2]);
        let held = bench.checked.shared.held();
        let mut rest = &vec![b'y'; length - length / 2][..];
        let request = bench.call(|conn, cx| conn.handle_input(cx, &mut rest));
        let body = request.expect("it is complete").into_body();
        let (xs, ys) = body.split_at(length / 2);
        assert!(xs.iter().all(|&x| x == b'x') && ys.iter().all(|&y| y == b'y'));
        assert_eq!(body.len(), length);
        buffers.push((body.as_ptr(), held));
        bench.call(|conn, cx| conn.respond(cx, Response::new(body)));
        assert!(bench.output().len() > length);
        assert_eq!(bench.checked.shared.held(), 0);
    }
    // The buffer's capacity is counted, not the body's length.
    let (first, second) = (buffers[0], buffers[1]);
    assert_eq!(first.0, second.0);
    assert!(second.1 >= 300_000, "{} held", second.1);
}

/// Otherwise an echo could fail although the budget had room for the request.
#[test]
fn a_complete_body_takes_no_more_of_the_budget_than_while_it_arrived() {
    const LENGTH: usize = 200_000;
    let mut bench = Bench::with(|limits| limits.max_held = 1 << 20);
    let chunked = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    bench.input_with(GET, |_| Response::new(vec![b'x'; 2 * LENGTH]));
    assert!(
        bench.output().len() > 2 * LENGTH,
        "its memory goes to the pool"
    );
    // Another connection holds most of the rest. On WASI, bodies over 64 KiB leave an eighth free.
    let free = if cfg!(target_family = "wasm") {
        1 << 17
    } else {
        0
    };
    bench
        .checked
        .shared
        .budget
        .replace(0, (1 << 20) - 300_000 - free);
    bench.input(format!("{chunked}{LENGTH:x}\r\n"));
    for _ in 0..100 {
        bench.input([b'x'; LENGTH / 100]);
    }
    bench.input_with("\r\n0\r\n\r\n", |request| {
        Response::new(request.into_body())
    });
    assert_eq!(bench.status(), "200");
}
