//! Checks the example `files`, which needs a directory and a listener at once. In some runtimes that needs care.

use std::fs;

use crate::client::{Answer, Client, same};
use crate::curl::Scratch;
use crate::random::Random;
use crate::{Outcome, Program, Report, Runtime, Server, ensure};

/// Tries it on each of these runtimes.
#[must_use]
pub fn run(runtimes: &[Runtime]) -> Report {
    let mut report = Report::new("files", runtimes);
    for &runtime in runtimes {
        let folders = make();
        let server = folders.and_then(|folders| Ok((start(runtime, &folders)?, folders)));
        for (name, case) in CASES {
            let outcome = match &server {
                Ok((server, folders)) => case(server, folders).and_then(|()| server.check_log()),
                Err(why) => Err(why.clone()),
            };
            report.add(name, runtime, outcome.map(|()| "ok".into()));
        }
    }
    report
}

type Case = (&'static str, fn(&Server, &Folders) -> Outcome);

const CASES: &[Case] = &[
    ("a file", file),
    ("the same, beside idle connections", beside_idle),
    ("HEAD, POST", methods),
    ("no such file", missing),
    ("a file that has changed", changed),
    ("no way out of the directory", traversal),
];

/// The directory `public`, which is served, and files outside it.
struct Folders {
    scratch: Scratch,
    image: Vec<u8>,
}

fn make() -> Outcome<Folders> {
    let scratch = Scratch::new()?;
    let folder = |name| fs::create_dir(scratch.file(name)).map_err(|e| format!("{name}: {e}"));
    folder("public")?;
    folder("public/below")?;
    let image = Random::new(5).bytes(200_000);
    scratch.write("secret.txt", "secret")?;
    scratch.write("public/hello.txt", "Hello from a file!")?;
    scratch.write("public/image.png", &image)?;
    scratch.write("public/.hidden", "secret")?;
    scratch.write("public/below/deep.txt", "secret")?;
    scratch.write("public/large.bin", vec![0; (1 << 20) + 1])?;
    #[cfg(unix)]
    std::os::unix::fs::symlink("../secret.txt", scratch.file("public/link.txt"))
        .map_err(|e| format!("link.txt: {e}"))?;
    Ok(Folders { scratch, image })
}

fn start(runtime: Runtime, folders: &Folders) -> Outcome<Server> {
    let program = Program::example(runtime, "files", false)?;
    let folder = folders.scratch.file("public");
    Server::with_command(runtime, |address| {
        let mut command = program.command(&address.to_string(), &[("RUST_LOG", "debug")])?;
        if runtime != Runtime::Native {
            command.args(["--dir", &folder, "--"]);
        }
        command.arg(&folder);
        Ok(command)
    })
}

fn get(server: &Server, target: &str) -> Outcome<Answer> {
    let mut client = Client::connect(server.address)?;
    client.send(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"))?;
    client.answer()
}

fn file(server: &Server, folders: &Folders) -> Outcome {
    let answer = get(server, "/hello.txt")?;
    answer.check(b"Hello from a file!")?;
    let kind: Vec<_> = answer.values("content-type").collect();
    ensure!(kind == ["text/plain; charset=utf-8"], "its type: {kind:?}");
    get(server, "/image.png?v=2")?.check(&folders.image)
}

fn beside_idle(server: &Server, folders: &Folders) -> Outcome {
    let idle: Outcome<Vec<_>> = (0..20).map(|_| Client::connect(server.address)).collect();
    for _ in 0..5 {
        file(server, folders)?;
    }
    for client in &mut idle? {
        client.send("GET /hello.txt HTTP/1.1\r\nHost: x\r\n\r\n")?;
        client.answer()?.check(b"Hello from a file!")?;
    }
    Ok(())
}

fn methods(server: &Server, _folders: &Folders) -> Outcome {
    let mut client = Client::connect(server.address)?;
    client.send("HEAD /hello.txt HTTP/1.1\r\nHost: x\r\n\r\n")?;
    let head = client.head_answer()?;
    let length: Vec<_> = head.values("content-length").collect();
    ensure!(
        head.status == 200 && length == ["18"],
        "HEAD:\n{}",
        head.head
    );
    client.send("POST /hello.txt HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx")?;
    let post = client.answer()?;
    ensure!(post.status == 405, "POST: {}", post.status);
    Ok(())
}

fn missing(server: &Server, _folders: &Folders) -> Outcome {
    for target in ["/", "/none.txt", "/large.bin", "/below"] {
        let answer = get(server, target)?;
        ensure!(answer.status == 404, "{target}: {}", answer.status);
    }
    Ok(())
}

fn changed(server: &Server, folders: &Folders) -> Outcome {
    folders.scratch.write("public/new.txt", "one")?;
    get(server, "/new.txt")?.check(b"one")?;
    folders.scratch.write("public/new.txt", "two, longer")?;
    same(&get(server, "/new.txt")?.body, b"two, longer")
}

fn traversal(server: &Server, folders: &Folders) -> Outcome {
    let absolute = folders.scratch.file("secret.txt");
    for target in [
        "/../secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e/secret.txt",
        "/%2e%2e%2fsecret.txt",
        "/..\\secret.txt",
        "//../secret.txt",
        "/./../secret.txt",
        "/below/../../secret.txt",
        "/below/deep.txt",
        "/below%2fdeep.txt",
        "/.hidden",
        "/%2ehidden",
        "/link.txt",
        "/hello.txt/../../secret.txt",
        "/hello.txt%00",
        &absolute,
        &format!("/{absolute}"),
        "http://x/../secret.txt",
    ] {
        let answer = get(server, target)?;
        ensure!(
            matches!(answer.status, 400 | 404),
            "{target}: {}",
            answer.status
        );
        ensure!(
            !String::from_utf8_lossy(&answer.body).contains("secret"),
            "{target} returns the secret"
        );
    }
    Ok(())
}
