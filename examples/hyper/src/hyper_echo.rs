//! hyper 1 on tokio: responds with the request's body, or `hello!` if it has none.

mod listener;

use std::convert::Infallible;
use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;

fn main() -> Result<(), Box<dyn Error>> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(serve())
}

async fn serve() -> Result<(), Box<dyn Error>> {
    let listener = tokio::net::TcpListener::from_std(listener::listener()?)?;
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // The client has gone, which is no reason to end. Or there are no more file descriptors: then the next
            // attempt must not come at once.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        tokio::spawn(async move {
            let mut connection = http1::Builder::new();
            let connection = connection
                .half_close(true)
                .pipeline_flush(true)
                .serve_connection(TokioIo::new(stream), service_fn(echo));
            // A connection that fails just ends.
            let _ = connection.await;
        });
    }
}

/// The largest body that is taken: each is in memory as a whole.
const MAX_BODY: usize = 16 << 20;

async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = match Limited::new(request.into_body(), MAX_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => {
            let mut response = Response::default();
            *response.status_mut() = match error.is::<LengthLimitError>() {
                true => StatusCode::PAYLOAD_TOO_LARGE,
                false => StatusCode::BAD_REQUEST,
            };
            return Ok(response);
        }
    };
    Ok(Response::new(Full::new(if body.is_empty() {
        Bytes::from_static(b"hello!")
    } else {
        body
    })))
}
