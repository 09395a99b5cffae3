//! Tests of time, tasks, clients that are gone, and failures.

use std::cell::RefCell;
use std::future::{pending, poll_fn};

use super::*;
use crate::body::Chunks;
use crate::executor::{sleep, spawn};

#[test]
fn a_handler_keeps_its_state_from_request_to_request() {
    let mut count = 0;
    let mut exported = Exported::start(move |_| {
        count += 1;
        Response::new(vec![b'0' + count])
    });
    for expected in ["1", "2", "3"] {
        let mut host = Scripted::new([]);
        handle(&mut host, &mut exported, get());
        assert_eq!(host.text(), expected);
    }
}

#[test]
fn a_sleep_is_a_wait_of_that_time() {
    let exported = Exported::serve_async(async |_| {
        sleep(Duration::from_millis(200)).await;
        Response::new(String::from("later"))
    });
    let host = run(exported, get(), Scripted::new([]));
    assert_eq!(host.text(), "later");
    let passed = host.now.get().saturating_since(Instant::default());
    assert!(Duration::from_millis(200) <= passed && passed < Duration::from_millis(202));
    assert_eq!(host.waits.len(), 1);
}

/// Wakes itself, and is ready the second time.
pub(super) async fn yield_once() {
    let mut has_yielded = false;
    poll_fn(|cx| {
        cx.waker().wake_by_ref();
        match std::mem::replace(&mut has_yielded, true) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
}

/// A body of `first`, which then wakes itself until `has_ended` returns true.
fn busy(
    mut first: Option<&'static str>,
    mut has_ended: impl FnMut() -> bool + Unpin + 'static,
) -> AnyBody {
    body(move |cx| {
        if let Some(first) = first.take() {
            return Poll::Ready(Some(Frame::data(first.into())));
        }
        cx.waker().wake_by_ref();
        match has_ended() {
            true => Poll::Ready(None),
            false => Poll::Pending,
        }
    })
}

/// A body that ends after this sleep. `alive` is dropped with it.
fn quiet(alive: Option<Alive>, mut sleep: crate::Sleep) -> AnyBody {
    body(move |cx| {
        let _ = &alive;
        Pin::new(&mut sleep).poll(cx).map(|()| None)
    })
}

/// While the body is busy, the loop doesn't wait. It must flush all the same.
#[test]
fn a_busy_body_keeps_back_nothing_that_it_has_written() {
    for room in [3, 5, usize::MAX] {
        let mut host = Scripted::new([]);
        host.room = room;
        let sent = Rc::clone(&host.sent);
        let exported = Exported::serve_async(move |_| {
            let (sent, mut polls) = (Rc::clone(&sent), 0);
            let body = busy(Some("first"), move || {
                polls += 1;
                assert!(polls < 100, "{} bytes are sent", sent.get());
                sent.get() >= room.min(5)
            });
            async { Response::new(body) }
        });
        // Without room for all of it, the rest comes after a wait.
        let host = run(exported, get(), host);
        assert_eq!((host.text(), host.end), ("first", Some(End::Complete)));
    }
}

#[test]
fn a_busy_body_or_task_finds_that_its_client_is_gone() {
    const MOST: usize = 10_000;
    for is_body_busy in [true, false] {
        let exported = Exported::serve_async(move |_| {
            // Because of its deadline, the loop reads the clock, which advances the virtual time.
            spawn(sleep(Duration::from_secs(3600)));
            let mut polls = 0;
            let body = match is_body_busy {
                true => busy(None, move || {
                    polls += 1;
                    polls == MOST
                }),
                false => {
                    spawn(async {
                        for _ in 0..MOST {
                            yield_once().await;
                        }
                    });
                    quiet(None, sleep(Duration::from_secs(9)))
                }
            };
            async { Response::new(body) }
        });
        let mut host = Scripted::new([]);
        host.tick = Duration::from_millis(1);
        host.gone_at = Instant::default() + Duration::from_millis(100);
        let host = run(exported, get(), host);
        assert_eq!((host.end, host.waits.len()), (None, 0));
    }
}

/// A future that wakes itself each time must not keep a sleep from ending.
#[test]
fn a_busy_task_starves_no_sleep() {
    let exported = Exported::serve_async(async |_| {
        spawn(async {
            loop {
                yield_once().await;
            }
        });
        sleep(Duration::from_millis(1)).await;
        Response::new(String::from("later"))
    });
    let mut host = Scripted::new([]);
    host.tick = Duration::from_micros(1);
    let host = run(exported, get(), host);
    assert_eq!((host.text(), host.waits.len()), ("later", 0));
}

/// A host may always have room, so that the loop never waits.
#[test]
fn a_body_that_is_always_ready_starves_no_sleep() {
    let exported = Exported::serve_async(async |_| {
        let is_over = Rc::new(Cell::new(false));
        let over = Rc::clone(&is_over);
        spawn(async move {
            sleep(Duration::from_millis(1)).await;
            over.set(true);
        });
        let parts = (0..10_000).map(|_| vec![b'x'; 1 << 10]);
        let parts = parts.take_while(move |_| !is_over.get());
        Response::new(AnyBody::from(Chunks::new(parts)))
    });
    let mut host = Scripted::new([]);
    host.tick = Duration::from_micros(50);
    let host = run(exported, get(), host);
    assert_eq!((host.end, host.waits.len()), (Some(End::Complete), 0));
    assert!(host.written.len() < 10_000 << 10, "the sleep never ended");
}

/// A write would fail, but empty parts write nothing.
#[test]
fn a_body_of_empty_parts_finds_that_its_client_is_gone() {
    let exported = Exported::serve_async(async |_| {
        // Because of its deadline, the loop reads the clock, which advances the virtual time.
        spawn(sleep(Duration::from_secs(3600)));
        let parts = (0..1_000_000).map(|_| Bytes::new());
        Response::new(AnyBody::from(Chunks::new(parts)))
    });
    let mut host = Scripted::new([]);
    host.tick = Duration::from_millis(1);
    host.gone_at = Instant::default() + Duration::from_millis(100);
    assert_eq!(run(exported, get(), host).end, None);
}

#[test]
fn tasks_run_as_long_as_the_response() {
    let alive = Rc::new(Cell::new(0));
    let seen = Rc::new(RefCell::new(Vec::new()));
    let (count, log) = (Rc::clone(&alive), Rc::clone(&seen));
    let exported = Exported::serve_async(move |_| {
        for (name, seconds) in [("first", 1), ("second", 3), ("third", 600)] {
            let (guard, log) = (Alive::new(&count), Rc::clone(&log));
            spawn(async move {
                sleep(Duration::from_secs(seconds)).await;
                log.borrow_mut().push(name);
                drop(guard);
            });
        }
        async {
            sleep(Duration::from_secs(5)).await;
            Response::new(String::from("after 5 s"))
        }
    });
    let host = run(exported, get(), Scripted::new([]));
    assert_eq!(host.text(), "after 5 s");
    assert_eq!(*seen.borrow(), ["first", "second"]);
    assert_eq!(alive.get(), 0, "the third was dropped");
}

#[test]
fn a_client_that_is_gone_drops_the_future_and_its_tasks() {
    let alive = Rc::new(Cell::new(0));
    let count = Rc::clone(&alive);
    let exported = Exported::serve_async(move |_| {
        let (guard, task) = (Alive::new(&count), Alive::new(&count));
        spawn(async move {
            sleep(Duration::from_secs(3600)).await;
            drop(task);
        });
        let lines = (0..).map(move |number| {
            let _ = &guard;
            format!("{number}\n")
        });
        async move { Response::new(AnyBody::from(Chunks::new(lines))) }
    });
    let mut host = Scripted::with_room(100);
    host.gone_at = Instant::from_nanos(1);
    host.room_after_wait = 0;
    let host = run(exported, get(), host);
    assert_eq!((host.end, alive.get()), (None, 0));
    assert_eq!(host.waits.len(), 1);
}

#[test]
fn a_quiet_stream_finds_that_its_client_is_gone() {
    let alive = Rc::new(Cell::new(0));
    let count = Rc::clone(&alive);
    let exported = Exported::serve_async(move |_| {
        let body = quiet(Some(Alive::new(&count)), sleep(Duration::from_secs(3600)));
        async { Response::new(AnyBody::new(body)) }
    });
    let mut host = Scripted::new([]);
    host.gone_at = Instant::default() + Duration::from_secs(60);
    let host = run(exported, get(), host);
    assert_eq!(alive.get(), 0);
    let passed = host.now.get().saturating_since(host.gone_at);
    assert!(passed <= Duration::from_secs(10), "{passed:?} too late");
}

#[test]
fn a_handler_that_nothing_can_wake_has_failed() {
    let host = run(
        Exported::serve_async(|_| pending::<Response<String>>()),
        get(),
        Scripted::new([]),
    );
    assert_eq!((host.status(), host.waits.len()), (500, 0));
    // Its task waits, too.
    let exported = Exported::serve_async(|_| {
        spawn(pending());
        pending::<Response<String>>()
    });
    assert_eq!(run(exported, get(), Scripted::new([])).status(), 500);
    // The head was sent.
    let exported = Exported::serve_async(async |_| Response::new(body(|_| Poll::Pending)));
    let host = run(exported, get(), Scripted::new([]));
    assert_eq!((host.status(), host.end), (200, Some(End::Aborted)));
}

#[test]
fn an_error_of_the_handler_has_its_status() {
    let exported =
        Exported::serve_async(async |_| Err::<Response<String>, BoxError>("secret".into()));
    let host = run(exported, get(), Scripted::new([]));
    assert_eq!((host.status(), host.text()), (500, "the handler failed\n"));
    let plain = Some("text/plain; charset=utf-8");
    assert_eq!(host.field(header::CONTENT_TYPE), plain);
    let head = asked(Method::HEAD, None);
    let exported =
        Exported::serve_async(async |_| Err::<Response<String>, BoxError>("secret".into()));
    let host = run(exported, head, Scripted::new([]));
    assert_eq!((host.status(), host.has_body), (500, false));
}

#[test]
fn a_broken_body_is_not_completed() {
    /// Makes a response. The second is what may be sent of it.
    type Case = (fn() -> Response<AnyBody>, &'static str);
    let cases: [Case; 4] = [
        // More than announced: the part that would complete it isn't sent.
        (
            || response(parts(&["ab", "cd"], None), &[("content-length", "3")]),
            "ab",
        ),
        (
            || response(parts(&["ab", "c", "d"], None), &[("content-length", "3")]),
            "",
        ),
        (
            || response(parts(&["ab"], None), &[("content-length", "3")]),
            "ab",
        ),
        (
            || response(Chunks::fallible([Ok("ab"), Err("broken")]), &[]),
            "ab",
        ),
    ];
    for (make, expected) in cases {
        let exported = Exported::serve_async(move |_| std::future::ready(make()));
        let host = run(exported, get(), Scripted::new([]));
        assert_eq!(host.end, Some(End::Aborted));
        assert!(expected.starts_with(host.text()), "{:?}", host.text());
    }
}

#[test]
fn what_a_component_cannot_send_becomes_an_error() {
    for (method, status, sent) in [
        (Method::GET, 101, 500),
        (Method::GET, 103, 500),
        (Method::CONNECT, 200, 501),
        (Method::CONNECT, 404, 404),
    ] {
        let exported = Exported::serve_async(move |_| async move {
            let mut response = Response::new(String::from("x"));
            *response.status_mut() = status.try_into().expect("a status");
            response
        });
        let host = run(exported, asked(method, Some("0")), Scripted::new([]));
        assert_eq!((host.status(), host.end), (sent, Some(End::Complete)));
    }
    // What becomes of its body doesn't matter.
    let exported = Exported::serve_async(async |_| {
        let mut response = response(Chunks::fallible([Err::<&str, _>("broken")]), &[]);
        *response.status_mut() = http::StatusCode::EARLY_HINTS;
        response
    });
    let host = run(exported, get(), Scripted::new([]));
    assert_eq!((host.status(), host.end), (500, Some(End::Complete)));
    let invalid = Asked {
        path_with_query: Some("/ /".into()),
        ..get()
    };
    // The host has room only after a wait.
    let mut host = Scripted::with_room(8);
    host.room = 0;
    let exported = Exported::start(|_| panic!("it isn't called"));
    let host = run(exported, invalid, host);
    assert_eq!((host.status(), host.end), (400, Some(End::Complete)));
    assert_eq!(host.text(), "the target isn't valid\n");
}
