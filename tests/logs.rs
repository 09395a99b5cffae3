//! Checks the log: what it shows of a client's bytes (also of refused requests, but never a secret), errors about
//! handlers, and warnings about listeners.
#![cfg(not(target_os = "wasi"))]

use log::{Level, LevelFilter, Log, Metadata, Record};
use mini_http::conn::{Connection, Context, Received, ResponseLength, Shared};
use mini_http::{Instant, Limits, Response};
use std::cell::RefCell;
use std::sync::Once;
use std::time::Duration;
use wasip1_poll::fake::{Fake, Personality};
use wasip1_poll::{Hints, discover};

thread_local! {
    static LINES: RefCell<Vec<(Level, String)>> = const { RefCell::new(Vec::new()) };
}

/// A logger that keeps the lines of each test. Each test has a thread of its own.
struct Kept;

impl Log for Kept {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = (record.level(), record.args().to_string());
        LINES.with(|lines| lines.borrow_mut().push(line));
    }

    fn flush(&self) {}
}

/// What a client does after it has sent its bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Nothing,
    Closes,
    Waits,
}

/// Sends the pieces on a new connection. Returns the lines of the log up to `level`.
fn log_of(pieces: &[&[u8]], end: End, level: Level) -> String {
    lines_of(level, || converse(pieces, end, 200))
}

/// The lines that are logged meanwhile, up to `level`.
fn lines_of(level: Level, run: impl FnOnce()) -> String {
    static LOGGER: Once = Once::new();
    LOGGER.call_once(|| {
        log::set_logger(&Kept).expect("no other logger");
        log::set_max_level(LevelFilter::Trace);
    });
    LINES.with(|lines| lines.borrow_mut().clear());
    run();
    let lines = LINES.with(RefCell::take);
    let shown = lines.into_iter().filter(|(other, _)| *other <= level);
    shown.map(|(_, line)| line + "\n").collect()
}

fn converse(pieces: &[&[u8]], end: End, status: u16) {
    on_connection(|connection, cx| {
        for piece in pieces {
            let mut input = *piece;
            while connection.handle_input(cx, &mut input).is_some() {
                let response = Response::builder().status(status).body("hello!");
                connection.respond(cx, response.expect("a valid response"));
                assert!(!connection.take_output(cx).is_empty());
            }
        }
        match end {
            End::Nothing => {}
            End::Closes => connection.handle_end_of_input(cx),
            End::Waits => {
                cx.now = cx.now + Duration::from_secs(1000);
                connection.handle_timeout(cx);
            }
        }
    });
}

/// Does this with a new connection.
fn on_connection<T>(run: impl FnOnce(&mut Connection, &mut Context<'_>) -> T) -> T {
    let limits = Limits::default();
    let mut shared = Shared::new();
    let mut cx = Context {
        now: Instant::default(),
        limits: &limits,
        shared: &mut shared,
    };
    let mut connection = Connection::new(1, None, &mut cx);
    run(&mut connection, &mut cx)
}

fn debug_log(bytes: &str, end: End) -> String {
    log_of(&[bytes.as_bytes()], end, Level::Debug)
}

#[test]
fn the_bytes_of_a_refused_request_are_logged_up_to_its_fault() {
    for (sent, end, shown) in [
        // The fault is found at the end of the head.
        (
            "GET / HTTP/1.1\r\nA: b\r\n\r\nmore",
            End::Nothing,
            r"GET / HTTP/1.1\r\nA: b\r\n\r\n",
        ),
        (
            "GET /a\"b HTTP/1.1\r\nHost: a\r\n\r\n",
            End::Nothing,
            r#"GET /a\"b HTTP/1.1\r\nHost: a\r\n\r\n"#,
        ),
        (
            "\r\nGET / HTTP/1.1\r\n\r\n",
            End::Nothing,
            r"\r\nGET / HTTP/1.1\r\n\r\n",
        ),
        // The fault is found within the head.
        (
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            End::Nothing,
            r"GET / HTTP/1.1\r\nHost ",
        ),
        (
            "GET / HTTP/1.1\nHost: a\n\n",
            End::Nothing,
            r"GET / HTTP/1.1\n",
        ),
        ("\x16\x03\x01", End::Nothing, r"\x16"),
        // The only fault is that the head never ends.
        (
            "GET / HTTP/1.1\r\nHost: a",
            End::Closes,
            r"GET / HTTP/1.1\r\nHost: a",
        ),
        ("GET / HT", End::Waits, r"GET / HT"),
    ] {
        let log = debug_log(sent, end);
        // Without the escapes.
        let length = shown
            .replace("\\r", "r")
            .replace("\\n", "n")
            .replace("\\\"", "q");
        let length = length.replace("\\x16", "x").len();
        let line = format!("conn 1: refused head: {length}, \"{shown}\"\n");
        assert_eq!(log.matches(&line).count(), 1, "{line}\n{log}");
        assert!(log.contains("conn 1: refused with 4"), "{log}");
        // Also in pieces.
        let pieces: Vec<&[u8]> = sent.as_bytes().chunks(1).collect();
        assert_eq!(log_of(&pieces, end, Level::Debug), log);
    }
}

#[test]
fn a_long_refused_head_is_shortened_in_the_log() {
    let log = debug_log(
        &format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(5000)),
        End::Nothing,
    );
    assert!(log.contains("aaa\"... and 3994 bytes more\n"), "{log}");
}

/// With a head that has secrets: inserts a fault at each position, or ends the input there. The values of secrets
/// consist of `Q`s.
#[test]
fn no_secret_of_a_head_that_is_refused_is_logged() {
    let fields = "Host: a\r\nAuthorization: QQQ\r\ncookie:QQQ;QQQ\r\nProxy-Authorization: \tQQQ\r\n\
        SET-COOKIE: QQQ\r\nX: y\r\n\r\nQQQ=QQQ";
    for target in ["/", "http://QQQ:QQQ@a/"] {
        let head = format!("POST {target} HTTP/1.1\r\nContent-Length: 7\r\n{fields}");
        for at in 0..head.len() {
            let (before, behind) = head.split_at(at);
            for fault in [
                "\0", "\n", "\r", "\x7f", " ", "\r\n", "\r\n ", "\u{e9}", "\0:", "(",
            ] {
                let broken = format!("{before}{fault}{behind}");
                check_no_secret(&broken, End::Nothing);
            }
            check_no_secret(before, End::Closes);
            check_no_secret(before, End::Waits);
        }
    }
}

fn check_no_secret(sent: &str, end: End) {
    let whole = debug_log(sent, end);
    assert!(!whole.contains('Q'), "{sent:?}:\n{whole}");
    let pieces: Vec<&[u8]> = sent.as_bytes().chunks(1).collect();
    let log = log_of(&pieces, end, Level::Debug);
    assert!(!log.contains('Q'), "{sent:?} in pieces:\n{log}");
}

#[test]
fn bodies_are_logged_at_trace_only() {
    for sent in [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nword=QQQQ",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nword=QQQQ\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nword=QQQQ\r\nzz\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nword=QQQQ",
        // The head is refused.
        "POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nword=QQQQ",
    ] {
        assert!(!debug_log(sent, End::Closes).contains('Q'), "{sent:?}");
        let log = log_of(&[sent.as_bytes()], End::Closes, Level::Trace);
        assert_eq!(log.contains("word=QQQQ"), sent.contains("Host"), "{log}");
    }
}

#[test]
fn a_chunk_that_is_refused_is_logged_at_trace_and_a_trailer_never() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let sent = format!("{head}2\r\nhi\r\n1\r\nhi\r\n");
    let log = log_of(&[sent.as_bytes()], End::Nothing, Level::Trace);
    assert!(log.contains("conn 1: refused chunk: 1, \"i\"\n"), "{log}");
    assert!(!debug_log(&sent, End::Nothing).contains("refused chunk"));

    let trailer = format!("{head}0\r\nCookie: QQQ\0");
    for at in 0..trailer.len() {
        let (one, other) = trailer.as_bytes().split_at(at);
        let log = log_of(&[one, other], End::Nothing, Level::Trace);
        assert!(
            log.contains("refused with 400") && !log.contains('Q'),
            "{log}"
        );
    }
}

#[test]
fn a_status_below_200_from_a_synchronous_handler_is_an_error_in_the_log() {
    for (status, why) in [
        (101, "only `serve_async` can upgrade a connection"),
        (103, "not a final status"),
    ] {
        log_of(&[], End::Nothing, Level::Debug);
        converse(
            &[b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"],
            End::Nothing,
            status,
        );
        let lines = LINES.with(RefCell::take);
        let is_named =
            |(level, line): &(Level, String)| *level == Level::Error && line.contains(why);
        assert!(lines.iter().any(is_named), "{lines:?}");
    }
}

#[test]
fn a_response_that_cannot_upgrade_is_an_error_in_the_log_that_says_why() {
    const UPGRADE: &str = "Connection: upgrade\r\nUpgrade: x\r\n";
    let get = |fields: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let switching = |is_taken, has_field| (101, is_taken, has_field);
    let cases = [
        (
            get(""),
            switching(true, true),
            "the request has no Upgrade field",
        ),
        (
            format!("GET / HTTP/1.0\r\n{UPGRADE}\r\n"),
            switching(true, true),
            "the request is not HTTP/1.1",
        ),
        (
            get("Upgrade: x\r\n"),
            switching(true, true),
            "the request has Upgrade, but not the option upgrade in Connection",
        ),
        (
            get(UPGRADE),
            switching(false, true),
            "the handler hasn't called `upgrade` with the request, or has dropped the future",
        ),
        (
            get(UPGRADE),
            switching(true, false),
            "the response has no Upgrade field",
        ),
        (
            get(&format!("{UPGRADE}Content-Length: 2\r\n")) + "a",
            switching(true, true),
            "the request's body has not been received to its end",
        ),
        (
            "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n".into(),
            switching(true, true),
            "the method is CONNECT",
        ),
    ];
    for (request, response, why) in cases {
        let (sent, errors) = upgrade(&request, response);
        assert!(sent.starts_with("HTTP/1.1 500 "), "{request}: {sent}");
        let line = format!(
            "conn 1: the handler responded with 101 Switching Protocols, but can't upgrade: {why}"
        );
        assert_eq!(errors, [line], "{request}");
    }
    // Most handlers know nothing of CONNECT.
    let connect = "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n";
    let (sent, errors) = upgrade(connect, (200, false, false));
    assert!(sent.starts_with("HTTP/1.1 501 "), "{sent}");
    assert_eq!(errors, [""; 0]);
}

/// Responds to a request as a handler that is a future does. The tuple has the status, whether the handler has taken
/// the upgrade, and whether the response names a protocol. Returns what is sent, and the errors in the log.
fn upgrade(
    request: &str,
    (status, is_taken, has_field): (u16, bool, bool),
) -> (String, Vec<String>) {
    log_of(&[], End::Nothing, Level::Debug);
    let sent = on_connection(|connection, cx| {
        let mut input = request.as_bytes();
        let head = connection.handle_input_streaming(cx, &mut input);
        assert!(matches!(head, Some(Received::Head(..))), "{head:?}");
        connection.set_upgrade_taken(is_taken);
        let mut response = Response::builder().status(status);
        if has_field {
            response = response.header("Upgrade", "x");
        }
        let response = response.body(()).expect("a valid response");
        connection.begin_response(cx, &response, ResponseLength::Exact(0));
        String::from_utf8_lossy(&connection.take_output(cx)).into_owned()
    });
    let lines = LINES.with(RefCell::take).into_iter();
    let errors = lines.filter(|(level, _)| *level == Level::Error);
    (sent, errors.map(|(_, line)| line).collect())
}

#[test]
fn what_the_environment_says_about_listeners_is_compared_with_what_is_found() {
    let fake = Fake::new(Personality::WASI_COMMON, 0);
    fake.preopen_listener();
    fake.preopen_listener();
    fake.start();
    let warnings = |listen_fds: &str, fd_count: &str, only| {
        let hints = Hints {
            listen_fds: Some(listen_fds.into()),
            fd_count: Some(fd_count.into()),
            listen_fdnames: None,
        };
        lines_of(Level::Warn, || {
            discover(&fake, only, &hints).expect("listeners");
        })
    };
    assert_eq!(
        warnings("1", "many", None),
        "LISTEN_FDS=1 in the environment, but 2 listening socket(s) were found; using what was found\n\
         FD_COUNT=\"many\" in the environment is not a number; it is ignored\n"
    );
    // FD_COUNT counts directories, too.
    assert_eq!(warnings("2", "3", None), "");
    assert_eq!(warnings("1", "many", Some(3)), "");
}
