//! The event of a request that upgraded its connection.

use std::sync::{Arc, Mutex};

use super::*;
use crate::observe::{Callback, Chain, ResponseEvent};

/// The bytes received, the bytes sent, how many of these came after the head, and whether the response is complete.
type Event = (u64, u64, u64, bool);

/// The event of a connection that was upgraded, and what its client has received.
fn event_of<F>(program: F, at: impl Fn(&Bench, &Client)) -> (Event, Vec<u8>)
where
    F: AsyncFn(Upgraded) -> io::Result<()> + Clone + 'static,
{
    let mut bench = Bench::new(Personality::STRICT);
    let events = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&events);
    let sink = Callback(move |event: &ResponseEvent<'_>| {
        let bytes = (event.bytes_in(), event.bytes_out(), event.body_bytes_out());
        let event = (bytes.0, bytes.1, bytes.2, event.is_complete());
        seen.lock().expect("not poisoned").push(event);
    });
    bench.settings.sink = Some(Arc::new(Chain { sink, rest: None }));
    let client = bench.client();
    client.send(&[UPGRADE, b"hello"].concat());
    at(&bench, &client);
    bench.stop_at(1000);
    bench.serve_upgraded(program);
    let events = events.lock().expect("not poisoned");
    assert_eq!(events.len(), 1, "{events:?}");
    (events[0], client.receive())
}

fn end_at_100(bench: &Bench, client: &Client) {
    let client = client.clone();
    bench.at(100, move |_| client.end());
}

#[test]
fn it_has_the_bytes_of_both_protocols_however_the_connection_ends() {
    let close_and_wait = async |mut upgraded: Upgraded| {
        write(&mut upgraded, b"hello").await?;
        close(&mut upgraded).await?;
        let mut buffer = [0; 100];
        while read(&mut upgraded, &mut buffer).await? > 0 {}
        Ok(())
    };
    let echo_and_close = async |mut upgraded: Upgraded| {
        let mut buffer = [0; 100];
        let length = read(&mut upgraded, &mut buffer).await?;
        write(&mut upgraded, &buffer[..length]).await?;
        while read(&mut upgraded, &mut buffer).await? > 0 {}
        close(&mut upgraded).await
    };
    let events = [
        event_of(echo, end_at_100),
        event_of(close_and_wait, end_at_100),
        event_of(echo_and_close, end_at_100),
    ];
    for (number, (event, received)) in events.into_iter().enumerate() {
        let sent = UPGRADE.len() as u64 + 5;
        assert_eq!(event, (sent, received.len() as u64, 5, true), "{number}");
    }
}

#[test]
fn it_is_not_complete_if_the_connection_fails() {
    let reset = |bench: &Bench, client: &Client| {
        let client = client.clone();
        bench.at(100, move |_| client.reset());
    };
    let (event, _) = event_of(echo, reset);
    assert!(!event.3, "{event:?}");
}
