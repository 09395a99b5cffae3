//! Whole requests, without a server.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_lite::stream;
use http_body_util::StreamBody;
use mini_http::http_body::Frame;
use mini_http::{Bytes, sleep};

use super::*;

const FORM: &str = "multipart/form-data; boundary=line";

fn post(directory: &Path, media_type: &str, body: impl Into<Incoming>) -> Response<Bytes> {
    let store = Rc::new(Store::new(directory.into()));
    let request = Request::builder().method("POST").uri("/");
    let request = request.header(CONTENT_TYPE, media_type).body(body);
    mini_http::test::run(
        |request| respond(store, request),
        request.expect("a request"),
    )
}

/// A field of a form: for a file, `more` is its name.
fn field(more: &str, content: &str) -> String {
    format!("--line\r\nContent-Disposition: form-data; name=\"a\"{more}\r\n\r\n{content}\r\n")
}

fn file(name: &str, content: &str) -> String {
    field(&format!("; filename=\"{name}\""), content)
}

/// All names in the folder, hidden ones, too.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("a folder");
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
    let mut names: Vec<_> = entries.map(|it| name(it).display().to_string()).collect();
    names.sort();
    names
}

#[test]
fn files_are_saved_under_safe_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "a\r\n--lin\r\n";
    let form = [
        field("", "no file"),
        file("a.txt", text),
        file("", ""),
        file("../b.txt", ""),
    ];
    let response = post(folder.path(), FORM, form.concat() + "--line--\r\n");
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(response.body(), "a.txt\nb.txt\n");
    assert_eq!(names(folder.path()), ["a.txt", "b.txt"]);
    let saved = fs::read_to_string(folder.path().join("a.txt")).expect("a file");
    assert_eq!(saved, text);
}

#[test]
fn no_file_is_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("a.txt"), "old").expect("a file");
    let response = post(folder.path(), FORM, file("a.txt", "new") + "--line--\r\n");
    assert_eq!(response.status(), StatusCode::CONFLICT);
    let saved = fs::read_to_string(folder.path().join("a.txt")).expect("a file");
    assert_eq!(saved, "old");
    // Twice in one form.
    let form = file("b.txt", "1") + &file("b.txt", "2") + "--line--\r\n";
    assert_eq!(
        post(folder.path(), FORM, form).status(),
        StatusCode::CONFLICT
    );
    assert_eq!(names(folder.path()), ["a.txt", "b.txt"]);
}

#[test]
fn nothing_is_left_of_an_incomplete_upload() {
    let folder = tempfile::tempdir().expect("a folder");
    let cut = file("a.txt", "0123456789");
    let response = post(folder.path(), FORM, cut[..cut.len() - 5].to_owned());
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert!(names(folder.path()).is_empty());
}

/// `multer` passes on no name that isn't UTF-8, as if the field weren't a file. 201 would say that it was saved.
#[test]
fn a_form_without_a_file_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let unnamed = b"--line\r\nContent-Disposition: form-data; name=\"a\"; filename=\"\xff\"\r\n\r\nx\r\n--line--\r\n";
    for form in [
        &b"--line--\r\n"[..],
        (field("", "no file") + "--line--\r\n").into_bytes().leak(),
        unnamed,
    ] {
        let response = post(folder.path(), FORM, Bytes::from_static(form));
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        assert_eq!(response.body(), "the form has no file\n");
    }
    assert!(names(folder.path()).is_empty());
}

#[test]
fn other_bodies_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    for media_type in ["text/plain", "multipart/form-data", ""] {
        let status = post(folder.path(), media_type, "x").status();
        assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{media_type}");
    }
    let many: String = (0..=MOST_FILES)
        .map(|n| file(&format!("{n}"), ""))
        .collect();
    let response = post(folder.path(), FORM, many + "--line--\r\n");
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    // Those before it are saved.
    assert_eq!(names(folder.path()).len(), MOST_FILES);
}

/// It is refused before much of it is in memory: the pieces come one by one, as from a client.
#[test]
fn a_head_of_a_field_that_never_ends_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    let pieces = stream::unfold(Bytes::from("--line\r\nX: "), move |piece| {
        count.fetch_add(piece.len(), Ordering::Relaxed);
        async {
            sleep(Duration::from_secs(1)).await;
            let next = Bytes::from(vec![b'x'; 64 << 10]);
            Some((Ok::<_, Infallible>(Frame::data(piece)), next))
        }
    });
    let body = Incoming::from_body(StreamBody::new(Box::pin(pieces)));
    let response = post(folder.path(), FORM, body);
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert_eq!(response.body(), "the head of a field is too long\n");
    let sent = sent.load(Ordering::Relaxed);
    assert!(sent < 512 << 10, "{sent} bytes were taken");
}
