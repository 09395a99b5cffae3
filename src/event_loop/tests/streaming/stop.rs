//! Tasks, and what a stop does to requests and tasks.

use super::*;

#[test]
fn tasks_run_beside_requests_and_end_with_the_server() {
    let bench = Bench::new(Personality::WASI_COMMON);
    let client = bench.client();
    client.send(GET);
    bench.stop_at(100);
    let ticks = Rc::new(Cell::new(0));
    let count = Rc::clone(&ticks);
    let stopping = bench.handle.stopping();
    let ended = Rc::new(Cell::new(false));
    let end = Rc::clone(&ended);
    let tasks: Vec<Task> = vec![
        Box::pin(async move {
            for _ in 0..9 {
                sleep(Duration::from_millis(10)).await;
                count.set(count.get() + 1);
            }
        }),
        Box::pin(async move {
            stopping.await;
            end.set(true);
        }),
        Box::pin(async { panic!("as asked") }),
    ];
    bench.serve_beside(tasks, hello);
    assert_eq!(ticks.get(), 9);
    assert!(ended.get());
    // The stop took no longer than the grace of the client that connected last.
    assert!(bench.fake.now() < 2_000_000_000, "{}", bench.fake.now());
    assert_eq!(count_ok(&client), 1);
}

#[test]
fn a_stop_lets_requests_and_tasks_go_on_until_its_deadline() {
    for personality in ALL {
        let bench = Bench::new(personality);
        let (short, long, stream) = (bench.client(), bench.client(), bench.client());
        short.send(&get("/2000"));
        long.send(&get("/20000"));
        stream.send(&get("/events"));
        let (listener, handle) = (bench.listener, bench.handle.clone());
        bench.at(100, move |fake| {
            handle.stop_within(Duration::from_secs(5));
            let _ = fake.connect(listener);
        });
        let diary = Rc::new(Diary::default());
        let witness = Witness::new(&diary, &bench.fake);
        let tasks: Vec<Task> = vec![Box::pin(async move {
            let _witness = witness;
            pending::<()>().await;
        })];
        let counters = bench.serve_beside(tasks, |request: Request| async move {
            if request.uri().path() == "/events" {
                let events = Events::new(1_000, Duration::from_millis(100));
                return Response::new(AnyBody::new(events));
            }
            later(request).await.map(AnyBody::from)
        });
        let text = text(&short);
        assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
        assert!(text.contains("connection: close\r\n"), "{text}");
        assert!(long.receive().is_empty());
        assert_eq!(*diary.dropped.borrow(), [5100]);
        let events = super::text(&stream);
        let count = events.matches("event").count();
        assert!((45..=53).contains(&count), "{count}");
        assert!(!events.ends_with("0\r\n\r\n"));
        // The fourth is the one that has ended the wait: it was idle.
        assert_eq!(counters.closed(CloseReason::Stopped), 4);
    }
}

/// The handler has the request from its head on.
#[test]
fn a_body_may_go_on_arriving_until_the_deadline() {
    for personality in ALL {
        let bench = Bench::new(personality);
        let (whole, cut) = (bench.client(), bench.client());
        for client in [&whole, &cut] {
            client.send(b"POST /0 HTTP/1.1\r\nHost: h\r\nContent-Length: 20000\r\n\r\n");
            for step in 0..10 {
                let client = client.clone();
                bench.at(step * 1_000, move |_| client.send(&[b'x'; 1000]));
            }
        }
        let rest = whole.clone();
        bench.at(9_500, move |_| rest.send(&[b'x'; 10_000]));
        let (listener, handle) = (bench.listener, bench.handle.clone());
        bench.at(100, move |fake| {
            handle.stop_within(Duration::from_secs(10));
            let _ = fake.connect(listener);
        });
        bench.serve(|request: Request| async move {
            let body = request.into_body().bytes().await?;
            Ok::<_, crate::IncomingError>(Response::new(body.len().to_string()))
        });
        let response = text(&whole);
        assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
        assert!(response.ends_with("\r\n\r\n20000"), "{response}");
        assert!(cut.receive().is_empty());
    }
}

/// It has arrived before the stop, and has to wait for longer than pipelines are served.
#[test]
fn a_request_that_waits_for_a_place_is_served_before_the_stop_ends() {
    for personality in ALL {
        for arrives in [10, 300] {
            let mut bench = Bench::new(personality);
            bench.settings.limits.max_requests = 1;
            let (first, waiting) = (bench.client(), bench.client());
            first.send(&get("/9000"));
            let late = waiting.clone();
            bench.at(arrives, move |_| late.send(&get("/0")));
            bench.stop_at(100);
            bench.serve(later);
            for client in [first, waiting] {
                let text = text(&client);
                assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
                assert!(text.contains("connection: close\r\n"), "{text}");
            }
        }
    }
}
