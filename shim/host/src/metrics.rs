//! `--metrics`: the counters, in the format of Prometheus.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Weak};
use std::time::Duration;

use mini_http::{Limits, Response, Server};

use crate::counters::{Counters, METRICS};
use crate::error::Error;
use crate::running::Shared;

/// How many connections may be open. A few programs collect metrics, with one each, but they should find a place even
/// if others occupy some. Many more would be taken from the file descriptors of the instances.
pub(crate) const CONNECTIONS: usize = 64;
/// How long a connection may occupy its place without being idle. An idle one is closed for a new one at once. Programs
/// that collect metrics send their heads at once.
const PATIENCE: Duration = Duration::from_secs(2);

/// The server of the metrics. It stops when this is dropped.
#[derive(Debug)]
pub(crate) struct Metrics {
    address: SocketAddr,
    handle: mini_http::Handle,
}

impl Metrics {
    /// Serves the metrics of this host.
    pub(crate) fn serve(address: &str, shared: &Arc<Shared>) -> Result<Self, Error> {
        let failed = |error| Error::from_io(format!("can't serve metrics on {address}"), error);
        let listener = TcpListener::bind(address).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let server = Server::from_listener(listener);
        let mut server =
            server.map_err(|error| Error::new(format!("metrics on {address}: {error}")))?;
        server.limits(limit);
        let handle = server.handle();
        let shared = Arc::downgrade(shared);
        let thread = std::thread::Builder::new().name("metrics".to_owned());
        let spawned = thread.spawn(move || {
            let outcome = server.start(move |request| respond(request.uri().path(), &shared));
            if let Err(error) = outcome {
                log::error!("the metrics are not served any more: {error}");
            }
        });
        spawned.map_err(|error| Error::from_io("can't start a thread", error))?;
        Ok(Self { address, handle })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        self.handle.stop();
    }
}

fn limit(limits: &mut Limits) {
    limits.max_connections = CONNECTIONS;
    limits.max_body = 0;
    limits.head_timeout = PATIENCE;
    limits.rate_window = PATIENCE;
    limits.linger_timeout = PATIENCE;
    limits.half_closed_timeout = PATIENCE;
}

fn respond(path: &str, shared: &Weak<Shared>) -> Response<Vec<u8>> {
    let shared = shared.upgrade().filter(|_| path == "/metrics");
    let Some(shared) = shared else {
        let mut response = Response::new(b"the metrics are at /metrics\n".to_vec());
        *response.status_mut() = mini_http::http::StatusCode::NOT_FOUND;
        return response;
    };
    let counters: Vec<&Counters> = shared.slots.iter().map(|slot| &*slot.counters).collect();
    let mut response = Response::new(text(&counters).into_bytes());
    let kind = mini_http::header::HeaderValue::from_static("text/plain; version=0.0.4");
    response.headers_mut().insert("content-type", kind);
    response
}

/// The text of these counters, which are those of one instance each.
fn text(instances: &[&Counters]) -> String {
    let mut text = String::new();
    for metric in METRICS {
        let (name, kind, meaning) = (metric.name, metric.kind, metric.meaning);
        // Writing to a string doesn't fail.
        let _ = writeln!(text, "# HELP {name} {meaning}\n# TYPE {name} {kind}");
        for (number, counters) in instances.iter().enumerate() {
            let value = (metric.counter)(counters).get();
            let _ = writeln!(text, "{name}{{instance=\"{number}\"}} {value}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_instance_has_its_line() {
        let (first, second) = (Counters::default(), Counters::default());
        second.accepted.add(3);
        let text = text(&[&first, &second]);
        assert!(text.contains(
            "# TYPE wasip1_accepted_total counter\n\
             wasip1_accepted_total{instance=\"0\"} 0\n\
             wasip1_accepted_total{instance=\"1\"} 3\n"
        ));
    }
}
