//! Upgraded connections. `tests/conformance/upgrade.md` has the cases of requests and responses before the upgrade.

use http::header;

use super::*;

const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";

/// Responds with 101 to a request for an upgrade.
fn switch(bench: &mut Bench, seen: &Event) {
    if let Event::Head(..) = seen {
        assert!(bench.checked.connection.asks_for_upgrade());
        let head = Response::builder().status(101).header(header::UPGRADE, "x");
        let head = head.body(()).expect("a head");
        bench.call(|conn, cx| {
            conn.set_upgrade_taken(true);
            assert!(!conn.begin_response(cx, &head, ResponseLength::Exact(0)));
        });
        assert!(bench.checked.connection.is_upgraded());
    }
}

fn upgraded(set: impl FnOnce(&mut Limits)) -> Bench {
    let mut bench = Bench::with(switch, set);
    bench.input(UPGRADE);
    let (output, step) = bench.run();
    assert!(output.starts_with("HTTP/1.1 101 "), "{output}");
    assert_eq!(step, Step::Wait);
    bench.seen.clear();
    bench
}

impl Bench {
    fn send_upgraded(&mut self, data: impl Into<Vec<u8>>) {
        let mut data = data.into();
        self.call(|conn, cx| conn.send_upgraded(cx, &mut data));
    }

    fn timeout(&self) -> Option<Instant> {
        self.checked.connection.poll_timeout()
    }
}

#[test]
fn a_silent_connection_has_no_deadline() {
    let mut bench = upgraded(|_| {});
    assert_eq!(bench.timeout(), None);
    bench.pass(Duration::from_secs(1_000_000));
    bench.input("late");
    assert_eq!(bench.seen, [Event::Data(b"late".to_vec())]);
    assert_eq!(bench.timeout(), None);
    assert!(!bench.checked.connection.can_be_evicted());
}

#[test]
fn input_is_passed_on_as_there_is_room() {
    let mut bench = upgraded(|_| {});
    assert_eq!(bench.read_limit(), 64 << 10);
    bench.call(|conn, cx| conn.set_upgraded_queue(cx, 64 << 10));
    assert_eq!(bench.read_limit(), 0);
    bench.input("kept");
    assert_eq!(bench.step(), Step::Wait);
    assert_eq!(bench.seen, []);
    assert!(bench.checked.shared.held() >= 64 << 10);
    bench.call(|conn, cx| conn.set_upgraded_queue(cx, (64 << 10) - 3));
    bench.run();
    assert_eq!(bench.seen, [Event::Data(b"kep".to_vec())]);
    bench.call(|conn, cx| conn.set_upgraded_queue(cx, 0));
    bench.run();
    assert_eq!(bench.seen, [Event::Data(b"kept".to_vec())]);
    assert_eq!(bench.checked.shared.held(), 1);
    bench.call(|conn, cx| conn.set_upgraded_queue(cx, 0));
    assert_eq!(bench.checked.shared.held(), 0);
}

/// What was kept is passed on before the end.
#[test]
fn the_end_of_the_input_comes_last_and_once() {
    let mut bench = upgraded(|_| {});
    bench.call(|conn, cx| conn.set_upgraded_queue(cx, (64 << 10) - 1));
    bench.input("abc");
    bench.end();
    assert_eq!(bench.step(), Step::Wait);
    assert_eq!(bench.seen, [Event::Data(b"a".to_vec())]);
    bench.call(|conn, cx| conn.set_upgraded_queue(cx, 0));
    bench.run();
    let end = Event::End(Vec::new());
    assert_eq!(bench.seen, [Event::Data(b"abc".to_vec()), end]);
    assert_eq!((bench.read_limit(), bench.timeout()), (0, None));
    // Output still goes out.
    bench.send_upgraded("more");
    assert_eq!(bench.run(), ("more".to_string(), Step::Wait));
    bench.call(Connection::end_upgraded);
    assert_eq!(bench.step(), Step::Close(CloseReason::Upgraded));
    assert_eq!(bench.seen.len(), 2);
}

#[test]
fn the_output_can_end_before_the_input() {
    let mut bench = upgraded(|_| {});
    bench.send_upgraded("bye");
    bench.call(Connection::end_upgraded);
    bench.send_upgraded("too late");
    assert_eq!(bench.run(), ("bye".to_string(), Step::ShutdownWrite));
    assert_eq!((bench.step(), bench.timeout()), (Step::Wait, None));
    bench.input("abc");
    bench.end();
    bench.input("");
    let end = Event::End(Vec::new());
    assert_eq!(bench.seen, [Event::Data(b"abc".to_vec()), end]);
    assert_eq!(bench.step(), Step::Close(CloseReason::Upgraded));
}

/// Only the output has ended then: the close isn't the planned one.
#[test]
fn a_failure_after_the_output_has_ended_is_the_reason() {
    for reason in [CloseReason::ClientGone, CloseReason::Stopped] {
        let mut bench = upgraded(|_| {});
        bench.call(Connection::end_upgraded);
        assert_eq!(bench.step(), Step::ShutdownWrite);
        bench.call(|conn, cx| conn.abandon(cx, reason));
        assert_eq!(bench.step(), Step::Close(reason));
    }
}

#[test]
fn a_dropped_connection_lingers() {
    for ends_before in [false, true] {
        let mut bench = upgraded(|_| {});
        bench.send_upgraded("bye");
        if ends_before {
            bench.call(Connection::end_upgraded);
            bench.call(|conn, cx| conn.set_upgraded_queue(cx, 10));
        }
        bench.call(Connection::drop_upgraded);
        assert_eq!(bench.run(), ("bye".to_string(), Step::ShutdownWrite));
        bench.input("dropped");
        assert_eq!(bench.step(), Step::Wait);
        assert_eq!(bench.seen, []);
        assert_eq!(bench.checked.shared.held(), 0);
        bench.pass(seconds(11));
        assert_eq!(bench.step(), Step::Close(CloseReason::Upgraded));
    }
}

/// Each write that the client takes begins the window anew. No rate is asked for.
#[test]
fn output_that_is_not_taken_for_a_window_ends_the_connection() {
    for min_rate in [0, 500] {
        let mut bench = upgraded(|limits| limits.min_rate = min_rate);
        bench.send_upgraded(vec![b'x'; 20_000]);
        for _ in 0..5 {
            bench.pass(seconds(9));
            bench.call(|conn, cx| conn.handle_written(cx, 1));
        }
        bench.pass(seconds(9));
        assert!(bench.checked.connection.is_upgraded());
        bench.pass(seconds(1));
        let step = bench.call(Connection::poll_step);
        assert_eq!(step, Step::Close(CloseReason::WriteTimeout));
    }
}

#[test]
fn output_is_counted_in_the_budget() {
    let mut bench = upgraded(|_| {});
    for size in [100, 60_000] {
        bench.send_upgraded(vec![b'x'; size]);
    }
    assert!(bench.checked.shared.held() >= 60_100);
    bench.run();
    assert_eq!(bench.checked.shared.held(), 0);
}

/// A server that stops waits for the upgraded connection, until the deadline.
#[test]
fn a_stop_does_not_end_an_upgraded_connection() {
    let mut bench = upgraded(|_| {});
    bench.checked.shared.begin_to_stop();
    assert!(!bench.call(Connection::stop));
    assert!(bench.checked.connection.is_upgraded());
    bench.call(|conn, cx| conn.abort_response(cx, CloseReason::Stopped));
    assert_eq!(bench.step(), Step::Close(CloseReason::Stopped));
}

/// An upgrade follows although the response was to be the last one.
#[test]
fn an_upgrade_replaces_an_earlier_reason_to_close() {
    let mut bench = Bench::new(switch);
    bench.input(UPGRADE.replace("upgrade\r", "upgrade, close\r"));
    let (output, _) = bench.run();
    assert!(!output.contains("close"), "{output}");
    assert_eq!(bench.reason(), Some(CloseReason::Upgraded));
}
