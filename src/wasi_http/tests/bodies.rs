//! Tests of responses and of bodies in both directions.

use super::*;
use crate::body::Chunks;
use crate::incoming::{Incoming, IncomingError};

#[test]
fn a_whole_response_is_one_write_and_no_wait() {
    let hello = Exported::serve_async(async |_| Response::new(String::from("hello")));
    let host = run(hello, get(), Scripted::new([]));
    assert_eq!((host.status(), host.text()), (200, "hello"));
    assert_eq!(host.field(header::CONTENT_LENGTH), Some("5"));
    assert_eq!((host.end, host.writes), (Some(End::Complete), 1));
    assert_eq!(host.waits, []);
}

#[test]
fn a_response_without_a_body_has_none() {
    let hello = || Exported::serve_async(async |_| Response::new(String::from("hello")));
    let host = run(hello(), asked(Method::HEAD, None), Scripted::new([]));
    assert_eq!((host.status(), host.has_body), (200, false));
    assert_eq!(host.field(header::CONTENT_LENGTH), Some("5"));
    for status in [204, 205, 304] {
        let exported = Exported::serve_async(move |_| async move {
            let mut response = Response::new(String::from("not sent"));
            *response.status_mut() = status.try_into().expect("a status");
            response
        });
        let host = run(exported, get(), Scripted::new([]));
        assert_eq!((host.status(), host.has_body), (status, false));
    }
    let empty = Exported::start(|_| Response::new(Vec::new()));
    let host = run(empty, get(), Scripted::new([]));
    assert_eq!(host.field(header::CONTENT_LENGTH), Some("0"));
    assert!(!host.has_body);
}

fn echo() -> Exported {
    Exported::serve_async(async |request: Request<Incoming>| Response::new(request.into_body()))
}

#[test]
fn an_echo_passes_parts_and_trailers_on() {
    let steps = [
        Step::Pause,
        Step::Part("abc"),
        Step::Pause,
        Step::Part("def"),
        Step::Pause,
        Step::End(&[("x-sum", "6"), ("content-length", "9")]),
    ];
    let host = run(echo(), upload(), Scripted::new(steps));
    assert_eq!((host.text(), host.writes), ("abcdef", 2));
    assert_eq!(host.trailers, Some(fields(&[("x-sum", "6")])));
    assert_eq!(host.end, Some(End::Complete));
    assert!(host.waits.iter().all(|wanted| wanted.read && !wanted.room));
}

#[test]
fn the_request_is_read_only_as_its_body_is_taken() {
    let steps = (0..100).map(|_| Step::Part("abcdef"));
    let mut host = Scripted::new(steps.chain([Step::End(&[])]));
    // The client takes 4 bytes, and later goes away.
    (host.room, host.room_after_wait) = (4, 0);
    host.gone_at = Instant::default() + Duration::from_secs(25);
    let host = run(echo(), upload(), host);
    assert_eq!(host.text(), "abcd");
    assert_eq!(host.upload.len(), 100, "one part was read");
    assert_eq!(host.waits.len(), 3);
    assert!(host.waits.iter().all(|wanted| wanted.room && !wanted.read));
    assert_eq!(host.end, None);
}

#[test]
fn a_body_is_made_only_as_the_host_has_room() {
    let made = Rc::new(Cell::new(0));
    let count = Rc::clone(&made);
    let exported = Exported::serve_async(move |_| {
        let count = Rc::clone(&count);
        let lines = (0..1000).map(move |number| {
            count.set(number + 1);
            vec![b'x'; 1 << 10]
        });
        async move { Response::new(AnyBody::from(Chunks::new(lines))) }
    });
    let mut host = Scripted::with_room(8 << 10);
    host.room_after_wait = 0;
    host.gone_at = Instant::default() + Duration::from_secs(15);
    let host = run(exported, get(), host);
    assert_eq!(host.written.len(), 8 << 10);
    assert!(made.get() <= 64, "{} KiB were made", made.get());
}

#[test]
fn all_of_a_body_is_sent_with_little_room() {
    let exported =
        Exported::serve_async(async |_| response(parts(&["abcdefg", "hi", "jk"], None), &[]));
    let host = run(exported, get(), Scripted::with_room(3));
    let sent = (host.text(), host.end);
    assert_eq!(sent, ("abcdefghijk", Some(End::Complete)));
    assert_eq!(host.writes, 4, "abc def ghi jk: parts are split and joined");
}

/// A handler that waits for the whole body, of at most 6 bytes.
fn whole() -> Exported {
    Exported::serve_async(async |mut request: Request<Incoming>| {
        request.body_mut().limit(6);
        let body = request.into_body().bytes().await?;
        Ok::<_, IncomingError>(Response::new(AnyBody::from(body)))
    })
}

#[test]
fn a_whole_body_is_received_within_its_limit() {
    use Step::{End, Fail, Part, Pause};
    let cases: [(Option<&str>, Vec<Step>, u16); 9] = [
        (None, vec![Part("abc"), Pause, Part("def"), End(&[])], 200),
        (Some("6"), vec![Pause, Part("abc"), Part("def")], 200),
        (None, vec![Part("abc"), Part("defg")], 413),
        (Some("7"), vec![], 413),
        (None, vec![Part("abc"), Fail], 400),
        (Some("6"), vec![Part("abc"), Fail], 400),
        (Some("6"), vec![Part("abc"), End(&[])], 400),
        (None, vec![Pause, End(&[])], 200),
        (Some("0"), vec![], 200),
    ];
    for (length, steps, status) in cases {
        let host = run(whole(), asked(Method::POST, length), Scripted::new(steps));
        assert_eq!(host.status(), status, "{length:?}");
        assert!(host.upload.is_empty() || status == 413);
        if status == 413 {
            assert!(host.text().ends_with("this server accepts\n"));
        }
    }
}

#[test]
fn synchronous_handlers_get_the_whole_body() {
    let start = Exported::start(|request| Response::new(request.body().to_ascii_uppercase()));
    let steps = [
        Step::Part("abc"),
        Step::Pause,
        Step::Part("def"),
        Step::End(&[]),
    ];
    let host = run(start, upload(), Scripted::new(steps));
    assert_eq!(host.text(), "ABCDEF");
    let serve = Exported::serve(|request| match request.uri().path() {
        "/" => Response::new(AnyBody::from(Chunks::new(["a", "b"]))),
        _ => Response::new("c".into()),
    });
    let host = run(serve, get(), Scripted::new([]));
    assert_eq!(
        (host.text(), host.field(header::CONTENT_LENGTH)),
        ("ab", None)
    );
    let tunnel = Exported::start(|_| panic!("it isn't called"));
    let host = run(tunnel, asked(Method::CONNECT, None), Scripted::new([]));
    assert_eq!(host.status(), 501);
}
