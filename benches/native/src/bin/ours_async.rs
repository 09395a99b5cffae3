//! `mini_http` with an asynchronous handler, whose bodies stream.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use mini_http::{Incoming, Response, Server};
use native_servers::{BODY, Pieces, listener};

fn main() -> Result<(), Box<dyn Error>> {
    let mut server = Server::from_listener(listener()?)?;
    // Idle connections must stay open during the whole benchmark.
    server.limits(|limits| limits.idle_timeout = Duration::from_secs(3600));
    let piece = Pieces::piece();
    server.serve_async(|request| {
        let body = match request.uri().path() {
            "/echo" => ResponseBody::Echo(request.into_body()),
            "/stream" => ResponseBody::Stream(Pieces::new(&piece)),
            _ => ResponseBody::Fixed(Full::new(Bytes::from_static(BODY.as_bytes()))),
        };
        async { Response::new(body) }
    })?;
    Ok(())
}

/// The bodies of the responses.
enum ResponseBody {
    Fixed(Full<Bytes>),
    Stream(Pieces),
    Echo(Incoming),
}

type Frames = Poll<Option<Result<Frame<Bytes>, Box<dyn Error + Send + Sync>>>>;

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Frames {
        match self.get_mut() {
            Self::Fixed(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Self::Stream(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Self::Echo(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Fixed(body) => body.size_hint(),
            Self::Stream(body) => body.size_hint(),
            Self::Echo(body) => body.size_hint(),
        }
    }
}
