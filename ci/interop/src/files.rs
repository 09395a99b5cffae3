//! Checks the example `download`, which needs a folder and a listener at once. In some runtimes that needs care.

use std::fs;

use crate::client::{Client, Response, same};
use crate::curl::{Scratch, curl};
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
    ("pages of folders", pages),
    (
        "a file of 3 MiB by curl, interrupted and continued",
        continued,
    ),
    ("ranges, each of them", ranges),
    ("conditions", conditions),
    ("no way out of the directory", traversal),
];

/// The directory `public`, which is served, and files outside it.
struct Folders {
    scratch: Scratch,
    image: Vec<u8>,
    large: Vec<u8>,
}

fn make() -> Outcome<Folders> {
    let scratch = Scratch::new()?;
    let folder = |name| fs::create_dir(scratch.file(name)).map_err(|e| format!("{name}: {e}"));
    folder("public")?;
    folder("public/below")?;
    let image = Random::new(5).bytes(200_000);
    let large = Random::new(6).bytes(3 << 20);
    scratch.write("secret.txt", "secret")?;
    scratch.write("public/hello.txt", "Hello from a file!")?;
    scratch.write("public/image.png", &image)?;
    scratch.write("public/.hidden", "secret")?;
    scratch.write("public/below/deep.txt", "deep")?;
    scratch.write("public/below/index.html", "<p>below")?;
    scratch.write("public/large.bin", &large)?;
    #[cfg(unix)]
    for (target, link) in [("../secret.txt", "public/link.txt"), ("..", "public/up")] {
        std::os::unix::fs::symlink(target, scratch.file(link))
            .map_err(|e| format!("{link}: {e}"))?;
    }
    Ok(Folders {
        scratch,
        image,
        large,
    })
}

fn start(runtime: Runtime, folders: &Folders) -> Outcome<Server> {
    let program = Program::package(runtime, "download")?;
    let folder = folders.scratch.file("public");
    Server::with_command(runtime, |address| {
        program.command_with_folder(&address.to_string(), &[("RUST_LOG", "debug")], &folder)
    })
}

fn get(server: &Server, target: &str) -> Outcome<Response> {
    let mut client = Client::connect(server.address)?;
    client.send(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"))?;
    client.response()
}

fn file(server: &Server, folders: &Folders) -> Outcome {
    let response = get(server, "/hello.txt")?;
    response.check(b"Hello from a file!")?;
    let kind: Vec<_> = response.values("content-type").collect();
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
        client.response()?.check(b"Hello from a file!")?;
    }
    Ok(())
}

fn methods(server: &Server, _folders: &Folders) -> Outcome {
    let mut client = Client::connect(server.address)?;
    client.send("HEAD /hello.txt HTTP/1.1\r\nHost: x\r\n\r\n")?;
    let head = client.response_head()?;
    let length: Vec<_> = head.values("content-length").collect();
    ensure!(
        head.status == 200 && length == ["18"],
        "HEAD:\n{}",
        head.head
    );
    client.send("POST /hello.txt HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx")?;
    let post = client.response()?;
    ensure!(post.status == 405, "POST: {}", post.status);
    Ok(())
}

fn missing(server: &Server, _folders: &Folders) -> Outcome {
    for target in ["/", "/none.txt", "/none/", "/below/none", "/hello.txt/"] {
        let response = get(server, target)?;
        ensure!(response.status == 404, "{target}: {}", response.status);
    }
    Ok(())
}

fn changed(server: &Server, folders: &Folders) -> Outcome {
    folders.scratch.write("public/new.txt", "one")?;
    get(server, "/new.txt")?.check(b"one")?;
    folders.scratch.write("public/new.txt", "two, longer")?;
    same(&get(server, "/new.txt")?.body, b"two, longer")
}

fn pages(server: &Server, _folders: &Folders) -> Outcome {
    get(server, "/below/")?.check(b"<p>below")?;
    get(server, "/below/deep.txt")?.check(b"deep")?;
    let said = curl(&["-L", "-w", " %{num_redirects}", &server.url("/below")])?.text();
    ensure!(said == "<p>below 1", "curl got {said}");
    Ok(())
}

/// A download that has ended early.
fn continued(server: &Server, folders: &Folders) -> Outcome {
    let url = server.url("/large.bin");
    let file = folders
        .scratch
        .write("continued", &folders.large[..1_000_000])?;
    curl(&["--fail", "-C", "-", "-o", &file, &url])?;
    same(&folders.scratch.read("continued")?, &folders.large)?;
    same(&curl(&["--fail", &url])?.out, &folders.large)
}

fn ranges(server: &Server, folders: &Folders) -> Outcome {
    let length = folders.image.len();
    let mut client = Client::connect(server.address)?;
    for (range, status, first, last) in [
        ("0-0", 206, 0, 0),
        ("70000-140001", 206, 70_000, 140_001),
        ("199999-", 206, 199_999, 199_999),
        ("-3", 206, 199_997, 199_999),
        ("-300000", 206, 0, 199_999),
        ("5-4", 200, 0, 199_999),
        ("0-1,3-4", 200, 0, 199_999),
        ("200000-", 416, 0, 0),
        ("-0", 416, 0, 0),
    ] {
        client.send(format!(
            "GET /image.png HTTP/1.1\r\nHost: x\r\nRange: bytes={range}\r\n\r\n"
        ))?;
        let response = client.response()?;
        ensure!(response.status == status, "{range}: {}", response.head);
        let content_range: Vec<_> = response.values("content-range").collect();
        let expected = match status {
            206 => format!("bytes {first}-{last}/{length}"),
            416 => format!("bytes */{length}"),
            _ => String::new(),
        };
        ensure!(
            content_range.concat() == expected,
            "{range}: {}",
            response.head
        );
        if status != 416 {
            same(&response.body, &folders.image[first..=last])
                .map_err(|e| format!("{range}: {e}"))?;
        }
    }
    Ok(())
}

fn conditions(server: &Server, _folders: &Folders) -> Outcome {
    let response = get(server, "/hello.txt")?;
    let value = |name| response.values(name).collect::<String>();
    let (etag, modified) = (value("etag"), value("last-modified"));
    let other = "\"other\"";
    let range = "Range: bytes=1-4\r\n";
    for (fields, status) in [
        (format!("If-None-Match: {etag}\r\n"), 304),
        (format!("If-None-Match: {other}, W/{etag}\r\n"), 304),
        (format!("If-None-Match: {other}\r\n"), 200),
        (format!("If-Modified-Since: {modified}\r\n"), 304),
        (
            "If-Modified-Since: Sat, 29 Oct 1994 19:43:31 GMT\r\n".into(),
            200,
        ),
        (format!("If-Match: {other}\r\n"), 412),
        (format!("{range}If-Range: {etag}\r\n"), 206),
        (format!("{range}If-Range: {other}\r\n"), 200),
        (format!("{range}If-Range: W/{etag}\r\n"), 200),
        (format!("{range}If-None-Match: {etag}\r\n"), 304),
    ] {
        let mut client = Client::connect(server.address)?;
        client.send(format!(
            "GET /hello.txt HTTP/1.1\r\nHost: x\r\n{fields}\r\n"
        ))?;
        let response = client.response()?;
        ensure!(response.status == status, "{fields}: {}", response.head);
        let body: &[u8] = match status {
            200 => b"Hello from a file!",
            206 => b"ello",
            304 => b"",
            _ => continue,
        };
        same(&response.body, body)?;
    }
    Ok(())
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
        "/below%2fdeep.txt",
        "/below/%2e%2e/%2e%2e/secret.txt",
        "/up/secret.txt",
        "/.hidden",
        "/%2ehidden",
        "/link.txt",
        "/hello.txt/../../secret.txt",
        "/hello.txt%00",
        &absolute,
        &format!("/{absolute}"),
        "http://x/../secret.txt",
    ] {
        let response = get(server, target)?;
        ensure!(
            matches!(response.status, 400 | 404),
            "{target}: {}",
            response.status
        );
        ensure!(
            !String::from_utf8_lossy(&response.body).contains("secret"),
            "{target} returns the secret"
        );
    }
    Ok(())
}
