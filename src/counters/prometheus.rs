//! The text format of Prometheus: <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::fmt::{Display, Write};

use super::Counters;
use crate::conn::CloseReason;

/// All counters as text.
pub(super) fn text(counters: &Counters) -> String {
    let mut text = Text(String::new());
    connections(&mut text, counters);
    responses(&mut text, counters);
    text.0
}

fn connections(text: &mut Text, counters: &Counters) {
    text.one(
        "connections_accepted_total",
        COUNTER,
        "Connections accepted.",
        counters.accepted,
    );
    text.one(
        "connections_active",
        GAUGE,
        "Connections open now.",
        counters.active,
    );
    text.one(
        "connections_lingering",
        GAUGE,
        "Closed connections whose sockets can't be dropped yet.",
        counters.lingering,
    );
    text.family(
        "connections_closed_total",
        COUNTER,
        "Connections closed, by reason.",
        CloseReason::ALL
            .iter()
            .map(|&reason| (label(reason), counters.closed(reason))),
    );
    text.one(
        "connections_refused_total",
        COUNTER,
        "Connections closed because a request was refused.",
        counters.refused,
    );
    text.one(
        "requests_total",
        COUNTER,
        "Requests passed to the handler.",
        counters.requests,
    );
    text.one(
        "held_bytes",
        GAUGE,
        "Memory held for all connections now.",
        counters.held,
    );
    text.one(
        "held_peak_bytes",
        GAUGE,
        "The most memory held for all connections so far.",
        counters.held_peak,
    );
}

fn responses(text: &mut Text, counters: &Counters) {
    text.family(
        "responses_total",
        COUNTER,
        "Responses sent or given up, by class of their status.",
        (1..=5).map(|class| (format!("class=\"{class}xx\""), counters.responses(class))),
    );
    text.family(
        "refusals_total",
        COUNTER,
        "Responses that the server made by itself, by reason.",
        CloseReason::ALL
            .iter()
            .filter(|reason| reason.is_refusal() || IS_OTHER_REFUSAL.contains(reason))
            .map(|&reason| (label(reason), counters.refusals(reason))),
    );
    text.one(
        "received_bytes_total",
        COUNTER,
        "Bytes of requests.",
        counters.bytes_in(),
    );
    text.one(
        "sent_bytes_total",
        COUNTER,
        "Bytes of responses.",
        counters.bytes_out(),
    );
    let times = counters.handler_times();
    let name = "handler_duration_seconds";
    text.head(
        name,
        "histogram",
        "From the call of the handler to its response.",
    );
    for (bound, count) in times.up_to() {
        text.line(
            &format!("{name}_bucket"),
            &format!("le=\"{}\"", bound.as_secs_f64()),
            count,
        );
    }
    text.line(&format!("{name}_bucket"), "le=\"+Inf\"", times.count());
    text.line(&format!("{name}_sum"), "", times.sum().as_secs_f64());
    text.line(&format!("{name}_count"), "", times.count());
}

/// Reasons of refusals that aren't the fault of a request.
const IS_OTHER_REFUSAL: [CloseReason; 2] = [CloseReason::HandlerFailed, CloseReason::Stopped];

const COUNTER: &str = "counter";
const GAUGE: &str = "gauge";

struct Text(String);

impl Text {
    /// A family with one sample.
    fn one(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.family(name, kind, help, [(String::new(), value)]);
    }

    /// A family with a sample for each of these labels.
    fn family(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        samples: impl IntoIterator<Item = (String, u64)>,
    ) {
        self.head(name, kind, help);
        for (label, value) in samples {
            self.line(name, &label, value);
        }
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(
            self.0,
            "# HELP mini_http_{name} {help}\n# TYPE mini_http_{name} {kind}\n"
        );
    }

    fn line(&mut self, name: &str, label: &str, value: impl Display) {
        let _ = match label {
            "" => writeln!(self.0, "mini_http_{name} {value}"),
            label => writeln!(self.0, "mini_http_{name}{{{label}}} {value}"),
        };
    }
}

/// The label of a reason: its name in lower case, with underscores.
fn label(reason: CloseReason) -> String {
    let mut label = String::from("reason=\"");
    for (index, char) in format!("{reason:?}").chars().enumerate() {
        if index > 0 && char.is_ascii_uppercase() {
            label.push('_');
        }
        label.push(char.to_ascii_lowercase());
    }
    label.push('"');
    label
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn each_family_has_its_help_its_type_and_its_samples() {
        let mut counters = Counters {
            accepted: 3,
            ..Counters::default()
        };
        counters.closed[CloseReason::Http10.index()] = 2;
        counters.measured.responses[3] = 7;
        let times = &mut counters.measured.handler_times;
        times.counts[0] = 1;
        times.counts[16] = 4;
        times.nanos = 1_500_000_000;
        assert_eq!(times.sum(), Duration::from_millis(1500));
        let text = counters.to_prometheus();
        for line in [
            "# HELP mini_http_connections_accepted_total Connections accepted.",
            "# TYPE mini_http_connections_accepted_total counter",
            "mini_http_connections_accepted_total 3",
            "mini_http_connections_closed_total{reason=\"http10\"} 2",
            "mini_http_connections_closed_total{reason=\"client_asked_close\"} 0",
            "mini_http_responses_total{class=\"4xx\"} 7",
            "mini_http_handler_duration_seconds_bucket{le=\"0.00001\"} 1",
            "mini_http_handler_duration_seconds_bucket{le=\"10\"} 1",
            "mini_http_handler_duration_seconds_bucket{le=\"+Inf\"} 5",
            "mini_http_handler_duration_seconds_sum 1.5",
            "mini_http_handler_duration_seconds_count 5",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} in {text}");
        }
    }
}
