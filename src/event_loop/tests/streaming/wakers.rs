//! Wake-ups: futures that always wake themselves, and wakers that outlive their request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::executor::spawn;

#[test]
fn a_future_that_always_wakes_itself_does_not_starve_others() {
    for personality in ALL {
        let bench = Bench::new(personality);
        let (busy, other) = (bench.client(), bench.client());
        busy.send(&get("/busy"));
        for step in 1..10 {
            let other = other.clone();
            bench.at(step * 10, move |_| {
                other.send(GET);
                let next = other.clone();
                other.fake().after(Duration::from_millis(5), move |_| {
                    assert_eq!(count_ok(&next), 1);
                });
            });
        }
        bench.at(150, move |_| busy.reset());
        bench.stop_at(200);
        let fake = bench.fake.clone();
        let counters = bench.serve(|request: Request| {
            let fake = fake.clone();
            async move {
                if request.uri().path() == "/busy" {
                    poll_fn(|cx| {
                        fake.work(Duration::from_micros(10));
                        cx.waker().wake_by_ref();
                        Poll::<()>::Pending
                    })
                    .await;
                }
                Response::new("hello!".to_string())
            }
        });
        assert_eq!(counters.closed(CloseReason::ClientGone), 1);
    }
}

/// A new task is polled even if a connection always has more to do.
#[test]
fn a_busy_future_does_not_keep_a_new_task_from_its_first_poll() {
    let bench = Bench::new(Personality::WASI_COMMON);
    let (busy, client) = (bench.client(), bench.client());
    busy.send(&get("/busy"));
    bench.at(10, move |_| client.send(&get("/spawn")));
    let ran = Rc::new(Cell::new(false));
    let early = Rc::clone(&ran);
    bench.at(50, move |_| assert!(early.get()));
    bench.at(60, move |_| busy.reset());
    bench.stop_at(100);
    let fake = bench.fake.clone();
    bench.serve(|request: Request| {
        let (fake, ran) = (fake.clone(), Rc::clone(&ran));
        async move {
            if request.uri().path() == "/spawn" {
                crate::executor::spawn(async move { ran.set(true) });
            } else {
                poll_fn(|cx| {
                    fake.work(Duration::from_micros(10));
                    cx.waker().wake_by_ref();
                    Poll::<()>::Pending
                })
                .await;
            }
            hello(request).await
        }
    });
}

/// A waker of an earlier request wakes the next request of the same connection. This has no effect.
#[test]
fn a_waker_of_an_earlier_request_has_no_effect() {
    let bench = Bench::new(Personality::WASI_COMMON);
    let (client, gone) = (bench.client(), bench.client());
    client.send(&get("/keep"));
    gone.send(&get("/keep"));
    let again = client.clone();
    bench.at(10, move |_| {
        again.send(&get("/50"));
        gone.reset();
    });
    let wakers: Rc<RefCell<Vec<Waker>>> = Rc::default();
    for millis in [5, 20, 30, 100] {
        let wakers = Rc::clone(&wakers);
        bench.at(millis, move |_| {
            wakers.borrow().iter().for_each(Waker::wake_by_ref)
        });
    }
    bench.stop_at(200);
    bench.serve(|request: Request| {
        let wakers = Rc::clone(&wakers);
        async move {
            if request.uri().path() == "/keep" {
                poll_fn(|cx| {
                    wakers.borrow_mut().push(cx.waker().clone());
                    Poll::Ready(())
                })
                .await;
            }
            later(request).await
        }
    });
    assert_eq!(count_ok(&client), 2);
}

/// A body that was received wakes the task that reads it. At that time the loop isn't in its wait, so the wake-up must
/// not call the function that ends a wait. Otherwise each wake-up would cost a call, and the next wait would return at
/// once.
#[test]
fn wake_ups_in_a_turn_end_no_wait() {
    let bench = Bench::new(Personality::STRICT);
    let client = bench.client();
    client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 50\r\n\r\n");
    for time in 1..=50 {
        let client = client.clone();
        bench.at(time * 100, move |_| client.send(b"."));
    }
    bench.stop_at(5_200);
    let (polls, ended) = (Rc::new(Cell::new(0)), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&ended);
    let waker = Arc::new(move || {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    let handler = |request: Request| {
        let polls = Rc::clone(&polls);
        spawn(async move {
            let mut body = request.into_body();
            while poll_fn(|cx| Pin::new(&mut body).poll_frame(cx))
                .await
                .is_some()
            {
                polls.set(polls.get() + 1);
            }
        });
        pending::<Response<String>>()
    };
    bench.serve_with_waker(waker, handler);
    assert_eq!((polls.get(), ended.load(Ordering::Relaxed)), (50, 0));
}
