//! Checks a program in a crate of its own, outside the checkout, which is made as the README describes.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::client::same;
use crate::curl::{Scratch, curl};
use crate::program::share_build;
use crate::{Outcome, Program, Report, Runtime, Server, ensure, root};

/// The program that every version of this library has to compile and run unchanged, everywhere.
const PROGRAM: &str = include_str!("../own_project.rs");
/// The address that is fixed in it.
const ADDRESS: &str = "127.0.0.1:3000";

/// Builds, starts and requests it, in each of these runtimes.
#[must_use]
pub fn run(runtimes: &[Runtime]) -> Report {
    let mut report = Report::new("own project", runtimes);
    let scratch = make_project();
    for &runtime in runtimes {
        let server = match &scratch {
            Ok(scratch) => start(scratch, runtime),
            Err(why) => Err(why.clone()),
        };
        report.add(
            "builds and starts",
            runtime,
            match &server {
                Ok(_) => Ok("ok".into()),
                Err(why) => Err(why.clone()),
            },
        );
        let mut server = server.ok();
        report.add(
            "responds",
            runtime,
            match &mut server {
                Some(server) => ask(server).map(|()| "ok".into()),
                None => Err("it didn't start".into()),
            },
        );
    }
    report
}

/// Makes the crate with the commands of the README. Only the program is this one.
fn make_project() -> Outcome<Scratch> {
    let scratch = Scratch::new()?;
    share_build(scratch.path())?;
    let library = root().display().to_string();
    cargo(scratch.path(), &["new", "my-server"])?;
    let folder = scratch.path().join("my-server");
    cargo(&folder, &["add", "--path", &library, "mini-http-server"])?;
    scratch.write("my-server/src/main.rs", PROGRAM)?;
    Ok(scratch)
}

fn cargo(folder: &Path, arguments: &[&str]) -> Outcome {
    let mut command = Command::new("cargo");
    command.arg("--quiet").args(arguments).current_dir(folder);
    let output = command.output().map_err(|e| format!("cargo: {e}"))?;
    let why = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed: {why}");
    Ok(())
}

fn start(scratch: &Scratch, runtime: Runtime) -> Outcome<Server> {
    let folder = scratch.path().join("my-server");
    // The README builds modules with --release.
    let program = Program::build(runtime, &folder, &[], runtime != Runtime::Native)?;
    if !runtime.binds() {
        // In such a runtime, its options set the address.
        return Server::start(&program, &[]);
    }
    // Another process may use the port for a while, such as a test in another checkout.
    let address: SocketAddr = ADDRESS.parse().map_err(|e| format!("{ADDRESS}: {e}"))?;
    let started = Instant::now();
    while TcpListener::bind(address).is_err() {
        ensure!(
            started.elapsed() < Duration::from_secs(60),
            "this program's address is fixed, and another one listens at {ADDRESS}"
        );
        sleep(Duration::from_millis(200));
    }
    let command = runtime.command(&program.path, ADDRESS, &[])?;
    Server::spawn(runtime, address, command)
}

fn ask(server: &mut Server) -> Outcome {
    let said = curl(&["-i", &server.url("/")])?.text();
    ensure!(
        said.to_ascii_lowercase()
            .contains("\r\nx-what-up: nothin\r\n"),
        "the field of the program is missing:\n{said}"
    );
    ensure!(said.ends_with("\r\n\r\nhello!"), "the response is\n{said}");
    let said = curl(&["--data", "it's me", &server.url("/")])?;
    same(&said.out, b"it's me")?;
    server.check_alive()?;
    server.check_log()?;
    let log = server.log();
    ensure!(
        log.contains(r#"Ok("it's me")"#),
        "it didn't print the body:\n{log}"
    );
    Ok(())
}
