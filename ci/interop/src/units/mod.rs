//! Checks the systemd units of `examples/deploy`: systemd-analyze finds nothing wrong in them, the service runs as they
//! say under systemd-socket-activate, and a systemd runs it with them (`managed`).

mod managed;

use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use crate::curl::{Scratch, curl};
use crate::{Client, Outcome, Program, Report, Runtime, Server, ensure, root};

/// Where the units have the program.
const INSTALLED: &str = "/usr/local/bin/service";

/// The worst exposure level that `systemd-analyze security` may report, times ten. The scale ends at 100.
const MOST_EXPOSED: &str = "--threshold=19";

/// How long each step may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs all parts.
#[must_use]
pub fn run() -> Report {
    let mut report = Report::new("units", &[Runtime::Native]);
    let units = Units::new();
    for (name, check) in [
        ("systemd-analyze", analyze as fn(&Units) -> Outcome<String>),
        ("systemd-socket-activate", activate),
    ] {
        let outcome = match &units {
            Ok(units) => check(units),
            Err(why) => Err(why.clone()),
        };
        report.add(name, Runtime::Native, outcome);
    }
    managed::add_to(&mut report);
    report
}

/// The units, in which only the place of the program has changed.
struct Units {
    folder: Scratch,
    service: String,
}

impl Units {
    fn new() -> Outcome<Self> {
        let mut apt = Command::new(root().join("ci/apt"));
        let installed = apt
            .args(["systemd-analyze", "systemd-socket-activate"])
            .status();
        ensure!(
            installed.is_ok_and(|it| it.success()),
            "there is no systemd"
        );
        let program = Program::example(Runtime::Native, "service", true)?.path;
        let folder = Scratch::new()?;
        let mut service = String::new();
        for name in ["mini-http@.socket", "mini-http@.service"] {
            let path = root().join("examples/deploy").join(name);
            let unit =
                std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            service = unit.replace(INSTALLED, &program.display().to_string());
            folder.write(name, &service)?;
        }
        Ok(Self { folder, service })
    }

    /// The value of a setting of the service, for the instance 1.
    fn setting(&self, name: &str) -> Outcome<String> {
        let mut lines = self.service.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        value
            .map(|value| value.replace("%i", "1"))
            .ok_or_else(|| format!("the unit has no {name}"))
    }
}

fn analyze(units: &Units) -> Outcome<String> {
    let (socket, service) = (
        units.folder.file("mini-http@1.socket"),
        units.folder.file("mini-http@1.service"),
    );
    let verify = [
        "verify",
        "--man=no",
        "--recursive-errors=no",
        &socket,
        &service,
    ];
    let printed = systemd_analyze(&verify)?;
    ensure!(
        printed.trim().is_empty(),
        "systemd-analyze verify: {printed}"
    );
    let printed = systemd_analyze(&[
        "security",
        "--offline=true",
        "--no-pager",
        MOST_EXPOSED,
        &service,
    ])?;
    let rating = printed
        .lines()
        .rev()
        .find(|line| line.contains("exposure level"));
    let rating = rating.and_then(|line| line.split(": ").nth(1)?.split(' ').next());
    Ok(format!("exposure {}", rating.unwrap_or("?")))
}

fn systemd_analyze(arguments: &[&str]) -> Outcome<String> {
    let output = Command::new("systemd-analyze").args(arguments).output();
    let output = output.map_err(|e| format!("systemd-analyze: {e}"))?;
    let printed =
        [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned());
    let printed = printed.concat();
    ensure!(
        output.status.success(),
        "systemd-analyze {arguments:?}: {}\n{printed}",
        output.status
    );
    Ok(printed)
}

/// systemd-socket-activate starts the service at the first connection, with a socket of TCP and a Unix domain socket.
/// SIGTERM stops it. This program receives what the service reports to systemd.
fn activate(units: &Units) -> Outcome<String> {
    let path = units.folder.file("notices");
    let notices = UnixDatagram::bind(&path).map_err(|e| format!("{path}: {e}"))?;
    let set = notices.set_read_timeout(Some(PATIENCE));
    set.map_err(|e| format!("a timeout: {e}"))?;
    let watchdog: u64 = units
        .setting("WatchdogSec")?
        .parse()
        .map_err(|e| format!("WatchdogSec: {e}"))?;
    let variables = format!(
        "{} NOTIFY_SOCKET={path} WATCHDOG_USEC={watchdog}000000",
        units.setting("Environment")?
    );
    let program = units.setting("ExecStart")?;
    let socket = units.folder.file("http");
    let mut server = Server::with_command(Runtime::Native, |address| {
        let mut command = Command::new("systemd-socket-activate");
        command.args([format!("--listen={address}"), format!("--listen={socket}")]);
        for variable in variables.split(' ') {
            command.arg(format!("--setenv={variable}"));
        }
        command.arg(&program);
        Ok(command)
    })?;
    let mut client = Client::connect(server.address)?;
    client.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
    client.response()?.check(b"1\n")?;
    over_unix(&socket)?;
    server.signal("-TERM")?;
    server.ends_within(PATIENCE)?;
    server.check_log()?;
    let mut reported = Vec::new();
    while reported.last().is_none_or(|last| last != "STOPPING=1") {
        let mut message = [0; 256];
        let length = notices
            .recv(&mut message)
            .map_err(|e| format!("after {reported:?}: {e}"))?;
        let message = String::from_utf8_lossy(&message[..length]);
        reported.push(message.trim().to_owned());
    }
    // It reports to the watchdog at its start, and every few seconds.
    reported.dedup();
    ensure!(
        reported == ["READY=1", "WATCHDOG=1", "STOPPING=1"],
        "it reported {reported:?}"
    );
    Ok("ok".into())
}

/// The service has a Unix domain socket from systemd, too: it responds there, and the limits hold.
fn over_unix(socket: &str) -> Outcome {
    let long = format!("/{}", "x".repeat(9_000));
    for (target, expected) in [("/", "1\n200"), (&long, "414")] {
        let url = format!("http://localhost{target}");
        let printed = curl(&["--unix-socket", socket, "-w", "%{http_code}", &url])?.text();
        ensure!(
            printed.ends_with(expected),
            "at {socket}: {printed}, not {expected}"
        );
    }
    Ok(())
}
