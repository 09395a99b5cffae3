//! Tests of fairness: no connection keeps the others waiting for long.

use super::*;

#[test]
fn a_pipeline_does_not_starve_the_others() {
    let bench = Bench::new(Personality::WASI_COMMON);
    let (greedy, polite) = (bench.client(), bench.client());
    greedy.set_room(1 << 30);
    greedy.send(&b"GET /greedy HTTP/1.1\r\nHost: h\r\n\r\n".repeat(1500));
    polite.send(b"GET /polite HTTP/1.1\r\nHost: h\r\n\r\n");
    let counters = bench.run_until(1000);
    assert_eq!(counters.requests, 1501);
    let before = bench
        .seen
        .borrow()
        .iter()
        .position(|target| target == "/polite");
    assert!(
        before.is_some_and(|before| before <= 128),
        "{before:?} requests came first"
    );
}

/// A client that sends more than one turn takes is reported by every poll, and is in the backlog as well. It must get
/// only one turn per iteration.
#[test]
fn a_client_that_never_stops_gets_one_turn_per_iteration() {
    let bench = Bench::new(Personality::WASI_COMMON);
    let greedy = bench.client();
    greedy.set_room(1 << 30);
    greedy.send(&b"GET /greedy HTTP/1.1\r\nHost: h\r\n\r\n".repeat(10_000));
    bench.run_until(2_000);
    assert_eq!(bench.seen.borrow().len(), 10_000);
    let polls = bench.polls.borrow();
    let most = polls.chunk_by(|a, b| a == b).map(<[u64]>::len).max();
    assert!(
        most.is_some_and(|most| most <= 64),
        "{most:?} requests between two polls"
    );
}

/// A small request waits for a few large bodies only, and not for those of all other connections.
#[test]
fn a_small_request_does_not_wait_for_all_large_bodies() {
    let body = "x".repeat(1 << 20);
    let upload = |target: &str| {
        format!("POST {target} HTTP/1.1\r\nHost: h\r\nContent-Length: 1048576\r\n\r\n{body}")
    };
    let download = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
    for [large, signal] in [
        [upload("/"), upload("/?signal")],
        [download("/large"), download("/large?signal")],
    ] {
        let mut bench = Bench::new(Personality::WASI_COMMON);
        for number in 0..60 {
            let client = bench.client();
            client.set_room(1 << 30);
            let second = if number == 30 { &signal } else { &large };
            client.send(format!("{large}{second}{large}{large}").as_bytes());
        }
        let polite = bench.client();
        let asks = polite.clone();
        bench.on_request = Rc::new(move |_, target| {
            if target.ends_with("signal") {
                asks.send(b"GET /polite HTTP/1.1\r\nHost: h\r\n\r\n");
            }
        });
        bench.run_until(10_000);
        assert_eq!(count_ok(&polite), 1);
        let seen = bench.seen.borrow();
        let position = |wanted| seen.iter().position(|target| target.ends_with(wanted));
        let between = position("polite").zip(position("signal"));
        let between = between.map(|(polite, signal)| polite - signal);
        assert!(
            between.is_some_and(|between| between <= 12),
            "{between:?} bodies came before it"
        );
    }
}

/// A small request waits for one slice of requests, and not for a turn of each connection that has a long pipeline.
#[test]
fn a_small_request_does_not_wait_for_all_long_pipelines() {
    let mut bench = Bench::new(Personality::WASI_COMMON);
    let ask = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
    for number in 0..60 {
        let client = bench.client();
        client.set_room(1 << 30);
        let middle = ask(if number == 0 { "/signal" } else { "/much" });
        let (before, after) = (ask("/much").repeat(300), ask("/much").repeat(700));
        client.send(format!("{before}{middle}{after}").as_bytes());
    }
    let polite = bench.client();
    bench.on_request = Rc::new(move |_, target| {
        if target == "/signal" {
            polite.send(b"GET /polite HTTP/1.1\r\nHost: h\r\n\r\n");
        }
    });
    bench.run_until(10_000);
    let seen = bench.seen.borrow();
    assert_eq!(seen.len(), 60 * 1001 + 1);
    let position = |wanted| seen.iter().position(|target| target == wanted);
    let between = position("/polite").zip(position("/signal"));
    let between = between.map(|(polite, signal)| polite - signal);
    // A slice has 1,024 requests, and the turn that overruns it 256 more.
    assert!(
        between.is_some_and(|between| between <= 1_280),
        "{between:?} requests came before it"
    );
}

/// If the buffers of a client's system are small, its body arrives in pieces. The client must not wait in the backlog
/// for each of them.
#[test]
fn a_body_in_pieces_does_not_wait_in_the_backlog_for_each_piece() {
    const PIECE: usize = 150_000;
    let mut bench = Bench::new(Personality::WASI_COMMON);
    for _ in 0..60 {
        let client = bench.client();
        client.set_room(1 << 30);
        client.send(&b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n".repeat(16));
    }
    let client = bench.client();
    client.send(b"POST /pieces HTTP/1.1\r\nHost: h\r\nContent-Length: 750000\r\n\r\n");
    client.send(&[b'x'; PIECE]);
    let pieces = Cell::new(1);
    bench.on_request = Rc::new(move |_, _| {
        if pieces.get() < 5 && client.unread() == 0 {
            pieces.set(pieces.get() + 1);
            client.send(&[b'x'; PIECE]);
        }
    });
    bench.run_until(10_000);
    let seen = bench.seen.borrow();
    let before = seen.iter().position(|target| target == "/pieces");
    assert!(
        before.is_some_and(|before| before <= 3 * 60),
        "{before:?} bodies came before it"
    );
}

/// The handler is slow, and many connections send small requests again and again. They must not starve the connections
/// in the backlog.
#[test]
fn small_requests_without_end_do_not_starve_the_backlog() {
    let mut bench = Bench::new(Personality::WASI_COMMON);
    for _ in 0..30 {
        bench
            .client()
            .send(&b"GET /much HTTP/1.1\r\nHost: h\r\n\r\n".repeat(16));
    }
    let crowd: Rc<[Client]> = (0..30).map(|_| bench.client()).collect();
    let ask = |client: &Client, number| {
        client.send(format!("GET /{number} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes());
    };
    for (number, client) in crowd.iter().enumerate() {
        ask(client, number);
    }
    let again = Rc::clone(&crowd);
    bench.on_request = Rc::new(move |fake, target| {
        fake.work(Duration::from_millis(3));
        if let Ok(number) = target[1..].parse() {
            ask(&again[number], number);
        }
    });
    bench.run_until(60_000);
    let seen = bench.seen.borrow();
    let last = seen.iter().rposition(|target| target == "/much");
    let between = last.map(|last| {
        seen[..last]
            .iter()
            .filter(|target| *target != "/much")
            .count()
    });
    assert!(
        between.is_some_and(|between| between <= 30 * 5),
        "{between:?} small requests came before the last of the backlog"
    );
}

/// The handler is slow, and each connection in the backlog has only a few requests. Even so, a small request must not
/// wait for the whole backlog.
#[test]
fn a_small_request_does_not_wait_for_a_backlog_with_a_few_slow_requests_each() {
    let mut bench = Bench::new(Personality::WASI_COMMON);
    let slow = "GET /slow HTTP/1.1\r\nHost: h\r\n\r\n".repeat(6);
    for _ in 0..40 {
        // One turn isn't enough for this body, so the requests after it are left for the backlog.
        let body = "x".repeat(1 << 18);
        let head = "POST /slow HTTP/1.1\r\nHost: h\r\nContent-Length: 262144\r\n\r\n";
        bench
            .client()
            .send(format!("{head}{body}{slow}").as_bytes());
    }
    let polite = bench.client();
    let (slow, asked) = (Cell::new(0), RefCell::new(VecDeque::new()));
    let waits = Rc::new(RefCell::new(Vec::new()));
    let kept = Rc::clone(&waits);
    bench.on_request = Rc::new(move |fake, target| {
        if target == "/polite" {
            let wait = asked.borrow_mut().pop_front().map(|at| slow.get() - at);
            return kept.borrow_mut().push(wait.expect("asked"));
        }
        fake.work(Duration::from_millis(30));
        slow.set(slow.get() + 1);
        if slow.get() % 20 == 0 {
            asked.borrow_mut().push_back(slow.get());
            polite.send(b"GET /polite HTTP/1.1\r\nHost: h\r\n\r\n");
        }
    });
    bench.run_until(60_000);
    assert_eq!(bench.seen.borrow().len(), 40 * 7 + 14);
    let most = waits.borrow().iter().max().copied();
    // At most one turn of another connection: a turn reads the clock every 8 requests.
    assert!(
        most.is_some_and(|most| most <= 7),
        "{most:?} slow requests came before a small one"
    );
}
