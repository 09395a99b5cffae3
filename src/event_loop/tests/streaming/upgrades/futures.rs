//! The future of an upgrade: how it ends without one, and what dropping it does.

use super::*;

/// What a future of an upgrade says, and what the client gets, if the connection isn't upgraded.
#[test]
fn without_an_upgrade_its_future_fails() {
    for (sent, status, text) in [
        (UPGRADE, "200", "the response is another one"),
        (GET, "200", "the request has no Upgrade field"),
    ] {
        let bench = Bench::new(Personality::WASI_COMMON);
        let client = bench.client();
        client.send(sent);
        bench.stop_at(100);
        let seen = Seen::default();
        let results = Rc::clone(&seen);
        bench.serve(move |mut request: Request| {
            let (first, second) = (upgrade(&mut request), upgrade(&mut request));
            for upgrade in [first, second] {
                let results = Rc::clone(&results);
                spawn(async move {
                    let error = upgrade.await.expect_err("another response");
                    assert_eq!(error.kind(), crate::ErrorKind::Upgrade);
                    results.borrow_mut().push(error.to_string());
                });
            }
            std::future::ready(Response::new("hello!".to_string()))
        });
        let received = super::text(&client);
        assert!(
            received.starts_with(&format!("HTTP/1.1 {status}")),
            "{received}"
        );
        let seen = seen.borrow();
        assert_eq!(seen.len(), 2);
        assert!(seen.iter().any(|seen| seen.contains(text)), "{seen:?}");
    }
}

/// The client is gone, or the handler fails, before the response.
#[test]
fn the_future_of_an_upgrade_ends_with_its_request() {
    let bench = Bench::new(Personality::WASI_COMMON);
    let (gone, failed) = (bench.client(), bench.client());
    gone.send(UPGRADE);
    bench.at(50, move |_| gone.reset());
    bench.at(60, move |_| failed.send(UPGRADE));
    bench.stop_at(200);
    let seen = Seen::default();
    let (results, calls) = (Rc::clone(&seen), Cell::new(0));
    bench.serve(move |mut request: Request| {
        let (upgrade, results) = (upgrade(&mut request), Rc::clone(&results));
        spawn(async move {
            let error = upgrade.await.expect_err("no response");
            results.borrow_mut().push(error.to_string());
        });
        calls.set(calls.get() + 1);
        let is_first = calls.get() == 1;
        async move {
            if is_first {
                pending::<()>().await;
            }
            Err::<Response<String>, _>("as asked")
        }
    });
    let why = "the connection can't be upgraded: the request has ended without a response";
    assert_eq!(*seen.borrow(), [why, why]);
}

/// If the future was dropped, there is nothing to use the connection.
#[test]
fn a_dropped_future_is_no_upgrade() {
    let bench = Bench::new(Personality::WASI_COMMON);
    let client = bench.client();
    client.send(UPGRADE);
    bench.stop_at(100);
    let counters = bench.serve(|mut request: Request| {
        drop(upgrade(&mut request));
        std::future::ready(switching())
    });
    assert!(client.receive().starts_with(b"HTTP/1.1 500 "));
    assert_eq!(counters.closed(CloseReason::HandlerFailed), 1);
}

/// If the connection was upgraded before, dropping the future closes it.
#[test]
fn a_future_that_is_dropped_late_closes_the_connection() {
    let bench = Bench::new(Personality::WASI_COMMON);
    let client = bench.client();
    client.send(UPGRADE);
    let late = client.clone();
    bench.at(2_000, move |_| {
        assert!(after_head(&late).is_empty() && late.is_at_end());
        late.end();
    });
    bench.stop_at(3_000);
    let counters = bench.serve(|mut request: Request| {
        let upgrade = upgrade(&mut request);
        spawn(async move {
            sleep(Duration::from_secs(1)).await;
            drop(upgrade);
        });
        std::future::ready(switching())
    });
    assert_eq!(counters.closed(CloseReason::Upgraded), 1);
}
