//! Panics cost only their own connection.

use super::*;

#[test]
fn a_panic_closes_one_connection_only() {
    for personality in ALL {
        let bench = Bench::new(personality);
        let clients: Vec<Client> = (0..5).map(|_| bench.client()).collect();
        let targets = ["/call", "/poll", "/body", "/late-body", "/drop"];
        for (client, target) in clients.iter().zip(targets) {
            client.send(&get(target));
        }
        let other = bench.client();
        let late = other.clone();
        bench.at(50, move |_| late.send(GET));
        bench.stop_at(100);
        let counters = bench.serve(|request: Request| {
            let target = request.uri().path().to_string();
            assert_ne!(target, "/call", "as asked");
            async move {
                let bomb = Bomb(target == "/drop");
                sleep(Duration::from_millis(1)).await;
                assert_ne!(target, "/poll", "as asked");
                drop(bomb);
                let (pieces, count) = match &*target {
                    "/body" => (0, 9),
                    "/late-body" => (3, 9),
                    _ => (9, 2),
                };
                let pieces = (0..count).map(move |number| {
                    assert_ne!(number, pieces, "as asked");
                    "piece"
                });
                Response::new(AnyBody::from(crate::body::Chunks::new(pieces)))
            }
        });
        let texts: Vec<String> = clients.iter().map(text).collect();
        for (text, status) in texts.iter().zip([500, 500, 200, 200, 500]) {
            assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
        }
        for text in &texts[2..4] {
            assert!(!text.ends_with("0\r\n\r\n"), "{text}");
        }
        assert_eq!(texts[3].matches("piece").count(), 3);
        assert_eq!(count_ok(&other), 1);
        assert_eq!(counters.closed(CloseReason::HandlerFailed), 3);
        assert_eq!(counters.closed(CloseReason::ResponseFailed), 2);
    }
}

/// This holds whether or not the request's body has arrived, and whether or not the handler has waited for it.
#[test]
fn a_panic_within_a_request_gets_500() {
    for personality in ALL {
        let bench = Bench::new(personality);
        let requests = [
            ("/unread", ""),
            ("/unread", "ab"),
            ("/read", "ab"),
            ("/read", "abc"),
        ];
        let clients = requests.map(|(target, body)| {
            let client = bench.client();
            let head = format!("POST {target} HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n");
            client.send(format!("{head}{body}").as_bytes());
            client
        });
        bench.stop_at(100);
        let counters = bench.serve(|request: Request| async move {
            let reads = request.uri().path() == "/read";
            let mut body = request.into_body();
            if reads {
                let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
                assert!(frame.is_none(), "as asked");
            }
            panic!("as asked");
            #[expect(unreachable_code, reason = "the type of the handler")]
            hello(http::Request::new(body)).await
        });
        for client in clients {
            let text = text(&client);
            assert!(text.starts_with("HTTP/1.1 500 "), "{text}");
        }
        assert_eq!(counters.closed(CloseReason::HandlerFailed), 4);
    }
}

/// Panics when it is dropped, if it holds `true`.
struct Bomb(bool);

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(!self.0, "as asked");
    }
}

/// The panic is also caught if the future is dropped because its client has reset the connection.
#[test]
fn a_future_that_panics_when_it_is_dropped_harms_no_other_connection() {
    let bench = Bench::new(Personality::WASI_COMMON);
    let (client, other) = (bench.client(), bench.client());
    client.send(GET);
    bench.at(10, move |_| client.reset());
    let late = other.clone();
    bench.at(20, move |_| late.send(&get("/hello")));
    bench.stop_at(100);
    bench.serve(|request: Request| async move {
        if request.uri().path() == "/" {
            let _bomb = Bomb(true);
            pending::<()>().await;
        }
        Response::new("hello!".to_string())
    });
    assert_eq!(count_ok(&other), 1);
}
