//! Events where a handler or an observer panics.

use super::*;

#[test]
fn handlers_that_panic_and_connections_turned_away_have_events() {
    for mode in MODES {
        let (bench, events) = Bench::observed(Personality::STRICT);
        let client = bench.client();
        client.send(b"GET /panic HTTP/1.1\r\nHost: h\r\n\r\n");
        let unfinished = bench.client();
        unfinished.send(b"GET /un");
        bench.stop_at(100);
        let counters = bench.run_as(mode);
        let events = taken(&events);
        let seen: Vec<_> = events
            .iter()
            .map(|event| (event.request.as_str(), event.status, event.refusal))
            .collect();
        assert_eq!(
            seen,
            [
                (
                    "GET /panic Some(HTTP/1.1)",
                    Some(500),
                    Some(CloseReason::HandlerFailed)
                ),
                ("GET /un None", Some(503), Some(CloseReason::Stopped)),
            ]
        );
        assert_eq!(counters.responses(5), 2);
        assert_eq!(counters.refusals(CloseReason::Stopped), 1);
    }
}

#[test]
fn a_panic_of_the_observer_affects_no_request() {
    let mut bench = Bench::new(Personality::STRICT);
    let sink = Callback(|_: &ResponseEvent<'_>| panic!("as asked"));
    bench.settings.sink = Some(Arc::new(Chain { sink, rest: None }));
    let client = bench.client();
    client.send(GET);
    let again = client.clone();
    bench.at(10, move |_| again.send(GET));
    let counters = bench.run_until(100);
    assert_eq!((count_ok(&client), counters.responses(2)), (2, 2));
}

#[test]
fn a_panic_of_one_observer_hides_no_event_from_the_others() {
    let (mut bench, events) = Bench::observed(Personality::STRICT);
    bench.settings.sink = Some(Arc::new(Chain {
        sink: Callback(|_: &ResponseEvent<'_>| panic!("as asked")),
        rest: bench.settings.sink.take(),
    }));
    let client = bench.client();
    client.send(GET);
    bench.run_until(100);
    assert_eq!((count_ok(&client), taken(&events).len()), (1, 1));
}
