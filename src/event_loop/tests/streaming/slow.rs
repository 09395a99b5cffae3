//! Clients that take a response slowly, but fast enough for the limits.

use std::io::Read;

use super::*;
use crate::body::{Chunks, Reader};

const GIGABYTE: u64 = 1_000_000_000;

/// How long a client waits between two reads.
const PAUSE: Duration = Duration::from_millis(100);
/// How many bytes a client takes at once. With this pause, it takes 1 MB/s.
const PART: usize = 100_000;

/// A client that takes a response slowly. It counts the bytes, and keeps the last of them.
struct Taker {
    client: Client,
    taken: Cell<u64>,
    end: RefCell<Vec<u8>>,
}

impl Taker {
    fn new(bench: &Bench, target: &str) -> Rc<Self> {
        let client = bench.client();
        client.set_room(2 * PART);
        client.send(&get(target));
        let taker = Rc::new(Self {
            client,
            taken: Cell::new(0),
            end: RefCell::default(),
        });
        taker.take_after(&bench.fake);
        taker
    }

    fn take_after(self: &Rc<Self>, fake: &Fake) {
        let taker = Rc::clone(self);
        fake.after(PAUSE, move |fake| {
            if taker.taken.get() + 200_000 < GIGABYTE {
                let taken = taker.client.skip(PART);
                taker.taken.set(taker.taken.get() + taken as u64);
            } else {
                let part = taker.client.receive_at_most(PART);
                taker.taken.set(taker.taken.get() + part.len() as u64);
                taker.end.borrow_mut().extend(part);
            }
            if !taker.client.is_at_end() && fake.now() < 1_100_000_000_000 {
                taker.take_after(fake);
            }
        });
    }

    fn check(&self) {
        let (taken, end) = (self.taken.get(), self.end.borrow());
        assert!(taken >= GIGABYTE, "{taken} bytes");
        assert!(end.ends_with(b"xxx") || end.ends_with(b"xxx\r\n0\r\n\r\n"));
    }
}

/// The download takes 17 minutes, in virtual time. Other clients, whose bodies are collected, are served all the while,
/// although more than half of the budget is in use at times.
#[test]
fn a_slow_client_gets_a_gigabyte_beside_others_that_get_no_503() {
    const OTHERS: u64 = 200;
    let mut bench = Bench::new(Personality::WASI_COMMON);
    bench.settings.limits.max_held = 320 << 10;
    let takers = ["/reader", "/shared"].map(|target| Taker::new(&bench, target));
    let served = Rc::new(Cell::new(0));
    let post = format!(
        "POST /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 100000\r\n\r\n{}",
        "y".repeat(100_000)
    );
    for number in 0..OTHERS {
        let (served, post, listener) = (Rc::clone(&served), post.clone(), bench.listener);
        bench.at(number * 5_000, move |fake| {
            let other = fake.connect(listener);
            other.set_room(1 << 20);
            other.send(post.as_bytes());
            fake.after(Duration::from_secs(1), move |_| {
                let ok = count_ok(&other);
                served.set(served.get() + ok as u64);
            });
        });
    }
    bench.stop_at(1_110_000);
    let shared = Bytes::from(vec![b'x'; 50_000]);
    let counters = bench.serve(async |request: Request| {
        let body: AnyBody = match request.uri().path() {
            "/reader" => Reader::sized(std::io::repeat(b'x').take(GIGABYTE), GIGABYTE).into(),
            "/shared" => Chunks::new(vec![shared.clone(); (GIGABYTE / 50_000) as usize]).into(),
            _ => request.into_body().bytes().await?.into(),
        };
        Ok::<_, IncomingError>(Response::new(body))
    });
    takers.iter().for_each(|taker| taker.check());
    assert_eq!(served.get(), OTHERS);
    assert_eq!(counters.closed(CloseReason::Overloaded), 0);
    assert_eq!(counters.closed(CloseReason::WriteTimeout), 0);
    assert!(counters.held_peak > 160 << 10, "{}", counters.held_peak);
    assert!(counters.held_peak <= 320 << 10, "{}", counters.held_peak);
}
