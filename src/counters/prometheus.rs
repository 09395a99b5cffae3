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
    text.counter(
        "connections_accepted_total",
        "Connections accepted.",
        counters.accepted,
    );
    text.gauge(
        "connections_active",
        "Connections open now.",
        counters.active,
    );
    text.gauge(
        "connections_lingering",
        "Closed connections whose sockets can't be dropped yet.",
        counters.lingering,
    );
    text.counters(
        "connections_closed_total",
        "Connections closed, by reason.",
        CloseReason::ALL
            .iter()
            .map(|&reason| (label(reason), counters.closed(reason))),
    );
    text.counter(
        "connections_refused_total",
        "Connections closed because a request was refused.",
        counters.refused,
    );
    text.counter(
        "requests_total",
        "Requests passed to the handler.",
        counters.requests,
    );
    text.gauge(
        "held_bytes",
        "Memory held for all connections now.",
        counters.held,
    );
    text.gauge(
        "held_peak_bytes",
        "The most memory held for all connections so far.",
        counters.held_peak,
    );
}

fn responses(text: &mut Text, counters: &Counters) {
    text.counters(
        "responses_total",
        "Responses sent or given up, by class of their status.",
        (1..=5).map(|class| (format!("class=\"{class}xx\""), counters.responses(class))),
    );
    text.counters(
        "refusals_total",
        "Responses that the server made by itself, by reason.",
        CloseReason::ALL
            .iter()
            .filter(|reason| reason.is_refusal() || IS_OTHER_REFUSAL.contains(reason))
            .map(|&reason| (label(reason), counters.refusals(reason))),
    );
    text.counter(
        "received_bytes_total",
        "Bytes of requests.",
        counters.bytes_in(),
    );
    text.counter(
        "sent_bytes_total",
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

struct Text(String);

impl Text {
    /// A counter without labels.
    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.counters(name, help, [(String::new(), value)]);
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, "gauge", help);
        self.line(name, "", value);
    }

    /// A counter for each of these labels.
    fn counters(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (String, u64)>,
    ) {
        self.head(name, "counter", help);
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
