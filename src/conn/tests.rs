//! The machine as a whole: what it does with time, memory and backpressure. What it makes of
//! bytes is stated by the conformance cases.

use std::time::Duration;

use super::state::Writing;
use super::*;
use crate::limits::Limits;

/// A connection with what it needs, and a clock that the test moves.
struct Bench {
    limits: Limits,
    shared: Shared,
    connection: Connection,
    now: Instant,
    requests: Vec<String>,
}

impl Bench {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(set: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits::default();
        set(&mut limits);
        let mut shared = Shared::new();
        let now = Instant::default();
        let mut cx = Context {
            now,
            limits: &limits,
            shared: &mut shared,
        };
        let connection = Connection::new(1, None, &mut cx);
        Self {
            limits,
            shared,
            connection,
            now,
            requests: Vec::new(),
        }
    }

    fn call<T>(&mut self, call: impl FnOnce(&mut Connection, &mut Context<'_>) -> T) -> T {
        let (limits, shared) = (&self.limits, &mut self.shared);
        let result = call(
            &mut self.connection,
            &mut Context {
                now: self.now,
                limits,
                shared,
            },
        );
        let state = self.connection.state();
        let is_for_others = match (state.reading(), state.writing()) {
            (_, Writing::Closed) | (Reading::Answering, _) => true,
            (_, Writing::Closing) => self.connection.pending_output() == 0,
            (_, Writing::Open | Writing::Lingering) => false,
        };
        let has_deadline = self.connection.poll_timeout().is_some();
        assert!(is_for_others || has_deadline, "no deadline in {state:?}");
        result
    }

    /// Feeds bytes and answers each request with the bytes of its body, or `hello!`.
    fn input(&mut self, bytes: impl AsRef<[u8]>) {
        self.input_with(bytes, |request| match request.body() {
            [] => Response::new(b"hello!".to_vec()),
            body => Response::new(body.to_vec()),
        });
    }

    fn input_with<B: Body>(
        &mut self,
        bytes: impl AsRef<[u8]>,
        answer: impl Fn(Request) -> Response<B>,
    ) {
        let mut input = bytes.as_ref();
        while let Some(request) = self.call(|conn, cx| conn.handle_input(cx, &mut input)) {
            self.requests
                .push(format!("{} {}", request.method(), request.uri()));
            let response = answer(request);
            self.call(|conn, cx| conn.respond(cx, response));
        }
    }

    fn output(&mut self) -> String {
        let bytes = self.call(|conn, cx| conn.take_output(cx));
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn step(&mut self) -> Step {
        let step = self.call(Connection::poll_step);
        if let Step::Close(_) = step {
            assert_eq!(self.shared.held(), 0, "a closed connection holds nothing");
        }
        step
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.call(Connection::handle_timeout);
    }

    fn status(&mut self) -> String {
        let output = self.output();
        output.split(' ').nth(1).unwrap_or_default().to_owned()
    }
}

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const POST_5: &str = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n";

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn an_idle_connection_is_closed_after_its_time_and_owns_no_memory() {
    let mut bench = Bench::new();
    bench.pass(seconds(74));
    bench.input(GET);
    assert!(bench.output().ends_with("\r\n\r\nhello!"));
    assert_eq!(bench.shared.held(), 0);
    bench.pass(seconds(74));
    assert_eq!(bench.step(), Step::Wait);
    bench.pass(seconds(1));
    assert_eq!(bench.step(), Step::Close(CloseReason::IdleTimeout));
    assert_eq!(bench.output(), "");
}

#[test]
fn a_head_that_drips_gets_408_after_its_time_from_the_first_byte() {
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
        "what came early does not count for later"
    );
    assert!(bench.requests.is_empty());
    assert_eq!(bench.step(), Step::ShutdownWrite);
}

#[test]
fn a_client_that_takes_nothing_is_cut_off() {
    let mut bench = Bench::new();
    bench.input(GET);
    bench.pass(seconds(9));
    assert_eq!(bench.step(), Step::Wait);
    bench.pass(seconds(1));
    assert_eq!(bench.step(), Step::Close(CloseReason::WriteTimeout));
    assert_eq!(bench.shared.held(), 0);
}

#[test]
fn a_client_that_takes_its_answer_at_the_least_rate_gets_all_of_it() {
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
fn while_memory_is_scarce_who_holds_much_of_it_must_be_quick() {
    const HEAD: &str = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10000000\r\n\r\n";
    let slow = Some(CloseReason::BodyTimeout);
    // What comes in each window after the first 60,000 bytes, and how that ends.
    for (max_held, in_window, windows, end) in [
        (1 << 20, 5_000, 20, None),
        (100_000, 5_000, 1, slow),
        (100_000, 9_000, 3, None),
    ] {
        let mut bench = Bench::with(|limits| limits.max_held = max_held);
        bench.input(HEAD);
        bench.input([b'x'; 60_000]);
        bench.pass(seconds(10));
        let mut borne = 0;
        while bench.connection.state().close_reason().is_none() && borne < windows {
            borne += 1;
            bench.input(vec![b'x'; in_window]);
            bench.pass(seconds(10));
        }
        let reason = bench.connection.state().close_reason();
        assert_eq!((borne, reason), (windows, end), "{in_window} of {max_held}");
    }
}

#[test]
fn answers_too_are_cut_when_memory_is_scarce_and_they_are_taken_slowly() {
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
fn unread_answers_hold_back_the_requests_behind_them() {
    let mut bench = Bench::with(|limits| limits.max_pending_output = 300);
    bench.input(GET.repeat(10));
    let served = bench.requests.len();
    assert!((2..10).contains(&served), "{served} served");
    bench.call(|conn, cx| assert!(!conn.wants_input(cx) && !conn.can_go_on(cx)));
    let mut answers = bench.output();
    while bench.call(|conn, cx| conn.can_go_on(cx)) {
        bench.input("");
        answers += &bench.output();
    }
    assert_eq!(bench.requests.len(), 10);
    assert_eq!(answers.matches("hello!").count(), 10);
    bench.call(|conn, cx| assert!(conn.wants_input(cx)));
}

#[test]
fn a_head_held_back_is_not_late() {
    let mut bench = Bench::with(|limits| limits.max_pending_output = 1);
    bench.input(format!("{GET}GET / HT"));
    for _ in 0..5 {
        bench.call(|conn, cx| conn.handle_written(cx, 1));
        bench.limits.min_rate = 0;
        bench.pass(seconds(29));
    }
    assert!(
        bench.output().ends_with("hello!"),
        "no 408 behind the answer"
    );
    bench.input("");
    bench.input("TP/1.0\r\n\r\n");
    assert_eq!(bench.requests.len(), 2);
}

#[test]
fn announced_bodies_take_memory_only_as_they_come() {
    let mut bench = Bench::new();
    bench.input("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 16777216\r\n\r\n");
    assert!(bench.shared.held() <= 64 << 10, "{}", bench.shared.held());
    bench.input([b'x'; 1000]);
    // 64 KiB of the body, and the head, which is counted too.
    assert!(bench.shared.held() <= 72 << 10, "{}", bench.shared.held());
}

#[test]
fn a_body_over_the_budget_gets_503_and_gives_its_memory_back() {
    let mut bench = Bench::with(|limits| limits.max_held = 200_000);
    bench.input("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n");
    for _ in 0..10 {
        bench.input([b'x'; 40_000]);
        assert!(
            bench.shared.held() <= 200_000 + 1024,
            "{}",
            bench.shared.held()
        );
    }
    assert_eq!(bench.status(), "503");
    assert_eq!(bench.shared.held(), 0);
    assert_eq!(
        bench.connection.state().close_reason(),
        Some(CloseReason::Overloaded)
    );
}

#[test]
fn a_body_grows_in_few_steps_even_when_the_budget_is_nearly_used_up() {
    let mut bench = Bench::with(|limits| limits.max_held = 100_000);
    bench.input("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    let (mut steps, mut held) = (0, bench.shared.held());
    for _ in 0..90_000 {
        bench.input("1\r\nx\r\n");
        steps += usize::from(bench.shared.held() != held);
        held = bench.shared.held();
    }
    assert_eq!(bench.connection.state().reading(), Reading::Body);
    assert!(steps < 30, "{steps} steps");
}

#[test]
fn a_head_over_the_budget_gets_503() {
    let mut bench = Bench::with(|limits| limits.max_held = 1000);
    bench.input(format!("GET / HTTP/1.1\r\nA: {}", "x".repeat(2000)));
    assert_eq!(bench.status(), "503");
}

#[test]
fn a_large_answer_is_counted_until_it_is_sent() {
    let mut bench = Bench::new();
    bench.input_with(GET, |_| Response::new(vec![b'x'; 1 << 20]));
    assert!(bench.shared.held() > 1 << 20);
    let answer = bench.output();
    let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert_eq!(body.len(), 1 << 20);
    assert_eq!(bench.shared.held(), 0);
}

#[test]
fn a_large_answer_over_the_budget_becomes_503() {
    let mut bench = Bench::with(|limits| limits.max_held = 1 << 20);
    bench.input_with(GET, |_| Response::new(vec![b'x'; 2 << 20]));
    assert!(bench.output().len() > 2 << 20, "nothing else is held");
    // Another connection holds some.
    bench.shared.budget.replace(0, 100);
    bench.input_with(GET, |_| Response::new(&[b'x'; 2 << 20][..]));
    assert!(
        bench.output().len() > 2 << 20,
        "a static body takes no memory"
    );
    bench.input_with(GET, |_| Response::new(vec![b'x'; 2 << 20]));
    assert!(bench.shared.held() < 10_000, "{}", bench.shared.held());
    assert_eq!(bench.status(), "503");
    assert_eq!(
        bench.connection.state().close_reason(),
        Some(CloseReason::Overloaded)
    );
}

#[test]
fn over_the_budget_small_answers_are_made_one_at_a_time() {
    let mut bench = Bench::with(|limits| limits.max_held = 1);
    for _ in 0..3 {
        bench.input(GET);
        bench.call(|conn, cx| assert!(!conn.wants_input(cx)));
        assert!(bench.output().ends_with("hello!"));
        bench.call(|conn, cx| assert!(conn.wants_input(cx)));
    }
}

#[test]
fn a_head_is_counted_while_its_body_is_awaited() {
    let mut bench = Bench::new();
    let field = format!("A: {}\r\n", "x".repeat(5_000));
    bench.input(format!(
        "POST / HTTP/1.1\r\nHost: h\r\n{field}Content-Length: 9\r\n\r\n"
    ));
    assert!(bench.shared.held() > 5_000, "{}", bench.shared.held());
}

#[test]
fn what_was_kept_is_given_back_however_the_connection_ends() {
    let mut bench = Bench::with(|limits| limits.max_pending_output = 1);
    bench.input(GET.repeat(3));
    assert!(bench.shared.held() > 0);
    bench.pass(seconds(10));
    assert_eq!(bench.step(), Step::Close(CloseReason::WriteTimeout));
    assert_eq!(bench.shared.held(), 0);

    let mut bench = Bench::new();
    bench.input("\r\n");
    bench.pass(seconds(75));
    assert_eq!(bench.step(), Step::Close(CloseReason::IdleTimeout));
    assert_eq!(bench.shared.held(), 0);
}

#[test]
fn lingering_ends_with_the_clients_stream_its_bytes_or_its_time() {
    let bad = "BAD\r\n\r\n";
    let mut bench = Bench::new();
    bench.input(bad);
    assert_eq!(bench.status(), "400");
    assert_eq!(bench.step(), Step::ShutdownWrite);
    bench.input(GET);
    assert!(
        bench.requests.is_empty(),
        "nothing behind a refused request is handled"
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

/// Closing at once would reset the connection if a byte more came, and the answer could be lost.
#[test]
fn a_client_that_asked_to_close_is_waited_for_too() {
    let mut bench = Bench::new();
    bench.input("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert!(bench.output().contains("connection: close"));
    assert_eq!(bench.step(), Step::ShutdownWrite);
    bench.call(Connection::handle_end_of_input);
    assert_eq!(bench.step(), Step::Close(CloseReason::ClientAskedClose));
}

#[test]
fn a_refused_head_request_gets_no_body_though_it_came_in_pieces() {
    let mut bench = Bench::new();
    bench.input(GET);
    bench.output();
    bench.input("HEAD / HTTP/1.1\r\nHo");
    bench.call(Connection::handle_end_of_input);
    let answer = bench.output();
    assert!(
        answer.starts_with("HTTP/1.1 400 ") && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
}

#[test]
fn an_interim_status_is_no_answer() {
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
fn stopping_finishes_what_is_in_hand() {
    let mut bench = Bench::new();
    bench.call(Connection::stop);
    assert_eq!(bench.step(), Step::Close(CloseReason::Stopped));

    let mut bench = Bench::new();
    bench.input(GET);
    bench.call(Connection::stop);
    assert_eq!(bench.step(), Step::Wait, "the answer is not sent yet");
    assert!(bench.output().ends_with("hello!"));
    assert_eq!(bench.step(), Step::ShutdownWrite);

    // Kept requests are not answered, but those before them must not be lost by a reset.
    let mut bench = Bench::new();
    bench.input(GET);
    assert!(bench.output().ends_with("hello!"));
    bench.call(|conn, cx| conn.keep_input(cx, GET.as_bytes()));
    bench.call(Connection::stop);
    assert_eq!(bench.step(), Step::ShutdownWrite);
    assert_eq!(bench.requests.len(), 1);

    let mut bench = Bench::new();
    bench.input(POST_5);
    bench.call(Connection::stop);
    assert_eq!(bench.status(), "503");
}

#[test]
fn a_panic_gets_500_and_a_close() {
    let mut bench = Bench::new();
    let mut input = GET.as_bytes();
    assert!(
        bench
            .call(|conn, cx| conn.handle_input(cx, &mut input))
            .is_some()
    );
    bench.call(Connection::respond_to_panic);
    let answer = bench.output();
    assert!(answer.starts_with("HTTP/1.1 500 ") && answer.contains("connection: close"));
    assert_eq!(
        bench.connection.state().close_reason(),
        Some(CloseReason::HandlerFailed)
    );
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
    let answer = bench.output();
    assert!(answer.len() > 2 << 20, "{}", &answer[..100]);
}

#[test]
fn a_connection_given_up_while_its_request_is_handled_takes_no_answer() {
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

#[test]
fn a_large_body_has_the_memory_of_one_that_was_sent() {
    let mut bench = Bench::new();
    let mut places = Vec::new();
    for length in [300_000, 200_000, 300_000] {
        let head = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n");
        bench.input(&head);
        bench.input(vec![b'x'; length / 2]);
        let held = bench.shared.held();
        let mut rest = &vec![b'y'; length - length / 2][..];
        let request = bench.call(|conn, cx| conn.handle_input(cx, &mut rest));
        let body = request.expect("it is whole").into_body();
        let (xs, ys) = body.split_at(length / 2);
        assert!(xs.iter().all(|&x| x == b'x') && ys.iter().all(|&y| y == b'y'));
        assert_eq!(body.len(), length);
        places.push((body.as_ptr(), held));
        bench.call(|conn, cx| conn.respond(cx, Response::new(body)));
        assert!(bench.output().len() > length);
        assert_eq!(bench.shared.held(), 0);
    }
    // Its capacity is what is counted.
    let (first, second) = (places[0], places[1]);
    assert_eq!(first.0, second.0);
    assert!(second.1 >= 300_000, "{} held", second.1);
}
