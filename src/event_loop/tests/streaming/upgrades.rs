//! Upgraded connections.

mod events;
mod full_budget;
mod futures;

use std::io::{self, ErrorKind};

use futures_io::{AsyncRead, AsyncWrite};
use http::StatusCode;

use super::*;
use crate::executor::spawn;
use crate::upgrade::{Upgraded, upgrade};

const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";

/// The errors and ends that programs have seen.
type Seen = Rc<RefCell<Vec<String>>>;

async fn read(upgraded: &mut Upgraded, buffer: &mut [u8]) -> io::Result<usize> {
    poll_fn(|cx| Pin::new(&mut *upgraded).poll_read(cx, buffer)).await
}

async fn write(upgraded: &mut Upgraded, mut data: &[u8]) -> io::Result<()> {
    while !data.is_empty() {
        let written = poll_fn(|cx| Pin::new(&mut *upgraded).poll_write(cx, data)).await?;
        data = &data[written..];
    }
    Ok(())
}

async fn close(upgraded: &mut Upgraded) -> io::Result<()> {
    poll_fn(|cx| Pin::new(&mut *upgraded).poll_close(cx)).await
}

/// Sends everything back, until the client ends its stream.
async fn echo(mut upgraded: Upgraded) -> io::Result<()> {
    let mut buffer = [0; 5000];
    loop {
        match read(&mut upgraded, &mut buffer).await? {
            0 => return Ok(()),
            length => write(&mut upgraded, &buffer[..length]).await?,
        }
    }
}

fn switching() -> Response<String> {
    let response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header("upgrade", "echo");
    response.body(String::new()).expect("a valid head")
}

impl Bench {
    /// Upgrades each connection, and runs the program on it. Returns what the programs have returned.
    fn serve_upgraded<F>(&self, program: F) -> (Counters, Vec<String>)
    where
        F: AsyncFn(Upgraded) -> io::Result<()> + Clone + 'static,
    {
        let seen = Seen::default();
        let results = Rc::clone(&seen);
        let counters = self.serve(move |mut request: Request| {
            if !request.headers().contains_key("upgrade") {
                return std::future::ready(Response::new("hello!".to_string()));
            }
            let (upgrade, results) = (upgrade(&mut request), Rc::clone(&results));
            let program = program.clone();
            spawn(async move {
                let result = match upgrade.await {
                    Ok(upgraded) => match program(upgraded).await {
                        Ok(()) => "ok".to_string(),
                        Err(error) => format!("{:?}", error.kind()),
                    },
                    Err(error) => error.to_string(),
                };
                results.borrow_mut().push(result);
            });
            std::future::ready(switching())
        });
        let seen = seen.borrow().clone();
        (counters, seen)
    }
}

/// What the client has received after the response's head.
fn after_head(client: &Client) -> Vec<u8> {
    let received = client.receive();
    assert!(
        received.starts_with(b"HTTP/1.1 101 Switching Protocols\r\n"),
        "{}",
        received.escape_ascii()
    );
    let head = received.windows(4).position(|it| it == b"\r\n\r\n");
    received[head.expect("a whole head") + 4..].to_vec()
}

#[test]
fn bytes_pass_in_both_directions_in_every_runtime() {
    for personality in ALL {
        let bench = Bench::new(personality);
        let clients: Vec<Client> = (0..20).map(|_| bench.client()).collect();
        for client in &clients {
            client.send(&[UPGRADE, b"after the head, "].concat());
        }
        for (number, client) in clients.iter().enumerate() {
            for time in 1..10 {
                let client = client.clone();
                bench.at(time * 50 + number as u64, move |_| client.send(b"later, "));
            }
            let client = client.clone();
            bench.at(900, move |_| client.end());
        }
        let (counters, seen) = {
            bench.stop_at(1_000);
            bench.serve_upgraded(echo)
        };
        for client in &clients {
            let expected = format!("after the head, {}", "later, ".repeat(9));
            assert_eq!(after_head(client), expected.as_bytes());
        }
        assert_eq!(counters.closed(CloseReason::Upgraded), 20);
        assert_eq!((counters.requests, seen), (20, vec!["ok".to_string(); 20]));
    }
}

/// No timeout of HTTP holds, and a level-triggered poll doesn't make the loop spin.
#[test]
fn a_silent_client_is_kept_without_extra_waits() {
    for personality in NOT_BLIND {
        let bench = Bench::new(personality);
        let client = bench.client();
        client.send(UPGRADE);
        bench.waits_at_most(4, 1_000, 990_000);
        let late = client.clone();
        bench.at(1_000_000, move |_| late.send(b"still there"));
        let late = client.clone();
        bench.at(1_000_100, move |_| late.end());
        bench.stop_at(1_001_000);
        let (counters, _) = bench.serve_upgraded(echo);
        assert_eq!(after_head(&client), b"still there");
        assert_eq!(counters.closed(CloseReason::Upgraded), 1);
    }
}

/// What a task writes is sent in the iteration in which it was polled.
#[test]
fn an_echo_takes_one_wait() {
    for personality in NOT_BLIND {
        let bench = Bench::new(personality);
        let client = bench.client();
        client.send(UPGRADE);
        for time in 1..=50 {
            let client = client.clone();
            bench.at(time * 100, move |_| client.send(b"again, "));
        }
        // One for each message, and two for the deadlines.
        bench.waits_at_most(52, 50, 5_050);
        let late = client.clone();
        bench.at(5_100, move |_| late.end());
        bench.stop_at(5_200);
        let (counters, _) = bench.serve_upgraded(echo);
        assert_eq!(after_head(&client), b"again, ".repeat(50));
        assert_eq!(counters.closed(CloseReason::Upgraded), 1);
    }
}

/// A peer sends 1 MiB while the handler doesn't read. Then the handler reads all of it.
#[test]
fn input_is_read_as_far_as_it_is_taken() {
    for personality in NOT_BLIND {
        let bench = Bench::new(personality);
        let client = bench.client();
        let sent: Vec<u8> = (0..1 << 20).map(|at: u32| (at / 7) as u8).collect();
        client.send(&[UPGRADE, &sent].concat());
        client.end();
        client.set_room(2 << 20);
        bench.waits_at_most(6, 1_000, 9_000);
        let (unread, handle) = (client.clone(), bench.handle.clone());
        bench.at(5_000, move |_| {
            let read = UPGRADE.len() + (1 << 20) - unread.unread();
            // What waits to be read, and what is kept after it.
            assert!(
                read > 32 << 10 && read <= (64 << 10) + UPGRADE.len(),
                "{read}"
            );
            assert!(
                handle.counters().held <= 80 << 10,
                "{}",
                handle.counters().held
            );
        });
        bench.stop_at(20_000);
        let (counters, seen) = bench.serve_upgraded(async |upgraded| {
            sleep(Duration::from_secs(10)).await;
            echo(upgraded).await
        });
        assert_eq!(seen, ["ok"]);
        assert!(after_head(&client) == sent);
        assert!(counters.held_peak <= 256 << 10, "{}", counters.held_peak);
    }
}

/// A peer that takes nothing: little is held, and the write fails.
#[test]
fn output_that_is_not_taken_fails_the_write() {
    for personality in ALL {
        let bench = Bench::new(personality);
        let client = bench.client();
        client.set_room(1_000);
        client.send(UPGRADE);
        let (early, handle) = (client.clone(), bench.handle.clone());
        bench.at(9_900, move |_| {
            assert!(!early.is_closed());
            let held = handle.counters().held;
            assert!((32 << 10..=140 << 10).contains(&held), "{held}");
        });
        bench.at(10_200, move |_| assert!(client.is_closed()));
        bench.stop_at(11_000);
        let (counters, seen) =
            bench.serve_upgraded(async |mut upgraded| write(&mut upgraded, &[b'x'; 1 << 20]).await);
        assert_eq!(seen, [format!("{:?}", ErrorKind::TimedOut)]);
        assert_eq!(counters.closed(CloseReason::WriteTimeout), 1);
    }
}

/// No rate holds: one byte in each window is enough.
#[test]
fn a_client_that_takes_little_is_kept() {
    for min_rate in [0, 500] {
        let mut bench = Bench::new(Personality::STRICT);
        bench.settings.limits.min_rate = min_rate;
        let client = bench.client();
        client.set_room(1_000);
        client.send(UPGRADE);
        for step in 1..20 {
            let client = client.clone();
            bench.at(step * 9_000, move |_| drop(client.receive_at_most(400)));
        }
        let open = client.clone();
        bench.at(180_500, move |_| assert!(!open.is_closed()));
        bench.at(182_000, move |_| assert!(client.is_closed()));
        bench.stop_at(183_000);
        let (counters, _) =
            bench.serve_upgraded(async |mut upgraded| write(&mut upgraded, &[b'x'; 100_000]).await);
        assert_eq!(counters.closed(CloseReason::WriteTimeout), 1);
    }
}

#[test]
fn close_sends_everything_and_reading_goes_on() {
    for personality in ALL {
        let bench = Bench::new(personality);
        let client = bench.client();
        client.send(UPGRADE);
        client.set_room(1_000);
        let received = Rc::new(RefCell::new(Vec::new()));
        for step in 1..200 {
            let (client, received) = (client.clone(), Rc::clone(&received));
            bench.at(step * 10, move |_| {
                received.borrow_mut().extend(client.receive())
            });
        }
        let late = client.clone();
        bench.at(3_000, move |_| {
            assert!(late.is_at_end() && !late.is_reset());
            late.send(b"and ");
        });
        let late = client.clone();
        bench.at(50_000, move |_| late.send(b"much later"));
        bench.at(50_100, move |_| client.end());
        bench.stop_at(51_000);
        let (counters, seen) = bench.serve_upgraded(async |mut upgraded| {
            write(&mut upgraded, &[b'x'; 100_000]).await?;
            close(&mut upgraded).await?;
            let refused = write(&mut upgraded, b"y")
                .await
                .map_err(|error| error.kind());
            assert_eq!(refused, Err(ErrorKind::BrokenPipe));
            let (mut all, mut buffer) = (Vec::new(), [0; 100]);
            loop {
                match read(&mut upgraded, &mut buffer).await? {
                    0 => break,
                    length => all.extend_from_slice(&buffer[..length]),
                }
            }
            assert_eq!(all, b"and much later");
            close(&mut upgraded).await
        });
        assert!(received.borrow().ends_with(&[b'x'; 100_000]));
        assert_eq!(seen, ["ok"]);
        assert_eq!(counters.closed(CloseReason::Upgraded), 1);
    }
}

#[test]
fn a_dropped_connection_sends_everything_and_lingers() {
    for personality in ALL {
        let bench = Bench::new(personality);
        let client = bench.client();
        client.send(UPGRADE);
        for step in 1..50 {
            let client = client.clone();
            bench.at(step * 10, move |_| client.send(&[b'x'; 10_000]));
        }
        let sending = client.clone();
        bench.at(600, move |_| {
            assert!(sending.is_at_end() || !sending.receive().is_empty());
            assert!(!sending.is_reset() && !sending.is_closed());
            sending.end();
        });
        let received = Rc::new(RefCell::new(Vec::new()));
        let (early, keep) = (client.clone(), Rc::clone(&received));
        bench.at(500, move |_| *keep.borrow_mut() = after_head(&early));
        bench.stop_at(1_000);
        let (counters, _) =
            bench.serve_upgraded(async |mut upgraded| write(&mut upgraded, &[b'x'; 10_000]).await);
        assert_eq!(received.borrow().len(), 10_000);
        assert_eq!(counters.closed(CloseReason::Upgraded), 1);
    }
}

#[test]
fn the_program_gets_an_error_after_a_reset() {
    for personality in ALL {
        let bench = Bench::new(personality);
        let (reading, full) = (bench.client(), bench.client());
        reading.send(UPGRADE);
        full.send(&[UPGRADE, &[b'x'; 1 << 20]].concat());
        bench.at(50, move |_| reading.reset());
        bench.at(60, move |_| full.reset());
        bench.stop_at(5_000);
        let (counters, seen) = bench.serve_upgraded(async |mut upgraded| {
            let mut buffer = [0; 10];
            let length = read(&mut upgraded, &mut buffer).await?;
            assert_eq!(length, 10);
            // The queue of the second client is full, so its connection isn't read. Only a report of the reactor or a
            // write shows the reset.
            sleep(Duration::from_secs(2)).await;
            write(&mut upgraded, b"y").await?;
            sleep(Duration::from_secs(1)).await;
            write(&mut upgraded, b"y").await
        });
        let reset = format!("{:?}", ErrorKind::ConnectionReset);
        assert_eq!(seen, [reset.clone(), reset]);
        assert_eq!(counters.closed(CloseReason::ClientGone), 2);
    }
}

/// The program has closed its output, and all of it was sent. What it still reads isn't complete: the reset must not look
/// like the end of the client's stream.
#[test]
fn a_reset_after_the_output_was_closed_is_an_error() {
    for personality in ALL {
        let bench = Bench::new(personality);
        let client = bench.client();
        client.send(&[UPGRADE, b"only a part"].concat());
        bench.at(1_000, move |_| client.reset());
        bench.stop_at(15_000);
        let (counters, seen) = bench.serve_upgraded(async |mut upgraded| {
            write(&mut upgraded, b"send me all").await?;
            close(&mut upgraded).await?;
            let mut buffer = [0; 100];
            while read(&mut upgraded, &mut buffer).await? > 0 {}
            Ok(())
        });
        assert_eq!(seen, [format!("{:?}", ErrorKind::ConnectionReset)]);
        assert_eq!(counters.closed(CloseReason::ClientGone), 1);
    }
}

/// The program has dropped the connection before the reset. So its end is planned, as after a last response: it is an
/// error only if the client hasn't taken all output.
#[test]
fn a_reset_of_a_dropped_connection_is_an_error_until_all_is_sent() {
    for personality in ALL {
        for (length, reason) in [(10, CloseReason::Upgraded), (30_000, CloseReason::IoError)] {
            let bench = Bench::new(personality);
            let client = bench.client();
            client.set_room(1_000);
            client.send(UPGRADE);
            bench.at(1_000, move |_| client.reset());
            bench.stop_at(15_000);
            let (counters, seen) =
                bench.serve_upgraded(async move |mut it| write(&mut it, &vec![b'x'; length]).await);
            assert_eq!(seen, ["ok"]);
            assert_eq!(counters.closed(reason), 1, "{personality:?}, {length}");
        }
    }
}

#[test]
fn a_stop_waits_for_upgraded_connections_until_its_deadline() {
    for personality in ALL {
        let bench = Bench::new(personality);
        let (short, long) = (bench.client(), bench.client());
        short.send(UPGRADE);
        long.send(UPGRADE);
        let (listener, handle) = (bench.listener, bench.handle.clone());
        bench.at(100, move |fake| {
            handle.stop_within(Duration::from_secs(5));
            let _ = fake.connect(listener);
        });
        let late = short.clone();
        bench.at(4_000, move |_| late.send(b"late"));
        let late = short.clone();
        bench.at(4_100, move |_| late.end());
        let (counters, seen) = bench.serve_upgraded(echo);
        assert_eq!(after_head(&short), b"late");
        assert!(long.is_closed());
        // The program of the other one is dropped, as all tasks are.
        assert_eq!(seen, ["ok"]);
        assert_eq!(counters.closed(CloseReason::Upgraded), 1);
        assert!(bench.fake.now() < 5_500_000_000, "{}", bench.fake.now());
    }
}

#[test]
fn an_upgraded_connection_is_neither_evicted_nor_a_request() {
    let mut bench = Bench::new(Personality::WASI_COMMON);
    bench.settings.limits.max_connections = 3;
    bench.settings.limits.max_requests = 1;
    let upgraded = [bench.client(), bench.client()];
    upgraded.iter().for_each(|client| client.send(UPGRADE));
    let listener = bench.listener;
    for step in 1..5 {
        bench.at(step * 1_000, move |fake| {
            let client = fake.connect(listener);
            client.send(GET);
            fake.after(Duration::from_millis(500), move |_| {
                assert_eq!(count_ok(&client), 1)
            });
        });
    }
    let open = upgraded.clone();
    bench.at(9_000, move |_| {
        assert!(open.iter().all(|client| !client.is_closed()));
        open.iter().for_each(Client::end);
    });
    bench.stop_at(10_000);
    let (counters, _) = bench.serve_upgraded(echo);
    assert_eq!(counters.closed(CloseReason::Upgraded), 2);
    // The first of the other clients took the free place, each later one that of the client before it.
    assert_eq!(counters.closed(CloseReason::Evicted), 3);
}
