//! Checks the access logs and the metrics of the example `stats`. Hostile clients record what they know about each of
//! their requests. A request whose response has begun must have one line in each log, and none may have two.
//! Independent parsers read what was written.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use crate::client::{Client, PATIENCE};
use crate::curl::Scratch;
use crate::random::Random;
use crate::{Outcome, Program, Report, Runtime, Server, ensure, root};

/// The settings of a run.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How many rounds each client does.
    pub rounds: usize,
    /// The seed of what the clients do.
    pub seed: u64,
}

/// How many clients there are at once.
const CLIENTS: usize = 8;

/// Runs the check on each of these runtimes.
#[must_use]
pub fn run(runtimes: &[Runtime], settings: Settings) -> Report {
    let mut report = Report::new("access log", runtimes);
    for &runtime in runtimes {
        let outcome = check(runtime, settings);
        report.add(
            "lines under abuse, Combined and JSON; metrics",
            runtime,
            outcome,
        );
        // `/dev/full` can't be passed to a module.
        let outcome = match runtime {
            Runtime::Native => full_disk().map(|()| "ok"),
            _ => Ok("-"),
        };
        report.add("a log on a full disk", runtime, outcome.map(Into::into));
    }
    report
}

/// What a client knows about a request: the status of its response, or that it has at most one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Status(u16),
    /// One line, with a status or without.
    Once,
    AtMostOnce,
}

/// What all clients know, by target.
type Book = BTreeMap<String, Known>;

fn check(runtime: Runtime, settings: Settings) -> Outcome<String> {
    let scratch = Scratch::new()?;
    let mut server = start(runtime, &scratch)?;
    let book = abuse(&server, settings)?;
    let metrics = get(&server, "/metrics")?;
    scratch.write("metrics.txt", &metrics)?;
    check_heads(&server)?;
    let mut client = Client::connect(server.address)?;
    client.send("POST /stop HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")?;
    client.response()?.check(b"stopping")?;
    server.ends_within(PATIENCE)?;
    server.check_log()?;
    let extra = [
        ("/metrics".into(), Known::Status(200)),
        ("/metrics?head".into(), Known::Status(200)),
        ("/large?head".into(), Known::Status(200)),
        ("/stop".into(), Known::Status(200)),
    ];
    let book: Book = book.into_iter().chain(extra).collect();
    let mut lines = 0;
    for (format, file) in [("combined", "access.log"), ("json", "access.json")] {
        let entries = parsed(format, &scratch.file(file))?;
        lines = entries.len();
        compare(&book, &entries).map_err(|why| format!("{format}: {why}"))?;
    }
    check_metrics(&parsed("prometheus", &scratch.file("metrics.txt"))?, &book)?;
    Ok(format!("{lines} lines"))
}

fn start(runtime: Runtime, scratch: &Scratch) -> Outcome<Server> {
    let program = Program::example(runtime, "stats", true)?;
    let folder = scratch.file("");
    let (log, json) = (scratch.file("access.log"), scratch.file("access.json"));
    let env = [
        ("RUST_LOG", "warn"),
        ("ACCESS_LOG", &*log),
        ("ACCESS_LOG_JSON", &*json),
        ("HEAD_TIMEOUT", "400"),
        ("RATE_WINDOW", "600"),
        ("MAX_BODY", "2000000"),
    ];
    Server::with_command(runtime, |address| {
        let mut command = program.command(&address.to_string(), &env)?;
        if runtime != Runtime::Native {
            command.args(["--dir", folder.trim_end_matches('/')]);
        }
        Ok(command)
    })
}

fn get(server: &Server, target: &str) -> Outcome<Vec<u8>> {
    let mut client = Client::connect(server.address)?;
    client.send(format!(
        "GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    ))?;
    Ok(client.response()?.body)
}

/// Monitoring may send HEAD, too: the response has the fields of the one to GET.
fn check_heads(server: &Server) -> Outcome {
    for (target, field, expected) in [
        ("/metrics?head", "content-type", "text/plain; version="),
        ("/large?head", "content-length", "4194304"),
    ] {
        let mut client = Client::connect(server.address)?;
        client.send(format!("HEAD {target} HTTP/1.1\r\nHost: x\r\n\r\n"))?;
        let response = client.response_head()?;
        let has_it = response.values(field).any(|it| it.starts_with(expected));
        ensure!(has_it, "HEAD {target}: {}", response.head);
    }
    Ok(())
}

/// Runs the clients. Returns what they know.
fn abuse(server: &Server, settings: Settings) -> Outcome<Book> {
    let book = Mutex::new(Book::new());
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let book = &book;
                scope.spawn(move || -> Outcome {
                    let seed = settings.seed ^ ((client as u64) << 32);
                    let mut one = One {
                        server,
                        random: Random::new(seed),
                        prefix: format!("/{client}-"),
                        count: 0,
                        known: Book::new(),
                    };
                    for round in 0..settings.rounds {
                        // Timeouts take long: they come in one of 16 rounds.
                        if (round + client) % 16 == 15 {
                            one.times_out()?;
                        } else {
                            ACTS[one.random.below(ACTS.len())](&mut one)?;
                        }
                    }
                    book.lock()
                        .map_err(|e| e.to_string())?
                        .append(&mut one.known);
                    Ok(())
                })
            })
            .collect();
        for client in clients {
            client
                .join()
                .map_err(|_| "a client panicked".to_owned())??;
        }
        Ok::<_, String>(())
    })?;
    book.into_inner().map_err(|e| e.to_string())
}

/// One of the clients.
struct One<'a> {
    server: &'a Server,
    random: Random,
    prefix: String,
    count: usize,
    known: Book,
}

const ACTS: [fn(&mut One<'_>) -> Outcome; 6] = [
    |one| one.asks(),
    |one| one.asks_in_a_pipeline(),
    |one| one.uploads(),
    |one| one.is_refused(),
    |one| one.resets(),
    |one| one.resets_a_download(),
];

impl One<'_> {
    /// A target that no other request has.
    fn target(&mut self, known: Known) -> String {
        self.count += 1;
        let target = format!("{}{}", self.prefix, self.count);
        self.known.insert(target.clone(), known);
        target
    }

    fn client(&self) -> Outcome<Client> {
        Client::connect(self.server.address)
    }

    fn asks(&mut self) -> Outcome {
        let mut client = self.client()?;
        for _ in 0..3 {
            let target = self.target(Known::Status(200));
            let hostile = "\"\\ \u{e9} \u{7f}x";
            // DEL would be refused in a field.
            let agent = hostile.replace('\u{7f}', "");
            client.send(format!(
                "GET {target} HTTP/1.1\r\nHost: x\r\nUser-Agent: {agent}\r\nReferer: {agent}\r\n\r\n"
            ))?;
            client.response()?.check(b"hello!")?;
        }
        Ok(())
    }

    fn asks_in_a_pipeline(&mut self) -> Outcome {
        let mut client = self.client()?;
        let mut all = String::new();
        for _ in 0..10 {
            let target = self.target(Known::Status(200));
            all += &format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
        }
        // And one that is refused.
        let last = self.target(Known::Status(400));
        all += &format!("GET {last} HTTP/1.1\r\nHost : x\r\n\r\n");
        client.send(all)?;
        for _ in 0..10 {
            client.response()?.check(b"hello!")?;
        }
        let status = client.response()?.status;
        ensure!(status == 400, "the last one of a pipeline got {status}");
        client.check_end()
    }

    fn uploads(&mut self) -> Outcome {
        let mut client = self.client()?;
        let target = self.target(Known::Status(200));
        let body = vec![b'x'; 1 + self.random.below(100_000)];
        let length = body.len();
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
        );
        // In one call: on a busy machine, a window of the rate may pass between two.
        client.send([head.as_bytes(), &body].concat())?;
        client.response()?.check(&body)?;
        let target = self.target(Known::Status(413));
        client.send(format!(
            "POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n"
        ))?;
        let status = client.response()?.status;
        ensure!(status == 413, "a large body got {status}");
        Ok(())
    }

    fn is_refused(&mut self) -> Outcome {
        for (status, rest) in [
            (400, " HTTP/1.1\r\nHost: x\r\nBad\"field\\: 1\r\n\r\n"),
            (505, " HTTP/2.0\r\n\r\n"),
            (417, " HTTP/1.1\r\nHost: x\r\nExpect: more\r\n\r\n"),
            (
                501,
                " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            ),
        ] {
            let mut client = self.client()?;
            let target = self.target(Known::Status(status));
            client.send(format!("PUT {target}{rest}"))?;
            let got = client.response()?.status;
            ensure!(got == status, "{got} in place of {status}");
            client.check_end()?;
        }
        Ok(())
    }

    /// A head, or a body, that isn't completed.
    fn times_out(&mut self) -> Outcome {
        let mut head = self.client()?;
        let target = self.target(Known::Status(408));
        head.send(format!("GET {target} HTTP/1.1\r\nHost: x\r\n"))?;
        let mut body = self.client()?;
        let target = self.target(Known::Status(408));
        body.send(format!(
            "PUT {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx"
        ))?;
        for client in [&mut head, &mut body] {
            let status = client.response()?.status;
            ensure!(status == 408, "a late client got {status}");
        }
        Ok(())
    }

    /// A request that may not even arrive.
    fn resets(&mut self) -> Outcome {
        for _ in 0..4 {
            let mut client = self.client()?;
            let target = self.target(Known::AtMostOnce);
            let request =
                format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab");
            // At least the whole target: the line of a request with a part of it would have another target.
            let least = "POST  ".len() + target.len();
            let sent = least + self.random.below(request.len() - least + 1);
            client.send(&request[..sent])?;
            let pause = self.random.below(2_000) as u64;
            thread::sleep(Duration::from_micros(pause));
            client.reset()?;
        }
        Ok(())
    }

    /// A response of which a part is received: so it has begun.
    fn resets_a_download(&mut self) -> Outcome {
        let mut client = self.client()?;
        let target = self.target(Known::Once);
        let body = vec![b'x'; 1_500_000];
        client.send(format!(
            "POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
            body.len()
        ))?;
        client.send(&body)?;
        let most = 1 + self.random.below(100_000);
        ensure!(client.swallow(most, PATIENCE) > 0, "no byte of a download");
        client.reset()
    }
}

/// The lines that a parser makes of a file, each in its parts.
fn parsed(kind: &str, file: &str) -> Outcome<Vec<[String; 3]>> {
    let mut command = Command::new(root().join("ci/log-parsers"));
    command.args([kind, file]).stderr(Stdio::inherit());
    let output = command
        .output()
        .map_err(|e| format!("ci/log-parsers: {e}"))?;
    ensure!(
        output.status.success(),
        "{kind}: the parser doesn't understand {file}"
    );
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .map(|line| {
            let parts: Vec<String> = line.split('\t').map(str::to_owned).collect();
            parts
                .try_into()
                .map_err(|parts| format!("not three parts: {parts:?}"))
        })
        .collect()
}

/// Fails unless the log has one line for each request that has a response, and no other.
fn compare(book: &Book, entries: &[[String; 3]]) -> Outcome {
    let mut lines: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for [status, _, target] in entries {
        // A probe of the check itself, which connects and sends nothing, has no line.
        lines.entry(target).or_default().push(status);
    }
    for (target, known) in book {
        let statuses = lines.remove(target.as_str()).unwrap_or_default();
        let is_right = match known {
            Known::Status(status) => statuses == [status.to_string()],
            Known::Once => statuses.len() == 1,
            Known::AtMostOnce => statuses.len() <= 1,
        };
        ensure!(
            is_right,
            "{target} is {known:?}, and has lines with {statuses:?}"
        );
    }
    ensure!(lines.is_empty(), "no client has sent {lines:?}");
    Ok(())
}

/// Fails unless the metrics are those of the requests.
fn check_metrics(samples: &[[String; 3]], book: &Book) -> Outcome {
    let value = |name: &str, label: &str| -> Outcome<u64> {
        let found = samples
            .iter()
            .find(|[it, labels, _]| it == name && labels == label);
        let [_, _, value] = found.ok_or_else(|| format!("there is no {name} {label}"))?;
        // The parser shows all values as floating-point numbers.
        let whole = value.split('.').next().unwrap_or_default();
        whole
            .parse()
            .map_err(|e| format!("{name} {label}: {value}: {e}"))
    };
    for class in [4, 5] {
        let is_in = |known: &&Known| matches!(known, Known::Status(it) if *it / 100 == class);
        let known = book.values().filter(is_in).count() as u64;
        let label = format!("class={class}xx");
        let counted = value("mini_http_responses_total", &label)?;
        // Those that were reset may have been refused, too.
        ensure!(counted >= known, "{counted} responses with {label}");
    }
    let count = value("mini_http_handler_duration_seconds_count", "")?;
    let last = value("mini_http_handler_duration_seconds_bucket", "le=+Inf")?;
    ensure!(
        count == last && count > 0,
        "{count} and {last} in the histogram"
    );
    value("mini_http_handler_duration_seconds_sum", "")?;
    for (name, label) in [
        ("mini_http_sent_bytes_total", ""),
        ("mini_http_received_bytes_total", ""),
        ("mini_http_refusals_total", "reason=head_timeout"),
        ("mini_http_refusals_total", "reason=too_large"),
    ] {
        ensure!(value(name, label)? > 0, "{name} {label} is 0");
    }
    Ok(())
}

/// A log that can't be written doesn't stop the server, and is reported once.
fn full_disk() -> Outcome {
    let program = Program::example(Runtime::Native, "stats", true)?;
    let env = [("RUST_LOG", "warn"), ("ACCESS_LOG", "/dev/full")];
    let server = Server::start(&program, &env)?;
    for _ in 0..5 {
        ensure!(get(&server, "/a")? == b"hello!", "no response");
        // Longer than the server collects lines before it writes them.
        thread::sleep(Duration::from_millis(150));
    }
    let said = server.log();
    let count = said.matches("the access log can't be written").count();
    ensure!(count == 1, "it is reported {count} times:\n{said}");
    server.check_log_but(&["the access log can't be written"])
}
