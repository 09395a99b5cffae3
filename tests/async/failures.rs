//! Errors and panics of handlers and bodies.

use std::future::pending;
use std::io::{ErrorKind, Read};
use std::task::{Context, Poll};
use std::time::Duration;

use mini_http::body::Chunks;
use mini_http::http::Request;
use mini_http::http_body::Frame;
use mini_http::{Bytes, CloseReason, Incoming, IncomingError, Response, sleep};

use super::server::{GET, Polled, Running, ends_with, get, hello, read_until, rest};

#[test]
fn errors_that_a_handler_returns_become_their_status() {
    let server = Running::with(
        |server| {
            server.limits(|limits| {
                limits.max_body = 10;
                limits.rate_window = Duration::from_millis(200);
            });
        },
        |server| {
            server.serve_async(async |request: Request<Incoming>| {
                if request.uri().path() == "/io" {
                    return Err(std::io::Error::other("no disk: secret").into());
                }
                let data = request.into_body().bytes().await.map_err(Failed)?;
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>(Response::new(
                    data.len().to_string(),
                ))
            })
        },
    );
    let chunked = "Transfer-Encoding: chunked\r\n\r\n";
    for (target, rest_of_head, status) in [
        ("/", "Content-Length: 3\r\n\r\nabc".to_string(), 200),
        ("/", "Content-Length: 30\r\n\r\n".to_string(), 413),
        ("/", format!("{chunked}b\r\nhello world\r\n0\r\n\r\n"), 413),
        ("/", format!("{chunked}x\r\n"), 400),
        ("/", format!("{chunked}3\r\nab"), 408),
        ("/io", "\r\n".to_string(), 500),
    ] {
        let request =
            format!("POST {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{rest_of_head}");
        let response = rest(&mut server.send(request.as_bytes()));
        let start = format!("HTTP/1.1 {status} ");
        assert!(response.starts_with(&start), "{request}\n{response}");
        assert!(!response.contains("secret"), "{response}");
    }
    let counters = server.await_close();
    assert_eq!(counters.closed(CloseReason::HandlerFailed), 1);
    assert_eq!(counters.closed(CloseReason::TooLarge), 2);
    assert_eq!(counters.closed(CloseReason::BadRequest), 1);
    assert_eq!(counters.closed(CloseReason::BodyTimeout), 1);
    server.stop();
}

#[derive(Debug)]
struct Failed(IncomingError);

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the upload failed")
    }
}

impl std::error::Error for Failed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

#[test]
fn panics_cost_only_their_own_connection() {
    let server = Running::start(|server| {
        server.serve_async(async |request: Request<Incoming>| {
            let target = request.uri().path().to_string();
            sleep(Duration::from_millis(1)).await;
            assert_ne!(target, "/handler", "as asked");
            let count = if target == "/body" { 3 } else { 2 };
            let pieces = (0..count).map(|number| {
                assert_ne!(number, 2, "as asked");
                "piece"
            });
            Response::new(Chunks::new(pieces))
        })
    });
    let all = rest(&mut server.send(&get("/handler")));
    assert!(all.starts_with("HTTP/1.1 500 "), "{all}");
    let all = rest(&mut server.send(&get("/body")));
    assert!(all.ends_with("5\r\npiece\r\n5\r\npiece\r\n"), "{all}");
    read_until(&mut server.send(GET), ends_with("0\r\n\r\n"));
    let counters = server.await_close();
    assert_eq!(counters.closed(CloseReason::HandlerFailed), 1);
    assert_eq!(counters.closed(CloseReason::ResponseFailed), 1);
    server.stop();
}

#[test]
fn a_panic_that_is_not_caught_ends_the_server() {
    let mut server = Running::with(
        |server| {
            server.catch_panics(false);
        },
        |server| {
            server.serve_async(async |request: Request<Incoming>| {
                sleep(Duration::from_millis(1)).await;
                assert_ne!(request.uri().path(), "/panic", "as asked");
                pending::<()>().await;
                hello(request).await
            })
        },
    );
    let mut waiting = server.send(GET);
    let _panics = server.send(&get("/panic"));
    let thread = server.thread.take().expect("it runs");
    assert!(thread.join().is_err());
    assert_eq!(rest(&mut waiting), "");
    assert_eq!(server.handle.counters().active, 0);
}

#[test]
fn a_response_that_fails_is_seen_by_the_client() {
    let server = Running::start(|server| {
        server.serve_async(async |request: Request<Incoming>| {
            let mut pieces = 0;
            let body = Polled(move |_: &mut Context<'_>| {
                pieces += 1;
                Poll::Ready(Some(match pieces {
                    1 => Ok(Frame::data(Bytes::from_static(b"piece"))),
                    _ => Err("the disk is gone"),
                }))
            });
            let response = Response::builder();
            match request.uri().path() {
                "/length" => response.header("Content-Length", "10"),
                _ => response,
            }
            .body(body)
        })
    });
    let all = rest(&mut server.send(GET));
    assert!(all.ends_with("5\r\npiece\r\n"), "{all}");
    let all = rest(&mut server.send(&get("/length")));
    assert!(all.ends_with("\r\n\r\npiece"), "{all}");
    let mut old = server.send(b"GET / HTTP/1.0\r\n\r\n");
    let error = old.read_to_end(&mut Vec::new()).expect_err("a reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let counters = server.await_close();
    assert_eq!(counters.closed(CloseReason::ResponseFailed), 3);
    server.stop();
}
