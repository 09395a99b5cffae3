//! Checks that instances share state: two of the example `chat`, over Redis.

use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::client::PATIENCE;
use crate::{Client, Outcome, Program, Report, Runtime, Server, ensure, root};

/// Runs it.
#[must_use]
pub fn run() -> Report {
    let mut report = Report::new("redis", &[Runtime::Native]);
    let outcome = chat().map(|()| "ok".into());
    report.add("messages reach all instances", Runtime::Native, outcome);
    report
}

fn chat() -> Outcome {
    let apt = Command::new(root().join("ci/apt"))
        .arg("redis-server")
        .status();
    ensure!(apt.is_ok_and(|it| it.success()), "there is no Redis");
    let examples = root().join("examples");
    let chat = Program::build(Runtime::Native, &examples, &["--package", "chat"], true)?;
    let redis = Server::with_command(Runtime::Native, |address| {
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string()]);
        command.args(["--save", "", "--appendonly", "no"]);
        Ok(command)
    })?;
    let url = format!("redis://{}", redis.address);
    let start = || Server::start(&chat, &[("REDIS_URL", &url), ("RUST_LOG", "info")]);
    let (here, there) = (start()?, start()?);

    let mut waiter = Client::connect(there.address)?;
    waiter.send("GET /messages?after=0 HTTP/1.1\r\nHost: x\r\n\r\n")?;
    let mut stream = Client::connect(there.address)?;
    stream.send("GET /events HTTP/1.1\r\nHost: x\r\n\r\n")?;
    ensure!(stream.response_head()?.status == 200, "no event stream");
    let number = publish(&here, "hello")?;
    let expected = format!("[{{\"id\":{number},\"text\":\"hello\"}}]\n");
    waiter.response()?.check(expected.as_bytes())?;
    stream.read_until(format!("id: {number}\n").as_bytes())?;

    // In the other direction, and one that starts later knows both.
    let second = publish(&there, "and back")?;
    let late = start()?;
    let since = Instant::now();
    for instance in [&here, &late] {
        loop {
            let mut client = Client::connect(instance.address)?;
            client.send("GET /messages?after=0 HTTP/1.1\r\nHost: x\r\n\r\n")?;
            let body = String::from_utf8_lossy(&client.response()?.body).into_owned();
            if body.contains(&format!("\"id\":{number},"))
                && body.contains(&format!("\"id\":{second},"))
            {
                break;
            }
            ensure!(since.elapsed() < PATIENCE, "an instance has only {body}");
            sleep(Duration::from_millis(20));
        }
    }
    for instance in [&here, &there, &late] {
        instance.check_log()?;
    }
    Ok(())
}

/// Returns the message's number.
fn publish(server: &Server, text: &str) -> Outcome<u64> {
    let mut client = Client::connect(server.address)?;
    let length = text.len();
    client.send(format!(
        "POST /messages HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{text}"
    ))?;
    let response = client.response()?;
    ensure!(response.status == 201, "publishing: {}", response.head);
    let number = String::from_utf8_lossy(&response.body).into_owned();
    number
        .trim()
        .parse()
        .map_err(|e| format!("{number:?}: {e}"))
}
