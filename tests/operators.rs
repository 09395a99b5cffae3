//! What operators see, natively, over real sockets: events, access logs in files, counters and refusals. Also what a
//! request knows of its connection.
#![cfg(not(target_os = "wasi"))]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use mini_http::body::AnyBody;
use mini_http::http::StatusCode;
use mini_http::{
    AccessLog, CloseReason, ConnectionId, Counters, Handle, LocalAddr, LogFormat, Response, Result,
    Server,
};

/// Runs a server while `ask` sends requests to it.
fn with_server(
    address: &str,
    set: impl FnOnce(&mut Server),
    serve: impl FnOnce(&Server) -> Result<()> + Send,
    ask: impl FnOnce(SocketAddr, &Handle),
) -> Counters {
    let mut server = Server::new(address).expect("a free port");
    set(&mut server);
    let (at, handle) = (server.local_addr().expect("bound"), server.handle());
    thread::scope(|scope| {
        let server = &server;
        let running = scope.spawn(move || serve(server));
        ask(at, &handle);
        handle.stop();
        running.join().expect("no panic").expect("it ends well");
    });
    handle.counters()
}

/// Sends a request, and returns all that comes until the end of the connection.
fn exchange(address: SocketAddr, request: &str) -> String {
    let to = SocketAddr::from(([127, 0, 0, 1], address.port()));
    let mut stream = TcpStream::connect(to).expect("the server listens");
    let timeout = Some(Duration::from_secs(30));
    stream.set_read_timeout(timeout).expect("a timeout");
    stream.write_all(request.as_bytes()).expect("room");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("a response");
    response
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
}

fn hello(server: &Server) -> Result<()> {
    server.start(|_request| Response::new(b"hello!".to_vec()))
}

/// A path in the temporary folder. The file there is removed at the end.
struct File(PathBuf);

impl File {
    fn new(name: &str) -> Self {
        let name = format!("mini_http-{}-{name}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.0).expect("a log");
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn on_response_is_called_once_for_each_response() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let events = Arc::clone(&seen);
    let before = SystemTime::now() - Duration::from_secs(1);
    let set = move |server: &mut Server| {
        server.on_response(move |event| {
            let is_recent = event.began() >= before && event.began() <= SystemTime::now();
            events.lock().expect("not poisoned").push((
                event.connection_id(),
                event.method().into_owned(),
                event.target().into_owned(),
                event.status(),
                event.close_reason(),
                is_recent
                    && event
                        .peer_addr()
                        .is_some_and(|peer| peer.ip().is_loopback()),
            ));
        });
    };
    let counters = with_server("127.0.0.1:0", set, hello, |address, _| {
        exchange(address, &get("/a?b"));
        exchange(address, "GET /bad HTTP/1.1\r\nHost : h\r\n\r\n");
    });
    let seen = seen.lock().expect("not poisoned");
    let expected = [
        (
            ConnectionId(1),
            "GET".to_owned(),
            "/a?b".to_owned(),
            Some(StatusCode::OK),
            Some(CloseReason::ClientAskedClose),
            true,
        ),
        (
            ConnectionId(2),
            "GET".to_owned(),
            "/bad".to_owned(),
            Some(StatusCode::BAD_REQUEST),
            Some(CloseReason::BadRequest),
            true,
        ),
    ];
    assert_eq!(*seen, expected);
    assert_eq!((counters.responses(2), counters.responses(4)), (1, 1));
    assert_eq!(counters.refusals(CloseReason::BadRequest), 1);
    assert_eq!(counters.handler_times().count(), 1);
}

#[test]
fn a_log_is_opened_again_after_a_rotation() {
    let (file, old) = (File::new("rotated.log"), File::new("rotated.old"));
    let log = AccessLog::open(LogFormat::Common, &file.0).expect("a file");
    let set = |server: &mut Server| {
        server.access_log(&log);
    };
    with_server("127.0.0.1:0", set, hello, |address, _| {
        exchange(address, &get("/1"));
        fs::rename(&file.0, &old.0).expect("renamed");
        exchange(address, &get("/2"));
        // Lines are written after 100 ms at the latest, on a machine that isn't busy.
        let since = Instant::now();
        while old.lines().len() < 2 && since.elapsed() < Duration::from_secs(30) {
            thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(old.lines().len(), 2);
        log.reopen().expect("a new file");
        exchange(address, &get("/3"));
    });
    let (old, new) = (old.lines(), file.lines());
    assert_eq!((old.len(), new.len()), (2, 1), "{old:?} {new:?}");
    assert!(old[0].starts_with("127.0.0.1 - - [") && old[0].ends_with("\"GET /1 HTTP/1.1\" 200 6"));
    assert!(new[0].ends_with("] \"GET /3 HTTP/1.1\" 200 6"), "{new:?}");
    assert_eq!(log.lost(), 0);
    let other = AccessLog::new(LogFormat::Json, Vec::new());
    assert!(other.reopen().is_err(), "it has no path");
}

#[test]
fn responses_are_not_counted_unless_that_is_turned_on() {
    let counters = with_server(
        "127.0.0.1:0",
        |_| {},
        hello,
        |address, _| {
            exchange(address, &get("/"));
        },
    );
    assert_eq!((counters.requests, counters.responses(2)), (1, 0));
    assert_eq!((counters.bytes_in(), counters.bytes_out()), (0, 0));
}

#[test]
fn on_refusal_makes_the_response_of_a_refusal() {
    let set = |server: &mut Server| {
        server.limits(|limits| limits.max_body = 10);
        server.on_refusal(|refusal| {
            let response = Response::builder()
                .header("Content-Type", "application/json")
                .header("Access-Control-Allow-Origin", "*");
            let body = format!("{{\"status\":{}}}", refusal.status().as_u16());
            response.body(body).expect("a valid response")
        });
    };
    let post = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\nhello world";
    with_server("127.0.0.1:0", set, hello, |address, _| {
        let response = exchange(address, post);
        assert!(response.starts_with("HTTP/1.1 413 "), "{response}");
        assert!(response.contains("\r\naccess-control-allow-origin: *\r\n"));
        assert!(response.ends_with("connection: close\r\n\r\n{\"status\":413}"));
    });
    let streaming = |server: &Server| {
        server.serve_async(async |request| {
            let body = request.into_body().bytes().await?;
            Ok::<_, mini_http::IncomingError>(Response::new(AnyBody::from(body)))
        })
    };
    with_server("127.0.0.1:0", set, streaming, |address, _| {
        let response = exchange(address, post);
        assert!(response.starts_with("HTTP/1.1 413 "), "{response}");
        assert!(response.ends_with("{\"status\":413}"), "{response}");
    });
}

#[test]
fn a_request_knows_its_connection_and_its_local_address() {
    for listen in ["127.0.0.1:0", "0.0.0.0:0"] {
        let serve = |server: &Server| {
            server.start(|request| {
                let local = request.local_addr().expect("an address");
                Response::new(format!("{} {local}", request.connection_id()).into_bytes())
            })
        };
        with_server(
            listen,
            |_| {},
            serve,
            |address, _| {
                for id in 1..3 {
                    let response = exchange(address, &get("/"));
                    let expected = format!("\r\n\r\n{id} 127.0.0.1:{}", address.port());
                    assert!(response.ends_with(&expected), "{response}");
                }
            },
        );
        let in_pieces = |server: &Server| {
            server.serve(|request| {
                let local = request.local_addr().expect("an address");
                Response::new(AnyBody::from(format!(
                    "{} {local}",
                    request.connection_id()
                )))
            })
        };
        with_server(
            listen,
            |_| {},
            in_pieces,
            |address, _| {
                let response = exchange(address, &get("/"));
                assert!(response.ends_with(&format!("\r\n\r\n1 127.0.0.1:{}", address.port())));
            },
        );
    }
}

#[test]
fn an_asynchronous_request_has_both_as_extensions_if_they_are_wanted() {
    for is_wanted in [true, false] {
        let set = |server: &mut Server| {
            server.connection_extensions(is_wanted);
        };
        let serve = |server: &Server| {
            server.serve_async(async |request| {
                let extensions = request.extensions();
                let id = extensions.get::<ConnectionId>();
                let local = extensions.get::<LocalAddr>();
                Response::new(format!("{id:?} {local:?}"))
            })
        };
        with_server("127.0.0.1:0", set, serve, |address, _| {
            let response = exchange(address, &get("/"));
            let expected = match is_wanted {
                true => format!("Some(ConnectionId(1)) Some(LocalAddr({address}))"),
                false => "None None".to_owned(),
            };
            assert!(response.ends_with(&expected), "{response}");
        });
    }
}

#[test]
fn the_page_about_close_reasons_has_each_of_them() {
    let page = include_str!("../docs/close-reasons.md");
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let rows: Vec<_> = rows.collect();
    assert_eq!(rows.len(), CloseReason::ALL.len());
    for (row, reason) in rows.iter().zip(CloseReason::ALL) {
        assert!(row.starts_with(&format!("| `{reason:?}` |")), "{row}");
        assert!(row.ends_with(&format!("| {} |", reason.explain())), "{row}");
    }
}
