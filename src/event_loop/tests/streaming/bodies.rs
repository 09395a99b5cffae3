//! Bodies that stream, with backpressure.

use super::*;

#[test]
fn an_event_stream_is_not_held_back() {
    for personality in ALL {
        let bench = Bench::new(personality);
        let client = bench.client();
        client.send(GET);
        for step in 0..10 {
            let client = client.clone();
            bench.at(step * 100 + 50, move |_| {
                let text = text(&client);
                assert_eq!(text.matches("event\n").count(), 1, "{step}: {text}");
                assert_eq!(text.ends_with("0\r\n\r\n"), step == 9, "{step}: {text}");
            });
        }
        bench.stop_at(1_200);
        bench.serve(async |_: Request| Response::new(Events::new(10, Duration::from_millis(100))));
    }
}

#[test]
fn a_body_is_polled_only_while_there_is_room() {
    let bench = Bench::new(Personality::WASI_COMMON);
    let client = bench.client();
    client.set_room(50_000);
    client.send(GET);
    let pieces = Rc::new(Cell::new(0));
    let early = Rc::clone(&pieces);
    bench.at(100, move |_| {
        // The server collected 64 KiB for the first write. The client's system took 50,000 bytes of it, so there was
        // room again.
        let most = (50_000 + 2 * (64 << 10) + 10_000) / 10_000;
        assert!(early.get() <= most, "{} pieces", early.get());
    });
    let (taker, before) = (client.clone(), Rc::clone(&pieces));
    bench.at(200, move |_| {
        before.set(0);
        let _ = taker.receive();
    });
    let late = Rc::clone(&pieces);
    bench.at(300, move |_| {
        assert!((4..=8).contains(&late.get()), "{}", late.get())
    });
    bench.at(400, move |_| client.reset());
    bench.stop_at(500);
    let piece = || Bytes::from_static(&[b'x'; 10_000]);
    let counters = bench.serve(async |_: Request| Response::new(Endless::new(&pieces, piece)));
    assert_eq!(counters.closed(CloseReason::ClientGone), 1);
}

#[test]
fn an_upload_is_read_only_as_the_handler_takes_it() {
    for personality in ALL {
        let bench = Bench::new(personality);
        let client = bench.client();
        client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n");
        client.send(&vec![b'x'; 1_000_000]);
        let early = client.clone();
        bench.at(100, move |_| {
            let read = 1_000_000 - early.unread();
            assert!(read <= 128 << 10, "{read} bytes wait");
        });
        bench.stop_at(1_000);
        let counters = bench.serve(async |request: Request| {
            sleep(Duration::from_millis(200)).await;
            let mut body = request.into_body();
            let mut length = 0;
            while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                length += frame?.into_data().map_or(0, |data| data.len());
            }
            Ok::<_, IncomingError>(Response::new(length.to_string()))
        });
        let text = text(&client);
        assert!(text.ends_with("\r\n\r\n1000000"), "{text}");
        assert!(counters.held_peak <= 200_000, "{}", counters.held_peak);
    }
}
