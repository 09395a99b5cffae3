//! The load: wrk, which sends what `wrk.lua` says.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use interop::{Outcome, ensure, root};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// What each connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One request after the other.
    Plain,
    /// Sixteen at a time.
    Pipelined,
    /// Bodies of 1 MiB, which come back.
    Echo,
    /// Responses of 64 MiB. Each 64 MiB received count as a request, so that a response that is cut off at the end of a
    /// run counts in part.
    Stream,
    /// `Connection: close`, and another connection.
    Close,
    /// Event streams, all of which get each message. The client is that of `fan_out.rs`, not wrk.
    FanOut,
    /// WebSockets, which send messages back. The client is that of `sockets.rs`, not wrk.
    WebSocket,
}

/// The results of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Measured {
    pub(crate) requests: f64,
    pub(crate) elapsed: Duration,
    /// 99 % of the requests took at most this long. wrk's figure for pipelined requests is wrong.
    pub(crate) p99: Duration,
}

impl Measured {
    /// The results of a run in which steps of this many requests took these `times`.
    pub(super) fn of(mut times: Vec<Duration>, requests: usize, elapsed: Duration) -> Self {
        times.sort_unstable();
        let last = times.len().saturating_sub(1);
        Self {
            requests: (times.len() * requests) as f64,
            elapsed,
            p99: times.get(last * 99 / 100).copied().unwrap_or_default(),
        }
    }
}

/// wrk ends by itself after this, if it isn't ended before.
const MOST: &str = "60s";

/// The length of a streamed response. Its framing is 0.01 % more.
const STREAM: f64 = (64 << 20) as f64;

/// Installs wrk if it is missing.
pub(crate) fn prepare() -> Outcome {
    let status = Command::new(root().join("ci/apt")).arg("wrk").status();
    let status = status.map_err(|e| format!("ci/apt: {e}"))?;
    ensure!(status.success(), "wrk is missing, which makes the load");
    Ok(())
}

/// The version of wrk.
pub(crate) fn version() -> Outcome<String> {
    let output = Command::new("wrk").arg("-v").output();
    let output = output.map_err(|e| format!("wrk: {e}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    Ok(said.split_whitespace().nth(1).unwrap_or("?").into())
}

/// Loads a server with one thread and this many connections.
pub(crate) fn run(
    address: SocketAddr,
    kind: Kind,
    connections: usize,
    duration: Duration,
) -> Outcome<Measured> {
    let connections = connections.to_string();
    let error = |e: std::io::Error| format!("wrk: {e}");
    let wrk = Command::new("wrk")
        .args(["-t", "1", "-c", &connections, "-d", MOST, "--latency"])
        .args(["--timeout", kind.timeout(), "-s"])
        .arg(root().join("benches/driver/src/suites/native/wrk.lua"))
        .args([&format!("http://{address}/"), "--", kind.name()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(error)?;
    // wrk itself counts whole seconds; interrupted, it ends its run in good order.
    sleep(duration);
    let id = Pid::from_raw(i32::try_from(wrk.id()).unwrap_or(0));
    // It fails if wrk has ended already, which its output will explain.
    let _ = kill(id, Signal::SIGINT);
    let output = wrk.wait_with_output().map_err(error)?;
    let said = String::from_utf8_lossy(&output.stdout);
    let Some((measured, errors)) = parse(&said, kind) else {
        let words = String::from_utf8_lossy(&output.stderr);
        return Err(format!("wrk ended ({}): {words} {said}", output.status));
    };
    ensure!(errors == 0.0, "wrk counts {errors} failed requests");
    ensure!(measured.requests > 0.0, "wrk got no response");
    Ok(measured)
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Pipelined => "pipelined",
            Self::Echo => "echo",
            Self::Stream => "stream",
            Self::Close => "close",
            Self::FanOut => "fan-out",
            Self::WebSocket => "websocket",
        }
    }

    /// A response that takes longer has failed.
    fn timeout(self) -> &'static str {
        match self {
            // 64 of them share the core.
            Self::Stream => MOST,
            // As it is by default.
            _ => "2s",
        }
    }
}

/// The line of figures, and the number of errors in it. Times are in microseconds.
fn parse(said: &str, kind: Kind) -> Option<(Measured, f64)> {
    let line = said
        .lines()
        .find_map(|line| line.strip_prefix("figures "))?;
    let mut numbers = line.split_whitespace().map(|word| word.parse::<f64>().ok());
    let mut next = || numbers.next().flatten();
    let requests = next()?;
    let [elapsed, p99] = [next()?, next()?].map(|micros| Duration::from_secs_f64(micros / 1e6));
    let (errors, bytes) = (next()?, next()?);
    let requests = match kind {
        Kind::Stream => bytes / STREAM,
        _ => requests,
    };
    let measured = Measured {
        requests,
        elapsed,
        p99,
    };
    Some((measured, errors))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_in_what_wrk_says() {
        let expected = |requests| Measured {
            requests,
            elapsed: Duration::from_millis(500),
            p99: Duration::from_micros(70),
        };
        let said = "Running 1m test\nfigures 10 500000 70 3 33554432\n";
        assert_eq!(parse(said, Kind::Plain), Some((expected(10.0), 3.0)));
        assert_eq!(parse(said, Kind::Stream), Some((expected(0.5), 3.0)));
        assert_eq!(parse("figures 10 500000", Kind::Plain), None);
    }
}
