//! Handlers that wait: for a time, for another request, or for another thread. Meanwhile other requests are served.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mini_http::http::Request;
use mini_http::{Incoming, PeerAddr, Response, sleep};

use super::quiet::{check, in_a_quiet_moment};
use super::server::{GET, Running, SOON, ends_with, get, hello, read_until, rest, wait_until};

#[test]
fn a_ready_handler_responds() {
    let server = Running::start(|server| server.serve_async(hello));
    let mut stream = server.send(GET);
    let response = read_until(&mut stream, ends_with("hello!"));
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
    assert!(response.contains("content-length: 6\r\n"), "{response}");
    stream.write_all(&GET.repeat(3)).expect("it persists");
    let all = read_until(&mut stream, |text| text.matches("hello!").count() == 3);
    assert_eq!(all.matches("200 OK").count(), 3);
    server.stop();
}

#[test]
fn sixteen_sleep_at_once_and_others_are_served_meanwhile() {
    in_a_quiet_moment(sixteen_sleep);
}

fn sixteen_sleep() -> Result<(), String> {
    let server = Running::start(|server| {
        server.serve_async(async |request: Request<Incoming>| {
            if request.uri().path() == "/sleep" {
                sleep(Duration::from_millis(200)).await;
            }
            hello(request).await
        })
    });
    let since = Instant::now();
    let mut sleeping: Vec<TcpStream> = (0..16).map(|_| server.send(&get("/sleep"))).collect();
    let mut other = server.connect();
    let mut times = Vec::new();
    while since.elapsed() < Duration::from_millis(150) {
        let before = Instant::now();
        other.write_all(GET).expect("it persists");
        read_until(&mut other, ends_with("hello!"));
        times.push(before.elapsed());
    }
    times.sort();
    let median = times.get(times.len() / 2).copied();
    let median = median.unwrap_or(Duration::MAX);
    for stream in &mut sleeping {
        read_until(stream, ends_with("hello!"));
    }
    let took = since.elapsed();
    server.stop();
    assert!(took >= Duration::from_millis(200), "{took:?}");
    check(took < Duration::from_millis(400), || format!("{took:?}"))?;
    check(median < Duration::from_millis(20), || format!("{times:?}"))
}

/// The response comes after another request, much later.
#[test]
fn a_long_poll_gets_its_response_after_another_request() {
    let server = Running::start(|server| {
        let waiting: RefCell<Vec<Waker>> = RefCell::default();
        let is_set = Cell::new(false);
        server.serve_async(async |request: Request<Incoming>| {
            if request.uri().path() == "/set" {
                is_set.set(true);
                waiting.take().into_iter().for_each(Waker::wake);
            } else {
                poll_fn(|cx| {
                    waiting.borrow_mut().push(cx.waker().clone());
                    if is_set.get() {
                        Poll::Ready(())
                    } else {
                        Poll::Pending
                    }
                })
                .await;
            }
            hello(request).await
        })
    });
    let mut polls: Vec<TcpStream> = (0..5).map(|_| server.send(&get("/wait"))).collect();
    polls[0]
        .set_read_timeout(Some(Duration::from_millis(50)))
        .expect("a timeout");
    let early = polls[0].read(&mut [0; 10]).expect_err("no response yet");
    assert!(matches!(
        early.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut
    ));
    polls[0].set_read_timeout(Some(SOON)).expect("a timeout");
    let mut setter = server.send(&get("/set"));
    read_until(&mut setter, ends_with("hello!"));
    for stream in &mut polls {
        read_until(stream, ends_with("hello!"));
    }
    server.stop();
}

#[test]
fn requests_beyond_the_limit_wait() {
    let server = Running::with(
        |server| {
            server.limits(|limits| limits.max_requests = 2);
        },
        |server| {
            let (now, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
            server.serve_async(async |_| {
                now.set(now.get() + 1);
                most.set(most.get().max(now.get()));
                sleep(Duration::from_millis(50)).await;
                now.set(now.get() - 1);
                Response::new(format!("most: {}", most.get()))
            })
        },
    );
    let since = Instant::now();
    let mut streams: Vec<TcpStream> = (0..6).map(|_| server.send(GET)).collect();
    for stream in &mut streams {
        let response = read_until(stream, |text| text.contains("most: "));
        let is_within = response.ends_with("most: 1") || response.ends_with("most: 2");
        assert!(is_within, "{response}");
    }
    assert!(
        since.elapsed() >= Duration::from_millis(150),
        "{:?}",
        since.elapsed()
    );
    server.stop();
}

#[test]
fn a_request_knows_its_peer() {
    let server = Running::start(|server| {
        server.serve_async(async |request: Request<Incoming>| {
            let peer = request.extensions().get::<PeerAddr>().copied();
            Response::new(
                peer.map(|PeerAddr(addr)| addr.to_string())
                    .unwrap_or_default(),
            )
        })
    });
    let mut stream = server.send(GET);
    let addr = stream.local_addr().expect("an address").to_string();
    read_until(&mut stream, ends_with(&format!("\r\n\r\n{addr}")));
    server.stop();
}

/// Each wake-up from another thread has its task polled: if one were lost, the next round would never begin.
#[test]
fn wake_ups_from_other_threads_are_not_lost() {
    const THREADS: usize = 8;
    const ROUNDS: usize = 2_000;
    type Pending = Arc<Mutex<Option<(Waker, usize)>>>;
    let places: Vec<Pending> = (0..THREADS).map(|_| Pending::default()).collect();
    let shared = places.clone();
    let server = Running::start(move |server| {
        let done = Rc::new(Cell::new(0));
        for place in shared {
            let done = Rc::clone(&done);
            server.spawn(async move {
                for round in 1..=ROUNDS {
                    let mut is_first = true;
                    poll_fn(|cx| {
                        let mut place = place.lock().expect("no panic");
                        match &*place {
                            None if !is_first => Poll::Ready(()),
                            _ => {
                                is_first = false;
                                *place = Some((cx.waker().clone(), round));
                                Poll::Pending
                            }
                        }
                    })
                    .await;
                }
                done.set(done.get() + 1);
            });
        }
        server.serve_async(async |_| Response::new(done.get().to_string()))
    });
    let threads: Vec<JoinHandle<()>> = places
        .into_iter()
        .map(|place| {
            thread::spawn(move || {
                let mut last = 0;
                let since = Instant::now();
                while last < ROUNDS {
                    assert!(since.elapsed() < 3 * SOON, "round {last} is the last one");
                    let taken = place.lock().expect("no panic").take();
                    if let Some((waker, round)) = taken {
                        assert_eq!(round, last + 1);
                        last = round;
                        waker.wake();
                    } else {
                        thread::yield_now();
                    }
                }
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().expect("no wake-up is lost"));
    let all_done = || {
        let mut stream = server.send(b"GET / HTTP/1.0\r\n\r\n");
        rest(&mut stream).ends_with("\r\n\r\n8")
    };
    wait_until("all tasks end", all_done);
    server.stop();
}
