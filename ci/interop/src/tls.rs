//! Checks the example `tls` with curl.

use crate::client::same;
use crate::curl::{Scratch, curl};
use crate::random::Random;
use crate::{Outcome, Program, Report, Runtime, Server, ensure};

/// Checks it, natively.
#[must_use]
pub fn run(runtimes: &[Runtime]) -> Report {
    let mut report = Report::new("tls", runtimes);
    for &runtime in runtimes {
        let mut running = Running::start(runtime);
        for (name, case) in CASES {
            let outcome = match &mut running {
                Ok(running) => case(running).and_then(|()| running.server.check_alive()),
                Err(why) => Err(why.clone()),
            };
            report.add(name, runtime, outcome.map(|()| "ok".into()));
        }
        let log = running.and_then(|it| it.server.check_log());
        report.add("log without complaints", runtime, log.map(|()| "ok".into()));
    }
    report
}

type Case = (&'static str, fn(&Running) -> Outcome);

const CASES: &[Case] = &[
    ("GET", get),
    ("TLS 1.2, TLS 1.3", versions),
    ("POST of 1 MiB", post),
    ("two URLs, one connection", persistent),
    ("20 parallel transfers", parallel),
    ("a refused request", refused),
    ("a certificate that isn't known", unknown),
    ("HTTP without TLS", plain),
    ("still responds", get),
];

/// The server, in a folder of its own, where it writes its certificate.
struct Running {
    server: Server,
    folder: Scratch,
}

impl Running {
    fn start(runtime: Runtime) -> Outcome<Self> {
        let program = Program::package(runtime, "tls")?;
        let folder = Scratch::new()?;
        let server = Server::with_command(runtime, |address| {
            let mut command = program.command(&address.to_string(), &[("RUST_LOG", "debug")])?;
            command.current_dir(folder.path());
            Ok(command)
        })?;
        Ok(Self { server, folder })
    }

    fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.server.address)
    }

    /// curl, which knows the certificate.
    fn curl(&self, arguments: &[&str]) -> Outcome<Vec<u8>> {
        let certificate = self.folder.file("localhost.pem");
        let all = [&["--cacert", &certificate], arguments].concat();
        Ok(curl(&all)?.out)
    }
}

fn get(it: &Running) -> Outcome {
    same(&it.curl(&[&it.url("/a?b")])?, b"GET /a?b, over TLS\n")?;
    // By name, too.
    let address = it.server.address;
    let name = format!("localhost:{}:{}", address.port(), address.ip());
    let url = format!("https://localhost:{}/", address.port());
    same(&it.curl(&["--resolve", &name, &url])?, b"GET /, over TLS\n")
}

fn versions(it: &Running) -> Outcome {
    for arguments in [
        ["--tlsv1.2", "--tls-max", "1.2"],
        ["--tlsv1.3", "--tls-max", "1.3"],
    ] {
        let url = it.url("/v");
        let said = it.curl(&[&arguments[..], &[&url]].concat())?;
        same(&said, b"GET /v, over TLS\n")?;
    }
    Ok(())
}

fn post(it: &Running) -> Outcome {
    let body = Random::new(7).bytes(1 << 20);
    let file = it.folder.write("body", &body)?;
    let data = format!("@{file}");
    for fields in [
        &["-H", "Expect:"][..],
        &["-H", "Transfer-Encoding: chunked"],
    ] {
        let url = it.url("/");
        let said = it.curl(&[fields, &["--data-binary", &data, &url]].concat())?;
        same(&said, &body)?;
    }
    Ok(())
}

fn persistent(it: &Running) -> Outcome {
    let (one, two) = (it.url("/1"), it.url("/2"));
    let said = it.curl(&["-w", "%{num_connects} ", &one, &two])?;
    same(&said, b"GET /1, over TLS\n1 GET /2, over TLS\n0 ")
}

fn parallel(it: &Running) -> Outcome {
    let url = it.url("/[1-20]");
    let said = it.curl(&["-Z", "--parallel-immediate", &url])?;
    let lines = String::from_utf8_lossy(&said).lines().count();
    ensure!(lines == 20, "{lines} responses");
    Ok(())
}

fn refused(it: &Running) -> Outcome {
    let url = it.url("/");
    let status = ["-o", &it.folder.file("refusal"), "-w", "%{http_code}"];
    let refused = ["-d", "x", "-H", "Transfer-Encoding: gzip", &url];
    same(&it.curl(&[&status[..], &refused].concat())?, b"400")
}

fn unknown(it: &Running) -> Outcome {
    let why = curl(&[&it.url("/")]).err().unwrap_or_default();
    ensure!(
        why.contains("certificate"),
        "without its certificate: {why}"
    );
    Ok(())
}

fn plain(it: &Running) -> Outcome {
    let said = curl(&[&it.server.url("/")]);
    ensure!(said.is_err(), "without TLS: {said:?}");
    Ok(())
}
