//! Wake-ups: futures that always wake themselves, and wakers that outlive their request.

use super::*;

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
fn late_wakers_do_no_harm() {
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
