//! Serves a folder of files: a whole file, a range of it, or 304 if the client has it already.
//!
//! In the folder `examples`: `cargo run -p download -- FOLDER`, then `curl -O http://127.0.0.1:3000/NAME`, or
//! `curl -C - -O …` to continue. The same source runs in a WASI runtime, which has to be given the folder:
//! `cargo run -p download --target wasm32-wasip1 -- --dir FOLDER FOLDER`.
//!
//! | module | what it decides |
//! |---|---|
//! | `folder` | which file a path means. There is no way out of the folder |
//! | `conditions` | whether the client has the file already: `If-None-Match` and so on (RFC 9110 §13) |
//! | `range` | which part of it the client wants (RFC 9110 §14) |
//!
//! A file is read in pieces of 64 KiB, as the client takes them: a large one needs no memory, and others are
//! served in between.

mod conditions;
mod folder;
mod range;

use std::fs::{self, File};
use std::future::ready;
use std::io::{self, Seek, SeekFrom};
use std::path::Path;
use std::time::SystemTime;

use mini_http::body::{AnyBody, Reader};
use mini_http::header::{
    ACCEPT_RANGES, ALLOW, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, HeaderValue,
    LAST_MODIFIED, LOCATION, RANGE, X_CONTENT_TYPE_OPTIONS,
};
use mini_http::http::{Method, Request, StatusCode};
use mini_http::{Incoming, Response, Server};

use conditions::{Validators, Verdict};
use folder::Found;
use range::Wanted;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    env_logger::init();
    let directory = std::env::args().nth(1).ok_or("usage: download FOLDER")?;
    let addr = std::env::var("MINI_HTTP_ADDR").unwrap_or("127.0.0.1:3000".into());
    // Before the first access to a file: in some preview 1 runtimes a listener hides the folders from
    // `std::fs`, and making the server brings them back.
    let server = Server::new(&addr)?;
    fs::metadata(&directory).map_err(|error| format!("{directory}: {error}"))?;
    server.serve_async(move |request| ready(respond(Path::new(&directory), &request)))?;
    Ok(())
}

/// An error becomes 500. It is only logged, because its text may contain paths of the server.
fn respond(directory: &Path, request: &Request<Incoming>) -> io::Result<Response<AnyBody>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = status(StatusCode::METHOD_NOT_ALLOWED);
        set(&mut response, ALLOW, "GET, HEAD");
        return Ok(response);
    }
    let path = request.uri().path();
    match folder::find(directory, path)? {
        Found::File(file, media_type) => send(request, file, &media_type),
        Found::Folder => {
            // With the slash, links of its page are relative to the folder.
            let mut response = status(StatusCode::MOVED_PERMANENTLY);
            set(&mut response, LOCATION, &format!("{path}/"));
            Ok(response)
        }
        Found::Nothing => Ok(status(StatusCode::NOT_FOUND)),
    }
}

fn send(
    request: &Request<Incoming>,
    mut file: File,
    media_type: &str,
) -> io::Result<Response<AnyBody>> {
    let metadata = file.metadata()?;
    let length = metadata.len();
    // Some file systems keep no times.
    let validators = Validators::new(metadata.modified().ok(), length);
    let mut response = match conditions::judge(request.headers(), validators.as_ref()) {
        Verdict::Failed => return Ok(status(StatusCode::PRECONDITION_FAILED)),
        Verdict::NotModified => with_status(StatusCode::NOT_MODIFIED, AnyBody::empty()),
        Verdict::Send => match wanted(request, validators.as_ref(), length) {
            Wanted::Whole => Response::new(Reader::sized(file, length).into()),
            Wanted::Part { first, last } => {
                file.seek(SeekFrom::Start(first))?;
                let body = Reader::sized(file, last - first + 1);
                let mut response = with_status(StatusCode::PARTIAL_CONTENT, body.into());
                set(
                    &mut response,
                    CONTENT_RANGE,
                    &format!("bytes {first}-{last}/{length}"),
                );
                response
            }
            Wanted::Nothing => {
                let mut response = status(StatusCode::RANGE_NOT_SATISFIABLE);
                set(&mut response, CONTENT_RANGE, &format!("bytes */{length}"));
                return Ok(response);
            }
        },
    };
    // The client has the rest (RFC 9110 §15.4.5).
    if response.status() != StatusCode::NOT_MODIFIED {
        set(&mut response, ACCEPT_RANGES, "bytes");
        set(&mut response, CONTENT_TYPE, media_type);
        // Or browsers might guess another type.
        set(&mut response, X_CONTENT_TYPE_OPTIONS, "nosniff");
    }
    if let Some(Validators { etag, modified }) = &validators {
        set(&mut response, ETAG, etag);
        set(
            &mut response,
            LAST_MODIFIED,
            &httpdate::fmt_http_date(*modified),
        );
    }
    Ok(response)
}

/// What part of the file the response is to have. Ranges are for GET only (RFC 9110 §14.2).
fn wanted(request: &Request<Incoming>, validators: Option<&Validators>, length: u64) -> Wanted {
    let fields = request.headers();
    let mut ranges = fields.get_all(RANGE).iter();
    match (request.method(), ranges.next(), ranges.next()) {
        (&Method::GET, Some(range), None)
            if conditions::range_applies(fields, validators, SystemTime::now()) =>
        {
            range::wanted(range.as_bytes(), length)
        }
        _ => Wanted::Whole,
    }
}

fn status(status: StatusCode) -> Response<AnyBody> {
    with_status(status, format!("{status}\n").into())
}

fn with_status(status: StatusCode, body: AnyBody) -> Response<AnyBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

/// Sets a field, whose value is text without control characters.
fn set(response: &mut Response<AnyBody>, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

#[cfg(test)]
mod tests;
