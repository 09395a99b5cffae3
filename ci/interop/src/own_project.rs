//! A program in a crate of its own, outside the checkout, as the README tells a user to make one.

use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::client::same;
use crate::curl::{Scratch, curl};
use crate::{Outcome, Program, Report, Runtime, Server, ensure, root};

/// The program that every version of this library has to compile and run unchanged, everywhere.
const PROGRAM: &str = include_str!("../own_project.rs");
/// The address that is fixed in it.
const ADDRESS: &str = "127.0.0.1:3000";

/// Builds and asks it, for each of these runtimes.
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
            "answers",
            runtime,
            match &mut server {
                Some(server) => ask(server).map(|()| "ok".into()),
                None => Err("it didn't start".into()),
            },
        );
    }
    report
}

/// The crate: a manifest with one dependency, and the program.
fn make_project() -> Outcome<Scratch> {
    let scratch = Scratch::new()?;
    let manifest = format!(
        "[package]\nname = \"own-project\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
         [dependencies]\nmini_http = {{ path = '{}' }}\n",
        root().display()
    );
    scratch.write("Cargo.toml", manifest)?;
    std::fs::create_dir(scratch.path().join("src")).map_err(|e| format!("src: {e}"))?;
    scratch.write("src/main.rs", PROGRAM)?;
    Ok(scratch)
}

fn start(scratch: &Scratch, runtime: Runtime) -> Outcome<Server> {
    let program = Program::build(runtime, scratch.path(), &[], false)?;
    if runtime != Runtime::Native {
        // Here the address is the runtime's to say.
        return Server::start(&program, &[]);
    }
    // Somebody else, a test in another checkout perhaps, may have the port for a while.
    let address: SocketAddr = ADDRESS.parse().map_err(|e| format!("{ADDRESS}: {e}"))?;
    let started = Instant::now();
    while TcpListener::bind(address).is_err() {
        ensure!(
            started.elapsed() < Duration::from_secs(60),
            "this program's address is fixed, and another one listens at {ADDRESS}"
        );
        sleep(Duration::from_millis(200));
    }
    Server::spawn(runtime, address, Command::new(&program.path))
}

fn ask(server: &mut Server) -> Outcome {
    let said = curl(&["-i", &server.url("/")])?.text();
    ensure!(
        said.to_ascii_lowercase()
            .contains("\r\nx-what-up: nothin\r\n"),
        "the field of the program is missing:\n{said}"
    );
    ensure!(said.ends_with("\r\n\r\nhello!"), "the answer is\n{said}");
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
