//! Requests in all forms, and errors of handlers and bodies.

use super::{Case, get, post};
use crate::{Client, Outcome, Server, ensure};

pub(super) const CASES: &[Case] = &[
    ("a pipeline, in order", pipeline),
    ("a half-closed client has its responses", half_close),
    ("HTTP/1.0 until close; HEAD", other_forms),
    ("errors by their status", statuses),
    ("responses that fail are not complete", failing),
];

/// What the server logs because of these cases.
pub(super) const LOGGED: [&str; 2] = ["the handler failed", "the response's body failed"];

fn pipeline(server: &mut Server) -> Outcome<String> {
    let mut client = Client::connect(server.address)?;
    let chunked = "POST /count?50 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n";
    let requests = get("/sleep?100") + &post("/gather", "abc") + chunked + &get("/data?3");
    client.send(requests.repeat(3))?;
    for _ in 0..3 {
        for body in ["slept", "3", "4", "xxx"] {
            client.response()?.check(body.as_bytes())?;
        }
    }
    client.send(get("/"))?;
    client.response()?.check(b"hello!")?;
    Ok("ok".into())
}

fn half_close(server: &mut Server) -> Outcome<String> {
    let mut client = Client::connect(server.address)?;
    client.send(get("/sleep?100") + &post("/count?50", "abc") + &get("/events?3,30"))?;
    client.half_close()?;
    client.response()?.check(b"slept")?;
    client.response()?.check(b"3")?;
    let (response, _) = client.chunked_response()?;
    response.check(b"event 0\nevent 1\nevent 2\n")?;
    client.check_end()?;
    Ok("ok".into())
}

fn other_forms(server: &mut Server) -> Outcome<String> {
    let mut old = Client::connect(server.address)?;
    old.send("GET /events?3,30 HTTP/1.0\r\n\r\n")?;
    let head = old.response_head()?;
    ensure!(
        head.status == 200
            && head.values("transfer-encoding").next().is_none()
            && head.values("content-length").next().is_none(),
        "HTTP/1.0 got {}",
        head.head
    );
    let expected = b"event 0\nevent 1\nevent 2\n";
    ensure!(old.take(expected.len())? == expected, "other events came");
    old.check_end()?;
    let mut client = Client::connect(server.address)?;
    client.send("HEAD /data?70000 HTTP/1.1\r\nHost: x\r\n\r\n")?;
    let head = client.response_head()?;
    ensure!(head.values("content-length").eq(["70000"]), "{}", head.head);
    client.send("HEAD /events?0,1000 HTTP/1.1\r\nHost: x\r\n\r\n")?;
    let head = client.response_head()?;
    ensure!(head.status == 200, "{}", head.head);
    client.send(get("/"))?;
    client.response()?.check(b"hello!")?;
    Ok("ok".into())
}

fn statuses(server: &mut Server) -> Outcome<String> {
    let chunked = "Transfer-Encoding: chunked\r\n\r\n";
    let cases = [
        ("/error", "\r\n".to_owned(), 500),
        ("/limited?4", "Content-Length: 5\r\n\r\nabcde".into(), 413),
        (
            "/limited?4",
            format!("{chunked}5\r\nabcde\r\n0\r\n\r\n"),
            413,
        ),
        ("/count", format!("{chunked}3\r\nabc\r\nx\r\n"), 400),
        ("/gather", format!("{chunked}3\r\nabc\r\nx\r\n"), 400),
        ("/count", "Content-Length: 5\r\n\r\nabc".into(), 400),
        // A body at the limit.
        ("/limited?5", "Content-Length: 5\r\n\r\nabcde".into(), 200),
    ];
    for (target, rest, status) in cases {
        let mut client = Client::connect(server.address)?;
        client.send(format!(
            "POST {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{rest}"
        ))?;
        client.half_close()?;
        let response = client.response()?;
        ensure!(
            response.status == status,
            "{target} with {rest:?} is {}, and not {status}",
            response.status
        );
        let text = String::from_utf8_lossy(&response.body).into_owned();
        ensure!(!text.contains("secret"), "the error is sent: {text}");
        client.check_end()?;
    }
    Ok("ok".into())
}

fn failing(server: &mut Server) -> Outcome<String> {
    let mut client = Client::connect(server.address)?;
    client.send(get("/fails") + &get("/"))?;
    client.response_head()?;
    ensure!(
        client.chunk()? == Some(b"abc".to_vec()),
        "another chunk came"
    );
    client.check_end()?;
    let mut client = Client::connect(server.address)?;
    client.send(get("/short") + &get("/"))?;
    let head = client.response_head()?;
    ensure!(head.values("content-length").eq(["5"]), "{}", head.head);
    ensure!(client.take(3)? == b"abc", "other bytes came");
    client.check_end()?;
    Ok("ok".into())
}
