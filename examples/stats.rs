//! A server with limits from the environment, which reports its counters.
//!
//! `cargo run --example stats`, then `curl http://127.0.0.1:3000/stats`. The same source runs
//! inside a WASI runtime: `cargo run --target wasm32-wasip1 --example stats`.
//!
//! | request | response |
//! |---|---|
//! | `GET /stats` | the counters, one a line |
//! | `GET /metrics` | the same and those of responses, in the text format of Prometheus |
//! | `GET /large` | 4 MiB |
//! | `GET /shared` | as many bytes as `SHARED` says in the environment, or 4 MiB; all responses share them |
//! | `HEAD` of one of these | the head of that response |
//! | `POST /stop` | the server ends, and with it `main` |
//! | any other | the request's body, or `hello!` if it has none |
//!
//! `ACCESS_LOG=access.log` writes a line for each response to that file, in the Combined format, and
//! `ACCESS_LOG_JSON=access.json` writes lines of JSON.
//!
//! Every limit but `handler_timeout`, which is for asynchronous handlers, and those of PROXY headers can be set in the
//! environment, times in milliseconds:
//! `MAX_CONNECTIONS=100 IDLE_TIMEOUT=5000 cargo run --example stats`.

use std::str::FromStr;
use std::time::Duration;

use mini_http::header::{self, HeaderValue};
use mini_http::{AccessLog, Bytes, CloseReason, Counters, Limits, LogFormat, Response, Server};

const LARGE: usize = 4 << 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    env_logger::init();
    let addr = std::env::var("MINI_HTTP_ADDR").unwrap_or("127.0.0.1:3000".into());
    let mut server = Server::new(&addr)?;
    server.limits(limits_from_env).count_responses();
    for (name, format) in [
        ("ACCESS_LOG", LogFormat::Combined),
        ("ACCESS_LOG_JSON", LogFormat::Json),
    ] {
        if let Ok(path) = std::env::var(name) {
            server.access_log(&AccessLog::open(format, path)?);
        }
    }
    let handle = server.handle();
    let mut shared_length = LARGE;
    set("SHARED", &mut shared_length);
    // Made when it is first asked for.
    let mut shared = None;
    server.serve(move |request| {
        let body = match (request.method().as_str(), request.uri().path()) {
            ("GET" | "HEAD", "/stats") => stats(&handle.counters()).into(),
            ("GET" | "HEAD", "/metrics") => return metrics(&handle.counters()),
            ("GET" | "HEAD", "/large") => vec![b'x'; LARGE].into(),
            ("GET" | "HEAD", "/shared") => shared
                .get_or_insert_with(|| Bytes::from(vec![b'x'; shared_length]))
                .clone(),
            ("POST", "/stop") => {
                handle.stop();
                "stopping".into()
            }
            _ if request.body().is_empty() => "hello!".into(),
            _ => request.into_body().into(),
        };
        Response::new(body)
    })?;
    log::info!("stopped");
    Ok(())
}

fn metrics(counters: &Counters) -> Response<Bytes> {
    let mut response = Response::new(counters.to_prometheus().into());
    let kind = HeaderValue::from_static(Counters::PROMETHEUS);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

pub(crate) fn stats(counters: &Counters) -> String {
    let mut text = format!(
        "accepted {}\nactive {}\nlingering {}\nrequests {}\nrefused {}\nheld {}\nheld_peak {}\n",
        counters.accepted,
        counters.active,
        counters.lingering,
        counters.requests,
        counters.refused,
        counters.held,
        counters.held_peak,
    );
    for &reason in CloseReason::ALL {
        text += &format!("closed {reason:?} {}\n", counters.closed(reason));
    }
    // The memory of a module never shrinks: what it has now is its peak.
    #[cfg(target_arch = "wasm32")]
    {
        let pages = core::arch::wasm32::memory_size::<0>();
        text += &format!("linear_memory {}\n", pages << 16);
    }
    text
}

pub(crate) fn limits_from_env(limits: &mut Limits) {
    set("MAX_HEAD", &mut limits.max_head);
    set("MAX_REQUEST_LINE", &mut limits.max_request_line);
    set("MAX_FIELDS", &mut limits.max_fields);
    set("MAX_BODY", &mut limits.max_body);
    set("MAX_CHUNK_EXTENSIONS", &mut limits.max_chunk_extensions);
    set("MAX_TRAILERS", &mut limits.max_trailers);
    set("MAX_PENDING_OUTPUT", &mut limits.max_pending_output);
    set("ACCEPTS_PER_TURN", &mut limits.accepts_per_turn);
    set("MAX_CONNECTIONS", &mut limits.max_connections);
    set("MAX_HELD", &mut limits.max_held);
    set("MAX_LINGER", &mut limits.max_linger);
    set("MIN_RATE", &mut limits.min_rate);
    set("MAX_REQUESTS", &mut limits.max_requests);
    set_time("HEAD_TIMEOUT", &mut limits.head_timeout);
    set_time("IDLE_TIMEOUT", &mut limits.idle_timeout);
    set_time("RATE_WINDOW", &mut limits.rate_window);
    set_time("LINGER_TIMEOUT", &mut limits.linger_timeout);
    set_time("HALF_CLOSED_TIMEOUT", &mut limits.half_closed_timeout);
}

fn set<T: FromStr>(name: &str, limit: &mut T) {
    let Ok(text) = std::env::var(name) else {
        return;
    };
    match text.parse() {
        Ok(value) => *limit = value,
        Err(_) => log::error!("{name} can't be '{text}'"),
    }
}

fn set_time(name: &str, limit: &mut Duration) {
    let mut millis = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    set(name, &mut millis);
    *limit = Duration::from_millis(millis);
}
