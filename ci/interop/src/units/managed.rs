//! The units under a systemd of their own, which `ci/systemd` starts: it opens the socket, starts the service in its
//! sandbox at the first connection, and restarts it. These cases are left out where no such systemd can be started.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::PATIENCE;
use crate::load::{Kind, Load};
use crate::report::leave_out;
use crate::wait::within;
use crate::{Client, Outcome, Program, Report, Runtime, ensure, root};

/// The instance, whose number is the last digit of the port. Other checks use the smaller ones.
const INSTANCE: &str = "9";
const ADDRESS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 3009);
const SOCKET: &str = "mini-http@9.socket";
const SERVICE: &str = "mini-http@9.service";

/// The exit status of `ci/systemd` where it can't start a systemd.
const CANNOT: i32 = 77;

/// How often the service is restarted under load: more often than systemd allows by default in 10 s.
const RESTARTS: u64 = 6;
/// After how many requests it is restarted each time.
const REQUESTS: u64 = 200;
const PAUSE: Duration = Duration::from_millis(3);
const KINDS: [Kind; 2] = [
    Kind {
        clients: 2,
        method: "GET",
        keeps: false,
    },
    Kind {
        clients: 2,
        method: "GET",
        keeps: true,
    },
];
/// How many requests may be sent again, because they were sent just when the connection was closed. The client can't
/// avoid that.
const MOST_AGAIN: usize = 2;

/// A step, with its name in the report.
type Step = (&'static str, fn(&Systemd) -> Outcome<String>);

const STEPS: [Step; 4] = [
    ("systemd: the first connection starts it", starts),
    ("systemd: it is restarted when it is stuck", is_restarted),
    ("systemd: it says that it stops", stops),
    ("systemd: restarts under load", restarts),
];

/// Runs the steps, if a systemd can be started.
pub(super) fn add_to(report: &mut Report) {
    match Systemd::start() {
        Ok(Some(systemd)) => {
            for (name, step) in STEPS {
                report.add(name, Runtime::Native, step(&systemd));
            }
        }
        Ok(None) => {}
        Err(why) => report.add("systemd", Runtime::Native, Err(why)),
    }
}

/// The service reports that it is ready, and runs in the sandbox of the unit.
fn starts(systemd: &Systemd) -> Outcome<String> {
    systemd.control(&["start", SOCKET])?;
    ensure!(
        systemd.show("ActiveState")? == "inactive",
        "it runs already"
    );
    check_response()?;
    systemd.wait_for("active")?;
    let status = systemd.status()?;
    let field = |name: &str| {
        let mut lines = status.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.unwrap_or_default().trim()
    };
    ensure!(
        field("NoNewPrivs") == "1" && field("Seccomp") == "2",
        "it has no filter of system calls: {status}"
    );
    ensure!(
        field("CapBnd").chars().all(|digit| digit == '0'),
        "it has capabilities: {status}"
    );
    ensure!(!field("Uid").starts_with('0'), "it is root: {status}");
    Ok("ok".into())
}

/// A request that is sent while the loop is stuck is served by the next process.
fn is_restarted(systemd: &Systemd) -> Outcome<String> {
    let before = systemd.show("MainPID")?;
    systemd.control(&["kill", "--kill-whom=main", "--signal=STOP", SERVICE])?;
    let since = Instant::now();
    check_response()?;
    let took = since.elapsed();
    systemd.wait_for("active")?;
    let (after, count) = (systemd.show("MainPID")?, systemd.show("NRestarts")?);
    ensure!(before != after && count == "1", "{count} restarts");
    Ok(format!("after {:.1} s", took.as_secs_f32()))
}

/// systemd knows that the service stops while a request is still under way. That one gets its response.
fn stops(systemd: &Systemd) -> Outcome<String> {
    let mut client = Client::connect(ADDRESS)?;
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na")?;
    // It has read the head when it has served this one.
    check_response()?;
    systemd.control(&["kill", "--kill-whom=main", "--signal=TERM", SERVICE])?;
    systemd.wait_for("deactivating")?;
    client.send("b")?;
    client
        .response()?
        .check(format!("{INSTANCE}\n").as_bytes())?;
    check_response()?;
    systemd.wait_for("active")?;
    Ok("ok".into())
}

fn restarts(systemd: &Systemd) -> Outcome<String> {
    let load = Load::start(ADDRESS, &KINDS, PAUSE);
    let mut restarted = Ok(());
    for number in 1..=RESTARTS {
        let enough = within(PATIENCE, || {
            (load.count() >= number * REQUESTS).then_some(())
        });
        if enough.is_none() {
            restarted = Err(format!("only {} requests have ended", load.count()));
        }
        restarted = restarted.and_then(|()| systemd.control(&["restart", SERVICE]).map(drop));
    }
    let sent = load.end()?;
    restarted?;
    let expected = Ok(format!("{INSTANCE}\n"));
    let lost = sent.iter().find(|it| it.outcome != expected);
    ensure!(
        lost.is_none(),
        "of {} requests one got {lost:?}",
        sent.len()
    );
    let again = sent.iter().filter(|it| it.again).count();
    ensure!(again <= MOST_AGAIN, "{again} requests were sent again");
    systemd.control(&["stop", SOCKET, SERVICE])?;
    let result = systemd.show("Result")?;
    ensure!(result == "success", "it ended with {result}");
    Ok(format!("{} requests, {again} sent again", sent.len()))
}

fn check_response() -> Outcome {
    let mut client = Client::connect(ADDRESS)?;
    client.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
    client.response()?.check(format!("{INSTANCE}\n").as_bytes())
}

/// The systemd. It ends, with the service, when this is dropped.
struct Systemd {
    starter: Child,
    pid: String,
}

impl Systemd {
    /// Returns `None` where no systemd can be started.
    fn start() -> Outcome<Option<Self>> {
        let program = Program::example(Runtime::Native, "service", true)?.path;
        let mut command = Command::new(root().join("ci/systemd"));
        command.arg(program).stdin(Stdio::null());
        let mut starter = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| format!("ci/systemd: {e}"))?;
        let mut pid = String::new();
        let stdout = starter.stdout.take().ok_or("ci/systemd has no output")?;
        let read = BufReader::new(stdout).read_line(&mut pid);
        read.map_err(|e| format!("the output of ci/systemd: {e}"))?;
        let pid = pid.trim().to_owned();
        if pid.is_empty() {
            return left_out(starter);
        }
        let systemd = Self { starter, pid };
        let running = within(PATIENCE, || systemd.control(&["is-system-running"]).ok());
        ensure!(running.is_some(), "systemd has not started");
        Ok(Some(systemd))
    }

    fn control(&self, arguments: &[&str]) -> Outcome<String> {
        let mut words = vec!["systemctl", "--no-pager"];
        words.extend(arguments);
        self.inside(&words)
    }

    /// Waits until the service is in this state.
    fn wait_for(&self, state: &str) -> Outcome {
        let came = within(PATIENCE, || {
            (self.show("ActiveState").ok()? == state).then_some(())
        });
        if came.is_some() {
            return Ok(());
        }
        // It fails for a service that isn't running.
        let status = self.inside(&["sh", "-c", &format!("systemctl status {SERVICE} || true")])?;
        Err(format!("it is not {state}: {status}"))
    }

    /// A property of the service.
    fn show(&self, property: &str) -> Outcome<String> {
        self.control(&["show", "--value", "--property", property, SERVICE])
    }

    /// What the system says of the service's process.
    fn status(&self) -> Outcome<String> {
        let pid = self.show("MainPID")?;
        self.inside(&["cat", &format!("/proc/{pid}/status")])
    }

    /// Runs a program where the systemd is.
    fn inside(&self, words: &[&str]) -> Outcome<String> {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.pid, "--mount", "--pid"]);
        let output = command.args(words).output();
        let output = output.map_err(|e| format!("nsenter: {e}"))?;
        let printed = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        ensure!(
            output.status.success(),
            "{words:?}: {printed} {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(printed)
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        // All processes of a namespace end with its first one.
        let _ = Command::new("kill").args(["-KILL", &self.pid]).status();
        let _ = self.starter.wait();
    }
}

/// Lists the cases as left out, with the reason that `ci/systemd` has printed. Fails if it has failed otherwise.
fn left_out(mut starter: Child) -> Outcome<Option<Systemd>> {
    let mut why = String::new();
    if let Some(mut errors) = starter.stderr.take() {
        let _ = errors.read_to_string(&mut why);
    }
    let status = starter.wait().map_err(|e| format!("ci/systemd: {e}"))?;
    ensure!(status.code() == Some(CANNOT), "ci/systemd: {status}: {why}");
    leave_out(&format!("units under a systemd: {}", why.trim()));
    Ok(None)
}
