//! Tests without a server: see `mini_http::test`.

use futures_lite::StreamExt;
use mini_http::test::run;

use super::*;

/// An app, and the messages 1 to `count` in its room.
fn app(count: u64) -> Rc<App<Local>> {
    let room = Rc::new(Room::default());
    (1..=count).for_each(|id| room.add(id, &format!("message {id}")));
    // The server of the handle doesn't run.
    let server = Server::new("127.0.0.1:0").expect("a port");
    Rc::new(App {
        handle: server.handle(),
        bus: Local::new(Rc::clone(&room)),
        room,
    })
}

fn ask(app: &Rc<App<Local>>, method: &str, target: &str, body: &'static str) -> (u16, String) {
    let request = Request::builder().method(method).uri(target).body(body);
    let request = request.expect("a request");
    let response = run(|request| respond(Rc::clone(app), request), request);
    let text = String::from_utf8_lossy(response.body()).into_owned();
    (response.status().as_u16(), text)
}

/// The first `count` events.
fn first_events(app: &App<Local>, after: u64, count: usize) -> String {
    let events = events(Rc::clone(&app.room), after).take(count);
    let handler = async |_| Response::new(AnyBody::from(events.collect::<Vec<_>>().await.concat()));
    let response = run(handler, Request::new(()));
    String::from_utf8_lossy(response.body()).into_owned()
}

#[test]
fn a_message_comes_to_a_long_poll() {
    let app = app(0);
    let (status, id) = ask(&app, "POST", "/messages", "say \"hello\"\n");
    assert_eq!(status, 201);
    let id = id.trim();
    let expected = format!("[{{\"id\":{id},\"text\":\"say \\\"hello\\\"\\n\"}}]\n");
    assert_eq!(ask(&app, "GET", "/messages?after=0", ""), (200, expected));
    // In virtual time, the long poll takes none.
    let target = format!("/messages?after={id}");
    assert_eq!(ask(&app, "GET", &target, ""), (200, "[]\n".into()));
}

/// Whatever has GET has HEAD, too (RFC 9110 §9.1).
#[test]
fn head_gets_the_status_of_get() {
    let app = app(1);
    for target in ["/", "/events", "/messages?after=0"] {
        assert_eq!(ask(&app, "HEAD", target, ""), (200, String::new()));
    }
}

#[test]
fn a_message_that_is_none_is_refused() {
    let app = app(0);
    assert_eq!(ask(&app, "POST", "/messages", " \n").0, 400);
    let long = "x".repeat(LONGEST as usize + 1).leak();
    assert_eq!(ask(&app, "POST", "/messages", long).0, 413);
    assert_eq!(ask(&app, "POST", "/messages", &long[1..]).0, 201);
}

#[test]
fn a_stream_begins_after_the_last_event() {
    let app = app(3);
    let expected = "id: 2\ndata: {\"id\":2,\"text\":\"message 2\"}\n\n\
                    id: 3\ndata: {\"id\":3,\"text\":\"message 3\"}\n\n";
    assert_eq!(first_events(&app, 1, 2), expected);
    assert!(first_events(&app, 0, 1).starts_with("id: 1\n"));
}

#[test]
fn a_client_learns_that_it_has_missed_messages() {
    let app = app(150);
    // 100 are left, from the 51st on. The 50th is the last one whose successors are all there.
    assert!(first_events(&app, 49, 1).starts_with("event: missed\ndata:\n\nid: 51\n"));
    assert!(first_events(&app, 50, 1).starts_with("id: 51\n"));
    assert!(first_events(&app, 0, 1).starts_with("id: 51\n"));
}

/// A hundred and more may come before the stream's task goes on.
#[test]
fn messages_that_are_forgotten_while_a_client_waits_are_missed() {
    let app = app(10);
    let handler = async |_| {
        let mut events = Box::pin(events(Rc::clone(&app.room), 10));
        let burst = async {
            (11..=300).for_each(|id| app.room.add(id, &format!("message {id}")));
        };
        let (event, ()) = futures_lite::future::zip(events.next(), burst).await;
        Response::new(AnyBody::from(event.unwrap_or_default()))
    };
    let response = run(handler, Request::new(()));
    let text = String::from_utf8_lossy(response.body());
    assert!(
        text.starts_with("event: missed\ndata:\n\nid: 201\n"),
        "{text}"
    );
}
