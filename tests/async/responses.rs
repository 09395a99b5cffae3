//! The body of a response, as the client receives it.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};

use mini_http::body::{AnyBody, Chunks, Reader};
use mini_http::http::{HeaderMap, Method, Request};
use mini_http::http_body::Frame;
use mini_http::{Bytes, Incoming, Response};

use super::server::{GET, Polled, Running, ends_with, get, read_until, rest};

#[test]
fn an_event_stream_is_not_held_back() {
    let (sender, receiver) = mpsc::channel::<&'static str>();
    let waker: Arc<Mutex<Option<Waker>>> = Arc::default();
    let shared = Arc::clone(&waker);
    let server = Running::start(move |server| {
        let receiver = Rc::new(receiver);
        server.serve_async(async |_| {
            let (receiver, shared) = (Rc::clone(&receiver), Arc::clone(&shared));
            let events = Polled(move |cx: &mut Context<'_>| {
                *shared.lock().expect("no panic") = Some(cx.waker().clone());
                match receiver.try_recv() {
                    Ok("end") => Poll::Ready(None),
                    Ok(event) => {
                        let frame = Frame::data(Bytes::from_static(event.as_bytes()));
                        Poll::Ready(Some(Ok::<_, Infallible>(frame)))
                    }
                    Err(_) => Poll::Pending,
                }
            });
            let response = Response::builder().header("Content-Type", "text/event-stream");
            response.body(events)
        })
    });
    let mut stream = server.send(GET);
    let head = read_until(&mut stream, ends_with("\r\n\r\n"));
    assert!(head.contains("transfer-encoding: chunked\r\n"), "{head}");
    let send = |event| {
        sender.send(event).expect("it waits for events");
        let waker = waker.lock().expect("no panic");
        waker.as_ref().expect("polled").wake_by_ref();
    };
    for event in ["data: one\n\n", "data: two\n\n"] {
        send(event);
        let chunk = format!("{:x}\r\n{event}\r\n", event.len());
        assert_eq!(read_until(&mut stream, ends_with(&chunk)), chunk);
    }
    send("end");
    assert_eq!(read_until(&mut stream, ends_with("0\r\n\r\n")), "0\r\n\r\n");
    server.stop();
}

/// Many small pieces that are ready are one write: the client gets them in one read.
#[test]
fn what_is_ready_leaves_in_one_write() {
    let server = Running::start(|server| {
        server.serve_async(async |_| {
            let pieces = (0..100).map(|number| format!("{number},"));
            Response::new(Chunks::new(pieces))
        })
    });
    let mut stream = server.send(GET);
    let mut buffer = [0; 16 << 10];
    let length = stream.read(&mut buffer).expect("a response");
    let text = String::from_utf8_lossy(&buffer[..length]);
    assert!(text.ends_with("3\r\n99,\r\n0\r\n\r\n"), "{text}");
    server.stop();
}

#[test]
fn http_10_gets_a_stream_until_the_connection_closes() {
    let server = Running::start(|server| {
        server.serve_async(async |_| Response::new(Chunks::new(["one,", "two,", "three"])))
    });
    let all = rest(&mut server.send(b"GET / HTTP/1.0\r\n\r\n"));
    assert!(all.ends_with("\r\n\r\none,two,three"), "{all}");
    assert!(!all.contains("transfer-encoding"), "{all}");
    server.stop();
}

#[test]
fn where_there_is_no_body_nothing_is_polled() {
    let polls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&polls);
    let server = Running::start(move |server| {
        server.serve_async(async |request: Request<Incoming>| {
            let count = Arc::clone(&count);
            let body = Polled(move |_: &mut Context<'_>| {
                count.fetch_add(1, Ordering::SeqCst);
                Poll::Ready(None::<std::result::Result<_, Infallible>>)
            });
            let status = request.uri().path()[1..].parse().unwrap_or(200u16);
            Response::builder().status(status).body(body)
        })
    });
    let mut stream = server.connect();
    for (method, status) in [("GET", 204), ("GET", 205), ("GET", 304), ("HEAD", 200)] {
        write!(stream, "{method} /{status} HTTP/1.1\r\nHost: h\r\n\r\n").expect("it persists");
        let head = read_until(&mut stream, ends_with("\r\n\r\n"));
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
    }
    assert_eq!(polls.load(Ordering::SeqCst), 0);
    stream.write_all(&get("/200")).expect("it persists");
    read_until(&mut stream, ends_with("0\r\n\r\n"));
    assert_eq!(polls.load(Ordering::SeqCst), 1);
    server.stop();
}

#[test]
fn trailers_go_to_clients_that_take_them() {
    let server = Running::start(|server| {
        server.serve_async(async |_| {
            let mut frames = vec![Frame::data(Bytes::from_static(b"body"))];
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", "42".parse().expect("a value"));
            frames.insert(0, Frame::trailers(trailers));
            let body = Polled(move |_: &mut Context<'_>| {
                Poll::Ready(frames.pop().map(Ok::<_, Infallible>))
            });
            Response::new(body)
        })
    });
    let mut stream = server.send(b"GET / HTTP/1.1\r\nHost: h\r\nTE: trailers\r\n\r\n");
    read_until(
        &mut stream,
        ends_with("4\r\nbody\r\n0\r\nx-sum: 42\r\n\r\n"),
    );
    // In a quoted string, the word is no element of the list.
    let quoted = b"GET / HTTP/1.1\r\nHost: h\r\nTE: a;b=\",trailers,\"\r\n\r\n";
    for other in [GET, quoted] {
        stream.write_all(other).expect("it persists");
        read_until(&mut stream, ends_with("4\r\nbody\r\n0\r\n\r\n"));
    }
    server.stop();
}

/// One handler returns bodies of any kind, and reads a file as it is sent.
#[test]
fn one_handler_returns_different_bodies() {
    let server = Running::start(|server| {
        server.serve_async(async |request: Request<Incoming>| {
            let body = match (request.method(), request.uri().path()) {
                (&Method::GET, "/whole") => AnyBody::from("whole"),
                (&Method::GET, "/file") => {
                    let file = std::fs::File::open("Cargo.toml")?;
                    let length = file.metadata()?.len();
                    AnyBody::from(Reader::sized(file, length))
                }
                (&Method::GET, _) => AnyBody::from(Chunks::new(["a", "b"])),
                _ => AnyBody::from(request.into_body()),
            };
            Ok::<_, std::io::Error>(Response::new(body))
        })
    });
    let mut stream = server.send(&get("/whole"));
    read_until(&mut stream, ends_with("whole"));
    let file = std::fs::read_to_string("Cargo.toml").expect("a file");
    stream.write_all(&get("/file")).expect("it persists");
    let response = read_until(&mut stream, ends_with(&file));
    assert!(
        response.contains(&format!("content-length: {}\r\n", file.len())),
        "{response}"
    );
    stream.write_all(&get("/chunks")).expect("it persists");
    read_until(&mut stream, ends_with("1\r\na\r\n1\r\nb\r\n0\r\n\r\n"));
    let post = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\necho";
    stream.write_all(post).expect("it persists");
    read_until(&mut stream, ends_with("echo"));
    server.stop();
}
