//! Memory: what is counted, and what a full budget means for streams.

use super::*;

/// Another connection holds all of the budget but `left` bytes.
fn fill(bench: &mut Bench, left: usize) {
    let held = bench.checked.shared.held();
    let all = bench.checked.limits.max_held;
    bench.checked.shared.budget.replace(0, all - held - left);
}

#[test]
fn all_that_waits_is_counted_and_given_back() {
    let mut bench = Bench::new(wait);
    bench.input(post(100_000));
    assert_eq!(bench.checked.shared.held(), 0, "the handler has the head");
    bench.input([b'x'; 5000]);
    assert_eq!(
        bench.checked.shared.held(),
        5000,
        "what waits for the handler"
    );
    bench.call(|conn, cx| {
        conn.set_queued(cx, 1000);
        conn.set_body_room(cx, 0);
    });
    assert_eq!(bench.checked.shared.held(), 1000);
    bench.input([b'x'; 3000]);
    assert!(
        (4000..9000).contains(&bench.checked.shared.held()),
        "what is kept"
    );
    bench.begin();
    bench.send(vec![b'y'; 20_000]);
    assert!(bench.checked.shared.held() > 24_000, "what is to be sent");
    bench.output();
    bench.call(|conn, cx| conn.set_queued(cx, 0));
    bench.call(|conn, cx| conn.gather_body(cx, 1 << 20));
    bench.input("");
    assert!(bench.checked.shared.held() > 3000, "what is collected");
    bench.call(|conn, cx| conn.abandon(cx, CloseReason::ClientGone));
    assert_eq!(bench.checked.shared.held(), 0);
}

#[test]
fn a_response_gives_back_what_its_request_held() {
    let mut bench = Bench::new(wait);
    bench.input(format!("{}hello", post(5)));
    assert_eq!(bench.checked.shared.held(), 5);
    let length = ResponseLength::Exact(10_002);
    assert!(bench.call(|conn, cx| conn.begin_response(cx, &Response::new(()), length)));
    bench.send("he");
    bench.send(vec![b'x'; 10_000]);
    assert!(
        bench.checked.shared.held() >= 10_005,
        "the last part is held back, and counted"
    );
    bench.call(Connection::end_response);
    bench.output();
    assert_eq!(bench.checked.shared.held(), 0);

    // What is kept of a body that is refused.
    let mut bench = Bench::new(wait);
    bench.input(post(50_000));
    bench.call(|conn, cx| conn.set_body_room(cx, 0));
    bench.input([b'x'; 10_000]);
    assert!(bench.checked.shared.held() >= 10_000);
    bench.call(|conn, _| conn.fail_body(Refusal::body_too_large()));
    bench.take();
    assert_eq!(bench.checked.shared.held(), 0);

    // Shared and static parts are not counted.
    let mut bench = Bench::new(wait);
    bench.input(GET);
    bench.begin();
    bench.output();
    let shared = Bytes::from(vec![b'x'; 100_000]);
    bench.send(shared.clone());
    bench.send(Bytes::from_static(&[b'x'; 100_000]));
    assert!(
        bench.checked.shared.held() < 1000,
        "{}",
        bench.checked.shared.held()
    );
    drop(shared);
}

#[test]
fn while_the_budget_is_full_streams_go_on_by_4_kib() {
    let mut bench = Bench::with(wait, |limits| limits.max_held = 1 << 20);
    bench.input(post(100_000));
    bench.begin();
    bench.output();
    fill(&mut bench, 5000);
    assert_eq!(bench.read_limit(), 5000, "no more than there is room for");
    bench.call(|_, cx| cx.shared.budget.replace(0, 5000));
    assert_eq!(bench.read_limit(), 4096);
    bench.input([b'x'; 3000]);
    assert_eq!(bench.read_limit(), 1096);
    bench.input([b'x'; 1096]);
    assert_eq!(bench.read_limit(), 0);
    bench.take();
    assert_eq!(bench.read_limit(), 4096);
    // The handler's queue is full: what is kept counts too.
    bench.call(|conn, cx| conn.set_body_room(cx, 0));
    assert_eq!(bench.read_limit(), 0);
    bench.input([b'x'; 2000]);
    bench.call(|conn, cx| conn.set_body_room(cx, 64 << 10));
    bench.input("");
    assert_eq!(bench.seen.last(), Some(&data([b'x'; 6096])));

    assert_eq!(bench.output(), "", "nothing was refused");

    // Input after a request.
    let mut bench = Bench::with(wait, |limits| limits.max_held = 1 << 20);
    bench.input(GET);
    fill(&mut bench, 0);
    assert_eq!(bench.read_limit(), 4096);
    bench.input(&GET_B.repeat(200)[..4096]);
    assert_eq!(bench.read_limit(), 0);
    assert_eq!(bench.output(), "");
}

#[test]
fn while_the_budget_is_full_a_response_holds_4_kib_or_one_part() {
    let room = |bench: &mut Bench| bench.call(|conn, cx| conn.data_room(cx));
    let start = |left| {
        let mut bench = Bench::with(wait, |limits| limits.max_held = 1 << 20);
        bench.input(GET);
        bench.begin();
        bench.output();
        fill(&mut bench, left);
        bench
    };
    let mut bench = start(5000);
    assert_eq!(room(&mut bench), 5000, "no more than there is room for");

    let mut bench = start(0);
    assert_eq!(room(&mut bench), 1, "one part of unknown length");
    bench.send(vec![b'y'; 100]);
    // The next one is expected to be as long.
    let pending = bench.call(|conn, _| conn.pending_output());
    assert_eq!(room(&mut bench), 4096 - pending - 100);
    while room(&mut bench) > 0 {
        bench.send(vec![b'y'; 100]);
    }
    let pending = bench.call(|conn, _| conn.pending_output());
    assert!((3900..=4096 + 10).contains(&pending), "{pending}");
    bench.send(vec![b'y'; 5000]);
    bench.call(|conn, cx| conn.handle_written(cx, 9000));
    let pending = bench.call(|conn, _| conn.pending_output());
    assert!((1..200).contains(&pending), "{pending}");
    assert_eq!(room(&mut bench), 0, "the next one may be too long");
    bench.call(Connection::take_output).clear();
    assert_eq!(room(&mut bench), 1);
    assert_eq!(bench.output(), "", "nothing was refused");
}

#[test]
fn while_the_budget_is_full_output_takes_no_more_memory_than_it_needs() {
    let mut bench = Bench::with(wait, |limits| limits.max_held = 1 << 20);
    // So that the pool has a buffer of 64 KiB.
    bench.input(GET);
    bench.begin();
    bench.send(vec![b'x'; 16_000]);
    bench.send(vec![b'x'; 16_000]);
    bench.send(vec![b'x'; 16_000]);
    bench.call(Connection::end_response);
    bench.output();
    for length in [1, 100, 4_000, 16_000, 100_000] {
        bench.input(GET);
        fill(&mut bench, 0);
        let others = bench.checked.shared.held();
        bench.begin();
        for _ in 0..3 {
            bench.send(vec![b'x'; length]);
            let held = bench.checked.shared.held() - others;
            let pending = bench.call(|conn, _| conn.pending_output());
            assert!(held <= pending + 600, "{held} for {pending}");
            bench.call(|conn, cx| conn.handle_written(cx, pending - 1));
        }
        bench.call(Connection::end_response);
        bench.output();
        assert_eq!(bench.checked.shared.held(), others);
        bench.call(|_, cx| cx.shared.budget.replace(others, 0));
    }
}

/// A read of 0 bytes would look like the client's end of stream.
#[test]
fn a_head_is_read_although_the_budget_is_full_and_refused_if_it_must_be_kept() {
    let mut bench = Bench::with(wait, |limits| limits.max_held = 1 << 20);
    bench.input(GET);
    bench.respond_exactly("");
    bench.output();
    bench.input(format!("GET / HTTP/1.1\r\nA: {}", "x".repeat(10_000)));
    fill(&mut bench, 0);
    assert_eq!(bench.read_limit(), 4096);
    bench.input("x".repeat(4096));
    assert_eq!(bench.status(), "503");
}

#[test]
fn a_response_is_polled_while_there_is_room_for_output() {
    let can_send = |bench: &mut Bench| bench.call(|conn, cx| conn.can_send_data(cx));
    let mut bench = Bench::new(wait);
    assert!(!can_send(&mut bench));
    bench.input(GET);
    assert!(!can_send(&mut bench), "its head comes first");
    bench.begin();
    bench.output();
    assert!(can_send(&mut bench));
    bench.send(vec![b'x'; 65_000]);
    assert!(can_send(&mut bench));
    bench.send(vec![b'x'; 1000]);
    assert!(!can_send(&mut bench));
    bench.call(|conn, cx| conn.handle_written(cx, 1000));
    assert!(can_send(&mut bench));
    bench.call(Connection::end_response);
    assert!(!can_send(&mut bench));
}

#[test]
fn only_a_body_that_is_collected_is_refused_for_want_of_room() {
    for held in [0, 1000] {
        let mut bench = Bench::with(echo_or_refuse, |limits| limits.max_held = 200_000);
        bench.play = wait;
        bench.input(post(300_000));
        bench.input(vec![b'x'; held]);
        bench.take();
        bench.play = echo_or_refuse;
        bench.call(|conn, cx| conn.gather_body(cx, 300_000));
        for _ in 0..10 {
            bench.input([b'x'; 25_000]);
            assert!(
                bench.checked.shared.held() <= 201_000,
                "{}",
                bench.checked.shared.held()
            );
        }
        assert_eq!(bench.seen.last(), Some(&Event::Failed(503)));
        assert_eq!(bench.status(), "503");
        assert_eq!(bench.reason(), Some(CloseReason::Overloaded));
        assert_eq!(bench.checked.shared.held(), 0);
    }
}

#[test]
fn a_body_that_is_collected_takes_memory_as_it_arrives() {
    let mut bench = Bench::new(wait);
    bench.input(post(10 << 20));
    bench.call(|conn, cx| conn.gather_body(cx, 10 << 20));
    bench.input([b'x'; 1000]);
    assert!(
        bench.checked.shared.held() <= 8 << 10,
        "{}",
        bench.checked.shared.held()
    );
    // The limit of the handler decides how it grows, also over that of the server.
    let mut bench = Bench::with(wait, |limits| limits.max_body = 1000);
    bench.input(CHUNKED);
    bench.call(|conn, cx| conn.gather_body(cx, 32 << 20));
    let (mut steps, mut held) = (0, 0);
    for _ in 0..300 {
        bench.input(format!("8000\r\n{}\r\n", "x".repeat(32 << 10)));
        steps += usize::from(bench.checked.shared.held() != held);
        held = bench.checked.shared.held();
    }
    assert!(steps < 12, "{steps} steps");
    bench.input("0\r\n\r\n");
    assert!(matches!(bench.seen.last(), Some(Event::Whole(body)) if body.len() == 300 << 15));
}

#[test]
fn an_idle_connection_holds_nothing() {
    let mut bench = Bench::new(echo);
    for _ in 0..3 {
        bench.input(format!("{}{}", post(70_000), "x".repeat(30_000)));
        bench.input("x".repeat(40_000));
        bench.output();
        assert_eq!(bench.checked.shared.held(), 0);
        assert_eq!(bench.checked.connection.state().reading(), Reading::Idle);
        assert_eq!(
            bench.checked.connection.state().response(),
            ResponseState::None
        );
    }
}
