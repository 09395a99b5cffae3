//! Several requests at once: in handlers that wait, in a pipeline, and in the queue of `max_requests`.

use super::*;

#[test]
fn every_request_gets_a_response_if_the_handler_is_ready_at_once() {
    for personality in ALL {
        let bench = Bench::new(personality);
        let clients = bench.clients_that_send();
        bench.stop_at(1000);
        let counters = bench.serve(hello);
        assert_eq!(counters.requests, 100);
        for client in &clients {
            assert_eq!(count_ok(client), 5);
        }
    }
}

/// `refuses_connect` is set for synchronous handlers whose bodies are sent in pieces.
#[test]
fn connect_is_refused_if_the_handler_makes_no_tunnels() {
    for (refuses, status) in [(true, "HTTP/1.1 501 "), (false, "HTTP/1.1 400 ")] {
        let mut bench = Bench::new(Personality::STRICT);
        bench.settings.refuses_connect = refuses;
        let client = bench.client();
        client.send(b"CONNECT a:443 HTTP/1.1\r\n\r\n");
        bench.stop_at(100);
        let counters = bench.serve(hello);
        assert_eq!(counters.requests, 0, "the handler isn't called");
        let text = text(&client);
        assert!(text.starts_with(status), "{text}");
    }
}

#[test]
fn requests_sleep_concurrently_and_others_are_served_meanwhile() {
    for personality in ALL {
        let bench = Bench::new(personality);
        let sleeping: Vec<Client> = (0..16).map(|_| bench.client()).collect();
        sleeping.iter().for_each(|client| client.send(&get("/200")));
        let other = bench.client();
        for step in 1..20 {
            let (sender, receiver) = (other.clone(), other.clone());
            bench.at(step * 10, move |_| sender.send(GET));
            bench.at(step * 10 + 5, move |_| assert_eq!(count_ok(&receiver), 1));
        }
        let early = sleeping.clone();
        bench.at(199, move |_| {
            assert_eq!(early.iter().map(count_ok).sum::<usize>(), 0);
        });
        bench.at(215, move |_| {
            assert_eq!(sleeping.iter().map(count_ok).sum::<usize>(), 16);
        });
        bench.stop_at(300);
        bench.serve(later);
    }
}

#[test]
fn the_responses_to_a_pipeline_are_in_order() {
    let bench = Bench::new(Personality::WASI_COMMON);
    let client = bench.client();
    client.send(&[get("/30"), get("/0"), get("/10"), get("/20")].concat());
    let early = client.clone();
    bench.at(25, move |_| assert!(early.receive().is_empty()));
    bench.stop_at(200);
    bench.serve(|request: Request| async move {
        let target = request.uri().path().to_string();
        let _ = later(request).await;
        Response::new(target)
    });
    let all = text(&client);
    let bodies: Vec<&str> = all.matches("\r\n\r\n/").collect();
    assert_eq!(bodies.len(), 4, "{all}");
    let places = ["/30", "/0", "/10", "/20"].map(|target| all.find(&format!("\r\n\r\n{target}")));
    assert!(places.is_sorted() && places[0].is_some(), "{all}");
}

#[test]
fn requests_beyond_the_limit_wait_and_are_served_in_order() {
    for personality in NOT_BLIND {
        let mut bench = Bench::new(personality);
        bench.settings.limits.max_requests = 2;
        let clients: Vec<Client> = (0..6).map(|_| bench.client()).collect();
        for (number, client) in clients.iter().enumerate() {
            let client = client.clone();
            bench.at(number as u64, move |_| {
                client.send(&get(&format!("/100?{number}")))
            });
        }
        for (millis, served) in [(90, 0), (150, 2), (250, 4), (350, 6)] {
            let clients = clients.clone();
            bench.at(millis, move |_| {
                let got = clients
                    .iter()
                    .filter(|client| client.written_at() > 0)
                    .count();
                assert_eq!(got, served, "after {millis} ms");
            });
        }
        // While requests wait for others to end, the loop isn't woken again and again.
        bench.waits_at_most(3, 120, 190);
        bench.stop_at(500);
        let seen = RefCell::new(Vec::new());
        bench.serve(|request: Request| {
            seen.borrow_mut()
                .push(request.uri().query().unwrap_or_default().to_string());
            later(request)
        });
        assert_eq!(*seen.borrow(), ["0", "1", "2", "3", "4", "5"]);
    }
}

#[test]
fn when_a_client_goes_a_waiting_request_may_begin() {
    let mut bench = Bench::new(Personality::WASI_COMMON);
    bench.settings.limits.max_requests = 1;
    let (first, second) = (bench.client(), bench.client());
    first.send(&get("/100000"));
    let late = second.clone();
    bench.at(10, move |_| late.send(&get("/0")));
    bench.at(100, move |_| first.reset());
    bench.at(120, move |_| assert_eq!(count_ok(&second), 1));
    bench.stop_at(200);
    bench.serve(later);
}

/// Its request has arrived: to close it would lose that, and reset the client.
#[test]
fn a_connection_whose_request_waits_is_not_closed_for_a_new_one() {
    for idle_count in [1, 0] {
        let mut bench = Bench::new(Personality::STRICT);
        bench.settings.limits.max_requests = 1;
        bench.settings.limits.max_connections = 2 + idle_count;
        let (first, waiting) = (bench.client(), bench.client());
        let idle: Vec<Client> = (0..idle_count).map(|_| bench.client()).collect();
        first.send(&get("/5000"));
        let late = waiting.clone();
        bench.at(10, move |_| late.send(&get("/0")));
        let (listener, new) = (bench.listener, Rc::new(RefCell::new(None)));
        let keep = Rc::clone(&new);
        bench.at(1_000, move |fake| {
            let client = fake.connect(listener);
            client.send(&get("/0"));
            *keep.borrow_mut() = Some(client);
        });
        bench.stop_at(6_000);
        let counters = bench.serve(later);
        let new = new.borrow_mut().take().expect("it has connected");
        let served = [&first, &waiting, &new].map(count_ok);
        assert_eq!(served, [1, 1, 1], "{idle_count} idle");
        assert!(idle.iter().all(Client::is_closed));
        // If none is idle before, one that has its response.
        assert_eq!(counters.closed(CloseReason::Evicted), 1);
    }
}

/// The client has a response to take: that doesn't depend on the server.
#[test]
fn a_client_whose_next_request_waits_must_take_its_responses() {
    for personality in ALL {
        for takes in [true, false] {
            let mut bench = Bench::new(personality);
            bench.settings.limits.max_requests = 1;
            let (first, slow) = (bench.client(), bench.client());
            slow.set_room(1_000);
            slow.send(&get("/0?large"));
            bench.at(10, move |_| first.send(&get("/60000")));
            let late = slow.clone();
            bench.at(20, move |_| late.send(&get("/0")));
            for second in 1..65 {
                let slow = slow.clone();
                bench.at(second * 1_000, move |_| {
                    drop(takes.then(|| slow.receive_at_most(600)));
                });
            }
            let open = slow.clone();
            bench.at(39_500, move |_| assert_eq!(open.is_closed(), !takes));
            bench.stop_at(62_000);
            let counters = bench.serve(|request: Request| async move {
                let is_large = request.uri().query().is_some();
                let _ = later(request).await;
                Response::new("x".repeat(if is_large { 30_000 } else { 10 }))
            });
            let late = counters.closed(CloseReason::WriteTimeout);
            assert_eq!(late, u64::from(!takes), "{personality:?}");
        }
    }
}

#[test]
fn requests_that_wait_cause_no_waits_of_the_loop() {
    let bench = Bench::new(Personality::WASI_COMMON);
    let clients: Vec<Client> = (0..200).map(|_| bench.client()).collect();
    clients
        .iter()
        .for_each(|client| client.send(&get("/60000")));
    bench.waits_at_most(3, 1_000, 59_000);
    bench.stop_at(62_000);
    bench.serve(later);
    assert_eq!(clients.iter().map(count_ok).sum::<usize>(), 200);
}

/// The reactor has no sockets to poll: the only connection isn't read, because enough input is kept, and the listener
/// is paused, because the limit of connections is reached.
#[test]
fn a_wait_for_a_timer_alone_is_not_a_poll_without_subscriptions() {
    for personality in ALL {
        let mut bench = Bench::new(personality);
        bench.settings.limits.max_connections = 1;
        let (client, other) = (bench.client(), bench.client());
        client.send(&get("/5000"));
        let sender = client.clone();
        bench.at(10, move |_| sender.send(&GET.repeat(4_000)));
        other.send(GET);
        client.set_room(1 << 30);
        bench.stop_at(20_000);
        bench.serve(later);
        assert_eq!((count_ok(&client), count_ok(&other)), (4_001, 1));
    }
}
