//! Saves the files of a form to a folder: of any size, from a browser or curl.
//!
//! In the folder `examples`: `cargo run -p upload -- FOLDER`, then open http://127.0.0.1:3000 in a browser, or
//! `curl -F file=@NAME http://127.0.0.1:3000/`. The same source runs in a WASI runtime, which has to be given the
//! folder: `cargo run -p upload --target wasm32-wasip1 -- --dir FOLDER FOLDER`. With `RUST_LOG=info` the log
//! has the progress.
//!
//! A file is written as it arrives (`multer` takes the form apart), so it is never in memory as a whole, and others
//! are served meanwhile. Each write blocks the server for as long as the disk takes.

mod form;
mod name;
mod store;

use std::fs;
use std::iter::successors;
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;

use mini_http::header::{ALLOW, CONTENT_TYPE, HeaderMap, HeaderValue};
use mini_http::http::{Request, StatusCode};
use mini_http::{Incoming, IncomingError, Response, Server};

use form::Form;
use store::Store;

/// A larger form gets 413.
const LARGEST: u64 = 16 << 30;

/// The most files of a form. Each of them costs the disk an entry, even if it is empty.
const MOST_FILES: usize = 100;

const PAGE: &str = include_str!("page.html");

type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    env_logger::init();
    let directory = std::env::args().nth(1).ok_or("usage: upload FOLDER")?;
    let addr = std::env::var("MINI_HTTP_ADDR").unwrap_or("127.0.0.1:3000".into());
    // Before the first access to a file: in some preview 1 runtimes a listener hides the folders from
    // `std::fs`, and making the server brings them back.
    let server = Server::new(&addr)?;
    fs::metadata(&directory).map_err(|error| format!("{directory}: {error}"))?;
    server.serve_async(app(directory.into()))?;
    Ok(())
}

type Responding = Pin<Box<dyn Future<Output = Result<Response<String>, Error>>>>;

/// The handler for this folder.
pub(crate) fn app(directory: PathBuf) -> impl FnMut(Request<Incoming>) -> Responding {
    let store = Rc::new(Store::new(directory));
    move |request| Box::pin(respond(Rc::clone(&store), request))
}

async fn respond(store: Rc<Store>, request: Request<Incoming>) -> Result<Response<String>, Error> {
    let (head, body) = request.into_parts();
    match (head.method.as_str(), head.uri.path()) {
        ("GET" | "HEAD", "/") => Ok(page()),
        ("POST", "/") => receive(&store, &head.headers, body).await,
        (_, "/") => {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "GET or POST");
            let allowed = HeaderValue::from_static("GET, HEAD, POST");
            response.headers_mut().insert(ALLOW, allowed);
            Ok(response)
        }
        _ => Ok(text(StatusCode::NOT_FOUND, "there is nothing here")),
    }
}

/// Saves the files, and responds with their names.
async fn receive(
    store: &Store,
    fields: &HeaderMap,
    mut body: Incoming,
) -> Result<Response<String>, Error> {
    let boundary = fields.get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
    let Some(boundary) = boundary.and_then(|it| multer::parse_boundary(it).ok()) else {
        let why = "send a form, as multipart/form-data";
        return Ok(text(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
    };
    body.limit(LARGEST);
    match save(store, Form::new(body, boundary)).await {
        Ok(Saved::All(names)) if names.is_empty() => {
            Ok(text(StatusCode::BAD_REQUEST, "the form has no file"))
        }
        Ok(Saved::All(names)) => Ok(text(StatusCode::CREATED, &names.join("\n"))),
        Ok(Saved::Exists(name)) => {
            let why = format!("{name} is there already");
            Ok(text(StatusCode::CONFLICT, &why))
        }
        Ok(Saved::TooMany) => Ok(text(StatusCode::PAYLOAD_TOO_LARGE, "too many files")),
        // The form is wrong.
        Err(error) if error.is::<multer::Error>() && !is_of_body(&*error) => {
            let why = causes(&*error)
                .last()
                .map_or_else(String::new, |it| it.to_string());
            Ok(text(StatusCode::BAD_REQUEST, &why))
        }
        // The body can't be received: the client gets 400, 408 or 413. Or the disk failed: 500.
        Err(error) => Err(error),
    }
}

fn is_of_body(error: &(dyn std::error::Error + 'static)) -> bool {
    causes(error).any(|cause| cause.is::<IncomingError>())
}

/// The error, its cause, the cause of that, and so on.
fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    successors(Some(error), |error| error.source())
}

enum Saved {
    /// The names of the files.
    All(Vec<String>),
    /// A file of this name was there before. It is not replaced, nor are those after it saved.
    Exists(String),
    TooMany,
}

async fn save(store: &Store, mut form: Form) -> Result<Saved, Error> {
    let mut names = Vec::new();
    while let Some((name, mut field)) = form.next_file().await? {
        if names.len() == MOST_FILES {
            return Ok(Saved::TooMany);
        }
        let name = name::safe(&name);
        // If the client goes away, this future is dropped, and with it `file`, which removes what it has written.
        let Some(mut file) = store.create(&name)? else {
            return Ok(Saved::Exists(name));
        };
        while let Some(piece) = form.piece(&mut field).await? {
            file.write(&piece)?;
        }
        if !file.keep()? {
            return Ok(Saved::Exists(name));
        }
        names.push(name);
    }
    Ok(Saved::All(names))
}

fn page() -> Response<String> {
    let mut response = Response::new(PAGE.into());
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, html);
    response
}

fn text(status: StatusCode, text: &str) -> Response<String> {
    let mut response = Response::new(format!("{text}\n"));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests;
