//! hyper 1 on tokio, with the same response as the other servers. Here it is on the mio of crates.io; `../wasip1-shim`
//! builds it on the shim.
#![cfg_attr(
    not(all(target_os = "wasi", target_env = "p1")),
    allow(unused, reason = "a program for WASI preview 1 only")
)]

#[cfg(not(all(target_os = "wasi", target_env = "p1")))]
fn main() {}

#[cfg(all(target_os = "wasi", target_env = "p1"))]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?
        .block_on(server::run())
}

#[cfg(all(target_os = "wasi", target_env = "p1"))]
mod server {
    use std::convert::Infallible;

    use bytes::Bytes;
    use http_body_util::{BodyExt, Full};
    use hyper::body::Incoming;
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper::{Request, Response};
    use hyper_util::rt::TokioIo;
    use tokio::net::TcpListener;

    pub(super) async fn run() -> Result<(), Box<dyn std::error::Error>> {
        let listener = listener()?;
        loop {
            // It fails if the client has already gone, which is no reason to end.
            let Ok((stream, _)) = listener.accept().await else {
                continue;
            };
            tokio::spawn(async move {
                let mut connection = http1::Builder::new();
                let connection = connection
                    .pipeline_flush(true)
                    .serve_connection(TokioIo::new(stream), service_fn(respond));
                // An error ends only its connection.
                let _ = connection.await;
            });
        }
    }

    #[allow(
        unsafe_code,
        reason = "std's only way to a socket that the runtime has passed"
    )]
    fn listener() -> std::io::Result<TcpListener> {
        use std::os::fd::FromRawFd;
        // SAFETY: the runtime has opened it for this module, and nothing else here uses it.
        let listener = unsafe { std::net::TcpListener::from_raw_fd(3) };
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    }

    async fn respond(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let is_memory = request.uri().path() == "/memory";
        // Read the whole body, as `mini_http` does before it calls a handler.
        let _ = request.into_body().collect().await;
        Ok(Response::new(Full::new(if is_memory {
            Bytes::from(response::memory())
        } else {
            Bytes::from_static(response::BODY.as_bytes())
        })))
    }
}
