//! Clients that reset their connection, shut down their end, or send more, while their request is in progress.

use super::*;

impl Bench {
    /// Runs the server with a handler that never responds.
    fn serve_without_response(&self, diary: &Rc<Diary>) -> Counters {
        self.serve(|_| {
            let witness = Witness::new(diary, &self.fake);
            async move {
                pending::<()>().await;
                witness.end();
                Response::new("never".to_string())
            }
        })
    }
}

#[test]
fn a_reset_drops_the_future_promptly() {
    for personality in ALL {
        let bench = Bench::new(personality);
        let (client, other) = (bench.client(), bench.client());
        client.send(GET);
        other.send(GET);
        bench.at(50, move |_| client.reset());
        let diary = Rc::new(Diary::default());
        let late = Rc::clone(&diary);
        bench.at(60, move |_| assert_eq!(late.dropped.borrow().len(), 1));
        bench.at(70, move |_| other.reset());
        bench.stop_at(100);
        let counters = bench.serve_without_response(&diary);
        assert_eq!(diary.dropped.borrow().len(), 2);
        assert_eq!(counters.closed(CloseReason::ClientGone), 2);
    }
}

#[test]
fn a_half_closed_connection_gets_its_response_without_extra_waits() {
    for personality in NOT_BLIND {
        let bench = Bench::new(personality);
        let client = bench.client();
        client.send(&get("/20000"));
        client.end();
        bench.waits_at_most(4, 1_000, 19_000);
        bench.at(20_100, move |_| {
            assert_eq!(count_ok(&client), 1);
            assert!(client.is_closed());
        });
        bench.stop_at(21_000);
        let counters = bench.serve(later);
        assert_eq!(counters.closed(CloseReason::ClientClosed), 1);
    }
}

/// A connection that isn't read isn't polled, so it is checked now and then.
#[test]
fn a_reset_is_found_although_the_connection_is_not_read() {
    for personality in NOT_BLIND {
        for pipelined in [0, 10_000] {
            let bench = Bench::new(personality);
            let (client, other) = (bench.client(), bench.client());
            client.send(GET);
            other.send(&GET.repeat(1 + pipelined));
            client.send(&GET.repeat(pipelined));
            for client in [&client, &other] {
                if pipelined == 0 {
                    client.end();
                }
            }
            let resetting = client.clone();
            bench.at(1_000, move |_| resetting.reset());
            let diary = Rc::new(Diary::default());
            let late = Rc::clone(&diary);
            bench.at(11_500, move |_| assert_eq!(late.dropped.borrow().len(), 1));
            bench.at(12_000, move |_| other.reset());
            bench.waits_at_most(10, 25_000, 85_000);
            bench.stop_at(90_000);
            let counters = bench.serve_without_response(&diary);
            assert_eq!(counters.closed(CloseReason::ClientGone), 2);
        }
    }
}

#[test]
fn a_half_closed_connection_is_closed_at_its_timeout() {
    let mut bench = Bench::new(Personality::WASI_COMMON);
    bench.settings.limits.half_closed_timeout = Duration::from_secs(3);
    let client = bench.client();
    client.send(&get("/20000"));
    client.end();
    let early = client.clone();
    bench.at(2_900, move |_| assert!(!early.is_closed()));
    bench.at(3_200, move |_| assert!(client.is_closed()));
    bench.stop_at(4_000);
    let counters = bench.serve(later);
    assert_eq!(counters.closed(CloseReason::HalfClosedTimeout), 1);
}

/// When enough input is kept, the connection must not be registered for reading: a level-triggered poll would report
/// the rest of the input again and again.
#[test]
fn input_behind_a_waiting_request_is_kept_up_to_a_bound_without_extra_waits() {
    for personality in NOT_BLIND {
        let bench = Bench::new(personality);
        let client = bench.client();
        client.send(&get("/20000"));
        let sender = client.clone();
        bench.at(10, move |_| sender.send(&GET.repeat(10_000)));
        bench.waits_at_most(4, 1_000, 19_000);
        let unread = client.clone();
        bench.at(1_000, move |_| {
            let read = GET.len() * 10_000 - unread.unread();
            assert!(read > 0 && read <= 64 << 10, "{read}");
        });
        client.set_room(1 << 30);
        bench.stop_at(30_000);
        let counters = bench.serve(later);
        assert_eq!(counters.requests, 10_001);
        assert_eq!(count_ok(&client), 10_001);
    }
}
