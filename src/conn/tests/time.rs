//! Timeouts and minimum rates.

use super::*;

#[test]
fn an_idle_connection_holds_no_memory_and_is_closed_after_the_idle_timeout() {
    let mut bench = Bench::new();
    bench.pass(seconds(74));
    bench.input(GET);
    assert!(bench.output().ends_with("\r\n\r\nhello!"));
    assert_eq!(bench.checked.shared.held(), 0);
    bench.pass(seconds(74));
    assert_eq!(bench.step(), Step::Wait);
    bench.pass(seconds(1));
    assert_eq!(bench.step(), Step::Close(CloseReason::IdleTimeout));
    assert_eq!(bench.output(), "");
}

#[test]
fn a_slow_head_gets_408_at_the_head_timeout_from_its_first_byte() {
    let mut bench = Bench::new();
    bench.pass(seconds(60));
    for byte in GET.as_bytes().iter().take(15) {
        bench.input([*byte]);
        bench.pass(seconds(2));
    }
    assert_eq!(bench.status(), "408");
    assert_eq!(bench.step(), Step::ShutdownWrite);
    bench.pass(seconds(9));
    assert_eq!(bench.step(), Step::Wait);
    bench.pass(seconds(1));
    assert_eq!(bench.step(), Step::Close(CloseReason::HeadTimeout));
}

#[test]
fn a_body_must_keep_its_rate_in_every_window() {
    let mut bench = Bench::new();
    bench.input("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 20000\r\n\r\n");
    bench.input([b'x'; 12_000]);
    bench.pass(seconds(10));
    bench.input([b'x'; 5_000]);
    bench.pass(seconds(10));
    assert_eq!(bench.output(), "", "the rate was kept in both windows");
    bench.input([b'x'; 2_999]);
    bench.pass(seconds(10));
    assert_eq!(
        bench.status(),
        "408",
        "bytes of an earlier window don't count"
    );
    assert!(bench.requests.is_empty());
    assert_eq!(bench.step(), Step::ShutdownWrite);
}

#[test]
fn a_client_that_reads_nothing_is_disconnected() {
    let mut bench = Bench::new();
    bench.input(GET);
    bench.pass(seconds(9));
    assert_eq!(bench.step(), Step::Wait);
    bench.pass(seconds(1));
    assert_eq!(bench.step(), Step::Close(CloseReason::WriteTimeout));
    assert_eq!(bench.checked.shared.held(), 0);
}

#[test]
fn a_client_that_reads_at_the_minimum_rate_gets_the_whole_response() {
    let mut bench = Bench::new();
    bench.input_with(GET, |_| Response::new(vec![b'x'; 50_000]));
    for _ in 0..9 {
        bench.call(|conn, cx| conn.handle_written(cx, 5_000));
        bench.pass(seconds(10));
        assert_eq!(bench.step(), Step::Wait);
    }
    assert!(bench.output().ends_with("xxx"));
}

#[test]
fn a_head_held_back_by_backpressure_does_not_time_out() {
    let mut bench = Bench::with(|limits| limits.max_pending_output = 1);
    bench.input(format!("{GET}GET / HT"));
    for _ in 0..5 {
        bench.call(|conn, cx| conn.handle_written(cx, 1));
        bench.checked.limits.min_rate = 0;
        bench.pass(seconds(29));
    }
    assert!(
        bench.output().ends_with("hello!"),
        "no 408 after the response"
    );
    bench.input("");
    bench.input("TP/1.0\r\n\r\n");
    assert_eq!(bench.requests.len(), 2);
}
