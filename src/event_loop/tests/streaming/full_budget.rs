//! Streams while the memory budget is full.

use super::*;

/// A part that the server holds alone: so it is counted.
fn counted(length: usize) -> Bytes {
    vec![b'x'; length].into()
}

const CLIENTS: usize = 40;

/// Beyond the budget there are: the part that has filled it, and for each response 4 KiB, or one part if that is
/// longer, with its framing and a head.
#[test]
fn clients_that_take_nothing_of_a_stream_hold_4_kib_or_one_part_each_beyond_the_budget() {
    const FRAMING: usize = 512;
    for length in [100, 1_000, 4_096, 16_000, 60_000] {
        let mut bench = Bench::new(Personality::WASI_COMMON);
        bench.settings.limits.max_held = 200_000;
        let max_held = bench.settings.limits.max_held;
        let clients: Vec<Client> = (0..CLIENTS).map(|_| bench.client()).collect();
        for (number, client) in clients.iter().enumerate() {
            // Their systems take different numbers of bytes, so parts are written in pieces.
            client.set_room(10_000 + 777 * number);
            client.send(GET);
        }
        let all = clients.clone();
        bench.at(1_000, move |_| all.iter().for_each(Client::reset));
        bench.stop_at(1_500);
        let counters = bench.serve(async |_: Request| {
            Response::new(Endless::new(&Rc::default(), move || counted(length)))
        });
        let most = max_held + length + CLIENTS * (length.max(4 << 10) + FRAMING);
        let held = usize::try_from(counters.held_peak).unwrap_or(usize::MAX);
        assert!(
            (max_held..most).contains(&held),
            "parts of {length}: {held} of {most}"
        );
        assert_eq!(counters.closed(CloseReason::ClientGone), CLIENTS as u64);
    }
}

#[test]
fn a_stream_goes_on_beside_those_that_fill_the_budget() {
    for length in [10, 4_000, 60_000] {
        let mut bench = Bench::new(Personality::WASI_COMMON);
        bench.settings.limits.max_held = 100_000;
        let clients: Vec<Client> = (0..10).map(|_| bench.client()).collect();
        for client in &clients {
            client.set_room(1_000);
            client.send(&get("/others"));
        }
        let taker = bench.client();
        let sender = taker.clone();
        bench.at(100, move |_| sender.send(&get("/taker")));
        let (all, reader) = (clients.clone(), taker.clone());
        for step in 1..50 {
            let reader = taker.clone();
            bench.at(100 + step * 10, move |_| drop(reader.receive()));
        }
        let polls = Rc::new(Cell::new(0));
        let polled = Rc::clone(&polls);
        bench.at(700, move |_| {
            assert!(polled.get() > 40, "{} parts of {length}", polled.get());
            all.iter().for_each(Client::reset);
            reader.reset();
        });
        bench.stop_at(1_000);
        bench.serve(async |request: Request| {
            let (length, polls) = match request.uri().path() {
                "/taker" => (length, Rc::clone(&polls)),
                _ => (60_000, Rc::default()),
            };
            Response::new(Endless::new(&polls, move || counted(length)))
        });
    }
}
