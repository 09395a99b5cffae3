//! hyper 1 on tokio's `current_thread`.

use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use native_servers::{BODY, Pieces, listener};
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let listener = TcpListener::from_std(listener()?)?;
    let piece = Pieces::piece();
    loop {
        let piece = piece.clone();
        // It fails if the client has already gone, which is no reason to end.
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        tokio::spawn(async move {
            let mut connection = http1::Builder::new();
            let connection = connection.pipeline_flush(true).serve_connection(
                TokioIo::new(stream),
                service_fn(|request| respond(request, &piece)),
            );
            // An error ends only its connection.
            let _ = connection.await;
        });
    }
}

async fn respond(
    request: Request<Incoming>,
    piece: &Bytes,
) -> Result<Response<Either<Full<Bytes>, Pieces>>, hyper::Error> {
    let is_echo = match request.uri().path() {
        "/stream" => return Ok(Response::new(Either::Right(Pieces::new(piece)))),
        path => path == "/echo",
    };
    // Read the whole body, as the other servers do before they call a handler.
    let body = request.into_body().collect().await?.to_bytes();
    Ok(Response::new(Either::Left(Full::new(match is_echo {
        true => body,
        false => Bytes::from_static(BODY.as_bytes()),
    }))))
}
