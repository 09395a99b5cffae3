//! Stores files of any size in one directory, and sends them back.
//!
//! `cargo run --example upload -- DIRECTORY`, then `curl -T FILE http://127.0.0.1:3000/` to store a file and
//! `curl -O http://127.0.0.1:3000/FILE` to get it back. The same source runs inside a WASI runtime, which has
//! to be given the directory:
//! `cargo run --target wasm32-wasip1 --example upload -- --dir DIRECTORY DIRECTORY`.
//!
//! A file is never in memory as a whole: an upload is written as it arrives, a download is read as the client
//! takes it. Other requests are served in between.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use http_body_util::BodyExt;
use mini_http::body::{AnyBody, Reader};
use mini_http::header::{ALLOW, HeaderValue};
use mini_http::http::Request;
use mini_http::status::StatusCode;
use mini_http::{Incoming, Response, Server};

/// A larger file gets 413.
const LARGEST: u64 = 16 << 30;

type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    env_logger::init();
    let directory = std::env::args().nth(1).ok_or("which directory?")?;
    let addr = std::env::var("MINI_HTTP_ADDR").unwrap_or("127.0.0.1:3000".into());
    // Before the first access to a file: in some preview 1 runtimes a listener hides the directories
    // from `std::fs`, and making the server brings them back.
    let server = Server::new(&addr)?;
    fs::metadata(&directory).map_err(|error| format!("{directory}: {error}"))?;
    let store = Rc::new(Store {
        directory: directory.into(),
        uploads: Cell::new(0),
    });
    server.serve_async(move |request| respond(Rc::clone(&store), request))?;
    Ok(())
}

struct Store {
    directory: PathBuf,
    /// How many uploads have begun: gives each a temporary name of its own.
    uploads: Cell<u64>,
}

/// Errors of the request's body become 400, 408 or 413, all others 500.
async fn respond(store: Rc<Store>, request: Request<Incoming>) -> Result<Response<AnyBody>, Error> {
    let name = request.uri().path().trim_start_matches('/').to_owned();
    if !is_name(&name) {
        return Ok(status(StatusCode::NOT_FOUND));
    }
    let path = store.directory.join(&name);
    match request.method().as_str() {
        "PUT" => {
            let number = store.uploads.replace(store.uploads.get() + 1);
            let temporary = store.directory.join(format!(".upload-{number}"));
            upload(&path, temporary, request.into_body()).await?;
            Ok(status(StatusCode::OK))
        }
        "GET" | "HEAD" => download(&path),
        _ => {
            let mut response = status(StatusCode::METHOD_NOT_ALLOWED);
            let allowed = HeaderValue::from_static("GET, HEAD, PUT");
            response.headers_mut().insert(ALLOW, allowed);
            Ok(response)
        }
    }
}

async fn upload(path: &Path, temporary: PathBuf, mut body: Incoming) -> Result<(), Error> {
    body.limit(LARGEST);
    let mut partial = Partial::create(temporary)?;
    while let Some(frame) = body.frame().await {
        // The last frame may be trailers.
        if let Ok(data) = frame?.into_data() {
            partial.file.write_all(&data)?;
        }
    }
    fs::rename(&partial.path, path)?;
    Ok(())
}

/// The file of an upload that isn't complete. If the client goes away, the future that owns it is dropped,
/// and the file is removed.
struct Partial {
    path: PathBuf,
    file: File,
}

impl Partial {
    fn create(path: PathBuf) -> io::Result<Self> {
        let file = File::create(&path)?;
        Ok(Self { path, file })
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // After an upload that is complete, there is no file of this name.
        let _ = fs::remove_file(&self.path);
    }
}

fn download(path: &Path) -> Result<Response<AnyBody>, Error> {
    // Not what a symbolic link leads to, which could be anywhere.
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => {
            let body = Reader::sized(File::open(path)?, metadata.len());
            Ok(Response::new(body.into()))
        }
        Ok(_) => Ok(status(StatusCode::NOT_FOUND)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(status(StatusCode::NOT_FOUND)),
        Err(error) => Err(error.into()),
    }
}

/// Whether this can only be the name of a visible file right in the directory. Nothing is decoded, so
/// there is no other way to write a slash or two dots.
fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !text.is_empty() && !text.starts_with('.') && text.bytes().all(allowed)
}

fn status(status: StatusCode) -> Response<AnyBody> {
    let mut response = Response::new(format!("{status}\n").into());
    *response.status_mut() = status;
    response
}
