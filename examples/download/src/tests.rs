//! Whole requests, without a server.

use mini_http::Bytes;
use mini_http::header::{CONTENT_LENGTH, IF_NONE_MATCH, IF_RANGE};

use super::*;

/// A folder with a page and a file below it, beside a file outside.
struct Folder {
    directory: tempfile::TempDir,
}

impl Folder {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            fs::write(directory.path().join(name), text).expect("a file");
        };
        write("secret", "secret");
        fs::create_dir_all(directory.path().join("public/below")).expect("a folder");
        write("public/index.html", "<p>hello");
        write("public/below/ten.bin", "0123456789");
        write("public/.hidden", "secret");
        Self { directory }
    }

    fn ask(&self, method: Method, path: &str, fields: &[(HeaderName, &str)]) -> Response<Bytes> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in fields {
            request = request.header(name, *value);
        }
        let public = self.directory.path().join("public");
        let request = request.body(()).expect("a request");
        mini_http::test::run(async |request| respond(&public, &request), request)
    }

    fn get(&self, path: &str, fields: &[(HeaderName, &str)]) -> (u16, Bytes) {
        let response = self.ask(Method::GET, path, fields);
        (response.status().as_u16(), response.into_body())
    }
}

fn field(response: &Response<Bytes>, name: HeaderName) -> &str {
    let value = response.headers().get(name);
    value.map_or("", |value| value.to_str().expect("text"))
}

#[test]
fn files_and_pages_of_folders() {
    let folder = Folder::new();
    let response = folder.ask(Method::GET, "/", &[]);
    assert_eq!(response.body(), "<p>hello");
    assert_eq!(field(&response, CONTENT_TYPE), "text/html; charset=utf-8");
    assert_eq!(field(&response, ACCEPT_RANGES), "bytes");
    let (status, body) = folder.get("/below/ten.bin", &[]);
    assert_eq!((status, &body[..]), (200, &b"0123456789"[..]));
    let response = folder.ask(Method::GET, "/below", &[]);
    assert_eq!(response.status(), 301);
    assert_eq!(field(&response, LOCATION), "/below/");
    // It has no page.
    assert_eq!(folder.get("/below/", &[]).0, 404);
}

#[test]
fn nothing_else_is_served() {
    let folder = Folder::new();
    #[cfg(unix)]
    {
        let public = folder.directory.path().join("public");
        let link = std::os::unix::fs::symlink::<&str, std::path::PathBuf>;
        link("../secret", public.join("link")).expect("a link");
        link("..", public.join("up")).expect("a link");
    }
    for path in [
        "/none",
        "/../secret",
        "/%2e%2e/secret",
        "/..%2fsecret",
        "/.hidden",
        "/link",
        "/up/secret",
        "/up",
        "/index.html/",
        "/index.html/x",
        "//secret",
        "/below/../index.html",
        "/index.html%00",
    ] {
        assert_eq!(folder.get(path, &[]).0, 404, "{path}");
    }
    let response = folder.ask(Method::POST, "/", &[]);
    assert_eq!(response.status(), 405);
    assert_eq!(field(&response, ALLOW), "GET, HEAD");
}

#[test]
fn a_range() {
    let folder = Folder::new();
    let response = folder.ask(Method::GET, "/below/ten.bin", &[(RANGE, "bytes=2-4")]);
    assert_eq!(response.status(), 206);
    assert_eq!(field(&response, CONTENT_RANGE), "bytes 2-4/10");
    assert_eq!(response.body(), "234");
    let response = folder.ask(Method::GET, "/below/ten.bin", &[(RANGE, "bytes=10-")]);
    assert_eq!(response.status(), 416);
    assert_eq!(field(&response, CONTENT_RANGE), "bytes */10");
    // Several, and HEAD: the whole file.
    let two = [(RANGE, "bytes=0-0,2-2")];
    assert_eq!(folder.get("/below/ten.bin", &two).0, 200);
    let twice = [(RANGE, "bytes=0-0"), (RANGE, "bytes=2-2")];
    assert_eq!(folder.get("/below/ten.bin", &twice).0, 200);
    let head = folder.ask(Method::HEAD, "/below/ten.bin", &[(RANGE, "bytes=2-4")]);
    assert_eq!((head.status().as_u16(), head.body().len()), (200, 0));
}

#[test]
fn conditions() {
    let folder = Folder::new();
    let path = "/below/ten.bin";
    let etag = field(&folder.ask(Method::GET, path, &[]), ETAG).to_owned();
    let response = folder.ask(Method::GET, path, &[(IF_NONE_MATCH, &etag)]);
    assert_eq!(response.status(), 304);
    // A cache updates what it has from these (RFC 9110 §15.4.5).
    assert_eq!(field(&response, ETAG), etag);
    for name in [CONTENT_LENGTH, CONTENT_TYPE, ACCEPT_RANGES] {
        assert_eq!(field(&response, name), "");
    }
    assert!(response.body().is_empty());
    let range = (RANGE, "bytes=2-4");
    let (status, body) = folder.get(path, &[range.clone(), (IF_RANGE, &etag)]);
    assert_eq!((status, &body[..]), (206, &b"234"[..]));
    let (status, body) = folder.get(path, &[range.clone(), (IF_RANGE, "\"other\"")]);
    assert_eq!((status, body.len()), (200, 10));
    // A condition that fails comes before the range (§13.2.2).
    assert_eq!(folder.get(path, &[range, (IF_NONE_MATCH, &etag)]).0, 304);
    let other = [(mini_http::header::IF_MATCH, "\"other\"")];
    assert_eq!(folder.get(path, &other).0, 412);
}
