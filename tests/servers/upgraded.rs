//! What the server does on upgraded connections, those of `/raw` and of CONNECT. `async.rs` lists it.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;

use futures_io::{AsyncRead, AsyncWrite};
use mini_http::body::AnyBody;
use mini_http::header::{HeaderValue, UPGRADE};
use mini_http::http::{Method, Request, StatusCode};
use mini_http::{Incoming, Response, Stopping, Upgraded, spawn, upgrade};

/// Takes the upgrade, and returns the response.
pub(crate) fn accept(request: &mut Request<Incoming>, stopping: Stopping) -> Response<AnyBody> {
    let what = request.uri().query().unwrap_or("echo").to_owned();
    let upgrade = upgrade(request);
    spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            // The client may be gone at any time.
            let _ = serve(upgraded, &what, stopping).await;
        }
    });
    let mut response = Response::new(AnyBody::from(""));
    if request.method() != Method::CONNECT {
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let raw = HeaderValue::from_static("raw");
        response.headers_mut().insert(UPGRADE, raw);
    }
    response
}

async fn serve(mut upgraded: Upgraded, what: &str, stopping: Stopping) -> io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    match what {
        "sink" => {
            stopping.await;
            Ok(())
        }
        "source" => loop {
            write(&mut upgraded, &buffer).await?;
        },
        "count" => {
            let mut count = 0;
            loop {
                match read(&mut upgraded, &mut buffer).await? {
                    0 => break,
                    length => count += length,
                }
            }
            write(&mut upgraded, count.to_string().as_bytes()).await
        }
        // Ends its stream first.
        "bye" => {
            write(&mut upgraded, b"bye").await?;
            poll_fn(|cx| Pin::new(&mut upgraded).poll_close(cx)).await?;
            while read(&mut upgraded, &mut buffer).await? > 0 {}
            Ok(())
        }
        _ => loop {
            match read(&mut upgraded, &mut buffer).await? {
                0 => return Ok(()),
                length => write(&mut upgraded, &buffer[..length]).await?,
            }
        },
    }
}

async fn read(upgraded: &mut Upgraded, buffer: &mut [u8]) -> io::Result<usize> {
    poll_fn(|cx| Pin::new(&mut *upgraded).poll_read(cx, buffer)).await
}

async fn write(upgraded: &mut Upgraded, mut data: &[u8]) -> io::Result<()> {
    while !data.is_empty() {
        let written = poll_fn(|cx| Pin::new(&mut *upgraded).poll_write(cx, data)).await?;
        data = &data[written..];
    }
    Ok(())
}
