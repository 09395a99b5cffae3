//! Serves the files of one directory, and nothing below or above it.
//!
//! `cargo run --example files -- DIRECTORY`, then `curl http://127.0.0.1:3000/NAME`. The same source
//! runs inside a WASI runtime, which has to be given the directory:
//! `cargo run --target wasm32-wasip1 --example files -- --dir DIRECTORY DIRECTORY`.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use mini_http::status::StatusCode;
use mini_http::{Request, Response, Server, header};

/// What is larger isn't served: the handler reads a file as a whole, while everybody else waits.
const LARGEST: u64 = 1 << 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    env_logger::init();
    let directory = std::env::args().nth(1).ok_or("which directory?")?;
    let addr = std::env::var("MINI_HTTP_ADDR").unwrap_or("127.0.0.1:3000".into());
    // Before the first look at a file: in some preview 1 runtimes a listener hides the directories
    // from `std::fs`, and making the server brings them back.
    let server = Server::new(&addr)?;
    fs::metadata(&directory).map_err(|error| format!("{directory}: {error}"))?;
    server.start(move |request| answer(Path::new(&directory), &request))?;
    Ok(())
}

fn answer(directory: &Path, request: &Request) -> Response<Vec<u8>> {
    if !matches!(request.method().as_str(), "GET" | "HEAD") {
        let mut response = error(StatusCode::METHOD_NOT_ALLOWED);
        let allowed = header::HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(header::ALLOW, allowed);
        return response;
    }
    let name = request.uri().path().trim_start_matches('/');
    if !is_name(name) {
        return error(StatusCode::NOT_FOUND);
    }
    match read(&directory.join(name)) {
        Ok(Some(bytes)) => {
            let mut response = Response::new(bytes);
            let kind = header::HeaderValue::from_static(media_type(name));
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            response
        }
        Ok(None) => error(StatusCode::NOT_FOUND),
        Err(why) => {
            // The client isn't told what the server's disk looks like.
            log::warn!("{name}: {why}");
            error(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

/// Whether this can only be the name of a visible file right in the directory. Nothing is decoded, so
/// there is no other way to write a slash or two dots.
fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !text.is_empty() && !text.starts_with('.') && text.bytes().all(allowed)
}

/// The bytes of a file; nothing if there is none of that name, or it is too large.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    // Not what a symbolic link leads to, which could be anywhere.
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() && metadata.len() <= LARGEST => {}
        Ok(_) => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(LARGEST).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("txt" | "md") => "text/plain; charset=utf-8",
        Some("png") => "image/png",
        _ => "application/octet-stream",
    }
}

fn error(status: StatusCode) -> Response<Vec<u8>> {
    let mut response = Response::new(format!("{status}\n").into_bytes());
    *response.status_mut() = status;
    response
}
